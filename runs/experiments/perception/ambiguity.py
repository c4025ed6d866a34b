"""Ambiguity: blends of two stimuli or of two concepts."""

import itertools

import numpy as np
import pandas as pd

from bsd.analysis.hypotheses import MIN_LEVELS, fit_psychometric
from bsd.analysis.measures import recall_correlation
from bsd.analysis.perception import decision_times, psychometric_curve
from bsd.runs.experiments.metrics import class_means
from bsd.runs.experiments.perception.study import Study, images_of, needs_images
from bsd.runs.trials import join_tables

__all__ = ["BLENDS", "ambiguity", "ambiguity_table"]

#: Share of the second stimulus or concept.
BLENDS = tuple(round(0.1 * k, 1) for k in range(11))


def ambiguity_table(dataset, pairs_of_stimuli=4):
    """Every pair of concepts blended, as stimuli (some pairs of each) and as concepts.

    All blends of one pair of stimuli have the same ``draw``. A stimulus is in one pair, as long as
    there are enough of its concept.

    Returns
    -------
    DataFrame
        Column ``pair`` numbers the pairs.
    """
    rows = [np.flatnonzero(dataset.y_test == c) for c in range(dataset.n_concepts)]
    most = min(pairs_of_stimuli, *map(len, rows))
    pairs = [
        (a, b, k) for a, b in itertools.combinations(range(dataset.n_concepts), 2)
        for k in range(most)
    ]
    following = list(map(itertools.cycle, rows))
    first, second = np.array([[next(following[a]), next(following[b])] for a, b, _ in pairs]).T
    a, b, k, first, second = (
        np.repeat(column, len(BLENDS)) for column in (*zip(*pairs, strict=True), first, second)
    )
    blend = np.tile(BLENDS, len(pairs))
    stimuli = pd.DataFrame(
        {
            "phase": "stimuli",
            "source": "stimulus+percept",
            "stimulus": first,
            "other_stimulus": second,
            "concept": a,
            "other_concept": b,
            "blend": blend,
            "pair": np.repeat(np.arange(len(pairs)), len(BLENDS)),
            "record": True,
        }
    )
    concepts = stimuli[k == 0].drop(columns=["stimulus", "other_stimulus"])
    concepts = concepts.assign(phase="concepts", source="concept", record=False)
    table = join_tables([stimuli, concepts])
    return table.assign(draw=table["pair"])


def ambiguity(trained, device="cpp", *, seed=None, pairs_of_stimuli=4, progress=None):
    """What is perceived and recalled of blends, and how long the decision takes.

    Parameters
    ----------
    trained : TrainedNetwork
    device : str
    seed : int, optional
    pairs_of_stimuli : int
        Of each pair of concepts.
    progress : callable, optional

    Returns
    -------
    Study
        Frames ``blends`` (one row per trial: percept, decision time, correlation of the recalled
        stimulus with the mean of either class), ``psychometric`` (shares of percepts and recalls)
        and ``fits`` (`bsd.analysis.hypotheses.fit_psychometric` to the second among first and
        second, with pairs as the unit). Only pairs whose unblended stimuli are both perceived
        rightly count in the latter two.

    Raises
    ------
    InputError
        If the run was on a sequence.
    """
    needs_images(trained)
    study = Study("ambiguity")
    dataset, network = trained.dataset, trained.network
    simulation = trained.simulation(device, seed=seed, progress=progress)
    table = ambiguity_table(dataset, pairs_of_stimuli)
    output = f"F{network.layout.depth + 1}"
    dt_ms = float(network.parameters.timing.dt) * 1e3
    means = class_means(dataset).reshape(dataset.n_concepts, -1)
    frames, done = [], 0
    for recording in simulation.chunks(table):
        trials = recording.trials
        images = images_of(recording.recalled, trials["trial"], dataset.image_shape)
        images = images.reshape(len(images), -1)
        spikes = recording.spikes[recording.spikes["population"] == output]
        times = decision_times(spikes, trials["trial"], network.encoding_matrix(), dt_ms)
        columns = ["trial", "phase", "pair", "concept", "other_concept", "blend", "percept"]
        frame = trials[columns].merge(times, on="trial")
        for name in ("concept", "other_concept"):
            frame[f"r_{name}"] = recall_correlation(images, means[trials[name]])
        frames.append(frame)
        done += len(trials)
        if progress:
            progress("run", done, len(table))
    blends = pd.concat(frames, ignore_index=True)
    ends = blends["blend"].isin([0, 1])
    expected = blends["concept"].where(blends["blend"] < 0.5, blends["other_concept"])
    right = (blends["percept"] == expected).where(ends, True)
    blends["unblended_right"] = right.groupby([blends["phase"], blends["pair"]]).transform("all")
    blends["recalled"] = np.select(
        [blends["r_concept"] > blends["r_other_concept"],
         blends["r_concept"] < blends["r_other_concept"]],
        [blends["concept"], blends["other_concept"]],
        -1,
    )
    study.frames["blends"] = blends
    answers = _answers(blends)
    study.frames["psychometric"] = pd.concat(
        [
            psychometric_curve(own).assign(what=what, of=of)
            for (what, of), own in answers.groupby(["what", "of"], sort=False)
        ],
        ignore_index=True,
    )
    study.frames["fits"] = _fits(answers)
    study.summary = _summary(study)
    return study


def _answers(blends):
    """What was perceived in blended stimuli, and recalled (the likelier of both)."""
    shown = blends[(blends["phase"] == "stimuli") & blends["unblended_right"]]
    imagined = blends[blends["phase"] == "concepts"]
    return pd.concat(
        [
            shown.assign(what="perceived", of="stimuli"),
            shown.assign(what="recalled", of="stimuli", percept=shown["recalled"]),
            imagined.assign(what="recalled", of="concepts", percept=imagined["recalled"]),
        ],
        ignore_index=True,
    )


def _fits(answers):
    """Psychometric function of each kind of answer with enough levels: second or first."""
    second = answers["percept"] == answers["other_concept"]
    of_both = answers[second | (answers["percept"] == answers["concept"])].assign(second=second)
    levels = of_both.groupby(["what", "of"])["blend"].transform("nunique")
    return fit_psychometric(
        of_both[levels >= MIN_LEVELS], "blend", chance=0.0, correct="second", by=["what", "of"],
        unit="pair",
    )


def _summary(study):
    blends, curves, fits = (study.frames[name] for name in ("blends", "psychometric", "fits"))
    shown = blends[(blends["phase"] == "stimuli") & blends["unblended_right"]]
    summary = {"pairs": int(shown["pair"].nunique())}
    for fit in fits.itertuples():
        summary[f"{fit.what}_{fit.of}"] = {
            name: float(getattr(fit, name))
            for name in ("threshold", "threshold_se", "slope", "slope_se")
        }
    times = shown.groupby("blend")[["decision_ms", "decision_spikes"]].mean()
    ends = times[times.index.isin([0, 1])].mean()
    for name in times:
        summary[f"{name}_unblended"] = float(ends[name])
        summary[f"{name}_half"] = float(times.loc[0.5, name])
    half = curves[(curves["what"] == "perceived") & (curves["blend"] == 0.5)]
    summary["neither_half"] = float(half["neither"].mean())
    summary["none_half"] = float(half["none"].mean())
    return summary

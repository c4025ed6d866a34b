"""Completion: a damaged stimulus is perceived, what is perceived is recalled, and so on.

Five conditions see the same cues, with the same spike trains of the afferents:

=========  =========================================================================================
loop       In each cycle the network perceives a stimulus, and then recalls what it decided: its own
           percept drives the concept afferents for a trial. The stimulus of the next cycle is the
           cue where it is visible, and the recalled stimulus elsewhere; of a noisy or blurred cue,
           the mean of both. No label is given. The decision is that of the last cycle; without a
           decision nothing is recalled.
graded     The same without a decision: in each cycle (one trial) the output spikes themselves, of
           all concepts that the cue suggests, drive the backward network.
relay      The recalled spikes return to the stimulus afferents within the trial, from cell to cell
           (source ``stimulus+percept+recall``): afferents fire with the cue or with the recall.
cut        Feedback cut: the cue is perceived alone, in as many trials.
filled     Feedback cut, and the mean training stimulus takes the place of the recalled one: what
           the loop must beat if it is to do more than filling dark places with something grey.
=========  =========================================================================================

In the latter three the decision is that of the output spikes of all trials so far, so that no
condition has more time to decide than another. Only the recalled stimulus can help perception:
with ``cell.g_apical`` = 0 the backward network reaches the forward one in no other way.
"""

import dataclasses

import numpy as np
import pandas as pd

from bsd.analysis.hypotheses import compare, correct_p_values
from bsd.analysis.measures import decide, recall_correlation
from bsd.analysis.perception import image_similarity
from bsd.runs.experiments.metrics import class_means
from bsd.runs.experiments.perception.study import (
    Study,
    chosen_stimuli,
    images_of,
    needs_images,
    run_images,
)
from bsd.runs.trials import check_table, shown_images

__all__ = ["HALF_PLANES", "Cue", "completion", "cues", "percepts"]

HALF_PLANES = ("left", "right", "top", "bottom")
OCCLUSIONS = (0.25, 0.5, 0.75, 0.9)
NOISES = (0.2, 0.4, 0.6)
#: SD of the blur, as shares of the width of the image.
BLURS = (1 / 28, 2 / 28, 3 / 28)

#: The percept that starts the loop, and three that follow a recall.
CYCLES = 4
CONDITIONS = ("loop", "graded", "relay", "cut", "filled")

#: Between the draws of trials of one cue, which are to have other spike phases.
NEXT_DRAW = 10_000

#: Cues whose images are kept: the first stimulus of each concept.
SHOWN = (("random", 0.5), ("left", 0.5))


def cues(dataset, n_per_concept=20):
    """Every chosen test stimulus under every mask, noise and blur, a row each.

    Returns
    -------
    DataFrame
        A trial table with the columns ``cue`` (a mask, noise or blur, or none) and ``level``
        (fraction hidden, SD of the noise in units of intensity, or SD of the blur in pixels). All
        cues of one stimulus have the same ``draw``.
    """
    stimuli = chosen_stimuli(dataset, n_per_concept)
    stimuli["draw"] = np.arange(len(stimuli))
    tables = [stimuli.assign(cue="none", level=0.0)]
    for mask in ("random", *HALF_PLANES):
        for part in OCCLUSIONS:
            tables.append(stimuli.assign(cue=mask, level=part, mask=mask, occlusion=part))
    for sd in NOISES:
        tables.append(stimuli.assign(cue="noise", level=sd, noise=sd))
    for share in BLURS:
        sd = share * dataset.image_shape[1]
        tables.append(stimuli.assign(cue="blur", level=sd, blur=sd))
    table = pd.concat(tables, ignore_index=True)
    table["mask"] = table["mask"].fillna("random")
    return table.fillna({"occlusion": 0.0, "noise": 0.0, "blur": 0.0}).assign(phase="complete")


def completion(trained, device="cpp", *, seed=None, n_per_concept=20, progress=None):
    """Perception and recall of damaged stimuli, with the loop through recall and without.

    Parameters
    ----------
    trained : TrainedNetwork
    device : str
    seed : int, optional
        Of masks, noise and spike phases.
    n_per_concept : int
        Test stimuli.
    progress : callable, optional

    Returns
    -------
    Study
        Frames ``quality`` (one row per cue, condition and cycle), ``differences`` (rows of
        `bsd.analysis.hypotheses.compare`: the loop against both conditions without feedback, after
        the last cycle, paired by stimulus; p corrected over all cues, for each measure and
        condition) and ``images``.

    Raises
    ------
    InputError
        If the run was on a sequence.
    """
    needs_images(trained)
    study = Study("complete")
    dataset = trained.dataset
    simulation = trained.simulation(device, seed=seed, progress=progress)
    table = check_table(cues(dataset, n_per_concept), dataset, dataset.n_concepts)
    runs = len(CONDITIONS) * CYCLES
    size, done = simulation.network.capacity, 0
    quality, images = [], []
    for first in range(0, len(table), size):
        batch = table.iloc[first : first + size].reset_index(drop=True)
        cue = Cue(batch, dataset, simulation.seeds[0])
        for condition in CONDITIONS:
            for cycle, outcome in enumerate(percepts(condition, simulation, dataset, cue)):
                quality.append(_quality(condition, cycle, outcome, cue, dataset))
                if condition == "loop":
                    images.append(_shown(cycle, outcome, cue, dataset.n_concepts))
                done += len(batch)
                if progress:
                    progress("run", done, runs * len(table))
    study.frames["quality"] = pd.concat(quality, ignore_index=True)
    study.frames["images"] = pd.concat(images, ignore_index=True)
    study.frames["differences"] = _differences(study.frames["quality"])
    study.summary = _summary(study)
    return study


class Cue:
    """What a batch of trials shows, and how far each pixel of it is to be trusted.

    Parameters
    ----------
    table : DataFrame
        Trials of test stimuli, see `bsd.runs.trials.check_table`.
    dataset : DataSet
    seed : int
        Of masks and noise.

    Attributes
    ----------
    own, image : ndarray, shape (n, *image_shape)
        The stimuli, and what of them is shown.
    weight : ndarray, shape (n, *image_shape)
        Trust in each pixel of `image`, 0 to 1.
    hidden : ndarray of bool, shape (n, *image_shape)
    """

    def __init__(self, table, dataset, seed):
        self.table = table
        whole = table.assign(noise=0.0, blur=0.0)
        light = dataclasses.replace(dataset, x_test=np.ones_like(dataset.x_test))
        self.own = dataset.x_test[table["stimulus"]]
        self.image = shown_images(table, dataset, seed)
        damaged = (table["noise"] > 0) | (table["blur"] > 0)
        visible = shown_images(whole, light, seed)
        self.weight = np.where(_each(damaged.to_numpy(), visible), 0.5, visible)
        self.hidden = visible == 0

    def completed(self, other):
        """The cue, completed by another image."""
        return (self.weight * self.image + (1 - self.weight) * other).astype(np.float32)


def percepts(condition, simulation, dataset, cue):
    """Perceive cues in each of the `CYCLES`.

    Parameters
    ----------
    condition : str
        One of `CONDITIONS`.
    simulation : Simulation
        Of `dataset`.
    dataset : DataSet
    cue : Cue

    Yields
    ------
    percept : ndarray of int, shape (n,)
        -1 where nothing was decided.
    recalled : ndarray, shape (n, *image_shape), or None
    completed : ndarray, shape (n, *image_shape)
        What the next cycle sees in the conditions `loop` and `graded`.
    """
    source = {"graded": "stimulus+percept", "relay": "stimulus+percept+recall"}.get(
        condition, "stimulus"
    )
    closed = condition in ("loop", "graded")
    average = dataset.x_train.mean(axis=0)
    stimulus = cue.completed(average) if condition == "filled" else cue.image
    evidence = 0
    for cycle in range(CYCLES):
        table = pd.DataFrame(
            {
                "concept": cue.table["concept"],
                "source": source,
                # other spike phases in each cycle, the same in all conditions
                "draw": cue.table["draw"] + cycle * NEXT_DRAW,
            }
        )
        result = run_images(simulation, dataset, stimulus, table)
        own = result.evidence["spikes"].to_numpy().reshape(len(table), -1)
        evidence = own if closed else evidence + own
        percept = decide(evidence, np.eye(dataset.n_concepts))
        recalled = None
        completed = stimulus
        if condition == "loop":
            table["draw"] += CYCLES * NEXT_DRAW
            recalled = _decided(percept, table, simulation, dataset, stimulus)
        elif source != "stimulus":
            recalled = images_of(result.recalled, result.trials["trial"], dataset.image_shape)
        if recalled is not None:
            completed = cue.completed(recalled)
        if condition == "relay":
            completed = np.maximum(cue.image, recalled)
        yield percept, recalled, completed
        if closed:
            stimulus = completed


def _decided(percept, table, simulation, dataset, stimulus):
    """What is recalled of the concepts that were perceived; dark where none was."""
    decided = percept >= 0
    table = table.assign(concept=np.where(decided, percept, 0), source="concept")
    result = run_images(simulation, dataset, stimulus, table)
    recalled = images_of(result.recalled, result.trials["trial"], dataset.image_shape)
    return recalled * _each(decided, recalled)


def _each(values, images):
    """One value for each image, shaped to go with them."""
    return values.reshape(-1, *[1] * (images.ndim - 1))


def _quality(condition, cycle, outcome, cue, dataset):
    percept, recalled, completed = outcome
    concept = cue.table["concept"].to_numpy()
    frame = cue.table[["stimulus", "concept", "draw", "cue", "level"]].assign(
        condition=condition, cycle=cycle, percept=percept, correct=percept == concept
    )
    frame = pd.concat([frame, image_similarity(completed, cue.own)], axis=1)
    if recalled is None:
        return frame
    means = class_means(dataset)
    prototype = means[np.maximum(percept, 0)]
    flat = {
        "own": cue.own, "recalled": recalled, "prototype": prototype, "mean": means[concept]
    }
    flat = {name: np.reshape(stack, (len(percept), -1)) for name, stack in flat.items()}
    frame["rate_recalled"] = recalled.reshape(len(recalled), -1).mean(axis=1)
    frame["r_recalled_own"] = recall_correlation(flat["recalled"], flat["own"])
    frame["r_recalled_class_mean"] = recall_correlation(flat["recalled"], flat["mean"])
    hidden = cue.hidden.reshape(len(percept), -1)
    decided = percept >= 0
    for name in ("recalled", "prototype"):
        r = _correlation_where(hidden, flat[name], flat["own"])
        frame[f"r_hidden_{name}_own"] = np.where(decided, r, np.nan)
    return frame


def _correlation_where(chosen, a, b):
    """Pearson correlation over the chosen pixels of each row; NaN where nothing varies there."""
    n = chosen.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        a = np.where(chosen, a - np.sum(a * chosen, axis=1, keepdims=True) / n, 0)
        b = np.where(chosen, b - np.sum(b * chosen, axis=1, keepdims=True) / n, 0)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return np.where(norms > 1e-9, np.sum(a * b, axis=1) / norms, np.nan)


def _shown(cycle, outcome, cue, n_concepts):
    """Images of the first stimulus of each concept, under the cues that are shown."""
    frames = []
    for kind, level in SHOWN:
        at = (cue.table["cue"] == kind) & (cue.table["level"] == level)
        # the stimuli are numbered with the concepts in turn
        rows = np.flatnonzero(at & (cue.table["draw"] < n_concepts))
        stacks = {"recalled": outcome[1], "completed": outcome[2]}
        if cycle == 0:
            stacks |= {"own": cue.own, "cue": cue.image}
        for name, stack in stacks.items():
            n_pixels = stack[0].size
            frames.append(
                pd.DataFrame(
                    {
                        "cue": kind,
                        "level": level,
                        "kind": name,
                        "cycle": cycle,
                        "concept": np.repeat(cue.table["concept"].to_numpy()[rows], n_pixels),
                        "percept": np.repeat(outcome[0][rows], n_pixels),
                        "pixel": np.tile(np.arange(n_pixels), len(rows)),
                        "rate": stack[rows].ravel().astype(np.float32),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def _differences(quality):
    """Loop minus each condition without feedback, after the last cycle, by cue and level.

    The stimulus is the unit: the masks that hide different halves of one are averaged.
    """
    last = quality[quality["cycle"] == CYCLES - 1]
    groups = [*last.groupby(["cue", "level"], sort=False)]
    planes = last[last["cue"].isin(HALF_PLANES)]
    groups += [(("half-planes", level), own) for level, own in planes.groupby("level")]
    families = []
    for measure in ("correct", "r", "ssim"):
        for other in ("cut", "filled"):
            rows = []
            for (cue, level), own in groups:
                own = own[own[measure].notna() & own["condition"].isin([other, "loop"])]
                pairs = own.groupby(["stimulus", "cue"]).size() == 2
                if pairs[pairs].groupby("stimulus").size().size > 1:
                    row = compare(
                        own, "condition", measure, unit="stimulus", paired_by="cue",
                        levels=(other, "loop"),
                    )
                    rows.append(row.assign(cue=cue, level=level))
            if rows:
                families.append(correct_p_values(pd.concat(rows)))
    return pd.concat(families, ignore_index=True)


def _summary(study):
    quality, differences = study.frames["quality"], study.frames["differences"]
    last = quality[quality["cycle"] == CYCLES - 1]

    def mean(column, condition, cues, level=0.5):
        at = last["cue"].isin(cues) & (last["level"] == level) & (last["condition"] == condition)
        return float(last.loc[at, column].astype(float).mean())

    summary = {"stimuli": int(last["draw"].nunique()), "cycles": CYCLES}
    for condition in CONDITIONS:
        summary[f"accuracy_intact_{condition}"] = mean("correct", condition, ["none"], 0)
        summary[f"accuracy_random_half_{condition}"] = mean("correct", condition, ["random"])
        summary[f"accuracy_half_plane_{condition}"] = mean("correct", condition, HALF_PLANES)
        summary[f"r_half_plane_{condition}"] = mean("r", condition, HALF_PLANES)
    for condition in ("loop", "graded"):
        summary[f"rate_recalled_half_plane_{condition}"] = mean(
            "rate_recalled", condition, HALF_PLANES
        )
    for name in ("recalled", "prototype"):
        summary[f"r_hidden_{name}_half_plane"] = mean(
            f"r_hidden_{name}_own", "loop", HALF_PLANES
        )
    half = differences[(differences["cue"] == "half-planes") & (differences["level"] == 0.5)]
    for row in half.itertuples():
        summary[f"half_plane_loop_minus_{row.reference}_{row.measure}"] = {
            "difference": row.difference, "ci_low": row.ci_low, "ci_high": row.ci_high,
            "p_corrected": row.p_corrected, "n": row.n_other,
        }
    return summary

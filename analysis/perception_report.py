"""Sections of a report on the experiments of perception and recall in a results folder."""

import json

import numpy as np
import pandas as pd

from bsd.analysis import firing_figures, generation
from bsd.analysis import perception_figures as figures

__all__ = ["sections"]


def sections(folder, names=None):
    """Sections of all experiments that were done on a run.

    Parameters
    ----------
    folder : pathlib.Path
        Results folder of the run; each experiment has its own below ``experiments/``.
    names : dict of int to str, optional
        Of concepts, instead of their numbers.

    Returns
    -------
    list of dict
        ``name``, ``title``, ``caption``, ``draw`` (a function of a figure), ``table`` and
        ``command``.

    Raises
    ------
    ValueError
        If a file cannot be read.
    """
    makers = {
        "recall": _recall,
        "complete": _completion,
        "imagery": _imagery,
        "ambiguity": _ambiguity,
        "lesions": _lesions,
        "statistics": _statistics,
        "dynamics": _dynamics,
        "generate": _generation,
    }
    found, shape = [], _read(folder, _image_shape)
    for name, make in makers.items():
        place = folder / "experiments" / name
        if not (place / "summary.json").is_file():
            continue
        summary = _read(place / "summary.json", lambda p: json.loads(p.read_text()))
        frames = {p.stem: _read(p, pd.read_parquet) for p in place.glob("*.parquet")}
        for section in make(frames, {**summary, "image_shape": shape, "names": names or {}}):
            found.append({"table": None, "command": summary["command"], **section})
    return found


def _read(path, reader):
    try:
        return reader(path)
    except Exception as error:  # every format has exceptions of its own
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}): do the experiment again"
        ) from error


def _image_shape(folder):
    """Shape of the stimuli of a run; None of one on a sequence."""
    for name, read in (
        ("recall.npz", lambda arrays: arrays["image_shape"]),
        ("reconstructed.npz", lambda arrays: arrays["stimulus"].shape[1:]),
    ):
        if (folder / name).is_file():
            with np.load(folder / name, allow_pickle=False) as arrays:
                return tuple(int(n) for n in read(arrays))
    return None


def _percent(share):
    return f"{100 * share:.1f} %"


def _generation(frames, summary):
    return generation.sections(frames, summary, summary["image_shape"])


def _recall(frames, summary):
    quality, images = frames["quality"], frames["images"]
    loss, share = summary["spike_loss"], summary["instances_recognised"]
    worst = summary["names"].get(summary["worst_concept"], summary["worst_concept"])
    judged = (
        f"A support vector machine that learned from training images alone (it recognises "
        f"{_percent(summary['classifier_accuracy'])} of test images) recognises "
        f"{summary['concepts_recognised']} of {summary['concepts']} concepts"
    )
    yield {
        "name": "recall_instances",
        "title": "Recall: from concept to stimulus",
        "caption": (
            "What the backward network recalls (spikes of the recall cells) when a concept alone "
            "drives it, beside the mean training image of the class and the training image that "
            f"correlates most; below, with {100 * loss:.0f} % of the spikes of the concept "
            f"afferents lost at random, others each time. {judged}, and {_percent(share)} of "
            f"{(quality['loss'] == loss).sum()} noisy instances (worst: concept "
            f"{worst}, {_percent(summary['worst_concept_recognised'])}). With "
            f"noise, the correlation is {summary['r_class_mean']:.2f} with the class mean and "
            f"{summary['r_nearest']:.2f} with the nearest training image (SSIM "
            f"{summary['ssim_class_mean']:.2f} and {summary['ssim_nearest']:.2f}): what is "
            "recalled is a prototype."
        ),
        "draw": lambda f: figures.plot_recalled_images(
            images, summary["image_shape"], summary["names"], ax=f.subplots()
        ),
    }
    yield {
        "name": "recall_noise",
        "title": "Recall under spike noise",
        "caption": (
            "Share of recalled stimuli that the classifier recognises (95 % interval; dotted: "
            "chance), and their correlation with the class mean and with the nearest training "
            "image (mean and SD), when more and more spikes of the concept afferents are lost."
        ),
        "draw": lambda f: figures.plot_recall_noise(quality, ax=f.subplots()),
    }


def _difference(one):
    if np.isnan(one["ci_low"]):
        return "no difference" if one["difference"] == 0 else f"{one['difference']:+.3f} each time"
    text = f"{one['difference']:+.3f} [{one['ci_low']:+.3f}, {one['ci_high']:+.3f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def _completion(frames, summary):
    quality, images = frames["quality"], frames["images"]
    verdicts = {
        (other, measure): summary[f"half_plane_loop_minus_{other}_{measure}"]
        for other in ("cut", "filled")
        for measure in ("correct", "r", "ssim")
    }

    def verdict(other, measure):
        one = verdicts[other, measure]
        sign = "more" if one["ci_low"] > 0 else "less" if one["ci_high"] < 0 else "not told apart"
        return f"{_difference(one)} ({sign})"

    yield {
        "name": "completion_accuracy",
        "title": "Completion: perception of a partial cue",
        "caption": (
            f"Right percepts of {summary['stimuli']} test stimuli that are hidden in part, noisy "
            f"or blurred, against how much is missing (95 % intervals; dotted: chance); no label "
            f"is given. In the loop the network "
            f"recalls the concept that it decided, and what is recalled takes the place of what "
            f"is hidden (of noisy and blurred stimuli: is averaged with them), in "
            f"{summary['cycles']} cycles; all conditions see the same cue for as long, with the "
            f"same spike phases. "
            f"With random half of the pixels hidden "
            f"{_percent(summary['accuracy_random_half_loop'])} are right in the loop and "
            f"{_percent(summary['accuracy_random_half_cut'])} with feedback cut; with half-planes "
            f"hidden {_percent(summary['accuracy_half_plane_loop'])} and "
            f"{_percent(summary['accuracy_half_plane_cut'])} "
            f"({_percent(summary['accuracy_half_plane_filled'])} with the mean stimulus in place "
            f"of the recalled one). Paired difference, loop minus feedback cut, with 95 % "
            f"interval over stimuli: {verdict('cut', 'correct')}; loop minus mean stimulus: "
            f"{verdict('filled', 'correct')}. Where the output spikes themselves drive the recall, "
            f"without a decision, {_percent(summary['accuracy_half_plane_graded'])} are right: "
            "spikes shared among several concepts recall little (mean rate of the recalled "
            f"pixels {summary['rate_recalled_half_plane_graded']:.3f} of the largest, against "
            f"{summary['rate_recalled_half_plane_loop']:.3f}). The loop within a trial "
            f"({_percent(summary['accuracy_half_plane_relay'])}) does not know what is hidden, and "
            "reaches perception only in the trial's last steps. "
            + _balance(frames["differences"])
        ),
        "draw": lambda f: figures.plot_completion(quality, "correct", ax=f.subplots()),
        "table": _differences(frames["differences"]),
    }
    more = summary["r_hidden_recalled_half_plane"] > summary["r_hidden_prototype_half_plane"]
    yield {
        "name": "completion_correlation",
        "title": "Completion: likeness to the trial's own image",
        "caption": (
            "Correlation of the completed image (with feedback cut: of the cue) with the own "
            "image, nothing hidden (cues without a visible spot of light are left out). With "
            "half-planes hidden, loop minus feedback cut: "
            f"{verdict('cut', 'r')}; loop minus mean stimulus: {verdict('filled', 'r')}; in the "
            f"structural similarity (SSIM), which faint grey in dark places lowers, "
            f"{verdict('cut', 'ssim')} and {verdict('filled', 'ssim')}. In the hidden part alone, "
            "what is recalled correlates at "
            f"{summary['r_hidden_recalled_half_plane']:.2f} with the own image, the mean of the "
            f"perceived class at {summary['r_hidden_prototype_half_plane']:.2f}: the network "
            + (
                "completes more than the prototype of what it perceives."
                if more
                else "completes by the prototype of what it perceives, no more."
            )
        ),
        "draw": lambda f: figures.plot_completion(quality, "r", ax=f.subplots()),
    }
    for cue, what in (("left", "the left side"), ("random", "random half of the pixels")):
        yield {
            "name": f"completion_images_{cue}",
            "title": f"Completion: {what} hidden",
            "caption": (
                "The first test stimulus of each concept, the cue, what is recalled from its "
                "percept, and the cue completed by it, after the first and the last cycle; above, "
                "concept → last percept."
            ),
            "draw": lambda f, cue=cue: figures.plot_completed_images(
                images, summary["image_shape"], cue, summary["names"], ax=f.subplots()
            ),
        }


def _balance(differences):
    """Where the loop perceives better, and where worse, than the network with feedback cut."""
    own = differences[
        (differences["measure"] == "correct") & (differences["reference"] == "cut")
        & (differences["cue"] != "half-planes")
    ]
    names = own["cue"] + " " + own["level"].map("{:.3g}".format)
    clear = own["p_corrected"] < 0.05
    better = ", ".join(names[clear & (own["difference"] > 0)]) or "none"
    worse = ", ".join(names[clear & (own["difference"] < 0)]) or "none"
    return (
        f"Cues for which the loop perceives better than with feedback cut (p < 0.05, corrected "
        f"for their number): {better}; worse: {worse}."
    )


def _differences(frame):
    names = {"correct": "accuracy", "r": "r with own image"}
    shown = frame[
        ((frame["level"] == 0.5) | frame["cue"].isin(["noise", "blur"]))
        & frame["measure"].isin(list(names))
    ]
    text = shown.apply(_difference, axis=1)
    table = pd.DataFrame(
        {
            "cue": shown["cue"] + " " + shown["level"].map("{:g}".format),
            "column": shown["measure"].map(names) + ", loop − " + shown["reference"],
            "text": text,
        }
    )
    order = table["cue"].drop_duplicates()
    wide = table.pivot(index="cue", columns="column", values="text").reindex(order)
    return wide.reset_index()


def _imagery(frames, summary):
    similarity = frames["similarity"]
    cross = similarity[similarity["comparison"] == "type 1 perceived, type 2 imagined"]
    alike = cross[cross["p"] < 0.05]
    layers = ", ".join(str(layer) for layer in alike["layer"]) or "none"
    yield {
        "name": "imagery",
        "title": "Imagery: the same concept perceived and imagined",
        "caption": (
            "Mean spike counts of the cells of each layer while stimuli are perceived and while "
            "the concept alone is imagined, what it recalls entering perception. Filled: the same "
            "concept both times; open: another one (mean and SD over concepts). Cosine of the "
            "counts; share of cells that are active in both states or in neither (more than the "
            "mean cell); Spearman's ρ of the dissimilarities of all pairs of concepts "
            "(representational similarity analysis, 10 000 relabellings). Type-1 cells in "
            "perception and their type-2 partners in imagery represent concepts alike in layers: "
            f"{layers} (p < 0.05). Layer 0 compares stimulus afferents with recall cells, the "
            "last one output cells with concept afferents, whose patterns do not overlap by "
            "design."
        ),
        "draw": lambda f: figures.plot_imagery(frames["overlap"], similarity, ax=f.subplots()),
        "table": similarity.assign(
            rho=similarity["rho"].map("{:.2f}".format), p=similarity["p"].map("{:.4f}".format)
        ).rename(columns={"rho": "ρ"}).replace("nan", "–"),
    }
    yield {
        "name": "imagery_geometry",
        "title": "Geometry of concepts, perceived and imagined",
        "caption": (
            "Dissimilarity (1 − Pearson's r of mean spike counts) of all pairs of concepts, in "
            "type-1 cells while perceiving and in type-2 cells while imagining."
        ),
        "draw": lambda f: figures.plot_dissimilarity(
            frames["dissimilarity"], summary["names"], ax=f.subplots()
        ),
    }


def _ambiguity(frames, summary):
    yield {
        "name": "ambiguity",
        "title": "Ambiguity: blends of two stimuli and of two concepts",
        "caption": (
            f"{summary['pairs']} pairs of test stimuli of different concepts, each perceived "
            "rightly alone, blended from the first (0 %) to the second (100 %). Left: what is "
            f"perceived; {_equal_share(summary)}; in the middle "
            f"{_percent(summary['neither_half'])} of the percepts are of another concept. Middle: "
            "time from which the running decision is the final one, "
            f"{summary['decision_ms_unblended']:.1f} ms unblended and "
            f"{summary['decision_ms_half']:.1f} ms in the middle "
            f"({summary['decision_spikes_unblended']:.0f} and "
            f"{summary['decision_spikes_half']:.0f} output spikes). Right: which of the two class "
            "means the recalled stimulus resembles more, of the own percept of blended stimuli, "
            "and of blended concepts. 95 % intervals."
        ),
        "draw": lambda f: figures.plot_ambiguity(
            frames["blends"], frames["psychometric"], ax=f.subplots()
        ),
    }


def _equal_share(summary):
    fit = summary.get("perceived_stimuli")
    if fit is None or np.isnan(fit["threshold"]):
        return "no share of both is perceived equally often"
    return (
        f"both equally often at {_percent(fit['threshold'])} ± {100 * fit['threshold_se']:.1f} "
        f"(standard error, over pairs), where of the percepts that are one of the two "
        f"{fit['slope']:.1f} % change with each % of the blend (cumulative Gaussian)"
    )


def _lesions(frames, summary):
    lesions = frames["lesions"]
    after = lesions[lesions["when"] == "after"]
    worst = after.loc[after["accuracy"].idxmin()]
    fed_back = after[after["manipulation"] != "feedback cut"]  # without it nothing is recalled
    forgets = fed_back.loc[fed_back["r_recall"].idxmin()]
    intact = after[after["manipulation"] == "intact"].iloc[0]
    caption = (
        f"Right percepts of {int(after['n_stimuli'].iloc[0])} test stimuli (95 % intervals), and "
        "correlation of the stimuli recalled from concepts with the class means; dotted: the "
        f"intact network. {_half_hidden(after, intact)} Perception of whole stimuli suffers most "
        f"from '{worst['manipulation']}' ({_percent(worst['accuracy'])}), recall, where feedback "
        f"is not cut, from '{forgets['manipulation']}' (r = {_decimals(forgets['r_recall'])}, "
        f"intact {_decimals(intact['r_recall'])}). Recall is one trial of each concept, averaged "
        "over concepts, without an interval; and the cells that are silenced are one random draw: "
        "others may do more or less. Without plasticity apical dendrites, memory interneurons and "
        "the normaliser do nothing, by construction: apical dendrites do not reach the soma "
        "(cell.g_apical = 0) unless they are given a conductance."
    )
    if (lesions["when"] == "before").any():
        caption += (
            " Below, networks that learned anew, from few trials, under the manipulation: there "
            "they do."
        )
    numbers = ["accuracy", "accuracy_half", "accuracy_loop", "r_recall", "recognised"]
    numbers = [name for name in numbers if name in lesions]
    table = lesions[["when", "manipulation", *numbers]].copy()
    for name in numbers:
        table[name] = table[name].map("{:.3f}".format)
    yield {
        "name": "lesions",
        "title": "Lesions and manipulations",
        "caption": caption,
        "draw": lambda f: figures.plot_lesions(lesions, ax=f.subplots()),
        "table": table.rename(columns=lambda name: name.replace("_", " ")),
    }


def _half_hidden(after, intact):
    """What the accuracies of half-hidden stimuli mean; older folders have those of one pass."""
    once = (
        "In one pass nothing that is recalled comes back, so that lesions of the backward network "
        "and 'feedback cut' cannot act on perception."
    )
    if "accuracy_loop" not in after:
        return f"Stimuli whole, and with random half of their pixels hidden, in one pass. {once}"
    text = (
        "Stimuli whole, and with the left half hidden: in one pass, and in the loop, where what is "
        f"recalled of the percept takes the place of what is hidden. {once} In the loop "
        f"{_percent(intact['accuracy_loop'])} are right in the intact network"
    )
    cut = after[after["manipulation"] == "feedback cut"]
    if len(cut):
        text += f" and {_percent(cut['accuracy_loop'].iloc[0])} with feedback cut"
    return text + "."


def _decimals(number):
    return f"{number:.2f}".replace("-", "\N{MINUS SIGN}")


_OF_CELLS = ["rate_hz", "cv", "lv", "fano", "selectivity", "information_bits"]
_TABLE = {
    "rate_hz": "rate (Hz)", "latency_ms": "latency (ms)", "cv": "CV", "cv2": "CV2", "lv": "LV",
    "fano": "Fano", "chi": "synchrony χ", "treves_rolls": "sparseness",
    "selectivity": "selectivity", "selectivity_shuffled": "selectivity, shuffled",
    "information_bits": "information (bit)",
    "participation_ratio": "dimensionality",
}
_MEASURES = {
    "rate_hz": "rate (Hz)", "cv": "CV", "chi": "synchrony χ", "treves_rolls": "sparseness",
}


def _statistics(frames, summary):
    cells, comparisons, energy = frames["cells"], frames["comparisons"], frames["energy"]
    duration, n = summary["duration_ms"], summary["trials_per_phase"]
    for phase, what in (
        ("perceived", "stimuli are perceived and their percept is recalled"),
        ("imagined", "concepts are imagined and what is recalled enters perception"),
    ):
        own = cells[cells["phase"] == phase]
        yield {
            "name": f"statistics_{phase}",
            "title": f"Firing statistics, {phase}",
            "caption": (
                f"Cells of each population in {n} trials of {duration:.0f} ms in which {what}, "
                "without plasticity: median (line), middle half (bar), 5 to 95 % (thin), and for "
                "how many cells the statistic is defined. CV and LV of a cell are means over its "
                f"trains with at least {summary['min_spikes']} spikes, undefined if there is none; "
                "the Fano factor is over repeats of one stimulus or concept, mean over these; "
                "selectivity is (r − s) / (r + s) of the preferred and of all other concepts; "
                "information is that of the spike count of a trial about the concept (of "
                f"{cells['concept_bits'].max():.2f} bit), less what is left of it when concepts "
                f"are shuffled over {'stimuli' if phase == 'perceived' else 'trials'}. Dotted: a "
                "Poisson process (its CV with ten spikes is 0.86). The table gives means; "
                f"synchrony χ is that of counts in {summary['bin_ms']:.0f} ms (1: all cells "
                "together; about 1/√N: N independent cells), sparseness that of Treves & Rolls, "
                "dimensionality the participation ratio."
            ),
            "draw": lambda f, own=own: firing_figures.plot_statistics(
                own, _OF_CELLS, ax=f.subplots()
            ),
            "table": _means(frames["populations"], phase),
        }
    rates = comparisons[comparisons["measure"] == "rate_hz"]
    clear = comparisons[comparisons["p_corrected"] < 0.05]
    unit = comparisons["unit"].iloc[0]
    yield {
        "name": "statistics_comparisons",
        "title": "Perception against imagery",
        "caption": (
            "Difference of the mean rate of each population, imagined less perceived, paired by "
            f"{unit} (its trials are averaged: repeats are no independent sample), with 95 % "
            f"intervals. Of {len(comparisons)} comparisons of rate, CV, synchrony and sparseness, "
            f"all in the table, {len(clear)} are clear (paired permutation test, p < 0.05 after "
            "Holm's correction over all). The conclusion is about further "
            + ("networks." if unit == "replica" else "concepts for this one network.")
        ),
        "draw": lambda f: firing_figures.plot_comparisons(rates, "population", ax=f.subplots()),
        "table": _compared(comparisons),
    }
    yield {
        "name": "energy",
        "title": "Energy",
        "caption": (
            "Energy per trial of the run, in its own trials, of the pathways that are driven: "
            "0.9 pJ for each spike that arrives at a synapse, 4.6 pJ for each multiplication and "
            "addition of learning (Horowitz 2014, 45 nm, arithmetic alone). Beside it a network "
            "with the same synapses and graded activity, which multiplies and adds at each of them "
            "once, and three times to learn by backpropagation."
        ),
        "draw": lambda f: firing_figures.plot_energy(energy, ax=f.subplots()),
        "table": energy.drop(columns="replica").groupby(
            ["phase", "pathway"], sort=False).mean().map("{:,.0f}".format).reset_index().rename(
            columns=lambda name: name.replace("_", " ")),
    }


def _means(populations, phase):
    own = populations[populations["phase"] == phase]
    order = own["population"].drop_duplicates()
    means = own.groupby(["population", "statistic"])["mean"].mean().unstack()
    means = means.reindex(order)[[name for name in _TABLE if name in means]]
    return means.map("{:.3g}".format).replace("nan", "–").rename(columns=_TABLE).reset_index()


def _compared(comparisons):
    return pd.DataFrame(
        {
            "population": comparisons["population"],
            "measure": comparisons["measure"].map(_MEASURES),
            "perceived": comparisons["mean_reference"].map("{:.3g}".format),
            "imagined": comparisons["mean_other"].map("{:.3g}".format),
            "difference [95 %]": comparisons.apply(_difference, axis=1),
            "effect size d_z": comparisons["effect_size"].map("{:.2f}".format),
            "p, corrected": comparisons["p_corrected"].map("{:.4f}".format),
        }
    ).replace("nan", "–")


def _dynamics(frames, summary):
    angles = "; ".join(
        f"layer {layer} {first:.0f}° → {last:.0f}°"
        for layer, (first, last) in summary["angle_deg"].items()
    )
    caption = (
        "Angle between forward and transposed feedback weights, cosine C of paired patterns in "
        "training trials, Hamming similarity and Cohen's κ of paired cells (dashed: with the "
        "partner's spikes of another trial), and rates of forward (blue) and backward (orange) "
        "populations, darker with the number of the layer. "
        f"Angles: {angles}."
    )
    if any(name.startswith("weight_q") for name in summary):
        caption += " Last: the range of the middle 98 % of the weights of each projection."
    yield {
        "name": "dynamics",
        "title": "Learning dynamics",
        "caption": caption,
        "draw": lambda f: figures.plot_dynamics(frames["dynamics"], ax=f.subplots()),
    }

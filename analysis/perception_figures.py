"""Figures of the experiments of perception and recall, one function each.

As in `bsd.analysis.figures`: each draws a tidy frame into `ax`, or into a new figure.
"""

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from scipy.spatial.distance import squareform

from bsd.analysis.frames import population_order, require_columns
from bsd.analysis.measures import wilson_interval
from bsd.analysis.style import (
    PATHWAY_COLORS,
    WIDTH,
    colour_bar,
    image_panels,
    layer_colors,
    panels_in,
    rows_with_grid,
    styled,
)

__all__ = [
    "plot_ambiguity",
    "plot_completed_images",
    "plot_completion",
    "plot_dissimilarity",
    "plot_dynamics",
    "plot_imagery",
    "plot_lesions",
    "plot_recall_noise",
    "plot_recalled_images",
]

# Okabe & Ito's colours, which colour-blind readers can tell apart.
CONDITIONS = {
    "loop": ("loop: what is decided is recalled", "#0072B2", "o"),
    "graded": ("loop: output spikes recall", "#009E73", "v"),
    "relay": ("loop within the trial", "#56B4E9", "s"),
    "cut": ("feedback cut", "#D55E00", "^"),
    "filled": ("feedback cut, mean stimulus in the hidden part", "#8C8C8C", "D"),
}
COMPARISONS = ["#0072B2", "#D55E00", "#009E73"]
_CUES = {
    "random": ("random pixels", "hidden (%)", 100),
    "left": ("left side", "hidden (%)", 100),
    "right": ("right side", "hidden (%)", 100),
    "top": ("top", "hidden (%)", 100),
    "bottom": ("bottom", "hidden (%)", 100),
    "noise": ("noise", "SD of noise (of white)", 1),
    "blur": ("blur", "SD of blur (pixels)", 1),
}
_MEASURES = {
    "correct": ("right percepts (%)", 100),
    "r": ("r with own image", 1),
    "ssim": ("SSIM with own image", 1),
}


@styled
def plot_recalled_images(images, image_shape, names=None, ax=None):
    """Recalled stimuli of every concept, without and with spike noise, beside what was learned.

    Parameters
    ----------
    images : pandas.DataFrame
        ``kind`` (class mean, nearest, recalled, noisy), ``concept, instance, pixel, rate``.
    image_shape : (int, int) or (int, int, 3)
    names : dict of int to str, optional
        Of concepts, instead of their numbers.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(images, ["kind", "concept", "instance", "pixel", "rate"], "images")
    labels = {"class mean": "class mean", "nearest": "nearest\nlearned", "recalled": "recalled"}
    rows = [(kind, 0, label) for kind, label in labels.items()]
    noisy = sorted(images.loc[images["kind"] == "noisy", "instance"].unique())
    rows += [("noisy", k, f"with noise {n + 1}") for n, k in enumerate(noisy)]
    concepts = sorted(images["concept"].unique())
    stacks = {key: own for key, own in images.groupby(["kind", "instance", "concept"])}

    def image(row, concept):
        own = stacks.get((*row[:2], concept))
        return None if own is None else own.sort_values("pixel")["rate"].to_numpy()

    return image_panels(
        ax, [[image(row, concept) for concept in concepts] for row in rows],
        image_shape, [row[2] for row in rows], [_named(c, names) for c in concepts],
    )


def _named(concept, names):
    return str((names or {}).get(concept, concept))


@styled
def plot_recall_noise(quality, ax=None):
    """Recognition and likeness of recalled stimuli against the spikes lost.

    Parameters
    ----------
    quality : pandas.DataFrame
        ``loss, concept, recognised_right, r_class_mean, r_nearest``, one row per trial.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(
        quality, ["loss", "recognised_right", "r_class_mean", "r_nearest"], "quality"
    )
    ax, ((left, right),) = panels_in(ax, 2.9, 1, 2)
    shares = quality.groupby("loss")["recognised_right"].agg(["mean", "size"])
    _share_line(left, 100 * shares.index, shares["mean"], shares["size"], "#0072B2", "o", None)
    left.axhline(100 / quality["concept"].nunique(), color="#6B6B6B", lw=0.9, ls=":")
    left.set(ylabel="recognised (%)", ylim=(0, 103))
    for (column, label), color in zip(
        {"r_class_mean": "class mean", "r_nearest": "nearest training image"}.items(),
        ("#0072B2", "#D55E00"), strict=True,
    ):
        sns.lineplot(
            x=100 * quality["loss"], y=quality[column], ax=right, color=color, errorbar="sd",
            marker="o", ms=4.5, mec=color, label=label,
        )
    right.set(ylabel="r with recalled stimulus", ylim=(0, 1.02))
    right.legend(loc="lower left")
    for panel in (left, right):
        panel.set_xlabel("spikes of the concept afferents lost (%)")
    return ax


def _share_line(ax, x, share, n, color, marker, label):
    low, high = wilson_interval(share.to_numpy(), n.to_numpy())
    share = share.to_numpy()
    ax.errorbar(
        x, 100 * share, yerr=100 * np.stack([share - low, high - share]).clip(min=0), color=color,
        marker=marker, ms=4, lw=1.4, elinewidth=0.8, label=label, clip_on=False,
    )


@styled
def plot_completion(quality, measure="correct", ax=None):
    """Perception or likeness of damaged stimuli, one panel per kind of damage.

    Parameters
    ----------
    quality : pandas.DataFrame
        ``cue, level, condition, cycle, concept, correct, r, ssim``, one row per cue, condition
        and cycle; the last cycle is shown.
    measure : {'correct', 'r', 'ssim'}
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes
        With 95 % intervals (of shares: Wilson's; of means: of the normal distribution); dotted:
        right percepts by chance.

    Raises
    ------
    ValueError
        If a column is missing or the measure is unknown.
    """
    if measure not in _MEASURES:
        raise ValueError(f"measure = {measure!r}: choose one of {', '.join(_MEASURES)}")
    columns = ["cue", "level", "condition", "cycle", "concept", measure]
    require_columns(quality, columns, "quality")
    last = quality[quality["cycle"] == quality["cycle"].max()]
    whole = last[last["cue"] == "none"]
    panels = [cue for cue in _CUES if (last["cue"] == cue).any()]
    label, factor = _MEASURES[measure]
    n_columns = min(4, len(panels) + 1)
    n_rows = -(-(len(panels) + 1) // n_columns)
    frame, axes = panels_in(ax, 0.2 + 2.1 * n_rows, n_rows, n_columns, sharey=True)
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    for ax, cue in zip(axes.flat, panels, strict=False):
        title, x_label, x_factor = _CUES[cue]
        for condition in ("filled", "relay", "graded", "cut", "loop"):  # the last lies on top
            _, color, marker = CONDITIONS[condition]
            own = [
                rows[rows["condition"] == condition]
                for rows in (whole, last[last["cue"] == cue])
            ]
            grouped = _values(own, measure)
            x = x_factor * grouped.index.to_numpy()
            if measure == "correct":
                _share_line(ax, x, grouped["mean"], grouped["size"], color, marker, None)
            else:
                half = 1.96 * grouped["sem"].fillna(0)
                ax.errorbar(
                    x, grouped["mean"], yerr=half, color=color, marker=marker, ms=4, lw=1.4,
                    elinewidth=0.8,
                )
        if x_factor == 100:
            ax.set_xticks([0, 25, 50, 75])
        ax.set_title(title)
        ax.set_xlabel(x_label)
        ax.tick_params(labelleft=True)
        if measure == "correct":
            ax.axhline(100 / quality["concept"].nunique(), color="#6B6B6B", lw=0.9, ls=":")
    # once all panels, which share the axis, are drawn
    low = 0.0 if measure == "correct" else min(0.0, axes[0, 0].get_ylim()[0])
    axes[0, 0].set_ylim(low, 1.03 * factor)
    for ax in axes[:, 0]:
        ax.set_ylabel(label)
    handles = [
        Line2D([], [], color=color, marker=marker, ms=4, label=text)
        for condition, (text, color, marker) in CONDITIONS.items()
        if (last["condition"] == condition).any()
    ]
    if measure == "correct":
        handles.append(Line2D([], [], color="#6B6B6B", lw=0.9, ls=":", label="chance"))
    frame.figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return frame


def _values(frames, measure):
    values = pd.concat(frames)
    grouped = values[measure].astype(float).groupby(values["level"])
    return grouped.agg(["mean", "size", "sem"])


@styled
def plot_completed_images(images, image_shape, cue="left", names=None, ax=None):
    """Damaged stimuli, what is recalled, and how the loop completes them, cycle by cycle.

    Parameters
    ----------
    images : pandas.DataFrame
        ``cue, kind`` (own, cue, completed, recalled), ``cycle, concept, percept, pixel, rate``.
    image_shape : (int, int) or (int, int, 3)
    cue : str
        Which mask.
    names : dict of int to str, optional
        Of concepts, instead of their numbers.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes
        Columns are concepts, with what was perceived in the last cycle.

    Raises
    ------
    ValueError
        If a column is missing or there is no such cue.
    """
    require_columns(images, ["cue", "kind", "cycle", "concept", "percept", "rate"], "images")
    images = images[images["cue"] == cue]
    if images.empty:
        raise ValueError(f"no images of the cue {cue!r} were kept")
    last = images["cycle"].max()
    rows = [("own", 0, "own image"), ("cue", 0, "cue"), ("recalled", 0, "recalled")]
    rows += [("completed", 0, "completed")]
    rows += [("recalled", last, f"recalled,\ncycle {last + 1}")]
    rows += [("completed", last, f"completed,\ncycle {last + 1}")]
    concepts = sorted(images["concept"].unique())
    stacks = {key: own for key, own in images.groupby(["kind", "cycle", "concept"])}
    grid = [
        [
            stacks[kind, cycle, concept].sort_values("pixel")["rate"].to_numpy()
            for concept in concepts
        ]
        for kind, cycle, _ in rows
    ]
    percepts = [stacks["recalled", last, c]["percept"].iloc[0] for c in concepts]
    arrow = "\n→ " if names else " → "
    titles = [
        f"{_named(concept, names)}{arrow}{'–' if percept < 0 else _named(percept, names)}"
        for concept, percept in zip(concepts, percepts, strict=True)
    ]
    return image_panels(ax, grid, image_shape, [label for *_, label in rows], titles)


@styled
def plot_imagery(overlap, similarity, ax=None):
    """Overlap and representational similarity of perception and imagery in each layer.

    Parameters
    ----------
    overlap : pandas.DataFrame
        ``layer, comparison, perceived, imagined, cosine, hamming``.
    similarity : pandas.DataFrame
        ``layer, comparison, rho, p``.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes
        Filled: the same concept; open: another one, with SD over pairs.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    columns = ["layer", "comparison", "perceived", "imagined", "cosine", "hamming"]
    require_columns(overlap, columns, "overlap")
    require_columns(similarity, ["layer", "comparison", "rho", "p"], "similarity")
    comparisons = list(overlap["comparison"].unique())
    layers = sorted(overlap["layer"].unique())
    frame, (axes,) = panels_in(ax, 3.4, 1, 3)
    same = overlap["perceived"] == overlap["imagined"]
    for k, (name, color) in enumerate(zip(comparisons, COMPARISONS, strict=False)):
        shift = 0.18 * (k - (len(comparisons) - 1) / 2)
        own = overlap["comparison"] == name
        for ax, column in zip(axes, ("cosine", "hamming"), strict=False):
            for rows, face in ((own & same, color), (own & ~same, "white")):
                value = overlap[rows].groupby("layer")[column].agg(["mean", "std"])
                ax.errorbar(
                    value.index + shift, value["mean"], yerr=value["std"], color=color, mfc=face,
                    marker="o", ms=5, ls="", elinewidth=0.8,
                )
        rho = similarity[similarity["comparison"] == name]
        certain = (rho["p"] < 0.05).to_numpy()
        axes[2].plot(rho["layer"] + shift, rho["rho"], color=color, lw=0.8, alpha=0.5)
        for chosen, face in ((certain, color), (~certain, "white")):
            axes[2].plot(
                rho["layer"][chosen] + shift, rho["rho"][chosen], color=color, mfc=face,
                marker="s", ms=5, ls="",
            )
    titles = ("overlap of patterns", "overlap of active cells", "similarity of geometry")
    labels = ("cosine", "Hamming similarity", "Spearman's ρ of dissimilarities")
    for ax, title, label in zip(axes, titles, labels, strict=True):
        ax.set(title=title, ylabel=label, xlabel="layer", xticks=layers)
        ax.set_ylim(min(0.0, ax.get_ylim()[0]), 1.03)
    handles = [
        Line2D([], [], color=color, marker="o", ls="", label=name)
        for name, color in zip(comparisons, COMPARISONS, strict=False)
    ]
    grey = {"color": "#444444", "ls": ""}
    handles += [
        Line2D([], [], marker="o", label="same concept", **grey),
        Line2D([], [], marker="o", mfc="white", label="another concept", **grey),
        Line2D([], [], marker="s", mfc="white", label="ρ not above chance (p ≥ 0.05)", **grey),
    ]
    frame.figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return frame


@styled
def plot_dissimilarity(dissimilarity, names=None, ax=None):
    """Representational dissimilarity of concepts, perceived and imagined, in each layer.

    Parameters
    ----------
    dissimilarity : pandas.DataFrame
        ``pathway, state, layer, first, second, dissimilarity``.
    names : dict of int to str, optional
        Of concepts, instead of their numbers.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes
        Type-1 cells while perceiving above, type-2 cells while imagining below.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    columns = ["pathway", "state", "layer", "first", "second", "dissimilarity"]
    require_columns(dissimilarity, columns, "dissimilarity")
    rows = [("forward", "perceived", "type 1,\nperceived"), ("backward", "imagined",
            "type 2,\nimagined")]
    layers = sorted(dissimilarity["layer"].unique())
    frame, axes = panels_in(ax, 0.5 + 2 * (WIDTH - 1.6) / len(layers), 2, len(layers))
    for row, (pathway, state, label) in enumerate(rows):
        for ax, layer in zip(axes[row], layers, strict=True):
            own = dissimilarity[
                (dissimilarity["pathway"] == pathway) & (dissimilarity["state"] == state)
                & (dissimilarity["layer"] == layer)
            ].sort_values(["first", "second"])
            drawn = ax.imshow(
                squareform(own["dissimilarity"].to_numpy(), checks=False), cmap="viridis",
                vmin=0, vmax=1.5,
            )
            n = int(own["second"].max()) + 1
            ticks = range(0, n, max(1, n // (12 if names else 5)))
            labels = [_named(tick, names) for tick in ticks]
            size = {"fontsize": 6.5, "parse_math": False} if names else {}
            ax.set_xticks(ticks, labels if row else [], rotation=90 if names else 0, **size)
            ax.set_yticks(ticks, labels, **size)
            if row == 0:
                ax.set_title(f"layer {layer}", loc="center")
            else:
                ax.set_xlabel("concept")
        axes[row, 0].set_ylabel(f"{label}\nconcept")
    colour_bar(frame, drawn, axes, "dissimilarity, 1 − r")
    return frame


@styled
def plot_ambiguity(blends, psychometric, ax=None):
    """Percepts of blended stimuli, time to decide, and what is recalled.

    Parameters
    ----------
    blends : pandas.DataFrame
        ``phase, blend, decision_ms, decision_spikes, unblended_right``, one row per trial.
    psychometric : pandas.DataFrame
        ``blend, first, second, neither, none, n_trials, what, of``.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(blends, ["phase", "blend", "decision_spikes", "decision_ms"], "blends")
    require_columns(psychometric, ["blend", "first", "second", "what", "of"], "psychometric")
    frame, (axes,) = panels_in(ax, 3.1, 1, 3)
    perceived = psychometric[psychometric["what"] == "perceived"]
    kinds = {
        "first": ("first", "#0072B2", "o"), "second": ("second", "#D55E00", "s"),
        "neither": ("another", "#8C8C8C", "^"), "none": ("no decision", "#111111", "D"),
    }
    for column, (label, color, marker) in kinds.items():
        _share_line(
            axes[0], 100 * perceived["blend"], perceived[column], perceived["n_trials"], color,
            marker, label,
        )
    axes[0].set_ylabel("perceived (% of trials)")
    shown = blends[(blends["phase"] == "stimuli") & blends["unblended_right"]]
    times = shown.groupby("blend")["decision_ms"].agg(["mean", "sem"])
    axes[1].errorbar(
        100 * times.index, times["mean"], yerr=1.96 * times["sem"], color="#009E73", marker="o",
        ms=4, lw=1.4,
    )
    axes[1].set_ylabel("decision time (ms)")
    for of, color, marker in (("stimuli", "#0072B2", "o"), ("concepts", "#D55E00", "s")):
        own = psychometric[(psychometric["what"] == "recalled") & (psychometric["of"] == of)]
        _share_line(
            axes[2], 100 * own["blend"], own["second"], own["n_trials"], color, marker,
            f"of {of}",
        )
    axes[2].set_ylabel("recall resembles the second (%)")
    for ax in axes:
        ax.set_xlabel("share of the second (%)")
    for ax in (axes[0], axes[2]):
        ax.set_ylim(0, 103)
        ax.legend(
            loc="lower left", bbox_to_anchor=(-0.15, 1), ncols=2, borderaxespad=0, fontsize=7.5,
            columnspacing=1,
        )
    return frame


@styled
def plot_lesions(lesions, ax=None):
    """Perception and recall under each manipulation, with the intact network as a line.

    Parameters
    ----------
    lesions : pandas.DataFrame
        ``when`` (after or before learning), ``manipulation, accuracy, accuracy_half, r_recall,
        n_stimuli``; ``accuracy_loop`` where half-hidden stimuli were perceived in the loop, too.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    columns = ["when", "manipulation", "accuracy", "accuracy_half", "r_recall", "n_stimuli"]
    require_columns(lesions, columns, "lesions")
    parts = [part for part in ("after", "before") if (lesions["when"] == part).any()]
    sizes = [(lesions["when"] == part).sum() for part in parts]
    frame, axes = panels_in(
        ax, 0.9 * len(parts) + 0.22 * sum(sizes), len(parts), 2, height_ratios=sizes,
        sharex="col", sharey="row",
    )
    shares = [
        ("accuracy", "#0072B2", "o", "whole stimulus"),
        ("accuracy_half", "#56B4E9", "s", "half hidden, one pass without feedback"),
        ("accuracy_loop", "#009E73", "^", "half hidden, loop through recall"),
    ]
    shares = [share for share in shares if share[0] in lesions]  # no loop in older folders
    for row, part in enumerate(parts):
        own = lesions[lesions["when"] == part].reset_index(drop=True)
        intact = own[own["manipulation"] == "intact"].iloc[0]
        left, right = axes[row]
        y = np.arange(len(own))
        for k, (column, color, marker, label) in enumerate(shares):
            shift = 0.25 * (k - (len(shares) - 1) / 2)
            low, high = wilson_interval(own[column], own["n_stimuli"])
            bars = 100 * np.stack([own[column] - low, high - own[column]]).clip(min=0)
            left.errorbar(
                100 * own[column], y + shift, xerr=bars, color=color, marker=marker, ms=4, ls="",
                elinewidth=0.8, label=label, clip_on=False,
            )
            left.axvline(100 * intact[column], color=color, lw=0.8, ls=":")
        right.plot(
            own["r_recall"], y, color=PATHWAY_COLORS["backward"], marker="D", ms=4, ls="",
            clip_on=False,
        )
        right.axvline(intact["r_recall"], color=PATHWAY_COLORS["backward"], lw=0.8, ls=":")
        for ax in (left, right):
            rows_with_grid(ax)
            ax.grid(axis="y", color="#EFEFEF", lw=0.7)
        left.set_yticks(y, own["manipulation"])
        left.set_ylim(len(own) - 0.5, -0.5)
        left.set_title(f"{part} learning")
        left.set_xlim(0, 100)
        right.set_xlim(min(0, own["r_recall"].min()), 1)
    axes[-1, 0].set_xlabel("right percepts (%)")
    axes[-1, 1].set_xlabel("r of recall with class mean")
    frame.figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=len(shares)
    )
    return frame


@styled
def plot_dynamics(dynamics, ax=None):
    """Alignment, rates and weights over training.

    Parameters
    ----------
    dynamics : pandas.DataFrame
        ``replica, n_done, quantity, of, value``, see
        `bsd.runs.experiments.perception.dynamics`. Rates and weights of replicas are averaged.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes
        Of the weights (if the run kept them) the range of the middle 98 %, by projection.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(dynamics, ["replica", "n_done", "quantity", "of", "value"], "dynamics")
    weights = dynamics["quantity"].str.startswith("weight_q").any()
    n_rows, n_columns = (3, 2) if weights else (2, 3)
    frame, axes = panels_in(ax, 0.5 + 2.2 * n_rows, n_rows, n_columns)
    panels = iter(axes.flat)
    layers = sorted(
        dynamics.loc[dynamics["quantity"].isin(["angle_deg", "cosine"]), "of"].unique()
    )
    colors = dict(zip(layers, layer_colors(len(layers)), strict=True))
    for quantity, label in (
        ("angle_deg", "angle of W and $Θ^T$ (°)"),
        ("cosine", "cosine C while learning"),
        ("hamming", "Hamming similarity"),
        ("kappa", "Cohen's κ"),
    ):
        ax = next(panels)
        for name, style in ((quantity, "-"), (f"{quantity}_shuffled", (0, (4, 2)))):
            own = dynamics[dynamics["quantity"] == name].sort_values("n_done")
            for (layer, _), line in own.groupby(["of", "replica"]):
                ax.plot(line["n_done"], line["value"], color=colors[layer], ls=style, lw=1.4)
        ax.set_ylabel(label)
        low, high = ax.get_ylim()
        ax.set_ylim(min(0, low), max(100, high) if quantity == "angle_deg" else 1)
    ax = next(panels)
    rates = dynamics[dynamics["quantity"] == "rate_hz"]
    rates = rates.groupby(["of", "n_done"], as_index=False)["value"].mean()
    rates = rates[rates["of"].str[0].isin(["F", "B"])]
    names = population_order(rates["of"])
    shades = _shades(names, "F")
    ends = []
    for name in names:
        line = rates[rates["of"] == name]
        ax.plot(line["n_done"], line["value"], color=shades[name], lw=1.3)
        ends.append((name, line["n_done"].iloc[-1], line["value"].iloc[-1], shades[name]))
    ax.set_ylabel("rate while learning (Hz)")
    ax.set_ylim(bottom=0)
    _label_ends(ax, ends)
    ax = next(panels)
    if weights:
        _weights(ax, dynamics)
    else:
        ax.axis("off")
    for ax in axes.flat:
        ax.set_xlabel("training trials")
        ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    handles = [Line2D([], [], color=colors[i], lw=1.8, label=f"layer {i}") for i in layers]
    handles.append(Line2D([], [], color="#444444", lw=1.2, ls=(0, (4, 2)), label="trial-shuffled"))
    frame.figure.legend(handles=handles, loc="outside upper left", ncols=6)
    return frame


def _weights(ax, dynamics):
    own = dynamics[dynamics["quantity"].str.startswith("weight_q")]
    table = own.pivot_table(index=["of", "n_done"], columns="quantity", values="value")
    names = sorted(own["of"].unique(), key=lambda name: (name[0] != "W", name))
    shades = _shades(names, "W")
    ends = []
    for name in names:
        line = table.loc[name]
        spread = line["weight_q99"] - line["weight_q01"]
        ax.plot(line.index, spread, color=shades[name], lw=1.3)
        ends.append((name.replace("Theta", "Θ"), line.index[-1], spread.iloc[-1], shades[name]))
    ax.set_ylabel("98 % range of weights (unit: 1)")
    ax.set_ylim(bottom=0)
    _label_ends(ax, ends)


def _shades(names, forward):
    """Colours of the pathways, from light to dark by the number in the name.

    The names of the forward pathway begin with the letter `forward`.
    """
    shades = {}
    for of_pathway, scale in ((True, "Blues"), (False, "Oranges")):
        own = [name for name in names if (name[0] == forward) == of_pathway]
        own.sort(key=lambda name: int("".join(filter(str.isdigit, name)) or 0))
        depths = np.linspace(0.45, 1.0, max(len(own), 2))
        shades |= {name: mpl.colormaps[scale](d) for name, d in zip(own, depths, strict=False)}
    return shades


def _label_ends(ax, ends):
    """Names beside the ends of lines, with a leader where they had to be moved apart."""
    low, high = ax.get_ylim()
    ends = sorted(ends, key=lambda end: end[2])
    gap = min(0.075, 1 / max(1, len(ends) - 1)) * (high - low)
    at = []
    for _, _, y, _ in ends:
        at.append(max(y, at[-1] + gap) if at else y)
    for k in reversed(range(len(at))):  # the uppermost stay in the panel
        at[k] = min(at[k], high - gap * (len(at) - 1 - k))
    for (name, x, y, color), height in zip(ends, at, strict=True):
        ax.annotate(
            name, (x, y), xytext=(14, height), textcoords=("offset points", "data"), va="center",
            fontsize=7.5, color=color,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.7, "shrinkA": 1, "shrinkB": 1},
        )

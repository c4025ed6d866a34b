"""One function per figure.

Each takes a tidy frame and draws into `ax`; without it, it makes a pyplot figure, as seaborn does.
Figures of several panels put them in the place of `ax`. Colours and fonts: `bsd.analysis.style`.
"""

import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.dates import ConciseDateFormatter
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bsd.analysis import measures, sweeps
from bsd.analysis.frames import population_order, require_columns
from bsd.analysis.sequences import SIMPLE, errors_by_epoch
from bsd.analysis.style import (
    PATHWAY_COLORS,
    image_panels,
    layer_colors,
    new_axes,
    panels_in,
    population_rows,
    styled,
)

COMPARTMENT_COLORS = {"apical": "#CC79A7", "basal": "#009E73", "soma": "#111111"}

_PHASE_MARKERS = ["o", "s", "^", "D", "v", "P"]
_MAX_LINE_POINTS = 2000
_MAX_ANNOTATED = 20
_MAX_WRITTEN = 8  # values on a side of a heat map of a sweep
_FACTOR_COLUMNS = 3
_TITLE_WIDTH = 26  # characters over one of them
_LOG_RATIO = 30
_LEAST_SPAN = 0.05
# label, factor, and where the measure ends
_SWEEP_LABELS = {
    "accuracy": ("test accuracy (%)", 100, (0, 100)),
    "reconstruction_ssim": ("SSIM of reconstructions", 1, (-1, 1)),
    "mse": ("mean squared error", 1, (0, np.inf)),
    "kappa": ("kappa, less shuffled", 1, (-1, 1)),
    "rate_forward_hz": ("rate of type-1 cells (Hz)", 1, (0, np.inf)),
    "ms_per_trial": ("computing time per trial (ms)", 1, (0, np.inf)),
}
_UNBOUNDED = (1, (-np.inf, np.inf))


@styled
def plot_learning_curve(trials, ax=None):
    """Running accuracy of the training trials and test accuracy of each epoch.

    Parameters
    ----------
    trials : pandas.DataFrame
        Trial table in order of presentation with ``trial, epoch, phase, concept, correct``;
        either phase may be missing.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing or no trial has a decision.
    """
    require_columns(trials, ["trial", "epoch", "phase", "concept", "correct"], "trials")
    decided = trials[trials["correct"].notna()]
    phases = set(decided["phase"])
    if not phases & {"train", "test"}:
        raise ValueError("no training or test trial has a decision: join the decisions to trials")
    ax = new_axes(ax, 3.2)
    n_concepts = trials.loc[trials["concept"] >= 0, "concept"].nunique()
    trained = np.unique(trials.loc[trials["phase"] == "train", "trial"])
    if "train" in phases:
        curve = measures.running_accuracy(trials)
        window = curve.attrs["window"]
        thinned = curve.iloc[:: max(1, len(curve) // _MAX_LINE_POINTS)]
        sns.lineplot(
            x=thinned["n_done"], y=100 * thinned["accuracy"], ax=ax, color="#56A0D3", lw=1.3,
            label=f"training, mean of {window} trials",
        )
    if "test" in phases:
        table = measures.accuracy(trials)
        first = trials[trials["phase"] == "test"].groupby("epoch")["trial"].min()
        x = table["epoch"].map(first.map(lambda trial: np.searchsorted(trained, trial)))
        interval = 100 * np.stack(
            [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
        )
        ax.errorbar(
            x, 100 * table["accuracy"], yerr=interval.clip(min=0), color="#D55E00", marker="o",
            ms=4.5, lw=1.3, elinewidth=1, label="test, 95 % interval", zorder=3, clip_on=False,
        )
        ax.annotate(
            f"{100 * table['accuracy'].iloc[-1]:.1f} %",
            (x.iloc[-1], 100 * table["accuracy"].iloc[-1]),
            xytext=(0, -14), textcoords="offset points", ha="center", va="top",
            color="#B34700", fontweight="bold",
        )
    if n_concepts > 1:
        ax.axhline(100 / n_concepts, color="#6B6B6B", lw=0.9, ls=":", label="chance")
    ax.set(xlabel="training trials", ylabel="correct decisions (%)", ylim=(0, 100))
    if "train" in phases:
        ax.set_xlim(left=0)
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: labels[k] == "chance")
    ax.legend(
        [handles[k] for k in order], [labels[k] for k in order],
        loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0,
    )
    return ax


@styled
def plot_raster(spikes, trial=None, replica=None, sizes=None, ax=None):
    """Spikes of both pathways during one trial, one band per population.

    The bands go up from the stimulus to the concept, each type-1 population beside its
    partner of the same layer; all bands are equally high, whatever their number of cells.

    Parameters
    ----------
    spikes : pandas.DataFrame
        ``trial, t_ms, population, pathway, layer, cell`` (and ``replica``).
    trial, replica : int, optional
        The first recorded one by default.
    sizes : mapping of str to int, optional
        Cells per population, silent ones included; by default as many as have spikes.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing or the trial has no recorded spikes.
    """
    require_columns(spikes, ["trial", "t_ms", "population", "pathway", "layer", "cell"], "spikes")
    shown = _one_trial(spikes, trial, replica, "spikes")
    sizes = {} if sizes is None else dict(sizes)
    bands = spikes.drop_duplicates("population").set_index("population")[["pathway", "layer"]]
    rank = {name: i for i, name in enumerate(population_order(bands.index))}
    order = sorted(bands.index, key=lambda name: (bands.loc[name, "layer"], rank[name]))
    largest = spikes.groupby("population", observed=True)["cell"].max()
    ax = new_axes(ax, 0.6 + 0.42 * len(order))
    height, ticks, labels = 0.84, [], []
    for row, name in enumerate(order):
        n_cells = max(sizes.get(name, 0), int(largest[name]) + 1)
        color = PATHWAY_COLORS.get(bands.loc[name, "pathway"], "#333333")
        of_band = shown[shown["population"] == name]
        ax.axhspan(row, row + height, color=color, alpha=0.07, lw=0)
        # Cells of large populations overlap rather than vanish below a pixel.
        mark = max(0.7 * height / n_cells, 0.05)
        low = row + height * of_band["cell"].to_numpy() / n_cells
        low = np.minimum(low, row + height - mark)
        ax.vlines(of_band["t_ms"], low, low + mark, color=color, lw=1.9)
        ticks.append(row + height / 2)
        labels.append(f"{name} ({n_cells})")
    ax.set_yticks(ticks, labels)
    for label, name in zip(ax.get_yticklabels(), order, strict=True):
        label.set_color(PATHWAY_COLORS.get(bands.loc[name, "pathway"], "#333333"))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set(xlabel="time in trial (ms)", ylabel="population (cells)", ylim=(-0.05, len(order)))
    present = [p for p in PATHWAY_COLORS if p in set(bands["pathway"])]
    handles = [
        Line2D([], [], color=PATHWAY_COLORS[p], marker="|", ls="", mew=2, label=text)
        for p in present
        for text in [{"forward": "forward (type 1)", "backward": "backward (type 2)"}.get(p, p)]
    ]
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)
    return ax


def voltage_pairs(voltages):
    """Cell pairs of which both the type-1 and the type-2 cell were recorded.

    Parameters
    ----------
    voltages : pandas.DataFrame
        ``trial, population, layer, cell, compartment, v_mV`` (and ``replica``).

    Returns
    -------
    pandas.DataFrame
        ``trial, layer, cell, excursion_mV``: depolarisation of the soma that depolarises less of
        the two, from the start of the trial; the largest first.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    columns = ["trial", "population", "layer", "cell", "compartment", "v_mV"]
    require_columns(voltages, columns, "voltages")
    family = voltages["population"].astype(str).str[0]
    soma = voltages.assign(family=family)
    soma = soma[family.isin(["F", "B"]) & (soma["compartment"] == "soma")]
    by = ["trial", "layer", "cell"]
    ranges = soma.groupby([*by, "family"])["v_mV"].agg(lambda v: v.max() - v.iloc[0]).reset_index()
    pairs = ranges.groupby(by)["v_mV"].agg(excursion_mV="min", n_members="size").reset_index()
    pairs = pairs[pairs.pop("n_members") == 2]
    return pairs.sort_values("excursion_mV", ascending=False, kind="stable").reset_index(drop=True)


@styled
def plot_voltages(
    voltages, trial=None, layer=None, cell=None, replica=None, threshold_mV=None, spikes=None,
    ax=None,
):
    """Somatic, basal and apical potential of a type-1 cell and of its type-2 partner.

    Parameters
    ----------
    voltages : pandas.DataFrame
        ``trial, t_ms, population, layer, cell, compartment, v_mV`` (and ``replica``).
    trial, layer, cell, replica : int, optional
        Which pair; by default, among what fits, the one whose somata both depolarise most.
    threshold_mV : float, optional
        Firing threshold, drawn as a line.
    spikes : pandas.DataFrame, optional
        Spikes to mark above the traces.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes
        Around the panels: type-1 cell above, type-2 cell below, on one scale.

    Raises
    ------
    ValueError
        If a column is missing or no such pair was recorded.
    """
    require_columns(voltages, ["t_ms"], "voltages")
    chosen = {"trial": trial, "layer": layer, "cell": cell, "replica": replica}
    voltages = _select(voltages, chosen)
    pairs = voltage_pairs(voltages)
    if pairs.empty:
        raise ValueError(
            "no such cell pair in the voltages: record a cell of F and its partner of B, same "
            "layer and number, in the same trial"
        )
    best = pairs.iloc[0]
    pair = {name: int(best[name]) for name in ("trial", "layer", "cell")}
    shown = _one_trial(_select(voltages, pair), pair["trial"], replica, "voltages")
    if replica is None and "replica" in shown:
        replica = int(shown["replica"].iloc[0])
    frame, axes = panels_in(ax, 4.2, 2, 1, sharex=True, sharey=True)
    axes = axes[:, 0]
    for ax, family, kind in zip(axes, "FB", ("type 1, forward", "type 2, backward"), strict=True):
        of_cell = shown[shown["population"].astype(str).str.startswith(family)]
        name = of_cell["population"].iloc[0]
        for compartment, color in COMPARTMENT_COLORS.items():
            trace = of_cell[of_cell["compartment"] == compartment].sort_values("t_ms")
            soma = compartment == "soma"
            sns.lineplot(
                x=trace["t_ms"], y=trace["v_mV"], ax=ax, color=color, lw=1.7 if soma else 1.4,
                estimator=None, label=compartment, legend=False, zorder=3 if soma else 2,
            )
        if threshold_mV is not None:
            ax.axhline(threshold_mV, color="#6B6B6B", lw=1, ls="--", label="threshold")
        if spikes is not None:
            fired = _select(spikes, {**pair, "replica": replica})
            fired = fired[fired["population"] == name]
            (marks,) = ax.plot(
                fired["t_ms"], np.full(len(fired), 1.03), transform=ax.get_xaxis_transform(),
                ls="", marker="v", ms=4.5, color="#111111", clip_on=False, label="spike",
            )
            marks.set_in_layout(False)  # an empty one collapses the layout
        ax.set_title(
            f"{name}, cell {pair['cell']} ({kind})", pad=10,
            color=PATHWAY_COLORS["forward" if family == "F" else "backward"],
        )
        ax.set_ylabel("potential (mV)")
    axes[-1].set_xlabel("time in trial (ms)")
    handles, labels = axes[0].get_legend_handles_labels()
    frame.figure.legend(handles, labels, loc="outside upper right", ncols=len(handles))
    return frame


@styled
def plot_recall(recalled, class_mean, image_shape, names=None, ax=None):
    """Recalled stimulus of each concept beside the mean stimulus of its class.

    Parameters
    ----------
    recalled, class_mean : array_like, shape (n_concepts, n_pixels)
        Rates as fractions of the largest possible one, 0 to 1; one grey scale for all. Without a
        class mean (None) the recalled stimuli stand alone.
    image_shape : (int, int) or (int, int, 3)
        Rows and columns of an image; 3 where pixels are red, green and blue.
    names : dict of int to str, optional
        Of the concepts; the numbers by default.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes
        Under each class mean its concept, under each recalled image its correlation with it;
        where it stands alone, its concept.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    recalled = np.asarray(recalled, float)
    image_shape = tuple(int(n) for n in image_shape)
    n_concepts, n_pixels = recalled.shape
    colour = image_shape[2:] == (3,)
    if len(image_shape) != 2 + colour or np.prod(image_shape) != n_pixels:
        raise ValueError(
            f"{n_pixels} pixels do not fill an image of shape {image_shape}: "
            "give image_shape as (rows, columns), in colour (rows, columns, 3)"
        )
    n_columns = min(n_concepts, 10)
    n_rows = -(-n_concepts // n_columns)
    rows, labels, below = [], [], []
    numbers = [str((names or {}).get(k, k)) for k in range(n_concepts)]
    kinds = [(recalled, "recalled", numbers)]
    if class_mean is not None:
        correlation = measures.recall_correlation(recalled, class_mean)
        texts = ["r undefined" if np.isnan(r) else f"r = {r:.2f}" for r in correlation]
        class_mean = np.asarray(class_mean, float)
        kinds = [(class_mean, "class mean", numbers), (recalled, "recalled", texts)]
    for row in range(n_rows):
        own = list(range(row * n_columns, min((row + 1) * n_columns, n_concepts)))
        rest = n_columns - len(own)
        for stack, label, texts in kinds:
            rows.append([stack[concept] for concept in own] + [None] * rest)
            labels.append(label)
            below.append([texts[concept] for concept in own] + [""] * rest)
    return image_panels(ax, rows, image_shape, labels, [""] * n_columns, below)


@styled
def plot_alignment(alignment, weight_alignment=None, trials=None, ax=None):
    """Alignment of both pathways over training, one line per layer.

    Panels: cosine C of the activity of paired populations, Hamming similarity and
    Cohen's kappa of paired spikes (trial-shuffled values dashed), and, where given, the angle
    between forward weights and transposed feedback weights. Panels of which the frame has
    no value are left out.

    Parameters
    ----------
    alignment : pandas.DataFrame
        ``trial, layer, cosine, hamming, kappa, hamming_shuffled, kappa_shuffled``.
    weight_alignment : pandas.DataFrame, optional
        ``trial, layer, angle_deg``.
    trials : pandas.DataFrame, optional
        Trial table; with it the axis counts the training trials done by then.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing or there is nothing to show.
    """
    require_columns(alignment, ["trial", "layer", "cosine", "hamming", "kappa"], "alignment")
    axis_label = "trial"
    if trials is not None:
        require_columns(trials, ["trial", "phase"], "trials")
        trained = np.unique(trials.loc[trials["phase"] == "train", "trial"])
        if len(trained):
            axis_label = "training trials"
            alignment = _count_along(alignment, trained)
            if weight_alignment is not None:
                weight_alignment = _count_along(weight_alignment, trained)
    panels = [
        ("cosine", "cosine C", "cosine C of paired activity"),
        ("hamming", "Hamming similarity", "Hamming similarity of paired spikes"),
        ("kappa", "Cohen's κ", "Cohen's κ of paired spikes"),
    ]
    panels = [panel for panel in panels if alignment[panel[0]].notna().any()]
    angles = weight_alignment is not None and weight_alignment["angle_deg"].notna().any()
    if not panels and not angles:
        raise ValueError("no alignment of a training trial to show: record some during training")
    layers = sorted(set(alignment["layer"]) | (set(weight_alignment["layer"]) if angles else set()))
    colors = dict(zip(layers, layer_colors(len(layers)), strict=True))
    n_panels = len(panels) + angles
    n_columns = 1 if n_panels == 1 else 2
    n_rows = -(-n_panels // n_columns)
    frame, axes = panels_in(ax, 0.4 + 2.35 * n_rows, n_rows, n_columns)
    for ax in axes.flat[n_panels:]:
        ax.remove()
    axes = list(axes.flat[:n_panels])
    dashed = False
    for ax, (column, label, title) in zip(axes, panels, strict=False):
        _layer_lines(ax, alignment, column, colors, lw=1.5)
        shuffled = f"{column}_shuffled"
        if shuffled in alignment and alignment[shuffled].notna().any():
            dashed = True
            _layer_lines(ax, alignment, shuffled, colors, lw=1.2, ls=(0, (4, 2)))
        ax.set(ylabel=label, title=title)
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]), top=1.0)
    if angles:
        _layer_lines(axes[-1], weight_alignment, "angle_deg", colors, lw=1.5)
        axes[-1].axhline(90, color="#6B6B6B", lw=0.9, ls=":")
        axes[-1].set(ylabel="angle (°)", title="angle of $W_i$ to $\\Theta_i$ transposed")
        axes[-1].set_ylim(0, max(100.0, axes[-1].get_ylim()[1]))
        axes[-1].set_yticks([0, 30, 60, 90])
    for k, ax in enumerate(axes):
        ax.set_xlabel(axis_label if k >= n_panels - n_columns else "")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    handles = [Line2D([], [], color=colors[i], lw=1.8, label=f"layer {i}") for i in layers]
    if dashed:
        handles.append(
            Line2D([], [], color="#444444", lw=1.2, ls=(0, (4, 2)), label="trial-shuffled")
        )
    frame.figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 6))
    return frame


@styled
def plot_confusion(confusion, ax=None):
    """Confusion matrix: counts written, colour by the fraction of the row.

    Parameters
    ----------
    confusion : pandas.DataFrame
        As `bsd.analysis.measures.confusion_matrix` returns it. The column of ties and silence
        is left out where it is empty.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    none = measures.NO_PERCEPT
    if none in confusion and not confusion[none].any():
        confusion = confusion.drop(columns=none)
    ax = new_axes(ax, 4.4)
    n_of_concept = confusion.sum(axis=1)
    fraction = 100 * confusion.div(n_of_concept.where(n_of_concept > 0), axis=0)
    few = len(confusion) <= _MAX_ANNOTATED
    # Zeros stay blank: the errors are what one looks for.
    text = confusion.astype(str).where(confusion > 0, "") if few else False
    sns.heatmap(
        fraction, annot=text, fmt="", cmap="Blues", vmin=0, vmax=100, ax=ax,
        linewidths=0.6 if few else 0, linecolor="white", annot_kws={"fontsize": 8.5},
        cbar_kws={"label": "of the true concept's trials (%)", "shrink": 0.8},
    )
    for axis, names in ((ax.xaxis, confusion.columns), (ax.yaxis, confusion.index)):
        shown = slice(None, None, 1 if few else -(-len(names) // _MAX_ANNOTATED))
        labels = ["none" if name == none else str(name) for name in names[shown]]
        axis.set_ticks((np.arange(len(names)) + 0.5)[shown], labels, parse_math=False)
    ax.tick_params(length=0, rotation=0)
    if sum(len(str(name)) for name in confusion.columns) > 60:
        ax.tick_params(axis="x", rotation=90)
    ax.set(xlabel="decided concept", ylabel="true concept")
    return ax


@styled
def plot_rates(rates, ax=None):
    """Mean rate of each population, with its SD over trials, per phase.

    Parameters
    ----------
    rates : pandas.DataFrame
        As `bsd.analysis.firing.firing_rates` returns it.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(rates, ["population", "pathway", "mean_hz", "sd_hz"], "rates")
    order = population_order(rates["population"])
    phases = list(rates["phase"].unique()) if "phase" in rates else [None]
    pathway = rates.drop_duplicates("population").set_index("population")["pathway"]
    ax = new_axes(ax, 0.9 + 0.34 * len(order))
    for k, phase in enumerate(phases):
        of_phase = rates if phase is None else rates[rates["phase"] == phase]
        offset = 0.2 * (k - (len(phases) - 1) / 2)
        for row in of_phase.itertuples():
            color = PATHWAY_COLORS.get(row.pathway, "#333333")
            sd = 0.0 if pd.isna(row.sd_hz) else row.sd_hz
            ax.errorbar(
                row.mean_hz, order.index(row.population) + offset,
                xerr=[[min(sd, row.mean_hz)], [sd]], color=color, elinewidth=1.2, ms=5,
                marker=_PHASE_MARKERS[k % len(_PHASE_MARKERS)], mfc="white" if k else color,
            )
    population_rows(ax, order, pathway)
    ax.set_xlim(left=-0.015 * ax.get_xlim()[1])  # so that marks of silent populations are whole
    ax.set_xlabel("rate (Hz), mean and SD over trials")
    if phases != [None]:
        handles = [
            Line2D(
                [], [], color="#444444", ls="", ms=5, label=str(phase),
                marker=_PHASE_MARKERS[k % len(_PHASE_MARKERS)], mfc="white" if k else "#444444",
            )
            for k, phase in enumerate(phases)
        ]
        ax.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=6, borderaxespad=0
        )
    return ax


@styled
def plot_event_time(speed, ax=None):
    """Time per synaptic event against the number of synapses, beside the machine's limit.

    Parameters
    ----------
    speed : pandas.DataFrame
        ``sweep, projection, synapses, ns_per_event, limit_ns_per_event``, one row per network;
        those of the sweep ``depth`` stand beside the line.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    columns = ["sweep", "projection", "synapses", "ns_per_event", "limit_ns_per_event"]
    require_columns(speed, columns, "speed")
    ax = new_axes(ax, 3.8)
    deep = speed["sweep"] == "depth"
    two_layers = speed[~deep].sort_values("synapses")
    for projection, color in (("dense", "#0072B2"), ("synapses", "#D55E00")):
        own = two_layers[two_layers["projection"] == projection]
        if len(own):
            ax.plot(
                own["synapses"], own["ns_per_event"], "o-", color=color, ms=4.5, lw=1.3,
                label=projection,
            )
    if deep.any():
        ax.plot(
            speed["synapses"][deep], speed["ns_per_event"][deep], "D", mfc="none", color="#0072B2",
            ms=4.5, label="other depths",
        )
    ax.plot(
        two_layers["synapses"], two_layers["limit_ns_per_event"], "s--", color="#6B6B6B", ms=3.5,
        lw=1.1, label="bare loop",
    )
    ax.set(
        xscale="log", yscale="log", xlabel="plastic synapses", ylabel="time per event (ns)",
    )
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0, columnspacing=1)
    return ax


@styled
def plot_trial_time(speed, ax=None):
    """Time per training trial of the first network, beside PyTorch where it was measured.

    Parameters
    ----------
    speed : pandas.DataFrame
        ``network, projection, ms_per_training_trial`` and, optionally, ``torch_streaming_ms,
        torch_batch_bsd_ms, torch_bp_ms`` in the first row.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(speed, ["network", "projection", "ms_per_training_trial"], "speed")
    ax = new_axes(ax, 2.6)
    first = speed.iloc[0]
    own = speed[speed["network"] == first["network"]]
    bars = [
        (f"bsd, {row.projection}", row.ms_per_training_trial, "#0072B2")
        for row in own.itertuples()
    ]
    bars += [
        (f"PyTorch, {label}", first[column], "#B0B0B0")
        for label, column in (
            ("same rule, batch 1", "torch_streaming_ms"),
            ("BSD, batch 128", "torch_batch_bsd_ms"),
            ("backpropagation, batch 128", "torch_bp_ms"),
        )
        if column in speed and pd.notna(first[column])
    ]
    labels, times, colors = zip(*bars, strict=True)
    drawn = ax.barh(range(len(bars)), times, color=colors, height=0.65)
    ax.bar_label(drawn, fmt="%.2f", padding=3)
    ax.set_yticks(range(len(bars)), labels)
    ax.invert_yaxis()
    ax.set_xlim(right=1.12 * max(times))
    ax.set(xlabel="ms per training trial, one core", title=first["network"])
    return ax


@styled
def plot_speed(speed, ax=None):
    """Time per event and time per trial, see `plot_event_time` and `plot_trial_time`.

    Parameters
    ----------
    speed : pandas.DataFrame
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, panels = panels_in(ax, 6.0, 2, 1, height_ratios=[3, 2])
    plot_event_time(speed, ax=panels[0, 0])
    plot_trial_time(speed, ax=panels[1, 0])
    new_axes(ax, 6.0)  # the panels took the height that suits them alone
    return ax


@styled
def plot_cohorts(cohorts, ax=None):
    """Training trials per second of cohorts, beside one network on one core.

    Parameters
    ----------
    cohorts : pandas.DataFrame
        ``width, device, replicas, trials_per_s``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(cohorts, ["width", "device", "replicas", "trials_per_s"], "cohorts")
    ax = new_axes(ax, 3.8)
    most = cohorts["replicas"].max()
    widths = cohorts.groupby("width")
    for color, (width, own) in zip(layer_colors(len(widths)), widths, strict=True):
        on_gpu = own[own["device"] == "cuda"].sort_values("replicas")
        ax.plot(
            on_gpu["replicas"], on_gpu["trials_per_s"], "o-", color=color, ms=4, lw=1.4,
            label=f"width {width}, GPU",
        )
        for rate in own.loc[own["device"] == "cpp", "trials_per_s"]:
            ax.plot([1, most], [rate, rate], ls=":", color=color, lw=1.2,
                    label=f"width {width}, one core")
    ax.set(
        xscale="log", yscale="log", xlabel="replicas in one network",
        ylabel="training trials per second, all replicas",
    )
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


@styled
def plot_accuracy_curves(accuracy, ax=None):
    """Test accuracy by epoch, one line per method, mean and range over seeds.

    Parameters
    ----------
    accuracy : pandas.DataFrame
        ``method, seed, epoch, accuracy``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(accuracy, ["method", "seed", "epoch", "accuracy"], "accuracy")
    ax = new_axes(ax, 3.8)
    _method_lines(accuracy, "epoch", ax)
    ax.set(xlabel="epoch", ylabel="test accuracy (%)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


@styled
def plot_errors(errors, ax=None):
    """Errors of several methods: a bar for the mean, a dot for each seed.

    The axis ends a little beyond what learns, methods with several seeds, and the best of the
    others; longer bars are cut.

    Parameters
    ----------
    errors : pandas.DataFrame
        ``method, seed, measure, error``.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(errors, ["method", "seed", "measure", "error"], "errors")
    by_method = errors.groupby("method", sort=False)["error"]
    mean, several = by_method.mean(), by_method.size() > 1
    ax = new_axes(ax, 0.9 + 0.35 * len(mean))
    labels = {method: f"{method}   {error:.4f}" for method, error in mean.items()}
    ax.barh(labels.values(), mean, height=0.6, color=PATHWAY_COLORS["forward"], alpha=0.35)
    ax.plot(errors["error"], errors["method"].map(labels), "o", color="#111111", ms=3)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * np.nanmax([mean[several].max(), mean[~several].min()]))
    cut = " (longer bars are cut)" if mean.max() > ax.get_xlim()[1] else ""
    ax.set(xlabel=errors["measure"].iloc[0] + cut)
    return ax


_DISTURBANCES = {
    "noise": "SD of noise on each pixel",
    "occlusion": "share of dark pixels",
    "loss": "share of lost stimulus spikes",
    "weight_noise": "SD of weight noise / SD of weights",
}


@styled
def plot_robustness(robustness, ax=None):
    """Test accuracy under disturbances: a panel per kind, a line per method.

    Parameters
    ----------
    robustness : pandas.DataFrame
        ``method, seed, kind, level, accuracy``; lines are means, bands the range over seeds.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``; the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    columns = ["method", "seed", "kind", "level", "accuracy"]
    require_columns(robustness, columns, "robustness")
    kinds = list(robustness["kind"].unique())
    n_rows = -(-len(kinds) // 2)
    ax, panels = panels_in(ax, 2.6 * n_rows, n_rows, 2, sharey=True)
    for panel, kind in zip(panels.flat, kinds, strict=False):
        _method_lines(robustness[robustness["kind"] == kind], "level", panel)
        panel.set(xlabel=_DISTURBANCES.get(kind, kind))
    for panel in panels.flat[len(kinds) :]:
        panel.set_axis_off()
    for panel in panels[:, 0]:
        panel.set(ylabel="test accuracy (%)")
    panels[0, 0].legend(loc="lower left")
    return ax


def _method_lines(frame, x, ax):
    """Accuracy along `x`, one line per method, mean and range over seeds."""
    palette = ["#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#6B6B6B"]
    for color, (method, own) in zip(palette, frame.groupby("method", sort=False), strict=False):
        curve = 100 * own.groupby(x)["accuracy"].agg(["mean", "min", "max"])
        ax.plot(curve.index, curve["mean"], "o-", color=color, ms=3.5, lw=1.4, label=method)
        ax.fill_between(curve.index, curve["min"], curve["max"], color=color, alpha=0.15, lw=0)


@styled
def plot_sweep(frame, x, y="accuracy", ax=None):
    """A measure against one of the things that a sweep varied: every run, and means with SD.

    The bars are cut where the measure ends, those of an accuracy at 0 and 100 %.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep, see `bsd.analysis.sweeps`.
    x, y : str
        Columns: what is varied, what was measured.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing or no run has finished.
    """
    require_columns(frame, [x, y, "status"], "results")
    done = frame[frame["status"] == "done"]
    if done.empty:
        raise ValueError("no run of the sweep has finished: run it first")
    ax = new_axes(ax, 3.0)
    values, (label, factor, ends) = done[x], _SWEEP_LABELS.get(y, (y, *_UNBOUNDED))
    numeric = _is_numeric(values)
    names = _levels(values)
    if numeric:
        place = dict(zip(names, names, strict=True))
        if min(names) > 0 and max(names) > _LOG_RATIO * min(names):
            ax.set_xscale("log")
    else:
        place = {name: at for at, name in enumerate(names)}
        ax.set_xticks(range(len(names)), [str(name) for name in names])
        ax.set_xlim(-0.5, len(names) - 0.5)
    at, shown = values.map(place).astype(float), factor * pd.to_numeric(done[y])
    ax.plot(at, shown, "o", color="#0072B2", ms=3.5, alpha=0.45, mec="none")
    groups = shown.groupby(at.to_numpy())
    if groups.size().min() > 1:
        ax.errorbar(
            groups.mean().index, groups.mean(), yerr=_bars(groups.mean(), groups.std(), ends),
            color="#D55E00", capsize=2, marker="o", ms=4, lw=1.2 if numeric else 0, elinewidth=1.2,
        )
    ax.set(xlabel=sweeps.column_label(x), ylabel=label)
    return ax


@styled
def plot_grid(frame, x, y, measure="accuracy", ax=None):
    """A measure at all combinations of two things that a sweep varied, as a heat map.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep, see `bsd.analysis.sweeps`.
    x, y : str
        Columns of what is varied.
    measure : str
        Column of what was measured; means over seeds are shown.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Values in even steps, whatever their distances; numbers are written where there is room.

    Raises
    ------
    ValueError
        If a column is missing or no run has finished.
    """
    require_columns(frame, [x, y], "results")
    means = sweeps.point_means(frame, measure)
    if means.empty:
        raise ValueError("no run of the sweep has finished: run it first")
    label, factor, _ = _SWEEP_LABELS.get(measure, (measure, *_UNBOUNDED))
    table = means.pivot(index=y, columns=x, values="mean")
    table = factor * table.reindex(index=_levels(means[y]), columns=_levels(means[x]))
    ax = new_axes(ax, 3.0)
    few = max(table.shape) <= _MAX_WRITTEN
    sns.heatmap(
        table, annot=few, fmt=".3g", cmap="viridis", ax=ax, linewidths=0.6 if few else 0,
        linecolor="white", annot_kws={"fontsize": 8}, cbar_kws={"shrink": 0.9},
    )
    for axis, names in ((ax.xaxis, table.columns), (ax.yaxis, table.index)):
        shown = slice(None, None, -(-len(names) // _MAX_WRITTEN))
        texts = [f"{name:g}" if _is_numeric(names) else str(name) for name in names]
        axis.set_ticks((np.arange(len(names)) + 0.5)[shown], texts[shown])
    ax.invert_yaxis()  # large values on top
    ax.tick_params(length=0, rotation=0)
    ax.set(xlabel=sweeps.column_label(x), ylabel=sweeps.column_label(y), title=label)
    return ax


@styled
def plot_factors(frame, measure="accuracy", ax=None):
    """A panel for each factor of a sweep: means with SD over seeds, the reference marked.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep with a reference and factors, see `bsd.analysis.sweeps`.
    measure : str
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing, or there is no reference or no factor.
    """
    means = sweeps.point_means(frame, measure)
    reference = means[means["reference"]]
    factors = [name for name in means["factor"].unique() if name]
    if reference.empty or not factors:
        raise ValueError("the sweep has no reference, or no factors: name them in its file")
    rows = -(-len(factors) // _FACTOR_COLUMNS)
    grid, axes = panels_in(ax, 0.4 + 1.9 * rows, rows, _FACTOR_COLUMNS)
    axes = axes.ravel()
    label, scale, ends = _SWEEP_LABELS.get(measure, (measure, *_UNBOUNDED))
    for ax, factor in zip(axes, factors, strict=False):
        points, names = _in_order(means[means["factor"] == factor], reference,
                                  sweeps.varied_columns(frame))
        mean, sd = scale * points["mean"], (scale * points["sd"]).fillna(0)
        level = scale * reference["mean"].iloc[0]
        ax.axhline(level, color="#8A8A8A", lw=0.8, ls="--", zorder=0)
        ax.errorbar(
            range(len(points)), mean, yerr=_bars(mean, sd, ends), color="#0072B2", marker="o",
            ms=4.5, capsize=2, lw=0, elinewidth=1.2,
        )
        at = np.flatnonzero(points["reference"])
        ax.plot(at, mean.iloc[at], marker="D", ms=6, color="#D55E00", ls="", zorder=3)
        turned = max(map(len, names)) * len(names) > 24
        ax.set_xticks(range(len(points)), names, rotation=30 if turned else 0,
                      ha="right" if turned else "center")
        ax.set_xlim(-0.5, len(points) - 0.5)
        low, high = ax.get_ylim()  # so that what differs little looks alike
        room = max(0, _LEAST_SPAN * abs(level) - (high - low)) / 2
        ax.set_ylim(low - room, high + room)
        ax.set_title(textwrap.fill(factor, _TITLE_WIDTH))
        ax.grid(axis="y", color="#E4E4E4", lw=0.7)
        ax.set_axisbelow(True)
    for ax in axes[len(factors):]:
        ax.set_axis_off()
    grid.figure.supylabel(label, fontsize=9.5)
    return grid


def _in_order(points, reference, varied):
    """Points of a factor with the reference among them, by size where one number differs."""
    points = pd.concat([reference, points], ignore_index=True)
    differ = [c for c in varied if points[c].nunique() > 1]
    numbers = [c for c in differ if _is_numeric(points[c])]
    if len(numbers) == 1 and set(differ) <= {numbers[0], "layers"}:
        points = points.sort_values(numbers[0], ignore_index=True)
        return points, [f"{value:g}" for value in points[numbers[0]]]
    words = [c for c in differ if c not in numbers] or differ
    own = ", ".join(str(reference[c].iloc[0]) for c in words)
    own = {"True": "on", "False": "off"}.get(own, own)
    return points, [own or "reference", *points["label"].iloc[1:]]


def _levels(values):
    """Different values: numbers in order, others as they come."""
    return sorted(values.unique()) if _is_numeric(values) else list(dict.fromkeys(values))


def _bars(mean, sd, ends):
    """Lengths of error bars, below and above, that stay within the ends of a measure."""
    return np.stack([np.minimum(sd, mean - ends[0]), np.minimum(sd, ends[1] - mean)]).clip(min=0)


def _is_numeric(values):
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _select(frame, chosen):
    """Rows in which every chosen column that the frame has is as chosen (None: any)."""
    for column, value in chosen.items():
        if value is not None and column in frame:
            frame = frame[frame[column] == value]
    return frame


def _one_trial(frame, trial, replica, name):
    """Rows of one trial and one replica, the first recorded ones by default."""
    for column, value in (("trial", trial), ("replica", replica)):
        if column in frame:
            value = frame[column].min() if value is None else value
            frame = frame[frame[column] == value]
    if frame.empty:
        raise ValueError(f"trial {trial} (replica {replica}) is not in the recorded {name}")
    return frame


def _count_along(frame, trained):
    """Replace trial numbers by how many training trials were done by then."""
    done = np.searchsorted(trained, frame["trial"].to_numpy(), side="right")
    return frame.assign(trial=done)


def _layer_lines(ax, frame, column, colors, **line):
    frame = frame[frame[column].notna()]
    if frame["trial"].nunique() > 60:
        # Bin means: single trials scatter more than training moves them.
        edges = np.linspace(frame["trial"].min(), frame["trial"].max(), 41)
        centre = (edges[:-1] + edges[1:]) / 2
        which = np.clip(np.searchsorted(edges, frame["trial"], side="right") - 1, 0, 39)
        frame = frame.assign(trial=centre[which])
    for layer, of_layer in frame.groupby("layer"):
        mean = of_layer.groupby("trial")[column].mean()
        alone = "o" if len(mean) == 1 else None
        sns.lineplot(
            x=mean.index, y=mean.to_numpy(), ax=ax, color=colors[layer], marker=alone, **line
        )


_FORECAST_COLORS = {
    "forecast": PATHWAY_COLORS["forward"],
    "persistence": PATHWAY_COLORS["afferent"],
    "seasonal": PATHWAY_COLORS["backward"],
    "seasonal_change": "#009E73",
    "mean": "#CC79A7",
}


@styled
def plot_forecast(forecast, n_shown=200, ax=None):
    """A forecast beside what came, and their errors.

    Parameters
    ----------
    forecast : DataFrame
        From `bsd.analysis.sequences.forecast_frame`, of one epoch; by its dates, if it has any.
    n_shown : int
        Elements of the first panel, from the start.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``; two panels take its place, the series and the
        absolute errors of network and simple forecasts.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(forecast, ["element", "actual", "forecast"], "forecast")
    ax, panels = panels_in(ax, 5.0, 2, 1)
    axes = panels[:, 0]
    shown = forecast.iloc[:n_shown]
    dated = "time" in forecast and forecast["time"].notna().all()
    at = shown["time" if dated else "element"]
    axes[0].plot(at, shown["actual"], color="#111111", lw=1, label="actual")
    axes[0].plot(at, shown["forecast"], color=PATHWAY_COLORS["forward"], lw=1, label="network")
    if dated:
        axis = axes[0].xaxis
        axis.set_major_formatter(ConciseDateFormatter(axis.get_major_locator()))
    axes[0].set(
        xlabel="time that is forecast" if dated else "element that is forecast",
        ylabel="value (SD)",
    )
    axes[0].legend(ncols=2)
    share = np.arange(1, len(forecast) + 1) / len(forecast)
    for name, color in _FORECAST_COLORS.items():
        if name in forecast and name != "mean":
            error = np.sort((forecast[name] - forecast["actual"]).abs())
            label = SIMPLE.get(name, "network")
            axes[1].plot(error, share, color=color, lw=1.2, label=label)
    axes[1].set(xlabel="absolute error (SD)", ylabel="share of elements", ylim=(0, 1))
    own = (forecast["forecast"] - forecast["actual"]).abs()
    axes[1].set_xlim(0, max(own.quantile(0.995), 1e-9))
    axes[1].legend()
    return ax


@styled
def plot_forecast_errors(forecast, ax=None):
    """Mean squared error after each epoch, beside those of simple forecasts.

    Parameters
    ----------
    forecast : pandas.DataFrame
        From `bsd.analysis.sequences.forecast_frame`, of all epochs.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Simple forecasts far above the network's are left out.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(forecast, ["epoch", "actual", "forecast"], "forecast")
    errors = errors_by_epoch(forecast)
    own = errors.pop("mse")
    ax = new_axes(ax, 2.4)
    ax.plot(own.index, own, "o-", color=_FORECAST_COLORS["forecast"], ms=4, lw=1.3,
            label="network")
    for key, error in errors.mean().items():
        if error < 3 * own.max():
            name = key.removeprefix("mse_")
            ax.axhline(error, color=_FORECAST_COLORS[name], lw=1, ls=":", label=SIMPLE[name])
    ax.set(xlabel="epoch", ylabel="mean squared error")
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


@styled
def plot_shares(shares, label="decided rightly", ax=None):
    """Shares, for example of right decisions, side by side.

    Parameters
    ----------
    shares : dict of str to float
        Label to share, 0 to 1.
    label : str
        What they are shares of.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = new_axes(ax, 1.6)
    bars = ax.barh(list(shares), [100 * v for v in shares.values()],
                   color=PATHWAY_COLORS["forward"])
    ax.bar_label(bars, fmt="%.1f %%", padding=3)
    ax.invert_yaxis()
    ax.set(xlabel=f"{label} (%)", xlim=(0, 110 * max(shares.values(), default=1) or 1))
    return ax

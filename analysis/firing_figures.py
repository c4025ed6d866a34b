"""Figures of firing statistics and of comparisons, in the style of the report."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D

from bsd.analysis.frames import population_order, require_columns
from bsd.analysis.style import (
    PATHWAY_COLORS,
    new_axes,
    panels_in,
    population_rows,
    rows_with_grid,
    styled,
)

_LABELS = {
    "rate_hz": "rate (Hz)",
    "latency_ms": "time of the first spike (ms)",
    "isi_ms": "interspike interval (ms)",
    "cv": "CV of the intervals",
    "cv2": "CV2 of the intervals",
    "lv": "LV of the intervals",
    "fano": "Fano factor of the counts",
    "correlation": "correlation of two cells",
    "signal": "signal correlation of two cells",
    "noise": "noise correlation of two cells",
    "chi": "synchrony χ",
    "treves_rolls": "Treves-Rolls sparseness",
    "vinje_gallant": "Vinje-Gallant sparseness",
    "hoyer": "Hoyer sparseness",
    "selectivity": "selectivity index",
    "information_bits": "information (bit)",
}
# What a Poisson process, or an independent pair, would have.
_POISSON = {"cv": 1.0, "cv2": 1.0, "lv": 1.0, "fano": 1.0, "correlation": 0.0, "noise": 0.0}
_PLURALS = {"stimulus": "stimuli"}
_LINES = ["-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))]


@styled
def plot_distribution(frame, statistic, ax=None):
    """Distribution of a statistic over the trains, cells or pairs of each population.

    Parameters
    ----------
    frame : pandas.DataFrame
        ``population, pathway`` and the statistic: as from
        `bsd.analysis.spike_trains.train_statistics`, ``interspike_intervals``, ``fano_factor`` or
        the functions of `bsd.analysis.populations`. Phases and replicas are pooled.
    statistic : str
        Column to show.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Per population the middle half (bar), median (line) and the range of 5 to 95 % (thin),
        and how many values are defined of how many; the dotted line is a Poisson process.

    Raises
    ------
    ValueError
        If a column is missing or no value is defined.
    """
    require_columns(frame, ["population", "pathway", statistic], "frame")
    if not frame[statistic].notna().any():
        raise ValueError(
            f"no value of '{statistic}' is defined: intervals need trials of 500 ms and "
            "enough spikes"
        )
    order = population_order(frame["population"])
    ax = new_axes(ax, 0.9 + 0.36 * len(order))
    by_population = frame.groupby("population", observed=True)
    for row, name in enumerate(order):
        part = by_population.get_group(name)
        values = part[statistic].dropna().to_numpy(dtype=float)
        color = PATHWAY_COLORS.get(part["pathway"].iloc[0], "#333333")
        if len(values):
            ends = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
            ax.hlines(row, ends[0], ends[4], color=color, lw=1.2)
            ax.hlines(row, ends[1], ends[3], color=color, lw=9, alpha=0.45)
            ax.vlines(ends[2], row - 0.28, row + 0.28, color=color, lw=2.2)
        ax.annotate(
            f"{len(values)} of {len(part)}", (1, row), xycoords=("axes fraction", "data"),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color="#444444",
        )
    if statistic in _POISSON:
        ax.axvline(_POISSON[statistic], color="#111111", lw=1.1, ls=":", zorder=1)
    population_rows(ax, order, by_population["pathway"].first())
    ax.set_xlabel(_LABELS.get(statistic, statistic))
    return ax


@styled
def plot_statistics(frame, statistics, ax=None):
    """`plot_distribution` of several statistics, a panel each.

    Parameters
    ----------
    frame : pandas.DataFrame
        ``population, pathway`` and the statistics.
    statistics : sequence of str
        Columns to show; those without a defined value are left out.
    ax : matplotlib.axes.Axes, optional
        Of a grid, as from ``figure.subplots()``: the panels take its place.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing or no value is defined.
    """
    require_columns(frame, ["population", "pathway", *statistics], "frame")
    shown = [name for name in statistics if frame[name].notna().any()]
    if not shown:
        raise ValueError(f"no value of {', '.join(statistics)} is defined: nothing to show")
    n_rows = -(-len(shown) // 2)
    height = n_rows * (0.75 + 0.24 * frame["population"].nunique())
    ax, panels = panels_in(ax, height, n_rows, 2)
    for panel, name in zip(panels.flat, shown, strict=False):
        plot_distribution(frame, name, ax=panel)
        panel.set_ylabel("")
    for panel in panels.flat[len(shown):]:
        panel.remove()
    new_axes(ax, height)  # the panels took the height that suits them alone
    return ax


@styled
def plot_energy(energy, ax=None):
    """Energy per trial of spikes and of a network without them, by phase and pathway.

    Parameters
    ----------
    energy : pandas.DataFrame
        ``phase, pathway, energy_nJ, dense_energy_nJ``, as from
        `bsd.analysis.energy.energy_per_trial`, of one or several trials and replicas, which are
        averaged. Pathways that are silent are left out.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing or all are silent.
    """
    require_columns(energy, ["phase", "pathway", "energy_nJ", "dense_energy_nJ"], "energy")
    means = energy.groupby(["phase", "pathway"], sort=False)[["energy_nJ", "dense_energy_nJ"]]
    rows = means.mean().query("energy_nJ > 0")
    if rows.empty:
        raise ValueError("all pathways are silent: pass trials in which one is driven")
    ax = new_axes(ax, 1.0 + 0.34 * len(rows))
    y = range(len(rows))
    ax.hlines(y, rows["energy_nJ"], rows["dense_energy_nJ"], color="#B8B8B8", lw=1.2)
    ax.plot(rows["energy_nJ"], y, "o", ms=6, color="#0072B2", label="spiking")
    ax.plot(
        rows["dense_energy_nJ"], y, "s", ms=6, color="#D55E00", mfc="white",
        label="same synapses, without spikes",
    )
    ax.set_yticks(y, [f"{phase}, {pathway}" for phase, pathway in rows.index])
    ax.set(xlabel="energy per trial (nJ), 45 nm")
    ax.set_xlim(left=0)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    rows_with_grid(ax)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    return ax


@styled
def plot_psth(psth, ax=None):
    """Mean rate of each population over the trial, with its standard error over trials.

    Parameters
    ----------
    psth : pandas.DataFrame
        As `bsd.analysis.spike_trains.psth` returns it; one phase, and one replica or several,
        which are averaged.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The colour is the pathway, the style of the line the layer.

    Raises
    ------
    ValueError
        If a column is missing or there are several phases.
    """
    columns = ["population", "pathway", "layer", "t_ms", "bin_ms", "rate_hz", "sem_hz"]
    require_columns(psth, columns, "psth")
    if "phase" in psth and psth["phase"].nunique() > 1:
        raise ValueError("select one phase of the histogram: they would lie on each other")
    ax = new_axes(ax, 3.4)
    half = psth["bin_ms"].iloc[0] / 2
    handles = []
    for name in population_order(psth["population"]):
        part = psth[psth["population"] == name]
        color = PATHWAY_COLORS.get(part["pathway"].iloc[0], "#333333")
        style = _LINES[int(part["layer"].iloc[0]) % len(_LINES)]
        over_time = part.groupby("t_ms")
        mean = over_time["rate_hz"].mean()
        # Replicas are independent: the squares of their errors add up.
        sem = over_time["sem_hz"].agg(lambda sems: np.sqrt((sems**2).mean() / len(sems)))
        edges = np.append(mean.index - half, mean.index[-1] + half)
        ax.stairs(mean, edges, color=color, ls=style, lw=1.4, baseline=None)
        if sem.notna().all():
            ax.fill_between(
                edges, np.append(mean - sem, 0.0), np.append(mean + sem, 0.0), step="post",
                color=color, alpha=0.18, lw=0,
            )
        handles.append(Line2D([], [], color=color, ls=style, lw=1.4, label=name))
    ax.set(xlabel="time in trial (ms)", ylabel="rate per cell (Hz)", xlim=(edges[0], edges[-1]))
    ax.set_ylim(bottom=0)
    ax.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=8, borderaxespad=0,
        columnspacing=1.2, handlelength=2.4,
    )
    return ax


@styled
def plot_tuning(tuning, population, concept="concept", replica=None, ax=None):
    """Mean rate of the cells of a population for each concept, cells sorted by their preference.

    Parameters
    ----------
    tuning : pandas.DataFrame
        As `bsd.analysis.populations.tuning` returns it; one phase.
    population : str
    concept : str
        Column of the concepts.
    replica : int, optional
        The first one by default.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Silent cells are left out; the axis says how many there are.

    Raises
    ------
    ValueError
        If a column is missing, there are several phases, or the population is not there or
        silent.
    """
    require_columns(tuning, ["population", "cell", concept, "rate_hz"], "tuning")
    shown = tuning[tuning["population"] == population]
    if "replica" in shown:
        replica = shown["replica"].min() if replica is None else replica
        shown = shown[shown["replica"] == replica]
    if "phase" in shown and shown["phase"].nunique() > 1:
        raise ValueError("select one phase of the tuning: a cell has one rate for a concept")
    rates = shown.pivot(index="cell", columns=concept, values="rate_hz")
    fired = rates[(rates > 0).any(axis=1)]
    if fired.empty:
        raise ValueError(f"no cell of population {population!r} fired in this frame")
    values = fired.to_numpy()
    best = values.argmax(axis=1)
    # By preferred concept, within it the most selective cell first.
    order = np.lexsort([-values.max(axis=1) / values.mean(axis=1), best])
    ax = new_axes(ax, 4.0)
    sns.heatmap(
        pd.DataFrame(values[order], columns=fired.columns), cmap="Blues", vmin=0, ax=ax,
        cbar_kws={"label": "mean rate (Hz)", "shrink": 0.8}, yticklabels=False, xticklabels=True,
    )
    ax.tick_params(length=0, axis="x", rotation=0)
    ax.set(
        xlabel=concept,
        ylabel=f"{len(fired)} cells of {population}, by preference\n"
        f"({len(rates) - len(fired)} silent left out)",
    )
    return ax


@styled
def plot_correlation_matrix(pairs, population, statistic="correlation", replica=None, ax=None):
    """Correlation of all pairs of cells of a population as a matrix.

    Parameters
    ----------
    pairs : pandas.DataFrame
        As `bsd.analysis.populations.pairwise_correlation` or ``count_correlation`` returns it;
        one phase.
    population : str
    statistic : str
        Column to show.
    replica : int, optional
        The first one by default.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Cells without a defined value are left out; the axis says how many there are.

    Raises
    ------
    ValueError
        If a column is missing, there are several phases, or no value is defined.
    """
    require_columns(pairs, ["population", "cell_a", "cell_b", statistic], "pairs")
    shown = pairs[pairs["population"] == population]
    if "replica" in shown:
        replica = shown["replica"].min() if replica is None else replica
        shown = shown[shown["replica"] == replica]
    if "phase" in shown and shown["phase"].nunique() > 1:
        raise ValueError("select one phase of the pairs: two cells have one correlation")
    defined = shown[shown[statistic].notna()]
    if defined.empty:
        raise ValueError(f"no pair of population {population!r} has a '{statistic}'")
    n_cells = int(shown[["cell_a", "cell_b"]].max().max()) + 1
    matrix = np.full((n_cells, n_cells), np.nan)
    a, b = defined["cell_a"].to_numpy(), defined["cell_b"].to_numpy()
    matrix[a, b] = matrix[b, a] = defined[statistic]
    kept = np.flatnonzero(np.isfinite(matrix).any(axis=1))
    matrix = matrix[np.ix_(kept, kept)]
    # The 99th percentile: one pair should not make the rest pale.
    most = max(np.nanquantile(np.abs(matrix), 0.99), 1e-3)
    ax = new_axes(ax, 4.4)
    sns.heatmap(
        matrix, cmap="PuOr_r", vmin=-most, vmax=most, square=True, ax=ax, xticklabels=False,
        yticklabels=False,
        cbar_kws={"label": _LABELS.get(statistic, statistic), "shrink": 0.8, "extend": "both"},
    )
    left_out = n_cells - len(kept)
    label = f"{len(kept)} cells of {population}" + (f" ({left_out} left out)" if left_out else "")
    ax.set(xlabel=label, ylabel=label)
    return ax


@styled
def plot_comparisons(comparisons, label=None, ax=None):
    """Differences between two conditions with their confidence intervals.

    Parameters
    ----------
    comparisons : pandas.DataFrame
        Rows of `bsd.analysis.hypotheses.compare`, of measures in one unit.
    label : str, optional
        Column that names the rows; ``measure`` by default.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Filled where the interval leaves out zero, or, where the frame has a corrected p, where
        that is below 1 - confidence; at the right p and the number of units.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    label = label or "measure"
    columns = ["measure", "difference", "ci_low", "ci_high", "confidence", "p_value",
               "n_reference", "n_other", "unit", "paired", "reference", "other", label]
    require_columns(comparisons, columns, "comparisons")
    ax = new_axes(ax, 1.1 + 0.4 * len(comparisons))
    p_column = "p_corrected" if "p_corrected" in comparisons else "p_value"
    ax.axvline(0, color="#6B6B6B", lw=0.9, ls=":")
    for row, (_, one) in enumerate(comparisons.iterrows()):
        clear = one["ci_low"] > 0 or one["ci_high"] < 0
        if p_column == "p_corrected":
            clear = one[p_column] < 1 - one["confidence"]
        if np.isfinite(one["ci_low"]):
            ax.hlines(row, one["ci_low"], one["ci_high"], color="#0072B2", lw=1.6)
        ax.plot(
            one["difference"], row, "o", ms=6, color="#0072B2", mfc="#0072B2" if clear else "white"
        )
        n = str(one["n_other"]) if one["paired"] else f"{one['n_reference']} and {one['n_other']}"
        p, units = one[p_column], _PLURALS.get(one["unit"], f"{one['unit']}s")
        ax.annotate(
            f"p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}, {n} {units}",
            (1, row), xycoords=("axes fraction", "data"), xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=8, color="#444444",
        )
    ax.set_yticks(range(len(comparisons)), [str(text) for text in comparisons[label]])
    ax.set_ylim(len(comparisons) - 0.5, -0.5)
    rows_with_grid(ax)
    pairs = comparisons[["reference", "other"]].drop_duplicates()
    sides = f"{pairs['other'].iloc[0]} less {pairs['reference'].iloc[0]}"
    level = f"{100 * comparisons['confidence'].iloc[0]:g} % interval"
    measures = comparisons["measure"].unique()
    what = f"{_LABELS.get(measures[0], measures[0])}: " if len(measures) == 1 else ""
    ax.set_xlabel(f"{what}{sides if len(pairs) == 1 else 'difference'}, {level}")
    if p_column == "p_corrected":
        ax.set_title("p corrected for the number of tests", fontsize=8.5, loc="right")
    return ax

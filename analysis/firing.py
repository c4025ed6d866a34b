"""Firing statistics: rates per population and phase, and cells that stay silent."""

from bsd.analysis.frames import in_order, require_columns, with_trials


def firing_rates(counts, trials=None):
    """Mean and standard deviation over trials of the population rates.

    Parameters
    ----------
    counts : pandas.DataFrame
        ``trial, population, pathway, layer, n_cells, spikes, rate_hz``.
    trials : pandas.DataFrame, optional
        Trial table; with it the rates are told apart by ``phase``. A column ``phase`` in
        `counts` does the same.

    Returns
    -------
    pandas.DataFrame
        ``[phase,] population, pathway, layer, n_cells, n_trials, mean_hz, sd_hz``, in the
        order of the flow of spikes. ``sd_hz`` is the SD of the rate of the population
        (not of its cells) over trials and replicas, NaN for a single one.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    counts = counts if trials is None else with_trials(counts, trials)
    by = [*_phase(counts), "population", "pathway", "layer", "n_cells"]
    require_columns(counts, [*by, "rate_hz"], "counts")
    table = (
        counts.groupby(by, sort=False, observed=True)["rate_hz"]
        .agg(n_trials="size", mean_hz="mean", sd_hz="std")
        .reset_index()
    )
    return in_order(table)


def silent_fraction(cell_counts, trials=None):
    """Fraction of the cells of a population that fired in no trial.

    Parameters
    ----------
    cell_counts : pandas.DataFrame
        ``trial, population, pathway, layer, cell, spikes``, with a row for every cell,
        zeros included.
    trials : pandas.DataFrame, optional
        Trial table; with it the phases are told apart.

    Returns
    -------
    pandas.DataFrame
        ``[phase,] population, pathway, layer, n_cells, n_silent, silent_fraction``. A cell
        of each replica counts as a cell of its own.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    cell_counts = cell_counts if trials is None else with_trials(cell_counts, trials)
    by = [*_phase(cell_counts), "population", "pathway", "layer"]
    require_columns(cell_counts, [*by, "cell", "spikes"], "cell_counts")
    replica = ["replica"] if "replica" in cell_counts else []
    total = cell_counts.groupby([*by, *replica, "cell"], sort=False, observed=True)["spikes"].sum()
    table = (
        (total == 0)
        .groupby(level=by, sort=False, observed=True)
        .agg(n_cells="size", n_silent="sum", silent_fraction="mean")
        .reset_index()
    )
    return in_order(table)


def _phase(frame):
    return ["phase"] if "phase" in frame else []

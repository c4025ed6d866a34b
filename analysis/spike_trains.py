"""Statistics of single spike trains: intervals, variability, latency, rate over time.

All functions take the frames of a recording: ``spikes``, one row per spike, and ``counts``, one
row per trial and population, which says how many cells there are and so which of them are silent.
A *train* is one cell in one trial.

`counts` may hold trials whose spikes were not kept; they are left out. A trial without any spike
counts as recorded where the trial table's ``record`` says so or, without that column, if the
spikes of all other trials were kept.
"""

import numpy as np
import pandas as pd

from bsd.analysis.frames import grouped_by, in_order, plain, require_columns

MIN_SPIKES = 10
"""Spikes that a train needs for statistics of its intervals.

With 10 spikes in a trial the CV of a Poisson train comes out at 0.86 on average (0.95 with 30),
CV2 and LV at 1.00.
"""

MIN_DURATION_MS = 500.0
"""Shortest trial (ms) with statistics of intervals: shorter ones see only the short intervals."""

MIN_TRIALS = 5
"""Repeats that the Fano factor needs."""

_POPULATION = ["population", "pathway", "layer"]
_SPIKES = ["trial", "t_ms", *_POPULATION, "cell"]
_COUNTS = ["trial", *_POPULATION, "n_cells", "spikes"]
# Times are whole steps in floating point: one just below the edge of a bin belongs above it.
_SLACK = 1e-6


def trial_duration_ms(counts):
    """Duration of the trials, from counts and rates.

    Parameters
    ----------
    counts : pandas.DataFrame
        ``n_cells, spikes, rate_hz``.

    Returns
    -------
    float
        In ms, rounded to 1 us.

    Raises
    ------
    ValueError
        If a column is missing, no population fired, or trials differ in duration.

    Examples
    --------
    >>> import pandas as pd
    >>> trial_duration_ms(pd.DataFrame({"n_cells": [4], "spikes": [10], "rate_hz": [5.0]}))
    500.0
    """
    require_columns(counts, ["n_cells", "spikes", "rate_hz"], "counts")
    fired = counts[counts["spikes"] > 0]
    if fired.empty:
        raise ValueError("no population fired, so the counts do not tell the trials' duration")
    # Rates are stored in single precision.
    durations = 1e3 * fired["spikes"] / (fired["n_cells"] * fired["rate_hz"].astype(float))
    if durations.max() - durations.min() > 1e-5 * durations.max():
        raise ValueError(
            f"trials last between {durations.min():.6g} and {durations.max():.6g} ms: "
            "analyse runs with different durations apart"
        )
    return float(np.round(durations.median(), 3))


def counts_from_spikes(spikes, populations, duration_ms, trials=None):
    """Counts per trial and population of spikes that come without them.

    For spikes of other origin, or after a part of each trial was cut off.

    Parameters
    ----------
    spikes : pandas.DataFrame
        ``trial, t_ms, population, pathway, layer, cell`` (and ``replica``).
    populations : pandas.DataFrame
        ``population, pathway, layer, n_cells``, one row per population, silent ones included.
    duration_ms : float
        Duration of a trial.
    trials : pandas.DataFrame, optional
        ``trial`` (and ``replica``) of all trials recorded; by default those with a spike.

    Returns
    -------
    pandas.DataFrame
        ``trial, [replica,] population, pathway, layer, n_cells, spikes, rate_hz``.

    Raises
    ------
    ValueError
        If a column is missing, a population is there twice, or a spike belongs to no population
        or trial of these.

    Examples
    --------
    >>> import pandas as pd
    >>> populations = pd.DataFrame(
    ...     {"population": ["F1"], "pathway": "forward", "layer": 1, "n_cells": 2})
    >>> spikes = pd.DataFrame({"trial": [0, 0], "t_ms": [1.0, 3.0], "population": "F1",
    ...                        "pathway": "forward", "layer": 1, "cell": 0})
    >>> counts_from_spikes(spikes, populations, 500.0)[["n_cells", "spikes", "rate_hz"]]
       n_cells  spikes  rate_hz
    0        2       2      2.0
    """
    spikes = plain(spikes, _SPIKES, "spikes")
    populations = plain(populations, [*_POPULATION, "n_cells"], "populations")
    if populations.duplicated("population").any():
        raise ValueError("a population is there twice in 'populations': give one row for each")
    keys = _keys(spikes)
    trials = spikes if trials is None else plain(trials, keys, "trials")
    table = trials[keys].drop_duplicates().sort_values(keys).merge(
        populations[[*_POPULATION, "n_cells"]], how="cross"
    )
    fired = spikes.groupby([*keys, "population"]).size().rename("spikes").reset_index()
    table = table.merge(fired, on=[*keys, "population"], how="left")
    table["spikes"] = table["spikes"].fillna(0).astype(int)
    if table["spikes"].sum() != len(spikes):
        raise ValueError("spikes of a trial or a population that was not given: add it")
    return table.assign(rate_hz=1e3 * table["spikes"] / (table["n_cells"] * duration_ms))


def spike_counts(spikes, counts, trials=None, by=None):
    """Spikes of every cell in every recorded trial, silent cells included.

    Parameters
    ----------
    spikes : pandas.DataFrame
        ``trial, t_ms, population, pathway, layer, cell`` (and ``replica``).
    counts : pandas.DataFrame
        ``trial, population, pathway, layer, n_cells, spikes`` (and ``replica``).
    trials : pandas.DataFrame, optional
        Trial table.
    by : sequence of str, optional
        Columns of the trial table to join; ``phase`` by default, where there is one.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, trial, cell, spikes``.

    Raises
    ------
    ValueError
        If the two frames contradict each other.

    Examples
    --------
    >>> import pandas as pd
    >>> label = {"trial": [0], "population": "F1", "pathway": "forward", "layer": 1}
    >>> spikes = pd.DataFrame({**label, "t_ms": 3.0, "cell": 1})
    >>> counts = pd.DataFrame({**label, "n_cells": 3, "spikes": 1})
    >>> spike_counts(spikes, counts)["spikes"].tolist()
    [0, 1, 0]
    """
    spikes, rows = recorded(spikes, counts, trials)
    rows, group = grouped_by(rows, trials, by)
    cells = rows.loc[rows.index.repeat(rows["n_cells"])].reset_index(drop=True)
    keys = [*_keys(rows), "population"]
    cells["cell"] = cells.groupby(keys, sort=False).cumcount()
    fired = spikes.groupby([*keys, "cell"]).size().rename("spikes").reset_index()
    cells = cells.drop(columns="spikes").merge(fired, on=[*keys, "cell"], how="left")
    cells["spikes"] = cells["spikes"].fillna(0).astype(int)
    return _sorted(cells[[*group, "trial", "cell", "spikes"]])


def recorded(spikes, counts, trials=None):
    """Both frames, checked against each other, of the trials whose spikes were kept.

    Parameters
    ----------
    spikes, counts, trials
        See `spike_counts`.

    Returns
    -------
    spikes, counts : pandas.DataFrame
        Without categories, in order of trial, population, cell and time.

    Raises
    ------
    ValueError
        If a column is missing, one frame only tells replicas apart, a population is there
        twice in a trial, the numbers of spikes differ, a cell is beyond its population's size,
        or nothing was recorded.
    """
    spikes, counts = plain(spikes, _SPIKES, "spikes"), plain(counts, _COUNTS, "counts")
    if ("replica" in spikes) != ("replica" in counts):
        raise ValueError("one of spikes and counts has no column 'replica': give it to both")
    trial = _keys(spikes)
    keys = [*trial, "population"]
    if counts.duplicated(keys).any():
        raise ValueError("counts has a population twice in a trial: tell its rows apart by replica")
    fired = spikes.groupby(keys).size().rename("kept").reset_index()
    both = counts.merge(fired, on=keys, how="left").fillna({"kept": 0})
    kept, true = (both.groupby(trial)[name].transform("sum") for name in ("kept", "spikes"))
    silent = true == 0
    if trials is not None and "record" in trials:
        marked, _ = grouped_by(both[[*trial, *_POPULATION]], trials, ["record"])
        silent &= marked["record"].to_numpy(dtype=bool)
    elif ((kept == 0) & ~silent).any():
        silent[:] = False
    chosen = (kept > 0) | silent
    rows = both[chosen]
    wrong = rows[rows["kept"] != rows["spikes"]]
    if len(wrong) or fired["kept"].sum() != rows["kept"].sum():
        at = wrong.iloc[0] if len(wrong) else spikes.iloc[0]
        counted = f"{at['spikes']} spikes of" if len(wrong) else "no row for a trial or population,"
        raise ValueError(
            f"counts has {counted} {at['population']} in trial {at['trial']}, spikes has "
            f"{int(at['kept']) if len(wrong) else 'one'}: select the same trials and populations "
            "in both, or count again with counts_from_spikes"
        )
    if rows.empty:
        raise ValueError("no trial with recorded spikes: set `record` in the trial table")
    sized = spikes.merge(rows[[*keys, "n_cells"]], on=keys)
    if ((sized["cell"] < 0) | (sized["cell"] >= sized["n_cells"])).any():
        raise ValueError("a cell of spikes is beyond the n_cells of its population in counts")
    spikes = spikes.sort_values([*keys, "cell", "t_ms"], ignore_index=True)
    return spikes, rows.drop(columns="kept").sort_values(keys, ignore_index=True)


def interspike_intervals(spikes, trials=None, by=None):
    """Intervals between consecutive spikes of a cell within a trial.

    Parameters
    ----------
    spikes : pandas.DataFrame
        ``trial, t_ms, population, pathway, layer, cell`` (and ``replica``).
    trials, by
        See `spike_counts`.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, trial, cell, isi_ms``, a row per interval.
        Trials of any duration: intervals longer than the trial are never seen.

    Raises
    ------
    ValueError
        If a column is missing or a cell fires twice at one time.

    Examples
    --------
    >>> import pandas as pd
    >>> spikes = pd.DataFrame({"trial": 0, "t_ms": [2.0, 5.0, 9.0], "population": "F1",
    ...                        "pathway": "forward", "layer": 1, "cell": 0})
    >>> interspike_intervals(spikes)["isi_ms"].tolist()
    [3.0, 4.0]
    """
    spikes = plain(spikes, _SPIKES, "spikes")
    spikes, group = grouped_by(spikes, trials, by)
    train = [*_keys(spikes), "population", "cell"]
    spikes = spikes.sort_values([*train, "t_ms"], kind="stable")
    isi = spikes.groupby(train, sort=False)["t_ms"].diff()
    if (isi <= 0).any():
        raise ValueError("a cell fires twice at one time: a spike is in the frame more than once")
    spikes = spikes.assign(isi_ms=isi)[isi.notna()]
    return _sorted(spikes[[*group, "trial", "cell", "isi_ms"]])


def train_statistics(spikes, counts, trials=None, by=None, min_spikes=MIN_SPIKES):
    r"""Rate, latency and interval statistics of every cell in every recorded trial.

    - ``rate_hz``: spikes per duration;
    - ``latency_ms``: time of the first spike, NaN for a silent cell;
    - ``isi_ms``: mean interval;
    - ``cv``: SD of the intervals (of the sample, ddof 0) over their mean;
    - ``cv2``: mean of :math:`2 |I_{i+1} - I_i| / (I_{i+1} + I_i)` (Holt et al. 1996,
      J Neurophysiol 75: 1806);
    - ``lv``: 3 times the mean of :math:`((I_{i+1} - I_i) / (I_{i+1} + I_i))^2` (Shinomoto et
      al. 2003, Neural Comput 15: 2823).

    The last four are NaN in a train with fewer than `min_spikes` spikes, and in all trials
    shorter than `MIN_DURATION_MS` (500 ms): a short trial cuts off the long intervals, and the
    few that are left describe its length rather than the cell. Record trials of the biophysical
    parameters with ``timing.duration`` of 500 ms or more.

    Parameters
    ----------
    spikes, counts, trials, by
        See `spike_counts`; `counts` with ``rate_hz``.
    min_spikes : int
        At least 3, which make two intervals.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, trial, cell, spikes, rate_hz, latency_ms,
        isi_ms, cv, cv2, lv``, a row per train, silent ones included.

    Raises
    ------
    ValueError
        If the frames contradict each other, a spike lies outside its trial, or `min_spikes` is
        below 3.

    Examples
    --------
    A cell that fires every 20 ms, and one that is silent:

    >>> import numpy as np, pandas as pd
    >>> label = {"trial": 0, "population": "F1", "pathway": "forward", "layer": 1}
    >>> spikes = pd.DataFrame({**label, "t_ms": np.arange(5.0, 500.0, 20.0), "cell": 0})
    >>> counts = pd.DataFrame({**label, "n_cells": [2], "spikes": 25, "rate_hz": 25.0})
    >>> train_statistics(spikes, counts)[["rate_hz", "latency_ms", "isi_ms", "cv", "lv"]]
       rate_hz  latency_ms  isi_ms   cv   lv
    0     50.0         5.0    20.0  0.0  0.0
    1      0.0         NaN     NaN  NaN  NaN
    """
    if min_spikes < 3:
        raise ValueError("min_spikes must be at least 3: two intervals are needed")
    duration_ms = trial_duration_ms(counts)
    spikes, rows = recorded(spikes, counts, trials)
    _check_times(spikes, duration_ms)
    trains = spike_counts(spikes, rows, trials, by)
    keys = [*_keys(trains), "population", "cell"]
    first = spikes.groupby(keys)["t_ms"].min().rename("latency_ms")
    intervals = interspike_intervals(spikes)
    of_train = intervals.groupby(keys)["isi_ms"]
    change = of_train.diff().abs() / (intervals["isi_ms"] + of_train.shift())
    by_train = [intervals[key] for key in keys]
    mean = of_train.mean()
    statistics = pd.DataFrame(
        {
            "isi_ms": mean,
            "cv": of_train.std(ddof=0) / mean,
            "cv2": 2 * change.groupby(by_train).mean(),
            "lv": 3 * (change**2).groupby(by_train).mean(),
        }
    )
    trains["rate_hz"] = 1e3 * trains["spikes"] / duration_ms
    trains = trains.merge(first.reset_index(), on=keys, how="left")
    trains = trains.merge(statistics.reset_index(), on=keys, how="left")
    enough = (trains["spikes"] >= min_spikes) & (duration_ms >= MIN_DURATION_MS - _SLACK)
    columns = ["isi_ms", "cv", "cv2", "lv"]
    trains[columns] = trains[columns].where(enough)
    return trains


def per_population(frame, statistics, by=None):
    """Distribution of statistics over the trains, cells or pairs of each population.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any frame of this package with ``[replica,] population, pathway, layer``.
    statistics : sequence of str
        Columns of `frame` to summarise.
    by : sequence of str, optional
        Columns that tell groups apart besides; ``phase`` by default, where there is one.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, statistic, n, n_defined, mean, sd,
        median``: `n` rows, of which `n_defined` are not NaN and enter the rest.

    Raises
    ------
    ValueError
        If a column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> trains = pd.DataFrame({"population": "F1", "pathway": "forward", "layer": 1,
    ...                        "cv": [0.5, 1.0, None]})
    >>> per_population(trains, ["cv"])[["statistic", "n", "n_defined", "mean"]]
      statistic  n  n_defined  mean
    0        cv  3          2  0.75
    """
    statistics = [statistics] if isinstance(statistics, str) else list(statistics)
    frame = plain(frame, _POPULATION, "frame")
    require_columns(frame, statistics, "frame")
    frame, group = grouped_by(frame, None, by)
    long = frame.melt(group, statistics, var_name="statistic")
    grouped = long.groupby([*group, "statistic"], sort=False, dropna=False)["value"]
    table = grouped.agg(n="size", n_defined="count", mean="mean", sd="std", median="median")
    return in_order(table.reset_index())


def fano_factor(cell_counts, trials=None, by=None, min_trials=MIN_TRIALS):
    """Variance over mean of the spike counts of a cell over trials.

    Trials of different stimuli differ in their mean count too. For the variability of the
    cells alone give `by` the columns that make trials repeats, such as ``["phase", "stimulus"]``;
    trials with the same ``draw`` share their random numbers and are no repeats.

    Parameters
    ----------
    cell_counts : pandas.DataFrame
        ``trial, population, pathway, layer, cell, spikes`` (and ``replica``), silent cells
        included: as recorded, or from `spike_counts`.
    trials, by
        See `spike_counts`.
    min_trials : int
        At least 2.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, cell, n_trials, mean_spikes, fano``. The
        variance is the unbiased one (over n - 1 trials; Elephant's, over n, is too small by
        (n - 1) / n): 1 on average for Poisson counts, however few the trials. `fano` is NaN for a
        cell without a spike and with fewer than `min_trials` trials.

    Raises
    ------
    ValueError
        If a column is missing, a cell is there twice in a trial, or `min_trials` is below 2.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = pd.DataFrame({"trial": [0, 1, 2, 3], "population": "F1", "pathway": "forward",
    ...                        "layer": 1, "cell": 0, "spikes": [1, 3, 1, 3]})
    >>> fano_factor(counts, min_trials=4)[["mean_spikes", "fano"]]
       mean_spikes      fano
    0          2.0  0.666667
    """
    if min_trials < 2:
        raise ValueError("min_trials must be at least 2: one trial has no variance")
    cell_counts = plain(cell_counts, ["trial", *_POPULATION, "cell", "spikes"], "cell_counts")
    if cell_counts.duplicated([*_keys(cell_counts), "population", "cell"]).any():
        raise ValueError("cell_counts has a cell twice in a trial: tell its rows apart by replica")
    cell_counts, group = grouped_by(cell_counts, trials, by)
    cell_counts = cell_counts.sort_values([*_keys(cell_counts), "population", "cell"])
    counts = cell_counts.groupby([*group, "cell"], dropna=False)["spikes"]
    table = counts.agg(n_trials="size", mean_spikes="mean")
    fano = counts.var() / table["mean_spikes"].where(table["mean_spikes"] > 0)
    table["fano"] = fano.where(table["n_trials"] >= min_trials)
    return in_order(table.reset_index())


def psth(spikes, counts, bin_ms, trials=None, by=None):
    """Peri-stimulus time histogram: mean rate of the cells of a population over the trial.

    Parameters
    ----------
    spikes, counts, trials, by
        See `spike_counts`; `counts` with ``rate_hz``.
    bin_ms : float
        Width of a bin; the trial must be a whole number of bins.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, t_ms, bin_ms, n_cells, n_trials, rate_hz,
        sem_hz``: `t_ms` is the middle of the bin, `rate_hz` the mean over cells, silent ones
        included, and trials, `sem_hz` its standard error over trials (NaN for one).

    Raises
    ------
    ValueError
        If the frames contradict each other or the bins do not fill the trial.

    Examples
    --------
    >>> import pandas as pd
    >>> label = {"trial": 0, "population": "F1", "pathway": "forward", "layer": 1}
    >>> spikes = pd.DataFrame({**label, "t_ms": [1.0, 2.0, 7.0], "cell": 0})
    >>> counts = pd.DataFrame({**label, "n_cells": [2], "spikes": 3, "rate_hz": 150.0})
    >>> psth(spikes, counts, 5.0)[["t_ms", "rate_hz"]]
       t_ms  rate_hz
    0   2.5    200.0
    1   7.5    100.0
    """
    tables = []
    for label, _, binned in binned_spikes(spikes, counts, bin_ms, trials, by):
        rate_hz = 1e3 * binned.mean(axis=1) / bin_ms
        n_trials, n_cells, n_bins = binned.shape
        sem = np.full(n_bins, np.nan)
        if n_trials > 1:
            sem = rate_hz.std(axis=0, ddof=1) / np.sqrt(n_trials)
        tables.append(
            pd.DataFrame(
                {
                    **label, "t_ms": bin_ms * (np.arange(n_bins) + 0.5), "bin_ms": bin_ms,
                    "n_cells": n_cells, "n_trials": n_trials, "rate_hz": rate_hz.mean(axis=0),
                    "sem_hz": sem,
                }
            )
        )
    return in_order(pd.concat(tables, ignore_index=True))


def binned_spikes(spikes, counts, bin_ms, trials=None, by=None):
    """Spike counts of the cells of each population in bins of time.

    Parameters
    ----------
    spikes, counts, bin_ms, trials, by
        See `psth`.

    Yields
    ------
    label : dict
        ``*by, [replica,] population, pathway, layer`` of the group.
    trials : numpy.ndarray, shape (n_trials,)
        Trial numbers.
    binned : numpy.ndarray of int, shape (n_trials, n_cells, n_bins)

    Raises
    ------
    ValueError
        If the frames contradict each other or the bins do not fill the trial.

    Examples
    --------
    >>> import pandas as pd
    >>> label = {"trial": 0, "population": "F1", "pathway": "forward", "layer": 1}
    >>> spikes = pd.DataFrame({**label, "t_ms": [1.0, 2.0, 7.0], "cell": 1})
    >>> counts = pd.DataFrame({**label, "n_cells": [2], "spikes": 3, "rate_hz": 150.0})
    >>> [binned.tolist() for _, _, binned in binned_spikes(spikes, counts, 5.0)]
    [[[[0, 0], [2, 1]]]]
    """
    duration_ms = trial_duration_ms(counts)
    if not 0 < bin_ms <= duration_ms:
        raise ValueError(f"bin_ms = {bin_ms}: give a width between 0 and {duration_ms:g} ms")
    n_bins = round(duration_ms / bin_ms)
    if abs(n_bins * bin_ms - duration_ms) > _SLACK * duration_ms:
        raise ValueError(f"bins of {bin_ms:g} ms do not fill a trial of {duration_ms:g} ms")
    spikes, rows = recorded(spikes, counts, trials)
    _check_times(spikes, duration_ms)
    rows, group = grouped_by(rows, trials, by)
    trial = _keys(rows)
    labels = rows[[*trial, "population"]].assign(
        group=rows.groupby(group, sort=False, dropna=False).ngroup()
    )
    spikes = spikes.merge(labels, on=[*trial, "population"])
    of_group = dict(list(spikes.groupby("group")))
    nothing = spikes.iloc[:0]
    for number, (values, part) in enumerate(rows.groupby(group, sort=False, dropna=False)):
        sizes = part["n_cells"].unique()
        if len(sizes) > 1:
            raise ValueError(f"{part['population'].iloc[0]} has {sizes} cells: give one n_cells")
        numbers = np.sort(part["trial"].to_numpy())
        shown = of_group.get(number, nothing)
        step = np.floor(shown["t_ms"].to_numpy() / bin_ms + _SLACK).astype(int)
        step = np.minimum(step, n_bins - 1)
        binned = np.zeros((len(numbers), sizes[0], n_bins), dtype=int)
        row = np.searchsorted(numbers, shown["trial"].to_numpy())
        np.add.at(binned, (row, shown["cell"].to_numpy(dtype=int), step), 1)
        yield dict(zip(group, values, strict=True)), numbers, binned


def _keys(frame):
    return ["replica", "trial"] if "replica" in frame else ["trial"]


def _sorted(frame):
    """By population along the flow, then by trial and cell: whatever the order of the input."""
    first = [c for c in frame.columns if c not in ("isi_ms", "spikes", "population")]
    order = ["trial", *[c for c in first if c == "replica"], "cell"]
    return in_order(frame.sort_values(order, kind="stable"))


def _check_times(spikes, duration_ms):
    t_ms = spikes["t_ms"]
    outside = (t_ms < 0) | (t_ms >= duration_ms)
    if outside.any():
        raise ValueError(
            f"a spike at {t_ms[outside].iloc[0]:g} ms is outside a trial of {duration_ms:g} ms"
        )

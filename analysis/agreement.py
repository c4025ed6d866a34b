"""Do two devices agree in distribution? Rates, variability and correlations, over seeds."""

import itertools

import numpy as np
import pandas as pd

from bsd.analysis.frames import require_columns
from bsd.analysis.populations import pairwise_correlation
from bsd.analysis.spike_trains import train_statistics

__all__ = ["agreement"]

#: Labelings of the runs that are tried at most; with fewer, all of them are.
N_LABELINGS = 2000


def agreement(first, second, bin_ms, seed=0):
    """Kolmogorov-Smirnov distances between two sets of runs, tested by permuting whole runs.

    Cells and pairs of one run depend on each other, so that the usual p-value of the distance is
    too small. Here the runs change sides, and a distance is judged by the largest of all
    distances under each labeling, each times the root of its effective number of values (Westfall
    & Young 1993), which is exact for any dependence.

    Parameters
    ----------
    first, second : tuple of (pandas.DataFrame, pandas.DataFrame)
        ``spikes`` and ``counts`` of each set, see `bsd.analysis.spike_trains.spike_counts`, with
        a column ``replica`` that numbers the runs, one for each seed. At least 4 runs each;
        for the intervals trials of 500 ms or more.
    bin_ms : float
        Width of the bins of the correlations.
    seed : int
        Of the labelings, where there are more than 2000.

    Returns
    -------
    pandas.DataFrame
        ``population, statistic`` (``rate_hz`` and ``cv`` of cells, means over trials;
        ``correlation`` of pairs), ``n_first, n_second, ks, p_value``; the p-value is corrected
        for the number of rows. Statistics that no run defines are left out.

    Raises
    ------
    ValueError
        If a set has fewer than 4 runs, or the frames contradict each other.
    """
    sides = [_samples(*frames, bin_ms) for frames in (first, second)]
    runs = [side["run"].nunique() for side in sides]
    if min(runs) < 4:
        raise ValueError(f"{runs[0]} and {runs[1]} runs: give at least 4 on each side")
    sides[1]["run"] += runs[0]
    samples = pd.concat(sides, ignore_index=True)
    labelings = _labelings(*runs, seed)
    rows, distances, scaled = [], [], []
    for (population, statistic), own in samples.groupby(["population", "statistic"], sort=False):
        on_first = own["run"] < runs[0]
        if on_first.all() or not on_first.any():
            continue
        rows.append((population, statistic, on_first.sum(), (~on_first).sum()))
        distance, effective = _distances(
            own["value"].to_numpy(), own["run"].to_numpy(), labelings
        )
        distances.append(distance[0])  # the first labeling is the true one
        scaled.append(distance * np.sqrt(effective))
    table = pd.DataFrame(rows, columns=["population", "statistic", "n_first", "n_second"])
    largest = np.max(scaled, axis=0)
    table["ks"] = distances
    table["p_value"] = [(largest >= own[0] - 1e-12).mean() for own in scaled]
    return table


def _samples(spikes, counts, bin_ms):
    for name, frame in (("spikes", spikes), ("counts", counts)):
        require_columns(frame, ["replica"], name)
    cell = ["replica", "population", "cell"]
    trains = train_statistics(spikes, counts)
    means = trains.groupby(cell, observed=True)[["rate_hz", "cv"]].mean().reset_index()
    pairs = pairwise_correlation(spikes, counts, bin_ms)
    tables = [
        frame.assign(statistic=name, value=frame[name])
        for frame, name in ((means, "rate_hz"), (means, "cv"), (pairs, "correlation"))
    ]
    joined = pd.concat(tables, ignore_index=True).dropna(subset="value")
    run = joined["replica"].rank(method="dense").astype(int) - 1
    return joined.assign(run=run)[["population", "statistic", "run", "value"]]


def _labelings(n_first, n_second, seed):
    """Which runs are on the first side, one row for each labeling, the true one first."""
    n = n_first + n_second
    true = np.arange(n) < n_first
    chosen = list(itertools.islice(itertools.combinations(range(n), n_first), N_LABELINGS + 1))
    if len(chosen) <= N_LABELINGS:
        return np.array([np.isin(np.arange(n), c) for c in chosen])
    generator = np.random.default_rng(seed)
    return np.array([true, *(generator.permutation(true) for _ in range(N_LABELINGS - 1))])


def _distances(values, run, labelings):
    """Kolmogorov-Smirnov distance and effective number of values under each labeling."""
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) > 0, True))  # ties move together
    below = np.cumsum(np.eye(labelings.shape[1])[run[order]], axis=0)[ends]  # (values, runs)
    first, second = below @ labelings.T, below @ ~labelings.T
    n, m = np.maximum(first[-1], 1), np.maximum(second[-1], 1)
    return np.abs(first / n - second / m).max(axis=0), n * m / (n + m)

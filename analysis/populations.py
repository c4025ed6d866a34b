"""Statistics of cells together: correlation, synchrony, sparseness, tuning, dimensionality.

Functions of spike counts take ``cell_counts``, one row per cell and trial, silent cells included:
as a run records it, or from `bsd.analysis.spike_trains.spike_counts`. They refuse a frame that
lacks cells. Functions of spike times take ``spikes`` and ``counts`` as
`bsd.analysis.spike_trains` does.
"""

import numpy as np
import pandas as pd
from scipy import stats

from bsd.analysis.frames import grouped_by, in_order, plain, require_columns
from bsd.analysis.spike_trains import binned_spikes

_CELLS = ["trial", "population", "pathway", "layer", "cell", "spikes"]


def count_matrices(cell_counts, trials=None, by=None, columns=()):
    """Spike counts of each population as a matrix.

    Parameters
    ----------
    cell_counts : pandas.DataFrame
        ``trial, population, pathway, layer, cell, spikes`` (and ``replica``).
    trials : pandas.DataFrame, optional
        Trial table.
    by : sequence of str, optional
        Columns of the trial table that tell groups apart; ``phase`` by default, where there is
        one.
    columns : sequence of str
        Further columns of the trial table to hand out.

    Yields
    ------
    label : dict
        ``*by, [replica,] population, pathway, layer`` of the group.
    of_trial : pandas.DataFrame
        ``trial`` and `columns`, a row per row of the matrix.
    matrix : numpy.ndarray of float, shape (n_trials, n_cells)

    Raises
    ------
    ValueError
        If a column is missing, nothing was recorded, or a cell is missing or there twice in a
        trial.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = pd.DataFrame({"trial": [0, 0, 1, 1], "population": "F1", "pathway": "forward",
    ...                        "layer": 1, "cell": [0, 1, 0, 1], "spikes": [3, 0, 5, 1]})
    >>> [matrix.tolist() for _, _, matrix in count_matrices(counts)]
    [[[3.0, 0.0], [5.0, 1.0]]]
    """
    if cell_counts.empty:
        raise ValueError("cell_counts has no rows: set the column `record` of the trial table")
    cell_counts = plain(cell_counts, _CELLS, "cell_counts")
    cell_counts, group = grouped_by(cell_counts, trials, by)
    if columns:
        cell_counts, _ = grouped_by(cell_counts, trials, columns)
    replica = ["replica"] if "replica" in cell_counts else []
    cell_counts = cell_counts.sort_values([*replica, "trial", "cell"], kind="stable")
    for values, part in cell_counts.groupby(group, sort=False, dropna=False):
        label = dict(zip(group, values, strict=True))
        if part.duplicated(["trial", "cell"]).any():
            raise ValueError(
                f"cell_counts has a cell of {label['population']} twice in a trial: "
                "tell its rows apart by replica"
            )
        of_trial = part.drop_duplicates("trial")[["trial", *columns]].reset_index(drop=True)
        n_cells = int(part["cell"].max()) + 1
        if len(part) != len(of_trial) * n_cells:
            raise ValueError(
                f"cell_counts lacks cells of {label['population']} in some trials: silent cells "
                "need a row too, see bsd.analysis.spike_trains.spike_counts"
            )
        matrix = part["spikes"].to_numpy(dtype=float).reshape(len(of_trial), n_cells)
        yield label, of_trial, matrix


def trials_with_concept(cell_counts, trials, concept="concept", by=None, columns=()):
    """`count_matrices` of the trials that have a concept.

    Parameters
    ----------
    cell_counts, trials, by
        See `count_matrices`.
    concept : str
        Column of the trial table; trials of -1 are left out.
    columns : sequence of str
        Further columns of the trial table to hand out.

    Yields
    ------
    label, of_trial, matrix
        See `count_matrices`; `of_trial` with the column `concept`.

    Raises
    ------
    ValueError
        See `count_matrices`; also if no trial has a concept.
    """
    require_columns(trials, ["trial", concept, *columns], "trials")
    found = False
    for label, of_trial, matrix in count_matrices(cell_counts, trials, by, [concept, *columns]):
        chosen = (of_trial[concept].notna() & ~of_trial[concept].isin([-1])).to_numpy()
        if chosen.any():
            found = True
            yield label, of_trial[chosen], matrix[chosen]
    if not found:
        raise ValueError(f"no trial of these counts has a value in '{concept}'")


def concepts_of_units(of_trial, concept, unit):
    """Which independent observation each trial belongs to, and which concept each has.

    Parameters
    ----------
    of_trial : pandas.DataFrame
        Of `trials_with_concept`.
    concept : str
    unit : str
        ``'trial'``, or a column whose trials belong together; those without a value (missing, or
        -1) are units of their own.

    Returns
    -------
    concepts : pandas.Index
        Sorted.
    of_unit : numpy.ndarray of int, shape (n_units,)
        Position of its concept.
    units : numpy.ndarray of int, shape (n_trials,)

    Raises
    ------
    ValueError
        If a unit has several concepts.

    Examples
    --------
    >>> import pandas as pd
    >>> shown = pd.DataFrame({"concept": [3, 3, 7], "stimulus": [0, 0, 5]})
    >>> concepts, of_unit, units = concepts_of_units(shown, "concept", "stimulus")
    >>> concepts.tolist(), of_unit.tolist(), units.tolist()
    ([3, 7], [0, 1], [0, 0, 1])
    """
    index, concepts = pd.factorize(of_trial[concept], sort=True)
    if unit == "trial":
        return concepts, index, np.arange(len(index))
    alone = (of_trial[unit].isna() | of_trial[unit].isin([-1])).to_numpy()
    units, values = pd.factorize(of_trial[unit].where(~alone))
    units[alone] = len(values) + np.arange(alone.sum())
    _, first = np.unique(units, return_index=True)
    of_unit = index[first]
    if (of_unit[units] != index).any():
        raise ValueError(f"a {unit} was shown with several concepts: it is no unit of a comparison")
    return concepts, of_unit, units


def pairwise_correlation(spikes, counts, bin_ms, trials=None, by=None):
    """Pearson correlation of the binned spike trains of all pairs of cells of a population.

    Trials are strung together, so that cells driven by the same stimuli are correlated by
    their drive; for what is left at a given concept see `count_correlation`.

    Parameters
    ----------
    spikes, counts : pandas.DataFrame
        See `bsd.analysis.spike_trains.spike_counts`; `counts` with ``rate_hz``.
    bin_ms : float
        Width of a bin.
    trials, by
        See `count_matrices`.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, cell_a, cell_b, bin_ms, correlation``,
        ``cell_a < cell_b``; NaN where a cell is silent or fires the same in all bins.

    Raises
    ------
    ValueError
        If the frames contradict each other or the bins do not fill the trial.

    Examples
    --------
    >>> import pandas as pd
    >>> label = {"trial": 0, "population": "F1", "pathway": "forward", "layer": 1}
    >>> spikes = pd.DataFrame({**label, "t_ms": [1.0, 2.0], "cell": [0, 1]})
    >>> counts = pd.DataFrame({**label, "n_cells": [2], "spikes": 2, "rate_hz": 50.0})
    >>> pairwise_correlation(spikes, counts, 5.0)[["cell_a", "cell_b", "correlation"]].round(6)
       cell_a  cell_b  correlation
    0       0       1          1.0
    """
    tables = []
    for label, _, binned in binned_spikes(spikes, counts, bin_ms, trials, by):
        trains = np.moveaxis(binned, 1, 0).reshape(binned.shape[1], -1)
        tables.append(_pairs(label, bin_ms=bin_ms, correlation=_correlation(trains)))
    return in_order(pd.concat(tables, ignore_index=True))


def count_correlation(cell_counts, trials, concept="concept", by=None):
    """Signal and noise correlation of the spike counts of all pairs of cells of a population.

    *Signal*: of the mean counts over concepts. *Noise*: of the deviations from the mean of the
    trial's concept. Trials without a concept (-1) are left out; cells of trials with the same
    ``draw`` share random numbers, which shows as noise correlation.

    Parameters
    ----------
    cell_counts, trials, by
        See `count_matrices`.
    concept : str
        Column of the trial table that is the signal.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, cell_a, cell_b, signal, noise``; NaN where
        a cell does not vary, and for fewer than three concepts or repeats.

    Raises
    ------
    ValueError
        See `count_matrices`; also if no trial has a concept.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = pd.DataFrame({"trial": [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], "cell": [0, 1] * 6,
    ...     "population": "F1", "pathway": "forward", "layer": 1,
    ...     "spikes": [1, 3, 3, 5, 4, 4, 6, 6, 6, 9, 8, 11]})
    >>> trials = pd.DataFrame({"trial": range(6), "concept": [0, 0, 1, 1, 2, 2]})
    >>> count_correlation(counts, trials)[["signal", "noise"]].round(3)
       signal  noise
    0   0.886    1.0
    """
    tables = []
    for label, of_trial, matrix in trials_with_concept(cell_counts, trials, concept, by):
        index, _ = pd.factorize(of_trial[concept], sort=True)
        means = _class_means(matrix, index)
        rest = matrix - means[index]
        undefined = np.full(2 * rest.shape[1:], np.nan)
        signal = _correlation(means.T) if len(means) > 2 else undefined
        noise = _correlation(rest.T) if len(rest) - len(means) > 2 else undefined
        tables.append(_pairs(label, signal=signal, noise=noise))
    return in_order(pd.concat(tables, ignore_index=True))


def synchrony(spikes, counts, bin_ms, trials=None, by=None):
    r"""Synchrony of a population: fluctuation of its mean activity against that of its cells.

    :math:`\chi = \sqrt{\mathrm{Var}(\bar n) / \overline{\mathrm{Var}(n_i)}}` with the counts
    :math:`n_i` of the cells in bins over time, computed within each trial (Golomb & Rinzel 1994,
    Physica D 72: 259): 1 when all cells fire together, about :math:`1/\sqrt{N}` for N
    independent cells. Silent cells belong to N.

    Parameters
    ----------
    spikes, counts, bin_ms, trials, by
        See `pairwise_correlation`.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, trial, n_cells, bin_ms, chi``, a row per
        trial; NaN where no cell's count varies.

    Raises
    ------
    ValueError
        If the frames contradict each other or the bins do not fill the trial.

    Examples
    --------
    >>> import pandas as pd
    >>> label = {"trial": 0, "population": "F1", "pathway": "forward", "layer": 1}
    >>> spikes = pd.DataFrame({**label, "t_ms": [1.0, 2.0], "cell": [0, 1]})
    >>> counts = pd.DataFrame({**label, "n_cells": [2], "spikes": 2, "rate_hz": 50.0})
    >>> synchrony(spikes, counts, 5.0)["chi"].tolist()
    [1.0]
    """
    tables = []
    for label, numbers, binned in binned_spikes(spikes, counts, bin_ms, trials, by):
        of_cells = binned.var(axis=2).mean(axis=1)
        with np.errstate(invalid="ignore"):
            chi = np.sqrt(binned.mean(axis=1).var(axis=1) / of_cells)
        tables.append(
            pd.DataFrame(
                {
                    **label, "trial": numbers, "n_cells": binned.shape[1], "bin_ms": bin_ms,
                    "chi": chi,
                }
            )
        )
    return in_order(pd.concat(tables, ignore_index=True))


def treves_rolls(rates, axis=-1):
    """Treves & Rolls' sparseness: square of the mean over the mean of squares.

    Parameters
    ----------
    rates : array_like
        Not negative.
    axis : int
        Axis of the cells (population sparseness) or of the stimuli (lifetime sparseness).

    Returns
    -------
    numpy.ndarray or float
        1 for equal rates, 1/n if one of n is active (*small* is sparse); NaN where all are
        zero. Treves & Rolls 1991, Network 2: 371.

    Raises
    ------
    ValueError
        If a rate is negative or not finite.

    Examples
    --------
    >>> float(treves_rolls([0, 0, 0, 8]))
    0.25
    """
    rates = _rates(rates)
    with np.errstate(invalid="ignore"):
        return (np.mean(rates, axis=axis) ** 2 / np.mean(rates**2, axis=axis))[()]


def vinje_gallant(rates, axis=-1):
    """Vinje & Gallant's sparseness: `treves_rolls`, turned round and scaled to 0 to 1.

    Parameters
    ----------
    rates, axis
        See `treves_rolls`.

    Returns
    -------
    numpy.ndarray or float
        0 for equal rates, 1 if one is active; NaN where all are zero, and for n = 1. Vinje &
        Gallant 2000, Science 287: 1273.

    Raises
    ------
    ValueError
        If a rate is negative or not finite.

    Examples
    --------
    >>> float(vinje_gallant([0, 0, 0, 8])), float(vinje_gallant([2, 2, 2, 2]))
    (1.0, 0.0)
    """
    n = _rates(rates).shape[axis]
    return (1 - treves_rolls(rates, axis)) / (1 - 1 / n if n > 1 else np.nan)


def hoyer(rates, axis=-1):
    """Hoyer's sparseness: from the ratio of the L1 to the L2 norm.

    Parameters
    ----------
    rates, axis
        See `treves_rolls`.

    Returns
    -------
    numpy.ndarray or float
        0 for equal rates, 1 if one is active; NaN where all are zero, and for n = 1. Hoyer
        2004, J Mach Learn Res 5: 1457.

    Raises
    ------
    ValueError
        If a rate is negative or not finite.

    Examples
    --------
    >>> float(hoyer([0, 0, 0, 8])), float(hoyer([2, 2, 2, 2]))
    (1.0, 0.0)
    """
    rates = _rates(rates)
    root = np.sqrt(rates.shape[axis])
    with np.errstate(invalid="ignore"):
        ratio = np.sum(rates, axis=axis) / np.linalg.norm(rates, axis=axis)
    return (root - ratio) / (root - 1 if root > 1 else np.nan)


def population_sparseness(cell_counts, trials=None, by=None):
    """How few cells of a population carry the spikes of a trial.

    Parameters
    ----------
    cell_counts, trials, by
        See `count_matrices`.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, trial, n_cells, active_fraction,
        treves_rolls, vinje_gallant, hoyer``; the latter are NaN in a trial without a spike.

    Raises
    ------
    ValueError
        See `count_matrices`.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = pd.DataFrame({"trial": 0, "population": "F1", "pathway": "forward", "layer": 1,
    ...                        "cell": [0, 1, 2, 3], "spikes": [0, 0, 8, 0]})
    >>> population_sparseness(counts)[["active_fraction", "treves_rolls", "vinje_gallant"]]
       active_fraction  treves_rolls  vinje_gallant
    0             0.25          0.25            1.0
    """
    tables = [
        pd.DataFrame(
            {
                **label, "trial": of_trial["trial"], "n_cells": matrix.shape[1],
                "active_fraction": (matrix > 0).mean(axis=1), **_sparseness(matrix, axis=1),
            }
        )
        for label, of_trial, matrix in count_matrices(cell_counts, trials, by)
    ]
    return in_order(pd.concat(tables, ignore_index=True))


def lifetime_sparseness(cell_counts, trials, concept="concept", by=None):
    """How few concepts drive a cell, from its mean counts.

    Parameters
    ----------
    cell_counts, trials, by
        See `count_matrices`.
    concept : str
        Column of the trial table over whose values counts are averaged; trials of -1 are left
        out. With ``stimulus`` each stimulus counts on its own.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, cell, n_concepts, treves_rolls,
        vinje_gallant, hoyer``; NaN for a silent cell.

    Raises
    ------
    ValueError
        See `count_matrices`; also if no trial has a concept.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = pd.DataFrame({"trial": [0, 1, 2], "population": "F1", "pathway": "forward",
    ...                        "layer": 1, "cell": 0, "spikes": [4, 2, 0]})
    >>> trials = pd.DataFrame({"trial": [0, 1, 2], "concept": [0, 0, 1]})
    >>> lifetime_sparseness(counts, trials)[["n_concepts", "treves_rolls", "vinje_gallant"]]
       n_concepts  treves_rolls  vinje_gallant
    0           2           0.5            1.0
    """
    tables = []
    for label, of_trial, matrix in trials_with_concept(cell_counts, trials, concept, by):
        index, _ = pd.factorize(of_trial[concept], sort=True)
        means = _class_means(matrix, index)
        tables.append(
            pd.DataFrame(
                {
                    **label, "cell": np.arange(matrix.shape[1]), "n_concepts": len(means),
                    **_sparseness(means, axis=0),
                }
            )
        )
    return in_order(pd.concat(tables, ignore_index=True))


def tuning(cell_counts, trials, duration_ms, concept="concept", by=None):
    """Mean rate of each cell for each concept.

    Parameters
    ----------
    cell_counts, trials, by
        See `count_matrices`.
    duration_ms : float
        Duration of a trial, see `bsd.analysis.spike_trains.trial_duration_ms`.
    concept : str
        Column of the trial table that is tuned to; trials of -1 are left out.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, cell, <concept>, n_trials, rate_hz,
        sd_hz``; the SD is over trials, NaN for one.

    Raises
    ------
    ValueError
        See `count_matrices`; also if no trial has a concept or the duration is not positive.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = pd.DataFrame({"trial": [0, 1], "population": "F1", "pathway": "forward",
    ...                        "layer": 1, "cell": 0, "spikes": [4, 1]})
    >>> trials = pd.DataFrame({"trial": [0, 1], "concept": [3, 7]})
    >>> tuning(counts, trials, 500.0)[["cell", "concept", "rate_hz"]]
       cell  concept  rate_hz
    0     0        3      8.0
    1     0        7      2.0
    """
    if not duration_ms > 0:
        raise ValueError(f"duration_ms = {duration_ms}: give the duration of a trial")
    tables = []
    for label, of_trial, matrix in trials_with_concept(cell_counts, trials, concept, by):
        index, concepts = pd.factorize(of_trial[concept], sort=True)
        rates = 1e3 * matrix / duration_ms
        n_trials = np.bincount(index)
        mean = _class_means(rates, index)
        squares = _class_means((rates - mean[index]) ** 2, index)
        with np.errstate(invalid="ignore", divide="ignore"):
            sd = np.sqrt(squares * (n_trials / (n_trials - 1))[:, None])
        n_cells = matrix.shape[1]
        tables.append(
            pd.DataFrame(
                {
                    **label,
                    "cell": np.repeat(np.arange(n_cells), len(concepts)),
                    concept: np.tile(concepts, n_cells),
                    "n_trials": np.tile(n_trials, n_cells),
                    "rate_hz": mean.T.ravel(),
                    "sd_hz": sd.T.ravel(),
                }
            )
        )
    return in_order(pd.concat(tables, ignore_index=True))


def selectivity(
    cell_counts, trials, concept="concept", by=None, unit="trial", n_shuffles=200, seed=0
):
    """Preferred concept of each cell, and how much it prefers it.

    The preferred concept is chosen by the same trials that measure the preference, so the index
    is above zero for any cell that fires irregularly. It comes beside its mean over shuffled
    concepts, and the test does not share the flaw.

    Parameters
    ----------
    cell_counts, trials, by
        See `count_matrices`.
    concept : str
        Column of the trial table; trials of -1 are left out.
    unit : str
        What is an independent observation: ``'trial'``, or a column such as ``'stimulus'``, whose
        trials belong together (those without one, -1, are alone). Repeats of a few stimuli are
        no independent sample of their concept.
    n_shuffles : int
        Shuffles of the concepts over units.
    seed : int
        Of the shuffles.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, cell, preferred, selectivity,
        selectivity_shuffled, p_value``: `selectivity` is (r - s) / (r + s) with the mean count r
        for the preferred and s over all other concepts, 1 for a cell that fires for one alone;
        `p_value` is of the Kruskal-Wallis test on the means of units that all concepts are alike,
        one per cell: correct it for many cells (`bsd.analysis.hypotheses.correct_p_values`). A
        silent cell prefers none (`preferred` missing, NaN).

    Raises
    ------
    ValueError
        See `count_matrices`; also if fewer than two concepts were shown, or a unit has several.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = pd.DataFrame({"trial": [0, 1, 2, 3], "population": "F1", "pathway": "forward",
    ...                        "layer": 1, "cell": 0, "spikes": [1, 1, 3, 3]})
    >>> trials = pd.DataFrame({"trial": [0, 1, 2, 3], "concept": [4, 4, 5, 5]})
    >>> selectivity(counts, trials)[["preferred", "selectivity"]]
       preferred  selectivity
    0          5          0.5
    """
    rng = np.random.default_rng(seed)
    tables = []
    columns = [] if unit == "trial" else [unit]
    for label, of_trial, matrix in trials_with_concept(cell_counts, trials, concept, by, columns):
        concepts, of_unit, units = concepts_of_units(of_trial, concept, unit)
        if len(concepts) < 2:
            raise ValueError("selectivity needs trials of at least two concepts")
        means = _class_means(matrix, of_unit[units])
        shuffled = [
            _selectivity(_class_means(matrix, rng.permutation(of_unit)[units]))
            for _ in range(n_shuffles)
        ]
        fired = matrix.any(axis=0)
        preferred = pd.Series(concepts[means.argmax(axis=0)])
        of_units = _class_means(matrix, units)
        varies = np.ptp(of_units, axis=0) > 0
        p_value = np.where(fired, 1.0, np.nan)
        if varies.any():
            groups = [of_units[of_unit == k][:, varies] for k in range(len(concepts))]
            p_value[varies] = stats.kruskal(*groups, axis=0).pvalue
        tables.append(
            pd.DataFrame(
                {
                    **label, "cell": np.arange(matrix.shape[1]),
                    "preferred": preferred.convert_dtypes().where(fired),
                    "selectivity": _selectivity(means),
                    "selectivity_shuffled": np.mean(shuffled, axis=0), "p_value": p_value,
                }
            )
        )
    return in_order(pd.concat(tables, ignore_index=True))


def participation_ratio(cell_counts, trials=None, by=None):
    r"""Dimensionality of the activity of a population over trials.

    :math:`(\sum_k \lambda_k)^2 / \sum_k \lambda_k^2` of the eigenvalues of the covariance
    matrix of the cells' spike counts (Gao et al. 2017, bioRxiv 214262): n for n cells that vary
    alike and independently, 1 for cells that vary together. It cannot exceed n_trials - 1 and
    comes out too small with few trials: compare equal numbers of them.

    Parameters
    ----------
    cell_counts, trials, by
        See `count_matrices`.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, n_cells, n_active, n_trials,
        participation_ratio``; NaN if no count varies.

    Raises
    ------
    ValueError
        See `count_matrices`.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = pd.DataFrame({"trial": [0, 0, 1, 1, 2, 2, 3, 3], "population": "F1",
    ...     "pathway": "forward", "layer": 1, "cell": [0, 1] * 4,
    ...     "spikes": [0, 0, 0, 2, 2, 0, 2, 2]})
    >>> participation_ratio(counts)["participation_ratio"].round(6).tolist()
    [2.0]
    """
    rows = []
    for label, _, matrix in count_matrices(cell_counts, trials, by):
        deviations = matrix - matrix.mean(axis=0)
        # The eigenvalues of the covariance are those squared, up to a factor that cancels.
        power = np.linalg.svd(deviations, compute_uv=False) ** 2
        total = power.sum()
        rows.append(
            {
                **label, "n_cells": matrix.shape[1],
                "n_active": int(matrix.any(axis=0).sum()), "n_trials": len(matrix),
                "participation_ratio": total**2 / (power**2).sum() if total > 0 else np.nan,
            }
        )
    return in_order(pd.DataFrame(rows))


def _class_means(matrix, index):
    one_hot = np.eye(index.max() + 1)[index]
    return (one_hot.T @ matrix) / one_hot.sum(axis=0)[:, None]


def _selectivity(means):
    best = means.max(axis=0)
    others = (means.sum(axis=0) - best) / (len(means) - 1)
    with np.errstate(invalid="ignore"):
        return (best - others) / (best + others)


def _sparseness(rates, axis):
    measures = (treves_rolls, vinje_gallant, hoyer)
    return {measure.__name__: measure(rates, axis) for measure in measures}


def _rates(rates):
    rates = np.asarray(rates, dtype=float)
    if not (np.isfinite(rates).all() and (rates >= 0).all()):
        raise ValueError("sparseness is defined for rates that are finite and not negative")
    return rates


def _correlation(trains):
    """Correlation matrix of the rows, NaN for rows that do not vary."""
    deviations = trains - trains.mean(axis=1, keepdims=True)
    # Told by the values: the deviations of a constant row are rounding, not zero.
    varies = np.ptp(trains, axis=1) > 1e-12 * np.abs(trains).max(axis=1)
    norm = np.where(varies, np.linalg.norm(deviations, axis=1), np.nan)
    return np.clip((deviations / norm[:, None]) @ (deviations / norm[:, None]).T, -1, 1)


def _pairs(label, **values):
    """Long form of the upper triangles of matrices; what is not a matrix is the same for all."""
    n = next(len(value) for value in values.values() if isinstance(value, np.ndarray))
    a, b = np.triu_indices(n, 1)
    columns = {
        name: value[a, b] if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }
    return pd.DataFrame({**label, "cell_a": a, "cell_b": b, **columns})

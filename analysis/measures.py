"""Pure measures: similarity of paired spike trains, weight alignment, decisions, recall.

The paired cells are the type-1 and the type-2 cell of one layer (arXiv 2509.20284,
section on representational similarity). Their similarity always comes beside a
trial-shuffled value: sparse trains agree by their silence alone, and cells with
unequal rates agree by their rates alone.
"""

import numpy as np
import pandas as pd

from bsd.analysis.frames import require_columns

NO_PERCEPT = -1
"""Percept of a trial that ended in a tie or in silence."""

# Two cosines closer than this are one: below it only rounding tells them apart.
_TIE = 1e-9


def cosine(a, b, axis=-1):
    """Cosine of the angle between vectors.

    Parameters
    ----------
    a, b : array_like
        Vectors along `axis`; the other axes broadcast.
    axis : int

    Returns
    -------
    numpy.ndarray or float
        NaN where a vector is zero.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    # Scaled first, so that neither tiny nor huge vectors leave the range of floats.
    a, b = _unit(a, axis), _unit(b, axis)
    return np.clip(np.sum(a * b, axis=axis), -1.0, 1.0)


def _unit(a, axis):
    with np.errstate(invalid="ignore", divide="ignore"):
        a = a / np.max(np.abs(a), axis=axis, keepdims=True)
        return a / _norm(a, axis)


def _norm(a, axis):
    # Not that of linalg, whose last bit depends on where the array lies in memory.
    return np.sqrt(np.sum(a * a, axis=axis, keepdims=True))


def hamming_similarity(spikes_a, spikes_b, axis=None):
    """Fraction of bins in which two spike rasters agree.

    Parameters
    ----------
    spikes_a, spikes_b : array_like of bool or 0/1
        Rasters of the same shape, one entry per cell and time step.
    axis : int, tuple of int or None
        Axes to average over; all by default.

    Returns
    -------
    float or numpy.ndarray
        1 for identical rasters, 0 for complements.

    Raises
    ------
    ValueError
        If shapes differ, or an entry is neither 0 nor 1.
    """
    a, b = _rasters(spikes_a, spikes_b)
    return np.mean(a == b, axis=axis)


def hamming_from_counts(n_a, n_b, n_both, n_bins):
    """Hamming similarity from coincidence counts, see `cohen_kappa` for the arguments.

    Returns
    -------
    numpy.ndarray or float
        NaN where `n_bins` is 0.

    Raises
    ------
    ValueError
        If the counts contradict each other.
    """
    n_a, n_b, n_both, n_bins = _coincidences(n_a, n_b, n_both, n_bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (1.0 - (n_a + n_b - 2.0 * n_both) / n_bins)[()]


def cohen_kappa(n_a, n_b, n_both, n_bins):
    """Cohen's kappa of two binary trains from their coincidence counts.

    kappa = (p_o - p_e) / (1 - p_e), with p_o the fraction of bins that agree and p_e the
    agreement expected of independent trains with the same numbers of spikes.

    Parameters
    ----------
    n_a, n_b : array_like
        Bins with a spike in the first, in the second train.
    n_both : array_like
        Bins with a spike in both; may be an expectation, that is, not a whole number.
    n_bins : array_like
        Number of bins (cells times time steps). All four broadcast.

    Returns
    -------
    numpy.ndarray or float
        1 for identical trains, 0 for chance. NaN where undefined: no bins, or both
        trains silent throughout, or both firing throughout.

    Raises
    ------
    ValueError
        If the counts contradict each other.
    """
    n_a, n_b, n_both, n_bins = _coincidences(n_a, n_b, n_both, n_bins)
    # (p_o - p_e) and (1 - p_e), both times n_bins^2 so that whole numbers stay exact.
    covariance = 2.0 * (n_both * n_bins - n_a * n_b)
    disagreement = n_a * (n_bins - n_b) + n_b * (n_bins - n_a)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(disagreement > 0, covariance / disagreement, np.nan)[()]


def paired_similarity(raster_a, raster_b):
    """Hamming similarity and kappa of paired rasters, beside their trial-shuffled values.

    In the shuffled values the spikes of the second raster come from another trial; each is the
    mean over all other trials. What is left is the agreement owed to the cells' mean rates (and,
    where some of the other trials show the same concept, to the concept), what is lost is the
    agreement about this trial.

    Parameters
    ----------
    raster_a, raster_b : array_like of bool or 0/1, shape (n_trials, n_steps, n_cells)
        Spikes of the type-1 and of the type-2 cells, paired one to one. Cells and steps
        of a trial are pooled.

    Returns
    -------
    pandas.DataFrame
        One row per trial: ``hamming, kappa, hamming_shuffled, kappa_shuffled``; NaN where
        undefined, as a shuffled value is where there is only one trial.

    Raises
    ------
    ValueError
        If shapes differ, or an entry is neither 0 nor 1.
    """
    a, b = _rasters(raster_a, raster_b)
    n_trials = len(a)
    a, b = a.reshape(n_trials, -1), b.reshape(n_trials, -1)
    n_bins = a.shape[1]
    n_a, n_b = a.sum(1), b.sum(1)
    a, b = a.astype(np.float32), b.astype(np.float32)  # counts below 2^24 are exact
    rows = []
    for trial in range(n_trials):
        counts = n_a[trial], n_b, b @ a[trial], n_bins
        hamming, kappa = hamming_from_counts(*counts), cohen_kappa(*counts)
        others = np.arange(n_trials) != trial
        rows.append(
            (hamming[trial], kappa[trial], _mean(hamming[others]), _mean(kappa[others]))
        )
    return pd.DataFrame(rows, columns=["hamming", "kappa", "hamming_shuffled", "kappa_shuffled"])


def _mean(values):
    """Mean of the values that are defined, NaN without any."""
    values = values[~np.isnan(values)]
    return values.mean() if values.size else np.nan


def weight_angle(W, Theta):
    """Angle between the forward weights of a layer and its transposed feedback weights.

    Parameters
    ----------
    W : array_like, shape (n_i, n_{i+1})
        Forward weights, (presynaptic, postsynaptic).
    Theta : array_like, shape (n_{i+1}, n_i)
        Feedback weights between the same layers, (presynaptic, postsynaptic).

    Returns
    -------
    float
        Angle in degrees: 0 for ``Theta = W.T``, 90 for unrelated weights, NaN if either
        is zero throughout.

    Raises
    ------
    ValueError
        If the shapes are not each other's transpose.
    """
    W, Theta = np.asarray(W, dtype=float), np.asarray(Theta, dtype=float)
    if W.ndim != 2 or W.shape != Theta.shape[::-1]:
        raise ValueError(
            f"W has shape {W.shape} and Theta {Theta.shape}: "
            "give both as (presynaptic, postsynaptic), one the transpose of the other in shape"
        )
    w, theta = _unit(W.ravel(), -1), _unit(Theta.T.ravel(), -1)
    # Exact for small angles too, where the arc cosine loses half of the digits.
    return float(
        np.degrees(2.0 * np.arctan2(_norm(w - theta, -1), _norm(w + theta, -1))[0])
    )


def decide(counts, encodings):
    """Concept whose encoding has the largest cosine with the output.

    Parameters
    ----------
    counts : array_like, shape (n_trials, n_top)
        Spike counts of the output population (output voltages are treated alike).
    encodings : array_like, shape (n_concepts, n_top)
        Encoding of each concept: the rates of the concept afferents.

    Returns
    -------
    numpy.ndarray of int, shape (n_trials,)
        Row of `encodings`; -1 for silence, and for a tie of the best.

    Raises
    ------
    ValueError
        If widths differ, a value is not finite, or an encoding is empty.
    """
    counts = np.asarray(counts, dtype=float)
    encodings = np.asarray(encodings, dtype=float)
    if counts.ndim != 2 or encodings.ndim != 2 or counts.shape[1] != encodings.shape[1]:
        raise ValueError(
            f"counts have shape {counts.shape} and encodings {encodings.shape}: "
            "give (n_trials, n_top) and (n_concepts, n_top)"
        )
    if not (np.isfinite(counts).all() and np.isfinite(encodings).all()):
        raise ValueError("counts or encodings hold NaN or infinity: leave those trials out")
    if not len(encodings) or not encodings.any(axis=1).all():
        raise ValueError("every concept needs an encoding with at least one active cell")
    percept = np.full(len(counts), NO_PERCEPT)
    fired = counts.any(axis=1)
    if not fired.any():
        return percept
    match = _unit(counts[fired], 1) @ _unit(encodings, 1).T
    best = match.max(axis=1, keepdims=True)
    single = np.sum(match >= best - _TIE, axis=1) == 1
    percept[fired] = np.where(single, match.argmax(axis=1), NO_PERCEPT)
    return percept


def confusion_matrix(trials, phase="test", epoch=None):
    """Decisions per concept.

    Parameters
    ----------
    trials : pandas.DataFrame
        Trial table with ``phase, concept, percept`` (and ``epoch``).
    phase : str
    epoch : int, optional
        The last one of the phase by default.

    Returns
    -------
    pandas.DataFrame of int
        Rows: true concept; columns: percept, the last one (-1) for ties and silence.

    Raises
    ------
    ValueError
        If a column is missing or no trial of the phase has a percept.
    """
    shown = _decided(trials, phase, "percept")
    if "epoch" in shown:
        shown = shown[shown["epoch"] == (shown["epoch"].max() if epoch is None else epoch)]
    if shown.empty:
        raise ValueError(f"no trial of phase '{phase}', epoch {epoch} has a percept")
    percept = shown["percept"].astype(int)
    concept = shown["concept"].astype(int)
    concepts = sorted((set(concept) | set(percept)) - {NO_PERCEPT})
    table = pd.crosstab(concept, percept)
    return table.reindex(index=concepts, columns=[*concepts, NO_PERCEPT], fill_value=0)


def accuracy(trials, phase="test"):
    """Fraction of correct decisions per epoch.

    Parameters
    ----------
    trials : pandas.DataFrame
        Trial table with ``epoch, phase, correct`` and perhaps ``correct_voltage``; a tie
        counts as wrong, a trial without a decision (NaN) does not count. The replicas of a
        cohort are averaged.
    phase : str

    Returns
    -------
    pandas.DataFrame
        ``epoch, n_trials, accuracy, low, high`` (95 % Wilson interval) and, where the
        trials have it, ``accuracy_voltage``. Replicas decide on the same stimuli: a trial of a
        cohort counts once.

    Raises
    ------
    ValueError
        If a column is missing or no trial of the phase has a decision.
    """
    require_columns(trials, ["epoch"], "trials")
    shown = _decided(trials, phase, "correct")
    grouped = shown.assign(correct=shown["correct"].astype(float)).groupby("epoch")
    table = grouped["correct"].agg(n_trials="count", accuracy="mean").reset_index()
    if "replica" in shown:
        table["n_trials"] = shown.groupby("epoch")["trial"].nunique().to_numpy()
    table["low"], table["high"] = wilson_interval(table["accuracy"], table["n_trials"])
    if "correct_voltage" in shown and shown["correct_voltage"].notna().any():
        voltage = shown.dropna(subset=["correct_voltage"])
        voltage = voltage["correct_voltage"].astype(float).groupby(voltage["epoch"]).mean()
        table["accuracy_voltage"] = table["epoch"].map(voltage)
    return table


def running_accuracy(trials, phase="train", window=None):
    """Running mean of correct decisions over the trials of a phase.

    Parameters
    ----------
    trials : pandas.DataFrame
        Trial table with ``trial, phase, correct``, in order of presentation; the replicas of a
        cohort, with a row each, are averaged.
    phase : str
    window : int, optional
        Trials averaged, all if there are fewer; a fiftieth of them, at least 20 and at most 1000,
        by default.

    Returns
    -------
    pandas.DataFrame
        ``trial, n_done`` (trials of the phase so far, this one included), ``accuracy`` of the
        last `window` trials; the first half window is left out.

    Raises
    ------
    ValueError
        If a column is missing or no trial of the phase has a decision.
    """
    require_columns(trials, ["trial"], "trials")
    shown = _decided(trials, phase, "correct")
    correct = shown["correct"].astype(float).groupby(shown["trial"]).mean()
    window = min(window or int(np.clip(len(correct) // 50, 20, 1000)), len(correct))
    mean = correct.rolling(window, min_periods=max(1, window // 2)).mean()
    numbers = np.unique(trials.loc[trials["phase"] == phase, "trial"])
    n_done = np.searchsorted(numbers, correct.index, side="right")
    curve = pd.DataFrame(
        {"trial": correct.index, "n_done": n_done, "accuracy": mean.to_numpy()}
    )
    curve.attrs["window"] = window
    return curve.dropna().reset_index(drop=True)


def recall_correlation(recalled, class_mean):
    """Pearson correlation of each recalled stimulus with the mean of its class.

    Parameters
    ----------
    recalled, class_mean : array_like, shape (n_concepts, n_pixels)

    Returns
    -------
    numpy.ndarray, shape (n_concepts,)
        NaN where an image is constant.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    recalled = np.asarray(recalled, dtype=float)
    class_mean = np.asarray(class_mean, dtype=float)
    if recalled.ndim != 2 or recalled.shape != class_mean.shape:
        raise ValueError(
            f"recalled has shape {recalled.shape} and class_mean {class_mean.shape}: "
            "give both as (n_concepts, n_pixels)"
        )
    # A constant image is told by its values: its deviations are rounding, not zero.
    flat = (np.ptp(recalled, axis=1) == 0) | (np.ptp(class_mean, axis=1) == 0)
    deviations = [image - image.mean(1, keepdims=True) for image in (recalled, class_mean)]
    return np.where(flat, np.nan, cosine(*deviations))


def mean_recall_correlation(recalled, class_mean):
    """`recall_correlation`, mean over concepts: one that recalls nothing counts as 0.

    Parameters
    ----------
    recalled, class_mean : array_like, shape (n_concepts, n_pixels)

    Returns
    -------
    float
        Concepts whose class mean is constant, or missing (NaN), are left out; NaN if all are.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> mean_recall_correlation([[0, 0], [1, 0]], [[0, 1], [1, 0]])
    0.5
    """
    r = recall_correlation(recalled, class_mean)
    shown = np.ptp(np.asarray(class_mean, float), axis=1) > 0
    return float(np.nan_to_num(r[shown]).mean()) if shown.any() else np.nan


def _rasters(spikes_a, spikes_b):
    a, b = np.asarray(spikes_a), np.asarray(spikes_b)
    if a.shape != b.shape:
        raise ValueError(
            f"paired rasters have shapes {a.shape} and {b.shape}: give one entry per cell and step"
        )
    for raster in (a, b):
        if raster.dtype != bool and not np.isin(raster, (0, 1)).all():
            raise ValueError("a raster holds values other than 0 and 1: give spikes, not counts")
    return a.astype(bool), b.astype(bool)


def _coincidences(n_a, n_b, n_both, n_bins):
    n_a, n_b, n_both, n_bins = np.broadcast_arrays(
        *(np.asarray(n, dtype=float) for n in (n_a, n_b, n_both, n_bins))
    )
    slack = 1e-9 * np.maximum(n_bins, 1.0)
    possible = (
        (n_both >= -slack)
        & (n_both <= np.minimum(n_a, n_b) + slack)
        & (n_a + n_b - n_both <= n_bins + slack)
    )
    if not possible.all():
        raise ValueError(
            "coincidence counts contradict each other: "
            "0 <= n_both <= min(n_a, n_b) and n_a + n_b - n_both <= n_bins must hold"
        )
    return n_a, n_b, n_both, n_bins


def _decided(trials, phase, column):
    require_columns(trials, ["phase", "concept" if column == "percept" else column, column],
                    "trials")
    shown = trials[(trials["phase"] == phase) & trials[column].notna()]
    if shown.empty:
        raise ValueError(
            f"no trial of phase '{phase}' has a value in '{column}': "
            "join the decisions to the trial table first"
        )
    return shown


def wilson_interval(p, n, z=1.959963984540054):
    """Interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    Parameters
    ----------
    p : array_like
        Shares.
    n : array_like
        Numbers of trials.
    z : float
        Quantile of the normal distribution; 95 % by default.

    Returns
    -------
    low, high : numpy.ndarray
    """
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)

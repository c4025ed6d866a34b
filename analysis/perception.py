"""Measures of perception and recall: likeness of images, imagery, ambiguity.

Pure functions: arrays or tidy frames in, tidy frames out.
"""

import numpy as np
import pandas as pd
from scipy import stats
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import pdist, squareform

from bsd.analysis.frames import require_columns
from bsd.analysis.measures import cosine, decide, recall_correlation

__all__ = [
    "decision_times",
    "image_similarity",
    "nearest_images",
    "pattern_overlap",
    "psychometric_curve",
    "representational_dissimilarity",
    "representational_similarity",
    "structural_similarity",
]

# Constants of the structural similarity, Wang et al. 2004, for intensities in 0 to 1.
_C1, _C2, _WINDOW_SD = 0.01**2, 0.03**2, 1.5


def structural_similarity(a, b):
    """Mean structural similarity (SSIM) of pairs of images.

    Wang, Bovik, Sheikh & Simoncelli 2004 (IEEE Trans. Image Process. 13, 600-612), eq. 13 and 17,
    with its Gaussian window of SD 1.5 pixels; windows that overlap the border see the image
    mirrored.

    Parameters
    ----------
    a, b : array_like, shape (n, height, width) or (n, height, width, channels)
        Intensities in 0 to 1.

    Returns
    -------
    numpy.ndarray, shape (n,)
        1 for identical images.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> image = np.eye(8)[None]
    >>> structural_similarity(image, image)
    array([1.])
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.ndim not in (3, 4) or a.shape != b.shape:
        raise ValueError(
            f"images have shapes {a.shape} and {b.shape}: give both as (n, height, width), or "
            "with channels"
        )

    def local_mean(images):
        return gaussian_filter(images, (0, _WINDOW_SD, _WINDOW_SD, 0)[: a.ndim], truncate=3.5)

    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a = local_mean(a**2) - mean_a**2
    variance_b = local_mean(b**2) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return (luminance * structure).reshape(len(a), -1).mean(axis=1)


def image_similarity(a, b):
    """Correlation, structural similarity and mean squared error of pairs of images.

    Parameters
    ----------
    a, b : array_like, shape (n, height, width) or (n, height, width, channels)
        Intensities in 0 to 1.

    Returns
    -------
    pandas.DataFrame
        ``r`` (Pearson over pixels, NaN where an image is constant), ``ssim``, ``mse``.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    ssim = structural_similarity(a, b)
    a, b = (np.asarray(images, dtype=float).reshape(len(ssim), -1) for images in (a, b))
    return pd.DataFrame(
        {"r": recall_correlation(a, b), "ssim": ssim, "mse": np.mean((a - b) ** 2, axis=1)}
    )


def nearest_images(images, library):
    """The image of a library that correlates most with each image.

    Parameters
    ----------
    images : array_like, shape (n, *image_shape)
    library : array_like, shape (m, *image_shape)

    Returns
    -------
    numpy.ndarray of int, shape (n,)
        Rows of the library.
    """

    def standard(stack):
        flat = np.asarray(stack, dtype=np.float32).reshape(len(stack), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)

    return np.argmax(standard(images) @ standard(library).T, axis=1)


def pattern_overlap(a, b):
    """Overlap of every activity pattern of one kind with every one of another kind.

    Parameters
    ----------
    a : array_like, shape (n, n_cells)
        Mean spike counts, one pattern per row.
    b : array_like, shape (m, n_cells)

    Returns
    -------
    pandas.DataFrame
        ``row_a, row_b, cosine`` (of the counts) and ``hamming`` (fraction of cells that are active
        in both or in neither; a cell is active that fires more than the mean cell).
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    rows, columns = np.indices((len(a), len(b)))
    active = [x > x.mean(axis=1, keepdims=True) for x in (a, b)]
    agree = np.mean(active[0][:, None] == active[1][None], axis=2)
    return pd.DataFrame(
        {
            "row_a": rows.ravel(),
            "row_b": columns.ravel(),
            "cosine": cosine(a[:, None], b[None]).ravel(),
            "hamming": agree.ravel(),
        }
    )


def representational_dissimilarity(patterns):
    """Representational dissimilarity of all pairs of patterns, 1 - Pearson correlation.

    Kriegeskorte, Mur & Bandettini 2008 (Front. Syst. Neurosci. 2:4).

    Parameters
    ----------
    patterns : array_like, shape (n_conditions, n_cells)

    Returns
    -------
    numpy.ndarray, shape (n_conditions (n_conditions - 1) / 2,)
        Upper triangle, row by row, as `scipy.spatial.distance.squareform` takes it; NaN where a
        pattern is constant.
    """
    return pdist(np.asarray(patterns, dtype=float), "correlation")


def representational_similarity(dissimilarity_a, dissimilarity_b, n_permutations=10_000, seed=0):
    """Spearman correlation of two dissimilarity matrices, with a permutation test.

    Parameters
    ----------
    dissimilarity_a, dissimilarity_b : array_like, shape (n (n - 1) / 2,)
        Upper triangles, see `representational_dissimilarity`.
    n_permutations : int
        Relabellings of the conditions of one of them, by which the null distribution is drawn.
    seed : int

    Returns
    -------
    rho, p : float
        `p` is one-sided (more alike than chance), the observed labelling included; both are NaN
        where a dissimilarity is.
    """
    a, b = np.asarray(dissimilarity_a, float), np.asarray(dissimilarity_b, float)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.nan, np.nan
    rho = stats.spearmanr(a, b).statistic
    ranks_a = stats.rankdata(a)
    square = squareform(stats.rankdata(b))
    rows, columns = np.triu_indices(len(square), 1)
    generator = np.random.default_rng(seed)
    orders = generator.permuted(
        np.tile(np.arange(len(square)), (n_permutations, 1)), axis=1
    )
    shuffled = square[orders[:, rows], orders[:, columns]]
    deviation = ranks_a - ranks_a.mean()
    null = (shuffled - shuffled.mean(axis=1, keepdims=True)) @ deviation
    observed = (square[rows, columns] - square[rows, columns].mean()) @ deviation
    as_large = np.sum(null >= observed - 1e-9 * abs(observed))
    return float(rho), float((as_large + 1) / (n_permutations + 1))


def decision_times(spikes, trials, encodings, dt_ms):
    """When the running decision of each trial reached its final value, for good.

    The running decision after a step is that of all output spikes so far.

    Parameters
    ----------
    spikes : pandas.DataFrame
        Of the output population: ``trial, t_ms, cell``.
    trials : array_like of int
        Trials to look at, silent ones included.
    encodings : array_like, shape (n_concepts, n_output)
    dt_ms : float
        Time step, ms.

    Returns
    -------
    pandas.DataFrame
        ``trial, decision_ms`` (end of the step, from the start of the trial), ``decision_spikes``
        (output spikes up to then); NaN for a trial without a decision.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(spikes, ["trial", "t_ms", "cell"], "spikes")
    by_trial = dict(tuple(spikes.groupby("trial")))
    rows = []
    for trial in np.asarray(trials):
        own = by_trial.get(trial)
        row = {"trial": trial, "decision_ms": np.nan, "decision_spikes": np.nan}
        if own is not None:
            step = np.rint(own["t_ms"] / dt_ms).astype(int).to_numpy()
            steps, at = np.unique(step, return_inverse=True)
            counts = np.zeros((len(steps), np.shape(encodings)[1]))
            np.add.at(counts, (at, own["cell"].to_numpy()), 1)
            so_far = counts.cumsum(axis=0)
            running = decide(so_far, encodings)
            if running[-1] >= 0:
                other = np.flatnonzero(running != running[-1])
                first = other[-1] + 1 if len(other) else 0
                row["decision_ms"] = (steps[first] + 1) * dt_ms
                row["decision_spikes"] = so_far[first].sum()
        rows.append(row)
    return pd.DataFrame(rows)


def psychometric_curve(trials):
    """What is perceived in blends of two things.

    Parameters
    ----------
    trials : pandas.DataFrame
        ``blend, percept, concept, other_concept``: share of the second thing, and what was
        perceived (-1: no decision).

    Returns
    -------
    pandas.DataFrame
        ``blend, n_trials, first, second, neither, none``: fractions of the trials in which the
        first, the second, another concept or none was perceived.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(trials, ["blend", "percept", "concept", "other_concept"], "trials")
    percept = trials["percept"]
    kinds = pd.DataFrame(
        {
            "blend": trials["blend"],
            "first": percept == trials["concept"],
            "second": percept == trials["other_concept"],
            "none": percept < 0,
        }
    )
    kinds["neither"] = ~kinds[["first", "second", "none"]].any(axis=1)
    table = kinds.groupby("blend").agg(
        n_trials=("first", "size"), first=("first", "mean"), second=("second", "mean"),
        neither=("neither", "mean"), none=("none", "mean"),
    )
    return table.reset_index()

"""Generation: distance between distributions of images, figures, sections of a report."""

import numpy as np
import pandas as pd
import seaborn as sns

from bsd.analysis.frames import require_columns
from bsd.analysis.style import image_panels, panels_in, styled

__all__ = [
    "frechet_distance",
    "plot_generation",
    "plot_images",
    "plot_interpolation",
    "run_sections",
    "sections",
]

_RECONSTRUCTED = {"stimulus": "stimulus", "reconstructed": "recon-\nstructed"}
_METHODS = {"bp": "backpropagation", "bp_asymmetric": "backpropagation,\nasymmetric loss"}
_PANELS = {
    "frechet_reconstructed": "Fréchet distance,\nreconstructions",
    "frechet_sampled": "Fréchet distance,\nsamples",
    "mse": "mean squared error",
    "ssim": "SSIM",
}


def frechet_distance(a, b):
    """Fréchet distance between the Gaussians fitted to two sets of feature vectors.

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), with means m and covariances S: Dowson &
    Landau 1982 (J. Multivariate Anal. 12, 450-455), as used for images by Heusel et al. 2017. Not
    the "FID", whose features are those of the Inception network: values depend on the features.

    Parameters
    ----------
    a, b : array_like, shape (n, features)
        At least two rows each.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For other shapes, or values that are not finite.

    Examples
    --------
    >>> square = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(frechet_distance(square, square + [3.0, 4.0]), 9)
    25.0
    """
    a, b = (np.asarray(features, dtype=float) for features in (a, b))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"features have shapes {a.shape} and {b.shape}: give two arrays (n, features) with at "
            "least two rows and as many columns."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("features hold values that are not finite.")
    shift = a.mean(axis=0) - b.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (a, b))
    # the trace of (S_a S_b)^(1/2) is the sum of the singular values of S_a^(1/2) S_b^(1/2)
    cross = np.linalg.svd(_root(first) @ _root(second), compute_uv=False).sum()
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * cross)


def _root(covariance):
    """Symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _stacks(images, kinds, n):
    rows = {
        kind: [one.sort_values("pixel")["rate"].to_numpy() for _, one in own.groupby("number")]
        for kind, own in images[images["kind"].isin(kinds)].groupby("kind")
    }
    return [(rows[kind] + [None] * n)[:n] for kind in kinds]


def plot_images(images, kinds, image_shape, ax=None):
    """Images of some kinds, one row each.

    Parameters
    ----------
    images : pandas.DataFrame
        ``kind, number, pixel, rate``.
    kinds : dict of str to str
        Kind to the label of its row.
    image_shape : (int, int)
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
    require_columns(images, ["kind", "number", "pixel", "rate"], "images")
    n = min(10, images.loc[images["kind"].isin(kinds), "number"].max() + 1)
    return _panels(ax, _stacks(images, list(kinds), n), image_shape, list(kinds.values()), [""] * n)


@styled
def _panels(ax, *content):
    return image_panels(ax, *content)


def plot_interpolation(images, image_shape, ax=None):
    """From one code to another: one row for each pair, the stimuli's codes at the ends.

    Parameters
    ----------
    images : pandas.DataFrame
        ``kind, row, number, pixel, rate``; kind ``between`` counts.
    image_shape : (int, int)
    ax : matplotlib.axes.Axes, optional
        As of `plot_images`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(images, ["kind", "row", "number", "pixel", "rate"], "images")
    own = images[images["kind"] == "between"]
    n = own["number"].max() + 1
    rows = [_stacks(pair, ["between"], n)[0] for _, pair in own.groupby("row")]
    titles = [f"{k / (n - 1):.3g}" for k in range(n)]
    return _panels(ax, rows, image_shape, [""] * len(rows), titles)


@styled
def plot_generation(quality, ax=None):
    """Measures of generated images by method, a dot for each seed and a line at the mean.

    Parameters
    ----------
    quality : pandas.DataFrame
        ``method, seed, mse, ssim`` and, with PyTorch, ``frechet_reconstructed, frechet_sampled``.
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
    require_columns(quality, ["method", "seed", "mse", "ssim"], "quality")
    shown = [name for name in _PANELS if name in quality and quality[name].notna().any()]
    labels = quality.assign(method=quality["method"].map(lambda m: _METHODS.get(m, m)))
    order = list(dict.fromkeys(labels["method"]))
    ax, panels = panels_in(ax, 1 + 0.35 * len(order), 1, len(shown), sharey=True)
    for panel, name in zip(panels[0], shown, strict=True):
        sns.pointplot(
            labels, x=name, y="method", order=order, hue="method", hue_order=order, ax=panel,
            palette="colorblind", errorbar=None, marker="|", markersize=14, legend=False,
        )
        sns.stripplot(
            labels, x=name, y="method", order=order, color="#404040", size=4, jitter=False,
            ax=panel,
        )
        low = min(0, labels[name].min())
        panel.set(xlabel=_PANELS[name], ylabel="", xlim=(low, 1.08 * labels[name].max()))
    return ax


def run_sections(folder, metrics):
    """Section of a run's report on what an autoencoder reconstructed.

    Parameters
    ----------
    folder : pathlib.Path
        Results folder; nothing is said of other networks.
    metrics : dict

    Returns
    -------
    list of dict
        As of `sections`.
    """
    if (metrics or {}).get("reconstruction_mse") is None:
        return []
    with np.load(folder / "reconstructed.npz", allow_pickle=False) as kept:
        stacks = {kind: kept[kind] for kind in ("stimulus", "reconstructed")}
    shape = stacks["stimulus"].shape[1:]
    images = pd.concat(
        [
            pd.DataFrame(
                {"kind": kind, "number": k, "pixel": np.arange(image.size), "rate": image.ravel()}
            )
            for kind, stack in stacks.items()
            for k, image in enumerate(stack)
        ]
    )
    return [
        {
            "name": "reconstructed",
            "title": "Reconstruction",
            "caption": (
                "Some test stimuli, and below what the backward network makes of their codes, by "
                "the spikes of its bottom. Over the test part: mean squared error "
                f"{metrics['reconstruction_mse']:.4f}, SSIM {metrics['reconstruction_ssim']:.2f}."
            ),
            "draw": lambda figure: plot_images(
                images, _RECONSTRUCTED, shape, ax=figure.subplots()
            ),
        }
    ]


def sections(frames, summary, image_shape):
    """Sections of a report on what an autoencoder generated.

    Parameters
    ----------
    frames : dict of str to DataFrame
        ``images`` of `bsd.runs.experiments.perception.generation`.
    summary : dict
    image_shape : (int, int)

    Yields
    ------
    dict
        As of `bsd.analysis.perception_report.sections`.
    """
    images = frames["images"]
    yield {
        "name": "generate_reconstructed",
        "title": "Reconstruction from the code",
        "caption": (
            f"Test stimuli, and below what the backward network makes of their codes "
            f"({summary['code_cells']} cells, mean rate {summary['code_rate']:.2f} of the largest, "
            f"{summary['silent_cells']} never fire), by the spikes of its bottom. Over "
            f"{summary['reconstructed']} test stimuli: mean squared error "
            f"{summary['reconstructed_mse']:.4f}, SSIM {summary['reconstructed_ssim']:.2f}, "
            f"r = {summary['reconstructed_r']:.2f}."
        ),
        "draw": lambda figure: plot_images(
            images, _RECONSTRUCTED, image_shape, ax=figure.subplots()
        ),
    }
    yield {
        "name": "generate_sampled",
        "title": "Samples: codes drawn at random",
        "caption": (
            "What the backward network makes of codes drawn from a Gaussian with the mean and "
            "covariance of the codes of training stimuli, and below the training image that "
            f"correlates most (over {summary['sampled']} samples r = {summary['sampled_r']:.2f}, "
            f"SSIM {summary['sampled_ssim']:.2f})."
        ),
        "draw": lambda figure: plot_images(
            images, {"sampled": "sampled", "nearest": "nearest\nlearned"}, image_shape,
            ax=figure.subplots(),
        ),
    }
    yield {
        "name": "generate_between",
        "title": "From one code to another",
        "caption": (
            "Each row goes from the code of one test stimulus to that of another, of another "
            "class; above, the share of the second code."
        ),
        "draw": lambda figure: plot_interpolation(images, image_shape, ax=figure.subplots()),
    }

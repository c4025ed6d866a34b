"""Fréchet distance against the analytic answer; figures of generated images."""

import numpy as np
import pandas as pd
import pytest

from bsd.analysis.generation import (
    frechet_distance,
    plot_generation,
    plot_images,
    plot_interpolation,
)
from bsd.analysis.style import FittedFigure


def with_moments(mean, covariance, n=400, seed=0):
    """Vectors whose mean and sample covariance are exactly these."""
    normal = np.random.default_rng(seed).normal(size=(n, len(mean)))
    normal -= normal.mean(axis=0)
    white = normal @ np.linalg.inv(np.linalg.cholesky(np.cov(normal, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_commuting_gaussians():
    """Covariances of one basis: |m_a - m_b|^2 + sum of (sd_a - sd_b)^2, to 1e-9."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    sd_a, sd_b, shift = np.array([1.0, 2.0, 0.5]), np.array([3.0, 1.0, 0.5]), np.array([1, -2, 2])
    a = with_moments(np.zeros(3), turn @ np.diag(sd_a**2) @ turn.T, seed=1)
    b = with_moments(shift, turn @ np.diag(sd_b**2) @ turn.T, seed=2)
    expected = shift @ shift + ((sd_a - sd_b) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_any_two_gaussians():
    """Two dimensions, where tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)), to 1e-9."""
    a = np.array([[2.0, 0.6], [0.6, 1.0]])
    b = np.array([[0.7, -0.4], [-0.4, 3.0]])
    product = a @ b
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(a) + np.trace(b) - 2 * root
    found = frechet_distance(with_moments([0, 0], a), with_moments([0, 0], b, seed=1))
    assert found == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_is_zero_for_the_same_even_if_singular():
    flat = np.random.default_rng(0).normal(size=(50, 2)) @ np.ones((2, 5))
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "a, b", [(np.zeros((5, 2)), np.zeros((5, 3))), (np.zeros((1, 2)), np.zeros((5, 2))),
             (np.full((5, 2), np.nan), np.zeros((5, 2)))]
)
def test_features_that_do_not_fit(a, b):
    with pytest.raises(ValueError, match="features"):
        frechet_distance(a, b)


def images(kinds, n=3):
    rows = [
        {"kind": kind, "row": row, "number": k, "pixel": p, "rate": 0.1 * k + 0.05 * p}
        for kind in kinds for row in (0, 1) for k in range(n) for p in range(4)
    ]
    return pd.DataFrame(rows)


def test_figures_show_every_image():
    shown = images(["stimulus", "sampled"])
    ax = plot_images(
        shown[shown["row"] == 0], {"stimulus": "a", "sampled": "b"}, (2, 2),
        ax=FittedFigure().subplots(),
    )
    drawn = [p.images[0].get_array() for p in ax.figure.axes if p.images]
    assert len(drawn) == 6
    np.testing.assert_allclose(drawn[4].ravel(), [0.1, 0.15, 0.2, 0.25])
    ax = plot_interpolation(images(["between"]), (2, 2), ax=FittedFigure().subplots())
    assert sum(bool(p.images) for p in ax.figure.axes) == 6


def test_generation_figure_has_a_panel_per_known_measure():
    quality = pd.DataFrame({
        "method": ["streaming", "bp"], "seed": 0, "mse": [0.03, 0.02], "ssim": [0.6, 0.7],
        "frechet_sampled": [np.nan, np.nan],
    })
    ax = plot_generation(quality, ax=FittedFigure().subplots())
    labels = [panel.get_xlabel() for panel in ax.figure.axes]
    assert [label for label in labels if label] == ["mean squared error", "SSIM"]

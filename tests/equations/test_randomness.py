"""Numbers that are pure functions of (key, trial, step)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bsd.equations.randomness import stream_keys, uniform

MASK = 2**32 - 1


def reference(key, trial, step):
    """The same in plain Python whole numbers."""

    def avalanche(h):
        h ^= h >> 16
        h = h * 0x7FEB352D & MASK
        h ^= h >> 15
        h = h * 0x846CA68B & MASK
        return h ^ h >> 16

    h = avalanche(key & MASK ^ (trial & MASK) * 0x9E3779B1 & MASK)
    return (avalanche(h ^ (step & MASK) * 0x85EBCA77 & MASK) >> 8) / 2**24


whole = st.integers(-(2**31), 2**31 - 1)


@settings(max_examples=200, deadline=None)
@given(whole, whole, whole)
def test_numpy_equals_whole_number_arithmetic(key, trial, step):
    value = uniform(key, trial, step)
    assert value == reference(key, trial, step)
    assert 0 <= value < 1


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("axis", ["key", "trial", "step"])
def test_uniform_along_every_axis(axis, seed):
    """Kolmogorov-Smirnov at 0.1 % and no serial correlation beyond 4 standard errors."""
    n = 100_000
    arguments = {"key": int(stream_keys(seed, "test", 1)[0]), "trial": 3, "step": 5}
    arguments[axis] = np.arange(n)
    values = uniform(**arguments)
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    correlations = [np.corrcoef(values[:-lag], values[lag:])[0, 1] for lag in (1, 2, 8, 100)]
    assert np.abs(correlations).max() < 4 / np.sqrt(n)


def test_cells_and_trials_are_independent():
    keys = stream_keys(0, "encoder S", 200)
    values = uniform(keys[:, None], np.arange(500), 0)
    between_cells = np.corrcoef(values)[np.triu_indices(200, 1)]
    between_trials = np.corrcoef(values.T)[np.triu_indices(500, 1)]
    for correlations, n in ((between_cells, 500), (between_trials, 200)):
        assert np.abs(correlations).max() < 6 / np.sqrt(n)
        assert np.std(correlations) == pytest.approx(1 / np.sqrt(n), rel=0.05)


def test_streams_are_functions_of_seed_and_name():
    keys = stream_keys(7, "encoder S", 50)
    assert keys.dtype == np.int32 and keys.min() >= 0
    assert np.array_equal(keys, stream_keys(7, "encoder S", 50))
    assert np.array_equal(keys[:20], stream_keys(7, "encoder S", 20))
    for other in ((8, "encoder S"), (7, "encoder C"), (7 + 2**32, "encoder S")):
        assert not np.intersect1d(keys, stream_keys(*other, 50)).size

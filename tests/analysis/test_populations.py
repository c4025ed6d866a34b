import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bsd.analysis import populations, spike_trains

LABEL = {"population": "F1", "pathway": "forward", "layer": 1}
rates = arrays(float, st.integers(2, 8), elements=st.floats(0, 1e3))
rates = rates.filter(lambda r: r.max() > 1e-3)


def cell_counts(matrix, **label):
    """The frame of a matrix of counts, (n_trials, n_cells)."""
    matrix = np.asarray(matrix)
    trial, cell = np.indices(matrix.shape)
    return pd.DataFrame(
        {"trial": trial.ravel(), **LABEL, **label, "cell": cell.ravel(), "spikes": matrix.ravel()}
    )


def spikes_of(raster, bin_ms=10.0):
    """Frames of one trial from a raster of 0 and 1, (n_cells, n_bins)."""
    cell, step = np.nonzero(raster)
    spikes = pd.DataFrame({"trial": 0, "t_ms": bin_ms * step + 1, **LABEL, "cell": cell})
    sizes = pd.DataFrame({**LABEL, "n_cells": [len(raster)]})
    counts = spike_trains.counts_from_spikes(spikes, sizes, bin_ms * np.shape(raster)[1])
    return spikes, counts


@given(rates, st.floats(1e-3, 1e3))
def test_sparseness_is_bounded_and_blind_to_scale(r, scale):
    n = len(r)
    assert 1 / n - 1e-9 <= populations.treves_rolls(r) <= 1 + 1e-9
    for measure in (populations.treves_rolls, populations.vinje_gallant, populations.hoyer):
        assert -1e-9 <= measure(r) <= 1 + 1e-9
        assert measure(scale * r) == pytest.approx(measure(r), abs=1e-9)


def test_sparseness_of_exponential_rates_is_one_half():
    # <r>^2 / <r^2> = 1/2 (Treves & Rolls 1991); Hoyer: (sqrt n - sqrt(n/2)) / (sqrt n - 1).
    r = np.random.default_rng(0).exponential(5.0, 200_000)
    assert populations.treves_rolls(r) == pytest.approx(0.5, abs=0.01)
    assert populations.vinje_gallant(r) == pytest.approx(0.5, abs=0.01)
    assert populations.hoyer(r) == pytest.approx(1 - np.sqrt(0.5), abs=0.01)


def test_sparseness_is_undefined_for_silence_and_refuses_negative_rates():
    for measure in (populations.treves_rolls, populations.vinje_gallant, populations.hoyer):
        assert np.isnan(measure([0.0, 0.0]))
        with pytest.raises(ValueError, match="negative"):
            measure([1.0, -1.0])
    assert np.isnan(populations.vinje_gallant([3.0])) and np.isnan(populations.hoyer([3.0]))


def test_silent_cells_make_a_population_sparse():
    table = populations.population_sparseness(cell_counts([[2, 2, 0, 0], [2, 2, 2, 2], [0] * 4]))
    np.testing.assert_allclose(table["treves_rolls"], [0.5, 1, np.nan])
    assert table["active_fraction"].tolist() == [0.5, 1, 0]
    assert table["n_cells"].tolist() == [4] * 3


def test_a_frame_without_silent_cells_is_refused():
    counts = cell_counts([[2, 0], [1, 1]])
    with pytest.raises(ValueError, match="silent cells need a row"):
        populations.population_sparseness(counts[counts["spikes"] > 0])
    with pytest.raises(ValueError, match="twice"):
        populations.participation_ratio(pd.concat([counts, counts]))


def test_lifetime_sparseness_is_over_concepts_not_trials():
    trials = pd.DataFrame({"trial": range(4), "concept": [0, 0, 1, -1]})
    table = populations.lifetime_sparseness(
        cell_counts([[4, 1, 0], [2, 3, 0], [0, 2, 0], [9, 9, 0]]), trials
    )
    np.testing.assert_allclose(table["vinje_gallant"], [1, 0, np.nan], atol=1e-12)
    with pytest.raises(ValueError, match="no trial"):
        populations.lifetime_sparseness(cell_counts([[1]]), trials.assign(concept=-1))


def test_correlation_of_identical_complementary_and_silent_cells():
    train = np.array([1, 0, 0, 1, 1, 0, 1, 0])
    spikes, counts = spikes_of([train, train, 1 - train, 0 * train])
    table = populations.pairwise_correlation(spikes, counts, 10.0)
    assert list(zip(table["cell_a"], table["cell_b"], strict=True)) == [
        (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)
    ]
    np.testing.assert_allclose(table["correlation"], [1, -1, np.nan, -1, np.nan, np.nan])


def test_correlation_of_independent_poisson_trains_is_zero(poisson):
    spikes, counts, _ = poisson(n_trials=50, seed=3)
    table = populations.pairwise_correlation(spikes, counts, 20.0)
    r = table.loc[table["population"] == "B1", "correlation"].dropna()
    assert len(r) == 21
    assert r.std() == pytest.approx(1 / np.sqrt(50 * 50), rel=0.5)
    assert abs(r.mean()) < 4 * r.std() / np.sqrt(len(r))


def test_signal_and_noise_correlation_are_told_apart():
    rng = np.random.default_rng(0)
    concept = np.tile(np.arange(10), 200)
    drive, noise = rng.normal(size=10)[concept], rng.normal(size=2000)
    own = rng.normal(size=(2, 2000))
    # The drive is opposite, the noise shared: r = 1 / (1 + 1) = 0.5.
    matrix = 100 + np.stack([3 * drive + noise + own[0], -3 * drive + noise + own[1]], axis=1)
    trials = pd.DataFrame({"trial": np.arange(2000), "concept": concept})
    row = populations.count_correlation(cell_counts(matrix), trials).iloc[0]
    assert row["signal"] == pytest.approx(-1, abs=0.02)
    assert row["noise"] == pytest.approx(0.5, abs=4 * 0.75 / np.sqrt(2000))


def test_synchrony_of_locked_independent_and_half_silent_cells():
    rng = np.random.default_rng(1)
    train = rng.random(5000) < 0.2
    locked = populations.synchrony(*spikes_of(np.tile(train, (16, 1))), 10.0)
    assert locked["chi"].iloc[0] == pytest.approx(1)
    independent = populations.synchrony(*spikes_of(rng.random((16, 5000)) < 0.2), 10.0)
    assert independent["chi"].iloc[0] == pytest.approx(1 / 4, abs=0.02)
    # Half of the cells silent: the mean is halved, so is the variance of a cell on average.
    raster = np.tile(train, (16, 1))
    raster[8:] = False
    half = populations.synchrony(*spikes_of(raster), 10.0)
    assert half["chi"].iloc[0] == pytest.approx(np.sqrt(0.5))


def test_participation_ratio_counts_independent_directions():
    rng = np.random.default_rng(2)
    latent = rng.poisson(10, (20_000, 3))
    table = populations.participation_ratio(cell_counts(latent[:, [0, 1, 2, 2]]))
    # Covariance with eigenvalues 1, 1, 2 (the doubled cell): 16 / 6.
    assert table["participation_ratio"].iloc[0] == pytest.approx(16 / 6, abs=0.1)
    with_silent = np.column_stack([latent, np.zeros(len(latent), int)])
    row = populations.participation_ratio(cell_counts(with_silent)).iloc[0]
    assert row["participation_ratio"] == pytest.approx(3, abs=0.05)
    assert (row["n_cells"], row["n_active"]) == (4, 3)
    assert np.isnan(
        populations.participation_ratio(cell_counts([[1, 2]]))["participation_ratio"].iloc[0]
    )


def test_tuning_and_selectivity_of_known_counts():
    matrix = [[4, 0, 1], [8, 0, 1], [1, 0, 1], [3, 0, 1], [2, 0, 1], [2, 0, 1]]
    trials = pd.DataFrame({"trial": range(6), "concept": [7, 7, 2, 2, 5, 5]})
    tuning = populations.tuning(cell_counts(matrix), trials, 500.0)
    of_cell = tuning[tuning["cell"] == 0].set_index("concept")
    assert of_cell["rate_hz"].to_dict() == {2: 4, 5: 4, 7: 12}
    assert of_cell["sd_hz"].to_dict() == pytest.approx({2: 2 * 2**0.5, 5: 0, 7: 4 * 2**0.5})
    table = populations.selectivity(cell_counts(matrix), trials)
    assert table["preferred"].iloc[0] == 7 and pd.isna(table["preferred"].iloc[1])
    np.testing.assert_allclose(table["selectivity"], [(6 - 2) / (6 + 2), np.nan, 0])
    assert table["p_value"].iloc[2] == 1 and np.isnan(table["p_value"].iloc[1])
    assert table["selectivity_shuffled"].iloc[0] > 0.1


def test_repeats_of_a_stimulus_are_no_tuning_to_its_concept():
    rng = np.random.default_rng(5)
    stimulus = np.repeat(np.arange(40), 5)
    matrix = rng.poisson(rng.gamma(4, 1, (40, 200))[stimulus])
    trials = pd.DataFrame(
        {"trial": range(200), "stimulus": stimulus, "concept": stimulus % 10}
    )
    of_trials, of_stimuli = (
        populations.selectivity(cell_counts(matrix), trials, unit=unit, n_shuffles=10)
        for unit in ("trial", "stimulus")
    )
    assert (of_trials["p_value"] < 0.05).mean() > 0.4
    # 200 tests at 5 %: SD 1.5 %.
    assert (of_stimuli["p_value"] < 0.05).mean() < 0.1
    assert of_stimuli["selectivity_shuffled"].mean() == pytest.approx(
        of_stimuli["selectivity"].mean(), rel=0.05
    )
    assert of_trials["selectivity_shuffled"].mean() < 0.8 * of_trials["selectivity"].mean()


def test_selectivity_test_holds_its_level_and_finds_tuned_cells(poisson):
    rng = np.random.default_rng(4)
    concept = np.tile(np.arange(5), 20)
    trials = pd.DataFrame({"trial": np.arange(100), "concept": concept})
    matrix = rng.poisson(5.0, (100, 400))
    matrix[:, :100] = rng.poisson(5.0 + 10 * (concept == 3)[:, None], (100, 100))
    table = populations.selectivity(cell_counts(matrix), trials, n_shuffles=20)
    tuned, untuned = table.iloc[:100], table.iloc[100:]
    assert (tuned["preferred"] == 3).all() and (tuned["p_value"] < 0.001).all()
    # 300 tests at 5 %: SD 1.3 %.
    assert 0.01 < (untuned["p_value"] < 0.05).mean() < 0.10
    assert untuned["selectivity"].mean() == pytest.approx(
        untuned["selectivity_shuffled"].mean(), rel=0.1
    )
    assert (tuned["selectivity"] > 3 * tuned["selectivity_shuffled"]).mean() > 0.9
    with pytest.raises(ValueError, match="two concepts"):
        populations.selectivity(cell_counts(matrix), trials.assign(concept=0))

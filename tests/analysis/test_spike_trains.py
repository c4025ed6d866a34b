import numpy as np
import pandas as pd
import pytest

from bsd.analysis import spike_trains

LABEL = {"population": "F1", "pathway": "forward", "layer": 1}


def one_train(t_ms, duration_ms=1000.0, n_cells=1):
    """Frames of one trial in which the first of `n_cells` cells fires at these times."""
    spikes = pd.DataFrame({"trial": 0, "t_ms": np.asarray(t_ms, float), **LABEL, "cell": 0})
    populations = pd.DataFrame({**LABEL, "n_cells": [n_cells]})
    trials = pd.DataFrame({"trial": [0]})
    return spikes, spike_trains.counts_from_spikes(spikes, populations, duration_ms, trials)


def statistics(t_ms, duration_ms=1000.0, **options):
    return spike_trains.train_statistics(*one_train(t_ms, duration_ms), **options).iloc[0]


def test_a_regular_train_does_not_vary():
    row = statistics(np.arange(7.0, 1000, 20))
    assert row["rate_hz"] == 50 and row["latency_ms"] == 7
    assert row["isi_ms"] == pytest.approx(20, rel=1e-12)
    np.testing.assert_allclose(row[["cv", "cv2", "lv"]].astype(float), 0, atol=1e-12)


def test_alternating_intervals_have_the_known_statistics():
    a, b = 10.0, 30.0
    row = statistics(np.cumsum([5.0] + [a, b] * 20))
    assert row["isi_ms"] == pytest.approx(20)
    assert row["cv"] == pytest.approx(10 / 20)
    assert row["cv2"] == pytest.approx(2 * 20 / 40)
    assert row["lv"] == pytest.approx(3 * (20 / 40) ** 2)


def test_a_slow_drift_of_rate_raises_cv_but_not_the_local_measures():
    intervals = np.concatenate([np.full(40, 5.0), np.full(20, 30.0)])
    row = statistics(1 + np.cumsum(intervals), 2000.0)
    assert row["cv"] > 0.8
    assert row["cv2"] < 0.05 and row["lv"] < 0.05


def test_poisson_trains_have_cv_cv2_lv_and_fano_of_one(poisson):
    spikes, counts, trials = poisson(n_trials=200, duration_ms=4000.0, seed=1)
    trains = spike_trains.train_statistics(spikes, counts)
    of_b1 = trains[trains["population"] == "B1"]
    # 1400 trains of 160 spikes; the CV is biased by some -1/n.
    assert of_b1["cv"].mean() == pytest.approx(1, abs=0.015)
    assert of_b1["cv2"].mean() == pytest.approx(1, abs=0.01)
    assert of_b1["lv"].mean() == pytest.approx(1, abs=0.01)
    # SD of one Fano factor: sqrt(2 / 200) = 0.1, of the mean of 7: 0.04.
    fano = spike_trains.fano_factor(spike_trains.spike_counts(spikes, counts))
    assert fano.loc[fano["population"] == "B1", "fano"].mean() == pytest.approx(1, abs=0.12)


def test_gamma_intervals_have_the_known_cv_and_lv():
    shape = 4
    intervals = np.random.default_rng(0).gamma(shape, 20.0 / shape, 20_000)
    row = statistics(np.cumsum(intervals), intervals.sum() + 10)
    assert row["cv"] == pytest.approx(1 / np.sqrt(shape), abs=0.01)
    assert row["lv"] == pytest.approx(3 / (2 * shape + 1), abs=0.01)  # Shinomoto et al. 2003


@pytest.mark.parametrize(("n", "defined"), [(9, False), (10, True)])
def test_few_spikes_give_nan_and_never_a_number(n, defined):
    row = statistics(np.linspace(1, 900, n))
    assert row[["isi_ms", "cv", "cv2", "lv"]].notna().all() == defined
    assert row[["isi_ms", "cv", "cv2", "lv"]].notna().any() == defined
    assert row["rate_hz"] == n and row["latency_ms"] == 1


@pytest.mark.parametrize(("duration_ms", "defined"), [(499.0, False), (500.0, True)])
def test_short_trials_have_no_interval_statistics(duration_ms, defined):
    row = statistics(np.linspace(1, 400, 50), duration_ms)
    assert row[["isi_ms", "cv", "cv2", "lv"]].notna().any() == defined
    assert row["rate_hz"] == pytest.approx(50e3 / duration_ms)


def test_two_intervals_are_the_least():
    with pytest.raises(ValueError, match="at least 3"):
        statistics([1, 2, 3], min_spikes=2)
    assert statistics([100, 200, 400], min_spikes=3)["cv2"] == pytest.approx(2 / 3)


def test_silent_cells_and_silent_trials_count():
    spikes, counts = one_train([10.0, 20.0], n_cells=4)
    silent = counts.assign(trial=1, spikes=0, rate_hz=0.0)
    cells = spike_trains.spike_counts(spikes, pd.concat([counts, silent]))
    assert cells["spikes"].tolist() == [2, 0, 0, 0] + [0] * 4
    table = spike_trains.per_population(
        spike_trains.train_statistics(spikes, pd.concat([counts, silent])), ["rate_hz", "cv"]
    ).set_index("statistic")
    assert table.loc["rate_hz", ["n", "n_defined", "mean"]].tolist() == [8, 8, 0.25]
    assert table.loc["cv", ["n", "n_defined"]].tolist() == [8, 0]
    psth = spike_trains.psth(spikes, pd.concat([counts, silent]), 500.0)
    assert psth["rate_hz"].tolist() == [0.5, 0]
    np.testing.assert_allclose(psth["sem_hz"], [0.5, 0])


def test_trials_whose_spikes_were_not_kept_are_left_out():
    spikes, counts = one_train([10.0])
    unkept = counts.assign(trial=1, spikes=3, rate_hz=3.0)
    silent = counts.assign(trial=2, spikes=0, rate_hz=0.0)
    both = pd.concat([counts, unkept, silent])
    # Whether the spikes of the silent trial were kept is not known.
    assert spike_trains.spike_counts(spikes, both)["trial"].tolist() == [0]
    trials = pd.DataFrame({"trial": [0, 1, 2], "record": [True, False, True]})
    assert spike_trains.spike_counts(spikes, both, trials)["trial"].tolist() == [0, 2]
    trials["record"] = [True, False, False]
    assert spike_trains.spike_counts(spikes, both, trials)["trial"].tolist() == [0]


def test_duration_from_single_precision_rates(poisson):
    _, counts, _ = poisson(duration_ms=512.5)
    counts["rate_hz"] = counts["rate_hz"].astype(np.float32)
    assert spike_trains.trial_duration_ms(counts) == 512.5
    with pytest.raises(ValueError, match="between"):
        spike_trains.trial_duration_ms(
            pd.concat([counts, counts.assign(rate_hz=2 * counts["rate_hz"])])
        )
    with pytest.raises(ValueError, match="no population fired"):
        spike_trains.trial_duration_ms(counts.assign(spikes=0))


def test_fano_over_repeats_is_free_of_the_stimulus(poisson):
    spikes, counts, trials = poisson(n_trials=400, seed=2)
    cells = spike_trains.spike_counts(spikes, counts)
    pooled = spike_trains.fano_factor(cells, trials, by=[])
    repeats = spike_trains.fano_factor(cells, trials, by=["concept"])
    fired = pooled["mean_spikes"] > 0
    f1 = pooled["population"] == "F1"
    # Counts of 40 and 80 in turn: variance 60 + 20^2 over a mean of 60.
    assert pooled.loc[f1 & fired, "fano"].mean() == pytest.approx(460 / 60, rel=0.1)
    of_f1 = repeats[(repeats["population"] == "F1") & (repeats["mean_spikes"] > 0)]
    assert of_f1["fano"].mean() == pytest.approx(1, abs=0.1)
    assert pooled.loc[~fired, "fano"].isna().all() and (~fired).sum() == 3
    assert spike_trains.fano_factor(cells, trials, min_trials=401)["fano"].isna().all()


def test_fano_of_few_poisson_trials_is_one_on_average():
    spikes = np.random.default_rng(3).poisson(3.0, (5, 2000))
    trial, cell = np.indices(spikes.shape)
    cells = pd.DataFrame(
        {"trial": trial.ravel(), "population": "F1", "pathway": "forward", "layer": 1,
         "cell": cell.ravel(), "spikes": spikes.ravel()}
    )
    # One cell scatters by 0.7: the mean of 2000 has a standard error of 0.016.
    fano = spike_trains.fano_factor(cells, min_trials=5)["fano"]
    assert fano.mean() == pytest.approx(1, abs=0.06)


def test_psth_finds_each_spike_in_its_bin_despite_rounding():
    steps = np.arange(0, 6000, 2)
    t_ms = steps * 1e-4 * 1e3  # as the recording makes them, with steps of 0.1 ms
    assert (np.floor(t_ms / 0.2) < steps // 2).any()
    table = spike_trains.psth(*one_train(t_ms, 600.0), 0.2)
    np.testing.assert_allclose(table["rate_hz"], 1e3 / 0.2)
    np.testing.assert_allclose(table["t_ms"], np.arange(0.1, 600, 0.2))


def test_psth_mean_is_the_population_rate(poisson):
    spikes, counts, trials = poisson(replicas=2)
    table = spike_trains.psth(spikes, counts, 100.0, trials)
    rates = counts.merge(trials).groupby(["phase", "replica", "population"])["rate_hz"].mean()
    mean = table.groupby(["phase", "replica", "population"])["rate_hz"].mean()
    pd.testing.assert_series_equal(mean, rates)


@pytest.mark.parametrize("bin_ms", [0, -5, 30.0, 2000.0])
def test_bins_must_fill_the_trial(bin_ms):
    with pytest.raises(ValueError, match="bin"):
        spike_trains.psth(*one_train([1.0]), bin_ms)


def test_contradicting_frames_are_refused(poisson):
    spikes, counts, trials = poisson()
    refused = [
        (spikes.iloc[1:], counts, None, "select the same trials"),
        (spikes[spikes["population"] != "F1"], counts, None, "select the same trials"),
        (spikes, counts[counts["population"] != "F1"], None, "no row for a trial"),
        (spikes, counts.drop(columns="replica"), None, "replica"),
        (spikes, pd.concat([counts, counts]), None, "twice"),
        (spikes, counts.assign(n_cells=2), None, "beyond"),
        (spikes.drop(columns="cell"), counts, None, "lacks"),
        (spikes.assign(cell=np.nan), counts, None, "missing values"),
        (spikes, counts, trials.iloc[1:], "not in the trial table"),
        (spikes, counts, pd.concat([trials, trials]), "twice"),
        (spikes.iloc[:0], counts, None, "no trial with recorded spikes"),
    ]
    for *frames, message in refused:
        with pytest.raises(ValueError, match=message):
            spike_trains.spike_counts(*frames)
    with pytest.raises(ValueError, match="outside a trial"):
        spike_trains.train_statistics(spikes.assign(t_ms=spikes["t_ms"] + 1000), counts)
    with pytest.raises(ValueError, match="twice at one time"):
        spike_trains.interspike_intervals(pd.concat([spikes, spikes]))
    with pytest.raises(ValueError, match="lacks"):
        spike_trains.spike_counts(spikes, counts, trials, by=["occlusion"])


def test_a_spike_just_before_the_end_is_in_the_last_bin():
    table = spike_trains.psth(*one_train([np.nextafter(1000.0, 0.0)]), 100.0)
    assert table["rate_hz"].tolist() == [0] * 9 + [10]

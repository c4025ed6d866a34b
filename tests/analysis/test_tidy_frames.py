"""What holds for every statistic: frames in, frames out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsd.analysis import energy, firing, information, populations, spike_trains

STATISTICS = {
    "spike_counts": lambda f: spike_trains.spike_counts(f.spikes, f.counts, f.trials),
    "intervals": lambda f: spike_trains.interspike_intervals(f.spikes, f.trials),
    "trains": lambda f: spike_trains.train_statistics(f.spikes, f.counts, f.trials),
    "fano": lambda f: spike_trains.fano_factor(f.cells, f.trials, min_trials=2),
    "psth": lambda f: spike_trains.psth(f.spikes, f.counts, 100.0, f.trials),
    "correlation": lambda f: populations.pairwise_correlation(
        f.spikes, f.counts, 50.0, f.trials
    ),
    "synchrony": lambda f: populations.synchrony(f.spikes, f.counts, 50.0, f.trials),
    "count_correlation": lambda f: populations.count_correlation(f.cells, f.trials),
    "population_sparseness": lambda f: populations.population_sparseness(f.cells, f.trials),
    "lifetime_sparseness": lambda f: populations.lifetime_sparseness(f.cells, f.trials),
    "tuning": lambda f: populations.tuning(f.cells, f.trials, 600.0),
    "selectivity": lambda f: populations.selectivity(f.cells, f.trials, n_shuffles=2),
    "dimensionality": lambda f: populations.participation_ratio(f.cells, f.trials),
    "information": lambda f: information.mutual_information(f.cells, f.trials, n_shuffles=2),
    "rates": lambda f: firing.firing_rates(f.counts, f.trials),
}
# Drawn from one stream for all populations, so that they depend on what else is in the frame.
SHUFFLED = ["selectivity_shuffled", "shuffled_bits", "p_value"]
LABELS = ["phase", "replica", "population", "pathway", "layer"]


class Frames:
    def __init__(self, spikes, counts, trials, cells=None):
        self.spikes, self.counts, self.trials = spikes, counts, trials
        self.cells = spike_trains.spike_counts(spikes, counts) if cells is None else cells

    def each(self, change):
        return Frames(*(change(f) for f in (self.spikes, self.counts, self.trials, self.cells)))


@pytest.fixture(scope="module")
def frames(poisson):
    recorded = poisson(
        n_trials=16, duration_ms=600.0, rate_hz=20.0, replicas=2, concepts=3, seed=7
    )
    return Frames(*recorded)


def same(table, other):
    pd.testing.assert_frame_equal(
        table, other, check_dtype=False, check_categorical=False, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", STATISTICS)
def test_frames_are_long_and_labelled_with_a_plain_index(name, frames):
    table = STATISTICS[name](frames)
    labels = LABELS if name != "rates" else [c for c in LABELS if c != "replica"]
    assert list(table.columns[: len(labels)]) == labels
    assert table.index.equals(pd.RangeIndex(len(table)))
    assert list(dict.fromkeys(table["population"])) == ["S", "F1", "B1"]
    assert set(table["phase"]) == {"train", "test"}
    assert table.select_dtypes("number").notna().any().all()
    assert not np.isinf(table.select_dtypes("number")).any().any()


@pytest.mark.parametrize("name", STATISTICS)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_order_and_index_of_the_rows_do_not_matter(name, frames, seed):
    rng = np.random.default_rng(seed)

    def shuffle(frame):
        shuffled = frame.iloc[rng.permutation(len(frame))]
        return shuffled.set_axis(rng.integers(0, 5, len(frame)))

    table, other = STATISTICS[name](frames), STATISTICS[name](frames.each(shuffle))
    keys = [c for c in ("phase", *LABELS[1:3], "trial", "cell", "cell_a", "cell_b", "t_ms",
                        "concept", "isi_ms") if c in table]
    kept = [c for c in table if c not in SHUFFLED]
    same(*(t[kept].sort_values(keys, ignore_index=True) for t in (table, other)))


@pytest.mark.parametrize("name", STATISTICS)
def test_categories_give_the_same_as_texts(name, frames):
    def categories(frame):
        texts = [c for c in ("population", "pathway", "phase") if c in frame]
        # Categories that do not occur, in an order of their own, as after a selection.
        return frame.assign(
            **{
                c: pd.Categorical(frame[c], ["none", *sorted(set(frame[c]), reverse=True)])
                for c in texts
            }
        )

    same(STATISTICS[name](frames.each(categories)), STATISTICS[name](frames))


@pytest.mark.parametrize("name", [name for name in STATISTICS if name != "rates"])
@pytest.mark.parametrize("replica", [0, 1])
def test_replicas_are_kept_apart(name, replica, frames):
    together = STATISTICS[name](frames)
    alone = STATISTICS[name](
        frames.each(lambda f: f[f["replica"] == replica] if "replica" in f else f)
    )
    together = together[together["replica"] == replica].reset_index(drop=True)
    kept = [c for c in together if c not in SHUFFLED]
    assert len(alone)
    same(together[kept], alone[kept])


@pytest.mark.parametrize("name", [name for name in STATISTICS if name != "rates"])
def test_frames_need_no_replica_and_no_phase(name, frames):
    one = frames.each(lambda f: f[f["replica"] == 0] if "replica" in f else f)
    bare = one.each(lambda f: f.drop(columns=["replica", "phase"], errors="ignore"))
    table = STATISTICS[name](bare)
    assert not {"replica", "phase"} & set(table)
    assert list(table.columns[:3]) == ["population", "pathway", "layer"]


@pytest.mark.parametrize("name", STATISTICS)
def test_frames_that_went_in_are_not_changed(name, frames):
    before = frames.each(pd.DataFrame.copy)
    STATISTICS[name](frames)
    for attribute in ("spikes", "counts", "trials", "cells"):
        pd.testing.assert_frame_equal(getattr(frames, attribute), getattr(before, attribute))


def test_statistics_of_a_simulated_recording(dataset, small_network, trial_table):
    """The frames of a run go in as they are."""
    from brian2 import ms

    from bsd.runs.engine import Simulation

    network = small_network("biophysical", assignments={"timing.duration": 500 * ms})
    simulation = Simulation(network, dataset, device="runtime", seed=1)
    table = trial_table(6, learn=0.0)
    table["record"] = [True, True, True, True, False, True]
    result = simulation.run(table)
    cells = spike_trains.spike_counts(result.spikes, result.counts, result.trials)
    keys = ["trial", "replica", "population", "cell"]
    pd.testing.assert_frame_equal(
        cells.sort_values(keys, ignore_index=True)[[*keys, "spikes"]],
        result.cell_counts.sort_values(keys, ignore_index=True)[[*keys, "spikes"]],
        check_dtype=False,
    )
    assert spike_trains.trial_duration_ms(result.counts) == 500
    trains = spike_trains.train_statistics(result.spikes, result.counts, result.trials)
    assert trains["cv"].notna().any() and len(trains) == len(cells)
    for name, statistic in STATISTICS.items():
        frames = Frames(result.spikes, result.counts, result.trials, result.cell_counts)
        assert len(statistic(frames)), name
    spent = energy.energy_per_trial(result.counts, result.trials)
    assert (spent["energy_nJ"] > 0).all()

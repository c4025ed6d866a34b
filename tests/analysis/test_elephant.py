"""The same spikes in Elephant, within rounding: relative 1e-9, of a correlation absolute 1e-9."""

import numpy as np
import pandas as pd
import pytest

neo = pytest.importorskip("neo", reason="Neo is in the extra `test`")
elephant = pytest.importorskip("elephant", reason="Elephant is in the extra `test`")

import quantities as pq  # noqa: E402
from elephant import conversion, spike_train_correlation  # noqa: E402
from elephant import statistics as reference  # noqa: E402

from bsd.analysis import interchange, populations, spike_trains  # noqa: E402

# Elephant's own: a deprecated argument, and correlations of the silent cells.
pytestmark = pytest.mark.filterwarnings("ignore:The 'copy' argument", "ignore:invalid value")
RTOL = 1e-9
BIN_MS = 20.0


@pytest.fixture(scope="module")
def frames(poisson):
    spikes, counts, _ = poisson(n_trials=4, duration_ms=1500.0, rate_hz=30.0, replicas=2, seed=5)
    # A few bursts, so that local and global variability differ.
    burst = spikes[spikes["cell"] == 1].assign(t_ms=lambda f: np.minimum(f["t_ms"] + 2.5, 1499.5))
    spikes = pd.concat([spikes, burst.drop_duplicates(["trial", "replica", "population", "t_ms"])])
    sizes = counts.drop_duplicates("population")
    return spikes, spike_trains.counts_from_spikes(spikes, sizes, 1500.0, counts)


@pytest.fixture(scope="module")
def trains(frames):
    """Every train of Neo with its statistics, one row per train."""
    rows = [
        {"trial": segment.annotations["trial"], "replica": segment.annotations["replica"],
         "train": train, **{k: train.annotations[k] for k in ("population", "cell")}}
        for segment in interchange.to_neo(*frames).segments
        for train in segment.spiketrains
    ]
    return pd.DataFrame(rows).merge(spike_trains.train_statistics(*frames))


def of_population(trains, name, trial=0, replica=0):
    chosen = trains[(trains["population"] == name) & (trains["trial"] == trial)]
    return list(chosen[chosen["replica"] == replica].sort_values("cell")["train"])


def test_rates(trains):
    expected = [reference.mean_firing_rate(t).rescale("Hz").item() for t in trains["train"]]
    np.testing.assert_allclose(trains["rate_hz"], expected, rtol=RTOL)


@pytest.mark.parametrize("name", ["isi_ms", "cv", "cv2", "lv"])
def test_interval_statistics(trains, name):
    measure = {
        "isi_ms": np.mean, "cv": reference.cv, "cv2": reference.cv2, "lv": reference.lv
    }[name]
    enough = trains[trains["spikes"] >= spike_trains.MIN_SPIKES]
    expected = [float(measure(reference.isi(t).rescale("ms").magnitude)) for t in enough["train"]]
    assert len(enough) > 100
    np.testing.assert_allclose(enough[name], expected, rtol=RTOL)
    assert trains.loc[trains["spikes"] < spike_trains.MIN_SPIKES, name].isna().all()


def test_fano_factor(frames, trains):
    table = spike_trains.fano_factor(spike_trains.spike_counts(*frames), min_trials=4)
    table = table.set_index(["replica", "population", "cell"])["fano"].dropna()
    assert len(table) == 2 * (5 + 7 + 7)
    for (replica, population, cell), value in table.items():
        key = (trains["replica"] == replica) & (trains["population"] == population)
        repeats = list(trains.loc[key & (trains["cell"] == cell), "train"])
        unbiased = len(repeats) / (len(repeats) - 1)  # Elephant's variance is over n
        assert value == pytest.approx(unbiased * reference.fanofactor(repeats), rel=RTOL)


def test_psth(frames, trains):
    table = spike_trains.psth(*frames, BIN_MS)
    shown = table[(table["population"] == "F1") & (table["replica"] == 1)]
    histograms = [
        reference.time_histogram(
            of_population(trains, "F1", trial, 1), bin_size=BIN_MS * pq.ms, output="mean"
        ).magnitude[:, 0]
        for trial in range(4)
    ]
    expected = np.mean(histograms, axis=0) / BIN_MS * 1e3
    np.testing.assert_allclose(shown["rate_hz"], expected, rtol=RTOL)


def test_latency(trains):
    expected = [t.magnitude.min() if len(t) else np.nan for t in trains["train"]]
    np.testing.assert_allclose(trains["latency_ms"], expected, rtol=RTOL)


def test_correlation_and_synchrony(frames, trains):
    first = [frame[(frame["trial"] == 0) & (frame["replica"] == 0)] for frame in frames]
    pairs = populations.pairwise_correlation(*first, BIN_MS)
    chi = populations.synchrony(*first, BIN_MS).set_index("population")["chi"]
    for name in ("S", "F1", "B1"):
        cells = of_population(trains, name)
        binned = conversion.BinnedSpikeTrain(cells, bin_size=BIN_MS * pq.ms)
        expected = spike_train_correlation.correlation_coefficient(binned)
        shown = pairs[pairs["population"] == name]
        np.testing.assert_allclose(
            shown["correlation"], expected[shown["cell_a"], shown["cell_b"]], rtol=RTOL, atol=1e-9
        )
        covariance = spike_train_correlation.covariance(binned)
        assert chi[name] == pytest.approx(
            np.sqrt(covariance.mean() / np.diag(covariance).mean()), rel=RTOL
        )
        assert shown["correlation"].isna().sum() == len(cells) - 1  # the silent cell's pairs


def test_neo_and_back(frames):
    spikes, counts = interchange.from_neo(interchange.to_neo(*frames))
    keys = ["trial", "replica", "t_ms", "population", "cell"]
    expected = frames[0].sort_values(keys, ignore_index=True)[spikes.columns]
    pd.testing.assert_frame_equal(spikes, expected, check_dtype=False)
    order = ["replica", "trial", "population"]
    pd.testing.assert_frame_equal(
        counts.sort_values(order, ignore_index=True),
        frames[1].sort_values(order, ignore_index=True)[counts.columns], check_dtype=False,
    )


def test_neo_block_in_other_units_and_from_a_file(frames, tmp_path):
    block = interchange.to_neo(*frames)
    assert len(block.segments) == 8
    assert {len(segment.spiketrains) for segment in block.segments} == {6 + 8 + 8}
    path = tmp_path / "block.pkl"
    neo.io.PickleIO(str(path)).write(block)
    again = neo.io.PickleIO(str(path)).read_block()
    for segment in again.segments:
        segment.spiketrains = [train.rescale("s") for train in segment.spiketrains]
    spikes, _ = interchange.from_neo(again)
    expected = interchange.from_neo(block)[0]
    pd.testing.assert_frame_equal(spikes, expected, rtol=1e-12)


def test_blocks_without_annotations_are_refused(frames):
    with pytest.raises(ValueError, match="no spike train"):
        interchange.from_neo(neo.Block())
    block = interchange.to_neo(*frames)
    del block.segments[1].annotations["trial"]
    with pytest.raises(ValueError, match="trial"):
        interchange.from_neo(block)
    block = interchange.to_neo(*frames)
    del block.segments[0].spiketrains[3].annotations["layer"]
    with pytest.raises(ValueError, match="layer"):
        interchange.from_neo(block)
    block = interchange.to_neo(*frames)
    block.segments[0].spiketrains[0] = neo.SpikeTrain(
        [], units="ms", t_stop=3, **block.segments[0].spiketrains[0].annotations
    )
    with pytest.raises(ValueError, match="same time"):
        interchange.from_neo(block)

import numpy as np
import pandas as pd
import pytest

from bsd.analysis import firing
from bsd.analysis.frames import population_order, with_trials


@pytest.fixture
def counts():
    rows = [
        (0, "B1", "backward", 1, 2, 1, 50.0), (0, "F1", "forward", 1, 2, 2, 100.0),
        (1, "B1", "backward", 1, 2, 3, 150.0), (1, "F1", "forward", 1, 2, 4, 200.0),
        (2, "B1", "backward", 1, 2, 0, 0.0), (2, "F1", "forward", 1, 2, 0, 0.0),
    ]
    columns = ["trial", "population", "pathway", "layer", "n_cells", "spikes", "rate_hz"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def trials():
    return pd.DataFrame({"trial": [0, 1, 2], "phase": ["train", "train", "test"]})


def test_rates_per_population_and_phase(counts, trials):
    table = firing.firing_rates(counts, trials)
    assert table["population"].tolist() == ["F1", "B1", "F1", "B1"]
    assert table["phase"].tolist() == ["train", "train", "test", "test"]
    np.testing.assert_allclose(table["mean_hz"], [150, 100, 0, 0])
    np.testing.assert_allclose(table["sd_hz"], [50 * np.sqrt(2)] * 2 + [np.nan] * 2)
    assert table["n_trials"].tolist() == [2, 2, 1, 1]


def test_rates_do_not_depend_on_the_column_type(counts, trials):
    plain = firing.firing_rates(counts, trials)
    counts["population"] = counts["population"].astype("category")
    counts["pathway"] = counts["pathway"].astype("category")
    trials["phase"] = trials["phase"].astype("category")
    table = firing.firing_rates(counts, trials)
    pd.testing.assert_frame_equal(table, plain, check_dtype=False, check_categorical=False)


def test_rates_without_trials_pool_the_phases(counts):
    table = firing.firing_rates(counts)
    assert "phase" not in table
    np.testing.assert_allclose(table["mean_hz"], [100, 200 / 3])


def test_silent_cells_over_all_trials():
    cells = pd.DataFrame(
        {
            "trial": [0, 0, 0, 1, 1, 1], "replica": 0, "population": "F1", "pathway": "forward",
            "layer": 1, "cell": [0, 1, 2] * 2, "spikes": [0, 1, 0, 0, 0, 2],
        }
    )
    row = firing.silent_fraction(cells).iloc[0]
    assert (row["n_cells"], row["n_silent"]) == (3, 1)
    assert row["silent_fraction"] == pytest.approx(1 / 3)
    by_phase = firing.silent_fraction(
        cells, pd.DataFrame({"trial": [0, 1], "phase": ["train", "test"]})
    )
    assert by_phase["n_silent"].tolist() == [2, 2]
    twice = pd.concat([cells, cells.assign(replica=1, spikes=1)])
    assert firing.silent_fraction(twice).iloc[0][["n_cells", "n_silent"]].tolist() == [6, 1]


def test_population_order_follows_the_spikes():
    names = ["B0", "C", "F10", "B1", "S", "F2", "other", "B10", "F1"]
    assert population_order(names) == ["S", "F1", "F2", "F10", "C", "B10", "B1", "B0", "other"]


def test_joining_needs_unique_trials(counts, trials):
    with pytest.raises(ValueError, match="twice"):
        with_trials(counts, pd.concat([trials, trials]))
    with pytest.raises(ValueError, match="lacks"):
        with_trials(counts, trials, ["noise"])
    with pytest.raises(ValueError, match="lacks"):
        firing.firing_rates(counts.drop(columns="rate_hz"))

import numpy as np
import pandas as pd
import pytest

from bsd.analysis.energy import energy_per_trial

SIZES = {"S": 10, "F1": 20, "F2": 30, "F3": 5, "C": 5, "B2": 30, "B1": 20, "B0": 10}
LAYERS = {"S": 0, "F1": 1, "F2": 2, "F3": 3, "C": 3, "B2": 2, "B1": 1, "B0": 0}
PATHWAYS = {"F": "forward", "B": "backward"}
FAN_OUT = {"S": 20, "F1": 30, "F2": 5, "F3": 0, "C": 30, "B2": 20, "B1": 10, "B0": 0}


def counts_of(trial, **spikes):
    rows = [
        (
            trial, name, PATHWAYS.get(name[0], "afferent"), LAYERS[name], n, spikes.get(name, 0),
            n * FAN_OUT[name], spikes.get(name, 0) * FAN_OUT[name],
        )
        for name, n in SIZES.items()
    ]
    columns = ["trial", "population", "pathway", "layer", "n_cells", "spikes", "synapses",
               "synaptic_events"]
    return pd.DataFrame(rows, columns=columns)


def test_energy_by_hand():
    counts = pd.concat(
        [counts_of(0, S=4, F1=3, F2=2, F3=7), counts_of(1, S=1, C=2, B2=3, B1=1, B0=50)]
    )
    trials = pd.DataFrame({"trial": [0, 1], "phase": ["test", "train"], "learn": [0.0, 1.0]})
    table = energy_per_trial(counts, trials, memory_slots=16).set_index(["trial", "pathway"])
    perceived = table.loc[0, "forward"]
    assert perceived["spikes"] == 16
    accumulates = 4 * (20 + 1) + 3 * (30 + 1) + 2 * (5 + 1)
    assert perceived["accumulates"] == accumulates
    assert perceived["multiply_accumulates"] == 0
    assert perceived["energy_nJ"] == pytest.approx(0.9e-3 * accumulates)
    weights = 10 * 20 + 20 * 30 + 30 * 5
    assert perceived["dense_multiply_accumulates"] == weights
    assert perceived["dense_energy_nJ"] == pytest.approx(4.6e-3 * weights)
    assert (table.loc[(0, "backward"), ["spikes", "energy_nJ"]] == 0).all()

    learned = table.loc[1, "backward"]
    assert learned["accumulates"] == 2 * 31 + 3 * 21 + 1 * 11
    memories = 2 * 16 * (30 + 20)  # the hidden layers'
    assert learned["multiply_accumulates"] == weights + memories
    assert learned["energy_nJ"] == pytest.approx(
        0.9e-3 * learned["accumulates"] + 4.6e-3 * (weights + memories)
    )
    # Forward pass and both gradients, but none of the input: the concept of the backward pathway.
    assert learned["dense_multiply_accumulates"] == 3 * weights - 5 * 30
    assert table.loc[(1, "forward"), "dense_multiply_accumulates"] == 3 * weights - 10 * 20


def test_synapses_that_are_not_there_cost_nothing():
    """Receptive fields: half of the synapses of the stimulus, three spikes of cells with few."""
    trials = pd.DataFrame({"trial": [0], "learn": 1.0})
    counts = counts_of(0, S=3)
    stimulus = counts["population"] == "S"
    counts.loc[stimulus, ["synapses", "synaptic_events"]] = [100, 12]
    table = energy_per_trial(counts, trials, memory_slots=0).set_index("pathway")
    assert table.loc["forward", "accumulates"] == 12 + 3
    weights = 100 + 20 * 30 + 30 * 5
    assert table.loc["forward", "multiply_accumulates"] == weights
    assert table.loc["forward", "dense_multiply_accumulates"] == 3 * weights - 100


def test_replicas_and_row_order_do_not_mix():
    trials = pd.DataFrame({"trial": [0], "learn": 0.0})
    one, two = counts_of(0, S=1).assign(replica=0), counts_of(0, S=5).assign(replica=1)
    both = pd.concat([one, two]).sample(frac=1, random_state=0)
    table = energy_per_trial(both.astype({"population": "category"}), trials)
    assert table[["replica", "pathway", "spikes"]].to_numpy().tolist() == [
        [0, "forward", 1], [0, "backward", 0], [1, "forward", 5], [1, "backward", 0]
    ]
    np.testing.assert_allclose(table["dense_energy_nJ"], 4.6e-3 * 950)


def test_incomplete_counts_are_refused():
    trials = pd.DataFrame({"trial": [0], "learn": 0.0})
    counts = counts_of(0, S=1)
    for missing in ("F1", "B2"):
        with pytest.raises(ValueError, match="lacks a layer"):
            energy_per_trial(counts[counts["population"] != missing], trials)
    with pytest.raises(ValueError, match="twice"):
        energy_per_trial(pd.concat([counts, counts]), trials)
    with pytest.raises(ValueError, match="learn"):
        energy_per_trial(counts, trials.drop(columns="learn"))

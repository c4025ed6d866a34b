"""Cohorts: independent networks in one Brian2 network equal separate runs.

In C++ bit for bit; NumPy's sums depend on where in an array their terms lie.
One structure is compiled, and one that `test_devices.py` needs too.
"""

import numpy as np
import pandas as pd
import pytest
from brian2 import mV

from bsd.equations import DISCRETE, InputError
from bsd.networks import BidirectionalNetwork
from bsd.runs.engine import Simulation
from bsd.runs.engine.cpp import structure_key
from bsd.runs.trials import join_tables, recall_trials, replica_tables, training_trials
from bsd.runs.trials import test_trials as perception_trials

SEEDS = [5, 2**33 + 9, 2]

#: What differs between the replicas: constants of cells, of populations, learning rates,
#: initial weights.
OWN = [
    {},
    {"cell.V_threshold": -10 * mV, "learning.margin": 0.8, "learning.eta": 0.4,
     "learning.bottom_asymmetry": 0.5},
    {"learning.lam": 0.5, "learning.init_gain": 3.0, "learning.diversity": 0.1,
     "learning.bottom_rule": "voltage"},
]


@pytest.fixture(scope="module")
def parameters(small_network):
    return [small_network(assignments=own).parameters for own in OWN]


@pytest.fixture(scope="module")
def tables(dataset):
    """Each replica's own order of trials, shifts and recorded trials; two chunks."""
    one = []
    for replica, seed in enumerate(SEEDS):
        training = training_trials(dataset, 1, seed, n=10 + 4 * replica)[0].iloc[:10]
        training = training.assign(
            shift=replica % 2, record=np.arange(10) % (replica + 2) == 0, learn=1 - 0.2 * replica
        )
        tables = [training, perception_trials(dataset, record=replica), recall_trials(3)]
        one.append(join_tables(tables).assign(replica=replica))
    assert not one[0]["stimulus"].equals(one[1]["stimulus"])
    return one


def own_rows(frame, replica):
    return frame[frame["replica"] == replica].drop(columns="replica").reset_index(drop=True)


@pytest.mark.parametrize("device", ["runtime", "cpp"])
def test_replicas_equal_separate_runs(device, small_network, dataset, parameters, tables):
    cohort = Simulation(
        BidirectionalNetwork(
            (9, 12, 11, 3), parameters, capacity=8, precision="float64"
        ),
        dataset, device, SEEDS,
    )
    together = cohort.run(pd.concat(tables))
    spikes = []
    for replica, seed in enumerate(SEEDS):
        alone = Simulation(small_network(assignments=OWN[replica]), dataset, device, seed)
        expected = alone.run(tables[replica].drop(columns="replica"))
        for name in ("trials", "counts", "cosines", "cell_counts", "spikes", "recalled"):
            pd.testing.assert_frame_equal(
                own_rows(getattr(together, name), replica),
                own_rows(getattr(expected, name), 0),
                check_exact=device == "cpp", rtol=1e-11, obj=f"{name} of replica {replica}",
            )
        rtol = 0 if device == "cpp" else 1e-11
        for name, weights in alone.weights().items():
            np.testing.assert_allclose(weights, cohort.weights(replica)[name], rtol, err_msg=name)
        voltages = own_rows(together.voltages, replica)
        keys = ["trial", "t_ms", "population", "cell", "compartment"]
        both = voltages.merge(own_rows(expected.voltages, 0), on=keys)
        assert len(both) == len(voltages) > 0
        np.testing.assert_allclose(both["v_mV_x"], both["v_mV_y"], rtol)
        spikes.append(expected.counts["spikes"].to_numpy())
    assert not np.array_equal(spikes[0], spikes[1])


def test_one_table_without_replicas_is_run_by_all(small_network, dataset, trial_table):
    simulation = Simulation(small_network(replicas=2), dataset, "runtime", seed=3)
    assert simulation.seeds == [3, 4]
    trials = simulation.run(trial_table(3)).trials
    assert list(trials["replica"]) == [0, 0, 0, 1, 1, 1]
    assert own_rows(trials, 0)["stimulus"].equals(own_rows(trials, 1)["stimulus"])


def test_new_values_of_replicas_compile_nothing(small_network):
    def key(*thresholds):
        own = [DISCRETE.updated({"cell.V_threshold": v * mV}) for v in thresholds]
        return structure_key(BidirectionalNetwork((9, 4, 3), own))

    assert key(-10, -20) == key(-12, -25)
    assert key(-10, -20) != key(-10, -10) != key(-10, -10, -10)


@pytest.mark.parametrize(
    "own, text",
    [
        ({"learning.memory_slots": 4}, r"replica 1 has learning.memory_slots = 4, replica 0 16"),
        ({"learning.weight_max": 1.0}, "learning.weight_max"),
        ({"encoding.kind": "poisson"}, "encoding.kind"),
    ],
)
def test_replicas_share_what_shapes_the_code(own, text):
    with pytest.raises(InputError, match=text):
        BidirectionalNetwork((9, 4, 3), [DISCRETE, DISCRETE.updated(own)])


def test_numbers_of_replicas_must_agree(small_network, dataset):
    with pytest.raises(InputError, match="replicas = 3, but 2 sets of parameters"):
        BidirectionalNetwork((9, 4, 3), [DISCRETE, DISCRETE], replicas=3)
    with pytest.raises(InputError, match="2 seeds for 3 replicas"):
        Simulation(small_network(replicas=3), dataset, "runtime", [1, 2])


def test_tables_of_replicas_go_together(dataset, tables):
    def split(table):
        return replica_tables(table, dataset, 3, 3)

    assert [len(own) for own in split(pd.concat(tables))] == [len(tables[0])] * 3
    with pytest.raises(InputError, match=r"column 'replica' holds \[0, 1\], the network has 3"):
        split(pd.concat(tables[:2]))
    with pytest.raises(InputError, match="replica 2 has another column 'trial' than replica 0"):
        split(pd.concat([*tables[:2], tables[2].iloc[1:]]))
    with pytest.raises(InputError, match="replica 1 has another column 'phase' than replica 0"):
        split(pd.concat([tables[0], tables[1].assign(phase="test"), tables[2]]))

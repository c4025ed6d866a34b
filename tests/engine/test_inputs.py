"""What goes into a simulation is checked before it runs."""

import numpy as np
import pytest

from bsd.equations import InputError
from bsd.networks import CONTROL_COLUMNS
from bsd.runs.engine import Simulation
from bsd.runs.engine.variables import STATE, check_inputs, input_specs


@pytest.fixture
def specs_and_inputs(small_network):
    network = small_network(precision="float32")
    specs = input_specs(network)
    inputs = {**network.values(), **network.initial_state(0), **network.encoder_keys(0)}
    inputs |= {
        "afferents.n_trials": 2,
        "drive.values": np.zeros((9, 15)),
        "control.values": np.zeros((9, len(CONTROL_COLUMNS))),
    }
    return specs, inputs


def test_right_inputs_are_cast_to_the_dtype_of_their_variable(specs_and_inputs):
    specs, inputs = specs_and_inputs
    checked = check_inputs(specs, inputs)
    assert checked.keys() == specs.keys()
    for name, (size, dtype) in specs.items():
        assert checked[name].shape == (size,) and checked[name].dtype == dtype
    assert checked["afferent_basal.w"].dtype == np.float32
    assert checked["afferents.key"].dtype == np.int32
    assert checked["drive.values"].dtype == np.float64
    assert specs["control.values"] == (9 * 7, np.dtype(np.float64))
    assert specs["memory.pointer"] == (3 * 4, np.dtype(np.int32))  # slots times populations


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("afferent_basal.w", lambda w: w[:-1], r"afferent_basal.w: 173 values given, 174 needed"),
        ("drive.values", lambda d: d[1:], r"drive.values: 120 values given, 135 needed"),
        ("cells.eta", lambda e: e[0], r"cells.eta: 1 values given"),
        ("cortical_basal.w", lambda w: w + np.nan, "cortical_basal.w: contains NaN or infinite"),
        ("control.values", lambda c: c + np.inf, "control.values: contains NaN or infinite"),
        ("cells.theta", lambda _: 1e300, "cells.theta: contains NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_wrong_sizes_and_values_are_refused(specs_and_inputs, name, value, text):
    specs, inputs = specs_and_inputs
    with pytest.raises(ValueError, match=text):
        check_inputs(specs, {**inputs, name: value(inputs[name])})


def test_wrong_names_are_refused(specs_and_inputs):
    specs, inputs = specs_and_inputs
    with pytest.raises(ValueError, match=r"unknown \['cells.thetta'\]"):
        check_inputs(specs, {**inputs, "cells.thetta": 0})
    del inputs["cells.theta"]
    with pytest.raises(ValueError, match=r"missing \['cells.theta'\]"):
        check_inputs(specs, inputs)


@pytest.mark.parametrize("name", STATE)
def test_state_that_does_not_fit_is_refused(small_network, dataset, name):
    simulation = Simulation(small_network(), dataset, "runtime")
    before = simulation.state
    short = {**before, name: np.zeros(np.size(before[name]) + 1)}
    missing = {key: value for key, value in before.items() if key != name}
    for wrong in (short, missing):
        with pytest.raises(InputError, match=f"the saved {name} does not fit the network"):
            simulation.restore(wrong)
    assert simulation.state is before


def test_state_of_other_layers_or_slots_is_refused(small_network, dataset):
    simulation = Simulation(small_network(), dataset, "runtime")
    for other in (
        small_network(layers=(9, 12, 10, 3)),
        small_network(assignments={"learning.memory_slots": 4}),
    ):
        with pytest.raises(InputError, match="use the layers and memory slots"):
            simulation.restore(other.initial_state(0))


def test_restored_state_is_a_copy(small_network, dataset):
    simulation = Simulation(small_network(), dataset, "runtime")
    state = {name: np.array(value) for name, value in simulation.state.items()}
    simulation.restore(state)
    state["cortical_basal.w"][:] = 7
    assert not np.any(simulation.state["cortical_basal.w"] == 7)


def test_data_that_do_not_fit_the_network_are_refused(small_network, dataset):
    with pytest.raises(InputError, match=r"9 pixels, the network 8.*layers = \[9, \.\.\., 3\]"):
        Simulation(small_network(layers=(8, 5, 3)), dataset, "runtime")
    with pytest.raises(InputError, match="3 concepts, the network 4: end layers with 3"):
        Simulation(small_network(layers=(9, 5, 4)), dataset, "runtime")


def test_weights_that_explode_stop_the_run(small_network, dataset, trial_table):
    simulation = Simulation(small_network(), dataset, "runtime")
    weights = np.full_like(simulation.state["cortical_basal.w"], 1e308)
    simulation.restore({**simulation.state, "cortical_basal.w": weights})
    with pytest.raises(RuntimeError, match="in trial 0: try smaller learning rates"):
        with np.errstate(all="ignore"):
            simulation.run(trial_table(2))

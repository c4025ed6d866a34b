"""What goes into a simulation is checked before it runs."""

import numpy as np
import pytest
from brian2 import get_device, set_device
from brian2.devices.device import all_devices, reset_device

from bsd.equations import InputError
from bsd.networks import CONTROL_COLUMNS
from bsd.runs.engine import Simulation
from bsd.runs.engine.variables import check_inputs, input_specs


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


def test_state_that_does_not_fit_is_refused(small_network, dataset):
    simulation = Simulation(small_network(), dataset, "runtime")
    before = simulation.state
    assert before.keys() == simulation.network.state_sizes.keys()
    for name in before:
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


@pytest.mark.parametrize("options", [{}, {"assignments": {"encoding.receptive_field": 2}}])
def test_weights_are_read_as_copies_and_set_all_or_none(small_network, dataset, options):
    simulation = Simulation(small_network(**options), dataset, "runtime")
    before, read = simulation.weights(), simulation.weights()
    for array in read.values():
        array[:] = 0
    wrong = {"W0": before["W0"] / 2, "W1": before["W1"][1:]}
    with pytest.raises(InputError, match="weights W1 have shape"):
        simulation.set_weights(wrong)
    for name, array in simulation.weights().items():
        assert array.any() and np.array_equal(array, before[name]), name
    for call in (simulation.weights, lambda r: simulation.set_weights({}, r)):
        with pytest.raises(InputError, match="replica = 5: the network has 1"):
            call(5)


def test_sizes_of_the_state_are_those_of_its_arrays(small_network):
    two = small_network(replicas=2, assignments={"encoding.context": 1})
    for network in (small_network(), two):
        state = network.initial_state(0)
        assert network.state_sizes == {name: np.size(value) for name, value in state.items()}


def test_what_a_progress_callback_raises_is_not_called_an_error_of_equations(
    small_network, dataset, trial_table
):
    simulation = Simulation(small_network(capacity=40), dataset, "runtime")

    def progress(n):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        simulation.run(trial_table(40), progress)


def test_the_users_device_stays(small_network, dataset, trial_table):
    set_device("cpp_standalone", build_on_run=False)
    try:
        Simulation(small_network(), dataset, "runtime").run(trial_table(2))
        assert get_device() is all_devices["cpp_standalone"]
    finally:
        reset_device()


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

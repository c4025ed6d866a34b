"""Parameters: what is refused, and that the message names the cure."""

from dataclasses import fields

import numpy as np
import pytest
from brian2 import Hz, Mohm, Quantity, ms, mV, nS, second, volt
from brian2.units.fundamentalunits import get_dimensions

from bsd.equations import (
    BIOPHYSICAL,
    DISCRETE,
    CellParameters,
    InputError,
    ModelParameters,
    TimingParameters,
    encoders,
    equation_set,
    pyramidal,
)


@pytest.mark.parametrize(
    "key, value, text",
    [
        ("cell.tau_soma", 10 * mV, "unit is wrong.*ms"),
        ("cell.tau_soma", 10, "unit is wrong.*ms"),
        ("learning.lam", 2 * mV, "unit is wrong"),
        ("cell.tau_soma", "10*ms", "one number in units of ms"),
        ("cell.tau_soma", None, "one number"),
        ("cell.tau_soma", [1, 2] * ms, "one number"),
        ("cell.tau_soma", np.nan * ms, "finite"),
        ("learning.eta", np.inf, "finite"),
        ("cell.tau_soma", 0 * ms, "must lie in 0.001 to 10000 in units of ms"),
        ("cell.g_basal", -1 * nS, "must lie in 0 to"),
        ("encoding.concept_rate", 1.5, "must lie in 0.01 to 1"),
        ("encoding.concept_rate", 0, "must lie in 0.01 to 1"),
        ("learning.memory_slots", 0, "must lie in 1 to 4096"),
        ("learning.memory_slots", 2.5, "whole number"),
        ("learning.memory_slots", True, "one number"),
        ("learning.margin_gating", 1, "true or false"),
        ("learning.features", "spike", "'spikes', 'voltages'"),
        ("learning.top_rule", "mse", "'delta', 'vector', 'softmax', 'reco'"),
        ("learning.top_rule", "vector", "use encoding.concept_code = 'tuning'"),
        ("encoding.kind", "poison", "'regular', 'poisson'"),
        ("timing.duration", 8.5 * ms, "whole steps"),
        ("timing.duration", 1 * ms, "at least 2"),
        ("timing.dt", 3 * ms, "whole steps"),
        ("timing.f_max", 1100 * Hz, "fires at most once in a step of 1. ms, choose at most 1. kHz"),
        ("cell.V_reset", -50 * mV, "below cell.V_threshold"),
        ("cell.tau_some", 1 * ms, "did you mean cell.tau_soma"),
        ("tau_soma", 1 * ms, "did you mean cell.tau_soma"),
        ("soma.tau_soma", 1 * ms, "did you mean"),
        ("cell.g_as", 1 * nS, "did you mean cell.g_apical"),
        ("learning.g_as", 1 * nS, "did you mean cell.g_apical"),
        ("theta", 1 * mV, "did you mean cell.V_threshold"),
        ("zzz", 1, "unknown parameter 'zzz'"),
    ],
)
def test_wrong_values_are_refused_with_the_cure(key, value, text):
    with pytest.raises(InputError, match=text) as error:
        DISCRETE.updated({key: value})
    assert key.split(".")[-1] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_code_has_no_population_vector():
    code = {"encoding.autoencoder": True, "encoding.cells_per_concept": 1}
    with pytest.raises(InputError, match="use learning.top_rule = 'reco'"):
        DISCRETE.updated({**code, "learning.top_rule": "vector"})


def test_values_are_taken_over_in_any_unit_of_the_dimension():
    changed = DISCRETE.updated(
        {"cell.tau_soma": 0.01 * second, "learning.memory_slots": 5.0, "learning.eta": 1}
    )
    assert changed.cell.tau_soma == 10 * ms
    assert changed.learning.memory_slots == 5
    assert isinstance(changed.learning.memory_slots, int)
    assert isinstance(changed.learning.eta, float)
    untouched = ("cell.tau_soma", "learning.memory_slots", "learning.eta")
    for (key, new), (_, old) in zip(changed.items(), DISCRETE.items(), strict=True):
        if key not in untouched:
            assert new == old, key


def test_a_cell_may_fire_once_in_every_step():
    assert DISCRETE.updated({"timing.f_max": 1000 * Hz}).timing.f_max == 1000 * Hz
    faster = {"timing.dt": 0.25 * ms, "timing.f_max": 4000 * Hz}
    assert DISCRETE.updated(faster).timing.f_max == 4000 * Hz
    with pytest.raises(InputError, match="timing.f_max = 0.5 kHz"):
        BIOPHYSICAL.updated({"timing.dt": 4 * ms, "timing.f_max": 500 * Hz})


def test_sections_that_depend_on_each_other_change_together():
    changed = DISCRETE.updated({"timing.dt": 0.5 * ms, "timing.duration": 8.5 * ms})
    assert changed.timing.steps == 17
    changed = DISCRETE.updated({"cell.V_reset": -50 * mV, "cell.V_threshold": -45 * mV})
    assert changed.cell.V_threshold == -45 * mV


@pytest.mark.parametrize("parameters", [DISCRETE, BIOPHYSICAL], ids=["discrete", "biophysical"])
def test_every_parameter_is_documented_and_within_its_bounds(parameters):
    assert [key for key, _ in parameters.items()] == parameters.keys()
    for section in (parameters.timing, parameters.cell, parameters.encoding, parameters.learning):
        for name, entry in section.__dataclass_fields__.items():
            data, value = entry.metadata, getattr(section, name)
            assert data["meaning"] and data["source"] and data["symbol"]
            if isinstance(value, Quantity):
                assert get_dimensions(value) == get_dimensions(data["unit"])
            if data["choices"]:
                assert value in data["choices"]
            elif not isinstance(value, bool):
                low, high = data["bounds"]
                assert low <= float(value / data["unit"]) <= high


def test_sets_have_the_stated_constants():
    cell = DISCRETE.cell
    kept = np.exp(-DISCRETE.timing.dt / cell.tau_soma * (cell.g_leak + cell.g_basal) / cell.g_leak)
    assert kept == pytest.approx(0.5, rel=1e-12)  # of the potential, per step
    unit = 0.5 * cell.R_basal * cell.I_unit * cell.g_basal / (cell.g_leak + cell.g_basal)
    assert float(unit / mV) == pytest.approx(25, rel=1e-12)  # jump of a unit synapse
    assert float((cell.V_threshold - cell.E_leak) / unit) == pytest.approx(0.6, rel=1e-12)
    assert cell.g_apical == 0 * nS
    assert 10 * ms <= BIOPHYSICAL.cell.tau_soma <= 20 * ms
    assert BIOPHYSICAL.timing.duration == 100 * ms and BIOPHYSICAL.timing.f_max == 100 * Hz
    assert BIOPHYSICAL.cell.refractory > 0 * ms


def test_parameters_are_frozen():
    with pytest.raises(AttributeError):
        DISCRETE.cell.R_basal = 1 * Mohm
    assert ModelParameters() == DISCRETE
    assert TimingParameters(duration=7 * ms).steps == 7
    with pytest.raises(InputError):
        CellParameters(V_threshold=1 * volt)


def test_equation_strings_are_replaced_by_name():
    changed = equation_set({"THRESHOLD": "v_s > V_r"})
    original = equation_set()
    assert changed.pop("THRESHOLD") == "v_s > V_r"
    assert original.pop("THRESHOLD") != "v_s > V_r"
    assert changed == original
    with pytest.raises(InputError, match="unknown equation string 'TRESHOLD'.*THRESHOLD"):
        equation_set({"TRESHOLD": ""})


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"RESET": "v_soma = V_r"}, "RESET.*sets v_soma, which no equation declares.*v_s meant"),
        ({"RESET": "v_s = V_r\nw_adapt = w_ad + b_ad"}, "sets w_adapt"),
        ({"RECEIVE_APICAL": "I_apical_post += I_epsc_post"}, "sets I_apical, which"),
    ],
)
def test_a_misspelt_variable_on_the_left_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        equation_set(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"THRESHOLD": "v_s > theta + 5*mV*randn()"},
        {"ENCODERS": dict.fromkeys(encoders.ENCODERS, "emit = int(rand () < x)")},
        {"COMPARTMENTS": pyramidal.COMPARTMENTS + "dI_n/dt = -I_n/tau_b + nA*xi*tau_b**-0.5 : amp"},
    ],
)
def test_random_numbers_of_brian_are_refused(changes):
    with pytest.raises(InputError, match=r"seed does not give.*hash_uniform\(key, draw, step\)"):
        equation_set(changes)


def test_a_statement_may_have_variables_of_its_own():
    own = {"RESET": "jump = theta - V_r\nv_s -= jump"}
    assert equation_set(own)["RESET"] == own["RESET"]


@pytest.mark.parametrize(
    "name, text, kind",
    [
        ("RESET", None, "str"),
        ("RESET", ["v_s = V_r"], "str"),
        ("INTEGRATION_ORDER", "v_b, v_a, v_s", "list"),
        ("INTEGRATION_ORDER", ["v_b", 1], "list"),
        ("ENCODERS", "emit = 1", "dict"),
        ("ENCODERS", {"regular": "emit = 1"}, "dict"),
    ],
)
def test_equation_strings_keep_their_kind(name, text, kind):
    with pytest.raises(InputError, match=rf"equations\['{name}'\] must be of.*a {kind}\."):
        equation_set({name: text})


def test_lists_and_dicts_of_equations_are_replaced_as_a_whole():
    order = ["v_s", "v_b", "v_a", "I_b", "I_a"]
    encoders = {"regular": "emit = 1", "poisson": "emit = 0"}
    changed = equation_set({"INTEGRATION_ORDER": order, "ENCODERS": encoders})
    assert changed["INTEGRATION_ORDER"] == order and changed["ENCODERS"] == encoders


@pytest.mark.parametrize("mark", ["", "  # as it was"])
def test_a_replacement_that_changes_nothing_is_warned_of(mark):
    with pytest.warns(UserWarning, match="'THRESHOLD'.*own text.*replace"):
        equation_set({"THRESHOLD": equation_set()["THRESHOLD"] + mark})


def test_a_replacement_is_not_warned_of(recwarn):
    equation_set({"THRESHOLD": "v_s > V_r", "INTEGRATION_ORDER": ["v_s", "v_b"]})
    assert not recwarn.list


def test_asymmetry_of_the_recalled_stimulus_needs_spikes():
    with pytest.raises(InputError, match="bottom_rule = 'delta'"):
        DISCRETE.updated({"learning.bottom_asymmetry": 0.1, "learning.bottom_rule": "voltage"})


def test_mse_loss_needs_spikes():
    with pytest.raises(InputError, match="use learning.features = 'spikes'"):
        DISCRETE.updated({"learning.loss": "mse", "learning.features": "voltages"})


def test_a_symbol_means_one_parameter():
    symbols = [
        entry.metadata["symbol"]
        for section in fields(DISCRETE)
        for entry in fields(getattr(DISCRETE, section.name))
        if entry.metadata["symbol"] != "-"
    ]
    assert len(symbols) > 30 and len(set(symbols)) == len(symbols)

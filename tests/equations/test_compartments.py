"""The pyramidal cell's compartments against closed-form solutions."""

import numpy as np
import pytest
from brian2 import (
    BrianObjectException,
    DimensionMismatchError,
    Network,
    SpikeMonitor,
    StateMonitor,
    TimedArray,
    ms,
    mV,
    nS,
    second,
)
from scipy.linalg import expm

from bsd.equations import BIOPHYSICAL, DISCRETE, pyramidal

SETS = {"discrete": DISCRETE, "biophysical": BIOPHYSICAL}


def trace(group, duration, *names):
    """Values of variables after each step (SI units), shape (steps, cells)."""
    monitor = StateMonitor(group, list(names), record=True, when="end")
    Network(group, monitor).run(duration, namespace={})
    return [np.array(monitor.variables[name].get_value()) for name in names]


def rest(parameters):
    return float(parameters.cell.E_leak)


@pytest.mark.parametrize("name, tau", [("v_b", "tau_b"), ("v_a", "tau_a"), ("I_b", "tau_syn"),
                                       ("I_a", "tau_syn")])
def test_filters_decay_with_their_own_time_constant(make_cells, set_values, name, tau):
    cells = make_cells(BIOPHYSICAL)
    base, start = (rest(BIOPHYSICAL), 10e-3) if name[0] == "v" else (0.0, 1e-10)
    set_values(cells, **{name: base + start})
    if name == "v_b":  # the current of the same compartment stays 0
        assert cells.variables["I_b"].get_value() == 0
    (values,) = trace(cells, 20 * ms, name)
    t = 0.5e-3 * np.arange(1, 41)
    time_constant = {"tau_b": 3e-3, "tau_a": 5e-3, "tau_syn": 3e-3}[tau]
    expected = start * np.exp(-t / time_constant)
    np.testing.assert_allclose(values[:, 0] - base, expected, rtol=1e-9, atol=1e-12 * start)


@pytest.mark.parametrize("apical", [0, 5])
def test_soma_decays_with_the_conductance_of_all_compartments(make_cells, set_values, apical):
    parameters = BIOPHYSICAL.updated({"cell.g_apical": apical * nS})
    cells = make_cells(parameters)
    set_values(cells, v_s=rest(parameters) + 10e-3)
    (v_s,) = trace(cells, 30 * ms, "v_s")
    t = 0.5e-3 * np.arange(1, 61)
    tau = 20e-3 * 10 / (10 + 10 + apical)  # tau_soma g_L / (g_L + g_bs + g_as)
    np.testing.assert_allclose(v_s[:, 0] - rest(parameters), 10e-3 * np.exp(-t / tau), rtol=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_dendrite_to_soma_attenuation_at_steady_state(make_cells, set_values, name):
    parameters = SETS[name]
    basal, apical = np.array([20e-12, 0, 20e-12]), np.array([0, 30e-12, 30e-12])
    for g_as in (0, 7):
        changed = parameters.updated({"cell.g_apical": g_as * nS})
        cells = make_cells(changed, 3, tau_syn=np.inf)
        set_values(cells, I_b=basal, I_a=apical)
        v_b, v_a, v_s = (v[-1] - rest(changed) for v in trace(cells, 600 * ms, "v_b", "v_a", "v_s"))
        np.testing.assert_allclose(v_b, 400e6 * basal, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(v_a, 400e6 * apical, rtol=1e-9, atol=1e-15)
        expected = (10 * v_b + g_as * v_a) / (10 + 10 + g_as)
        np.testing.assert_allclose(v_s, expected, rtol=1e-9, atol=1e-15)
        if g_as == 0:
            assert v_s[1] == 0  # the apical dendrite guides plasticity only
            assert v_s[0] / v_b[0] == pytest.approx(0.5, rel=1e-9)
        else:
            assert v_s[1] > 0


@pytest.mark.parametrize("dt", [0.5, 0.02])
def test_firing_rate_follows_the_closed_form(make_cells, set_values, dt):
    """Interval = tau ln((v_inf - V_r) / (v_inf - theta)) + t_ref, within one step."""
    drive = np.array([29e-3, 31e-3, 40e-3, 60e-3, 120e-3])  # basal, above rest; theta at 15 / 0.5
    cells = make_cells(BIOPHYSICAL, len(drive), dt=dt * ms, spiking=True, tau_syn=np.inf)
    set_values(cells, I_b=drive / 400e6, v_b=rest(BIOPHYSICAL) + drive,
               not_refractory=np.ones(len(drive), dtype=bool),
               lastspike=np.full(len(drive), -1e4))
    spikes = SpikeMonitor(cells)
    Network(cells, spikes).run(0.6 * second, namespace={})
    trains = spikes.spike_trains()
    assert len(trains[0]) == 0  # 14.5 mV at the soma: below threshold
    tau, v_inf = 10e-3, 0.5 * drive
    for cell in range(1, len(drive)):
        expected = tau * np.log(v_inf[cell] / (v_inf[cell] - 15e-3)) + 2e-3
        intervals = np.diff(trains[cell] / second)
        assert len(intervals) >= 10
        assert np.ptp(intervals) < 1e-9
        assert abs(intervals[0] - expected) <= 1.0001e-3 * dt


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("weight", [0.3, -1.7])
def test_one_spike_carries_the_charge_weight_over_f_max(make_cells, set_values, name, weight):
    """Time integral of the basal drive, in units of R_b I_u; exact in discrete time."""
    parameters = SETS[name]
    cells = make_cells(parameters)
    set_values(cells, I_b=weight * cells.variables["I_epsc"].get_value())
    (v_b,) = trace(cells, 200 * ms, "v_b")
    unit = float(parameters.cell.R_basal * parameters.cell.I_unit)
    drive = (v_b - rest(parameters)).sum() * float(parameters.timing.dt) / unit
    assert drive == pytest.approx(weight / float(parameters.timing.f_max), rel=1e-9)


def run_with_input(make_cells, parameters, weights):
    """Somatic potential above rest, each step of a 1 ms clock receiving the next weight."""
    cells = make_cells(parameters)
    spikes = TimedArray(weights, dt=1 * ms)
    cells.run_regularly("I_b += I_epsc*spikes(t)", when="start")
    cells.namespace["spikes"] = spikes
    (v_s,) = trace(cells, len(weights) * ms, "v_s")
    return v_s[:, 0] - rest(parameters)


def test_discrete_set_is_a_limit_of_the_equations(make_cells):
    """v <- v/2 + 25 mV w per step, approached monotonically as the dendrites get faster."""
    weights = np.random.default_rng(2).normal(size=20)
    expected, v = [], 0.0
    for weight in weights:
        v = v / 2 + 25e-3 * weight
        expected.append(v)
    got = run_with_input(make_cells, DISCRETE, weights)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9 * 25e-3)
    errors = []
    for tau in (2, 1, 0.5, 0.25, 0.12, 0.06, 0.03):
        changed = {f"cell.tau_{name}": tau * ms for name in ("basal", "apical", "synapse")}
        got = run_with_input(make_cells, DISCRETE.updated(changed), weights)
        errors.append(np.abs(got - expected).max())
    assert np.all(np.diff(errors) < 0)
    assert errors[0] > 1e-3 and errors[-1] < 1e-12


def test_discrete_threshold_is_0_6_unit_synapses(make_cells, set_values):
    cells = make_cells(DISCRETE, 2, spiking=True)
    jump = cells.variables["I_epsc"].get_value().item()
    set_values(cells, I_b=np.array([0.599, 0.601]) * jump,
               not_refractory=np.ones(2, dtype=bool), lastspike=np.full(2, -1e4))
    spikes = SpikeMonitor(cells)
    Network(cells, spikes).run(1 * ms, namespace={})
    assert list(spikes.count) == [0, 1]
    assert cells.v_s[1] == -70 * mV


def exact_potential(parameters, start, duration):
    """State of the linear compartments after `duration`, from the matrix exponential."""
    cell = parameters.cell
    tau_b, tau_a, tau_syn = (
        float(getattr(cell, f"tau_{x}")) for x in ("basal", "apical", "synapse")
    )
    g_l, g_bs, g_as = float(cell.g_leak), float(cell.g_basal), float(cell.g_apical)
    capacitance = float(cell.tau_soma) * g_l
    r_b, r_a = float(cell.R_basal), float(cell.R_apical)
    matrix = np.array([  # of (v_b, v_a, v_s, I_b, I_a), potentials above rest
        [-1 / tau_b, 0, 0, r_b / tau_b, 0],
        [0, -1 / tau_a, 0, 0, r_a / tau_a],
        [g_bs / capacitance, g_as / capacitance, -(g_l + g_bs + g_as) / capacitance, 0, 0],
        [0, 0, 0, -1 / tau_syn, 0],
        [0, 0, 0, 0, -1 / tau_syn],
    ])
    return expm(matrix * duration) @ start


def test_staggered_integration_is_of_first_order(make_cells, set_values):
    parameters = BIOPHYSICAL.updated({"cell.g_apical": 4 * nS})
    start = np.array([0.0, 0.0, 2e-3, 200e-12, 150e-12])
    expected = exact_potential(parameters, start, 12e-3)[2]
    errors = []
    for dt in (0.4, 0.2, 0.1, 0.05, 0.025):
        cells = make_cells(parameters, dt=dt * ms)
        set_values(cells, v_s=rest(parameters) + start[2], I_b=start[3], I_a=start[4])
        Network(cells).run(12 * ms, namespace={})
        errors.append(cells.variables["v_s"].get_value().item() - rest(parameters) - expected)
    errors = np.abs(errors)
    assert errors[0] > 1e-4  # volts above rest
    ratios = errors[:-1] / errors[1:]
    np.testing.assert_allclose(ratios, 2, atol=0.2)
    assert abs(ratios[-1] - 2) < abs(ratios[0] - 2)


def test_wrong_units_are_refused(make_cells, monkeypatch):
    Network(make_cells(DISCRETE)).run(1 * ms, namespace={})
    wrong = pyramidal.COMPARTMENTS.replace("R_b*I_b", "I_b")
    assert wrong != pyramidal.COMPARTMENTS
    monkeypatch.setattr(pyramidal, "COMPARTMENTS", wrong)
    with pytest.raises(BrianObjectException) as error:
        Network(make_cells(DISCRETE)).run(1 * ms, namespace={})
    assert isinstance(error.value.__cause__, DimensionMismatchError)

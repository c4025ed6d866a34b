"""Afferents: regular and Poisson-like spike trains from intensities."""

import numpy as np
import pytest
from brian2 import (
    BrianLogger,
    Hz,
    Network,
    NeuronGroup,
    SpikeMonitor,
    StateMonitor,
    TimedArray,
    ms,
    prefs,
)
from brian2.devices.device import reset_device
from scipy import stats

from bsd.equations import encoders
from bsd.equations.randomness import hash_uniform, stream_keys
from bsd.networks.trial_count import trials_over


def encode(
    kind, intensities, *, steps, n_trials=1, dt=1.0, f_max=1000, seed=0, first_draw=0, loss=0
):
    """Spikes as an array (trials, cells, steps), and phases (trials, cells).

    `intensities` are those of the cells, the same in every trial.
    """
    reset_device()
    prefs.codegen.target = "numpy"
    prefs.core.default_float_dtype = np.float64
    BrianLogger.suppress_name("synapses_dt_mismatch")
    n, duration = len(intensities), steps * dt * ms
    control = np.zeros((n_trials, 7))
    control[:, 4] = first_draw + np.arange(n_trials)
    control[:, 5] = loss
    group = NeuronGroup(
        n,
        encoders.AFFERENT,
        threshold="emit > 0",
        reset=encoders.COUNT_AFFERENT_SPIKE,
        dt=dt * ms,
        namespace={
            "drive": TimedArray(np.tile(intensities, (n_trials, 1)), dt=duration),
            "control": TimedArray(control, dt=duration),
            "trial_duration": duration,
            "step_duration": dt * ms,
            "steps_per_trial": steps,
            "n_control": 7,
            "hash_uniform": hash_uniform,
            "trials_over": trials_over,
        },
    )
    group.run_regularly(encoders.START_AFFERENT_TRIAL, dt=duration, when="start", order=0)
    group.run_regularly(encoders.ENCODERS[kind], when="start", order=1)
    group.variables["key"].set_value(stream_keys(seed, "encoder S", n))
    group.p_step = f_max * Hz * dt * ms
    group.n_trials = n_trials
    spikes = SpikeMonitor(group)
    phases = StateMonitor(group, "phase", record=True, dt=duration, when="end")
    Network(group, spikes, phases).run(n_trials * duration, namespace={})
    at = np.rint(np.asarray(spikes.t / ms) / dt).astype(int)
    train = np.zeros((n_trials, n, steps), dtype=int)
    np.add.at(train, (at // steps, np.asarray(spikes.i), at % steps), 1)
    return train, phases.phase.T


def test_regular_counts_are_within_one_of_the_intensity():
    intensities = np.linspace(0, 1, 101)
    spikes, _ = encode("regular", intensities, steps=20, n_trials=10)
    excess = spikes.sum(axis=2) - 20 * intensities
    assert np.abs(excess).max() < 1 + 1e-9
    assert spikes.max() == 1
    # the phase rounds without bias: 4 standard errors of a uniform rounding over 1010 draws
    assert abs(excess.mean()) < 4 * 0.5 / np.sqrt(excess.size)


@pytest.mark.parametrize("period", [1, 2, 4, 5])
def test_regular_trains_are_exactly_periodic(period):
    spikes, _ = encode("regular", np.full(200, 1 / period), steps=40, n_trials=2)
    assert (spikes[..., :-period] == spikes[..., period:]).all()
    assert (spikes.sum(axis=2) == 40 // period).all()
    first = spikes.argmax(axis=2)
    assert set(np.unique(first)) == set(range(period))  # every phase occurs


def test_regular_intervals_differ_by_one_step_at_most():
    spikes, _ = encode("regular", np.full(50, 0.37), steps=100)
    for train in spikes[0]:
        assert set(np.diff(np.flatnonzero(train))) <= {2, 3}


def test_regular_phases_are_uniform_and_drawn_anew_for_each_trial():
    _, phases = encode("regular", np.full(1000, 0.5), steps=2, n_trials=5)
    assert stats.kstest(phases.ravel(), "uniform").pvalue > 1e-3
    correlations = np.corrcoef(phases)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(1000)


def test_step_and_rate_scale_with_dt_and_f_max():
    """100 Hz at 0.5 ms steps: one spike per 20 steps at full intensity."""
    spikes, _ = encode("regular", np.array([1.0, 0.5, 0.0]), steps=200, dt=0.5, f_max=100)
    assert spikes.sum(axis=2).tolist() == [[10, 5, 0]]


@pytest.mark.parametrize("intensity", [0.0, 0.3, 0.8, 1.0])
def test_poisson_like_rate(intensity):
    """Within 4 binomial standard deviations; independent steps (variance within 10 %)."""
    spikes, _ = encode("poisson", np.full(500, intensity), steps=10, n_trials=8)
    n = spikes.size
    assert abs(spikes.sum() - n * intensity) <= 4 * np.sqrt(n * intensity * (1 - intensity))
    variance = spikes.sum(axis=2).var()
    assert variance == pytest.approx(10 * intensity * (1 - intensity), rel=0.1, abs=1e-12)


@pytest.mark.parametrize("kind", ["regular", "poisson"])
def test_spikes_are_lost_at_random(kind):
    intensities = np.full(500, 0.8)
    whole, _ = encode(kind, intensities, steps=10, n_trials=4)
    part, _ = encode(kind, intensities, steps=10, n_trials=4, loss=0.25)
    assert (part <= whole).all()  # none is added, none is moved
    n = whole.sum()
    assert abs(part.sum() - 0.75 * n) < 4 * np.sqrt(n * 0.25 * 0.75)
    none, _ = encode(kind, intensities, steps=10, n_trials=4, loss=1)
    assert none.sum() == 0


@pytest.mark.parametrize("kind", ["regular", "poisson"])
def test_a_trial_does_not_depend_on_what_came_before(kind):
    intensities = np.linspace(0, 1, 50)
    whole, _ = encode(kind, intensities, steps=8, n_trials=6)
    part, _ = encode(kind, intensities, steps=8, n_trials=2, first_draw=4)
    assert np.array_equal(whole[4:], part)
    other_seed, _ = encode(kind, intensities, steps=8, n_trials=6, seed=1)
    assert not np.array_equal(whole, other_seed)
    assert not np.array_equal(whole[0], whole[1])

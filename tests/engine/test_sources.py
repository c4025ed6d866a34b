"""What drives the network in a trial, what learns in it, and what cannot."""

import numpy as np
import pandas as pd
import pytest

from bsd.runs.engine import Simulation

HIDDEN_FEEDBACK = ("Theta1", "Theta2")


@pytest.fixture(scope="module")
def trained(small_network, dataset, trial_table):
    """A simulation whose read-outs fire, on the runtime device."""
    simulation = Simulation(small_network(), dataset, "runtime", seed=0)
    generator = np.random.default_rng(5)
    state = dict(simulation.state)
    for name in ("afferent_basal.w", "cortical_basal.w"):
        state[name] = generator.normal(0.2, 0.5, size=np.shape(state[name]))
    simulation.restore(state)
    return simulation, simulation.state


def run(trained, table):
    simulation, state = trained
    simulation.restore(state)
    return simulation.run(table)


def spikes_of(recording):
    return recording.counts.groupby("population")["spikes"].sum()


FORWARD, BACKWARD = ["S", "F1", "F2", "F3"], ["C", "B2", "B1", "B0"]


@pytest.mark.parametrize(
    "source, active",
    [
        ("stimulus", FORWARD),
        ("concept", BACKWARD),
        ("stimulus+concept", FORWARD + BACKWARD),
        ("stimulus+percept", FORWARD + BACKWARD),
        ("concept+recall", FORWARD + BACKWARD),
        ("nothing", []),
    ],
)
def test_source_decides_which_pathway_fires(trained, trial_table, source, active):
    counts = spikes_of(run(trained, trial_table(4, source=source, learn=0.0)))
    assert set(counts[counts > 0].index) == set(active)


@pytest.mark.parametrize(
    "source, output, afferent",
    [("stimulus+percept", "F3", "C"), ("concept+recall", "B0", "S")],
)
def test_relay_repeats_the_output_one_step_later(trained, trial_table, source, output, afferent):
    spikes = run(trained, trial_table(4, source=source, learn=0.0)).spikes
    sent = spikes[(spikes["population"] == output) & (spikes["t_ms"] < 7)]
    relayed = spikes[spikes["population"] == afferent]
    expected = set(zip(sent["trial"], sent["t_ms"] + 1, sent["cell"], strict=True))
    assert set(zip(relayed["trial"], relayed["t_ms"], relayed["cell"], strict=True)) == expected
    assert len(relayed) == len(expected) > 10


def test_closed_relay_leaves_the_encoded_drive_alone(trained, trial_table):
    closed = run(trained, trial_table(4, source="stimulus+concept", learn=0.0)).spikes
    alone = run(trained, trial_table(4, source="concept", learn=0.0)).spikes
    for population in BACKWARD:
        pd.testing.assert_frame_equal(
            closed[closed["population"] == population].reset_index(drop=True),
            alone[alone["population"] == population].reset_index(drop=True),
        )


def test_pathways_do_not_act_on_each_other_within_a_trial(trained, trial_table):
    """With g_as = 0 the partner guides plasticity only."""
    both = run(trained, trial_table(4, learn=0.0)).spikes
    alone = run(trained, trial_table(4, source="stimulus", learn=0.0)).spikes
    for population in FORWARD:
        pd.testing.assert_frame_equal(
            both[both["population"] == population].reset_index(drop=True),
            alone[alone["population"] == population].reset_index(drop=True),
        )


def test_nothing_changes_without_plasticity(trained, trial_table):
    simulation, state = trained
    run(trained, trial_table(5, learn=0.0))
    for name, value in simulation.state.items():
        assert np.array_equal(value, state[name]), name


def test_only_learning_trials_enter_the_memories(trained, trial_table):
    simulation, state = trained
    run(trained, trial_table(5, learn=[0.0, 1.0, 0.0, 0.0, 1.0]))
    assert simulation.state["memory.pointer"].tolist() == [2] * 3 * 4  # 3 slots, 4 populations
    memories = simulation.state["memory_pattern.mu"].reshape(-1)
    of_memory, of_cell = simulation.network.memory_pairs()
    assert len(of_memory) == len(memories)
    for number, population in enumerate(simulation.network.memory_populations):
        for slot in range(3):
            own = of_memory == 3 * number + slot
            assert np.array_equal(of_cell[own], np.arange(population.start, population.stop))
            assert memories[own].any() == (slot < 2)


@pytest.mark.parametrize(
    "assignments, frozen",
    [
        ({}, ()),
        ({"learning.feedback": "fixed"}, HIDDEN_FEEDBACK),
        ({"learning.hidden": "frozen"}, ("W0", "W1", *HIDDEN_FEEDBACK)),
        ({"learning.eta_top": 0.0}, ("W2",)),
        ({"learning.eta_bottom": 0.0}, ("Theta0",)),
    ],
    ids=["all learn", "feedback fixed", "hidden frozen", "no top", "no bottom"],
)
@pytest.mark.parametrize("projection", ["dense", "synapses"])
def test_what_is_frozen_stays(small_network, dataset, trial_table, assignments, frozen, projection):
    network = small_network(assignments=assignments, projection=projection)
    simulation = Simulation(network, dataset, "runtime", seed=0)
    before = simulation.weights()
    simulation.run(trial_table(4))
    for name, w in simulation.weights().items():
        changed = np.abs(w - before[name]).max()
        assert (changed == 0) if name in frozen else (changed > 1e-6), name


@pytest.mark.parametrize("base", ["discrete", "biophysical"])
def test_recorded_spikes_are_the_counted_ones(small_network, dataset, trial_table, base):
    recording = Simulation(small_network(base), dataset, "runtime", seed=0).run(trial_table(2))
    keys = ["trial", "population", "cell"]
    seen = recording.spikes.groupby(keys).size().rename("spikes")
    counted = recording.cell_counts.set_index(keys)["spikes"]
    assert len(seen) > 50
    pd.testing.assert_series_equal(
        seen.sort_index(),
        counted[counted > 0].sort_index(),
        check_dtype=False,
        check_index_type=False,
    )


def test_stimuli_are_transformed_by_seed_and_trial_only(small_network, dataset, trial_table):
    """Noise, shift and occlusion are the same however the table is cut."""
    table = trial_table(6, learn=0.0, noise=0.2, shift=1, occlusion=0.3)
    spikes = []
    for capacity in (2, 6):
        simulation = Simulation(small_network(capacity=capacity), dataset, "runtime", seed=4)
        spikes.append(simulation.run(table).spikes)
    pd.testing.assert_frame_equal(*spikes)
    plain = Simulation(small_network(), dataset, "runtime", seed=4)
    clean = plain.run(table.assign(noise=0.0, shift=0, occlusion=0.0)).spikes
    assert not clean.equals(spikes[0])

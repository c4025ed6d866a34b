"""Which trials a recording judges, and which it keeps in detail."""

import numpy as np
import pytest
from brian2 import nS

from bsd.runs.engine import Simulation

SOURCES = [
    "stimulus",
    "concept",
    "stimulus+concept",
    "stimulus+percept",
    "concept+recall",
    "nothing",
    "stimulus",  # of no known concept
]
CONCEPTS = [0, 1, 2, 0, 1, 2, -1]


def record(small_network, dataset, table, **assignments):
    network = small_network(assignments=assignments)
    simulation = Simulation(network, dataset, "runtime", seed=0)
    generator = np.random.default_rng(5)
    state = dict(simulation.state)
    for name in ("afferent_basal.w", "cortical_basal.w"):
        state[name] = generator.normal(0.2, 0.5, size=np.shape(state[name]))
    simulation.restore(state)
    return simulation.run(table)


@pytest.fixture
def table(trial_table):
    return trial_table(
        7, source=SOURCES, concept=CONCEPTS, learn=0.0, record=[False, True] * 3 + [False]
    )


@pytest.mark.parametrize(
    "g_apical, judged",
    [
        (0, [True, False, True, True, True, False, False]),
        # the concept afferents then reach the output cells: only perception alone is judged
        (3, [True, False, False, False, False, False, False]),
    ],
)
def test_a_decision_is_judged_only_where_it_was_made(
    small_network, dataset, table, g_apical, judged
):
    trials = record(small_network, dataset, table, **{"cell.g_apical": g_apical * nS}).trials
    for suffix in ("", "_voltage"):
        correct, percept = trials[f"correct{suffix}"], trials[f"percept{suffix}"]
        assert correct.dtype == "boolean"
        assert (~correct.isna()).tolist() == judged
        known = correct.notna()
        expected = percept[known] == trials["concept"][known]
        assert correct[known].astype(bool).tolist() == expected.tolist()
        # without a drive of the forward network there is no percept to speak of
        assert (percept[[1, 5]] == -1).all()


def test_a_tie_or_silence_is_wrong(small_network, dataset, trial_table):
    network = small_network()
    simulation = Simulation(network, dataset, "runtime", seed=0)
    simulation.restore({k: np.zeros_like(v) for k, v in simulation.state.items()})
    trials = simulation.run(trial_table(3, source="stimulus", learn=0.0)).trials
    assert (trials["percept"] == -1).all() and trials["correct"].tolist() == [False] * 3


def test_recalled_stimuli_are_kept_without_plasticity_only(small_network, dataset, table):
    recording = record(small_network, dataset, table)
    assert recording.recalled["trial"].unique().tolist() == [1, 2, 3, 4]
    assert recording.recalled.groupby("trial").size().tolist() == [9] * 4
    learning = record(small_network, dataset, table.assign(learn=[0, 0, 1, 0.5, 0, 0, 0]))
    assert learning.recalled["trial"].unique().tolist() == [1, 4]


def test_recalled_rates_are_those_of_the_bottom_cells(small_network, dataset, table):
    recording = record(small_network, dataset, table.assign(record=True))
    bottom = recording.cell_counts[recording.cell_counts["population"] == "B0"]
    spikes = bottom.set_index(["trial", "cell"])["spikes"]
    recalled = recording.recalled.set_index(["trial", "pixel"])["rate"]
    assert recalled.max() > 0
    np.testing.assert_allclose(recalled * 8, spikes.loc[recalled.index])  # eight steps a trial


def test_detail_is_kept_of_the_trials_whose_record_is_set(small_network, dataset, table):
    recording = record(small_network, dataset, table)
    for name in ("cell_counts", "spikes", "voltages"):
        frame = getattr(recording, name)
        assert set(frame["trial"]) <= {1, 3, 5}, name
    assert set(recording.cell_counts["trial"]) == set(recording.voltages["trial"]) == {1, 3, 5}
    assert recording.cell_counts.groupby("trial").size().tolist() == [76] * 3
    cells = recording.voltages.groupby("population")["cell"].unique()
    assert {name: sorted(of) for name, of in cells.items()} == {
        name: list(range(8)) for name in ("F1", "F2", "B1", "B2")
    }
    keys = ["trial", "population", "cell", "compartment"]
    assert (recording.voltages.groupby(keys).size() == 8).all()  # eight steps
    assert set(recording.counts["trial"]) == set(range(7))


def test_detail_of_no_trial_is_empty(small_network, dataset, table):
    recording = record(small_network, dataset, table.assign(record=False))
    for name in ("cell_counts", "spikes", "voltages"):
        assert getattr(recording, name).empty
    assert len(recording.trials) == 7 and (recording.counts["spikes"] > 0).any()


def test_synaptic_events_are_those_of_synapses_that_exist(small_network, dataset, trial_table):
    network = small_network(assignments={"encoding.receptive_field": 2})
    recording = Simulation(network, dataset, "runtime", seed=2).run(trial_table(3))
    counts = recording.counts.set_index(["trial", "population"])
    of_cells = recording.cell_counts.set_index(["population", "trial", "cell"])["spikes"]
    for projection in network.layout.projections:
        name, there = projection.source.name, network.connectivity(projection)
        fired = of_cells[name].unstack("cell").to_numpy()
        own = counts.xs(name, level="population")
        assert own["synaptic_events"].tolist() == (fired @ there.sum(axis=1)).tolist()
        assert (own["synapses"] == there.sum()).all()
    assert not counts.xs("F3", level="population")["synaptic_events"].any()

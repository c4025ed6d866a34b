"""Context cells: the first hidden layer's rates of one trial drive it in the next."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bsd.equations import InputError
from bsd.networks import audit
from bsd.runs.engine import Simulation

N_STIMULUS, N_HIDDEN = 9, 12


@pytest.fixture(scope="module")
def recurrent(small_network):
    """Function that describes the small network with context cells."""

    def describe(base="discrete", assignments=None, **options):
        return small_network(
            base, assignments={"encoding.context": 1, **(assignments or {})}, **options
        )

    return describe


def counts_of(recording, population):
    own = recording.cell_counts[recording.cell_counts["population"] == population]
    return own.pivot(index="trial", columns="cell", values="spikes").to_numpy()


@pytest.mark.parametrize("device", ["runtime", "cpp"])
def test_context_cells_repeat_the_hidden_layer_of_the_trial_before(
    recurrent, dataset, trial_table, device
):
    carry = np.array([False, True, True, False, True, True, True])
    simulation = Simulation(recurrent(), dataset, device, seed=1)
    recording = simulation.run(trial_table(7, carry=carry))
    hidden, stimulus = counts_of(recording, "F1"), counts_of(recording, "S")
    assert stimulus.shape == (7, N_STIMULUS + N_HIDDEN)
    expected = np.zeros_like(hidden)
    expected[1:] = hidden[:-1]
    assert hidden.any(axis=1).all()
    # a regular train of rate n / T has n spikes in T, whatever its phase
    assert np.array_equal(stimulus[:, N_STIMULUS:], expected * carry[:, None])


def test_context_cells_in_a_chain_repeat_the_trials_before(recurrent, dataset, trial_table):
    carry = np.array([False, True, True, True, False, True, True])
    network = recurrent(assignments={"encoding.context": 3}, replicas=2)
    recording = Simulation(network, dataset, "runtime", seed=[1, 2]).run(
        trial_table(7, carry=carry)
    )
    for replica, cells in recording.cell_counts.groupby("replica"):
        own = SimpleNamespace(cell_counts=cells)
        hidden, stimulus = counts_of(own, "F1"), counts_of(own, "S")
        assert stimulus.shape == (7, N_STIMULUS + 3 * N_HIDDEN) and hidden.any(axis=1).all()
        since = [0, 1, 2, 3, 0, 1, 2]  # trials that follow one another
        for trial in range(7):
            held = stimulus[trial, N_STIMULUS:].reshape(3, N_HIDDEN)
            for back in range(3):
                known = since[trial] > back
                expected = hidden[trial - 1 - back] if known else np.zeros(N_HIDDEN)
                assert np.array_equal(held[back], expected), (replica, trial, back)


@pytest.mark.parametrize("device", ["runtime", "cpp"])
@pytest.mark.parametrize("context", [1, 2])
def test_chunks_do_not_matter(recurrent, dataset, trial_table, device, context):
    if context > 1 and device == "cpp":
        pytest.skip("compiled once only")
    table = trial_table(7, carry=np.arange(7) % 4 > 0)
    whole, parts = (
        Simulation(
            recurrent(assignments={"encoding.context": context}), dataset, device, seed=1
        )
        for _ in range(2)
    )
    spikes = whole.run(table).spikes
    pieces = [parts.run(table.iloc[first:last]).spikes for first, last in ((0, 3), (3, 4), (4, 7))]
    assert spikes.equals(pd.concat(pieces, ignore_index=True))
    for name, value in whole.state.items():
        assert np.array_equal(value, parts.state[name]), name


def test_context_changes_what_the_hidden_layer_does_and_learns(recurrent, dataset, trial_table):
    weights, hidden = [], []
    for carry in (False, True):
        simulation = Simulation(recurrent(), dataset, "runtime", seed=1)
        before = simulation.weights()["W0"].copy()
        recording = simulation.run(trial_table(6, carry=carry))
        hidden.append(counts_of(recording, "F1"))
        weights.append(simulation.weights()["W0"] - before)
    assert np.array_equal(hidden[0][0], hidden[1][0])
    assert not np.array_equal(hidden[0], hidden[1])
    assert not weights[0][N_STIMULUS:].any() and weights[1][N_STIMULUS:].any()


def test_recall_learns_the_context(recurrent, dataset, trial_table):
    simulation = Simulation(
        recurrent(assignments={"learning.eta_bottom": 0.1}), dataset, "runtime", seed=1
    )
    before = simulation.weights()["Theta0"].copy()
    recording = simulation.run(trial_table(7, carry=True))
    changed = (simulation.weights()["Theta0"] != before).any(axis=0)
    assert changed[N_STIMULUS:].any()
    recalled = simulation.run(trial_table(2, start=7, source="concept", learn=0.0)).recalled
    assert len(recalled) == 2 * N_STIMULUS  # of the stimulus only
    assert counts_of(recording, "B0").shape == (7, N_STIMULUS + N_HIDDEN)


def test_replicas_carry_their_own_context(recurrent, dataset, trial_table):
    table = trial_table(5, carry=[False, True, True, False, True])
    both = Simulation(recurrent(replicas=2), dataset, "runtime", seed=[3, 8]).run(table)
    for replica, seed in enumerate((3, 8)):
        alone = Simulation(recurrent(), dataset, "runtime", seed=seed).run(table).spikes
        own = both.spikes[both.spikes["replica"] == replica].assign(replica=0)
        assert own.reset_index(drop=True).equals(alone)


def test_a_dense_and_a_sparse_network_are_one_model(recurrent, dataset, trial_table):
    table = trial_table(6, carry=True)
    spikes = [
        Simulation(recurrent(projection=projection), dataset, "runtime", seed=1).run(table).spikes
        for projection in ("dense", "synapses")
    ]
    assert spikes[0].equals(spikes[1])


@pytest.mark.parametrize("context", [1, 2])
def test_audit_passes(recurrent, context):
    found = audit(recurrent(assignments={"encoding.context": context}))
    assert found.passed
    checks = found.table.loc[found.table["criterion"] == "C4"].set_index("check")
    rows = {"between layers: context_pre": "F1 to S"}
    if context > 1:
        rows["within layers: context_chain_pre"] = "S to S"
    assert {check for check in checks.index if "context" in check} == rows.keys()
    for row, places in rows.items():
        assert checks.loc[row, "verdict"] == "pass"
        assert checks.loc[row, "evidence"].startswith(f"spikes to held: {places}")


def test_fields_and_context_exclude_each_other(recurrent):
    with pytest.raises(InputError, match="use one of receptive_field and context"):
        recurrent(assignments={"encoding.receptive_field": 2})


def test_tuning_curves_are_gaussian_over_the_concepts(small_network):
    network = small_network(
        assignments={"encoding.concept_code": "tuning", "encoding.tuning_width": 1.5}
    )
    encoding = network.encoding_matrix()
    preferred = np.array([-0.25, 0.25, 0.75, 1.25, 1.75, 2.25])  # two cells for each concept
    distance = np.arange(3)[:, None] - preferred
    assert np.allclose(encoding, np.exp(-0.5 * (distance / 1.5) ** 2))


def test_weights_of_context_cells_have_a_scale_of_their_own(recurrent):
    network = recurrent(
        layers=(400, 300, 11, 3),
        assignments={"learning.init_gain": 3.0, "learning.init_gain_context": 0.5},
    )
    projection = network.layout.projection("W0")
    w = network.initial_state(0)["afferent_basal.w"][projection.synapse_slice]
    w = w.reshape(projection.shape)
    # 120000 and 90000 normal numbers: the SD is known to 0.5 %
    assert w[:400].std() == pytest.approx(3 / 20, rel=0.02)
    assert w[400:].std() == pytest.approx(0.5 / 300**0.5, rel=0.02)

"""Synaptic events are counted, not estimated."""

import numpy as np
import pytest

from bsd.runs.bench.events import count_events
from bsd.runs.bench.limit import measure_limit, replay_stream


@pytest.mark.parametrize("gating", [True, False])
def test_events_equal_a_count_spike_by_spike_and_row_by_row(
    gating, firing, watched, trial_table, dataset
):
    options = {"assignments": {"learning.margin_gating": gating, "learning.margin": 0.2}}
    table = trial_table(8, learn=[1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0])
    simulation, recording, inputs, outputs = watched(table, **options)
    network = simulation.network
    events = count_events(network, inputs, outputs, len(table))

    targets = {p.source.name: p.target.size for p in network.layout.projections}
    arrivals = recording.spikes["population"].map(lambda name: targets.get(name, 0))
    by_trial = arrivals.groupby(recording.spikes["trial"]).sum()
    np.testing.assert_array_equal(events["propagation"], by_trial)
    np.testing.assert_array_equal(events["one_to_one"], recording.spikes.groupby("trial").size())

    one_by_one = firing(**options)
    changed = []
    for row in range(len(table)):
        before = {name: w.copy() for name, w in one_by_one.weights().items()}
        one_by_one.run(table.iloc[row : row + 1])
        after = one_by_one.weights()
        rows = {name: (before[name] != after[name]).any(axis=1).sum() for name in before}
        changed.append(sum(n * before[name].shape[1] for name, n in rows.items()))
    np.testing.assert_array_equal(events["updates"], changed)
    assert changed[2] == 0 < changed[0]
    if gating:
        assert len(set(changed)) > 2  # some populations had their margin


def test_replayed_rows_are_the_events(watched, trial_table):
    table = trial_table(5)
    simulation, _, inputs, outputs = watched(table)
    network = simulation.network
    events = count_events(network, inputs, outputs, len(table))
    chunk = type("", (), {"inputs": inputs, "outputs": outputs, "n_trials": len(table)})
    stream, n_events = replay_stream(network, chunk)
    assert n_events == events[["propagation", "updates"]].to_numpy().sum()
    n = len(network.layout.projections)
    assert list(stream[:3]) == [n, len(table), network.parameters.timing.steps]
    assert measure_limit(network, chunk, least_s=0.0) > 0

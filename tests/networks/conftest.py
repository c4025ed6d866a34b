"""Simulations of which every cell's voltages are kept."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def observed():
    """Function that turns a network into one whose cells are all recorded at every step.

    Its Brian2 objects have one more, the monitor `all_voltages`.
    """
    from brian2 import StateMonitor

    from bsd.networks import BidirectionalNetwork

    class Observed(BidirectionalNetwork):
        def create(self):
            objects = super().create()
            objects.add(
                StateMonitor(
                    objects.cells,
                    ["v_s", "v_b", "v_a"],
                    record=True,
                    when="after_average",
                    name="all_voltages",
                )
            )
            return objects

    def turn(network):
        network.__class__ = Observed
        return network

    return turn


@pytest.fixture(scope="session")
def observe():
    """Function that runs a table on the runtime device and returns what each trial showed.

    One dict per trial: population to a dict of ``spikes``, ``v_s``, ``v_b``, ``v_a``, each of
    shape (steps, cells); potentials in volt, before the reset.
    """

    def run(simulation, table):
        recording = simulation.run(table)
        network = simulation.network
        steps = network.parameters.timing.steps
        dt = float(network.parameters.timing.dt) * 1e3
        monitor = simulation.simulator.objects.all_voltages
        trials = []
        for row, trial in enumerate(table["trial"]):
            seen = {}
            mine = recording.spikes[recording.spikes["trial"] == trial]
            for population in network.layout.afferents + network.layout.populations:
                spikes = np.zeros((steps, population.size))
                own = mine[mine["population"] == population.name]
                at = np.rint(own["t_ms"] / dt).astype(int)
                np.add.at(spikes, (at.to_numpy(), own["cell"].to_numpy()), 1)
                seen[population.name] = {"spikes": spikes}
                if population.pathway == "afferent":
                    continue
                for name in ("v_s", "v_b", "v_a"):
                    values = np.asarray(getattr(monitor, name))[population.cells]
                    seen[population.name][name] = values[:, row * steps : (row + 1) * steps].T
            trials.append(seen)
        return trials

    return run

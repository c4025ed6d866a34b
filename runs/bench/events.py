"""Synaptic events of a run, counted from its spikes."""

import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bsd.networks import BidirectionalNetwork

__all__ = ["Chunk", "MeteredSimulator", "count_events", "learning_populations"]


def learning_populations(network, inputs, outputs, n_trials):
    """Which populations change weights in which trials.

    A population learns in a trial where plasticity is on, its learning rate is not zero and the
    local error of one of its cells at least is not: under margin gating, trials without a missing
    margin change nothing. Plain synapses visit the weights of all cells that fired in a learning
    trial, whatever the error. Spike features.

    Parameters
    ----------
    network : BidirectionalNetwork
    inputs, outputs : dict of str to ndarray
        Of a simulator's ``run``.
    n_trials : int

    Returns
    -------
    dict of str to ndarray of bool, shape (n_trials,)
        By name of the population.
    """
    layout = network.layout
    counts, afferents = outputs["trial_cells.n_s"], outputs["trial_afferents.n_s"]
    learn = np.reshape(inputs["control.values"], (network.capacity + 1, -1))[:n_trials, 0] > 0
    eta = network.values()["cells.eta"]
    learns = {}
    for population in layout.populations:
        changed = learn.copy()
        if network.projection == "dense":
            partner = layout.partner(population)
            theirs = (afferents if partner.pathway == "afferent" else counts)[:, partner.cells]
            own = counts[:, population.cells]
            if network.has_memory(population):
                gate = [outputs[f"trial_cosine.{name}"] for name in ("attract", "repel")]
                changed &= (np.stack(gate)[:, :, population.index] != 0).any(axis=0)
                changed &= own.any(axis=1) | theirs.any(axis=1)
            else:
                changed &= (own != theirs).any(axis=1)
            changed &= (eta[population.cells] != 0).any()
        learns[population.name] = changed
    return learns


def count_events(network, inputs, outputs, n_trials):
    """Synaptic events of each trial.

    Counted are, from the spikes that the run recorded,

    propagation
        every spike of a cell, times the number of its basal targets;
    one_to_one
        every spike once more, for its arrival at the apical dendrite of the partner cell, or at
        the afferent that relays it;
    updates
        every weight that the learning rule changed: presynaptic cells that fired in the trial,
        times the cells of their target population, where that learned in it
        (`learning_populations`).

    Parameters
    ----------
    network : BidirectionalNetwork
    inputs, outputs : dict of str to ndarray
        Of a simulator's ``run``.
    n_trials : int

    Returns
    -------
    DataFrame
        Columns propagation, one_to_one, updates; one row per trial.

    Raises
    ------
    ValueError
        For networks that learn in another way than counted here.
    """
    learning = network.parameters.learning
    if network.layout.replicas > 1 or network.fields.local or learning.homeostasis > 0:
        raise ValueError("events are counted of single networks without fields and homeostasis")
    if learning.loss != "reco" or learning.features != "spikes":
        raise ValueError("events are counted of networks that learn by ReCo on spikes")
    cells, afferents = outputs["trial_cells.n_s"], outputs["trial_afferents.n_s"]
    learns = learning_populations(network, inputs, outputs, n_trials)
    propagation = np.zeros(n_trials, dtype=np.int64)
    updates = np.zeros(n_trials, dtype=np.int64)
    for projection in network.layout.projections:
        source, target = projection.source, projection.target
        counts = (afferents if source.pathway == "afferent" else cells)[:, source.cells]
        propagation += counts.sum(axis=1).astype(np.int64) * target.size
        updates += np.count_nonzero(counts, axis=1) * target.size * learns[target.name]
    one_to_one = (cells.sum(axis=1) + afferents.sum(axis=1)).astype(np.int64)
    return pd.DataFrame(
        {"propagation": propagation, "one_to_one": one_to_one, "updates": updates}
    )


@dataclass
class Chunk:
    """Time and events of one chunk of trials.

    Attributes
    ----------
    loop_s : float
        From the first time step to the last.
    wall_s : float
        Everything: writing inputs, creating the network, the trials, reading outputs.
    create_s : float
        Reading inputs and creating the network.
    n_trials : int
    network : BidirectionalNetwork
    inputs, outputs : dict of str to ndarray
    """

    loop_s: float
    wall_s: float
    create_s: float
    n_trials: int
    network: BidirectionalNetwork
    inputs: dict
    outputs: dict

    def in_a_second(self, most):
        """Trials that take about a second, no fewer than there were and at most so many."""
        return int(np.clip(self.n_trials / max(self.loop_s, 1e-9), self.n_trials, most))

    @cached_property
    def events(self):
        """See `count_events`."""
        return count_events(self.network, self.inputs, self.outputs, self.n_trials)


class MeteredSimulator:
    """A simulator that keeps time and counts events of the last chunk.

    Parameters
    ----------
    simulator : CppSimulator

    Attributes
    ----------
    last : Chunk
    """

    def __init__(self, simulator):
        self.simulator = simulator
        self.last = None

    def run(self, inputs, n_trials, progress=None):
        """As the simulator's ``run``."""
        ticks = []

        def tick(done):
            ticks.append(time.perf_counter())
            if progress:
                progress(done)

        start = time.perf_counter()
        outputs = self.simulator.run(inputs, n_trials, tick)
        wall_s = time.perf_counter() - start
        self.last = Chunk(
            loop_s=ticks[-1] - ticks[0],
            wall_s=wall_s,
            create_s=self.simulator.create_s,
            n_trials=n_trials,
            network=self.simulator.network,
            inputs=inputs,
            outputs=dict(outputs),
        )
        return outputs

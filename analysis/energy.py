"""Energy of perception, recall and learning, against a network without spikes.

Figures of a 45 nm process at 0.9 V, 32-bit floating point: 0.9 pJ for an addition, 4.6 pJ for a
multiplication (3.7 pJ) and an addition (Horowitz 2014, ISSCC, "Computing's energy problem").
A spike adds a weight at each of its synapses (one accumulate); a dense network with the same
synapses multiplies and adds at each of its weights, whatever its input. Neither memory access,
which costs more than arithmetic, nor the update of the membranes in each time step is counted, as
is usual.
"""

import numpy as np

from bsd.analysis.frames import grouped_by, plain

ACCUMULATE_PJ = 0.9
"""Energy of a 32-bit floating-point addition (pJ), 45 nm."""

MULTIPLY_ACCUMULATE_PJ = 4.6
"""Energy of a 32-bit floating-point multiplication and addition (pJ), 45 nm."""


def energy_per_trial(counts, trials, memory_slots=16):
    """Spikes, operations and energy of both pathways in each trial, beside a dense network.

    A spike reaches the synapses of its cell in the next layer of its pathway, and the apical
    dendrite of the partner of its cell; those of the last layer reach none. The stimulus belongs
    to the forward, the concept to the backward pathway. In a trial with plasticity (``learn``
    above 0) each plastic synapse multiplies and adds once, which is an upper bound, as synapses of
    silent cells do not change; and each cell of a hidden layer twice per memory interneuron.

    The dense network has the pathway's layers and synapses, with one value per cell. It multiplies
    and adds once per weight in inference; in training by backpropagation besides once for the
    gradients of the weights and once for those of the activities, except of the input.

    Parameters
    ----------
    counts : pandas.DataFrame
        ``trial, population, pathway, layer, n_cells, spikes, synapses, synaptic_events`` (and
        ``replica``), all populations of each trial: ``S, F1, ..`` and ``C, .., B0``.
    trials : pandas.DataFrame
        Trial table with ``learn`` (and ``phase``).
    memory_slots : int
        Memory interneurons per hidden population (``learning.memory_slots``).

    Returns
    -------
    pandas.DataFrame
        ``[phase,] trial, [replica,] pathway, spikes, accumulates, multiply_accumulates,
        energy_nJ, dense_multiply_accumulates, dense_energy_nJ``, a row per trial and pathway. A
        pathway that is not driven is silent and costs nothing: compare the driven one.

    Raises
    ------
    ValueError
        If a column is missing, or a population of a pathway is missing in a trial.

    Examples
    --------
    >>> import pandas as pd
    >>> counts = pd.DataFrame({
    ...     "trial": 0, "population": ["S", "F1", "F2", "C", "B1", "B0"],
    ...     "pathway": ["afferent", "forward", "forward", "afferent", "backward", "backward"],
    ...     "layer": [0, 1, 2, 2, 1, 0], "n_cells": [10, 20, 5, 5, 20, 10],
    ...     "spikes": [8, 6, 1, 0, 0, 0], "synapses": [200, 100, 0, 100, 200, 0],
    ...     "synaptic_events": [160, 30, 0, 0, 0, 0]})
    >>> trials = pd.DataFrame({"trial": [0], "learn": 0.0})
    >>> energy_per_trial(counts, trials).loc[0, ["pathway", "spikes", "accumulates", "energy_nJ"]]
    pathway        forward
    spikes              15
    accumulates        204
    energy_nJ       0.1836
    Name: 0, dtype: object
    """
    columns = [
        "trial", "population", "pathway", "layer", "n_cells", "spikes", "synapses",
        "synaptic_events",
    ]
    counts = plain(counts, columns, "counts")
    counts, _ = grouped_by(counts, trials, ["learn"])
    phase = ["phase"] if "phase" in counts or "phase" in trials else []
    counts, _ = grouped_by(counts, trials, phase)
    replica = ["replica"] if "replica" in counts else []
    keys = [*replica, "trial"]
    if counts.duplicated([*keys, "population"]).any():
        raise ValueError("counts has a population twice in a trial: tell its rows apart by replica")
    stimulus = counts["population"].isin(["S", "S_high"])  # one, or two streams
    counts["forward"] = (counts["pathway"] == "forward") | stimulus
    # The stimulus is the first layer of its pathway, the concept that of the other.
    counts["stage"] = np.where(counts["forward"], counts["layer"], -counts["layer"])
    counts = counts.sort_values([*keys, "forward", "stage"], kind="stable")
    pathway = counts.groupby([*keys, "forward"], sort=False)
    stages = counts.drop_duplicates([*keys, "forward", "stage"])
    stages = stages.groupby([*keys, "forward"], sort=False)["stage"]
    if not stages.diff().dropna().eq(1).all() or not stages.size().ge(2).all():
        raise ValueError("counts lacks a layer of a pathway in some trial: pass all populations")
    learns = counts["learn"] > 0
    weights = counts["synapses"]
    first = pathway["stage"].transform("min") == counts["stage"]
    last = pathway["stage"].transform("max") == counts["stage"]
    memories = np.where(first | last, 0, 2 * memory_slots * counts["n_cells"])
    # The last populations project to no cell, and their partners, afferents, have no dendrites.
    counts["accumulates"] = np.where(last, 0, counts["synaptic_events"] + counts["spikes"])
    counts["multiply_accumulates"] = np.where(learns, weights + memories, 0)
    passes = np.where(learns, np.where(first, 2, 3), 1)
    counts["dense_multiply_accumulates"] = weights * passes
    sums = ["spikes", "accumulates", "multiply_accumulates", "dense_multiply_accumulates"]
    table = counts.groupby([*phase, "trial", *replica, "forward"], dropna=False)[sums].sum()
    table = table.reset_index()
    order = ["trial", *replica, "forward"]
    ascending = [True] * (len(order) - 1) + [False]
    table = table.sort_values(order, ascending=ascending, ignore_index=True)
    table["forward"] = np.where(table["forward"], "forward", "backward")
    table = table.rename(columns={"forward": "pathway"})
    energy = ACCUMULATE_PJ * table["accumulates"]
    energy += MULTIPLY_ACCUMULATE_PJ * table["multiply_accumulates"]
    table.insert(table.columns.get_loc("multiply_accumulates") + 1, "energy_nJ", 1e-3 * energy)
    dense = MULTIPLY_ACCUMULATE_PJ * table["dense_multiply_accumulates"]
    return table.assign(dense_energy_nJ=1e-3 * dense)

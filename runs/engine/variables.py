"""What goes into a simulation and what comes out of it, device by device the same."""

import numpy as np

from bsd.networks import CONTROL_COLUMNS

__all__ = ["check_inputs", "input_specs", "output_columns", "output_names"]

#: Recorded variables: per trial (rows are trials), per event, per time step; last, whether the
#: run came to its end (1) or was interrupted.
_OUTPUTS = (
    "trial_cells.n_s",
    "trial_cells.u",
    "trial_afferents.n_s",
    "trial_cosine.C",
    "trial_cosine.attract",
    "trial_cosine.repel",
    "cell_spikes.i",
    "cell_spikes.t",
    "afferent_spikes.i",
    "afferent_spikes.t",
    "probe_voltages.v_s",
    "probe_voltages.v_b",
    "probe_voltages.v_a",
    "afferents.finished",
)


def output_names(network):
    """Names of what a simulation gives back, ``"object.variable"``; the state comes last."""
    probed = (f"probe_voltages.{name}" for name in network.probe_variables)
    return [*_OUTPUTS, *probed, *network.state_sizes]


def output_columns(network):
    """Row lengths of the outputs that hold one row per sample.

    Parameters
    ----------
    network : BidirectionalNetwork

    Returns
    -------
    dict of str to int
        By the part of the output's name before the dot.
    """
    layout = network.layout
    return {
        "trial_cells": layout.n_cells,
        "trial_afferents": layout.n_afferents,
        "trial_cosine": len(layout.populations),
        "probe_voltages": len(network.probes),
    }


def input_specs(network):
    """Size and dtype of everything that a simulation takes in.

    Parameters
    ----------
    network : BidirectionalNetwork

    Returns
    -------
    dict of str to (int, numpy.dtype)
        Keys ``"object.variable"``, the trial table as ``"drive.values"`` and
        ``"control.values"``.
    """
    real = np.dtype(network.precision)
    integer = np.dtype(np.int32)
    specs = {}
    for name, value in {**network.values(), **network.initial_state(0)}.items():
        kind = integer if np.asarray(value).dtype.kind == "i" else real
        specs[name] = (np.size(value), kind)
    for name in ("memory.n_slots", "afferents.n_trials"):
        specs[name] = (1, integer)
    specs["normaliser.K"] = (1, real)
    specs["afferents.key"] = (network.layout.n_afferents, integer)
    rows = network.capacity + 1
    specs["drive.values"] = (rows * network.layout.n_afferents, np.dtype(np.float64))
    columns = network.layout.replicas * len(CONTROL_COLUMNS)
    specs["control.values"] = (rows * columns, np.dtype(np.float64))
    return specs


def check_inputs(specs, inputs):
    """Cast inputs to the dtype of their variable; refuse wrong names, sizes and values.

    Raises
    ------
    ValueError
        A size or name does not match, or a value is not finite: Brian2's standalone programs
        would go on with the old values.
    """
    missing, unknown = specs.keys() - inputs.keys(), inputs.keys() - specs.keys()
    if missing or unknown:
        raise ValueError(f"simulation inputs: missing {sorted(missing)}, unknown {sorted(unknown)}")
    checked = {}
    for name, value in inputs.items():
        size, dtype = specs[name]
        array = np.ravel(np.asarray(value))
        if array.size != size:
            raise ValueError(f"{name}: {array.size} values given, {size} needed")
        array = array.astype(dtype)
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name}: contains NaN or infinite values")
        checked[name] = array
    return checked

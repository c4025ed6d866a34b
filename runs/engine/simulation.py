"""Run a trial table in chunks, carrying the network's state from one chunk to the next."""

import time
from collections.abc import Mapping

import numpy as np

from bsd.equations.errors import InputError, NotFiniteError
from bsd.networks.receptive_fields import image_shape
from bsd.runs.engine.devices import simulator
from bsd.runs.engine.recording import Recording
from bsd.runs.trials import concept_encodings, replica_tables, trial_arrays

__all__ = ["Simulation", "check_dataset", "check_outputs", "cut", "trial_inputs"]


class Simulation:
    """A network, its data and its present state.

    Parameters
    ----------
    network : BidirectionalNetwork
    dataset : DataSet
        Its images must have as many pixels as the network has stimulus afferents.
    device : {'cpp', 'cuda', 'runtime'}
        C++ or CUDA standalone (compiled at the first use of a structure), or NumPy in this
        process.
    seed : int or sequence of int
        Of initial weights, spike phases and stimulus transforms; one for each replica, or the
        first of consecutive ones.
    progress : callable, optional
        ``progress(stage, done, total)`` while compiling.

    Attributes
    ----------
    state : dict of str to ndarray
        Weights, memories, slot pointer, context and what else is carried; `restore` replaces them.
    run_s : float
        Seconds spent simulating.

    Raises
    ------
    InputError
        If the data do not fit the network.
    """

    def __init__(self, network, dataset, device="cpp", seed=0, progress=None):
        check_dataset(network, dataset)
        self.network = network
        self.dataset = dataset
        self.simulator = simulator(network, device, progress)
        self.seeds = network.seeds(seed)
        self.state = network.initial_state(self.seeds)
        self._fixed = {**network.values(), **network.encoder_keys(self.seeds)}
        self.run_s = 0.0

    def restore(self, state):
        """Go on from a state.

        Raises
        ------
        InputError
            If its arrays do not fit the network.
        """
        for name, value in self.state.items():
            if name not in state or np.shape(state[name]) != np.shape(value):
                raise InputError(
                    f"the saved {name} does not fit the network "
                    f"({np.shape(state.get(name))} instead of {np.shape(value)}): "
                    "use the layers and memory slots that it was saved with."
                )
        for name, value in self.state.items():
            if np.asarray(state[name]).dtype.kind != value.dtype.kind or not np.isfinite(
                state[name]
            ).all():
                raise InputError(
                    f"the saved {name} holds other values than finite numbers of type "
                    f"{value.dtype}: it is damaged, or was not saved by this package."
                )
        self.state = {name: np.array(state[name]) for name in self.state}

    def chunks(self, table, progress=None):
        """Run a table, chunk by chunk.

        Parameters
        ----------
        table : DataFrame
            Trial table; with a column ``replica``, one for each replica.
        progress : callable, optional
            Called with the number of finished trials of the table.

        Yields
        ------
        Recording
        """
        network = self.network
        tables = replica_tables(
            table, self.dataset, len(concept_encodings(network, self.dataset)),
            network.layout.replicas,
        )
        for start in range(0, len(tables[0]), network.capacity):
            stop = start + network.capacity
            pieces = [own.iloc[start:stop].reset_index(drop=True) for own in tables]
            report = (lambda n, start=start: progress(start + n)) if progress else None
            yield self._chunk(pieces, report)

    def run(self, table, progress=None):
        """Run a table and join its recordings; see `chunks`.

        Returns
        -------
        Recording
        """
        return Recording.join(list(self.chunks(table, progress)))

    def _chunk(self, pieces, progress):
        inputs = {
            **self._fixed,
            **self.state,
            **trial_inputs(self.network, self.dataset, pieces, self.seeds),
        }
        start = time.perf_counter()
        outputs = self.simulator.run(inputs, len(pieces[0]), progress)
        self.run_s += time.perf_counter() - start
        check_outputs(self.network, outputs, pieces)
        self.state = {name: outputs.pop(name) for name in self.state}
        return Recording.from_outputs(self.network, pieces, outputs)

    def weights(self, replica=0):
        """Present weights of a replica.

        Returns
        -------
        dict of str to ndarray
            ``W0`` .. and ``Theta0`` .., each (n_pre, n_post); copies.

        Raises
        ------
        InputError
            If there is no such replica.
        """
        return {
            p.name: np.array(p.matrix(self.state[f"{p.synapses}.w"]))
            for p in self._projections(replica)
        }

    def carried(self, replica=0):
        """Present values of what the cells carry from trial to trial, besides weights.

        Returns
        -------
        dict of str to ndarray
            As `BidirectionalNetwork.carried` names them, ``"cells.NAME"``: one value (SI units) for
            each cell of the replica.

        Raises
        ------
        InputError
            If there is no such replica.
        """
        own = self._cells(replica)
        return {
            f"cells.{name}": self.state[f"cells.{name}_kept"][own] for name in self.network.carried
        }

    def set_carried(self, carried, replica=0):
        """Replace all that `carried` returns.

        Raises
        ------
        InputError
            For other names or sizes.
        """
        own, now = self._cells(replica), self.carried(replica)
        if {name: np.shape(value) for name, value in carried.items()} != {
            name: value.shape for name, value in now.items()
        }:
            raise InputError(
                f"carried: give {', '.join(now) or 'nothing'}, {own.sum()} values each, as the "
                "method carried returns them."
            )
        for name, value in carried.items():
            kept = np.array(self.state[f"{name}_kept"])
            kept[own] = value
            self.state[f"{name}_kept"] = kept

    def _cells(self, replica):
        self._projections(replica)  # refuses a replica that is none
        return self.network.layout.per_cell(lambda p: p.replica == replica, bool)

    def _projections(self, replica):
        if replica not in range(self.network.layout.replicas):
            raise InputError(
                f"replica = {replica!r}: the network has {self.network.layout.replicas}, from 0."
            )
        return [p for p in self.network.layout.projections if p.source.replica == replica]

    def set_weights(self, weights, replica=0):
        """Replace weights of a replica; the counterpart of `weights`.

        Parameters
        ----------
        weights : dict of str to array_like
            Some or all of ``W0`` .. and ``Theta0`` .., each (n_pre, n_post).
        replica : int

        Raises
        ------
        InputError
            For an unknown projection or replica, another shape, or values that are not finite; then
            no weight is replaced.
        """
        if not isinstance(weights, Mapping):
            raise InputError("weights: give them by projection, as {'W0': array}.")
        bound = self.network.parameters.learning.weight_max
        known = {p.name: p for p in self._projections(replica)}
        state = {}
        for name, values in weights.items():
            if name not in known:
                raise InputError(f"weights {name!r}: the network has {', '.join(known)}.")
            projection, values = known[name], np.asarray(values)
            if values.shape != projection.shape:
                raise InputError(
                    f"weights {name} have shape {values.shape}, the network's {projection.shape}: "
                    "use the layers that they were saved with."
                )
            if (
                values.dtype.kind not in "fiub"
                or not np.isfinite(values).all()
                or np.abs(values).max(initial=0) > bound * (1 + np.finfo(np.float32).eps)
            ):
                raise InputError(
                    f"weights {name}: give finite numbers of at most learning.weight_max = {bound}."
                )
            if values[~self.network.connectivity(projection)].any():
                raise InputError(
                    f"weights {name} are not 0 outside the receptive fields: use the "
                    "encoding.receptive_field and deep_field that they were saved with."
                )
            key = f"{projection.synapses}.w"
            state.setdefault(key, np.array(self.state[key]))
            state[key][projection.synapse_slice] = projection.of_synapses(values)
        self.state |= state  # all or none


def check_dataset(network, dataset):
    """Refuse a data set that does not fit the network.

    Raises
    ------
    InputError
        For another number of pixels or concepts, pixels that are no square where the network has
        receptive fields or afferents of contrasts, or codes of another size.
    """
    if not hasattr(dataset, "image_shape"):
        raise InputError(
            f"{type(dataset).__name__} {str(dataset)[:40]!r} is no data set: give one, as "
            "load('digits')."
        )
    n_pixels = int(np.prod(dataset.image_shape))
    if network.n_stimulus != n_pixels:
        raise InputError(
            f"{dataset.name} has {n_pixels} pixels, the network {network.n_stimulus} "
            f"stimulus afferents: use layers = [{n_pixels}, ..., {dataset.n_concepts}]."
        )
    encoding = network.parameters.encoding
    local = {
        "receptive_field": network.fields.local, "contrast": encoding.contrast,
        "cutoff": encoding.cutoff,
    }
    shape = (*dataset.image_shape, 1)[:3]
    if any(local.values()) and shape != image_shape(n_pixels):
        names = ", ".join(f"encoding.{name}" for name, used in local.items() if used)
        raise InputError(
            f"{dataset.name} has stimuli of {'x'.join(map(str, dataset.image_shape))}, which are "
            f"no square images: set {names} to 0, or crop them."
        )
    codes = getattr(dataset, "codes", None)
    if codes is not None and not network.is_autoencoder:
        raise InputError(
            f"{dataset.name} has codes, the network is no autoencoder: leave them out."
        )
    if network.is_autoencoder:
        if codes is not None and codes.shape[1] != network.layout.layers[-1]:
            raise InputError(
                f"{dataset.name} has codes of {codes.shape[1]} cells, the network "
                f"{network.layout.layers[-1]}: use those of a network with these layers."
            )
    elif network.n_concepts != dataset.n_concepts:
        raise InputError(
            f"{dataset.name} has {dataset.n_concepts} concepts, the network "
            f"{network.n_concepts}: end layers with {dataset.n_concepts}."
        )


def trial_inputs(network, dataset, tables, seeds):
    """What a chunk's trials put into a simulation, besides parameters and state.

    Parameters
    ----------
    tables : list of DataFrame
        Checked trial table of each replica, at most ``network.capacity`` rows.
    seeds : list of int
        Of the stimulus transforms, one for each replica.

    Returns
    -------
    dict of str to ndarray or int
        Keys ``"object.variable"``.

    """
    drive, control = trial_arrays(tables, dataset, network, seeds)
    return {
        "drive.values": drive,
        "control.values": control,
        "afferents.n_trials": len(tables[0]),
    }


def check_outputs(network, outputs, tables):
    """Refuse outputs of a simulation that are incomplete, or that diverged.

    Parameters
    ----------
    network : BidirectionalNetwork
    outputs : dict of str to ndarray
        What a simulator returned; only what is there is checked.
    tables : list of DataFrame
        The trials, of each replica.

    Raises
    ------
    NotFiniteError
        If values are NaN or infinite; the trial and the population are named.
    RuntimeError
        If values are missing.
    """
    trials = tables[0]["trial"].to_numpy()
    span = f"trials {trials[0]} to {trials[-1]}"
    for name in _incomplete(network, outputs, tables):
        if name.endswith("_spikes") and network.changed_equations:
            raise InputError(
                f"{name} of {span} are not the spikes of the recorded trials: changed equations "
                f"({', '.join(network.changed_equations)}) must take `recording` from the trial "
                "table (its column record), and count each spike once in n_s."
            )
        raise RuntimeError(
            f"the simulation of {span} left {name} incomplete: is the disk of temporary files "
            "($TMPDIR) full? Make room, then go on with --resume."
        )
    # what is per trial says where it began, so it comes first
    for name, value in sorted(outputs.items(), key=lambda item: not item[0].startswith("trial_")):
        if value.dtype.kind != "f" or np.isfinite(value).all():
            continue
        where, when = name, f"in {span}"
        if name.startswith("trial_"):
            row = np.flatnonzero(~np.isfinite(value).all(axis=1))[0]
            column = np.flatnonzero(~np.isfinite(value[row]))[0]
            where, when = _owner(network, name, column), f"in trial {trials[row]}"
        elif name.endswith(".w"):
            first = np.flatnonzero(~np.isfinite(value))[0]
            where = next(
                f"{p.name}, replica {p.source.replica}"
                for p in network.layout.projections
                if f"{p.synapses}.w" == name and p.synapse_slice.start <= first
                and first < p.synapse_slice.stop
            )
        raise NotFiniteError(
            f"{where} became NaN or infinite {when}: try smaller learning rates (learning.eta, "
            "learning.eta_top), or look at changed equations."
        )


def _incomplete(network, outputs, tables):
    """Names of outputs that are shorter than the trials make them."""
    sizes, n_trials = network.state_sizes, len(tables[0])
    steps = network.parameters.timing.steps
    for name, value in outputs.items():
        if name.startswith("trial_"):
            whole = len(value) == n_trials
        elif name.startswith("probe_"):
            whole = len(value) == n_trials * steps
        elif name in sizes:
            whole = len(value) == sizes[name]
        else:
            whole = len(value) > 0 or name.endswith((".i", ".t"))
        if not whole:
            yield name
    dt = float(network.parameters.timing.dt)
    for of, populations in (
        ("cell", network.layout.populations), ("afferent", network.layout.afferents)
    ):
        counts = outputs[f"trial_{of}s.n_s"]
        counted = sum(
            counts[tables[p.replica]["record"].to_numpy(bool), p.cells].sum() for p in populations
        )
        i, t = outputs[f"{of}_spikes.i"], outputs[f"{of}_spikes.t"]
        if len(i) != len(t) or np.count_nonzero(np.rint(t / dt) < n_trials * steps) != counted:
            yield f"{of}_spikes"


def _owner(network, name, column):
    """Population of a column of a per-trial output."""
    if name.startswith("trial_cosine."):
        found = network.layout.populations[column]
    else:
        of = network.layout.populations if "cells" in name else network.layout.afferents
        found = next(p for p in of if p.cells.start <= column < p.cells.stop)
    replica = f", replica {found.replica}" if network.layout.replicas > 1 else ""
    return f"{name} of population {found.name}{replica}"


def cut(table, capacity):
    """Chunks of a table: at most `capacity` trials, of one epoch and phase.

    Returns
    -------
    list of (int, int)
        First row and one past the last row of each chunk.
    """
    block = (table["epoch"].diff().ne(0) | table["phase"].ne(table["phase"].shift())).cumsum()
    pieces = []
    for _, rows in table.groupby(block.to_numpy(), sort=False):
        first, last = rows.index[0], rows.index[-1] + 1
        pieces += [(s, min(s + capacity, last)) for s in range(first, last, capacity)]
    return pieces

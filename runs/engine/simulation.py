"""Run a trial table in chunks, carrying the network's state from one chunk to the next."""

import time

import numpy as np

from bsd.equations.errors import InputError
from bsd.runs.engine.devices import simulator
from bsd.runs.engine.recording import Recording
from bsd.runs.trials import replica_tables, trial_arrays

__all__ = ["Simulation", "check_dataset", "check_finite", "cut", "trial_inputs"]


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
        Weights, memories, slot pointer and context; `restore` replaces them.
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
        tables = replica_tables(table, self.dataset, network.n_concepts, network.layout.replicas)
        for start, stop in cut(tables[0], network.capacity):
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
        check_finite(outputs, pieces[0])
        self.state = {name: outputs.pop(name) for name in self.state}
        return Recording.from_outputs(self.network, pieces, outputs)

    def weights(self, replica=0):
        """Present weights of a replica.

        Returns
        -------
        dict of str to ndarray
            ``W0`` .. and ``Theta0`` .., each (n_pre, n_post).
        """
        return {
            p.name: np.asarray(self.state[f"{p.synapses}.w"][p.synapse_slice]).reshape(p.shape)
            for p in self.network.layout.projections
            if p.source.replica == replica
        }


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
            For an unknown projection, another shape, or values that are not finite.
        """
        layout, bound = self.network.layout, self.network.parameters.learning.weight_max
        names = [p.name for p in layout.projections if p.source.replica == replica]
        for name, values in weights.items():
            if name not in names:
                raise InputError(f"weights {name!r}: the network has {', '.join(names)}.")
            projection, values = layout.projection(name, replica), np.asarray(values)
            if values.shape != projection.shape:
                raise InputError(
                    f"weights {name} have shape {values.shape}, the network's {projection.shape}: "
                    "use the layers that they were saved with."
                )
            if not np.isfinite(values).all() or np.abs(values).max() > bound:
                raise InputError(
                    f"weights {name}: give finite values of at most learning.weight_max = {bound}."
                )
            if values[~self.network.connectivity(projection)].any():
                raise InputError(
                    f"weights {name} are not 0 outside the receptive fields: use the "
                    "encoding.receptive_field that they were saved with."
                )
            key = f"{projection.synapses}.w"
            self.state[key] = np.array(self.state[key])
            self.state[key][projection.synapse_slice] = values.ravel()


def check_dataset(network, dataset):
    """Refuse a data set that does not fit the network.

    Raises
    ------
    InputError
        For another number of pixels or concepts.
    """
    n_pixels = int(np.prod(dataset.image_shape))
    if network.n_stimulus != n_pixels:
        raise InputError(
            f"{dataset.name} has {n_pixels} pixels, the network {network.n_stimulus} "
            f"stimulus afferents: use layers = [{n_pixels}, ..., {dataset.n_concepts}]."
        )
    if network.n_concepts != dataset.n_concepts:
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


def check_finite(outputs, table):
    """Refuse outputs of a simulation that diverged.

    Raises
    ------
    RuntimeError
        If a value is NaN or infinite.
    """
    for name, value in outputs.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            first, last = table["trial"].iloc[0], table["trial"].iloc[-1]
            raise RuntimeError(
                f"{name} became NaN or infinite in trials {first} to {last}: "
                "try smaller learning rates (learning.eta, learning.eta_top)."
            )


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

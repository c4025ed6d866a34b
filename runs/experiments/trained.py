"""Open the results folder of a run: its network with the weights that it learned."""

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from bsd.equations import InputError, ModelParameters, digest, without_comments
from bsd.networks import BidirectionalNetwork
from bsd.networks.describe import runtime_device
from bsd.networks.equation_errors import explained
from bsd.runs.data.datasets import DataSet
from bsd.runs.engine import Simulation
from bsd.runs.experiments.presets import READERS, data_set
from bsd.runs.literals import format_value, parse_literal

__all__ = ["TrainedNetwork", "learned_weights", "open_cohort", "open_run"]


@dataclass(frozen=True)
class TrainedNetwork:
    """What a run learned, ready for new trials.

    Attributes
    ----------
    folder : Path
    config, metrics : dict
        Of the run.
    network : BidirectionalNetwork
    dataset : DataSet
    weights : dict of str to ndarray
        ``W0`` .. and ``Theta0`` .., each (n_pre, n_post).
    seed : int
    replica : int
        Number in its cohort, 0 for a network alone.
    carried : dict of str to ndarray
        See `Simulation.carried`.
    """

    folder: Path
    config: dict
    metrics: dict
    network: BidirectionalNetwork
    dataset: DataSet
    weights: dict
    seed: int
    replica: int = 0
    carried: dict = field(default_factory=dict)

    def simulation(
        self, device="cpp", *, parameters=None, values=None, capacity=None, seed=None,
        progress=None,
    ):
        """A simulation that starts from the learned weights.

        Parameters
        ----------
        device : str
            See `Simulation`.
        parameters : ModelParameters, optional
            Others than those of the run, for example with ``cell.g_apical`` changed.
        values : dict of str to array, optional
            Constants of single cells, see `BidirectionalNetwork`; besides those of `network`.
        capacity : int, optional
            Trials of a chunk.
        seed : int, optional
            Of spike phases and stimulus transforms; that of the run by default.
        progress : callable, optional
            See `Simulation`.
        """
        network = self.network
        if not (parameters is values is capacity is None):
            network = BidirectionalNetwork(
                [*network.cells_per_layer[:-1], network.n_concepts],
                network.parameters if parameters is None else parameters,
                equations=network.changed_equations,
                probe_variables=network.probe_variables,
                values={**network.extra_values, **(values or {})},
                projection=network.projection,
                precision=network.precision,
                capacity=network.capacity if capacity is None else capacity,
            )
        seed = self.seed if seed is None else seed
        simulation = Simulation(network, self.dataset, device, seed, progress)
        simulation.set_weights(self.weights)
        simulation.set_carried(self.carried)
        return simulation


def open_run(folder, replica=None, *, equations=None, values=None):
    """Open a results folder.

    Parameters
    ----------
    folder : path-like
        What a finished run wrote (its ``--out``).
    replica : int, optional
        Which one of a cohort; has to be said there.
    equations, values : dict, optional
        Those of the `Experiment`, if it had some; a folder keeps them to compare and to read, and
        nothing that a file says is run.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    InputError
        If it is no results folder of a finished run, its files do not fit together, or it was made
        with other equations, or on data that are others now.
    """
    with _damage_as_input_error(Path(folder)):
        return _open(Path(folder), replica, equations or {}, values or {})


def _open(folder, replica, equations, values):
    config, metrics, weights, carried = _read(folder, replica)
    cohort = isinstance(config["seed"], list)
    widths = config["layers"]
    texts = {
        key: text[replica] if isinstance(text, list) else text
        for key, text in config["parameters"].items()
    }
    parameters = ModelParameters().updated({k: parse_literal(v) for k, v in texts.items()})
    layers = [*widths[:-1], widths[-1] // parameters.encoding.cells_per_concept]
    network = BidirectionalNetwork(
        layers, parameters, projection=config["projection"], precision=config["precision"],
        equations=equations, values=values,
    )
    _check_equations(folder, config, network)
    kept = config.get("values", {})
    if {name: format_value(value) for name, value in values.items()} != kept:
        raise InputError(
            f"{folder} was made with values={kept}: open it in Python, with open_run(folder, "
            "equations=..., values=...)."
        )
    if list(network.cells_per_layer) != widths:
        raise InputError(
            f"{folder}: encoding.cells_per_concept does not fit the layers {widths}: config.yaml "
            "was changed."
        )
    dataset = data_set(
        config["data"], config["fold"], config.get("folds", 1), config.get("options")
    )
    if config["data"] in READERS and config.get("data_digest") != dataset.digest:
        raise InputError(
            f"{folder}: the data ({dataset.source}) are not those that the network was trained "
            "with: put the earlier file back, or run it again."
            if "data_digest" in config
            else f"{folder} was made by an earlier version, which trained on less of the data: "
            "check out the version that its provenance.json names, or run it again."
        )
    seed = config["seed"][replica] if cohort else config["seed"]
    trained = TrainedNetwork(
        folder, config, metrics, network, dataset, weights, seed, replica or 0, carried
    )
    for projection in network.layout.projections:
        if np.shape(weights.get(projection.name)) != projection.shape:
            raise InputError(
                f"{folder}: the weights {projection.name} do not fit the layers {widths}: the "
                "folder holds files of different runs."
            )
    return trained


def open_cohort(folder, *, equations=None, values=None):
    """Open every network of a results folder.

    Parameters
    ----------
    folder : path-like
        What a finished run wrote (its ``--out``).
    equations, values : dict, optional
        See `open_run`.

    Returns
    -------
    list of TrainedNetwork
        The replicas of a cohort, or the one network of another run.

    Raises
    ------
    InputError
        If it is no results folder of a finished run, or its files do not fit together.
    """
    folder, own = Path(folder), {"equations": equations, "values": values}
    if not (folder / "weights-0.npz").is_file():
        return [open_run(folder, **own)]
    first = open_run(folder, 0, **own)
    others = range(1, len(first.config["seed"]))
    return [first, *(open_run(folder, replica, **own) for replica in others)]


def _check_equations(folder, config, network):
    equations = network.equations
    if config.get("equations") in (None, digest(equations)):  # older versions did not say
        return
    was = json.loads((folder / "provenance.json").read_text()).get("equations")
    if not was:
        cure = "check out the version that its provenance.json names"
    else:
        now, was = without_comments(equations), without_comments(was)
        names = sorted(name for name in was if now.get(name) != was[name])
        if names:
            with runtime_device(), explained(network):
                network.create()
            names = [name for name in names if name in network.equations.read]
        if not names:  # the run did without the strings that a later version added or changed
            return
        cure = f"give {', '.join(names)} the text that its provenance.json holds"
        if config.get("changed_equations"):
            cure += " (in Python, open_run(folder, equations=..., values=...))"
    raise InputError(
        f"{folder} was made with other equations than these: {cure}, or run it again."
    )


def learned_weights(folder, replica=None, *, network=None):
    """Weights that a run learned.

    Parameters
    ----------
    folder : path-like
        What a finished run wrote (its ``--out``).
    replica : int, optional
        Which one of a cohort; has to be said there.
    network : BidirectionalNetwork, optional
        Refuse weights that were learned with other equations than its own.

    Returns
    -------
    dict of str to ndarray
        ``W0`` .. and ``Theta0`` .., each (n_pre, n_post).

    Raises
    ------
    InputError
        If it is no results folder of a finished run, or the equations are others.
    """
    with _damage_as_input_error(Path(folder)):
        config, _, weights, _ = _read(Path(folder), replica)
        if network is not None:
            _check_equations(Path(folder), config, network)
        return weights


def _read(folder, replica):
    """Configuration, metrics, weights of a run, and what else its cells carried."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    metrics = dict(json.loads((folder / "metrics.json").read_text()))
    cohort = isinstance(config["seed"], list)
    n_replicas = len(config["seed"]) if cohort else 1
    if replica not in range(n_replicas) and (cohort or replica is not None):
        raise InputError(
            f"{folder} holds {n_replicas} replicas: name one of 0 to {n_replicas - 1} "
            "(--replica; open_run(folder, replica))."
        )
    name = f"weights-{replica}.npz" if cohort else "weights.npz"
    with np.load(folder / name, allow_pickle=False) as arrays:
        arrays = {key: arrays[key] for key in arrays.files}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise InputError(f"{folder}: {name} holds weights that are not finite: it is damaged.")
    carried = {key: array for key, array in arrays.items() if key.startswith("cells.")}
    return config, metrics, {k: v for k, v in arrays.items() if k not in carried}, carried


@contextmanager
def _damage_as_input_error(folder):
    """What damaged files raise, which is nearly anything: zipfile, zlib, YAML, KeyError, ..."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        runs = sorted(path.parent.name for path in folder.glob("*/config.yaml"))
        several = f"; it holds several runs, name one of them: {', '.join(runs)}" if runs else ""
        raise InputError(
            f"{folder} is no results folder of a finished run ({error}): give the folder that "
            f"`bsd run` wrote{several}."
        ) from None

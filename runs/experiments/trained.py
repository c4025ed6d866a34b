"""Open the results folder of a run: its network with the weights that it learned."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from bsd.equations import InputError, ModelParameters
from bsd.networks import BidirectionalNetwork
from bsd.runs.data import load
from bsd.runs.data.datasets import DataSet
from bsd.runs.engine import Simulation
from bsd.runs.experiments.presets import SEQUENCES
from bsd.runs.literals import parse_literal

__all__ = ["TrainedNetwork", "open_run"]


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
    """

    folder: Path
    config: dict
    metrics: dict
    network: BidirectionalNetwork
    dataset: DataSet
    weights: dict
    seed: int

    def simulation(self, device="cpp", *, parameters=None, values=None, seed=None, progress=None):
        """A simulation that starts from the learned weights.

        Parameters
        ----------
        device : str
            See `Simulation`.
        parameters : ModelParameters, optional
            Others than those of the run, for example with ``cell.g_apical`` changed.
        values : dict of str to array, optional
            Constants of single cells, see `BidirectionalNetwork`.
        seed : int, optional
            Of spike phases and stimulus transforms; that of the run by default.
        progress : callable, optional
            See `Simulation`.
        """
        network = self.network
        if parameters is not None or values is not None:
            network = BidirectionalNetwork(
                [*network.cells_per_layer[:-1], network.n_concepts],
                network.parameters if parameters is None else parameters,
                values=values,
                projection=network.projection,
                precision=network.precision,
                capacity=network.capacity,
            )
        seed = self.seed if seed is None else seed
        simulation = Simulation(network, self.dataset, device, seed, progress)
        simulation.set_weights(self.weights)
        return simulation


def open_run(folder, replica=None):
    """Open a results folder.

    Parameters
    ----------
    folder : path-like
        What a finished run wrote (its ``--out``).
    replica : int, optional
        Which one of a cohort; has to be said there.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    InputError
        If it is no results folder of a finished run, or its files do not fit together.
    """
    folder = Path(folder)
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        metrics = json.loads((folder / "metrics.json").read_text())
        cohort = isinstance(config["seed"], list)
        n_replicas = len(config["seed"]) if cohort else 1
        if replica not in range(n_replicas) and (cohort or replica is not None):
            raise InputError(
                f"{folder} holds {n_replicas} replicas: name one of 0 to {n_replicas - 1} "
                "(--replica; open_run(folder, replica))."
            )
        name = f"weights-{replica}.npz" if cohort else "weights.npz"
        with np.load(folder / name, allow_pickle=False) as arrays:
            weights = {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        runs = sorted(path.parent.name for path in folder.glob("*/config.yaml"))
        several = f"; it holds several runs, name one of them: {', '.join(runs)}" if runs else ""
        raise InputError(
            f"{folder} is no results folder of a finished run ({error}): give the folder that "
            f"`bsd run` wrote{several}."
        ) from None
    texts = {
        key: text[replica] if isinstance(text, list) else text
        for key, text in config["parameters"].items()
    }
    parameters = ModelParameters().updated({k: parse_literal(v) for k, v in texts.items()})
    cells = parameters.encoding.cells_per_concept
    layers = [*config["layers"][:-1], config["layers"][-1] // cells]
    network = BidirectionalNetwork(
        layers, parameters, projection=config["projection"], precision=config["precision"]
    )
    folds = config.get("folds", 1)
    if config["data"] in SEQUENCES:
        dataset = SEQUENCES[config["data"]](**config["options"], name=config["data"])
    else:
        dataset = load(config["data"], config["fold"]) if folds > 1 else load(config["data"])
    seed = config["seed"][replica] if cohort else config["seed"]
    trained = TrainedNetwork(folder, config, metrics, network, dataset, weights, seed)
    for projection in network.layout.projections:
        if np.shape(weights.get(projection.name)) != projection.shape:
            raise InputError(
                f"{folder}: the weights {projection.name} do not fit the layers {layers}: the "
                "folder holds files of different runs."
            )
    return trained

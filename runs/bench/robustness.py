"""How well decisions stand disturbances, beside backpropagation on the same network."""

import numpy as np
import pandas as pd

from bsd.runs.bench.learning import train_all
from bsd.runs.trials import test_trials

__all__ = ["DISTURBANCES", "disturbed_accuracy", "measure_robustness", "summarise_robustness"]

#: Kinds of disturbance and their strengths: the SD of normal noise on each pixel, the share of
#: pixels that are dark, the share of the stimulus cells' spikes that are lost, and the SD of normal
#: noise on each weight in units of the SD of its projection's weights.
DISTURBANCES = {
    "noise": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    "occlusion": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8),
    "loss": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8),
    "weight_noise": (0.0, 0.1, 0.2, 0.4, 0.6, 0.8),
}


def measure_robustness(
    experiment, seeds, *, torch_python=None, n_train=None, finished=None, save=None, progress=None
):
    """Train the streaming rule and backpropagation, then disturb the test stimuli or the weights.

    Neither sees a disturbance while it learns, other than the experiment's stimulus shifts.

    Parameters
    ----------
    experiment, seeds, torch_python, n_train, finished, save, progress
        See `bsd.runs.bench.learning.measure_learning`.

    Returns
    -------
    DataFrame
        Columns method, seed, kind, level (see `DISTURBANCES`), accuracy and learning_rate
        (of backpropagation).
    """
    pairs = [(kind, level) for kind, levels in DISTURBANCES.items() for level in levels]

    def own(method, seed, dataset, simulation, right):
        return disturbed_accuracy(simulation, seed).assign(
            method=method, seed=seed, learning_rate=np.nan
        )

    def baseline(method, seed, dataset, result, rate):
        frame = pd.DataFrame(result["perturbed"], columns=["kind", "level", "accuracy"])
        return frame.assign(method=method, seed=seed, learning_rate=rate)

    return train_all(
        experiment, seeds, ({"streaming": {}}, own), (("bp",), baseline),
        torch_python=torch_python, n_train=n_train, finished=finished, save=save,
        progress=progress, perturbations=pairs,
    )


def disturbed_accuracy(simulation, seed):
    """Share of right decisions about the test stimuli under each disturbance.

    All levels of a kind use the same random numbers. The weights are left as they were.

    Parameters
    ----------
    simulation : Simulation
        Trained, of one network.
    seed : int
        Of the noise on the weights.

    Returns
    -------
    DataFrame
        Columns kind, level and accuracy.
    """
    table, weights = test_trials(simulation.dataset), simulation.weights()
    bound = simulation.network.parameters.learning.weight_max

    def right(**columns):
        return float(simulation.run(table.assign(**columns)).trials["correct"].astype(float).mean())

    rows, undisturbed = [], right()
    for kind, levels in DISTURBANCES.items():
        for level in levels:
            if level == 0:
                accuracy = undisturbed
            elif kind == "weight_noise":
                noisy = _noisy_weights(simulation.network, weights, level, seed)
                simulation.set_weights({n: w.clip(-bound, bound) for n, w in noisy.items()})
                accuracy = right()
                simulation.set_weights(weights)
            else:
                accuracy = right(**{kind: level, "mask": "random"})
            rows.append({"kind": kind, "level": level, "accuracy": accuracy})
    return pd.DataFrame(rows)


def _noisy_weights(network, weights, level, seed):
    """Weights with normal noise where there are synapses."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x6E6F6973])))
    noisy = {}
    for name, w in weights.items():
        there = network.connectivity(network.layout.projection(name))
        noise = generator.standard_normal(w.shape)
        noisy[name] = w + level * w[there].std() * there * noise
    return noisy


def summarise_robustness(frame):
    """Means over seeds.

    Parameters
    ----------
    frame : DataFrame
        From `measure_robustness`.

    Returns
    -------
    dict
        ``levels`` by kind; ``accuracy`` and ``accuracy_sd`` by method and kind, a list along the
        levels; ``advantage_points`` by kind, ours minus backpropagation, None without PyTorch.
    """
    cells = frame.groupby(["method", "kind", "level"], sort=False)["accuracy"]
    mean, sd = cells.mean(), cells.std()
    levels = {kind: own["level"].unique().tolist() for kind, own in frame.groupby("kind")}

    def lists(values, method):
        return {
            kind: [None if pd.isna(v) else float(v) for v in values[method, kind][own]]
            for kind, own in levels.items()
        }

    methods = frame["method"].unique()
    accuracy = {method: lists(mean, method) for method in methods}
    advantage = None
    if "bp" in accuracy:
        advantage = {
            kind: (100 * np.subtract(accuracy["streaming"][kind], accuracy["bp"][kind])).tolist()
            for kind in levels
        }
    return {
        "levels": levels,
        "accuracy": accuracy,
        "accuracy_sd": {method: lists(sd, method) for method in methods},
        "advantage_points": advantage,
        "seeds": [int(seed) for seed in frame["seed"].unique()],
    }

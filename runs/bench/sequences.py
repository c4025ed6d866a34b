"""Forecasts and next characters beside backpropagation through the same recurrent network."""

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bsd.runs.bench.torch_process import TorchProcess, network_constants, write_sequence
from bsd.runs.experiments.run import build_network, load_data, run_experiment

__all__ = ["GRID", "LOSSES", "measure_sequence"]

#: Learning rates and losses from which the validation part chooses.
GRID = (1e-3, 3e-3, 1e-2)
LOSSES = {"series": ("value", "code"), "text": ("symbol",)}


def measure_sequence(experiment, seeds, torch_python=None, progress=None):
    """Errors of the streaming rule and of backpropagation on a sequence.

    Network, encoding, segments and epochs are those of the experiment for both. The gradient of
    backpropagation stops at the present presentation, as learning does in the streaming rule.

    Parameters
    ----------
    experiment : Experiment
        On a sequence.
    seeds : sequence of int
    torch_python : str, optional
        Without it, backpropagation is left out.
    progress : callable, optional
        ``progress(run, stage, done, total, text)``.

    Returns
    -------
    DataFrame
        Columns method, seed, measure (``mean squared error`` or ``share of wrong symbols``),
        error, learning_rate and loss (of backpropagation).
    """
    progress = progress or (lambda *_: None)
    text = experiment.data == "text"
    measure = "share of wrong symbols" if text else "mean squared error"
    rows = []

    def add(method, seed, error, **chosen):
        rows.append({"method": method, "seed": seed, "measure": measure, "error": error, **chosen})

    with tempfile.TemporaryDirectory(prefix="bsd-") as scratch:
        for seed in seeds:
            name = f"streaming, seed {seed}"
            metrics = run_experiment(
                experiment, Path(scratch) / f"seed{seed}", seed=seed,
                progress=lambda *event, name=name: progress(name, *event),
            )
            add("streaming", seed, 1 - metrics["accuracy"] if text else metrics["mse"])
        simple = ("trigram_accuracy",) if text else ("mse_mean", "mse_persistence", "mse_seasonal")
        for key in simple:
            add(key, seeds[0], 1 - metrics[key] if text else metrics[key])
        if torch_python:
            for found in _backpropagation(experiment, seeds, torch_python, scratch, progress):
                add("bp", **found)
    return pd.DataFrame(rows)


def _backpropagation(experiment, seeds, python, scratch, progress):
    """Error of each seed, with the learning rate and loss that the validation part chooses."""
    options = experiment.options
    validation = replace(experiment, options=options | {"evaluate": "validation"})
    dataset = load_data(experiment, 0)
    network = build_network(experiment, dataset)
    data = Path(scratch) / "sequence.npz"
    write_sequence(dataset, load_data(validation, 0), network, data)
    request = {
        "task": "sequence",
        "data": str(data),
        "network": network_constants(network),
        "epochs": experiment.epochs,
        "segment": experiment.segment,
    }
    choices = list(itertools.product(GRID, LOSSES[experiment.data]))
    total, done = (len(choices) + len(seeds)) * experiment.epochs, 0

    def count(said):
        nonlocal done
        done += 1
        progress("bp", "run", done, total, f"error {said['error']:.4f}")

    with TorchProcess(python) as torch:
        def error(rate, loss, seed, part):
            asked = {"learning_rate": rate, "loss": loss, "seed": seed, "part": part}
            return torch.ask({**request, **asked}, count)["error"][-1]

        rate, loss = min(choices, key=lambda c: error(*c, seeds[0], "validation"))
        for seed in seeds:
            yield {
                "seed": seed, "error": error(rate, loss, seed, "test"), "learning_rate": rate,
                "loss": loss,
            }

"""Forecasts and next characters beside backpropagation through the same recurrent network."""

import functools
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bsd.analysis.sequences import SIMPLE, forecast_errors, forecast_frame, ngram_accuracy
from bsd.runs.bench.learning import collect
from bsd.runs.bench.torch_process import TorchProcess, network_constants, write_sequence
from bsd.runs.engine import Simulation
from bsd.runs.experiments.run import build_network, load_data
from bsd.runs.trials import join_tables, sequence_trials, test_trials

__all__ = ["GRID", "LOSSES", "measure_sequence", "summarise_sequence"]

#: Learning rates and losses from which the validation part chooses.
GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
LOSSES = {"series": ("value", "code"), "text": ("symbol",)}

#: Methods that learn.
LEARNING = ("streaming", "bp")


def measure_sequence(
    experiment, seeds, *, torch_python=None, finished=None, save=None, progress=None
):
    """Errors of the streaming rule and of backpropagation on a sequence, side by side.

    Network, encoding, segments and epochs are those of the experiment for both. The gradient of
    backpropagation stops at the present presentation, as learning does in the streaming rule; its
    learning rate and loss are those of `GRID` and `LOSSES` that are best on the validation part
    after the last epoch, trained on what lies before it, with the first seed.

    Parameters
    ----------
    experiment : Experiment
        On a sequence.
    seeds : sequence of int
    torch_python : str, optional
        Without it, backpropagation is left out.
    finished : DataFrame, optional
        Rows of the same comparison that are there already; what they hold is not run again.
    save : callable, optional
        ``save(rows)`` with all rows so far, each time a method has finished with a seed.
    progress : callable, optional
        ``progress(run, stage, done, total, text)``.

    Returns
    -------
    DataFrame
        Columns method, seed, measure (``mean squared error`` or ``share of wrong symbols``), error
        (of the test part after the last epoch), learning_rate and loss (of backpropagation). Simple
        forecasts and the trigram model, which have no seed, stand at the first one.
    """
    measure = "share of wrong symbols" if experiment.data == "text" else "mean squared error"
    dataset = load_data(experiment, 0)
    network = build_network(experiment, dataset)
    if torch_python:  # what cannot be compared or chosen on is refused before anything runs
        constants = network_constants(network)
        before = experiment.options | {"evaluate": "validation"}
        validation = load_data(replace(experiment, options=before), 0)
    simple = _simple_errors(experiment, dataset)

    def row(method, seed, error, learning_rate=np.nan, loss=""):
        return pd.DataFrame(
            {
                "method": method, "seed": seed, "measure": measure, "error": error,
                "learning_rate": learning_rate, "loss": loss,
            },
            index=[0],
        )

    def jobs(done, keep, report):
        Simulation(  # compiled once
            network, dataset, progress=lambda *event: report("all", *event, "")
        )

        def streaming(seed):
            keep(row("streaming", seed, _train_streaming(experiment, dataset, seed, report)))

        def backpropagation():
            known = [own.iloc[0] for (method, _), own in done.items() if method == "bp"]
            chosen = (known[0]["learning_rate"], known[0]["loss"]) if known else None
            missing = [seed for seed in seeds if ("bp", seed) not in done]
            for seed, *found in _train_backpropagation(
                experiment, dataset, validation, network, constants, scratch, missing, seeds[0],
                chosen, torch_python, report,
            ):
                keep(row("bp", seed, *found))

        for name, error in simple.items():
            if not any(method == name for method, _ in done):
                keep(row(name, seeds[0], error))
        if torch_python and any(("bp", seed) not in done for seed in seeds):
            yield backpropagation
        for seed in seeds:
            if ("streaming", seed) not in done:
                yield functools.partial(streaming, seed)

    with tempfile.TemporaryDirectory(prefix="bsd-") as scratch:
        return collect(
            [*LEARNING, *simple], jobs, finished=finished, save=save, progress=progress
        )


def _simple_errors(experiment, dataset):
    if experiment.data == "text":
        return {"trigram": 1 - ngram_accuracy(dataset, 3)}
    errors = forecast_errors(dataset.targets.assign(forecast=0.0))
    return {name: errors[f"mse_{name}"] for name in SIMPLE if f"mse_{name}" in errors}


def _train_streaming(experiment, dataset, seed, report):
    """Error of the test part."""
    simulation = Simulation(build_network(experiment, dataset), dataset, seed=seed)
    training = sequence_trials(
        dataset, experiment.epochs, seed, segment=experiment.segment,
        decay=experiment.parameters.learning.decay,
    )
    table = join_tables([*training, test_trials(dataset, experiment.epochs, carry=True)])
    squares, done = [], 0
    for recording in simulation.chunks(table):
        trials = recording.trials
        if trials["phase"].iloc[0] == "test":
            squares.append(_squared_errors(recording, dataset))
        done += len(trials)
        report(f"streaming, seed {seed}", "run", done, len(table), "")
    return float(np.concatenate(squares).mean())


def _squared_errors(recording, dataset):
    """Squared error of each forecast; of symbols 1 for a wrong one, 0 for the right one."""
    if dataset.values is None:
        return 1 - recording.trials["correct"].to_numpy(float)
    found = forecast_frame(recording.evidence, recording.trials, dataset.targets, dataset.values)
    return ((found["forecast"] - found["actual"]) ** 2).to_numpy()


def _train_backpropagation(
    experiment, dataset, validation, network, constants, scratch, seeds, first_seed, chosen,
    python, report,
):
    """Seed, test error, learning rate and loss of each seed."""
    files = {part: str(Path(scratch) / f"{part}.npz") for part in ("test", "validation")}
    write_sequence(dataset, network, files["test"])
    write_sequence(validation, network, files["validation"])
    request = {
        "task": "sequence",
        "network": constants,
        "epochs": experiment.epochs,
        "segment": experiment.segment,
    }
    choices = [] if chosen else list(itertools.product(GRID, LOSSES[experiment.data]))
    total, done = (len(choices) + len(seeds)) * experiment.epochs, 0

    def count(said):
        nonlocal done
        done += 1
        report("bp", "run", done, total, f"error {said['error']:.4f}")

    with TorchProcess(python) as torch:

        def error(rate, loss, seed, part):
            asked = {"learning_rate": rate, "loss": loss, "seed": seed, "data": files[part]}
            return torch.ask({**request, **asked}, count)["error"][-1]

        if not chosen:
            chosen = min(choices, key=lambda c: error(*c, first_seed, "validation"))
        for seed in seeds:
            yield seed, error(*chosen, seed, "test"), *chosen


def summarise_sequence(frame):
    """Errors of the test part, means over seeds.

    Parameters
    ----------
    frame : DataFrame
        From `measure_sequence`.

    Returns
    -------
    dict
        ``measure``; ``error``, ``error_sd`` (None of one seed) by method; ``bp_learning_rate``,
        ``bp_loss`` and ``ratio_to_bp`` (our error over that of backpropagation), None without
        PyTorch; ``best_simple`` (the simple method with the least error) and ``ratio_to_simple``,
        None if that makes no error; ``seeds``.
    """
    by_method = frame.groupby("method", sort=False)["error"]
    error, spread = by_method.mean(), by_method.std()
    simple = error.drop(list(LEARNING), errors="ignore")
    bp = frame[frame["method"] == "bp"]
    return {
        "measure": frame["measure"].iloc[0],
        "error": {method: float(value) for method, value in error.items()},
        "error_sd": {m: None if pd.isna(v) else float(v) for m, v in spread.items()},
        "bp_learning_rate": float(bp["learning_rate"].iloc[0]) if len(bp) else None,
        "bp_loss": bp["loss"].iloc[0] if len(bp) else None,
        "ratio_to_bp": float(error["streaming"] / error["bp"]) if len(bp) else None,
        "best_simple": simple.idxmin(),
        "ratio_to_simple": float(error["streaming"] / simple.min()) if simple.min() else None,
        "seeds": [int(s) for s in frame.loc[frame["method"] == "streaming", "seed"]],
    }

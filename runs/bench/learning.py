"""How well the streaming rule learns, beside other rules on the same network and data."""

import dataclasses
import functools
import json
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd

from bsd.equations import InputError, digest, equation_set
from bsd.runs.bench.torch_process import (
    TorchProcess,
    end_all,
    network_constants,
    write_data,
)
from bsd.runs.engine import Simulation
from bsd.runs.engine.standalone import cores
from bsd.runs.experiments.run import build_network, load_data
from bsd.runs.literals import format_value
from bsd.runs.trials import AUTOENCODER, join_tables, test_trials, training_trials

__all__ = [
    "BASELINES",
    "GRID",
    "OWN",
    "collect",
    "comparison",
    "finished_rows",
    "measure_learning",
    "shuffled",
    "summarise_learning",
    "train_all",
]

#: The streaming rule: method and what differs in its parameters.
OWN = {
    "streaming": {"learning.feedback": "learned"},
    "streaming, fixed feedback": {"learning.feedback": "fixed"},
}
#: Methods of `torch_baselines.py`.
BASELINES = ("bp", "batch_bsd", "feedback_alignment", "frozen")
#: Learning rates from which a validation part of the training set chooses.
GRID = (1e-3, 3e-3, 1e-2, 3e-2)
VALIDATION = 1 / 6
TARGET = 0.95


def comparison(experiment, n_train, grid=GRID):
    """What makes the rows of two calls of a benchmark comparable, as plain values."""
    own = {}
    if experiment.has_options:
        own = {
            "options": experiment.options,
            "segment": experiment.segment,
            "data_digest": load_data(experiment, 0).digest,
        }
    if experiment.values:
        own["values"] = {k: format_value(v) for k, v in experiment.values.items()}
    return {
        "experiment": experiment.name,
        "data": experiment.data,
        "hidden": list(experiment.hidden),
        "epochs": experiment.epochs,
        "shift": experiment.shift,
        "train": n_train,
        "grid": list(grid),
        "parameters": {k: format_value(v) for k, v in experiment.parameters.items()},
        "equations": digest(equation_set(experiment.equations)),
        **own,
    }


def finished_rows(path, settings):
    """Rows that an earlier call left in a folder, so that it goes on where it stopped.

    Parameters
    ----------
    path : Path
        A table beside ``settings.json``, or not there yet.
    settings : dict
        What makes rows comparable, such as `comparison`.

    Returns
    -------
    DataFrame or None

    Raises
    ------
    InputError
        If it is of another comparison.
    """
    known = path.with_name("settings.json")
    if not path.exists():
        return None
    before = json.loads(known.read_text()) if known.exists() else {}
    other = [key for key in sorted({*before, *settings}) if before.get(key) != settings.get(key)]
    if other:
        raise InputError(
            f"{path.parent} holds another comparison, with other {', '.join(other)}: choose a new "
            "folder with --out."
        )
    return pd.read_csv(path)


def measure_learning(
    experiment, seeds, *, methods=None, torch_python=None, n_train=None, finished=None, save=None,
    progress=None,
):
    """Train the streaming rule and the baselines, as many at a time as there are cores.

    Layers, time steps, encoding, stimulus shifts and epochs are those of the experiment for all.
    The learning rate of each baseline is the one of `GRID` that is best on a validation part of
    the training set, with the first seed; it falls along half a cosine over the epochs. The
    parameters of the streaming rule are the experiment's.

    Parameters
    ----------
    experiment : Experiment
    seeds : sequence of int
    methods : sequence of str, optional
        Those to run, of `OWN` and `BASELINES`; all by default.
    torch_python : str, optional
        Without it, the baselines are left out.
    n_train : int, optional
        Use so many training stimuli, chosen at random.
    finished : DataFrame, optional
        Rows of the same comparison that are there already; what they hold is not run again.
    save : callable, optional
        ``save(rows)`` with all rows so far, each time a method has finished with a seed.
    progress : callable, optional
        ``progress(run, stage, done, total, text)``.

    Returns
    -------
    DataFrame
        Columns method, seed, epoch, trials (training trials by then), accuracy (by the output's
        spikes), accuracy_voltage (by its drive, which backpropagation trains), accuracy_train and
        learning_rate (baselines).
    """
    return train_all(
        experiment, seeds, (OWN, _curve_of_streaming), (BASELINES, _curve_of_baseline),
        methods=methods, torch_python=torch_python, n_train=n_train, finished=finished, save=save,
        progress=progress,
    )


def train_all(
    experiment, seeds, own, baselines, *, methods=None, torch_python=None, n_train=None,
    finished=None, save=None, progress=None, **request,
):
    """Train methods on the same data, as many at a time as there are cores.

    Parameters
    ----------
    experiment, seeds, methods, torch_python, n_train, finished, save, progress
        See `measure_learning`.
    own : tuple of (dict, callable)
        Methods of the streaming rule with what differs in their parameters, and
        ``frame(method, seed, dataset, simulation, right)`` of a trained network, see
        `_train_streaming`.
    baselines : tuple of (sequence of str, callable)
        Methods of `torch_baselines.py`, and ``frame(method, seed, dataset, result, rate)`` of what
        the PyTorch process answered.
    **request
        Asked of the PyTorch process besides.

    Returns
    -------
    DataFrame
        All frames, in the order of the methods.

    Raises
    ------
    InputError
        If one of `methods` needs PyTorch, which is missing.
    """
    (own, frame_of_own), (baselines, frame_of_baseline) = own, baselines
    order = [*own, *baselines]
    if methods is not None:
        own = {name: changes for name, changes in own.items() if name in methods}
        baselines = [name for name in baselines if name in methods]
        if baselines and not torch_python:
            raise InputError(f"{', '.join(baselines)}: without PyTorch only ours is measured.")
    dataset = shuffled(load_data(experiment, 0), n_train)
    network = build_network(experiment, dataset)
    if torch_python:
        request.setdefault("network", network_constants(network))

    def jobs(done, keep, report):
        for changes in own.values():  # what is not compiled yet: not in threads
            changed = build_network(experiment.changed(assignments=changes), dataset)
            Simulation(changed, dataset, progress=lambda *event: report("all", *event, ""))
        write_data(dataset, network, data)

        def streaming(method, changed, seed):
            simulation, right = _train_streaming(method, changed, dataset, seed, report)
            keep(frame_of_own(method, seed, dataset, simulation, right))

        def baseline(method):
            missing = [seed for seed in seeds if (method, seed) not in done]
            known = [f["learning_rate"].iloc[0] for (name, _), f in done.items() if name == method]
            asked = {
                "data": str(data),
                "epochs": experiment.epochs,
                "shift": experiment.shift,
                **request,
                "method": method,
            }
            rate = known[0] if known else None
            for seed, *rest in _train_baseline(
                torch_python, asked, dataset, missing, rate, seeds[0], report
            ):
                keep(frame_of_baseline(method, seed, dataset, *rest))

        for method in baselines if torch_python else ():
            if any((method, seed) not in done for seed in seeds):
                yield functools.partial(baseline, method)
        for method, changes in own.items():
            changed = experiment.changed(assignments=changes)
            for seed in seeds:
                if (method, seed) not in done:
                    yield functools.partial(streaming, method, changed, seed)

    with tempfile.TemporaryDirectory(prefix="bsd-") as scratch:
        data = Path(scratch) / "data.npz"
        return collect(
            order, jobs, finished=finished, save=save, progress=progress
        )


def collect(methods, jobs, *, finished=None, save=None, progress=None):
    """Rows of all methods and seeds, those missing computed as many at a time as there are cores.

    Parameters
    ----------
    methods : sequence of str
        In the order of the rows.
    jobs : callable
        ``jobs(done, keep, report)`` yields functions without arguments. `done` maps method and
        seed to the rows that are there; a job calls ``keep(frame)`` with the rows of a method and
        seed, and ``report(run, stage, done, total, text)``.
    finished, save, progress
        See `measure_learning`.

    Returns
    -------
    DataFrame
    """
    lock, stopped = threading.Lock(), threading.Event()
    frames = [] if finished is None else [f for _, f in finished.groupby(["method", "seed"])]
    done = {(f["method"].iloc[0], f["seed"].iloc[0]): f for f in frames}

    def ordered():
        return pd.concat(frames, ignore_index=True).sort_values(
            ["method", "seed"],
            key=lambda column: column.map(methods.index) if column.name == "method" else column,
            kind="stable",
            ignore_index=True,
        )

    def keep(frame):
        with lock:
            frames.append(frame)
            if save:
                save(ordered())

    def report(*event):
        if stopped.is_set():
            raise RuntimeError("another run failed")
        with lock:
            if progress:
                progress(*event)

    with ThreadPoolExecutor(cores()) as pool:
        running = [pool.submit(job) for job in list(jobs(done, keep, report))]
        try:
            for job in as_completed(running):
                job.result()
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise
    return ordered()


def shuffled(dataset, n_train=None):
    """The data set with its training part in random order, or so many of it."""
    order = np.random.Generator(np.random.Philox(0)).permutation(len(dataset.x_train))[:n_train]
    return dataclasses.replace(
        dataset, x_train=dataset.x_train[order], y_train=dataset.y_train[order]
    )


def _train_streaming(method, experiment, dataset, seed, report):
    """A trained simulation, and the share of right decisions by epoch and phase.

    An autoencoder decides nothing, so it is not tested.
    """
    simulation = Simulation(build_network(experiment, dataset), dataset, seed=seed)
    tables, learning = [], experiment.parameters.learning
    for table in training_trials(
        dataset, experiment.epochs, seed, decay=learning.decay, linear=learning.linear_decay,
        shift=experiment.shift,
        source=AUTOENCODER if experiment.is_autoencoder else "stimulus+concept",
    ):
        tables.append(table)
        if not experiment.is_autoencoder:
            tables.append(test_trials(dataset, table["epoch"].iloc[0]))
    table = join_tables(tables)
    parts, done, decided = [], 0, ["correct", "correct_voltage"]
    for recording in simulation.chunks(table):
        parts.append(recording.trials[["epoch", "phase", *decided]])
        done += len(recording.trials)
        report(f"{method}, seed {seed}", "run", done, len(table), "")
    right = pd.concat(parts).astype(dict.fromkeys(decided, float))
    return simulation, right.groupby(["epoch", "phase"])[decided].mean().unstack()


def _curve_of_streaming(method, seed, dataset, simulation, right):
    spikes, voltages = right["correct"], right["correct_voltage"]
    return _curve(method, seed, dataset, spikes["test"], voltages["test"], spikes["train"])


def _train_baseline(python, request, dataset, seeds, rate, search_seed, report):
    """Seed, the process's answer and learning rate, of each seed; without a rate, look for it."""
    method = request["method"]
    epochs = request["epochs"]
    per_epoch = len(dataset.x_train)
    n_runs = len(seeds) + (len(GRID) if rate is None else 0)
    total, done = epochs * n_runs * per_epoch, 0

    def count(progress):
        nonlocal done
        done += per_epoch
        share = progress["accuracy"]
        text = f"{100 * share:.1f} % right" if share >= 0 else f"squared error {-share:.4f}"
        report(method, "run", done, total, text)

    with TorchProcess(python) as torch:
        if rate is None:
            validation = max(1, round(VALIDATION * len(dataset.x_train)))
            search = {"task": "search", "grid": GRID, "validation": validation, "seed": search_seed}
            rate = torch.ask({**request, **search}, count)["learning_rate"]
        for seed in seeds:
            wanted = {"task": "train", "learning_rate": rate, "seed": seed}
            yield seed, torch.ask({**request, **wanted}, count), rate


def _curve_of_baseline(method, seed, dataset, result, rate):
    curves = (result[n] for n in ("test_accuracy", "test_accuracy_drive", "train_accuracy"))
    return _curve(method, seed, dataset, *curves, rate)


def _curve(method, seed, dataset, test, test_voltage, train, learning_rate=None):
    epoch = np.arange(1, len(test) + 1)
    return pd.DataFrame(
        {
            "method": method,
            "seed": seed,
            "epoch": epoch,
            "trials": epoch * len(dataset.x_train),
            "accuracy": np.asarray(test, float),
            "accuracy_voltage": np.asarray(test_voltage, float),
            "accuracy_train": np.asarray(train, float),
            "learning_rate": np.nan if learning_rate is None else learning_rate,
        }
    )


def summarise_learning(curves):
    """Means over seeds after the last epoch.

    Parameters
    ----------
    curves : DataFrame
        From `measure_learning`.

    Returns
    -------
    dict
        ``accuracy``, ``accuracy_sd``, ``accuracy_voltage``, ``accuracy_train``, ``trials_to_95``
        (training trials until the first epoch with so many test decisions right, None where a seed
        never had) and ``learning_rate``, each by method; ``gap_to_bp_points``, backpropagation
        minus ours; ``streaming_minus_batch_points``, ours minus batch-128 BSD; None where one of
        the two was not measured.
    """
    last = curves[curves["epoch"] == curves["epoch"].max()].groupby("method", sort=False)
    accuracy = last["accuracy"].mean()
    reached = curves[curves["accuracy"] >= TARGET].groupby(["method", "seed"])["trials"].min()
    reached = reached.unstack().reindex(index=accuracy.index, columns=curves["seed"].unique())
    ours, bp, batch = map(accuracy.get, ("streaming", "bp", "batch_bsd"))
    return {
        "accuracy": _plain(accuracy),
        "accuracy_sd": _plain(last["accuracy"].std()),
        "accuracy_voltage": _plain(last["accuracy_voltage"].mean()),
        "accuracy_train": _plain(last["accuracy_train"].mean()),
        "trials_to_95": _plain(reached.mean(axis=1, skipna=False)),
        "learning_rate": _plain(last["learning_rate"].mean()),
        "gap_to_bp_points": _points(bp, ours),
        "streaming_minus_batch_points": _points(ours, batch),
        "seeds": [int(seed) for seed in curves["seed"].unique()],
        "epochs": int(curves["epoch"].max()),
    }


def _points(first, second):
    return None if first is None or second is None else float(100 * (first - second))


def _plain(values):
    return {name: None if pd.isna(value) else float(value) for name, value in values.items()}

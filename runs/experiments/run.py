"""Run an experiment: train, test, align, recall; keep everything in a results folder."""

import functools
import json
import multiprocessing
import os
import platform
import queue
import resource
import signal
import subprocess
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from bsd.analysis.measures import paired_similarity, recall_correlation, weight_angle
from bsd.equations import InputError
from bsd.networks import BidirectionalNetwork
from bsd.runs.data import load
from bsd.runs.engine import Simulation
from bsd.runs.engine.simulation import cut
from bsd.runs.engine.store import FRAMES, ResultsFolder
from bsd.runs.literals import format_value
from bsd.runs.trials import (
    alignment_trials,
    check_table,
    join_tables,
    recall_trials,
    test_trials,
    training_trials,
)

__all__ = ["build_network", "experiment_table", "run_experiment", "run_many"]

#: Trials with spikes and voltages kept, for rasters and voltage traces.
N_SHOWN = 3
N_ALIGNMENT = 60


def build_network(experiment, dataset, **options):
    """The network of an experiment.

    Parameters
    ----------
    experiment : Experiment
    dataset : DataSet
    **options
        Of `BidirectionalNetwork`, such as ``capacity``.
    """
    n_pixels = int(np.prod(dataset.image_shape))
    return BidirectionalNetwork(
        [n_pixels, *experiment.hidden, dataset.n_concepts],
        experiment.parameters,
        **options,
    )


def load_data(experiment, fold):
    """The data set of an experiment, a fold of it where it has folds."""
    return load(experiment.data, fold) if experiment.folds > 1 else load(experiment.data)


def experiment_table(experiment, dataset, seed):
    """Trial table of an experiment.

    Alignment is probed before learning and after each epoch, on training stimuli and without
    plasticity; the test set is shown after each epoch, concepts are recalled at the end.

    Returns
    -------
    DataFrame
    """
    tables = [alignment_trials(dataset, 0, N_ALIGNMENT)]
    decay = experiment.parameters.learning.decay
    for table in training_trials(
        dataset, experiment.epochs, seed, decay=decay, shift=experiment.shift
    ):
        epoch = table["epoch"].iloc[0]
        record = N_SHOWN if epoch == experiment.epochs else 0
        tables += [
            table,
            alignment_trials(dataset, epoch, N_ALIGNMENT),
            test_trials(dataset, epoch, record=record),
        ]
    tables.append(recall_trials(dataset.n_concepts, experiment.epochs))
    return check_table(join_tables(tables), dataset, dataset.n_concepts)


def run_experiment(
    experiment, out, *, seed=0, fold=0, device="cpp", resume=False, progress=None, command=None
):
    """Run one experiment with one seed and write its results folder.

    Parameters
    ----------
    experiment : Experiment
    out : path-like
        Results folder.
    seed, fold : int
    device : {'cpp', 'runtime'}
    resume : bool
        Go on from the checkpoint in `out`.
    progress : callable, optional
        ``progress(stage, done, total, text)``; stages ``generate``, ``compile``, ``run``.
    command : str, optional
        What the user typed, for the provenance.

    Returns
    -------
    dict
        The metrics, also in ``metrics.json``.

    Raises
    ------
    InputError
        For whatever the user can mend.
    """
    progress = progress or (lambda *_: None)
    dataset = load_data(experiment, fold)
    network = build_network(experiment, dataset)
    table = experiment_table(experiment, dataset, seed)
    config = configuration(experiment, network, seed, fold, device)
    folder = ResultsFolder(out, config, resume)
    if resume and folder.finished:
        metrics = json.loads((folder.path / "metrics.json").read_text())
        return metrics | {"out": str(folder.path)}  # it may have been moved
    started = datetime.now(UTC)
    simulation = Simulation(
        network, dataset, device, seed,
        progress=lambda stage, done, total: progress(stage, done, total, ""),
    )
    folder.begin()
    pieces = cut(table, network.capacity)
    done, state, times = folder.load_checkpoint()
    times = {"run": 0.0, "train": 0.0, "trained": 0.0} | times
    if state is not None:
        simulation.restore(state)
    right = None
    for number in range(done, len(pieces)):
        first, last = pieces[number]
        text = "" if right is None else f"training {100 * right:.1f} % right"
        chunk = table.iloc[first:last]
        before = simulation.run_s
        recording = simulation.run(
            chunk,
            lambda n, first=first, text=text: progress("run", first + n, len(table), text),
        )
        spent = simulation.run_s - before
        times["run"] += spent
        if chunk["phase"].iloc[0] == "train":
            times["train"] += spent
            times["trained"] += len(chunk)
            right = recording.trials["correct"].astype(float).mean()
        frames = _frames(network, simulation, recording, experiment.epochs)
        folder.save_chunk(number, frames, simulation.state, times)
    progress("run", len(table), len(table), "writing results")
    frames = {name: folder.frame(name, len(pieces)) for name in FRAMES}
    recall = _recall(frames.pop("recalled"), frames["trials"], dataset)
    for name, frame in frames.items():
        folder.write_frame(name, frame)
    folder.write_arrays("recall", **recall)
    folder.write_arrays("weights", **simulation.weights())
    metrics = {
        "name": experiment.name,
        **_accuracies(frames["trials"], experiment.epochs),
        "recall_correlation": _mean(
            pd.Series(recall_correlation(recall["recalled"], recall["class_mean"]))
        ),
        "trials": len(table),
        "ms_per_trial": 1e3 * times["train"] / times["trained"],
        "build_s": simulation.simulator.build_s,
        "create_s": simulation.simulator.create_s,
        "run_s": times["run"],
        "peak_mb": simulation.simulator.peak_mb
        + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "seed": seed,
        "fold": fold,
        "epochs": experiment.epochs,
        "layers": list(network.layout.layers),
        "synapses": network.layout.n_synapses,
        "device": simulation.simulator.device,
        "out": str(folder.path),
    }
    folder.write_json("provenance", _provenance(command, started, simulation))
    folder.write_json("metrics", metrics)
    folder.close()
    return metrics


def configuration(experiment, network, seed, fold, device):
    """Everything that was asked for, quantities as text with their units."""
    return {
        "name": experiment.name,
        "description": experiment.description,
        "data": experiment.data,
        "layers": list(network.layout.layers),
        "epochs": experiment.epochs,
        "shift": experiment.shift,
        "seed": seed,
        "fold": fold,
        "device": device,
        "precision": network.precision,
        "projection": network.projection,
        "parameters": {k: format_value(v) for k, v in experiment.parameters.items()},
    }


def _frames(network, simulation, recording, last_epoch):
    trials = recording.trials
    number, epoch = int(trials["trial"].iloc[-1]), int(trials["epoch"].iloc[-1])
    phase = trials["phase"].iloc[0]
    frames = {
        name: getattr(recording, name)
        for name in ("trials", "counts", "cell_counts", "spikes", "voltages", "cosines", "recalled")
    }
    frames["counts"] = _compact(frames["counts"])
    if phase == "align":
        frames["alignment"] = _alignment(network, recording)
        frames["recalled"] = frames["recalled"].iloc[:0]
        shown = trials["trial"].iloc[: N_SHOWN if epoch == last_epoch else 0]
        for name in ("cell_counts", "spikes", "voltages"):
            frames[name] = frames[name][frames[name]["trial"].isin(shown)]
    if phase == "train" or number < N_ALIGNMENT:
        frames["weight_alignment"] = _weight_alignment(
            network, simulation.weights(), -1 if phase == "align" else number, epoch
        )
    return frames


def _compact(counts):
    for name in ("population", "pathway"):
        counts[name] = counts[name].astype("category")
    for name in ("replica", "layer", "n_cells", "spikes"):
        counts[name] = counts[name].astype(np.int32)
    counts["rate_hz"] = counts["rate_hz"].astype(np.float32)
    return counts


def _alignment(network, recording):
    """Cosine, Hamming similarity and kappa of the paired cells of each hidden layer."""
    trials = recording.trials["trial"].to_numpy()
    timing = network.parameters.timing
    frames = []
    for layer in range(1, network.layout.depth + 1):
        rasters = [
            _raster(recording.spikes, f"{side}{layer}", trials, timing,
                    network.layout.population(f"{side}{layer}").size)
            for side in "FB"
        ]
        similarity = paired_similarity(*rasters)
        cosines = recording.cosines[recording.cosines["layer"] == layer]
        similarity.insert(0, "trial", trials)
        similarity.insert(1, "replica", 0)
        similarity.insert(2, "layer", layer)
        similarity.insert(3, "cosine", cosines.set_index("trial")["cosine"].loc[trials].to_numpy())
        frames.append(similarity)
    return pd.concat(frames, ignore_index=True)


def _raster(spikes, population, trials, timing, size):
    own = spikes[spikes["population"] == population]
    raster = np.zeros((len(trials), timing.steps, size), dtype=bool)
    step = np.rint(own["t_ms"] / (float(timing.dt) * 1e3)).astype(int)
    raster[np.searchsorted(trials, own["trial"]), step, own["cell"]] = True
    return raster


def _weight_alignment(network, weights, trial, epoch):
    return pd.DataFrame(
        {
            "trial": trial,
            "epoch": epoch,
            "layer": layer,
            "angle_deg": weight_angle(weights[f"W{layer}"], weights[f"Theta{layer}"]),
        }
        for layer in range(network.layout.depth + 1)
        if np.any(weights[f"W{layer}"]) and np.any(weights[f"Theta{layer}"])
    )


def _recall(recalled, trials, dataset):
    n_pixels = int(np.prod(dataset.image_shape))
    concepts = trials.set_index("trial")["concept"]
    recalled = recalled.assign(concept=recalled["trial"].map(concepts))
    images = {
        name: recalled.groupby(["concept", "pixel"])[name].mean().to_numpy().reshape(-1, n_pixels)
        for name in ("rate", "drive")
    }
    mean = np.stack(
        [
            dataset.x_train[dataset.y_train == c].mean(axis=0).ravel()
            for c in range(dataset.n_concepts)
        ]
    )
    return {
        "recalled": images["rate"],
        "recalled_drive": images["drive"],
        "class_mean": mean,
        "image_shape": np.array(dataset.image_shape),
    }


def _accuracies(trials, last_epoch):
    last = trials[trials["epoch"] == last_epoch]
    test, train = last[last["phase"] == "test"], last[last["phase"] == "train"]
    return {
        "accuracy": _mean(test["correct"]),
        "accuracy_voltage": _mean(test["correct_voltage"]),
        "ties": _mean(test["percept"] < 0),
        "accuracy_train": _mean(train["correct"]),
    }


def _mean(values):
    """Mean of what is known, None where nothing is (JSON has no NaN)."""
    known = values.dropna().astype(float)
    return float(known.mean()) if len(known) else None


def _provenance(command, started, simulation):
    packages = ("bsd-brian2", "brian2", "numpy", "pandas", "scikit-learn")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "command": command or "Python API",
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **versions},
        "git": _git_revision(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": simulation.simulator.device,
        "build_s": simulation.simulator.build_s,
        "run_s": simulation.run_s,
    }


def _git_revision():
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():  # installed, not cloned
        return None
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here, capture_output=True, text=True, timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None


# ------------------------------------------------------------------ several seeds and folds


def run_many(experiment, out, *, seeds, device="cpp", resume=False, progress=None, command=None):
    """Run every seed and fold of an experiment, as many at a time as there are cores.

    Parameters
    ----------
    progress : callable, optional
        ``progress(run, stage, done, total, text)`` with the name of the run.

    Returns
    -------
    DataFrame
        Metrics, one row per seed and fold.

    Raises
    ------
    InputError
        As `run_experiment`, before anything is compiled where possible.
    RuntimeError
        If one of the runs failed; the others are stopped and can be resumed.
    """
    progress = progress or (lambda *_: None)
    folds = range(experiment.folds)
    runs = {f"seed{seed}-fold{fold}": (seed, fold) for seed in seeds for fold in folds}
    out = Path(out)
    options = {"device": device, "resume": resume, "command": command}
    if len(runs) == 1:
        ((name, (seed, fold)),) = runs.items()
        report = functools.partial(progress, name)
        metrics = run_experiment(
            experiment, out, seed=seed, fold=fold, progress=report, **options
        )
        return pd.DataFrame([metrics])
    build_s = _prepare(experiment, out, runs, device, resume, progress)
    rows = []
    for metrics in _in_processes(experiment, out, runs, options, progress):
        rows.append(metrics)
    metrics = pd.DataFrame(rows).sort_values(["seed", "fold"], ignore_index=True)
    return metrics.assign(build_s=metrics["build_s"].where(metrics["build_s"] > 0, build_s))


def _prepare(experiment, out, runs, device, resume, progress):
    """Check every results folder, then compile once for all; seconds that it took."""
    dataset = load_data(experiment, 0)
    network = build_network(experiment, dataset)
    for name, (seed, fold) in runs.items():
        started = (out / name / "config.yaml").exists()
        config = configuration(experiment, network, seed, fold, device)
        ResultsFolder(out / name, config, resume and started)
    simulation = Simulation(
        network, dataset, device, progress=lambda *event: progress("all", *event, "")
    )
    return simulation.simulator.build_s


def _in_processes(experiment, out, runs, options, progress):
    """Metrics of the runs as they finish, one process for each."""
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    waiting, alive = list(runs.items()), {}
    try:
        while waiting or alive:
            while waiting and len(alive) < len(os.sched_getaffinity(0)):
                name, (seed, fold) = waiting.pop(0)
                resume = options["resume"] and (out / name / "config.yaml").exists()
                alive[name] = context.Process(
                    target=_run_in_process,
                    args=(events, name, experiment, out / name),
                    kwargs={**options, "resume": resume, "seed": seed, "fold": fold},
                )
                alive[name].start()
            try:
                kind, name, content = events.get(timeout=0.5)
            except queue.Empty:
                for name, process in alive.items():
                    if process.exitcode not in (None, 0):
                        raise RuntimeError(
                            f"{name} ended with exit code {process.exitcode}: see its messages "
                            "above, then go on with --resume."
                        ) from None
                continue
            if kind == "progress":
                progress(name, *content)
            elif kind == "error":
                raise content
            else:
                alive.pop(name).join()
                yield content
    finally:
        for process in alive.values():
            process.terminate()
        for process in alive.values():
            process.join()


def _run_in_process(events, name, experiment, out, **options):
    def stop(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides
    signal.signal(signal.SIGTERM, stop)
    last = [0.0]

    def report(stage, done, total, text):
        if time.monotonic() - last[0] > 0.2 or done == total:
            last[0] = time.monotonic()
            events.put(("progress", name, (stage, done, total, text)))

    try:
        events.put(("done", name, run_experiment(experiment, out, progress=report, **options)))
    except KeyboardInterrupt:
        events.cancel_join_thread()
    except (InputError, RuntimeError, OSError, MemoryError) as error:
        events.put(("error", name, error))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to save

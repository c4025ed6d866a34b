"""Run every seed and fold of an experiment, in processes side by side."""

import functools
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bsd.equations import InputError
from bsd.runs.engine import Simulation
from bsd.runs.engine.standalone import cores
from bsd.runs.engine.store import ResultsFolder, write_atomically, write_json
from bsd.runs.experiments.presets import Experiment
from bsd.runs.experiments.run import (
    build_network,
    checked_seeds,
    configuration,
    load_data,
    run_experiment,
)
from bsd.runs.interrupts import check_interrupt, listen_for
from bsd.runs.processes import check_main_guard

__all__ = ["run_many", "summarise"]

#: Measures whose mean over runs is in their summary, besides errors and those of an autoencoder.
AVERAGED = ("accuracy", "accuracy_voltage", "ties", "accuracy_train", "recall_correlation",
            "trigram_accuracy", "ms_per_trial")


def run_many(
    experiment, out, *, seeds, cohort=False, device="cpp", resume=False, overwrite=False,
    progress=None, command=None,
):
    """Run every seed and fold of an experiment, as many at a time as there are cores.

    Several runs have a folder each in `out` (``seed0-fold0``, ...), beside ``runs.csv`` and a
    ``metrics.json`` with their means.

    Parameters
    ----------
    cohort : bool
        Simulate all seeds together, as the replicas of one network.
    resume, overwrite : bool
        Go on with the runs that `out` holds, or replace them; without either, they are refused.
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
    if not isinstance(experiment, Experiment):
        raise InputError(f"{experiment!r} is no experiment: give one, as experiment('demo').")
    seeds = checked_seeds(list(seeds) if np.iterable(seeds) else seeds)
    folds = range(experiment.folds)
    if cohort:
        runs = {f"fold{fold}": (seeds, fold) for fold in folds}
    else:
        runs = {f"seed{seed}-fold{fold}": (seed, fold) for seed in seeds for fold in folds}
    out = Path(out)
    options = {"device": device, "resume": resume, "overwrite": overwrite, "command": command}
    if len(runs) == 1:
        ((name, (seed, fold)),) = runs.items()
        report = functools.partial(progress, name)
        metrics = run_experiment(
            experiment, out, seed=seed, fold=fold, progress=report, **options
        )
        return pd.DataFrame(_rows(metrics))
    check_main_guard("run_many")
    build_s = _prepare(experiment, out, runs, device, resume, overwrite, progress)
    rows = []
    for metrics in _in_processes(experiment, out, runs, options, progress):
        rows += _rows(metrics)
    metrics = pd.DataFrame(rows).sort_values(["seed", "fold"], ignore_index=True)
    metrics["build_s"] = metrics["build_s"].where(metrics["build_s"] > 0, build_s)
    table = metrics.assign(warnings=metrics["warnings"].map(len)).to_csv(index=False)
    write_atomically(out / "runs.csv", lambda file: file.write(table.encode()))
    write_json(out / "metrics.json", summarise(metrics, out))
    return metrics


def summarise(metrics, out):
    """Means over the runs, and SDs over seeds of accuracy, forecast's error and reconstruction.

    Where a cohort varies a parameter there is no SD.

    Parameters
    ----------
    metrics : DataFrame
        From `run_many`: one row per seed and fold; the replicas of a cohort share a run.
    out : path-like

    Returns
    -------
    dict
    """
    first, runs = metrics.iloc[0], metrics.drop_duplicates("out")
    spread, varied = {}, any("." in name for name in metrics)  # other values are no repeats
    measured = [name for name in metrics if name.startswith("reconstruction_")]
    for key in metrics.columns.intersection(["accuracy", "mse", *measured]):
        own = metrics[key].astype(float).groupby(metrics["seed"]).mean()
        spread[f"{key}_sd"] = float(own.std()) if own.notna().sum() > 1 and not varied else None
    mean = {
        key: None if metrics[key].isna().all() else float(metrics[key].mean())
        for key in metrics
        if key in AVERAGED or key.startswith(("mse", "reconstruction_"))
    }
    return {
        "name": first["name"],
        **mean,
        **spread,
        "seeds": sorted(int(s) for s in metrics["seed"].unique()),
        "folds": int(metrics["fold"].nunique()),
        "trials": int(runs["trials"].sum()),
        "build_s": float(metrics["build_s"].max()),
        "create_s": float(metrics["create_s"].mean()),
        "peak_mb": float(metrics["peak_mb"].max()),
        "run_s": float(runs["run_s"].sum()),
        "epochs": int(first["epochs"]),
        "layers": list(first["layers"]),
        "device": first["device"],
        "warnings": sum(runs["warnings"], []),
        "out": str(out),
    }


def _rows(metrics):
    """One row for each replica."""
    return [metrics | own for own in metrics.pop("replicas", [{}])]


def _prepare(experiment, out, runs, device, resume, overwrite, progress):
    """Check every results folder, then compile once for all; seconds that it took."""
    if (out / "config.yaml").exists():
        raise InputError(
            f"{out} holds a run with one seed and fold: choose another folder with --out."
        )
    summaries = [out / "metrics.json", out / "runs.csv"]
    if any(file.exists() for file in summaries) and not (resume or overwrite):
        raise InputError(
            f"{out} holds finished runs: choose another folder with --out, go on with --resume, or "
            "replace them with --overwrite."
        )
    others = sorted(
        path.parent.name for path in out.glob("*/config.yaml") if path.parent.name not in runs
    )
    if others and (resume or overwrite):
        raise InputError(
            f"{out} holds other runs, too ({', '.join(others[:6])}): name their seeds as well, "
            "move them, or choose another folder with --out."
        )
    (out / "report.html").unlink(missing_ok=True)  # of the runs before
    dataset = load_data(experiment, 0)
    each = {name: seed if isinstance(seed, list) else [seed] for name, (seed, _) in runs.items()}
    network = build_network(experiment, dataset, replicas=len(next(iter(each.values()))))
    folders = []
    for name, (_, fold) in runs.items():
        started = (out / name / "config.yaml").exists()
        config = configuration(experiment, dataset, network, each[name], fold, device)
        folders.append(ResultsFolder(out / name, config, resume and started, overwrite))
        with folders[-1]:
            pass
    simulation = Simulation(
        network, dataset, device, progress=lambda *event: progress("all", *event, "")
    )
    if overwrite:  # all of them now: a resumed run must not take an old one for its own
        for file in summaries:
            file.unlink(missing_ok=True)
        for folder in folders:
            with folder:
                folder.begin()
    return simulation.simulator.build_s


def _in_processes(experiment, out, runs, options, progress):
    """Metrics of the runs as they finish, one process for each."""
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    waiting, alive, begun = list(runs.items()), {}, set()
    most = 1 if options["device"] == "cuda" else cores()
    try:
        while waiting or alive:
            while waiting and len(alive) < most:
                name, (seed, fold) = waiting.pop(0)
                resume = options["resume"] and (out / name / "config.yaml").exists()
                process = context.Process(
                    target=_run_in_process,
                    args=(events, name, experiment, out / name),
                    kwargs={**options, "resume": resume, "seed": seed, "fold": fold},
                )
                process.start()
                alive[name] = process
            try:
                kind, name, content = events.get(timeout=0.5)
            except queue.Empty:
                for name, process in alive.items():
                    if process.exitcode not in (None, 0) and name not in begun:
                        raise InputError(
                            f"{name} ended before it began: see its messages above. A script must "
                            "call run_many under `if __name__ == '__main__':`."
                        ) from None
                    if process.exitcode not in (None, 0):
                        raise RuntimeError(
                            f"{name} ended with exit code {process.exitcode}: see its messages "
                            "above, then go on with --resume."
                        ) from None
                continue
            begun.add(name)
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


def _end_with_parent():
    """A parent that is killed cannot end its processes."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _run_in_process(events, name, experiment, out, **options):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # even if the parent process ignores it
    listen_for(signal.SIGTERM)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    last = [0.0]

    def report(stage, done, total, text):
        check_interrupt()
        if time.monotonic() - last[0] > 0.2 or done == total:
            last[0] = time.monotonic()
            events.put(("progress", name, (stage, done, total, text)))

    try:
        events.put(("done", name, run_experiment(experiment, out, progress=report, **options)))
    except KeyboardInterrupt:
        events.cancel_join_thread()
        sys.exit(128 + signal.SIGTERM)  # a parent that did not ask for it waits for an answer
    except (InputError, RuntimeError, OSError, MemoryError) as error:
        events.put(("error", name, error))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to save

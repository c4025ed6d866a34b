"""What a Dask worker does: compile a structure, or run one point with one seed and fold."""

import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from distributed import Event, get_worker

from bsd.runs.engine.devices import simulator
from bsd.runs.experiments import run_experiment
from bsd.runs.experiments.run import build_network, load_data

__all__ = ["MEASURES", "compile_structure", "measures", "run_point"]

#: Seconds between two reports of a worker.
INTERVAL_S = 0.5

#: Results of a run that a row of the sweep holds.
MEASURES = (
    "accuracy", "accuracy_voltage", "ties", "accuracy_train", "mse", "recall_correlation", "cosine",
    "reconstruction_mse", "reconstruction_ssim",
    "hamming", "hamming_shuffled", "kappa", "kappa_shuffled", "angle_deg", "rate_forward_hz",
    "rate_backward_hz", "ms_per_trial", "run_s",
)

#: Brian2's device and preferences belong to the whole process.
_ONE_AT_A_TIME = threading.Lock()


def dask_setup(worker):
    """Called by a local worker as it starts: Ctrl-C is for the sweep, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Stopped(Exception):
    """The sweep was interrupted."""


@contextmanager
def _reporting(topic, name):
    """Function that reports progress to the sweep, and raises `Stopped` once it has ended."""
    worker, ended, last = get_worker(), Event(topic), [0.0]

    def report(stage, done, total, text=""):
        if stage in ("note", "warning") or time.monotonic() - last[0] < INTERVAL_S:
            return
        last[0] = time.monotonic()
        worker.log_event(topic, (name, stage, float(done), float(total)))
        if ended.is_set():
            raise Stopped(name)

    with _ONE_AT_A_TIME:
        yield report


def compile_structure(topic, name, experiment, device):
    """Compile the network of an experiment, unless the cache has it."""
    with _reporting(topic, name) as report:
        simulator(build_network(experiment, load_data(experiment, 0)), device, report)


def run_point(topic, name, experiment, folder, *, seed, fold, device, anew):
    """Run an experiment in its results folder, or go on with it, or take what it has.

    Parameters
    ----------
    topic, name : str
        Of the sweep's events, and of the run in them.
    experiment : Experiment
    folder : str
    seed, fold : int
    device : str
    anew : bool
        Leave nothing of an earlier attempt.

    Returns
    -------
    dict
        `MEASURES`.
    """
    folder = Path(folder)
    with _reporting(topic, name) as report:
        metrics = run_experiment(
            experiment, folder, seed=seed, fold=fold, device=device, progress=report,
            resume=not anew and (folder / "config.yaml").exists(), overwrite=anew,
        )
        return measures(folder, metrics)


def measures(folder, metrics):
    """Metrics of a run, with alignment and rates at its end, averaged over hidden layers.

    Alignment and rates are those of the alignment trials after the last epoch, in which both
    pathways are driven.

    Parameters
    ----------
    folder : Path
        Results folder.
    metrics : dict
        What `run_experiment` returned.

    Returns
    -------
    dict
        `MEASURES`, None where something was not defined.
    """
    trials = pd.read_parquet(folder / "trials.parquet", columns=["trial", "epoch", "phase"])
    shown = trials[(trials["phase"] == "align") & (trials["epoch"] == metrics["epochs"])]["trial"]
    alignment = pd.read_parquet(folder / "alignment.parquet")
    by_layer = alignment[alignment["trial"].isin(shown)].groupby("layer").mean(numeric_only=True)
    angles = pd.read_parquet(folder / "weight_alignment.parquet")
    counts = pd.read_parquet(folder / "counts.parquet")
    hidden = counts[counts["trial"].isin(shown) & counts["layer"].isin(by_layer.index)]
    rates = hidden.groupby("pathway", observed=True)["rate_hz"].mean()
    found = {
        **metrics,
        **by_layer.mean(),
        "angle_deg": angles.loc[angles["trial"] == angles["trial"].max(), "angle_deg"].mean(),
        "rate_forward_hz": rates.get("forward"),
        "rate_backward_hz": rates.get("backward"),
    }
    known = {name: found.get(name) for name in MEASURES}
    return {name: None if pd.isna(value) else float(value) for name, value in known.items()}

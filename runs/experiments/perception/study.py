"""What all experiments on a trained network share: stimuli, recordings, results."""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bsd.equations import InputError
from bsd.runs.engine.store import write_json, write_parquet
from bsd.runs.experiments.presets import SEQUENCES

__all__ = [
    "Study",
    "chosen_stimuli",
    "images_of",
    "needs_concepts",
    "needs_images",
    "run_images",
    "save",
]


@dataclass
class Study:
    """Results of one experiment.

    Attributes
    ----------
    name : str
        Of the command and of its folder in ``experiments/``.
    frames : dict of str to DataFrame
    summary : dict
        The numbers to look at first.
    """

    name: str
    frames: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)


def save(folder, study, command=None):
    """Write ``experiments/NAME/*.parquet`` and ``summary.json``.

    Parameters
    ----------
    folder : path-like
        Results folder of the run.
    study : Study
    command : str, optional
        What the user typed.

    Returns
    -------
    dict
        The summary, as it was written.

    Raises
    ------
    InputError
        If the results folder cannot be written.
    """
    folder = Path(folder) / "experiments" / study.name
    summary = {
        **study.summary,
        "command": command or "Python API",
        "seconds": round(time.perf_counter() - study.started, 1),
        "out": str(folder),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in study.frames.items():
            write_parquet(folder / f"{name}.parquet", frame)
        write_json(folder / "summary.json", summary)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}): make the results folder writable."
        ) from None
    return summary


def needs_concepts(trained):
    """Refuse an autoencoder.

    Raises
    ------
    InputError
    """
    if trained.network.is_autoencoder:
        raise InputError(
            f"{trained.folder} holds an autoencoder, which has no concepts: use `bsd generate "
            f"{trained.folder}`."
        )


def needs_images(trained):
    """Refuse a network that learned a sequence, and an autoencoder.

    Raises
    ------
    InputError
    """
    if trained.config["data"] in SEQUENCES:
        raise InputError(
            f"{trained.folder} holds a run on a sequence ({trained.config['data']}), this "
            "experiment needs images: give the folder of a run on images, for example of `bsd run "
            "demo`."
        )
    needs_concepts(trained)


def chosen_stimuli(dataset, n_per_concept):
    """The first so many test stimuli of each concept, or as many as there are.

    Returns
    -------
    DataFrame
        ``stimulus, concept``, the concepts in turn.
    """
    table = pd.DataFrame(
        {"stimulus": np.arange(len(dataset.y_test)), "concept": dataset.y_test}
    )
    rank = table.groupby("concept").cumcount()
    table = table.assign(rank=rank)[rank < n_per_concept]
    return table.sort_values(["rank", "concept"], ignore_index=True).drop(columns="rank")


def images_of(recalled, trials, image_shape):
    """Recalled images of some trials, in their order.

    Parameters
    ----------
    recalled : DataFrame
        See `bsd.runs.engine.recording.Recording`, of one replica.
    trials : array_like of int
    image_shape : tuple of int

    Returns
    -------
    ndarray, shape (n, *image_shape)
    """
    recalled = recalled[recalled["trial"].isin(trials)]
    images = recalled["rate"].to_numpy(float).reshape(-1, *image_shape)
    shown = recalled["trial"].to_numpy()[:: int(np.prod(image_shape))]
    return images[np.searchsorted(shown, np.asarray(trials))]


def run_images(simulation, dataset, images, table):
    """Run trials whose stimuli are the given images, one for each row of the table.

    Parameters
    ----------
    simulation : Simulation
        Of `dataset`; goes on with it afterwards.
    dataset : DataSet
    images : ndarray, shape (n, *image_shape)
        Intensities in 0 to 1.
    table : DataFrame
        With the column ``concept``; ``part`` and ``stimulus`` are set here.

    Returns
    -------
    Recording
    """
    simulation.dataset = dataclasses.replace(
        dataset, x_test=images, y_test=table["concept"].to_numpy()
    )
    try:
        return simulation.run(table.assign(part="test", stimulus=np.arange(len(table))))
    finally:
        simulation.dataset = dataset

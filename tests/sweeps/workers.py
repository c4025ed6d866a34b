"""Loaded by every Dask worker of the tests: a tiny data set, and runs that fail when asked to."""

from pathlib import Path

import numpy as np

from bsd.equations.errors import NotFiniteError
from bsd.runs.data.datasets import DataSet
from bsd.runs.experiments import presets

generator = np.random.default_rng(1)
labels = np.arange(12) % 3
images = 0.6 * generator.random((12, 3, 3))
images[np.arange(12), labels] += 0.4
images = images.astype(np.float32)
DATASET = DataSet(
    name="made-up",
    x_train=images,
    y_train=labels,
    x_test=images[:4],
    y_test=labels[:4],
    n_concepts=3,
    image_shape=(3, 3),
    source="random numbers",
    licence="none",
)


def load(*_):
    return DATASET


def dask_setup(worker):
    from bsd.runs.sweeps import worker as worker_module

    run_experiment = worker_module.run_experiment

    def run_or_fail(experiment, folder, **options):
        """lambda = 7 always fails, lambda = 8 twice, lambda = 9 diverges."""
        lam = experiment.parameters.learning.lam
        tries = Path(f"{folder}.tries")
        if lam in (7, 8, 9):
            tries.parent.mkdir(exist_ok=True)
            with tries.open("a") as file:
                file.write("x")
            if lam == 7 or (lam == 8 and len(tries.read_text()) < 3):
                raise RuntimeError("the compiled simulation failed")
            if lam == 9:
                raise NotFiniteError("W0 became NaN or infinite")
        return run_experiment(experiment, folder, **options)

    presets.load = load
    worker_module.run_experiment = run_or_fail

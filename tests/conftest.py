"""Fixtures for all tests: a small made-up data set, trial tables, networks, the command."""

import gc
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

#: Generated cases are the same in each run; ``--hypothesis-profile default`` draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

#: Files with the longest tests, longest first: they start first, and short ones fill the end.
LONGEST = (
    "cli/test_interrupt.py",
    "sweeps/test_run.py",
    "experiments/perception/test_experiments.py",
    "engine/test_cuda.py",
    "experiments/test_run.py",
    "examples/test_examples.py",
    "engine/test_devices.py",
    "experiments/test_sequences.py",
    "test_readme.py",
    "networks/test_audit.py",
    "engine/test_cohorts.py",
    "engine/test_export.py",
    "cli/test_cli.py",
)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    rank = {here / file: number for number, file in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_collection_finish():
    """What is loaded by now stays: Brian2 collects garbage before each run, among all objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def statements_without_cache():
    """Brian2 caches statements under keys that take longer to make than the statements."""
    from brian2.codegen import translation
    from brian2.codegen.generators import base

    make_statements = translation.make_statements.__wrapped__
    with pytest.MonkeyPatch.context() as patch:
        for module in (base, translation):
            patch.setattr(module, "make_statements", make_statements)
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_networks(tmp_path_factory):
    """Folder of the networks that this run compiles, one for all tests."""
    before = os.environ.get("BSD_CACHE")
    own = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        own = own.parent  # of all workers
    folder = before or str(own / "bsd_cache")
    os.environ["BSD_CACHE"] = folder
    yield folder
    if before is None:
        del os.environ["BSD_CACHE"]


@pytest.fixture(scope="session")
def dataset():
    """24 random images of 3 x 3 pixels and 3 concepts, each with its own bright pixels."""
    from bsd.runs.data.datasets import DataSet

    generator = np.random.default_rng(1)
    labels = np.arange(24) % 3
    images = 0.6 * generator.random((24, 3, 3))
    images[np.arange(24), labels] += 0.4
    images = images.astype(np.float32)
    return DataSet(
        name="made-up",
        x_train=images,
        y_train=labels,
        x_test=images[:6],
        y_test=labels[:6],
        n_concepts=3,
        image_shape=(3, 3),
        source="random numbers",
        licence="none",
    )


@pytest.fixture(scope="session")
def trial_table(dataset):
    """Function that writes a table of `n` trials from number `start` on, all recorded."""

    def write(n, start=0, **columns):
        trials = np.arange(start, start + n)
        stimulus = trials % len(dataset.x_train)
        table = {
            "trial": trials,
            "epoch": 1,
            "phase": "train",
            "part": "train",
            "stimulus": stimulus,
            "concept": dataset.y_train[stimulus],
            "source": "stimulus+concept",
            "learn": 1.0,
            "record": True,
        }
        return pd.DataFrame({**table, **columns})

    return write


@pytest.fixture(scope="session")
def small_network():
    """Function that describes a 9-12-11-3 network: two cells per concept, three memory slots,
    and trials of eight steps in the discrete set."""

    from brian2 import ms

    def describe(base="discrete", layers=(9, 12, 11, 3), assignments=None, **options):
        from bsd.equations import BIOPHYSICAL, DISCRETE
        from bsd.networks import BidirectionalNetwork

        small = {"encoding.cells_per_concept": 2, "learning.memory_slots": 3}
        if base == "discrete":
            parameters, small["timing.duration"] = DISCRETE, 8 * ms
        else:
            parameters = BIOPHYSICAL
        parameters = parameters.updated({**small, **(assignments or {})})
        return BidirectionalNetwork(
            layers, parameters, **{"capacity": 8, "precision": "float64", **options}
        )

    return describe


@pytest.fixture
def bsd(monkeypatch, capsys):
    """Call ``bsd`` with arguments; returns exit code, standard output and standard error."""

    from bsd.runs.cli import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bsd", *map(str, arguments)])
        code, signals = 0, (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in signals]
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call

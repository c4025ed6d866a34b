"""Ctrl-C and SIGTERM: nothing goes on, nothing is lost.

The network is the one that the fixture `finished` compiled.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

DEMO = ("demo", "--epochs", "2", "--layers", "64,64")
SEEDS = ("--seed", "0,1")
PROC = Path("/proc/self/environ").exists()  # where the processes can be looked up


class Started:
    """A ``bsd run`` in a process group of its own, its descendants marked."""

    def __init__(self, command, *arguments):
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            command("run", *arguments),
            env={**os.environ, "BSD_TEST_MARK": self.mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, folder, pattern):
        """Until a file is there; the run must not be over before."""
        end = time.monotonic() + 300
        while not list(folder.glob(pattern)):
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < end, f"no {pattern} in {folder}"
            time.sleep(0.005)

    def end(self):
        """Exit code and what was said."""
        _, said = self.process.communicate(timeout=120)
        return self.process.returncode, said

    def alive(self):
        """Command lines of all processes that descend from it."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if f"BSD_TEST_MARK={self.mark}".encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes())
            except OSError:  # another user's, or gone
                continue
        return found


@pytest.fixture(scope="module")
def start(command, finished):
    """Function that starts ``bsd run`` with arguments; whatever is left of it is killed."""
    runs = []

    def begin(*arguments):
        runs.append(Started(command, *arguments))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.communicate()


def weights(folder):
    with np.load(folder / "weights.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_same_run(folder, other):
    """Weights and trials to the bit."""
    first, second = weights(folder), weights(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    first, second = (pd.read_parquet(f / "trials.parquet") for f in (folder, other))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.mark.skipif(not PROC, reason="needs /proc")
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_interrupted_run_goes_on_to_the_same_bits(start, bsd, finished, tmp_path, how):
    out = tmp_path / "run"
    run = start(*DEMO, "--out", out)
    run.wait_for(out, "checkpoint.npz")
    assert run.alive()
    if how == "Ctrl-C":  # a terminal sends it to the whole process group
        os.killpg(run.process.pid, signal.SIGINT)
    else:
        run.process.terminate()
    code, said = run.end()
    assert code == 130, said
    assert "interrupted" in said and "--resume" in said and "Traceback" not in said
    assert run.alive() == []
    assert (out / "checkpoint.npz").exists() and not (out / "metrics.json").exists()
    with np.load(out / "checkpoint.npz") as checkpoint:
        assert checkpoint["_chunks"] >= 1
    code, _, err = bsd("run", *DEMO, "--out", out, "--resume")
    assert code == 0, err
    assert_same_run(out, finished[0])
    assert not (out / "checkpoint.npz").exists()


@pytest.fixture(scope="module")
def stopped(start, tmp_path_factory):
    """Folder of two runs that were ended when both had a checkpoint, or one was over."""
    if not PROC:
        pytest.skip("needs /proc")
    out = tmp_path_factory.mktemp("cli") / "runs"
    run = start(*DEMO, *SEEDS, "--out", out)
    run.wait_for(out, "seed1-fold0/checkpoint.npz")
    assert len(run.alive()) >= 2
    run.process.terminate()
    code, said = run.end()
    assert code == 130, said
    assert "Traceback" not in said
    assert run.alive() == []
    assert (out / "seed1-fold0" / "checkpoint.npz").exists()
    return out


def test_several_interrupted_runs_go_on_to_the_same_bits(stopped, bsd, finished, tmp_path):
    """What each of two seeds had done is kept; the summary is of both."""
    out = shutil.copytree(stopped, tmp_path / "runs")
    code, shown, err = bsd("run", *DEMO, *SEEDS, "--json", "--out", out, "--resume")
    assert code == 0, err
    assert_same_run(out / "seed0-fold0", finished[0])
    other = weights(finished[0])
    for name, array in weights(out / "seed1-fold0").items():
        assert not np.array_equal(array, other[name]), name
    runs = pd.read_csv(out / "runs.csv")
    assert runs[["seed", "fold", "epochs"]].values.tolist() == [[0, 0, 2], [1, 0, 2]]
    summary = json.loads(shown.splitlines()[-1])
    assert summary == json.loads((out / "metrics.json").read_text())
    assert summary["seeds"] == [0, 1] and summary["folds"] == 1
    assert summary["accuracy"] == pytest.approx(runs["accuracy"].mean())
    assert summary["accuracy_sd"] == pytest.approx(runs["accuracy"].std())
    assert all((out / f"seed{seed}-fold0" / "report.html").exists() for seed in (0, 1))


def test_several_runs_are_not_resumed_with_other_options(stopped, refused):
    other = ("demo", "--epochs", "2", "--layers", "64,32")
    refused("run", *other, *SEEDS, "--out", stopped, "--resume", says="another layers")


def test_a_run_that_cannot_go_on_stops_the_others(stopped, start, tmp_path):
    """One of two checkpoints is damaged: one line, and no process is left."""
    out = shutil.copytree(stopped, tmp_path / "runs")
    (out / "seed1-fold0" / "checkpoint.npz").write_bytes(b"damaged")
    run = start(*DEMO, *SEEDS, "--out", out, "--resume")
    code, said = run.end()
    assert code == 2, said
    assert "Traceback" not in said
    assert "is damaged" in said.splitlines()[-1]
    assert run.alive() == []

"""Ctrl-C, SIGTERM, SIGKILL, a full disk: nothing goes on, nothing is lost.

The network is the one that the fixture `finished` compiled.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from brian2 import _InterruptHandler
from rich.console import Console

import bsd.runs.experiments.many as module
from bsd.runs.cli.progress import RunProgress
from bsd.runs.engine.store import write_parquet
from bsd.runs.interrupts import check_interrupt, listen_for, uninterrupted

from ..engine import cuda_on_cpu
from ..gpu import needs_gpu

DEMO = ("demo", "--epochs", "2", "--layers", "64,64")
SEEDS = ("--seed", "0,1")
PROC = Path("/proc/self/environ").exists()  # where the processes can be looked up


class Started:
    """A ``bsd run`` in a process group of its own, its descendants marked."""

    def __init__(self, command, *arguments, **environment):
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            command("run", *arguments),
            env={**os.environ, **environment, "BSD_TEST_MARK": self.mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, folder, pattern, n=1):
        """Until so many files are there; the run must not be over before."""
        end = time.monotonic() + 300
        while len(list(folder.glob(pattern))) < n:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < end, f"no {pattern} in {folder}"
            time.sleep(0.005)

    def end(self):
        """Exit code and what was said."""
        _, said = self.process.communicate(timeout=120)
        return self.process.returncode, said

    def simulation(self):
        """Number of the compiled simulation that runs at the moment, or None."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return next(int(c) for c in children if _command_line(c).startswith(b"./main"))
        except (OSError, StopIteration):
            return None

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


def _command_line(pid):
    return (Path("/proc") / pid / "cmdline").read_bytes()


@pytest.fixture(scope="module")
def start(command, finished):
    """Function that starts ``bsd run`` with arguments; whatever is left of it is killed."""
    runs = []

    def begin(*arguments, command=command, **environment):
        runs.append(Started(command, *arguments, **environment))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.communicate()


def arrays(file):
    with np.load(file) as archive:
        return {name: archive[name] for name in archive.files}


def weights(folder):
    return arrays(folder / "weights.npz")


def assert_same_run(folder, other, tolerance=0):
    """Weights, recalled stimuli and every frame, without a tolerance to the bit."""
    files = [file.name for file in (*other.glob("weights*.npz"), *other.glob("recall*.npz"))]
    assert len(files) >= 2
    for file in files:
        first, second = arrays(folder / file), arrays(other / file)
        assert first.keys() == second.keys()
        for name, array in first.items():
            if tolerance and array.dtype.kind == "f":
                np.testing.assert_allclose(array, second[name], tolerance, tolerance, err_msg=name)
            else:
                np.testing.assert_array_equal(array, second[name], err_msg=name)
    frames = sorted(file.name for file in other.glob("*.parquet"))
    assert len(frames) >= 8 and frames == sorted(file.name for file in folder.glob("*.parquet"))
    for name in frames:
        first, second = (pd.read_parquet(f / name) for f in (folder, other))
        pd.testing.assert_frame_equal(
            first, second, check_exact=not tolerance, rtol=tolerance, atol=tolerance
        )


@pytest.mark.skipif(not PROC, reason="needs /proc")
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_interrupted_run_goes_on_to_the_same_bits(start, bsd, finished, tmp_path, how):
    out = tmp_path / "run"
    run = start(*DEMO, "--out", out)
    run.wait_for(out, "checkpoint-*.npz")
    assert run.alive()
    if how == "Ctrl-C":  # a terminal sends it to the whole process group
        os.killpg(run.process.pid, signal.SIGINT)
    else:
        run.process.terminate()
    code, said = run.end()
    assert code == 130, said
    assert "interrupted" in said and "--resume" in said and "Traceback" not in said
    assert run.alive() == []
    assert list(out.glob("checkpoint-*.npz")) and not (out / "metrics.json").exists()
    code, _, err = bsd("run", *DEMO, "--out", out, "--resume")
    assert code == 0, err
    assert_same_run(out, finished[0])
    assert not list(out.glob("checkpoint-*.npz"))


@pytest.fixture
def signals(monkeypatch):
    """What listens to signals is put back."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    for number in numbers:  # a shell that runs things in the background may ignore Ctrl-C
        signal.signal(number, signal.SIG_DFL)
    yield
    listen_for()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def drop_interrupt(number):
    """As a compiled library does that clears the errors of Python code that it calls."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_got_lost_comes_with_the_next_progress(signals, number):
    listen_for(number)
    progress = RunProgress(Console(quiet=True))
    progress.update("all", "run", 0, 10, "")
    drop_interrupt(number)
    with pytest.raises(KeyboardInterrupt):
        progress.update("all", "run", 1, 10, "")
    listen_for(number)  # the next command
    progress.update("all", "run", 2, 10, "")


def test_an_interrupt_waits_until_results_are_written(signals, tmp_path):
    listen_for(signal.SIGTERM)
    frame = pd.DataFrame({"trial": [1, 2]})

    @uninterrupted()
    def write():
        signal.raise_signal(signal.SIGTERM)
        write_parquet(tmp_path / "trials.parquet", frame)
        (tmp_path / "last").touch()

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (tmp_path / "last").exists()
    write_parquet(tmp_path / "summary.parquet", frame)  # the caller may keep what it has
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "trials.parquet"), frame)


@pytest.mark.parametrize("wrap", [lambda handler: handler, _InterruptHandler])
def test_an_ignored_signal_stays_ignored(signals, wrap):
    """Brian2, as it is imported, puts a handler of its own around that of Ctrl-C."""
    signal.signal(signal.SIGINT, wrap(signal.SIG_IGN))
    listen_for(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    check_interrupt()


def test_one_of_several_runs_ends_although_its_interrupt_got_lost(signals, monkeypatch):
    said = []
    monkeypatch.setattr(module, "_end_with_parent", lambda: None)

    def run(experiment, out, progress):
        progress("run", 0, 10, "")
        drop_interrupt(signal.SIGTERM)
        progress("run", 1, 10, "")
        raise AssertionError("it went on")

    monkeypatch.setattr(module, "run_experiment", run)
    events = SimpleNamespace(put=said.append, cancel_join_thread=lambda: said.append("ended"))
    with pytest.raises(SystemExit, match="143"):  # a parent that did not end it must see it
        module._run_in_process(events, "seed0", None, None)
    assert said == [("progress", "seed0", ("run", 0, 10, "")), "ended"]


@pytest.fixture(scope="module")
def stopped(start, tmp_path_factory):
    """Folder of two runs that were ended when both had a checkpoint, or one was over."""
    if not PROC:
        pytest.skip("needs /proc")
    out = tmp_path_factory.mktemp("cli") / "runs"
    run = start(*DEMO, *SEEDS, "--out", out)
    run.wait_for(out, "seed1-fold0/checkpoint-*.npz")
    assert len(run.alive()) >= 2
    run.process.terminate()
    code, said = run.end()
    assert code == 130, said
    assert "Traceback" not in said
    assert run.alive() == []
    assert list(out.glob("seed1-fold0/checkpoint-*.npz"))
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
    for file in out.glob("seed1-fold0/checkpoint-*.npz"):
        file.write_bytes(b"damaged")
    run = start(*DEMO, *SEEDS, "--out", out, "--resume")
    code, said = run.end()
    assert code == 2, said
    assert "Traceback" not in said
    assert "is damaged" in said.splitlines()[-1]
    assert run.alive() == []


def kill(run, what, delay_s):
    """SIGKILL of the Python process, the compiled simulation or both after `delay_s` seconds.

    Returns
    -------
    bool
        Whether something was killed; the run may be over before.
    """
    end = time.monotonic() + delay_s
    simulation = None
    while time.monotonic() < end or (what != "python" and simulation is None):
        if run.process.poll() is not None:
            return False
        time.sleep(0.002)
        simulation = run.simulation() if time.monotonic() >= end else None
    try:
        if what != "python":
            os.kill(simulation, signal.SIGKILL)
    except ProcessLookupError:
        return False
    if what != "simulation":
        run.process.kill()
    return True


def assert_nothing_goes_on(run, folder):
    """No process is left after a moment, and nothing is written after the end of Python."""
    run.process.wait()
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    end = time.monotonic() + 60
    while run.alive():
        assert time.monotonic() < end, run.alive()
        time.sleep(0.1)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def killed_and_resumed(
    start, finished, out, kills, longest_s, arguments=DEMO, tolerance=0, **options
):
    """Kill a run again and again, each time resumed; a finished one is compared and begun anew.

    The last kill waits for a second checkpoint, which is the first after learning.

    Parameters
    ----------
    kills : list of (str, float)
        What to kill and when, as a share of `longest_s`. "build" is Python, that long after it
        began to generate code.
    **options
        Of `start`: variables of the environment, the command.
    """
    folder, n, done = out / "0", 0, 0
    for what, share in kills:
        while True:
            resume = ["--resume"] if (folder / "config.yaml").exists() else []
            run = start(*arguments, "--out", folder, *resume, **options)
            if what == "build":  # what a killed build leaves stays for a day
                run.wait_for(Path(options["BSD_CACHE"]), "compiled/building-*", n + 1)
            if n == len(kills) - 1:
                run.wait_for(folder, "checkpoint-*.npz", 2)
            killed = kill(run, "python" if what == "build" else what, share * longest_s)
            code, said = run.end()
            assert "Traceback" not in said
            if killed and code != 0:
                break
            assert code == 0, said  # over before it could be killed
            assert_same_run(folder, finished, tolerance)
            done += 1
            folder = out / str(done)
            share /= 2
        n += 1
        if what == "simulation":
            assert code == 1 and "killed by SIGKILL" in said.replace("\n", " "), said
        assert_nothing_goes_on(run, folder)
    resume = ["--resume"] if (folder / "config.yaml").exists() else []
    run = start(*arguments, "--out", folder, *resume, **options)
    code, said = run.end()
    assert code == 0, said
    assert_same_run(folder, finished, tolerance)
    assert n == len(kills)


@pytest.mark.skipif(not PROC, reason="needs /proc")
def test_killed_run_goes_on_to_the_same_bits(start, finished, tmp_path):
    """The simulation, Python, both, each at a random moment."""
    shares = np.random.default_rng(0).uniform(0.2, 0.6, 3)
    kills = list(zip(("simulation", "python", "both"), shares, strict=True))
    killed_and_resumed(start, finished[0], tmp_path, kills, longest_s=8)


def double_precision(*arguments):
    """Command line of ``bsd`` with a network in double precision."""
    program = """
from functools import partial

import bsd.runs.experiments.run as run
from bsd.runs.cli import main

run.BidirectionalNetwork = partial(run.BidirectionalNetwork, precision="float64")
main()
"""
    return [sys.executable, "-c", program, *map(str, arguments)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not PROC, reason="needs /proc")
@pytest.mark.skipif(find_spec("brian2cuda") is None, reason="needs brian2cuda: make setup-cuda")
@pytest.mark.parametrize(
    "program, replicas, tolerance",
    [(cuda_on_cpu.command, 2, 0), pytest.param(double_precision, 1, 1e-5, marks=needs_gpu)],
    ids=["cpu", "gpu"],
)
def test_killed_run_on_cuda_goes_on(start, tmp_path, program, replicas, tolerance):
    """To the same bits with the CPU as the GPU; on a GPU, sums have another order in each run.

    The weights of three undisturbed ones on an H200 lay up to 4e-8 apart, in double precision.
    """
    arguments = (
        "demo", "--epochs", "2", "--layers", "32,32", "--device", "cuda", "--replicas", replicas,
    )
    run = start(*arguments, "--out", tmp_path / "finished", command=program)
    began = time.monotonic()
    run.wait_for(tmp_path / "finished", "checkpoint-*.npz")
    compiled_s = time.monotonic() - began
    code, said = run.end()
    assert code == 0, said
    longest_s = time.monotonic() - began - compiled_s
    shares = np.random.default_rng(2).uniform(0.2, 1, 3)
    kills = list(zip(("simulation", "python", "both"), shares, strict=True))
    killed_and_resumed(
        start, tmp_path / "finished", tmp_path, kills, longest_s, arguments, tolerance,
        command=program,
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not PROC, reason="needs /proc")
def test_run_killed_at_30_moments_goes_on_to_the_same_bits(start, finished, tmp_path):
    """The first moments lie in code generation and compilation: the cache is empty."""
    generator = np.random.default_rng(1)
    kills = [("build", share) for share in generator.uniform(0, 0.3, 4)]
    kills += zip(
        generator.choice(["simulation", "python", "both"], 26),
        generator.uniform(0, 1, 26),
        strict=True,
    )
    cache = str(tmp_path / "cache")
    killed_and_resumed(start, finished[0], tmp_path / "runs", kills, 12, BSD_CACHE=cache)


@pytest.mark.skipif(not PROC, reason="needs /proc")
def test_processes_of_several_runs_end_with_a_killed_parent(start, tmp_path):
    run = start(*DEMO, *SEEDS, "--out", tmp_path)
    run.wait_for(tmp_path, "seed*-fold0/config.yaml")
    assert len(run.alive()) >= 2
    run.process.kill()
    end = time.monotonic() + 60
    while run.alive():
        assert time.monotonic() < end, run.alive()
        time.sleep(0.1)
    assert not list(tmp_path.glob("seed*-fold0/metrics.json"))

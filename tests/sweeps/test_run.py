"""Sweeps on Dask: results, resumption, retries, killed workers and schedulers, Ctrl-C.

All on the runtime device with the tiny data set of `workers.py`.
"""

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import dask
import pandas as pd
import pytest

from bsd.equations import InputError
from bsd.runs.experiments import presets, run_many
from bsd.runs.sweeps import run as sweep_module
from bsd.runs.sweeps import run_sweep
from bsd.runs.sweeps.worker import MEASURES

TINY = Path(__file__).with_name("tiny.yaml").read_text()

#: Depend on the machine, not on the run.
TIMES = {"ms_per_trial", "run_s"}
SAME = ["point", "seed", "fold", "key", *(name for name in MEASURES if name not in TIMES)]


@pytest.fixture
def tiny_data(preload):
    with tiny_workers(preload):
        yield


@pytest.fixture
def nothing_runs(monkeypatch):
    """Assert that a sweep starts no worker."""

    def never(*_):
        raise AssertionError("workers were started")

    monkeypatch.setattr(sweep_module, "_client", never)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, preload):
    """Folder and frame of the tiny sweep, run without trouble."""
    from bsd.runs.sweeps import read_sweep

    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "sweep.yaml").write_text(TINY)
    events = []
    with tiny_workers(preload):
        frame = run_sweep(
            read_sweep(folder / "sweep.yaml"), folder / "out", workers=2,
            progress=lambda *event: events.append(event),
        )
    return folder / "out", frame, events


@contextlib.contextmanager
def tiny_workers(preload):
    """The tiny data set in this process, and in the workers that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "load", runpy.run_path(preload)["load"])
        with dask.config.set({"distributed.worker.preload": [preload]}):
            yield


def test_rows_are_the_metrics_of_run_many(undisturbed, read, tiny_data, tmp_path):
    out, frame, events = undisturbed
    sweep = read(TINY)
    assert frame["status"].eq("done").all() and len(frame) == 4
    assert frame["cell.V_threshold_mV"].to_list() == [-57, -57, -55, -55]
    assert frame["seed"].to_list() == [0, 1, 0, 1]
    pd.testing.assert_frame_equal(frame, pd.read_parquet(out / "results.parquet"))
    for number, point in enumerate(sweep.points):
        for seed in sweep.seeds:
            alone = run_many(
                point.experiment, tmp_path / f"{number}-{seed}", seeds=[seed], device="runtime"
            )
            row = frame[(frame["point"] == number) & (frame["seed"] == seed)].iloc[0]
            for name in set(MEASURES) & set(alone.columns) - TIMES:
                assert row[name] == pytest.approx(alone[name].iloc[0], rel=1e-12), name
            alignment = pd.read_parquet(tmp_path / f"{number}-{seed}" / "alignment.parquet")
            last = alignment[alignment["trial"] > 12]  # after the epoch of 12 trials
            assert row["kappa"] == pytest.approx(last["kappa"].mean())
    assert events[-1][:3] == (4, 0, 4) and events[0][0] < 4
    assert max(len(running) for *_, running in events) == 2


def test_finished_points_are_never_run_again(undisturbed, read, tiny_data, nothing_runs):
    out, frame, _ = undisturbed
    pd.testing.assert_frame_equal(run_sweep(read(TINY), out), frame)
    labelled = TINY.replace("cell.V_threshold: [-57*mV, -55*mV]", "cell.V_threshold: [-55 mV]")
    again = run_sweep(read(labelled), out)
    assert again["key"].to_list() == frame["key"].to_list()[2:]
    pd.testing.assert_frame_equal(again, pd.read_parquet(out / "results.parquet"))
    with pytest.raises(AssertionError, match="workers were started"):
        run_sweep(read(TINY.replace("seeds: [0, 1]", "seeds: [0, 1, 2]")), out)
    files = {file: file.read_bytes() for file in out.glob("*.*")}
    with pytest.raises(InputError, match="holds the results of another sweep"):
        run_sweep(read(TINY.replace("epochs: 1", "epochs: 2")), out)
    assert {file: file.read_bytes() for file in out.glob("*.*")} == files


def test_lost_table_is_filled_again_from_the_runs(undisturbed, read, tiny_data):
    out, frame, _ = undisturbed
    (out / "results.parquet").unlink(missing_ok=True)
    again = run_sweep(read(TINY), out, workers=1)
    pd.testing.assert_frame_equal(again, frame)  # computing times included


def test_failing_points_are_retried_and_reported(read, tiny_data, tmp_path):
    text = TINY.replace("seeds: [0, 1]", "seeds: [0]").partition("grid:")[0]
    text += "list:\n  - {label: good}\n"
    text += "  - {label: twice, learning.lam: 8}\n  - {label: always, learning.lam: 7}\n"
    text += "  - {label: diverges, learning.lam: 9}\n"
    frame = run_sweep(read(text), tmp_path / "out", workers=2).set_index("label")
    assert frame["status"].to_list() == ["done", "done", "failed", "failed"]
    assert frame.loc["always", "error"] == "RuntimeError: the compiled simulation failed"
    assert frame.loc["diverges", "error"] == "NotFiniteError: W0 became NaN or infinite"
    assert frame["accuracy"].isna().to_list() == [False, False, True, True]
    logs = {log.stem: log.read_text() for log in (tmp_path / "out" / "logs").iterdir()}
    assert logs.keys() == set(frame.loc[["always", "diverges"], "key"])
    log = logs[frame.loc["always", "key"]]
    assert log.count("Traceback") == 3 and "attempt 3 of 3" in log
    tries = (tmp_path / "out" / "runs").glob("*.tries")
    assert sorted(len(file.read_text()) for file in tries) == [1, 3, 3]


def test_results_of_other_code_are_not_mixed_in(
    undisturbed, read, tiny_data, nothing_runs, monkeypatch
):
    out, frame, _ = undisturbed
    assert frame["code"].nunique() == 1
    monkeypatch.setattr(sweep_module, "_CODE", ("bsd.equations",))
    with pytest.raises(InputError, match="results of another version .* delete .*results.parquet"):
        run_sweep(read(TINY), out)
    monkeypatch.undo()
    pd.testing.assert_frame_equal(pd.read_parquet(out / "results.parquet"), frame)


def test_every_structure_is_compiled_once_and_first(read, tiny_data, tmp_path):
    text = TINY.replace("device: runtime", "device: cpp")
    sweep = read(text + "  learning.lam: [0.5, 1]\n  layers: [[6], [6, 5]]\n")
    tasks = sweep_module._tasks(sweep)
    execution = sweep_module._Execution(None, sweep, tmp_path, None, None)
    execution._plan(tasks)
    assert len(tasks) == 16 and len({task.row["key"] for task in tasks}) == 16
    assert [len(task.runs) for task in execution.ready] == [8, 8]
    for compilation in execution.ready:
        assert len({run.experiment.hidden for run in compilation.runs}) == 1


def test_folder_of_something_else_is_refused(read, tiny_data, nothing_runs, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds something else"):
        run_sweep(read(TINY), tmp_path / "other")


def test_folder_of_a_run_is_refused(read, tiny_data, nothing_runs, tmp_path):
    """It has a lock as the folder of a sweep has."""
    (tmp_path / "run").mkdir()
    for name in (".lock", "config.yaml", "metrics.json"):
        (tmp_path / "run" / name).touch()
    with pytest.raises(InputError, match="holds something else"):
        run_sweep(read(TINY), tmp_path / "run")
    assert len(list((tmp_path / "run").iterdir())) == 3


def test_folder_of_a_stopped_sweep_is_gone_on_with(read, tiny_data, nothing_runs, tmp_path):
    """Stopped before it had written anything, or anything but the sweep itself."""
    for visible in ([], ["sweep.yaml"]):
        out = tmp_path / f"out{len(visible)}"
        out.mkdir()
        for name in (".lock", ".sweep.yaml.12.34", *visible):
            (out / name).touch()
        with pytest.raises(AssertionError, match="workers were started"):
            run_sweep(read(TINY), out)
        assert (out / "logs").is_dir() and (out / "sweep.yaml").read_text() == TINY


def test_second_sweep_in_a_folder_is_refused(read, tiny_data, nothing_runs, tmp_path):
    with sweep_module._own(tmp_path / "out"):
        with pytest.raises(InputError, match="is in use"):
            run_sweep(read(TINY), tmp_path / "out")


def test_unreachable_scheduler_is_named(read, tiny_data, tmp_path, monkeypatch):
    import distributed

    def refuse(*_, **__):
        raise OSError("connection refused")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(InputError, match="no Dask scheduler answers at tcp://127.0.0.1:1"):
        run_sweep(read(TINY), tmp_path / "out", scheduler="tcp://127.0.0.1:1")


# ------------------------------------------------------------------ a cluster on loopback


class Cluster:
    """A scheduler and workers as processes of their own."""

    def __init__(self, folder, preload):
        self.folder, self.preload = folder, preload
        self.file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", self.file,
        )
        end = time.monotonic() + 120
        while not self.file.exists():
            assert time.monotonic() < end and self.scheduler.poll() is None
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]
        self.workers = []

    def _start(self, *arguments):
        log = open(self.folder / f"{uuid.uuid4().hex}.log", "w")
        command = [sys.executable, "-c", "from dask.__main__ import main; main()"]
        with log:
            return subprocess.Popen(
                [*command, *map(str, arguments)], cwd=self.folder, stdout=log, stderr=log
            )

    def add_worker(self):
        self.workers.append(self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--preload", self.preload,
        ))

    def stop(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path, preload):
    started = Cluster(tmp_path, preload)
    yield started
    started.stop()


def simulating(running):
    """Whether all runs under way have simulated some of their trials."""
    stages = list(running.values())
    return bool(stages) and all(stage == "run" and done > 0 for stage, done, _ in stages)


def test_killed_worker_loses_nothing(undisturbed, cluster, read, tiny_data, tmp_path):
    """Of two workers one is killed in the middle of a point."""
    cluster.add_worker()
    cluster.add_worker()
    killed = []

    def kill_one(done, failed, total, running):
        if not killed and len(running) == 2 and simulating(running):
            cluster.workers[0].kill()
            killed.append(done)

    frame = run_sweep(
        read(TINY), tmp_path / "out", scheduler=cluster.address, progress=kill_one
    )
    assert killed and killed[0] < 4
    pd.testing.assert_frame_equal(frame[SAME], undisturbed[1][SAME])
    assert frame["status"].eq("done").all()
    assert cluster.workers[1].poll() is None


def test_killed_local_worker_is_replaced(undisturbed, read, tiny_data, tmp_path):
    import psutil

    killed = []

    def kill_one(done, failed, total, running):
        if not killed and simulating(running):
            for child in psutil.Process().children():
                if "spawn_main" in " ".join(child.cmdline()):
                    child.kill()
                    killed.append(child.pid)

    frame = run_sweep(read(TINY), tmp_path / "out", workers=1, progress=kill_one)
    assert len(killed) == 1
    pd.testing.assert_frame_equal(frame[SAME], undisturbed[1][SAME])


def test_killed_scheduler_loses_no_finished_point(
    undisturbed, cluster, read, tiny_data, tmp_path
):
    cluster.add_worker()

    def kill_scheduler(done, failed, total, running):
        if done and simulating(running):
            cluster.scheduler.kill()

    with pytest.raises(RuntimeError, match="go on with the same command"):
        run_sweep(
            read(TINY), tmp_path / "out", scheduler=cluster.address, progress=kill_scheduler
        )
    kept = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert 1 <= len(kept) < 4 and kept["status"].eq("done").all()
    cluster.stop()  # a worker without scheduler may still be at its point
    frame = run_sweep(read(TINY), tmp_path / "out", workers=1)
    pd.testing.assert_frame_equal(frame[SAME], undisturbed[1][SAME])
    both = frame.merge(kept, on="key", suffixes=("", "_kept"))
    assert both["run_s"].eq(both["run_s_kept"]).all() and len(both) == len(kept)


# ------------------------------------------------------------------ Ctrl-C

SCRIPT = """
import runpy, signal, sys
import dask
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from bsd.runs.cli import main
    from bsd.runs.experiments import presets
    preload = sys.argv.pop(1)
    presets.load = runpy.run_path(preload)["load"]
    with dask.config.set({"distributed.worker.preload": [preload]}):
        main()
"""


def descendants(mark):
    """Command lines of the processes that have the mark in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"BSD_TEST_MARK={mark}".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes())
        except OSError:  # another user's, or gone
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_interrupted_sweep_ends_and_goes_on(undisturbed, preload, tmp_path):
    mark = uuid.uuid4().hex
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-c", SCRIPT, preload, "sweep", tmp_path / "tiny.yaml", "--out",
               tmp_path / "out", "--workers", "1", "--json"]
    options = {"env": {**os.environ, "BSD_TEST_MARK": mark}, "text": True}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        **options,
    )
    try:
        end = time.monotonic() + 300
        while not (tmp_path / "out" / "results.parquet").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, said = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, said
    assert "go on with the same command" in said and "Traceback" not in said
    assert descendants(mark) == []
    done = subprocess.run(command, capture_output=True, **options)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["runs"] == 4 and summary["failed"] == 0
    frame = pd.read_parquet(tmp_path / "out" / "results.parquet")
    pd.testing.assert_frame_equal(frame[SAME], undisturbed[1][SAME])
    assert "V_threshold" in (tmp_path / "out" / "report.html").read_text()

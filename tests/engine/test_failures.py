"""Planted failures: each ends with a message that names what failed and what to do."""

import os
import resource
import shutil
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from bsd.equations import InputError
from bsd.equations.errors import NotFiniteError
from bsd.runs.engine import Simulation
from bsd.runs.engine.cpp import CppSimulator, cache_directory
from bsd.runs.engine.simulation import check_outputs
from bsd.runs.engine.store import write_atomically
from bsd.runs.experiments import experiment, run_experiment
from bsd.runs.experiments import run as run_module


@pytest.fixture(scope="module")
def network(small_network):
    return small_network()


@pytest.fixture(scope="module")
def table(trial_table):
    return trial_table(6).assign(trial=np.arange(10, 16), record=[True, False] * 3)


@pytest.fixture(scope="module")
def outputs(network, dataset, table):
    """What a whole simulation returns."""
    simulation = Simulation(network, dataset, "runtime", seed=1)
    kept, run = {}, simulation.simulator.run

    def keep(*arguments):
        kept.update(run(*arguments))
        return dict(kept)

    simulation.simulator.run = keep
    simulation.run(table)
    return kept


def check(network, outputs, table):
    check_outputs(network, outputs, [table])


def test_whole_outputs_pass(network, outputs, table):
    check(network, outputs, table)
    assert len(outputs["cell_spikes.i"]) > 20


@pytest.mark.parametrize(
    "name",
    ["trial_cells.n_s", "trial_cells.u", "trial_cosine.C", "probe_voltages.v_b", "cell_spikes.i",
     "cell_spikes.t", "cortical_basal.w", "memory_pattern.mu", "memory.pointer",
     "afferents.finished"],
)
def test_truncated_outputs_are_refused(network, outputs, table, name):
    """As a full disk leaves them: a compiled program does not notice."""
    short = outputs | {name: outputs[name][:-1]}
    with pytest.raises(RuntimeError, match=rf"trials 10 to 15 left {name[:8]}.* incomplete.*disk"):
        check(network, short, table)


def test_lost_spikes_are_refused(network, outputs, table):
    """Both files end early, at the same spike."""
    for monitor in ("cell_spikes", "afferent_spikes"):
        lost = outputs | {f"{monitor}.{v}": outputs[f"{monitor}.{v}"][:-5] for v in "it"}
        with pytest.raises(RuntimeError, match=f"left {monitor} incomplete"):
            check(network, lost, table)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_divergence_names_trial_and_population(network, outputs, table, value):
    layout = network.layout
    bad = outputs | {"trial_cells.u": outputs["trial_cells.u"].copy()}
    bad["cortical_basal.w"] = np.full_like(outputs["cortical_basal.w"], np.nan)
    bad["trial_cells.u"][3:, layout.population("B2").cells.start] = value
    with pytest.raises(RuntimeError, match=r"population B2 became .* in trial 13: .*learning.eta"):
        check(network, bad, table)


def test_divergence_names_the_projection(network, outputs, table):
    projection = network.layout.projection("Theta1", 0)
    key = f"{projection.synapses}.w"
    bad = outputs | {key: outputs[key].copy()}
    bad[key][projection.synapse_slice.stop - 1] = np.nan
    with pytest.raises(NotFiniteError, match="^Theta1, replica 0 became NaN .* in trials 10 to 15"):
        check(network, bad, table)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "program, says",
    [
        ("kill -SEGV $$", r"killed by SIGSEGV \(exit code -11\): .*--resume"),
        ("kill -KILL $$", r"killed by SIGKILL \(exit code -9\): if memory is short"),
        ("echo 'Error reading x' >&2", r"failed \(exit code 0\): Error reading x"),
        ("exit 3", r"failed \(exit code 3\)"),
    ],
)
def test_simulation_that_crashes(tmp_path, program, says):
    script(tmp_path / "main", f"echo progress 1\n{program}")
    simulator = object.__new__(CppSimulator)
    simulator.folder, simulator.peak_mb = tmp_path, 0.0
    with open(tmp_path / "errors", "w+") as errors, pytest.raises(RuntimeError, match=says):
        simulator._execute(["./main"], errors, None)


def test_compiler_error(small_network, dataset, monkeypatch, tmp_path):
    """The first error is said, nothing stays in the cache."""
    real = shutil.which("g++")
    failing = script(
        tmp_path / "failing",
        f'case "$*" in *-c*) echo "x.cpp:1:1: error: no room" >&2; exit 1;; esac\nexec {real} "$@"',
    )
    monkeypatch.setenv("CXX", str(failing))
    monkeypatch.setenv("BSD_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RuntimeError, match=r"compiling failed .*error: no room.*CXX=") as raised:
        Simulation(small_network(layers=(9, 5, 3)), dataset, "cpp")
    assert len(str(raised.value)) < 1500
    assert list(cache_directory().iterdir()) == []


def test_compiler_that_does_not_work(small_network, dataset, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(script(tmp_path / "broken", "exit 1")))
    with pytest.raises(InputError, match="broken --version fails .*: set CXX"):
        Simulation(small_network(layers=(9, 5, 3)), dataset, "cpp")


def test_abandoned_builds_are_removed(small_network, dataset, monkeypatch, tmp_path):
    """Those of a day ago; one that may still go on stays."""
    monkeypatch.setenv("BSD_CACHE", str(tmp_path))
    for name in ("building-old", "building-new"):
        (cache_directory() / name).mkdir(parents=True)
    os.utime(cache_directory() / "building-old", (0, 0))

    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(CppSimulator, "_generate", fail)
    with pytest.raises(RuntimeError):
        Simulation(small_network(layers=(9, 5, 3)), dataset, "cpp")
    assert [folder.name for folder in cache_directory().iterdir()] == ["building-new"]


@contextmanager
def full_disk(n_bytes):
    """No file can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path):
    file = tmp_path / "weights.npz"
    write_atomically(file, lambda f: f.write(b"old"))
    with full_disk(1000), pytest.raises(OSError) as raised:
        write_atomically(file, lambda f: f.write(bytes(5000)))
    assert raised.value.filename == str(file) and raised.value.strerror
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


@pytest.fixture
def small(monkeypatch, dataset):
    monkeypatch.setattr(run_module, "load_data", lambda *_: dataset)
    return experiment("demo").changed(hidden=(6,), epochs=1)


def test_full_disk_leaves_nothing_that_looks_whole(small, tmp_path):
    """First no checkpoint fits, then not the last frames; then there is room again."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    run_experiment(small, whole, device="runtime")
    largest = max(file.stat().st_size for file in whole.glob("*.parquet"))
    for n_bytes, resume in ((5000, False), (largest - 1, True)):
        with full_disk(n_bytes), pytest.raises(OSError) as raised:
            run_experiment(small, out, device="runtime", resume=resume)
        assert raised.value.filename.startswith(str(out))
        assert not (out / "metrics.json").exists()
    run_experiment(small, out, device="runtime", resume=True)
    for file in sorted(whole.glob("*.parquet")):
        pd.testing.assert_frame_equal(pd.read_parquet(file), pd.read_parquet(out / file.name))


def test_folder_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write to .*file.* choose another folder"):
        run_experiment(small, tmp_path / "file" / "out", device="runtime")

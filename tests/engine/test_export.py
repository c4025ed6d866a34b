"""An exported project builds with make, runs without Python, and gives what Simulation gives."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from bsd.analysis.report import write_report
from bsd.equations import InputError
from bsd.runs import trials
from bsd.runs.engine.export import export_cpp, load_results, load_state, write_results
from bsd.runs.engine.simulation import Simulation

SEED = 3


@pytest.fixture(scope="module")
def table(dataset):
    return trials.join_tables(
        [
            *trials.training_trials(dataset, epochs=2, seed=SEED, decay=0.7, shift=1),
            trials.test_trials(dataset, epoch=2, record=2),
            trials.recall_trials(dataset.n_concepts, epoch=2),
            *(trials.alignment_trials(dataset, epoch, 4) for epoch in (2, 3)),
        ]
    )


@pytest.fixture(scope="module")
def project(small_network, dataset, table, tmp_path_factory):
    """Exported, moved elsewhere, and not yet built."""
    folder = tmp_path_factory.mktemp("here") / "project"
    export_cpp(small_network(capacity=len(table)), dataset, table, folder, SEED)
    return Path(shutil.move(folder, tmp_path_factory.mktemp("elsewhere")))


@pytest.fixture(scope="module")
def finished(project):
    """Built and run, by nothing but a compiler and make."""
    if shutil.which("g++") is None or shutil.which("make") is None:
        pytest.skip("needs g++ and make")
    folder = shutil.copytree(project, project.with_name("finished"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    run = subprocess.run(
        ["make", "run"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return folder


def in_order(frame):
    """Rows in the order of their keys, which does not depend on chunks."""
    keys = ("trial", "replica", "population", "layer", "cell", "compartment", "t_ms", "pixel")
    return frame.sort_values([key for key in keys if key in frame], ignore_index=True)


def test_exported_run_equals_simulation(finished, small_network, dataset, table):
    simulation = Simulation(small_network(capacity=9), dataset, device="runtime", seed=SEED)
    expected = simulation.run(table)
    recording = load_results(finished)
    assert recording.counts["spikes"].sum() > 1000
    for name in ("trials", "counts", "cell_counts", "spikes", "cosines", "voltages", "recalled"):
        frame, other = in_order(getattr(recording, name)), in_order(getattr(expected, name))
        assert len(frame)
        assert_frame_equal(frame, other, check_dtype=False, rtol=1e-9, atol=1e-12)
    state = load_state(finished)
    assert state.keys() == simulation.state.keys()
    for name, value in state.items():
        np.testing.assert_allclose(value, simulation.state[name], rtol=1e-9, atol=1e-12)
    initial = small_network(capacity=9).initial_state(SEED)
    assert not np.allclose(state["cortical_basal.w"], initial["cortical_basal.w"])
    simulation.restore(state)


def test_results_read_as_the_readme_says_without_this_package(finished, table):
    manifest = json.loads((finished / "manifest.json").read_text())
    spec = manifest["outputs"]["trial_cells.n_s"]
    spikes = np.fromfile(finished / "results" / spec["file"], spec["dtype"])
    spikes = spikes.reshape(-1, spec["columns"])[1:]
    output = next(p for p in manifest["populations"] if p["name"] == "F3")
    cells = slice(output["first_cell"], output["first_cell"] + output["cells"])
    counts = load_results(finished).counts
    expected = counts[counts["population"] == "F3"]["spikes"].to_numpy()
    np.testing.assert_array_equal(spikes[:, cells].sum(axis=1), expected)
    assert len(spikes) == len(table)
    assert all(spec["meaning"] for spec in manifest["outputs"].values())


def test_report_is_drawn_of_an_exported_run(finished, project, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "reported")
    results = write_results(folder)
    assert results == folder / "results"
    assert write_report(results) == results / "report.html"
    figures = {file.stem for file in (results / "figures").iterdir()}
    assert figures >= {"alignment", "confusion", "learning_curve", "raster", "rates", "voltages"}
    alignment = pd.read_parquet(results / "alignment.parquet")
    assert len(alignment) == 2 * 4 * 2  # epochs, trials, layers
    assert alignment["kappa"].notna().all()
    trials = load_results(folder).trials  # what the report reads is no input of the next reading
    assert_frame_equal(trials, load_results(finished).trials)
    with pytest.raises(InputError, match="make run"):
        write_results(project)


def test_an_unreadable_input_fails_the_run(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "damaged")
    (folder / "inputs" / "cells.theta.bin").write_bytes(b"half")
    run = subprocess.run(["make", "run"], cwd=folder, capture_output=True, text=True)
    assert run.returncode != 0
    assert "cells.theta.bin" in run.stderr
    with pytest.raises(InputError, match="cells.theta.bin"):
        load_results(folder)
    (folder / "inputs" / "cells.theta.bin").unlink()
    run = subprocess.run(["make", "run"], cwd=folder, capture_output=True, text=True)
    assert run.returncode != 0
    assert "inputs/cells.theta.bin" in run.stderr


def test_an_interrupted_run_is_refused(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "interrupted")
    spec = json.loads((folder / "manifest.json").read_text())["outputs"]["afferents.finished"]
    file = folder / "results" / spec["file"]
    assert np.fromfile(file, spec["dtype"]).tolist() == [1]
    np.zeros(1, spec["dtype"]).tofile(file)
    with pytest.raises(InputError, match="interrupted"):
        load_results(folder)


def test_the_project_knows_nothing_of_this_machine(project):
    known = {sys.prefix, sys.base_prefix, str(project.parent), str(Path.home()), os.getcwd()}
    for file in project.rglob("*"):
        if file.suffix in ("", ".json", ".md", ".cpp", ".h") and file.is_file():
            content = file.read_bytes()
            assert not [path for path in known if len(path) > 1 and path.encode() in content], file
    makefile = (project / "code" / "makefile").read_text()
    assert "-march=$(ARCH)" in makefile
    assert "native" in (project / "README.md").read_text()


def test_architecture_can_be_chosen(project):
    if shutil.which("make") is None:
        pytest.skip("needs make")
    (project / "code" / "make.deps").touch()
    dry = subprocess.run(
        ["make", "-n", "ARCH=x86-64-v3"], cwd=project, capture_output=True, text=True
    )
    (project / "code" / "make.deps").unlink()
    assert "-march=x86-64-v3" in dry.stdout
    assert "native" not in dry.stdout


def test_a_table_longer_than_the_capacity_is_refused(small_network, dataset, table, tmp_path):
    with pytest.raises(InputError, match=f"capacity={len(table)}"):
        export_cpp(small_network(capacity=len(table) - 1), dataset, table, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_refused(small_network, dataset, table, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        export_cpp(small_network(capacity=len(table)), dataset, table, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_refused(small_network, dataset, table, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        export_cpp(small_network(capacity=len(table)), dataset, table, tmp_path / "file" / "out")
    with pytest.raises(InputError, match="cannot write"):
        export_cpp(small_network(capacity=len(table)), dataset, table, tmp_path / "file")


def test_data_that_do_not_fit_are_refused(small_network, dataset, table, tmp_path):
    network = small_network(layers=(4, 3, 2), capacity=len(table))
    with pytest.raises(InputError, match="9 pixels"):
        export_cpp(network, dataset, table, tmp_path / "out")


def test_results_that_are_not_there_name_the_cure(project, tmp_path):
    for read in (load_results, load_state):
        with pytest.raises(InputError, match="no exported project"):
            read(tmp_path)
        with pytest.raises(InputError, match="make run"):
            read(project)

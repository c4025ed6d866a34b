"""Running experiments: interruption, resumption, seeds and folds."""

import ctypes
import gc
import json
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from brian2 import mV

from bsd.analysis.report import write_report
from bsd.equations import InputError
from bsd.networks import CONTROL_COLUMNS
from bsd.runs.experiments import experiment, run_experiment, run_many, summarise
from bsd.runs.experiments import frames as frames_module
from bsd.runs.experiments import many as many_module
from bsd.runs.experiments import run as run_module

FRAMES = (
    "trials", "counts", "cell_counts", "spikes", "voltages", "alignment", "weight_alignment",
    "weight_distribution",
)


@pytest.fixture
def small(monkeypatch, dataset):
    """A two-epoch experiment on the made-up data, on the runtime device."""
    for module in (run_module, many_module):
        monkeypatch.setattr(module, "load_data", lambda *_: dataset)
    return experiment("demo").changed(hidden=(8, 7), epochs=2)


def _run(small, out, **options):
    return run_experiment(small, out, device="runtime", **options)


def _arrays(out):
    with np.load(out / "weights.npz") as weights:
        return {name: weights[name] for name in weights.files}


class _Interrupted(KeyboardInterrupt):
    pass


@pytest.mark.parametrize(
    "chunks", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(5, marks=pytest.mark.slow)]
)
def test_interrupted_run_resumes_to_the_same_bits(small, tmp_path, chunks, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    _run(small, whole)
    saved = []
    save = run_module.ResultsFolder.save_chunk

    def save_and_count(folder, *arguments):
        save(folder, *arguments)
        saved.append(1)
        if len(saved) == chunks:
            raise _Interrupted

    monkeypatch.setattr(run_module.ResultsFolder, "save_chunk", save_and_count)
    with pytest.raises(_Interrupted):
        _run(small, broken)
    assert not (broken / "metrics.json").exists()
    _run(small, broken, resume=True)
    for name, array in _arrays(whole).items():
        np.testing.assert_array_equal(array, _arrays(broken)[name], err_msg=name)
    for name in FRAMES:
        pd.testing.assert_frame_equal(
            pd.read_parquet(whole / f"{name}.parquet"), pd.read_parquet(broken / f"{name}.parquet")
        )


def test_times_of_an_interrupted_run_are_added_up(small, tmp_path, monkeypatch):
    """The metrics count what was simulated before the interruption, too."""
    save = run_module.ResultsFolder.save_chunk
    kept = []

    def save_and_stop(folder, number, frames, state, times):
        save(folder, number, frames, state, {name: 1000 + t for name, t in times.items()})
        kept.append(dict(times))
        if number == 1:  # the first epoch
            raise _Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(run_module.ResultsFolder, "save_chunk", save_and_stop)
        with pytest.raises(_Interrupted):
            _run(small, tmp_path)
    assert kept[0]["trained"] == 0 and kept[1]["trained"] == 24
    assert kept[1]["run"] > kept[1]["train"] > kept[0]["train"] == 0
    metrics = _run(small, tmp_path, resume=True)
    assert 1000 + kept[1]["run"] < metrics["run_s"] < 1100 + kept[1]["run"]
    # 1024 trials are said to have been trained before, 24 are in the second epoch
    assert metrics["ms_per_trial"] == pytest.approx(1e3 * 1000 / 1048, rel=0.05)


def test_finished_run_gives_its_metrics_again(small, tmp_path, monkeypatch):
    metrics = _run(small, tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.glob("*.*")}

    def never(*_, **__):
        raise AssertionError("something was simulated")

    monkeypatch.setattr(run_module, "Simulation", never)
    again = _run(small, tmp_path, resume=True)
    assert again == json.loads(json.dumps(metrics))
    assert {file: file.read_bytes() for file in tmp_path.glob("*.*")} == before
    with pytest.raises(InputError, match="another epochs"):
        _run(small.changed(epochs=3), tmp_path, resume=True)


def test_finished_run_may_have_been_moved(small, tmp_path):
    _run(small, tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert _run(small, tmp_path / "there", resume=True)["out"] == str(tmp_path / "there")


def test_cohort_is_run_as_one_network_and_told_apart(small, tmp_path):
    varied = {"learning.decay": (0.5, 1.0), "cell.V_threshold": (-50 * mV, -56 * mV)}
    together = _run(small.changed(varied=varied), tmp_path / "cohort", seed=[3, 7])
    assert together["seed"] == [3, 7]
    for replica, seed in enumerate((3, 7)):
        own = {key: values[replica] for key, values in varied.items()}
        alone = _run(small.changed(assignments=own), tmp_path / f"{replica}", seed=seed)
        row = together["replicas"][replica]
        assert row["seed"] == seed
        for name in ("accuracy", "accuracy_train", "recall_correlation"):
            assert row[name] == pytest.approx(alone[name], rel=1e-9), name
        for name in FRAMES:
            frame = pd.read_parquet(tmp_path / "cohort" / f"{name}.parquet")
            own_rows = frame[frame["replica"] == replica].drop(columns="replica")
            expected = pd.read_parquet(tmp_path / f"{replica}" / f"{name}.parquet")
            if name == "voltages":  # of fewer cells
                expected = expected[expected["cell"] <= frame["cell"].max()]
            pd.testing.assert_frame_equal(
                own_rows.reset_index(drop=True),
                expected.drop(columns="replica").reset_index(drop=True),
                check_categorical=False,
            )
    accuracies = [row["accuracy"] for row in together["replicas"]]
    assert together["accuracy"] == pytest.approx(np.mean(accuracies))
    assert "Replica 1, learning." in write_report(tmp_path / "cohort").read_text()


def test_varied_parameters_stay_when_something_else_changes(small):
    varied = small.changed(varied={"learning.lam": (1, 2)})
    assert varied.changed(epochs=3).varied == {"learning.lam": (1, 2)}
    assert varied.changed(varied={}).varied == {}
    assert varied.changed(assignments={"learning.lam": 3}).varied == {}


def test_varied_parameters_need_a_value_for_each_replica(small, tmp_path):
    with pytest.raises(InputError, match="learning.lam is varied over 3 values, the cohort has 2"):
        _run(small.changed(varied={"learning.lam": (1, 2, 3)}), tmp_path, seed=[0, 1])


def test_earlier_results_stay_until_the_new_run_can_start(small, tmp_path, monkeypatch):
    _run(small, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*.*")}

    def fail(*_, **__):
        raise InputError("no compiler")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "Simulation", fail)
        with pytest.raises(InputError, match="no compiler"):
            _run(small.changed(epochs=1), tmp_path, overwrite=True)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.*")} == before
    metrics = _run(small.changed(epochs=1), tmp_path, overwrite=True)
    assert metrics["epochs"] == 1 and metrics["trials"] < 100 + 24 + 24
    assert len(pd.read_parquet(tmp_path / "trials.parquet")) == metrics["trials"]


def test_several_runs_are_replaced_together(small, tmp_path, monkeypatch):
    """Stopped while the first one runs: the others' old results are not taken for new ones."""
    several = {"seeds": [3, 4], "device": "runtime"}
    for seed in several["seeds"]:
        _run(small, tmp_path / f"seed{seed}-fold0", seed=seed)
    (tmp_path / "metrics.json").write_text("{}")
    old = [file for file in tmp_path.rglob("metrics.json")]
    assert len(old) == 3

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(many_module, "_in_processes", stopped)
    with pytest.raises(InputError, match="holds finished runs: .*--resume.*--overwrite"):
        run_many(small, tmp_path, **several)
    with pytest.raises(KeyboardInterrupt):
        run_many(small, tmp_path, **several, resume=True)
    assert all(file.exists() for file in old)
    with pytest.raises(KeyboardInterrupt):
        run_many(small, tmp_path, **several, overwrite=True)
    assert not any(file.exists() for file in old)


def test_seed_decides_everything(small, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        _run(small, tmp_path / name, seed=seed)
    a, b, c = (_arrays(tmp_path / name) for name in "abc")
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
        assert not np.array_equal(a[name], c[name])


def _stop_after_first_chunk(small, out, monkeypatch):
    save = run_module.ResultsFolder.save_chunk

    def save_and_stop(folder, *arguments):
        save(folder, *arguments)
        raise _Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(run_module.ResultsFolder, "save_chunk", save_and_stop)
        with pytest.raises(_Interrupted):
            _run(small, out)


def test_damaged_checkpoint_is_refused(small, tmp_path, monkeypatch):
    out = tmp_path / "run"
    _stop_after_first_chunk(small, out, monkeypatch)
    (out / "checkpoint-000001.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="damaged"):
        _run(small, out, resume=True)


def test_checkpoint_of_another_network_is_refused(small, tmp_path, monkeypatch):
    out = tmp_path / "run"
    _stop_after_first_chunk(small, out, monkeypatch)
    with pytest.raises(InputError, match="another layers"):
        _run(small.changed(hidden=(8, 6)), out, resume=True)


def test_numbers_of_numpy_are_plain_numbers(small, tmp_path):
    """Before an earlier run is deleted, not after."""
    chosen = small.changed(epochs=np.int64(1))
    metrics = _run(chosen, tmp_path, seed=np.int64(3))
    again = _run(chosen, tmp_path, seed=np.arange(3, 4).tolist(), overwrite=True)
    assert (again["seed"], again["accuracy"]) == (3, metrics["accuracy"])


def test_table_shows_test_stimuli_without_learning(small, dataset):
    table = run_module.experiment_table(small, dataset, seed=0)
    test = table[table["part"] == "test"]
    assert (test.loc[test["phase"] == "test", "learn"] == 0).all()
    assert not test.loc[test["phase"] == "test", "source"].str.contains("concept").any()
    train = table[table["phase"] == "train"]
    for _, epoch in train.groupby("epoch"):
        assert sorted(epoch["stimulus"]) == list(range(len(dataset.x_train)))


def test_learning_rates_decay_from_epoch_to_epoch(small, dataset):
    table = run_module.experiment_table(small, dataset, seed=0)
    decay = small.parameters.learning.decay
    learn = table[table["phase"] == "train"].groupby("epoch")["learn"].unique()
    np.testing.assert_allclose(np.concatenate(learn.to_list()), [1, decay])
    linear = small.changed(assignments={"learning.linear_decay": True})
    table = run_module.experiment_table(linear, dataset, seed=0)
    learn = table[table["phase"] == "train"]["learn"].to_numpy()
    n = len(learn)
    expected = np.where(np.arange(n) < n // 2, 1, decay) * (1 - np.arange(n) / n)
    np.testing.assert_allclose(learn, expected)


def test_weights_and_recall_of_every_concept_are_written(small, tmp_path, dataset):
    _run(small, tmp_path / "run")
    weights = _arrays(tmp_path / "run")
    cells = 3 * small.parameters.encoding.cells_per_concept
    shapes = {"W0": (9, 8), "W1": (8, 7), "W2": (7, cells)}
    shapes |= {"Theta0": (8, 9), "Theta1": (7, 8), "Theta2": (cells, 7)}
    assert {name: array.shape for name, array in weights.items()} == shapes
    with np.load(tmp_path / "run" / "recall.npz") as recall:
        assert recall["recalled"].shape == recall["class_mean"].shape == (3, 9)
        assert recall["recalled"].min() >= 0 and recall["recalled"].max() <= 1


def test_all_spikes_are_kept_if_asked_for(small, tmp_path):
    """As many as were counted, in every trial; what was said before is of that order."""
    said = []
    once = small.changed(hidden=(6,), epochs=1, spikes="all")
    _run(once, tmp_path, progress=lambda *event: said.append(event))
    (note,) = [text for stage, _, _, text in said if stage == "note"]
    spikes, counts = (pd.read_parquet(tmp_path / f"{n}.parquet") for n in ("spikes", "counts"))
    keys = ["trial", "population"]
    counts["population"] = counts["population"].astype(str)
    counted = counts[counts["spikes"] > 0].set_index(keys)["spikes"].sort_index()
    assert spikes.groupby(keys).size().sort_index().to_dict() == counted.to_dict()
    assert "GB in Parquet" in note
    expected = float(note.split("about ")[1].split(",")[0])
    assert expected / 5 < len(spikes) < 5 * expected
    assert pd.read_parquet(tmp_path / "cell_counts.parquet")["trial"].nunique() < 40


def test_all_spikes_of_a_text_are_foreseen(tmp_path):
    """Context cells fire at the typical rate, whatever the mean of the stimuli is."""
    chosen = experiment("text").changed(hidden=(50,))
    dataset = run_module.load_data(chosen, 0)
    network = run_module.build_network(chosen, dataset)
    note = run_module._announce(network, dataset, 100, tmp_path)
    n_pixels, n_output = dataset.image_shape[1], network.cells_per_layer[-1]
    n_context = 50 * network.parameters.encoding.context
    # stimulus, concept, context; F1, the output, and B0, which has a cell for every afferent
    per_step = dataset.x_train[np.arange(len(dataset.x_train))].mean() * n_pixels
    per_step += network.parameters.encoding.cells_per_concept + 0.1 * n_context
    per_step += 0.1 * (50 + n_output + 50 + n_pixels + n_context)
    timing = network.parameters.timing
    expected = 100 * float(timing.duration * timing.f_max) * per_step
    assert network.layout.n_cells == 50 + n_output + 50 + n_pixels + n_context
    # two digits are said
    assert float(note.split("about ")[1].split(",")[0]) == pytest.approx(expected, rel=0.06)


def test_all_spikes_of_on_and_off_afferents_are_foreseen(tmp_path, dataset):
    """Twice the gain means twice the spikes that contrasts add, as long as none is cut off."""
    expected = []
    for gain in (0.0, 0.5, 1.0):
        chosen = experiment("demo").changed(
            hidden=(4,), assignments={"encoding.contrast": gain, "encoding.surround": 1.0}
        )
        network = run_module.build_network(chosen, dataset)
        note = run_module._announce(network, dataset, 10**6, tmp_path)
        cells = run_module.TYPICAL_RATE * network.layout.n_cells
        timing = network.parameters.timing
        n_spikes = float(note.split("about ")[1].split(",")[0])
        expected.append(n_spikes / (10**6 * float(timing.duration * timing.f_max)) - cells)
    none, half, full = expected
    assert half - none > 0.1
    assert full - none == pytest.approx(2 * (half - none), rel=0.3)


def test_context_cells_count_in_the_size_of_a_chunk(dataset):
    capacity = {}
    for context in (0, 2):
        chosen = experiment("demo").changed(
            hidden=(3000,), assignments={"encoding.context": context}
        )
        capacity[context] = run_module.build_network(chosen, dataset, replicas=100).capacity
    concepts = 3 * chosen.parameters.encoding.cells_per_concept
    assert capacity[0] == 1000
    assert capacity[2] == run_module.MAX_STIMULI // (100 * (9 + 2 * 3000 + concepts))


@pytest.mark.parametrize("change", [{"encoding.contrast": 1.0}, {"encoding.cutoff": 0.1}])
def test_on_and_off_afferents_count_in_the_size_of_a_chunk(change):
    pixels = np.zeros((3, 120, 120))
    images = SimpleNamespace(
        image_shape=(120, 120), n_concepts=3, x_train=pixels, x_test=pixels
    )
    chosen = experiment("demo").changed(hidden=(8,), assignments=change)
    network = run_module.build_network(chosen, images, replicas=10)
    concepts = 3 * chosen.parameters.encoding.cells_per_concept
    assert network.capacity == run_module.MAX_STIMULI // (10 * (3 * 120 * 120 + concepts)) < 1000


def test_synaptic_events_beyond_32_bits_are_kept():
    counts = pd.DataFrame(
        {
            "population": ["F1"], "pathway": "forward", "replica": 0, "layer": 1,
            "n_cells": 100_000, "spikes": 200_000, "synapses": 10**9,
            "synaptic_events": 3 * 10**9, "rate_hz": 100.0,
        }
    )
    assert frames_module._compact(counts)["synaptic_events"].tolist() == [3 * 10**9]


def test_every_replica_is_judged_by_its_own_parameters(dataset):
    """All are silent and not aligned: only layers that learn can lose their alignment."""
    varied = {"learning.hidden": ("frozen", "learned", "frozen")}
    chosen = experiment("demo").changed(hidden=(8,), varied=varied)
    network = run_module.build_network(chosen, dataset, replicas=3)
    each = {"trial": [0, 0, 0], "epoch": 1, "replica": [0, 1, 2]}
    frames = {
        "trials": pd.DataFrame({**each, "phase": "align"}),
        "counts": pd.DataFrame(
            {**each, "population": "F1", "pathway": "forward", "layer": 1, "rate_hz": 0.0}
        ).drop(columns="epoch"),
        "alignment": pd.DataFrame(
            {**each, "layer": 1, "kappa": 0.0, "kappa_shuffled": 0.0}
        ).drop(columns="epoch"),
        "weight_distribution": pd.DataFrame(
            {**each, "projection": "W0", "q10": 0.0, "q90": 0.0}
        ),
    }
    found = frames_module.found_divergences(network, frames)
    assert list(zip(found["replica"], found["kind"], strict=True)) == [
        (0, "dead"), (1, "collapsed"), (1, "dead"), (2, "dead")
    ]


def test_all_spikes_are_refused_where_they_do_not_fit(small, tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr(run_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="GB in Parquet.* has 1e-06 GB left: make room"):
        _run(small.changed(spikes="all"), tmp_path)
    with pytest.raises(InputError, match="choose 'few' or 'all'"):
        small.changed(spikes="some")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_of_the_driving_process_is_flat(small, tmp_path, monkeypatch):
    """Over 50 chunks of 0.6 MB of outputs each: besides transients at most 8 MB are added.

    What is free goes back to the system before each reading: what allocators keep varies.
    """
    real, sizes = run_module.Simulation.__init__, []

    def canned(simulation, *arguments, **options):
        """Each kind of chunk is simulated once."""
        real(simulation, *arguments, **options)
        run, made = simulation.simulator.run, {}

        def again(inputs, n_trials, progress=None):
            control = np.reshape(inputs["control.values"], (-1, len(CONTROL_COLUMNS)))
            learn, record = control[:, :2].T > 0
            kind = (n_trials, learn.tobytes(), record.tobytes())
            if kind not in made:
                made[kind] = run(inputs, n_trials, progress)
            return {name: np.array(value) for name, value in made[kind].items()}

        simulation.simulator.run = again

    save = run_module.ResultsFolder.save_chunk

    def save_and_measure(folder, *arguments):
        save(folder, *arguments)
        gc.collect()
        pa.default_memory_pool().release_unused()
        ctypes.CDLL(None).malloc_trim(0)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(pages * resource.getpagesize() / 1e6)
        if len(sizes) == 60:
            raise _Interrupted

    monkeypatch.setattr(run_module.Simulation, "__init__", canned)
    monkeypatch.setattr(run_module.ResultsFolder, "save_chunk", save_and_measure)
    with pytest.raises(_Interrupted):
        _run(small.changed(hidden=(300, 300), epochs=25), tmp_path)
    early, late = (np.quantile(some, 0.25) for some in (sizes[10:30], sizes[40:]))
    assert late - early < 8, sizes


def test_a_diverging_run_has_warnings(small, tmp_path):
    """Weights explode with an absurd learning rate: said while it runs, in the metrics, and in
    the report."""
    said = []
    wild = small.changed(epochs=1, assignments={"learning.eta": 500, "learning.eta_top": 500})
    metrics = _run(wild, tmp_path, progress=lambda *event: said.append(event))
    assert metrics["warnings"] and any("exploded" in text for text in metrics["warnings"])
    assert json.loads((tmp_path / "metrics.json").read_text())["warnings"] == metrics["warnings"]
    while_running = [text for stage, _, _, text in said if stage == "warning"]
    assert while_running and set(while_running) <= set(metrics["warnings"])
    report = write_report(tmp_path).read_text()
    assert 'id="warnings"' in report and "has exploded" in report


@pytest.mark.parametrize("seeds", [[0, 0], [-1], [0.5], ["a"], []])
def test_seeds_are_different_whole_numbers(small, tmp_path, seeds):
    with pytest.raises(InputError, match="give different whole numbers"):
        run_many(small, tmp_path / "out", seeds=seeds, device="runtime")
    assert not (tmp_path / "out").exists()


SCRIPTS = {
    "run_many": """
from bsd.runs.experiments import experiment, run_many
run_many(
    experiment("demo").changed(epochs=1, hidden=[8, 8]), "out", seeds=[0, 1], device="runtime"
)
""",
    "measure_cohorts": """
from bsd.runs.bench.speed import Case, measure_cohorts
measure_cohorts([Case((784, 8, 8, 3), device="runtime", replicas=n) for n in (1, 2)])
""",
}


@pytest.mark.parametrize("function", SCRIPTS)
def test_script_without_a_main_guard_is_told_so(tmp_path, function):
    """Processes of several runs import it again; those of a pool would be replaced for ever."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPTS[function])
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    said = f"{function} starts processes of its own, which import the script again: call it under"
    assert said in done.stderr
    assert "NoneType" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert function != "run_many" or ("under `if __name__" in last and "InputError" in last)


@pytest.mark.parametrize(
    "call, announced", [("experiment('nothing')", False), ("experiment('demo').layers(1)", True)]
)
def test_wrong_input_is_not_announced_as_a_mistake_of_brian(call, announced):
    script = f"from bsd.runs.experiments import experiment\n{call}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr
    assert ("Brian 2 encountered an unexpected error" in done.stderr) == announced


def test_several_runs_are_summarised_whole(small, tmp_path):
    """Neither resumed with fewer seeds, nor replaced in part."""
    for seed in (0, 1):
        _run(small, tmp_path / f"seed{seed}-fold0", seed=seed)
    for how in ("resume", "overwrite"):
        with pytest.raises(InputError, match="other runs, too .seed1-fold0.*name their seeds"):
            run_many(small, tmp_path, seeds=[0, 2], device="runtime", **{how: True})
    with pytest.raises(InputError, match="several seeds or folds: name all seeds"):
        _run(small, tmp_path, seed=3)


def test_a_run_that_was_stopped_before_it_began_is_resumed(small, tmp_path):
    with pytest.raises(InputError, match="no run to resume"):
        _run(small, tmp_path / "mistyped", resume=True)
    (tmp_path / "begun").mkdir()
    assert _run(small, tmp_path / "begun", resume=True)["epochs"] == 2


def test_other_values_are_no_repeats(small, tmp_path):
    varied = small.changed(varied={"learning.lam": (0, 4)})
    metrics = run_many(varied, tmp_path / "out", seeds=[1, 2], cohort=True, device="runtime")
    assert metrics["learning.lam"].tolist() == ["0.0", "4.0"]
    assert summarise(metrics, tmp_path)["accuracy_sd"] is None
    assert summarise(metrics.drop(columns="learning.lam"), tmp_path)["accuracy_sd"] is not None

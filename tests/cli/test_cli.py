"""The command line: what a user types, and what comes back when it is wrong."""

import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from bsd.runs import experiments

DEMO = ("demo", "--epochs", "2", "--layers", "64,64")  # as the fixture `finished`


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """Neither data nor network."""
    import pooch

    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", no_network)
    monkeypatch.setenv("BSD_DATA", str(tmp_path))


def test_unknown_experiment(refused, out):
    refused("run", "digts", "--out", out, says="'digits'")


def test_unknown_parameter_suggests_the_right_one(refused, out):
    refused("run", "demo", "--out", out, "--set", "cell.tau_som=10*ms", says="cell.tau_soma")


@pytest.mark.parametrize(
    "assignment, says",
    [
        ("cell.tau_soma=10*mV", "unit"),
        ("cell.tau_soma=10", "unit"),
        ("cell.tau_soma=10*parsec", "parsec"),
        ("cell.tau_soma=-1*ms", "must lie"),
        ("learning.features=rates", "'spikes'"),
        ("learning.memory_slots=2.5", "whole number"),
        ("learning.lam=nan", "NaN is no value"),
        ("learning.margin_gating=maybe", "true or false"),
        ("cell.V_reset=-50*mV", "V_threshold"),
        ("timing.duration=10.5*ms", "whole steps"),
        ("timing.f_max=1100*Hz", "at most once in a step"),
        ("cell.g_as=1*nS", "did you mean cell.g_apical"),
        ("cell.tau_soma", "="),
        ("cell.tau_soma=__import__('os')", "cell.tau_soma"),
    ],
)
def test_bad_value(refused, out, assignment, says):
    refused("run", "demo", "--out", out, "--set", assignment, says=says)


@pytest.mark.parametrize(
    "options, says",
    [
        (("ablation",), "did you mean 'ablations'"),
        (("ablations", "--workers", "0"), "positive number"),
        (("ablations", "--workers", "2", "--scheduler", "tcp://x:1"), "without --scheduler"),
    ],
)
def test_bad_sweep(refused, out, options, says):
    refused("sweep", *options, "--out", out, says=says)
    assert not out.exists()


def test_sweep_without_dask_says_how_to_get_it(refused, out, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    refused("sweep", "ablations", "--out", out, says="pip install 'bsd-brian2[sweep]'")
    assert not out.exists()


def test_list_shows_the_sweeps(bsd):
    code, shown, _ = bsd("list")
    assert code == 0 and "ablations" in shown


@pytest.mark.parametrize("layers", ["0", "-4,3", "12,", "a,b", "1.5"])
def test_impossible_layers(refused, out, layers):
    refused("run", "demo", "--out", out, f"--layers={layers}", says="whole number")


@pytest.mark.parametrize(
    "option, value, says",
    [
        ("--epochs", "0", "positive whole number"),
        ("--seed", "-1", "not negative"),
        ("--seed", "1,1", "different"),
        ("--seed", "x", "whole numbers"),
        ("--replicas", "0", "positive number of replicas"),
        ("--vary", "learning.lam=1,2", "add --replicas"),
        ("--device", "gpu", "cpp"),
        ("--colour", "red", "--colour"),
    ],
)
def test_bad_option(refused, out, option, value, says):
    refused("run", "demo", "--out", out, f"{option}={value}", says=says)


def test_missing_data_file(refused, out, no_data):
    refused("run", "mnist", "--out", out, says="mnist")


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda a: a | {"x_train": np.where(a["x_train"] > 0.9, np.nan, a["x_train"])}, "NaN"),
        (lambda a: a | {"y_train": a["y_train"] + 9}, "labels"),
        (lambda a: a | {"x_train": a["x_train"].reshape(-1, 14, 56)}, "28"),
    ],
    ids=["NaN", "labels out of range", "shape"],
)
def test_bad_images(refused, out, monkeypatch, tmp_path, change, says):
    generator = np.random.default_rng(0)
    arrays = {
        f"{kind}_{part}": value
        for part, n in (("train", 30), ("test", 20))
        for kind, value in (
            ("x", generator.random((n, 28, 28))),
            ("y", np.arange(n) % 10),
        )
    }
    np.savez(tmp_path / "mnist.npz", **change(arrays))
    monkeypatch.setenv("BSD_DATA", str(tmp_path))
    refused("run", "mnist", "--out", out, says=says)


def test_no_compiler(refused, out, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    refused("run", "demo", "--out", out, says="install g++")


def test_unwritable_results_folder(refused, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    refused("run", "demo", "--out", tmp_path / "file" / "results", says="--out")


def test_folder_with_other_files_is_left_alone(refused, out):
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    refused("run", "demo", "--out", out, says="other files")
    assert (out / "thesis.tex").read_text() == "years of work"


def test_unwritable_cache(refused, out, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BSD_CACHE", str(tmp_path / "file"))
    refused("run", "demo", "--out", out, says="BSD_CACHE")


def test_resume_without_a_run(refused, out):
    refused("run", "demo", "--out", out, "--resume", says="without --resume")


def test_report_of_no_results(refused, tmp_path):
    refused("report", tmp_path, says="config.yaml")


def test_list_shows_every_preset(bsd):
    from bsd.runs.experiments import PRESETS

    code, shown, _ = bsd("list")
    assert code == 0
    assert all(name in shown for name in PRESETS)


def test_data_lists_what_ships_as_here(bsd):
    code, shown, _ = bsd("data")
    assert code == 0
    assert "digits" in shown and "mnist5k" in shown


def test_data_says_below_the_table_how_to_get_a_set(bsd, no_data, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, shown, _ = bsd("data")
    lines = shown.splitlines()
    assert code == 0 and len(lines) < 60 and max(map(len, lines)) <= 80
    head, told = shown.split("How to get", 1)
    assert "mnist.npz" not in head and "digits" not in told
    (row,) = [line for line in lines if "mnist " in line and "│" in line and "70000" in line]
    assert "28x28" in row and "    downloaded at first use, or put mnist.npz (arrays" in told


@pytest.fixture
def shown_summary(monkeypatch):
    """Function that prints a summary on a terminal of 80 columns and returns the lines."""
    from rich.console import Console

    from bsd.runs.cli import perception

    def show(summary):
        terminal = Console(width=80, file=io.StringIO())
        monkeypatch.setattr(perception, "console", terminal)
        perception._show(summary)
        lines = terminal.file.getvalue().splitlines()
        assert max(map(len, lines)) <= 80
        return lines

    return show


def _cells(lines, first):
    return [line.split("│")[1:-1] for line in lines if line.startswith(f"│ {first} ")]


def test_imagery_is_shown_with_a_row_for_each_layer(shown_summary):
    names = ("cosine_same", "cosine_other", "hamming_same", "hamming_other", "rho", "p")
    lines = shown_summary({
        f"layer {layer}": {
            comparison: {name: layer + k / 10 for k, name in enumerate(names)}
            for comparison in ("type 1 perceived, type 1 imagined", "another", "and a third")
        }
        for layer in range(4)
    } | {"seconds": 1.5})
    assert len(lines) < 40
    assert sum(line.startswith("type 1 perceived, type 1 imagined") for line in lines) == 1
    rows = _cells(lines, "layer 2")
    assert len(rows) == 3 and [float(cell) for cell in rows[0][1:]] == [2, 2.1, 2.2, 2.3, 2.4, 2.5]
    assert _cells(lines, "seconds")[0][1].strip() == "1.5"


def test_statistics_are_shown_with_a_row_for_each_population(shown_summary):
    statistics = [f"statistic_{k}" for k in range(13)]
    lines = shown_summary({
        phase: {
            population: {name: k + 0.123 for k, name in enumerate(statistics)}
            for population in ("S", "F1", "B0")
        } | {"F2": {"statistic_0": 7.0}}
        for phase in ("perceived", "imagined")
    })
    of_phase = len(_cells(lines, "F1")) // 2  # in as many parts as the width asks for
    values = [float(c) for row in _cells(lines, "F1")[:of_phase] for c in row[1:]]
    assert values == pytest.approx([k + 0.123 for k in range(13)], abs=0.05) and of_phase < 4
    assert "7" in _cells(lines, "F2")[0][1]


def test_dynamics_are_shown_with_a_row_for_each_layer_and_population(shown_summary):
    lines = shown_summary({
        "angle_deg": {"0": [90.0, 80.0], "1": [90.0, 70.0]}, "kappa": {"1": [0.0, 0.5]},
        "rate_hz": {"F1": [200.0, 90.0]},
    })
    assert [cell.strip() for cell in _cells(lines, "layer 1")[0]] == [
        "layer 1", "90 → 70", "0 → 0.5"
    ]
    assert _cells(lines, "F1")[0][1].strip() == "200 → 90"


def test_show_prints_equations_and_parameters(bsd):
    code, shown, _ = bsd("show", "demo", "--set", "cell.tau_soma=10*ms")
    assert code == 0
    assert "dv_b/dt" in shown and "tau_soma" in shown and "Theta1" in shown
    assert "reset spike, in slot 'resets' every 1 ms [COUNT_SPIKE, RESET]" in shown


def test_show_lists_the_options_of_the_data(bsd):
    code, shown, _ = bsd("show", "forecast", "--set", "data.horizon=3")
    assert code == 0
    assert re.search(r"data\.horizon +3\n", shown) and re.search(r"data\.season +None\n", shown)
    assert "Elements ahead." in shown and "name : str" not in shown


def test_audit_prints_verdicts_with_evidence(bsd):
    code, shown, _ = bsd("audit", "demo", "--layers", "12,11", "--json")
    assert code == 0
    assert json.loads(shown.splitlines()[-1]) == {
        "name": "demo", "passed": True, **dict.fromkeys(["C1", "C2", "C3", "C4", "C5"], "pass"),
    }
    assert "initial weights" in shown and "FAIL" not in shown
    assert "Dale's law" in shown and "B1 to B0" in shown


def test_audit_of_a_network_that_fails(bsd):
    code, shown, err = bsd(
        "audit", "demo", "--layers", "12,11", "--set", "learning.features=voltages", "--json"
    )
    assert code == 1 and not err
    result = json.loads(shown.splitlines()[-1])
    assert not result["passed"] and result["C5"] == "fail" and result["C4"] == "pass"
    assert "FAIL" in shown


def test_audit_of_trained_weights(bsd, finished, monkeypatch):
    folder, _, _ = finished
    monkeypatch.setenv("COLUMNS", "200")
    code, shown, _ = bsd("audit", "demo", "--layers", "64,64", "--results", folder)
    assert code == 0
    angles = pd.read_parquet(folder / "weight_alignment.parquet").groupby("layer")["angle_deg"]
    for layer, angle in angles.last().items():
        assert f"W{layer} and Theta{layer} {angle:.1f} deg" in shown


def test_audit_of_a_replica(bsd, refused, finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "cohort")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"seed": [0, 1]}))
    with np.load(folder / "weights.npz") as weights:
        np.savez(folder / "weights-0.npz", **weights)
        np.savez(folder / "weights-1.npz", **{name: -w for name, w in weights.items()})
    (folder / "weights.npz").unlink()
    arguments = ("audit", "demo", "--layers", "64,64", "--results", folder)
    refused(*arguments, says="name one of 0 to 1")
    code, shown, _ = bsd(*arguments, "--replica", "1", "--json")
    assert code == 0 and json.loads(shown.splitlines()[-1])["passed"]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("digts",), "'digts'"),
        (("demo", "--set", "cell.tau_som=10*ms"), "cell.tau_soma"),
        (("demo", "--layers", "0"), "whole number"),
        (("demo", "--results", "nowhere"), "no results folder of a finished run"),
        (("demo", "--replica", "1"), "--results"),
    ],
)
def test_audit_refuses(refused, arguments, says):
    refused("audit", *arguments, says=says)


def test_audit_of_another_network_than_the_run(refused, finished):
    folder, _, _ = finished
    refused("audit", "demo", "--layers", "12,11", "--results", folder, says="weights W0")


def test_json_is_the_last_line(finished):
    folder, stdout, _ = finished
    result = json.loads(stdout.splitlines()[-1])
    assert result["accuracy"] > 0.6  # chance is 0.1; 5 epochs of wider layers reach 0.95
    assert result["trials"] == 2 * (1347 + 450) + 3 * 60 + 10
    assert result["ms_per_trial"] > 0 and result["build_s"] >= 0
    assert result["out"] == str(folder)
    assert result["warnings"] == []  # a healthy run


def test_progress_is_said_on_a_plain_stream(finished):
    _, _, stderr = finished
    assert "trials" in stderr
    assert "compiling" in stderr or "trials 0/" in stderr


def test_results_folder_is_complete(finished):
    folder, _, _ = finished
    files = {path.name for path in folder.iterdir()}
    assert files >= {
        "config.yaml", "provenance.json", "metrics.json", "trials.parquet", "counts.parquet",
        "alignment.parquet", "weight_alignment.parquet", "cell_counts.parquet", "spikes.parquet",
        "voltages.parquet", "recall.npz", "weights.npz", "report.html", "figures",
    }
    assert not {name for name in files if name.startswith(("parts", "checkpoint"))}
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert figures >= {
        "learning_curve", "confusion", "recall", "alignment", "raster", "voltages", "rates"
    }


def test_every_frame_joins_to_the_trial_table(finished):
    folder, _, _ = finished
    trials = pd.read_parquet(folder / "trials.parquet").set_index("trial")
    for name in ("counts", "alignment", "cell_counts", "spikes", "voltages"):
        frame = pd.read_parquet(folder / f"{name}.parquet")
        assert len(frame) and frame["trial"].isin(trials.index).all(), name
    counts = pd.read_parquet(folder / "counts.parquet")
    assert counts.groupby("trial").size().eq(8).all()  # S, C, F1..F3, B0..B2
    assert len(counts) == 8 * len(trials)


def test_no_label_reaches_the_network_in_test_trials(finished):
    folder, _, _ = finished
    trials = pd.read_parquet(folder / "trials.parquet").set_index("trial")
    counts = pd.read_parquet(folder / "counts.parquet")
    counts["phase"] = counts["trial"].map(trials["phase"])
    in_test = counts[(counts["phase"] == "test") & (counts["pathway"] != "forward")]
    driven = in_test.groupby("population", observed=True)["spikes"].sum()
    assert driven.drop("S").eq(0).all()


def test_finished_run_is_shown_again(bsd, finished, monkeypatch, tmp_path):
    """--resume then runs nothing: the same metrics, and the report drawn anew."""
    import bsd.runs.engine.cpp as cpp

    def never(*_, **__):
        raise AssertionError("something was simulated")

    monkeypatch.setattr(cpp.CppSimulator, "__init__", never)
    folder, stdout, _ = finished
    kept = shutil.copytree(folder, tmp_path / "kept")
    (folder / "report.html").unlink()
    code, shown, err = bsd("run", *DEMO, "--json", "--out", folder, "--resume")
    assert code == 0, err
    assert json.loads(shown.splitlines()[-1]) == json.loads(stdout.splitlines()[-1])
    assert (folder / "report.html").exists()
    for file in (*kept.glob("*.parquet"), *kept.glob("*.npz"), kept / "metrics.json"):
        assert (folder / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize(
    "options, says",
    [
        (("--epochs", "3", "--layers", "64,64"), "another epochs"),
        (("--epochs", "2", "--layers", "64,32"), "another layers"),
        ((*DEMO[1:], "--seed", "1"), "another seed"),
        ((*DEMO[1:], "--set", "learning.eta=0.1"), "another parameters"),
    ],
)
def test_resume_refuses_other_options(refused, finished, options, says):
    folder, _, _ = finished
    refused("run", "demo", *options, "--out", folder, "--resume", says=says)
    assert (folder / "metrics.json").exists()


@pytest.mark.parametrize(
    "options, says",
    [
        ((), "finished run: choose another folder with --out, or replace it with --overwrite"),
        (("--seed", "0,1"), "holds a run with one seed and fold"),
        (("--resume", "--overwrite"), "give one of them"),
    ],
)
def test_a_run_is_not_replaced_unasked(refused, finished, options, says):
    """Not even by the same one, whose folder may hold experiments."""
    folder, _, _ = finished
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    refused("run", *DEMO, "--out", folder, *options, says=says)
    assert {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize("existing", ["thesis.tex", "seed0-fold0"])
def test_every_folder_of_several_runs_is_checked_first(refused, out, existing):
    """Also the last one's; nothing was started then."""
    (out / "seed1-fold0").mkdir(parents=True)
    (out / "seed1-fold0" / existing).write_text("years of work")
    refused("run", "demo", "--seed", "0,1", "--out", out, says="seed1-fold0 holds ")
    assert not (out / "seed0-fold0" / "config.yaml").exists()
    assert (out / "seed1-fold0" / existing).read_text() == "years of work"


@pytest.mark.parametrize(
    "options, cure",
    [
        ((), "go on with the same command and --resume\n"),
        (("--overwrite",), "go on with the same command and --resume in place of --overwrite"),
    ],
)
def test_interrupt_says_how_to_go_on(bsd, out, monkeypatch, options, cure):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "run_many", stopped)
    code, _, err = bsd("run", "demo", "--out", out, *options)
    assert code == 130 and cure in err


@pytest.mark.parametrize(
    "error, line",
    [
        (RuntimeError("the compiled simulation\nfailed"), "error: the compiled simulation failed"),
        (
            OSError(28, "No space left on device", "a.npz"),
            "error: a.npz: No space left on device: make room ($TMPDIR moves temporary files); a "
            "run goes on with --resume",
        ),
        (MemoryError(), "error: out of memory: use smaller --layers"),
    ],
    ids=["simulation", "disk", "memory"],
)
def test_failures_are_one_line_and_exit_code_1(bsd, out, monkeypatch, error, line):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(experiments, "run_many", fail)
    code, _, err = bsd("run", "demo", "--out", out)
    assert (code, err.strip()) == (1, line)


def test_defects_are_not_hidden(bsd, out, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(experiments, "run_many", fail)
    with pytest.raises(ZeroDivisionError):
        bsd("run", "demo", "--out", out)


def test_show_needs_no_data(bsd, no_data):
    code, shown, err = bsd("show", "mnist", "--layers", "32,16")
    assert code == 0, err
    assert "784" in shown and "dv_b/dt" in shown


def test_export_refuses_what_no_memory_holds(refused, out):
    refused("export", "demo", "--layers", "30000,30000", "--out", out, says="GB of memory")
    assert not out.exists()


@pytest.mark.parametrize(
    "option, value, says",
    [("--seed", "-1", "not negative"), ("--device", "runtime", "use --device cpp")],
)
def test_bad_option_of_export(refused, out, option, value, says):
    refused("export", "demo", "--out", out, f"{option}={value}", says=says)
    assert not out.exists()


@pytest.mark.parametrize(
    "options, says",
    [
        (("--device", "cuda"), "--compute-capability"),
        (("--compute-capability", "9.0"), "give both or neither"),
        (("--device", "cuda", "--compute-capability", "90"), "for example 9.0"),
    ],
)
def test_export_for_a_gpu_needs_its_compute_capability(refused, out, options, says):
    refused("export", "demo", "--out", out, *options, says=says)
    assert not out.exists()


def test_report_of_an_exported_project_that_has_not_run(refused, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    refused("report", tmp_path, says="make run")


@pytest.mark.parametrize(
    "command", ["recall", "complete", "imagery", "ambiguity", "lesions", "statistics", "dynamics"]
)
def test_experiments_need_a_finished_run(refused, command, tmp_path):
    refused(command, tmp_path, says="no results folder of a finished run")


@pytest.mark.parametrize("command", ["recall", "complete", "imagery", "ambiguity", "lesions"])
@pytest.mark.parametrize("data", ["text", "series"])
def test_experiments_on_images_refuse_sequences(refused, monkeypatch, command, data, tmp_path):
    from types import SimpleNamespace

    from bsd.runs import experiments

    run = SimpleNamespace(config={"data": data}, folder=tmp_path)
    monkeypatch.setattr(experiments, "open_run", lambda *_: run)
    refused(command, tmp_path, says=f"sequence ({data}), this experiment needs images")


@pytest.mark.parametrize("benchmark", ["learning", "robustness"])
@pytest.mark.parametrize("name", ["text", "forecast"])
def test_benchmarks_on_images_refuse_sequences(refused, out, benchmark, name):
    refused(
        "bench", benchmark, "--data", name, "--out", out, says=f"use `bsd bench sequence {name}`"
    )
    assert not out.exists()


def test_bad_options_of_experiments(refused, finished):
    folder, _, _ = finished
    refused("recall", folder, "--seed", "-1", says="not negative")
    refused("complete", folder, "--device", "gpu", says="cpp")


def test_dynamics_are_added_to_the_report(bsd, finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    code, out, err = bsd("dynamics", folder, "--json")
    assert code == 0, err
    summary = json.loads(out.splitlines()[-1])
    assert summary["command"] == f"bsd dynamics {folder} --json"
    assert set(summary["angle_deg"]) == {"0", "1", "2"}
    frame = pd.read_parquet(folder / "experiments" / "dynamics" / "dynamics.parquet")
    assert set(frame["of"]) >= {"F1", "B0", "W1", "Theta1"}
    assert 'id="dynamics"' in (folder / "report.html").read_text()

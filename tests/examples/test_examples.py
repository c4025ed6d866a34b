"""The scripts of `runs/examples` answer their questions, on small networks."""

import re
from pathlib import Path

import pytest

from bsd.runs.experiments import experiment, run_experiment

EXAMPLES = Path(__file__).parents[2] / "runs" / "examples"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A short run of the demo, compiled once for all scripts."""
    folder = tmp_path_factory.mktemp("examples") / "demo"
    small = experiment("demo").changed(hidden=(64, 64), epochs=2)
    run_experiment(small, folder, seed=0)
    return folder


@pytest.fixture
def run(results, tmp_path, monkeypatch, capsys):
    """Run a script with some of its constants changed; its variables and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")

    def run(name, **constants):
        source = (EXAMPLES / f"{name}.py").read_text()
        if "RESULTS = " in source:
            constants["RESULTS"] = str(results)
        for constant, value in constants.items():
            source, n = re.subn(
                rf"^{constant} = .*$", f"{constant} = {value!r}", source, flags=re.MULTILINE
            )
            assert n == 1, constant
        variables = {"__name__": "__main__"}
        exec(compile(source, f"{name}.py", "exec"), variables)
        return variables, capsys.readouterr().out

    return run


def test_first_network(run):
    variables, shown = run("first_network")
    assert variables["accuracy"]["test"] > 0.85  # chance is 0.1
    assert (variables["likeness"] > 0.7).all() and "right percepts" in shown


def test_change_an_equation(run):
    variables, _ = run("change_an_equation", DEVICE="runtime", LAYERS=[64, 12, 11, 10], TRIALS=15)
    none, some, much = variables["rates"].values()
    assert none > some > much > 0


def test_partial_cue_recall(run):
    variables, _ = run("partial_cue_recall")
    curve = variables["curve"].astype(float)
    assert curve["correct"].iloc[0] > 0.85 and curve["correct"].iloc[-1] < 0.6
    r = curve["r"].to_list()  # the first quarter is margin in most digits
    assert min(r[:2]) > r[2] + 0.05 > r[3] + 0.1


def test_lesion(run):
    curve = run("lesion")[0]["curve"]
    assert curve["right percepts"].iloc[0] > 0.85 > curve["right percepts"].iloc[-1] + 0.2
    assert curve["spikes of layer 1"].is_monotonic_decreasing


def test_choose_on_validation(run):
    """Of two candidates, one of which learns nothing, the other is chosen and tested."""
    bad, good = {"learning.eta": 0.0, "learning.eta_top": 0.0}, {"learning.eta_top": 0.1}
    variables, shown = run(
        "choose_on_validation", CHOICE_SEEDS=(0,), TEST_SEEDS=(0,), WIDTHS=(64,), RULES=({},),
        RATES=(bad, good), **{"DEVICE, EPOCHS, FOLDS": ("cpp", 2, (0,))},
    )
    (row,) = variables["table"].itertuples()
    assert row.changes == good and row.test > 0.75 and "fold 0: 64 cells" in shown


def test_firing_statistics(run, tmp_path):
    variables, _ = run("firing_statistics", DEVICE="runtime", STIMULI=2)
    assert (tmp_path / "statistics.png").stat().st_size > 10_000
    cv = variables["summary"].query("statistic == 'cv' and population == 'F1'").iloc[0]
    assert 0 < cv["n_defined"] < cv["n"] == 2 * 64


def test_own_trial_table(run):
    row = run("own_trial_table")[0]["row"].iloc[0]
    assert row["unit"] == "stimulus" and row["n_other"] == 200
    assert row["ci_low"] < row["difference"] < row["ci_high"]


def test_export_project(run, tmp_path):
    variables, shown = run("export_project", LAYERS=[64, 12, 11, 10])
    assert (tmp_path / "project" / "Makefile").is_file()
    assert "make -C" in shown and len(variables["table"]) > 1347


def test_every_script_is_short_and_asks_a_question():
    scripts = sorted(EXAMPLES.glob("*.py"))
    for script in scripts:
        text = script.read_text()
        assert len(text.splitlines()) < 60, script.name
        assert text.split('"""')[1].splitlines()[0].endswith("?"), script.name
        assert f"def test_{script.stem}(" in Path(__file__).read_text(), script.name
    assert len(scripts) == 8

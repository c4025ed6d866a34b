"""`bsd bench learning`: what is compared, and the numbers that come out."""

import json

import numpy as np
import pandas as pd
import pytest

from bsd.analysis.figures import plot_accuracy_curves
from bsd.analysis.style import FittedFigure
from bsd.equations import pyramidal
from bsd.runs.bench import learning
from bsd.runs.experiments import experiment

KEYS = {"accuracy", "gap_to_bp_points", "streaming_minus_batch_points"}


def curves(**last):
    """Two seeds, three epochs; the accuracy of the last epoch by method."""
    rows = [
        {
            "method": method, "seed": seed, "epoch": epoch, "trials": 100 * epoch,
            "accuracy": accuracy - 0.1 * (3 - epoch) + 0.01 * (seed - 0.5),
            "accuracy_voltage": 0.5, "accuracy_train": 1.0, "learning_rate": np.nan,
        }
        for method, accuracy in last.items()
        for seed in (0, 1)
        for epoch in (1, 2, 3)
    ]
    return pd.DataFrame(rows)


def decided(accuracy):
    """As `_train_streaming` returns it: alike in both phases, by spikes and by voltages."""
    both = pd.DataFrame({"test": accuracy, "train": accuracy})
    return pd.concat({"correct": both, "correct_voltage": both}, axis=1)


def test_gaps_have_the_right_sign():
    found = learning.summarise_learning(curves(streaming=0.94, bp=0.96, batch_bsd=0.93))
    assert found["accuracy"]["streaming"] == pytest.approx(0.94)
    assert found["gap_to_bp_points"] == pytest.approx(2)
    assert found["streaming_minus_batch_points"] == pytest.approx(1)
    assert found["accuracy_sd"]["bp"] == pytest.approx(np.std([0.955, 0.965], ddof=1))


def test_trials_to_95_need_every_seed():
    found = learning.summarise_learning(curves(streaming=0.99, bp=0.95, frozen=0.5))
    assert found["trials_to_95"] == {"streaming": 300, "bp": None, "frozen": None}


def test_figure_has_a_line_per_method():
    ax = plot_accuracy_curves(curves(streaming=0.9, bp=0.9), ax=FittedFigure().subplots())
    assert [line.get_label() for line in ax.lines] == ["streaming", "bp"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [70, 80, 90])


def test_only_the_seeds_that_were_asked_for_are_summarised(monkeypatch, bsd, tmp_path):
    """The folder may hold more, of other calls; what has no seed is kept."""
    frame = pd.concat([curves(streaming=0.9), curves(bp=0.9).query("seed == 0")])
    monkeypatch.setattr(learning, "measure_learning", lambda *a, **k: frame)
    monkeypatch.setattr("bsd.runs.bench.torch_process.find_torch_python", lambda: None)
    code, out, err = bsd(
        "bench", "learning", "--data", "digits", "--seeds", "1", "--out", tmp_path, "--json"
    )
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    assert found["seeds"] == [1] and list(found["accuracy"]) == ["streaming"]
    assert found["gap_to_bp_points"] is None


def test_command_without_torch(command_without_torch):
    found = command_without_torch(learning, "learning", curves(streaming=0.9))
    assert KEYS <= found.keys()
    assert found["accuracy"] == {"streaming": pytest.approx(0.9)}
    assert found["gap_to_bp_points"] is None


@pytest.mark.parametrize("wrong", [("--seeds", "0,0"), ("--train", 0), ("--layers", "a")])
def test_impossible_options(wrong, bsd):
    code, _, err = bsd("bench", "learning", "--data", "digits", *wrong)
    assert code == 2 and wrong[0] in err


@pytest.mark.slow
def test_streaming_and_baselines_learn_the_digits(torch_python):
    chosen = experiment("digits").changed(hidden=(64, 64), epochs=4)
    frame = learning.measure_learning(chosen, [0], torch_python=torch_python, n_train=600)
    assert set(frame["method"]) == {*learning.OWN, *learning.BASELINES}
    assert (frame["epoch"].value_counts() == len(frame["method"].unique())).all()
    accuracy = learning.summarise_learning(frame)["accuracy"]
    assert accuracy["streaming"] > 0.85 and accuracy["bp"] > 0.5


def test_training_stimuli_are_a_random_choice(dataset):
    chosen = learning.shuffled(dataset, 10)
    assert len(chosen.x_train) == len(chosen.y_train) == 10
    whole = learning.shuffled(dataset, None)
    assert sorted(whole.y_train) == sorted(dataset.y_train)
    assert not np.array_equal(whole.y_train, dataset.y_train)


def test_only_what_is_missing_is_run(monkeypatch):
    ran = []

    def train(method, experiment, dataset, seed, report):
        ran.append((method, seed))
        accuracy = pd.Series([0.5, 0.6, 0.7], index=[1, 2, 3])
        return None, decided(accuracy)

    monkeypatch.setattr(learning, "_train_streaming", train)
    monkeypatch.setattr(learning, "Simulation", lambda *a, **k: None)
    finished = curves(streaming=0.9).query("seed == 0")
    saved = []
    found = learning.measure_learning(
        experiment("digits"), [0, 1], finished=finished, save=saved.append
    )
    fixed = "streaming, fixed feedback"
    assert sorted(ran) == [("streaming", 1), (fixed, 0), (fixed, 1)]
    assert found.groupby(["method", "seed"], sort=False).size().index.tolist() == [
        ("streaming", 0), ("streaming", 1), (fixed, 0), (fixed, 1)
    ]
    pd.testing.assert_frame_equal(found.iloc[:3], finished.reset_index(drop=True))
    assert [len(f) for f in saved] == [6, 9, 12]


def test_only_the_methods_asked_for_are_run(monkeypatch):
    """What the folder holds of others stays."""
    ran = []

    def train(method, experiment, dataset, seed, report):
        ran.append((method, seed))
        return None, decided(pd.Series([0.5, 0.6, 0.7], index=[1, 2, 3]))

    monkeypatch.setattr(learning, "_train_streaming", train)
    monkeypatch.setattr(learning, "Simulation", lambda *a, **k: None)
    found = learning.measure_learning(
        experiment("digits"), [0], methods=["streaming"], finished=curves(bp=0.9, frozen=0.8)
    )
    assert ran == [("streaming", 0)]
    assert list(found["method"].unique()) == ["streaming", "bp", "frozen"]


def test_only_the_methods_asked_for_are_summarised(monkeypatch, bsd, tmp_path):
    frame = curves(streaming=0.9, bp=0.95, frozen=0.8)
    monkeypatch.setattr(learning, "measure_learning", lambda *a, **k: frame)
    monkeypatch.setattr("bsd.runs.bench.torch_process.find_torch_python", lambda: None)
    command = ("bench", "learning", "--data", "digits", "--seeds", "0,1", "--out", tmp_path)
    code, out, err = bsd(*command, "--method", "bp", "--method", "frozen", "--json")
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    assert list(found["accuracy"]) == ["bp", "frozen"]
    assert found["gap_to_bp_points"] is None
    code, _, err = bsd(*command, "--method", "magic")
    assert code == 2 and "--method magic: give one of streaming" in err


@pytest.mark.parametrize("with_own", [True, False])
def test_a_baseline_asked_for_needs_torch(bsd, tmp_path, monkeypatch, with_own):
    monkeypatch.setattr("bsd.runs.bench.torch_process.find_torch_python", lambda: None)
    own = ("--method", "streaming") if with_own else ()
    code, _, err = bsd(
        "bench", "learning", "--data", "digits", *own, "--method", "bp", "--out", tmp_path / "out"
    )
    assert code == 2 and "bp: without PyTorch only ours is measured" in err
    assert not (tmp_path / "out" / "learning.csv").exists()


def test_a_baseline_keeps_its_learning_rate(answers_as_torch, monkeypatch, tmp_path):
    asked = []

    def answer(request):
        asked.append((request["method"], request["task"], request.get("seed")))
        assert request["task"] == "search" or request["learning_rate"] == 0.003
        names = ("test_accuracy", "test_accuracy_drive", "train_accuracy")
        return {"learning_rate": 0.003, **dict.fromkeys(names, [0.5])}

    answers_as_torch(learning, answer)
    monkeypatch.setattr(learning, "Simulation", lambda *a, **k: None)
    accuracy = pd.Series([0.5], index=[1])
    monkeypatch.setattr(learning, "_train_streaming", lambda *a: (None, decided(accuracy)))
    finished = curves(bp=0.9).query("seed == 0").assign(learning_rate=0.003)
    learning.measure_learning(
        experiment("digits"), [0, 1], torch_python="python", finished=finished
    )
    assert [a for a in asked if a[0] == "bp"] == [("bp", "train", 1)]
    assert [a for a in asked if a[0] == "frozen"] == [
        ("frozen", "search", 0), ("frozen", "train", 0), ("frozen", "train", 1)
    ]


def test_another_comparison_is_refused(tmp_path):
    path, settings = tmp_path / "learning.csv", learning.comparison(experiment("digits"), None)
    assert learning.finished_rows(path, settings) is None
    curves(bp=0.9).to_csv(path, index=False)
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    pd.testing.assert_frame_equal(learning.finished_rows(path, settings), curves(bp=0.9))
    with pytest.raises(learning.InputError, match="another comparison"):
        learning.finished_rows(path, learning.comparison(experiment("digits"), 100))


def test_another_equation_is_another_comparison(monkeypatch):
    settings = learning.comparison(experiment("digits"), None)
    monkeypatch.setattr(pyramidal, "RESET", f"{pyramidal.RESET}  # a comment")
    assert settings == learning.comparison(experiment("digits"), None)
    monkeypatch.setattr(pyramidal, "RESET", "v_s -= theta - V_r")
    assert settings != learning.comparison(experiment("digits"), None)

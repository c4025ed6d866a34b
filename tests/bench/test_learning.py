"""`bsd bench learning`: what is compared, and the numbers that come out."""

import json

import numpy as np
import pandas as pd
import pytest

from bsd.analysis.figures import plot_accuracy_curves
from bsd.analysis.style import FittedFigure
from bsd.runs.bench import learning, torch_process
from bsd.runs.experiments import experiment

KEYS = {"accuracy", "gap_to_bp_points", "streaming_minus_batch_points"}


def curves(**last):
    """Two seeds, three epochs; the accuracy of the last epoch by method."""
    rows = [
        {
            "method": method, "seed": seed, "epoch": epoch, "trials": 100 * epoch,
            "accuracy": accuracy - 0.1 * (3 - epoch) + 0.01 * (seed - 0.5),
            "accuracy_train": 1.0, "learning_rate": np.nan,
        }
        for method, accuracy in last.items()
        for seed in (0, 1)
        for epoch in (1, 2, 3)
    ]
    return pd.DataFrame(rows)


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


def test_command_without_torch(monkeypatch, bsd, tmp_path):
    asked = {}

    def measure(chosen, seeds, **options):
        asked.update(chosen=chosen, seeds=seeds, **options)
        return curves(streaming=0.9)

    monkeypatch.setattr(learning, "measure_learning", measure)
    monkeypatch.setattr(torch_process, "find_torch_python", lambda: None)
    code, out, err = bsd(
        "bench", "learning", "--data", "digits", "--layers", "8,9", "--epochs", 3, "--seeds", "0,1",
        "--train", 50, "--json", "--out", tmp_path,
    )
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    assert KEYS <= found.keys()
    assert found["accuracy"] == {"streaming": pytest.approx(0.9)}
    assert found["gap_to_bp_points"] is None
    assert "make torch" in err
    names = {"learning.csv", "learning.json", "learning.png"}
    assert {f.name for f in tmp_path.iterdir()} == names
    assert asked["chosen"].hidden == (8, 9) and asked["chosen"].epochs == 3
    assert asked["seeds"] == [0, 1] and asked["n_train"] == 50


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
    chosen = learning._shuffled(dataset, 10)
    assert len(chosen.x_train) == len(chosen.y_train) == 10
    whole = learning._shuffled(dataset, None)
    assert sorted(whole.y_train) == sorted(dataset.y_train)
    assert not np.array_equal(whole.y_train, dataset.y_train)

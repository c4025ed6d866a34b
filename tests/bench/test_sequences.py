"""The recurrent baseline in PyTorch, and its comparison with the streaming rule."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bsd.analysis.figures import plot_errors
from bsd.analysis.style import FittedFigure
from bsd.runs.bench import sequences, torch_process
from bsd.runs.bench.torch_process import TorchProcess, network_constants, write_sequence
from bsd.runs.experiments import experiment
from bsd.runs.experiments.run import build_network, load_data


@pytest.fixture(scope="module")
def baselines(torch_python):
    with TorchProcess(torch_python) as process:
        yield process


def request(chosen, folder, **more):
    """A request for the sequence task, with all that it needs."""
    dataset = load_data(chosen, 0)
    network = build_network(chosen, dataset)
    write_sequence(dataset, network, folder / "data.npz")
    return {
        "task": "sequence",
        "data": str(folder / "data.npz"),
        "network": network_constants(network),
        "seed": 0,
        "segment": chosen.segment,
        "learning_rate": 1e-2,
        **more,
    }


@pytest.fixture
def text(tmp_path):
    """After an a come b and c in turn: only the symbol before it tells which."""
    (tmp_path / "abac.txt").write_text("abac" * 600)
    chosen = experiment("text").changed(
        hidden=(60,), assignments={"data.path": str(tmp_path / "abac.txt")}
    )
    return dataclasses.replace(chosen, segment=12)


def test_backpropagation_learns_what_only_context_tells(baselines, text, tmp_path):
    asked = request(text, tmp_path, loss="symbol", epochs=10)
    # without context one symbol in four would be wrong at best
    assert baselines.ask(asked)["error"][-1] < 0.05


@pytest.mark.parametrize("loss, hidden", [("value", (40,)), ("code", (40,)), ("value", (40, 30))])
def test_backpropagation_forecasts(baselines, tmp_path, loss, hidden):
    elements = np.arange(1500)
    noise = 0.3 * np.random.default_rng(1).standard_normal(len(elements))
    pd.DataFrame({"wave": np.sin(2 * np.pi * elements / 8) + noise}).to_csv(
        tmp_path / "wave.csv", index=False
    )
    chosen = experiment("forecast").changed(
        hidden=hidden,
        assignments={
            "data.path": str(tmp_path / "wave.csv"), "data.season": 8, "data.horizon": 3
        },
    )
    targets = load_data(chosen, 0).targets
    variance = ((targets["mean"] - targets["actual"]) ** 2).mean()
    error = baselines.ask(request(chosen, tmp_path, loss=loss, epochs=10))["error"][-1]
    assert error < 0.6 * variance


def errors(**means):
    """Two seeds of what learns, one of what does not."""
    rows = [
        {
            "method": method, "seed": seed, "measure": "mean squared error",
            "error": error + 0.02 * (seed - 0.5),
            "learning_rate": 1e-3 if method == "bp" else np.nan,
            "loss": "code" if method == "bp" else "",
        }
        for method, error in means.items()
        for seed in (0, 1)
    ]
    simple = {"seed": 0, "measure": "mean squared error", "loss": ""}
    rows += [
        {"method": "mean", "error": 1.0, **simple}, {"method": "seasonal", "error": 0.8, **simple}
    ]
    return pd.DataFrame(rows)


def test_a_summary_has_means_and_ratios():
    found = sequences.summarise_sequence(errors(streaming=0.4, bp=0.5))
    assert found["error"] == pytest.approx(
        {"streaming": 0.4, "bp": 0.5, "mean": 1.0, "seasonal": 0.8}
    )
    assert found["error_sd"]["streaming"] == pytest.approx(np.std([0.39, 0.41], ddof=1))
    assert found["error_sd"]["mean"] is None
    assert found["ratio_to_bp"] == pytest.approx(0.8)
    assert found["best_simple"] == "seasonal" and found["ratio_to_simple"] == pytest.approx(0.5)
    assert found["bp_learning_rate"] == 1e-3 and found["bp_loss"] == "code"
    assert found["seeds"] == [0, 1]
    json.dumps(found)


def test_a_simple_forecast_without_error_has_no_ratio():
    rows = errors(streaming=0.4, bp=0.5)
    rows.loc[rows["method"] == "seasonal", "error"] = 0
    found = sequences.summarise_sequence(rows)
    assert found["best_simple"] == "seasonal" and found["ratio_to_simple"] is None


def test_the_figure_shows_means_and_seeds():
    ax = plot_errors(errors(streaming=0.4, bp=0.5), ax=FittedFigure().subplots())
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.4, 0.5, 1.0, 0.8])
    assert sorted(ax.lines[0].get_xdata()) == pytest.approx([0.39, 0.41, 0.49, 0.51, 0.8, 1.0])
    assert [tick.get_text() for tick in ax.get_yticklabels()][0] == "streaming   0.4000"
    assert ax.get_xlim()[1] == pytest.approx(1.15 * 0.8) and "cut" in ax.get_xlabel()


@pytest.fixture
def measured(monkeypatch):
    """What was trained; training is replaced."""
    ran = []

    def streaming(experiment, dataset, seed, report):
        ran.append(("streaming", seed))
        return 0.6

    def backpropagation(
        experiment, dataset, validation, network, constants, scratch, seeds, first_seed, chosen,
        python, report,
    ):
        ran.append(("bp", tuple(seeds), chosen))
        for seed in seeds:
            yield seed, 0.8, *(chosen or (3e-3, "value"))

    monkeypatch.setattr(sequences, "_train_streaming", streaming)
    monkeypatch.setattr(sequences, "_train_backpropagation", backpropagation)
    monkeypatch.setattr(sequences, "Simulation", lambda *a, **k: None)
    return ran


def test_only_what_is_missing_is_run(measured):
    chosen = experiment("forecast").changed(epochs=2)
    first = sequences.measure_sequence(chosen, [0, 1], torch_python="python")
    assert sorted(measured) == [("bp", (0, 1), None), ("streaming", 0), ("streaming", 1)]
    simple = [name for name in sequences.SIMPLE if name != "seasonal"]  # it has no season
    assert first["method"].unique().tolist() == ["streaming", "bp", *simple]
    measured.clear()
    saved = []
    frame = sequences.measure_sequence(
        chosen, [0, 1, 2], torch_python="python", finished=first, save=saved.append
    )
    assert sorted(measured) == [("bp", (2,), (3e-3, "value")), ("streaming", 2)]
    assert len(frame) == len(first) + 2 and len(saved) == 2


def test_the_part_that_backpropagation_chooses_on_is_not_compared(bsd):
    code, _, err = bsd("bench", "sequence", "text", "--set", "data.evaluate='validation'")
    assert code == 2 and "data.evaluate" in err


@pytest.mark.parametrize("name", ["text", "forecast"])
def test_command_without_torch(measured, monkeypatch, bsd, tmp_path, name):
    monkeypatch.setattr(torch_process, "find_torch_python", lambda: None)
    monkeypatch.chdir(tmp_path)
    command = ("bench", "sequence", name, "--layers", "20,10", "--epochs", 2, "--seeds", "0,1")
    code, out, err = bsd(*command, "--json")
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    assert found["error"]["streaming"] == pytest.approx(0.6) and found["ratio_to_bp"] is None
    folder = tmp_path / "results" / f"bench-sequence-{name}"
    names = {"sequence.csv", "sequence.json", "sequence.png", "settings.json"}
    assert {f.name for f in folder.iterdir()} == names
    assert json.loads((folder / "settings.json").read_text())["hidden"] == [20, 10]
    measured.clear()
    assert bsd(*command)[0] == 0
    assert not measured
    for other in (("--layers", "20,10", "--epochs", 3), ("--layers", "20", "--epochs", 2)):
        code, _, err = bsd("bench", "sequence", name, *other)
        assert code == 2 and f"with other {'epochs' if 3 in other else 'hidden'}:" in err


def test_results_of_other_data_are_not_gone_on_with(measured, monkeypatch, bsd, tmp_path):
    monkeypatch.setattr(torch_process, "find_torch_python", lambda: None)
    command = ("bench", "sequence", "text", "--set", f"data.path='{tmp_path / 'own.txt'}'",
               "--seeds", "0", "--out", tmp_path / "out")
    (tmp_path / "own.txt").write_text("abac" * 600)
    assert bsd(*command)[0] == 0
    (tmp_path / "own.txt").write_text("abac" * 599 + "abab")
    code, _, err = bsd(*command)
    assert code == 2 and "another comparison, with other data_digest:" in err


@pytest.mark.parametrize("name", ["text", "forecast"])
def test_backpropagation_chooses_on_the_validation_part(answers_as_torch, tmp_path, name):
    asked = []

    def answer(request):
        with np.load(request["data"]) as arrays:
            asked.append((request["learning_rate"], request["loss"], request["seed"],
                          len(arrays["which_train"]), arrays["y_test"].tolist()))
        return {"error": [abs(request["learning_rate"] - 3e-3) + (request["loss"] == "code")]}

    answers_as_torch(sequences, answer)
    chosen = experiment(name).changed(hidden=(4,), epochs=2)
    test = load_data(chosen, 0)
    options = chosen.options | {"evaluate": "validation"}
    validation = load_data(dataclasses.replace(chosen, options=options), 0)
    rows = list(sequences._train_backpropagation(
        chosen, test, validation, build_network(chosen, test), {}, tmp_path, [1, 2], 7, None, "",
        lambda *_: None,
    ))
    loss = sequences.LOSSES[chosen.data][0]
    compared = [(3e-3, loss, seed, len(test.x_train), test.y_test.tolist()) for seed in (1, 2)]
    assert asked[-2:] == compared and [(s, *r) for s, _, *r in rows] == [
        (1, 3e-3, loss), (2, 3e-3, loss)
    ]
    own = (7, len(validation.x_train), validation.y_test.tolist())
    assert {(rate, loss) for rate, loss, *_ in asked[:-2]} == {
        (rate, loss) for rate in sequences.GRID for loss in sequences.LOSSES[chosen.data]
    }
    assert all(tuple(rest) == own for _, _, *rest in asked[:-2])


def test_the_error_of_a_text_is_the_share_of_wrong_symbols(tmp_path, monkeypatch):
    """A simulation that always decides the first concept, in parts of unequal length."""
    (tmp_path / "ab.txt").write_text("aab" * 1000)
    chosen = experiment("text").changed(
        hidden=(4,), epochs=2, assignments={"data.path": str(tmp_path / "ab.txt")}
    )

    class First:
        def __init__(self, network, dataset, seed):
            pass

        def chunks(self, table):
            assert table.groupby("phase", sort=False).size().index.tolist() == ["train", "test"]
            for start, stop in ((0, -100), (-100, -30), (-30, None)):
                part = table.iloc[start:stop]
                yield SimpleNamespace(trials=part.assign(correct=part["concept"] == 0))

    monkeypatch.setattr(sequences, "Simulation", First)
    dataset = load_data(chosen, 0)
    error = sequences._train_streaming(chosen, dataset, 0, lambda *_: None)
    assert error == pytest.approx(np.mean(dataset.y_test[-100:] != 0))

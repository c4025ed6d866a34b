"""Runs on sequences: what only context can tell is learned, forecast, written and reported."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from bsd.analysis.sequences import SIMPLE, forecast_frame, symbols
from bsd.equations import InputError
from bsd.runs.experiments import experiment, run_experiment
from bsd.runs.experiments.trained import open_run


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """After an a come b and c in turn: only the symbol before it tells which."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "abac.txt").write_text("abac" * 800)
    chosen = experiment("text").changed(
        hidden=(60,), assignments={"data.path": str(folder / "abac.txt"), "data.train": 2800}
    )
    return run_experiment(chosen, folder / "run", seed=0), folder / "run"


def test_context_decides_where_the_present_symbol_does_not(text_run):
    metrics, _ = text_run
    assert metrics["trigram_accuracy"] == 1
    # without context three of four symbols at best; the first is read without one
    assert metrics["accuracy"] > 0.95


def test_the_network_recalls_what_comes_before(text_run):
    metrics, folder = text_run
    context = json.loads((folder / "generated.json").read_text())["context"]
    before = {row["symbol"]: row for row in context}
    assert set(before) == set("abc") and context[0]["symbol"] == "a"
    assert before["b"]["text"] == before["c"]["text"] == "a"
    assert set(before["a"]["text"]) == set("bc")
    for symbol, row in before.items():
        assert row["recalled"][0] in row["text"], symbol
    assert metrics["recall_correlation"] > 0.5


def test_the_network_writes_what_it_read(text_run):
    _, folder = text_run
    generated = json.loads((folder / "generated.json").read_text())
    assert generated["prompt"] in "abac" * 12
    assert len(generated["written"]) == 120
    text = generated["prompt"][-2:] + generated["written"]
    triples = [a + b + c for a, b, c in zip(text, text[1:], text[2:], strict=False)]
    right = np.mean([triple in ("bac", "cab", "aba", "aca") for triple in triples])
    assert set(triples) >= {"bac", "cab"}
    assert right > 0.8  # a draw may go wrong now and then


def test_a_folder_is_not_taken_for_a_run_on_other_data(text_run):
    _, folder = text_run
    config = yaml.safe_load((folder / "config.yaml").read_text())
    chosen = experiment("text").changed(
        hidden=(60,), assignments={f"data.{k}": v for k, v in config["options"].items()}
    )
    file = folder.parent / "abac.txt"
    file.write_text("abac" * 799 + "abab")  # one symbol of the test part
    try:
        with pytest.raises(InputError, match="abac.txt.* are not those .* trained with"):
            open_run(folder)
        with pytest.raises(InputError, match="was started with other data"):
            run_experiment(chosen, folder, seed=0, resume=True)
    finally:
        file.write_text("abac" * 800)
    open_run(folder)
    run_experiment(chosen, folder, seed=0, resume=True)
    older = {k: v for k, v in config.items() if k != "data_digest"}
    (folder / "config.yaml").write_text(yaml.safe_dump(older))
    try:  # of a version that trained on less
        with pytest.raises(InputError, match="earlier version, which trained on less"):
            open_run(folder)
        with pytest.raises(InputError, match="earlier version, which trained on less"):
            run_experiment(chosen, folder, seed=0, resume=True)
    finally:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_run_on_a_text_has_its_report(text_run):
    from bsd.analysis.report import write_report

    _, folder = text_run
    page = write_report(folder).read_text()
    assert "Next character" in page and "trigram model" in page
    assert symbols(folder) == {0: "a", 1: "b", 2: "c"}


@pytest.fixture(scope="module")
def forecast_run(tmp_path_factory):
    """A chaotic map: the last value says much about the next, which neither equals nor repeats."""
    folder = tmp_path_factory.mktemp("forecast")
    noise = 0.02 * np.random.default_rng(1).standard_normal(3000)
    wave = [0.1]
    for disturbance in noise[1:]:
        wave.append(1 - 1.8 * wave[-1] ** 2 + disturbance)
    pd.DataFrame({"wave": wave}).to_csv(folder / "wave.csv", index=False)
    chosen = experiment("forecast").changed(
        hidden=(60,),
        assignments={"data.path": str(folder / "wave.csv"), "data.season": 8, "data.horizon": 1},
    )
    return run_experiment(chosen, folder / "run", seed=0), folder / "run"


def test_a_forecast_is_better_than_simple_ones(forecast_run):
    metrics, _ = forecast_run
    best = min(metrics[f"mse_{name}"] for name in SIMPLE)
    assert metrics["mse"] < 0.5 * best


def test_the_frame_holds_the_forecast_of_every_epoch(forecast_run):
    metrics, folder = forecast_run
    frame = pd.read_parquet(folder / "forecast.parquet")
    assert (frame.groupby("epoch").size() == 600 - 1).all()
    last = frame[frame["epoch"] == frame["epoch"].max()]
    assert ((last["forecast"] - last["actual"]) ** 2).mean() == pytest.approx(metrics["mse"])


def test_a_report_of_a_forecast_begins_with_its_error(forecast_run):
    from bsd.analysis.report import write_report

    metrics, folder = forecast_run
    page = write_report(folder).read_text()
    lead = page.index(f"Forecasts have a mean squared error of {metrics['mse']:.4f}")
    section, decisions = page.index("Forecasts of "), page.index("The forward network decided")
    assert lead < decisions < section < page.index("Firing rates")
    assert page.count("Forecasts of ") == 1
    data = open_run(folder).dataset
    assert (metrics["series"], metrics["reference"]) == (data.source, data.reference)
    assert metrics["warnings"] == []
    assert f"corrects one of the simple forecasts: {SIMPLE[data.reference]}." in page
    assert f"seasonal change has {metrics['mse_seasonal_change']:.4f}" in page
    assert (folder / "figures" / "forecast.png").stat().st_size > 5000


def test_an_option_of_the_data_is_named_in_full():
    for key in ("horizon", "season"):
        with pytest.raises(InputError, match=f"'{key}': did you mean 'data.{key}'"):
            experiment("forecast").changed(assignments={key: 1})


def test_a_forecast_worse_than_what_it_corrects_is_warned_of():
    from types import SimpleNamespace

    from bsd.runs.experiments.metrics import worse_than_its_reference

    data = SimpleNamespace(reference="seasonal_change")
    errors = {"mse": 0.3, "mse_seasonal_change": 0.2, "mse_mean": 0.1}
    (said,) = worse_than_its_reference(data, errors)
    assert "worse than the simple one that it corrects (0.3, seasonal change 0.2)" in said
    assert not list(worse_than_its_reference(data, errors | {"mse": 0.2}))
    assert not list(worse_than_its_reference(SimpleNamespace(), {"accuracy": 1}))


def test_trials_of_a_text_that_is_written_follow_one_another():
    """The prompt is read in one run, then every symbol in one of its own."""
    from types import SimpleNamespace

    from bsd.runs.data import load_text
    from bsd.runs.experiments.text import N_PROMPT, N_WRITTEN, generate

    dataset, tables = load_text(train=500, test=500), []

    def run(table):
        tables.append(table)
        spikes = np.arange(dataset.n_concepts)
        evidence = pd.DataFrame({"trial": table["trial"].iloc[-1], "replica": 0, "spikes": spikes})
        return SimpleNamespace(evidence=evidence)

    generate(SimpleNamespace(run=run), dataset, seed=0)
    trials = pd.concat(tables)
    assert trials["trial"].tolist() == list(range(N_PROMPT + N_WRITTEN))
    assert trials["carry"].tolist() == [False] + [True] * (N_PROMPT + N_WRITTEN - 1)


def test_unknown_data_options_are_refused():
    with pytest.raises(InputError, match="data.horizn.*data.horizon"):
        experiment("forecast").changed(assignments={"data.horizn": 3})
    with pytest.raises(InputError, match="has no options"):
        experiment("demo").changed(assignments={"data.path": "x"})


def test_the_read_out_returns_the_correction_that_is_taught():
    """Output cells that fire just as their teachers do are read out without bias."""
    from bsd.networks import BidirectionalNetwork
    from bsd.runs.data import load_series

    data = load_series()
    network = BidirectionalNetwork([48, 9, data.n_concepts], experiment("forecast").parameters)
    codes = network.encoding_matrix()
    evidence = codes @ (codes / codes.max(axis=1, keepdims=True)).T
    read = evidence @ data.values / evidence.sum(axis=1)
    off = np.abs(read - data.values) / (data.values[1] - data.values[0])
    assert data.y_train.min() == 12 and data.y_train.max() == 67
    assert off[12:68].max() < 0.3  # bins; without guard bins several
    assert off[20:60].max() < 0.01


@pytest.mark.parametrize("cells", [1, 3])
def test_the_output_learns_from_the_error_of_the_read_out(cells):
    """The population vector that its normaliser pools is the correction of `forecast_frame`."""
    from bsd.networks import BidirectionalNetwork
    from bsd.runs.data import load_series

    data = load_series()
    parameters = experiment("forecast").parameters.updated({"encoding.cells_per_concept": cells})
    network = BidirectionalNetwork([48, 9, data.n_concepts], parameters)
    step = np.diff(data.values)
    np.testing.assert_allclose(step, step[0], rtol=1e-9)
    counts = np.random.default_rng(1).integers(0, 11, (20, cells * data.n_concepts))
    output = network.layout.population("F2").cells
    vote, place = (network.values()[f"cells.{name}"][output] for name in ("vote", "place"))
    vector = (counts @ place) / (counts @ vote)

    codes = network.encoding_matrix()
    evidence = pd.DataFrame({
        "trial": np.repeat(np.arange(20), data.n_concepts), "replica": 0,
        "candidate": np.tile(np.arange(data.n_concepts), 20),
        "spikes": (counts @ (codes / codes.max(axis=1, keepdims=True)).T).ravel(),
    })
    trials = pd.DataFrame({"trial": np.arange(20), "replica": 0, "epoch": 1, "stimulus": 0})
    found = forecast_frame(evidence, trials, data.targets, data.values)
    correction = found["forecast"] - found["reference"]
    np.testing.assert_allclose(vector * step[0] + data.values.mean(), correction, atol=1e-9)

"""Population read-out of a forecast, its errors, and n-gram models."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bsd.analysis.figures import plot_forecast_errors
from bsd.analysis.sequences import SIMPLE, forecast_errors, forecast_frame, ngram_accuracy, sections

VALUES = np.array([-1.0, 0.0, 3.0])


@pytest.fixture
def forecast():
    """Three trials: spikes for two concepts, for one, for none."""
    spikes = [[1, 0, 3], [0, 5, 0], [0, 0, 0]]
    evidence = pd.DataFrame(
        {
            "trial": np.repeat([7, 8, 9], 3),
            "replica": 0,
            "candidate": np.tile(np.arange(3), 3),
            "spikes": np.ravel(spikes),
        }
    )
    trials = pd.DataFrame({"trial": [7, 8, 9], "replica": 0, "epoch": 2, "stimulus": [2, 0, 1]})
    targets = pd.DataFrame(
        {
            "element": [10, 11, 12],
            "actual": [1.0, 2.0, 3.0],
            "reference": [0.5, 0.25, 1.0],
            "mean": 0.0,
            "persistence": [1.0, 1.0, 1.0],
            "seasonal": [1.0, 2.0, 3.5],
            "seasonal_change": [1.0, 2.0, 5.0],
        }
    )
    return forecast_frame(evidence, trials, targets, VALUES)


def test_the_read_out_weighs_values_with_spikes(forecast):
    # (1 x -1 + 3 x 3) / 4 = 2 on element 12; 0 on element 10; silence corrects nothing
    assert forecast["element"].tolist() == [12, 10, 11]
    assert forecast["forecast"].tolist() == [3.0, 0.5, 0.25]
    assert (forecast["epoch"] == 2).all()


def test_errors_are_mean_squares(forecast):
    assert forecast_errors(forecast) == pytest.approx(
        {
            "mse": (0 + 0.25 + 1.75**2) / 3,
            "mse_mean": 14 / 3,
            "mse_persistence": 5 / 3,
            "mse_seasonal": 0.25 / 3,
            "mse_seasonal_change": 4 / 3,
        }
    )


def test_frames_of_older_runs_lack_the_newest_simple_forecast(tmp_path, forecast):
    older = forecast.drop(columns="seasonal_change")
    assert set(forecast_errors(forecast)) - set(forecast_errors(older)) == {"mse_seasonal_change"}
    older.to_parquet(tmp_path / "forecast.parquet")
    section, errors = sections(tmp_path, "series")
    named = ["network", "training mean", "persistence", "seasonal persistence"]
    assert section["table"]["forecast"].tolist() == named
    for one in (section, errors):
        one["draw"](Figure())


def test_errors_are_drawn_epoch_by_epoch(forecast):
    later = forecast.assign(epoch=3, forecast=forecast["actual"] + 2)
    ax = plot_forecast_errors(pd.concat([forecast, later]))
    drawn = {line.get_label(): line for line in ax.lines}
    first = forecast_errors(forecast)
    assert drawn["network"].get_xdata().tolist() == [2, 3]
    assert drawn["network"].get_ydata() == pytest.approx([first["mse"], 4])
    for name in ("persistence", "seasonal_change"):
        assert drawn[SIMPLE[name]].get_ydata() == pytest.approx([first[f"mse_{name}"]] * 2)
    far = plot_forecast_errors(pd.concat([forecast.assign(mean=100), later]))
    assert "training mean" not in {line.get_label() for line in far.lines}


@pytest.mark.parametrize(
    "data, shown",
    [
        ("text", ["text", "context"]), ("series", ["forecast", "forecast_errors"]),
        ("digits", []), (None, []),
    ],
)
def test_the_data_of_the_run_decide_what_is_shown(tmp_path, forecast, data, shown):
    """Files of another run in the folder are not taken for its own."""
    forecast.to_parquet(tmp_path / "forecast.parquet")
    context = [{"symbol": "b", "recalled": "a", "text": "a \n"}]
    generated = {"prompt": "ab", "written": "ac", "context": context}
    (tmp_path / "generated.json").write_text(json.dumps(generated))
    metrics = {"accuracy": 0.9, "recall_correlation": 0.7}
    if data == "text":
        metrics["trigram_accuracy"] = 0.8
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    found = sections(tmp_path, data)
    assert [section["name"] for section in found] == shown
    if data == "text":
        assert found[1]["table"].iloc[0].tolist() == ["b", "a", "a ␣ ↵"]
        assert "r = 0.70" in found[1]["caption"]


def text(train, test):
    symbols = sorted({*train, *test})
    train, test = (np.array([symbols.index(s) for s in t]) for t in (train, test))
    return SimpleNamespace(
        n_concepts=len(symbols),
        x_train=SimpleNamespace(which=train[:-1]),
        y_train=train[1:],
        x_test=SimpleNamespace(which=test[:-1]),
        y_test=test[1:],
    )


def test_a_trigram_model_knows_what_two_symbols_are_followed_by():
    # after a, c and d are as frequent; after ba comes c, after ea comes d
    data = text("bacead" * 20, "bacead" * 5)
    assert ngram_accuracy(data, 3) == 1
    bigram = ngram_accuracy(data, 2)
    assert 0.7 < bigram < 0.9  # half of what follows an a is wrong: one in six


def test_an_unknown_context_is_cut_short():
    data = text("abababab" + "c", "cab")  # ca was never met: b follows a
    assert ngram_accuracy(data, 3) >= 0.5


def test_ngrams_are_those_of_a_plain_count():
    generator = np.random.default_rng(3)
    train, test = ("".join(generator.choice(list("abc"), n, p=[0.6, 0.3, 0.1]))
                   for n in (3000, 500))
    counts = {}
    for k in range(2, len(train)):
        counts.setdefault(train[k - 2 : k], []).append(train[k])
    best = {context: max(set(seen), key=seen.count) for context, seen in counts.items()}
    right = [best[test[k - 2 : k]] == test[k] for k in range(2, len(test))]
    found = ngram_accuracy(text(train, test), 3) * (len(test) - 1)
    assert found - sum(right) in (0, 1)  # the first symbol has a context of one

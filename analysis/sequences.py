"""Forecasts and texts: population read-out, errors beside simple forecasts, figures, sections."""

import json

import numpy as np
import pandas as pd

from bsd.analysis.frames import require_columns

__all__ = ["SIMPLE", "errors_by_epoch", "forecast_errors", "forecast_frame", "ngram_accuracy",
           "sections", "symbols"]

#: Characters of a line of the text that a network writes.
LINE = 60

#: Simple forecasts that stand beside the network's, by column, and what they are called.
SIMPLE = {
    "mean": "training mean",
    "persistence": "persistence",
    "seasonal": "seasonal persistence",
    "seasonal_change": "seasonal change",
}


def forecast_frame(evidence, trials, targets, values):
    """The forecast of each test trial, read out from the output's spikes.

    The correction is the mean of the values that the concepts stand for, each weighted with the
    output spikes for it (the population vector of Georgopoulos et al. 1986); it is added to the
    reference. A silent output corrects nothing.

    Parameters
    ----------
    evidence, trials : DataFrame
        Of a `Recording`; every trial shows a test stimulus.
    targets : DataFrame
        One row per test stimulus, with the columns element, actual, reference, forecasts named in
        `SIMPLE`, and, of a series with dates, time.
    values : ndarray, shape (n_concepts,)
        Correction that each concept stands for.

    Returns
    -------
    DataFrame
        Columns trial, replica, epoch, and those of `targets`, and forecast; values in SDs of the
        training part.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(evidence, ["trial", "replica", "candidate", "spikes"], "evidence")
    require_columns(trials, ["trial", "replica", "epoch", "stimulus"], "trials")
    spikes = evidence["spikes"].to_numpy(float).reshape(-1, len(values))
    total = spikes.sum(axis=1)
    correction = np.divide(spikes @ values, total, out=np.zeros(len(total)), where=total > 0)
    frame = evidence[["trial", "replica"]].iloc[:: len(values)].assign(correction=correction)
    frame = trials[["trial", "replica", "epoch", "stimulus"]].merge(frame)
    rows = targets.iloc[frame["stimulus"]].reset_index(drop=True)
    forecast = rows["reference"] + frame["correction"]
    return pd.concat([frame[["trial", "replica", "epoch"]], rows], axis=1).assign(
        forecast=forecast
    )


def forecast_errors(forecast):
    """Mean squared errors of a network's forecast and of simple ones.

    Parameters
    ----------
    forecast : DataFrame
        From `forecast_frame`.

    Returns
    -------
    dict of str to float
        ``mse``, and ``mse_mean``, ``mse_persistence``, ``mse_seasonal``, ``mse_seasonal_change`` as
        far as the frame has them (without a season the third is left out, older runs lack the
        last); in squared SDs of the training part.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    require_columns(forecast, ["actual", "forecast"], "forecast")
    names = {"mse": "forecast"} | {f"mse_{name}": name for name in SIMPLE if name in forecast}
    return {
        key: float(((forecast[name] - forecast["actual"]) ** 2).mean())
        for key, name in names.items()
    }


def errors_by_epoch(forecast):
    """`forecast_errors` of each epoch.

    Parameters
    ----------
    forecast : DataFrame
        From `forecast_frame`.

    Returns
    -------
    DataFrame
        One row per epoch, which is the index; the keys of `forecast_errors` are the columns.
    """
    return pd.DataFrame(
        {epoch: forecast_errors(own) for epoch, own in forecast.groupby("epoch")}
    ).T


def ngram_accuracy(dataset, order):
    """Accuracy of an n-gram model: the symbol that most often followed the last ones.

    It learns from the same training text as the network. A context that it never met is cut
    short from its start.

    Parameters
    ----------
    dataset : SequenceData
        A text.
    order : int
        Symbols of the model: 3 predicts from the last two.

    Returns
    -------
    float
    """
    n = dataset.n_concepts

    def contexts(which, length):
        key = np.zeros(len(which), dtype=np.int64)
        for back in range(length):
            key[back:] += (which[: len(which) - back] + 1) * (n + 1) ** back
        return key

    decided = np.full(len(dataset.y_test), -1)
    for length in range(order - 1, -1, -1):
        pairs = contexts(dataset.x_train.which, length) * n + dataset.y_train
        pair, count = np.unique(pairs, return_counts=True)
        best = np.lexsort((-count, pair // n))
        context, first = np.unique((pair // n)[best], return_index=True)
        asked = contexts(dataset.x_test.which, length)
        at = np.minimum(np.searchsorted(context, asked), len(context) - 1)
        known = (context[at] == asked) & (decided < 0)
        decided[known] = (pair % n)[best][first][at[known]]
    return float((decided == dataset.y_test).mean())


def sections(folder, data):
    """What a report shows of a run on the data of that name, as keyword arguments of sections."""
    found = []
    forecast, generated = folder / "forecast.parquet", folder / "generated.json"
    metrics = folder / "metrics.json"
    metrics = json.loads(metrics.read_text()) if metrics.is_file() else {}
    if data == "series" and forecast.is_file():
        frame = pd.read_parquet(forecast)
        if len(frame):
            found += [_forecast_section(frame, metrics.get("reference")), _epochs_section(frame)]
    if data == "text" and generated.is_file() and metrics:
        generated = json.loads(generated.read_text())
        found += [_text_section(generated, metrics), _context_section(generated, metrics)]
    return found


def _forecast_section(frame, reference):
    from bsd.analysis import figures

    corrected = (
        f"The network corrects one of the simple forecasts: {SIMPLE[reference]}. "
        if reference in SIMPLE else ""
    )
    last = frame[frame["epoch"] == frame["epoch"].max()]
    errors = forecast_errors(last)
    table = pd.DataFrame(
        {
            "forecast": ["network", *(SIMPLE[name] for name in SIMPLE if name in frame)],
            "mean squared error": [f"{value:.4f}" for value in errors.values()],
        }
    )
    return {
        "name": "forecast",
        "title": "Forecast",
        "caption": (
            f"Forecasts of {len(last)} test elements after the last epoch, read out from the "
            f"output's spikes, in SDs of the training part. Mean squared error "
            f"{errors['mse']:.4f}. {corrected}Persistence is the last value known, seasonal "
            "persistence the value one season before, seasonal change the last value plus the "
            "change over the same span one season before."
        ),
        "draw": lambda figure: figures.plot_forecast(last, ax=figure.subplots()),
        "table": table,
    }


def _epochs_section(frame):
    from bsd.analysis import figures

    errors = errors_by_epoch(frame)["mse"]
    return {
        "name": "forecast_errors",
        "title": "Error of the forecast, epoch by epoch",
        "caption": (
            f"Mean squared error of the test elements, in squared SDs of the training part, after "
            f"each epoch: {errors.iloc[0]:.4f} after the first, {errors.iloc[-1]:.4f} after the "
            f"last of {len(errors)}. Dotted, simple forecasts that are not far above."
        ),
        "draw": lambda figure: figures.plot_forecast_errors(frame, ax=figure.subplots()),
    }


def _text_section(generated, metrics):
    from bsd.analysis import figures

    shares = {"network": metrics["accuracy"], "trigram model": metrics["trigram_accuracy"]}
    return {
        "name": "text",
        "title": "Next character",
        "caption": (
            f"The network decided {100 * shares['network']:.1f} % of the next characters rightly, "
            f"a trigram model of the same training text "
            f"{100 * shares['trigram model']:.1f} %. Below, what the network writes when each "
            f"character, drawn by the spikes of the output, is the next that it reads."
        ),
        "draw": lambda figure: figures.plot_shares(shares, ax=figure.subplots()),
        "table": pd.DataFrame(
            [
                {"": part if start == 0 else "", "text": text[start : start + LINE]}
                for part, key in (("read", "prompt"), ("written", "written"))
                for text in ["".join(map(_visible, generated[key]))]
                for start in range(0, len(text), LINE)
            ]
        ),
    }


def _context_section(generated, metrics):
    from bsd.analysis import figures

    rows = [
        {
            "character": _visible(row["symbol"], alone=True),
            "recalled before it": " ".join(_visible(s, alone=True) for s in row["recalled"]),
            "before it in the text": " ".join(_visible(s, alone=True) for s in row["text"]),
        }
        for row in generated["context"]
    ]
    found = [bool(row["recalled"]) and row["recalled"][0] in row["text"]
             for row in generated["context"]]
    shares = {"network": float(np.mean(found))}
    return {
        "name": "context",
        "title": "What comes before a character",
        "caption": (
            f"A character as the concept drives the backward network alone, which recalls the "
            f"stimulus: the character before it. Recalled rates correlate with the mean stimulus "
            f"before it in the training text with r = {metrics['recall_correlation']:.2f}. The "
            f"table has the most frequent characters, and, most often first, what is recalled and "
            f"what stands before them; the bar, how often the one recalled first is among the "
            f"{max(len(row['text']) for row in generated['context'])} of the text."
        ),
        "draw": lambda figure: figures.plot_shares(
            shares, "recalled first and often before it", ax=figure.subplots()
        ),
        "table": pd.DataFrame(rows),
    }


def symbols(folder):
    """Names of the concepts of a run on a text, by number; empty for other runs."""
    generated = folder / "generated.json"
    if not generated.is_file():
        return {}
    known = json.loads(generated.read_text()).get("symbols", "")
    return {number: _visible(symbol, alone=True) for number, symbol in enumerate(known)}


def _visible(symbol, alone=False):
    return {" ": "␣" if alone else " ", "\n": "↵", "\t": "⇥"}.get(symbol, symbol)

"""Measures of a sweep's frame: means over seeds, differences from the reference, in words.

The frame has one row per point, seed and fold, as `bsd sweep` writes it (``results.parquet``):
``point, label, factor, reference, seed, fold, key``, then what is varied, then what was measured
from ``accuracy`` on.
"""

import numpy as np
import pandas as pd
from scipy import stats

from bsd.analysis.frames import require_columns

__all__ = [
    "column_label",
    "differences",
    "differences_text",
    "grid_columns",
    "main_measure",
    "point_means",
    "told_apart",
    "varied_columns",
]

_POINT = ["point", "label", "factor", "reference"]


def varied_columns(frame):
    """Columns of what is varied.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If it is not the frame of a sweep.
    """
    require_columns(frame, [*_POINT, "seed", "fold", "key", "accuracy", "status"], "results")
    names = list(frame.columns)
    return names[names.index("key") + 1 : names.index("accuracy")]


#: Units that end the names of columns, see `bsd.runs.sweeps.Sweep.columns`.
_UNITS = {"Hz": "Hz", "Mohm": "M\N{GREEK CAPITAL LETTER OMEGA}", "mV": "mV", "ms": "ms",
          "nS": "nS", "pA": "pA", "us": "\N{MICRO SIGN}s"}
_NAMES = {"layers": "cells of the hidden layers", "depth": "hidden layers"}


def column_label(column):
    """The name of what is varied as people read it.

    Parameters
    ----------
    column : str
        One of `varied_columns`.

    Returns
    -------
    str
        With the unit in parentheses, where it has one.

    Examples
    --------
    >>> column_label("cell.V_threshold_mV")
    'cell.V_threshold (mV)'
    """
    name, _, unit = column.rpartition("_")
    if name and unit in _UNITS:
        return f"{name} ({_UNITS[unit]})"
    return _NAMES.get(column, column)


def grid_columns(frame):
    """The two columns of a sweep in which all combinations of their values were run.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep.

    Returns
    -------
    list of str
        Empty if more, fewer or other points than such a grid were run. Of ``layers`` and
        ``depth``, which vary together, one counts.

    Raises
    ------
    ValueError
        If it is not the frame of a sweep.
    """
    columns = told_apart(frame)
    if len(columns) != 2:
        return []
    points = frame.drop_duplicates("point")[columns]
    full = len(points) == points.nunique().prod() and not points.duplicated().any()
    return columns if full and points.nunique().min() > 1 else []


def told_apart(frame):
    """Columns of what is varied, of the widths and the number of hidden layers only one.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If it is not the frame of a sweep.
    """
    columns = varied_columns(frame)
    if "depth" in columns:
        by_number = frame["depth"].nunique() == frame["layers"].nunique()
        columns.remove("layers" if by_number else "depth")
    return columns


def main_measure(frame):
    """What the points of a sweep are judged by.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep.

    Returns
    -------
    str
        ``mse`` of forecasts, ``reconstruction_ssim`` of an autoencoder, else ``accuracy``.
    """
    for measure in ("mse", "reconstruction_ssim"):
        if measure in frame and frame[measure].notna().any():
            return measure
    return "accuracy"


def point_means(frame, measure="accuracy"):
    """Mean and SD over seeds of a measure at each point, after the mean over finished folds.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep; runs that failed are left out.
    measure : str
        One of its columns.

    Returns
    -------
    pandas.DataFrame
        One row per point: point, label, factor, reference, what is varied, mean, sd (NaN for one
        seed) and n_seeds.
    """
    of_seeds = _of_seeds(_done(frame, measure), measure)
    what = frame.drop_duplicates("point")[[*_POINT, *varied_columns(frame)]]
    groups = of_seeds.groupby("point")[measure]
    means = groups.agg(mean="mean", sd="std", n_seeds="count").reset_index()
    return what.merge(means, on="point").sort_values("point", ignore_index=True)


def differences(frame, measure="accuracy"):
    """Differences of a measure from the reference, paired by seed and fold.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep with a reference.
    measure : str

    Returns
    -------
    pandas.DataFrame
        One row per point but the reference, the lowest first: point, label, factor, mean, sd,
        low and high (95 % interval of the mean by Student's t; NaN for one seed), n_seeds.
    """
    done = _done(frame, measure)
    reference = done.loc[done["reference"], ["seed", "fold", measure]]
    pairs = done[~done["reference"]].merge(reference, on=["seed", "fold"], suffixes=("", "_0"))
    pairs["difference"] = pairs[measure] - pairs[f"{measure}_0"]
    groups = _of_seeds(pairs, "difference").groupby(_POINT[:3])["difference"]
    table = groups.agg(mean="mean", sd="std", n_seeds="count").reset_index()
    n = table["n_seeds"].clip(lower=2)
    half = stats.t.ppf(0.975, n - 1) * table["sd"] / np.sqrt(n)
    table = table.assign(low=table["mean"] - half, high=table["mean"] + half)
    return table.dropna(subset="mean").sort_values("mean", ignore_index=True)


def differences_text(frame):
    """What the accuracies of a sweep with a reference say, the largest losses first.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of a sweep; one of its points is the reference.

    Returns
    -------
    str
        Empty without a reference.
    """
    means, table = point_means(frame), differences(frame)
    reference = means[means["reference"]]
    if reference.empty:
        return ""
    (own,) = reference.itertuples()
    alone = table["sd"].isna().all()
    spread = "" if np.isnan(own.sd) else f" ± {100 * own.sd:.1f}"
    seeds = "one seed" if own.n_seeds == 1 else f"{own.n_seeds} seeds, mean ± SD"
    text = [f"The reference decides {100 * own.mean:.1f}{spread} % of the test trials correctly "
            f"({seeds})."]
    if table.empty:
        return text[0]
    known = table["mean"] != 0 if alone else (table["low"] > 0) | (table["high"] < 0)
    losses, gains = table[known & (table["mean"] < 0)], table[known & (table["mean"] > 0)]
    if len(losses):
        text.append("Percentage points lost against the reference of the same seed, the largest "
                    f"first: {_listed(losses)}.")
    if len(gains):
        text.append(f"Gained: {_listed(gains[::-1])}.")
    rest = table[~known]
    if len(rest):
        why = "No change" if alone else "Not told apart from the reference by these seeds (the " \
            "95 % interval of the difference holds zero)"
        text.append(f"{why}: {_listed(rest)}.")
    if alone:
        text.append("With one seed nothing says how much of this is chance.")
    return " ".join(text)


def _done(frame, measure):
    require_columns(frame, [*_POINT, "seed", "fold", "status", measure], "results")
    done = frame[frame["status"] == "done"]
    return done.assign(**{measure: pd.to_numeric(done[measure])})


def _of_seeds(done, measure):
    """Mean over folds, one row per point and seed."""
    return done.groupby([*_POINT, "seed"], as_index=False)[measure].mean()


def _listed(table):
    return ", ".join(
        f"{row.factor + ': ' if row.factor else ''}{row.label} "
        f"{100 * row.mean:+.1f}{'' if np.isnan(row.sd) else f' ± {100 * row.sd:.1f}'}"
        for row in table.itertuples()
    ).replace("-", "\N{MINUS SIGN}")

"""Helpers that every frame needs: checks, joins and the order of populations."""

import re

import numpy as np
import pandas as pd

_FAMILY_ORDER = {"S": 0, "F": 1, "C": 2, "B": 3}


def require_columns(frame, columns, name):
    """Check that a frame has the columns that a measure reads.

    Parameters
    ----------
    frame : pandas.DataFrame
    columns : sequence of str
    name : str
        Name of the frame in the message.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"the frame '{name}' lacks the column(s) {', '.join(missing)}: "
            f"pass the frame as the run recorded it"
        )


def with_trials(frame, trials, columns=("phase",)):
    """Join columns of the trial table to a result frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any frame with a column ``trial``.
    trials : pandas.DataFrame
        Trial table, ``trial`` unique; with ``replica`` in both frames, within each replica.
    columns : sequence of str
        Columns of the trial table to add; those already in `frame` are kept as they are.

    Returns
    -------
    pandas.DataFrame
        Same rows, same order, as `frame`.

    Raises
    ------
    ValueError
        If a column is missing or a trial is not unique in `trials`.
    """
    require_columns(frame, ["trial"], "frame")
    wanted = [column for column in columns if column not in frame.columns]
    require_columns(trials, ["trial", *wanted], "trials")
    keys = ["trial", "replica"] if "replica" in frame and "replica" in trials else ["trial"]
    if trials.duplicated(keys).any():
        raise ValueError("the trial table has a trial number twice: number its rows uniquely")
    return frame.merge(trials[[*keys, *wanted]], on=keys, how="left")


def population_order(populations):
    """Sort population names along the flow of spikes: S, F1.., then C, B{L}.., B0.

    Those of a stream of high frequencies (S_high) follow those of low ones.

    Parameters
    ----------
    populations : iterable of str

    Returns
    -------
    list of str
        Unique names; names outside the convention come last, alphabetically.
    """

    def key(name):
        match = re.fullmatch(r"([SFCB])(\d*)(_high)?", name)
        if match is None:
            return (len(_FAMILY_ORDER), 0, name)
        family, number = match.group(1), int(match.group(2) or 0)
        return (_FAMILY_ORDER[family], -number if family == "B" else number, name)

    return sorted(set(populations), key=key)


def in_order(table):
    """Rows by phase as they first appear, then by population along the flow of spikes.

    Parameters
    ----------
    table : pandas.DataFrame
        With ``population`` (and ``phase``).

    Returns
    -------
    pandas.DataFrame
        Sorted stably, with a new index.
    """
    # by codes: frames of spikes have millions of rows
    codes, names = pd.factorize(table["population"])
    rank = {name: i for i, name in enumerate(population_order(map(str, names)))}
    keys = [np.array([rank[str(name)] for name in names], dtype=int)[codes]]
    if "phase" in table:
        keys.append(pd.factorize(table["phase"])[0])
    return table.iloc[np.lexsort(keys)].reset_index(drop=True)


def plain(frame, columns, name):
    """The frame with checked columns, a new index and no categories.

    Parameters
    ----------
    frame : pandas.DataFrame
    columns : sequence of str
        Columns that must be there, without missing values.
    name : str
        Name of the frame in the messages.

    Returns
    -------
    pandas.DataFrame
        A copy: groups by a categorical column would come with the categories' own order.

    Raises
    ------
    ValueError
        If a column is missing or has missing values.
    """
    require_columns(frame, columns, name)
    frame = _without_categories(frame.reset_index(drop=True))
    for column in columns:
        if frame[column].isna().any():
            raise ValueError(f"the frame '{name}' has missing values in '{column}': leave them out")
    return frame


def grouped_by(frame, trials=None, by=None):
    """Join what the groups are told apart by, and name the columns of the groups.

    Parameters
    ----------
    frame : pandas.DataFrame
        Result frame with ``trial, population, pathway, layer`` (and ``replica``).
    trials : pandas.DataFrame, optional
        Trial table.
    by : sequence of str, optional
        Columns of the trial table; by default ``phase``, where there is one.

    Returns
    -------
    pandas.DataFrame
        `frame` with the columns joined.
    list of str
        ``*by, [replica,] population, pathway, layer``.

    Raises
    ------
    ValueError
        If a column is missing, or a trial is not in the trial table.
    """
    by = [by] if isinstance(by, str) else by
    if by is None:
        by = ["phase"] if "phase" in frame or (trials is not None and "phase" in trials) else []
    if trials is not None:
        keys = ["trial", "replica"] if "replica" in frame and "replica" in trials else ["trial"]
        require_columns(trials, keys, "trials")
        shown = pd.MultiIndex.from_frame(frame[keys].drop_duplicates())
        unknown = shown[~shown.isin(pd.MultiIndex.from_frame(trials[keys]))]
        if len(unknown):
            raise ValueError(
                f"trial {unknown[0][0]} is not in the trial table: pass the table of this run"
            )
        frame = _without_categories(with_trials(frame, trials, by))
    require_columns(frame, by, "trials")
    replica = ["replica"] if "replica" in frame else []
    return frame, [*by, *replica, "population", "pathway", "layer"]


def _without_categories(frame):
    categorical = frame.select_dtypes("category").columns
    return frame.astype({column: frame[column].cat.categories.dtype for column in categorical})

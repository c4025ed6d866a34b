"""Helpers that every frame needs: checks, joins and the order of populations."""

import re

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

    Parameters
    ----------
    populations : iterable of str

    Returns
    -------
    list of str
        Unique names; names outside the convention come last, alphabetically.
    """

    def key(name):
        match = re.fullmatch(r"([SFCB])(\d*)", name)
        if match is None:
            return (len(_FAMILY_ORDER), 0, name)
        family, number = match.group(1), int(match.group(2) or 0)
        return (_FAMILY_ORDER[family], -number if family == "B" else number, name)

    return sorted(set(populations), key=key)

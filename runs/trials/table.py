"""Trial tables as pandas frames, and the usual ones ready made."""

import difflib

import numpy as np
import pandas as pd

from bsd.equations.errors import InputError, require_counts
from bsd.runs.data import MASKS

__all__ = [
    "AUTOENCODER",
    "COLUMNS",
    "SOURCES",
    "alignment_trials",
    "check_table",
    "join_tables",
    "recall_trials",
    "replica_tables",
    "sequence_trials",
    "test_trials",
    "training_trials",
]

#: What can drive the network in a trial, joined by ``+``: the stimulus drives the forward, the
#: concept the backward network; ``percept`` lets the forward network's own output drive the
#: backward one, ``recall`` the recalled stimulus the forward one, within the trial and one time
#: step later. Every trial starts at rest.
SOURCES = ("stimulus", "concept", "percept", "recall")

#: What drives an autoencoder: the stimulus, and the code that it makes of it.
AUTOENCODER = "stimulus+percept"

#: Columns of a trial table and the value where a table does not have the column.
COLUMNS = {
    "trial": None,  # number of the trial, unique and increasing
    "epoch": 0,
    "draw": None,  # counter of the trial's random numbers, by default its number: trials with the
    # same draw have the same spike phases, noise, shift and mask, for paired comparisons
    "phase": "test",  # free name: train, test, recall, align, ...
    "part": "test",  # part of the data set that `stimulus` counts in: train or test
    "stimulus": -1,  # row of that part, -1 for none
    "concept": -1,  # concept of the trial, or row of the data set's codes, -1 for none
    "source": "stimulus",  # what drives the network, see `SOURCES`
    "learn": 0.0,  # factor on all learning rates, 0 for no plasticity
    "record": False,  # keep spikes and voltages of the trial
    "shift": 0,  # largest random shift of the stimulus, pixels
    "other_stimulus": -1,  # second stimulus of a blend, row of the same part, -1 for none
    "other_concept": -1,  # second concept of a blend, -1 for none
    "blend": 0.0,  # share of the second stimulus or concept, 0 to 1
    "blur": 0.0,  # SD of a Gaussian blur of the stimulus, pixels
    "noise": 0.0,  # SD of noise added to each pixel
    "occlusion": 0.0,  # fraction of the stimulus hidden
    "mask": "random",  # which fraction, see `bsd.runs.data.MASKS`
    "carry": False,  # context cells repeat the trial in the row before; else they are silent
    "loss": 0.0,  # probability that a spike of the stimulus or concept afferents is lost
}


def check_table(table, dataset, n_concepts):
    """A complete copy of a trial table, every column checked.

    Parameters
    ----------
    table : DataFrame
        Columns of `COLUMNS`, all optional; other columns are kept.
    dataset : DataSet
    n_concepts : int
        Concepts, or codes, that can be shown.

    Returns
    -------
    DataFrame

    Raises
    ------
    InputError
        For values that cannot be: unknown sources, stimuli or concepts out of range, numbers
        that are not finite or not whole, trial numbers that do not increase, a column whose name
        is nearly one of `COLUMNS`.
    """
    if isinstance(table, (list, tuple)):
        raise InputError(f"{len(table)} trial tables: make one of them, with join_tables.")
    if not isinstance(table, pd.DataFrame) or table.empty:
        raise InputError("the trial table is empty: give a DataFrame with one row per trial.")
    table = table.reset_index(drop=True)
    for name in table.columns.difference(list(COLUMNS)):
        near = difflib.get_close_matches(str(name), COLUMNS, n=1, cutoff=0.8)
        if near:
            raise InputError(f"trial table: unknown column {name!r}, is {near[0]!r} meant?")
    if "trial" not in table:
        table.insert(0, "trial", np.arange(len(table)))
    if "draw" not in table:
        table["draw"] = table["trial"]
    half_planes = set(MASKS) - {"random"}
    if "occlusion" not in table and "mask" in table and table["mask"].isin(half_planes).any():
        raise InputError(
            "trial table: 'mask' says which part is hidden, 'occlusion' how much: give it, too."
        )
    for name, default in COLUMNS.items():
        if name not in table:
            table[name] = default
    _check_kinds(table)
    if (np.diff(table["trial"]) <= 0).any() or table["trial"].iloc[0] < 0:
        raise InputError("trial table: column 'trial' must increase from row to row, from 0 on.")
    if not table["draw"].between(0, 2**31 - 1).all():
        raise InputError("trial table: column 'draw' must lie in 0 to 2147483647.")
    table["source"] = table["source"].str.replace(" ", "")
    for used in (frozenset(source.split("+")) for source in table["source"].unique()):
        if used != {"nothing"} and not used <= set(SOURCES):
            raise InputError(
                f"trial table: unknown source {sorted(used - set(SOURCES))[0]!r}; join "
                f"{', '.join(SOURCES)} with '+', or write 'nothing' alone."
            )
        if used and used <= {"percept", "recall"}:
            raise InputError(
                "trial table: 'percept' and 'recall' hand on what the stimulus or the concept "
                "started in the same trial: add 'stimulus' or 'concept' to the source."
            )
    blended = table[["other_stimulus", "other_concept"]].ge(0).any(axis=1)
    if (table["blend"].gt(0) & ~blended).any():
        raise InputError(
            "trial table: 'blend' needs a row in 'other_stimulus' or a value in 'other_concept'."
        )
    if not table["part"].isin(["train", "test"]).all():
        raise InputError("trial table: column 'part' must be 'train' or 'test'.")
    if not table["mask"].isin(MASKS).all():
        raise InputError(f"trial table: column 'mask' must be one of {', '.join(MASKS)}.")
    for part, images in (("train", dataset.x_train), ("test", dataset.x_test)):
        of_part = table.loc[table["part"] == part, ["stimulus", "other_stimulus"]]
        rows = pd.concat([of_part["stimulus"], of_part["other_stimulus"]])
        wrong = rows[(rows < -1) | (rows >= len(images))]
        if len(wrong):
            raise InputError(
                f"trial table: stimulus {wrong.iloc[0]} is not in the {part} part of "
                f"{dataset.name} (0 to {len(images) - 1})."
            )
    driven = table["source"].str.contains("stimulus") & (table["stimulus"] < 0)
    if driven.any():
        raise InputError("trial table: source 'stimulus' needs a row in column 'stimulus'.")
    for name in ("concept", "other_concept"):
        if n_concepts == 0 and (table[name] >= 0).any():
            raise InputError(
                f"trial table: the network is an autoencoder and has no concepts: leave {name!r} "
                f"out (training_trials and test_trials do, with source={AUTOENCODER!r}), or give "
                "its data set codes."
            )
        if not table[name].between(-1, n_concepts - 1).all():
            raise InputError(f"trial table: concepts must lie in 0 to {n_concepts - 1}, or be -1.")
    if (table["source"].str.contains("concept") & (table["concept"] < 0)).any():
        raise InputError("trial table: source 'concept' needs a value in column 'concept'.")
    largest_shift = min(dataset.image_shape[:2]) - 1
    limits = {"learn": np.inf, "noise": np.inf, "shift": largest_shift}
    limits |= {"blur": max(dataset.image_shape[:2])}
    limits |= {"occlusion": 1, "blend": 1, "loss": 1}
    for name, most in limits.items():
        if not table[name].between(0, most).all():
            upper = "at least 0" if most == np.inf else f"0 to {most:g}"
            raise InputError(f"trial table: column {name!r} must be {upper}.")
    return table


def replica_tables(table, dataset, n_concepts, replicas):
    """The trial table of each replica, checked.

    Parameters
    ----------
    table : DataFrame
        With a column ``replica`` (0 to `replicas` - 1): each replica's own rows. Without: all
        replicas run the same trials.
    dataset, n_concepts
        See `check_table`.
    replicas : int

    Returns
    -------
    list of DataFrame
        With the column ``replica``.

    Raises
    ------
    InputError
        As `check_table`; if a replica has no rows, or others than replica 0 has in the columns
        ``trial``, ``epoch`` and ``phase``, which all go through together.
    """
    if not isinstance(table, pd.DataFrame) or "replica" not in table:
        checked = check_table(table, dataset, n_concepts)
        return [checked.assign(replica=replica) for replica in range(replicas)]
    numbers = set(table["replica"])
    if numbers != set(range(replicas)):
        raise InputError(
            f"trial table: column 'replica' holds {sorted(numbers)}, the network has "
            f"{replicas} replica{'s' if replicas > 1 else ''}: number them 0 to {replicas - 1}."
        )
    tables = [
        check_table(table[table["replica"] == replica], dataset, n_concepts)
        for replica in range(replicas)
    ]
    for replica, other in enumerate(tables):
        for name in ("trial", "epoch", "phase"):
            if not np.array_equal(other[name], tables[0][name]):
                raise InputError(
                    f"trial table: replica {replica} has another column {name!r} than replica 0: "
                    "replicas go through epochs and phases together, trial by trial."
                )
    return tables


def _check_kinds(table):
    """Give every column its type, or say which one has other values."""
    none = ("stimulus", "concept", "other_stimulus", "other_concept", "part", "mask")
    for name in none:  # a trial may have none of them
        if table[name].isna().any():
            table[name] = table[name].astype(object).where(table[name].notna(), COLUMNS[name])
    for name, default in COLUMNS.items():
        values = table[name]
        if isinstance(default, str):
            if not isinstance(values.dtype, pd.StringDtype) or values.isna().any():
                if not all(isinstance(value, str) for value in values):
                    raise InputError(f"trial table: column {name!r} must hold text only.")
                table[name] = values.astype(str)
            continue
        if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in "biuf":
            values = pd.to_numeric(values.astype(object), errors="coerce")
        if not np.isfinite(values).all():
            raise InputError(
                f"trial table: column {name!r} must hold finite numbers only (join tables with "
                "join_tables, which fills in what one of them lacks)."
            )
        if isinstance(default, bool):
            if not values.isin([0, 1]).all():
                raise InputError(f"trial table: column {name!r} must hold True or False only.")
            table[name] = values.astype(bool)
        elif isinstance(default, float):
            table[name] = values.astype(float)
        else:
            if (values % 1 != 0).any():
                raise InputError(f"trial table: column {name!r} must hold whole numbers only.")
            table[name] = values.astype(np.int64)


def _concepts(concepts, source):
    """None where the network's own code takes their place."""
    return np.full(len(concepts), -1) if source == AUTOENCODER else concepts


def training_trials(
    dataset, epochs, seed, *, decay=1.0, linear=False, shift=0, n=None, source="stimulus+concept"
):
    """Every training stimulus once an epoch, in random order, with its concept.

    Parameters
    ----------
    dataset : DataSet
    epochs : int
    seed : int
        Order of the trials.
    decay : float
        Factor on the learning rates from one epoch to the next.
    linear : bool
        They fall linearly besides, to zero at the end of the last epoch.
    shift : int
        Largest random shift of the stimulus, in pixels.
    n : int, optional
        Use the first `n` training stimuli only.
    source : str
        What drives the network; `AUTOENCODER` for an autoencoder.

    Returns
    -------
    list of DataFrame
        One table per epoch.

    Raises
    ------
    InputError
        If `epochs` or `n` is not a positive whole number.
    """
    require_counts(epochs=epochs)
    if n is not None:
        require_counts(n=n)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x7261])))
    n = len(dataset.x_train) if n is None else min(n, len(dataset.x_train))
    tables = []
    for epoch in range(epochs):
        order = generator.permutation(n)
        tables.append(
            pd.DataFrame(
                {
                    "epoch": epoch + 1,
                    "phase": "train",
                    "part": "train",
                    "stimulus": order,
                    "concept": _concepts(dataset.y_train[order], source),
                    "source": source,
                    "learn": decay**epoch * (1 - linear * _progress(epoch, epochs, n)),
                    "shift": shift,
                }
            )
        )
    return tables


def _progress(epoch, epochs, n):
    """Share of the training that is over, before each trial of an epoch."""
    return (epoch + np.arange(n) / n) / epochs


def sequence_trials(dataset, epochs, seed, *, segment, decay=1.0):
    """The training sequence once an epoch, cut into segments that come in random order.

    The learning rates fall linearly, to zero at the end of the last epoch: else the read-out would
    keep a bias towards the last segments.

    Parameters
    ----------
    dataset : SequenceData
    epochs, seed
        See `training_trials`.
    decay : float
        Factor on the learning rates from one epoch to the next, besides.
    segment : int
        Elements that follow one another; context is carried from each to the next.

    Returns
    -------
    list of DataFrame
        One table per epoch.

    Raises
    ------
    InputError
        If `epochs` or `segment` is not a positive whole number.
    """
    require_counts(epochs=epochs, segment=segment)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x5E95])))
    pieces = np.array_split(
        np.arange(len(dataset.x_train)), np.arange(segment, len(dataset.x_train), segment)
    )
    tables = []
    for epoch in range(epochs):
        order = [pieces[k] for k in generator.permutation(len(pieces))]
        stimulus = np.concatenate(order)
        tables.append(
            pd.DataFrame(
                {
                    "epoch": epoch + 1,
                    "phase": "train",
                    "part": "train",
                    "stimulus": stimulus,
                    "concept": dataset.y_train[stimulus],
                    "source": "stimulus+concept",
                    "learn": decay**epoch * (1 - _progress(epoch, epochs, len(stimulus))),
                    "carry": stimulus % segment > 0,
                }
            )
        )
    return tables


def test_trials(dataset, epoch=0, *, record=0, carry=False, source="stimulus"):
    """Every test stimulus once, no concept shown, no plasticity.

    Parameters
    ----------
    dataset : DataSet or SequenceData
    epoch : int
    record : int
        Keep spikes and voltages of the first so many trials.
    carry : bool
        The test stimuli are a sequence: carry context from each to the next.
    source : str
        What drives the network; with `AUTOENCODER` the stimuli are reconstructed.

    Returns
    -------
    DataFrame
        One row per test stimulus.
    """
    n = len(dataset.x_test)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "phase": "test",
            "part": "test",
            "stimulus": np.arange(n),
            "concept": _concepts(dataset.y_test, source),
            "source": source,
            "record": np.arange(n) < record,
            "carry": carry & (np.arange(n) > 0),
        }
    )


def alignment_trials(dataset, epoch=0, n=100, *, source="stimulus+concept"):
    """Both pathways driven, no plasticity, spikes kept: how alike do paired cells fire?

    Parameters
    ----------
    dataset : DataSet or SequenceData
    epoch : int
    n : int
        Training stimuli, the concepts in turn.
    source : str
        What drives the network.

    Returns
    -------
    DataFrame
        One row per stimulus.
    """
    # one stimulus of each concept in turn
    rank = pd.Series(dataset.y_train).groupby(dataset.y_train).cumcount().to_numpy()
    chosen = np.lexsort((dataset.y_train, rank))[:n]
    return pd.DataFrame(
        {
            "epoch": epoch,
            "phase": "align",
            "part": "train",
            "stimulus": chosen,
            "concept": _concepts(dataset.y_train[chosen], source),
            "source": source,
            "record": True,
        }
    )


test_trials.__test__ = False  # no test of pytest's


def recall_trials(n_concepts, epoch=0, *, instances=1):
    """Every concept drives the backward network alone.

    Parameters
    ----------
    n_concepts, epoch : int
    instances : int
        Trials of each concept.

    Returns
    -------
    DataFrame
        Concepts in order, the instances of one after the other.
    """
    return pd.DataFrame(
        {
            "epoch": epoch,
            "phase": "recall",
            "concept": np.repeat(np.arange(n_concepts), instances),
            "instance": np.tile(np.arange(instances), n_concepts),
            "source": "concept",
            "record": True,
        }
    )


def join_tables(tables):
    """One table from several, trials numbered in order (of each replica, where there are).

    Parameters
    ----------
    tables : iterable of DataFrame, or of lists of them
        What one lacks of the others' columns has its default; of ``draw``, the trial's number.

    Returns
    -------
    DataFrame

    Raises
    ------
    InputError
        If there is none, something else than a table, or only some have a column ``replica``.
    """
    if isinstance(tables, pd.DataFrame):
        tables = [tables]
    tables = [t for one in tables for t in (one if isinstance(one, (list, tuple)) else [one])]
    if not tables or not all(isinstance(table, pd.DataFrame) for table in tables):
        raise InputError("join_tables: give trial tables, as those of training_trials.")
    if len({"replica" in table for table in tables}) > 1:
        raise InputError("join_tables: give a column replica to all tables or to none.")
    tables = [
        table.assign(
            **{k: v for k, v in COLUMNS.items() if v is not None and k not in table}
        )
        for table in tables
    ]
    table = pd.concat(tables, ignore_index=True)
    table["trial"] = (
        table.groupby("replica").cumcount() if "replica" in table else np.arange(len(table))
    )
    if "draw" in table:
        table["draw"] = table["draw"].fillna(table["trial"]).astype(np.int64)
    return table

"""Sequences: time series and texts, as stimuli that follow one another.

Every element of a sequence is one stimulus. A time series becomes population codes: Gaussian tuning
curves over its value, over its change since one season ago, and over the time of day and the
weekday. What is learned is the correction of a reference forecast (the mean, the last value, the
value one season before, or the last value plus the change over the same span one season before), as
a concept: bins of the correction, in order. A text becomes one group of cells for each symbol, and
the concept is the symbol that follows.
"""

import dataclasses
import hashlib
import lzma
from pathlib import Path

import numpy as np
import pandas as pd

from bsd.equations.errors import InputError
from bsd.runs.data.tables import find_file, read_table, require_names

__all__ = ["REFERENCES", "CodedStimuli", "SequenceData", "load_series", "load_text"]

#: Cells with tuning curves over the value, and over its change; hours and weekdays.
N_VALUE, N_HOURS, N_WEEKDAYS = 24, 24, 7

#: Bins of the correction, and the share of corrections beyond those in use, on each side.
N_BINS, BEYOND = 80, 0.002

#: Bins on each side that stand for no correction of the training part: tuning curves that ended at
#: the outermost correction would pull the read-out inwards.
N_GUARD = 12

#: Cells that stand for one symbol of a text.
CELLS_PER_SYMBOL = 4

#: Where the validation part and the test part begin, as shares of the sequence.
SERIES_PARTS, TEXT_PARTS = (0.6, 0.8), (0.9, 0.95)

#: Different symbols of a text, at most: each has cells of its own.
MAX_SYMBOLS = 1000

REFERENCES = ("mean", "persistence", "seasonal", "seasonal_change")


class CodedStimuli:
    """Stimuli that repeat a few patterns, looked up when they are asked for.

    Parameters
    ----------
    patterns : ndarray of float32, shape (n_patterns, 1, n_cells)
    which : ndarray of int, shape (n,)
        Pattern of each stimulus.
    """

    def __init__(self, patterns, which):
        self.patterns, self.which = patterns, which

    def __len__(self):
        return len(self.which)

    def __getitem__(self, rows):
        return self.patterns[self.which[rows]]


@dataclasses.dataclass(frozen=True)
class SequenceData:
    """A sequence as stimuli and concepts, in order; engine and trial tables take it as a data set.

    Attributes
    ----------
    name : str
    x_train, x_test : ndarray of float32 or CodedStimuli, shape (n, 1, n_cells)
        Intensities in 0..1 of consecutive elements.
    y_train, y_test : ndarray of int64, shape (n,)
        Concepts: bin of the correction, or the symbol that follows.
    n_concepts : int
    image_shape : tuple of int
        (1, n_cells).
    source, licence : str
    values : ndarray of float64, shape (n_concepts,), or None
        Correction that each concept stands for, in SDs of the training part.
    targets : DataFrame or None
        One row per test stimulus: element (the number in the file of what is forecast), of a
        series with dates its time (UTC where the file has zones), actual, reference, and the
        forecasts named in `REFERENCES`, all in SDs of the training part. Without a season of
        several elements ``seasonal``, which equals ``persistence``, is left out.
    reference : str
        Which of `REFERENCES` is corrected: the one with the least squared error in the
        validation part.
    mean, sd : float or None
        Of the training part, in the series' own unit: a value is mean + sd times the tabled one.
    symbols : str
        Of a text.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_concepts: int
    image_shape: tuple[int, int]
    source: str
    licence: str
    values: np.ndarray | None = None
    targets: pd.DataFrame | None = None
    reference: str = ""
    mean: float | None = None
    sd: float | None = None
    symbols: str = ""

    @property
    def digest(self):
        """SHA-256 of all that is shown, taught and compared."""
        found = hashlib.sha256(self.symbols.encode())
        arrays = [self.y_train, self.y_test]
        for x in (self.x_train, self.x_test):
            arrays += [x.patterns, x.which] if isinstance(x, CodedStimuli) else [x]
        if self.values is not None:
            arrays += [self.values, self.targets.drop(columns="time", errors="ignore").to_numpy()]
        for array in arrays:
            found.update(str(array.shape).encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def load_series(path=None, column=None, horizon=1, season=None, evaluate="test", name="series"):
    """A column of a CSV file as stimuli and corrections of a forecast.

    Of the elements the last 20 % are the test part, the 20 % before the validation part. The
    training part is all that lies before the part that is evaluated. A column of dates gives time
    of day, weekday and the season of one day.

    Parameters
    ----------
    path : path-like, optional
        CSV file, compressed or not; a name without a folder is looked for in the data directory,
        too. By default the EEG that ships with matplotlib (800 samples of 4 channels).
    column : str, optional
        By default the first numeric one.
    horizon : int
        Elements ahead.
    season : int, optional
        Elements of a season; by default those of a day, or 1 without dates.
    evaluate : {'test', 'validation'}
        Which part is the test part.
    name : str

    Returns
    -------
    SequenceData

    Raises
    ------
    InputError
        File or column missing, two columns of that name, gaps, text in place of numbers, rows of
        unequal length, dates that are not in order or, within a day, not at regular intervals, too
        few elements.
    """
    frame, names, path = _read_table(path)
    dates = _dates(frame, path)
    values, column = _column(frame, names, column, path)
    for key, value in (("horizon", horizon), ("season", season)):
        if not (key == "season" and value is None) and (
            isinstance(value, bool) or not isinstance(value, int) or value < 1
        ):
            raise InputError(f"data.{key} = {value!r}: a whole number of elements, from 1.")
    part = _part(evaluate)
    if season is None:
        season = _elements_per_day(dates)
    n = len(values)
    ends = [int(share * n) for share in SERIES_PARTS]
    learned = ends[0] if part == "validation" else ends[1]
    # the last element of the most recent season that is known when the forecast is made
    back = season * -(-horizon // season)
    if min(ends[0] - back - horizon, ends[1] - ends[0] - horizon) < 50:
        raise InputError(
            f"{path}: {n} elements are too few for a horizon of {horizon} and a season of "
            f"{season}: use a longer series, or smaller data.horizon and data.season."
        )
    with np.errstate(all="ignore"):
        mean, spread = values[:learned].mean(), values[:learned].std()
        far = (values - mean) / spread
    if spread > 0 and not (np.isfinite(spread) and np.isfinite(far**2).all()):
        raise InputError(
            f"{path}: column {column!r} has values of up to {np.abs(values).max():.3g}, too far "
            "apart to square: use another unit."
        )
    if not spread > 0:
        raise InputError(
            f"{path}: column {column!r} is constant in its first {learned} elements: "
            "choose another data.column."
        )
    z = (values - mean) / spread
    now = np.arange(back, n - horizon)
    actual = z[now + horizon]
    train, validation = now + horizon < learned, (now >= ends[0]) & (now + horizon < ends[1])
    shown = validation if part == "validation" else now >= ends[1]
    forecasts = {
        "mean": np.full(len(now), z[: ends[0]].mean()),  # of what lies before the validation part
        "persistence": z[now],
        "seasonal": z[now + horizon - back],
        # ARIMA(0,1,0)(0,1,0) with `back` as its period; without dates the line through the last
        # value and the one a horizon before
        "seasonal_change": z[now] + z[now + horizon - back] - z[now - back],
    }
    errors = {k: np.mean((f - actual)[validation] ** 2) for k, f in forecasts.items()}
    reference = min(REFERENCES, key=errors.get)
    forecasts["mean"] = np.zeros(len(now))
    correction = actual - forecasts[reference]
    low, high = np.quantile(correction[train], [BEYOND, 1 - BEYOND])
    last = N_BINS - 1 - 2 * N_GUARD
    width = max(high - low, 1e-12) / last
    bins = low + width * (np.arange(N_BINS) - N_GUARD)
    concept = np.clip(np.rint((correction - low) / width), 0, last).astype(np.int64) + N_GUARD
    codes = [_tuned(z[now], z[now][train]), _tuned(z[now] - z[now - season],
                                                 (z[now] - z[now - season])[train])]
    if dates is not None:
        codes += _calendar(dates.iloc[now])
    x = np.concatenate(codes, axis=1).astype(np.float32)[:, None, :]
    time = {} if dates is None else {
        "time": dates.iloc[now + horizon].dt.tz_localize(None).to_numpy()
    }
    targets = pd.DataFrame(
        {
            "element": now + horizon, **time, "actual": actual,
            "reference": forecasts[reference], **forecasts,
        }
    ).drop(columns="seasonal" if season == 1 else [])
    return SequenceData(
        name=name,
        x_train=x[train],
        y_train=concept[train],
        x_test=x[shown],
        y_test=concept[shown],
        n_concepts=N_BINS,
        image_shape=(1, x.shape[2]),
        source=(
            f"column {column!r} of {path.name}, "
            + (f"by the dates in {dates.name!r}" if dates is not None else "no dates")
            + f", a season of {season} element{'s' if season > 1 else ''}"
        ),
        licence="of the file" if path != _eeg() else "of matplotlib's sample data",
        values=bins,
        targets=targets[shown].reset_index(drop=True),
        reference=reference,
        mean=float(mean),
        sd=float(spread),
    )


def load_text(path=None, train=None, test=20_000, evaluate="test", name="text"):
    """A text as symbols, each with the one that follows.

    Of the characters the last 5 % are the test part, the 5 % before the validation part. The
    training part is all that lies before the part that is evaluated.

    Parameters
    ----------
    path : path-like, optional
        UTF-8 text, compressed by xz or not; a name without a folder is looked for in the data
        directory, too. By default the help texts that ship with Python (`pydoc_data.topics`).
    train, test : int, optional
        Use so many characters of the training part, from its start (default: all), and at most
        so many of the test part.
    evaluate : {'test', 'validation'}
        Which part is the test part.
    name : str

    Returns
    -------
    SequenceData

    Raises
    ------
    InputError
        File missing, not UTF-8, binary, too short, of one symbol or more than `MAX_SYMBOLS`.
    """
    for key, value in (("train", train), ("test", test)):
        if not (key == "train" and value is None) and (
            isinstance(value, bool) or not isinstance(value, int) or value < 100
        ):
            raise InputError(f"data.{key} = {value!r}: a whole number of characters, from 100.")
    part = _part(evaluate)
    text, source = _read_text(path)
    if len(text) < 2000:
        raise InputError(f"{source}: {len(text)} characters are too few: give at least 2000.")
    symbols, which = np.unique(np.frombuffer(text.encode("utf-32-le"), np.uint32),
                               return_inverse=True)
    if not 2 <= len(symbols) <= MAX_SYMBOLS:
        raise InputError(
            f"{source} has {len(symbols)} different symbols: give a text of 2 to {MAX_SYMBOLS}."
        )
    first, second = (int(share * len(which)) for share in TEXT_PARTS)
    start, stop = (first, second) if part == "validation" else (second, len(which))
    learned = which[: start if train is None else min(start, train + 1)]
    asked = which[start:stop][: test + 1]
    cells = np.kron(np.eye(len(symbols)), np.ones(CELLS_PER_SYMBOL)).astype(np.float32)[:, None]
    return SequenceData(
        name=name,
        x_train=CodedStimuli(cells, learned[:-1]),
        y_train=learned[1:].astype(np.int64),
        x_test=CodedStimuli(cells, asked[:-1]),
        y_test=asked[1:].astype(np.int64),
        n_concepts=len(symbols),
        image_shape=(1, cells.shape[2]),
        source=source,
        licence="of the file" if path else "PSF",
        symbols="".join(map(chr, symbols)),
    )


def _part(evaluate):
    if evaluate not in ("test", "validation"):
        raise InputError(f"data.evaluate = {evaluate!r}: choose 'test' or 'validation'.")
    return evaluate


def _eeg():
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "eeg.dat"


def _read_table(path):
    """The table, the names of its columns as they are written, and the path."""
    if path is None:
        samples = np.fromfile(_eeg(), dtype=float).reshape(-1, 4)
        names = [f"channel{k}" for k in range(samples.shape[1])]
        return pd.DataFrame(samples, columns=names), names, _eeg()
    return read_table(path)


def _dates(frame, path):
    """The first column that holds dates, or None."""
    for name in frame:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            dates = pd.to_datetime(frame[name], errors="coerce", format="ISO8601", utc=True)
            if dates.notna().all():
                _check_dates(dates, f"{path}: column {name!r}")
                return dates
            text = frame[name].astype(str)
            if text.str.contains(r"\d[/.-]\d+[/.-]\d").all():
                raise InputError(
                    f"{path}: column {name!r} has dates such as {text.iloc[0][:40]!r}: write them "
                    "as 2021-03-31 or 2021-03-31 12:00 (ISO 8601), or remove the column."
                )
    return None


def _check_dates(dates, where):
    steps = dates.diff().iloc[1:]
    wrong = np.flatnonzero(steps < pd.Timedelta(0))
    if not len(wrong) and steps.median() < pd.Timedelta(days=1):
        # months and working days are of unequal length, what is measured within a day is not
        wrong = np.flatnonzero((steps - steps.median()).abs() > 0.5 * steps.median())
    if len(wrong):
        row = int(wrong[0]) + 1
        raise InputError(
            f"{where} goes from {dates.iloc[row - 1]} to {dates.iloc[row]} in row {row + 1} of the "
            "data: sort the rows by date, one series, no repeats, and fill gaps; or remove the "
            "column."
        )


def _column(frame, names, column, path):
    numeric = frame.select_dtypes("number").columns
    if column is None:
        if not len(numeric):
            raise InputError(f"{path} has no column of numbers: give a table with at least one.")
        column = numeric[0]
        require_names(frame, path)
        steps = np.diff(frame[column].to_numpy(float, na_value=np.nan))
        if len(steps) and steps[0] and np.allclose(steps, steps[0], atol=0):
            raise InputError(
                f"{path}: the first column of numbers, {column!r}, changes by {steps[0]:g} from "
                "row to row, as a clock or an index does: choose one by data.column, of "
                f"{', '.join(map(str, numeric[:40]))}."
            )
    if not isinstance(column, str) or column not in frame:
        raise InputError(
            f"data.column = {column!r}: {path} has {', '.join(map(str, frame.columns[:40]))}."
        )
    if names.count(column) > 1:
        raise InputError(f"{path} has more than one column {column!r}: give each its own name.")
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(float, na_value=np.nan)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(
            f"{path}: column {column!r} has no number in row {row + 1} of the data: fill the gap, "
            "or choose another data.column."
        )
    return values, column


def _elements_per_day(dates):
    if dates is None:
        return 1
    step = dates.diff().median()
    day = pd.Timedelta(days=1)
    return int(day / step) if pd.Timedelta(0) < step <= day / 2 else 1


def _tuned(values, learned):
    """Gaussian tuning curves whose centres have equal shares of the training values between."""
    centres = np.unique(np.quantile(learned, np.linspace(0.005, 0.995, N_VALUE)))
    place = np.interp(values, centres, np.linspace(0, N_VALUE - 1, len(centres)))
    return np.exp(-0.5 * (place[:, None] - np.arange(N_VALUE)) ** 2)


def _calendar(dates):
    hour = (dates.dt.hour + dates.dt.minute / 60).to_numpy()
    away = (hour[:, None] - np.arange(N_HOURS) + N_HOURS / 2) % N_HOURS - N_HOURS / 2
    return [np.exp(-0.5 * away**2), np.eye(N_WEEKDAYS)[dates.dt.day_of_week]]


def _read_text(path):
    if path is None:
        from pydoc_data.topics import topics

        return "\n".join(topics[name] for name in sorted(topics)), "pydoc_data.topics of Python"
    path = find_file(path)
    try:
        raw = path.read_bytes()
        raw = lzma.decompress(raw) if path.suffix == ".xz" else raw
        text = raw.decode("utf-8-sig")
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read as UTF-8 text ({' '.join(str(error).split())[:100]}): convert "
            "it."
        ) from error
    if "\0" in text:  # as UTF-16 has them
        raise InputError(f"{path} has NUL characters, so it is no UTF-8 text: convert it.")
    return text.replace("\r\n", "\n").replace("\r", "\n"), path.name

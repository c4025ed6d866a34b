"""Time series and texts as stimuli, concepts and forecasts."""

import dataclasses
import lzma
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsd.analysis.sequences import SIMPLE
from bsd.equations import InputError
from bsd.runs.cli.app import FORECAST_MEASURES
from bsd.runs.data import load_series, load_text
from bsd.runs.data.sequences import REFERENCES


@pytest.fixture
def daily(tmp_path):
    """Function that writes an hourly series: a daily rhythm whose size changes from day to day."""

    def write(n=2400, dates=True, name="series.csv"):
        hours = np.arange(n)
        size = 1 + 0.3 * np.sin(hours // 24)
        frame = pd.DataFrame({"load": 5 + size * np.sin(2 * np.pi * hours / 24)})
        if dates:
            frame.insert(0, "when", pd.date_range("2021-03-01", periods=n, freq="h"))
        frame["note"] = "x"
        frame.to_csv(tmp_path / name, index=False)
        return tmp_path / name, frame["load"].to_numpy()

    return write


@pytest.mark.parametrize("horizon", [1, 12, 30])
def test_targets_are_the_values_of_the_file(daily, horizon):
    path, load = daily()
    data = load_series(path, horizon=horizon)
    z = (load - load[:1920].mean()) / load[:1920].std()  # all that lies before the test part
    t, element = data.targets, data.targets["element"].to_numpy() - horizon  # the last known
    assert element[0] == 1920 and element[-1] == 2399 - horizon  # the last fifth
    assert np.allclose(t["actual"], z[element + horizon])
    assert np.allclose(t["persistence"], z[element])
    back = 24 if horizon <= 24 else 48  # no value that lies ahead of the present
    assert np.allclose(t["seasonal"], z[element + horizon - back])
    followed = z[element + horizon - back] - z[element - back]
    assert np.allclose(t["seasonal_change"], z[element] + followed)
    assert len(data.x_test) == len(data.y_test) == len(t)


def test_targets_have_the_dates_and_the_scale_of_the_file(daily):
    path, load = daily()
    data = load_series(path, horizon=12)
    dates = pd.read_csv(path, parse_dates=["when"])["when"]
    element = data.targets["element"]
    assert (data.targets["time"].to_numpy() == dates[element].to_numpy()).all()
    assert np.allclose(data.mean + data.sd * data.targets["actual"], load[element])
    undated = load_series(daily(dates=False)[0], horizon=12, season=24)
    assert "time" not in undated.targets and undated.sd == data.sd


def test_concepts_stand_for_corrections_to_half_a_bin(daily):
    path, _ = daily()
    data = load_series(path, horizon=6)
    correction = (data.targets["actual"] - data.targets["reference"]).to_numpy()
    values = data.values[12:-12]  # the others guard the ends of the tuning curves
    inside = (correction > values[0]) & (correction < values[-1])
    half = 0.5 * (data.values[1] - data.values[0])
    assert inside.mean() > 0.9
    assert data.y_train.min() == 12 and data.y_train.max() == len(data.values) - 13
    assert np.abs(data.values[data.y_test] - correction)[inside].max() <= half * (1 + 1e-9)


def test_parts_follow_one_another_and_share_nothing(daily):
    path, _ = daily()
    test, validation = (load_series(path, evaluate=part) for part in ("test", "validation"))
    assert test.reference == validation.reference
    for data, start, stop in ((validation, 1440, 1920), (test, 1920, 2400)):
        last_training = 24 + len(data.x_train) - 1  # its target is the element that follows
        assert last_training + 1 == start - 1
        element = data.targets["element"]
        assert element.iloc[0] == start + 1 and element.iloc[-1] == stop - 1


def test_what_comes_after_the_validation_part_has_no_influence_on_it(daily):
    path, load = daily()
    before = load_series(path, horizon=12, evaluate="validation")
    frame = pd.read_csv(path)
    frame.loc[1920:, "load"] *= -3
    frame.to_csv(path, index=False)
    after = load_series(path, horizon=12, evaluate="validation")
    assert np.array_equal(after.x_train, before.x_train)
    assert np.array_equal(after.x_test, before.x_test)
    assert np.array_equal(after.y_train, before.y_train)
    pd.testing.assert_frame_equal(after.targets, before.targets)


def test_the_reference_is_the_best_on_the_validation_part(daily):
    path, _ = daily()
    errors = load_series(path, horizon=12, evaluate="validation").targets
    squares = {
        name: ((errors[name] - errors["actual"]) ** 2).mean() for name in REFERENCES
    }
    chosen = load_series(path, horizon=12).reference
    assert squares[chosen] == min(squares.values()) and chosen == "seasonal"


def test_every_reference_can_be_chosen_and_is_reported(tmp_path):
    assert set(REFERENCES) == set(SIMPLE)
    assert {f"mse_{name}" for name in SIMPLE} == set(FORECAST_MEASURES) - {"mse"}
    noise = 0.05 * np.random.default_rng(0).standard_normal(2400)
    rhythm = np.sin(2 * np.pi * np.arange(2400) / 24)
    when = pd.date_range("2021-03-01", periods=2400, freq="h")
    for name, values in (
        ("mean", noise),
        ("persistence", np.cumsum(noise)),
        ("seasonal", rhythm + noise),
        ("seasonal_change", rhythm + np.cumsum(noise)),
    ):
        pd.DataFrame({"when": when, "v": values}).to_csv(tmp_path / "v.csv", index=False)
        assert load_series(tmp_path / "v.csv").reference == name


def test_the_reference_is_chosen_by_the_mean_that_is_known_before_the_validation_part(tmp_path):
    values = np.random.default_rng(0).normal(size=2000)
    values[1200:] += 1.2  # so that the last value errs by 2, the mean before it by 2.4, a later
    pd.DataFrame({"v": values}).to_csv(tmp_path / "step.csv", index=False)  # one by 1.9
    for part in ("validation", "test"):
        assert load_series(tmp_path / "step.csv", evaluate=part).reference == "persistence"


def test_equal_data_have_equal_digests_and_no_others():
    series, text = load_series(), load_text(train=500)
    assert series.digest == load_series().digest and text.digest == load_text(train=500).digest
    far = series.targets.copy()
    far.loc[len(far) - 1, "actual"] += 1
    x, other = series.x_test, series.x_test.copy()
    other[-1, 0, -1] += 0.5
    changed = [
        series,
        load_series(evaluate="validation"),
        load_series(horizon=2),
        dataclasses.replace(series, x_train=series.x_train[::-1]),
        dataclasses.replace(series, y_train=series.y_train[::-1]),
        dataclasses.replace(series, x_test=other),
        dataclasses.replace(series, x_test=x.reshape(len(x), 2, -1)),
        dataclasses.replace(series, y_test=series.y_test[::-1]),
        dataclasses.replace(series, values=series.values + 1e-9),
        dataclasses.replace(series, targets=far),
        text,
        load_text(train=501),
        dataclasses.replace(text, symbols=text.symbols[::-1]),
    ]
    digests = [data.digest for data in changed]
    assert len(set(digests)) == len(digests)


def test_the_calendar_is_coded_if_there_are_dates(daily):
    with_dates, _ = daily()
    without, _ = daily(dates=False, name="plain.csv")
    x = load_series(with_dates).x_test[:, 0]
    assert x.shape[1] == 48 + 24 + 7
    hour = np.argmax(x[:, 48:72], axis=1)
    assert np.array_equal(hour[:24], np.arange(24))  # element 1920 is a midnight
    assert (x[:, 72:].sum(axis=1) == 1).all()
    plain = load_series(without)
    assert plain.x_test.shape[2] == 48
    assert "seasonal" not in plain.targets  # season 1: it would be persistence
    assert plain.source == "column 'load' of plain.csv, no dates, a season of 1 element"
    own = "column 'load' of series.csv, by the dates in 'when', a season of 24 elements"
    assert load_series(with_dates).source == own


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M", "%m-%d-%y", "%d.%m.%Y"])
def test_dates_that_would_be_overlooked_are_refused(daily, form):
    path, _ = daily()
    frame = pd.read_csv(path, parse_dates=["when"])
    frame.assign(when=frame["when"].dt.strftime(form)).to_csv(path, index=False)
    with pytest.raises(InputError, match="column 'when' has dates such as .*ISO 8601"):
        load_series(path)


def test_other_text_is_no_date(daily):
    path, _ = daily(dates=False)
    assert "no dates" in load_series(path).source  # it has a column of notes


@pytest.mark.parametrize("step", [1, -3600, 0.1])
def test_a_clock_is_not_taken_for_the_series(daily, step):
    path, load = daily(dates=False)
    frame = pd.read_csv(path)
    frame.insert(0, "seconds", 7 + step * np.arange(len(frame)))
    frame.to_csv(path, index=False)
    with pytest.raises(InputError, match="'seconds', changes by .*: choose .* of seconds, load"):
        load_series(path)
    assert "column 'load'" in load_series(path, column="load").source
    assert "column 'seconds'" in load_series(path, column="seconds").source


def test_intensities_lie_between_0_and_1(daily):
    data = load_series(daily()[0])
    for x in (data.x_train, data.x_test):
        assert x.min() >= 0 and x.max() <= 1


def test_the_default_series_ships_with_matplotlib():
    data = load_series()
    assert "eeg.dat" in data.source and len(data.x_train) > 400


@pytest.mark.parametrize(
    "options, message",
    [
        ({"path": "nowhere.csv"}, "no such file"),
        ({"column": "wind"}, "data.column = 'wind'"),
        ({"horizon": 0}, "data.horizon = 0"),
        ({"season": 2.5}, "data.season = 2.5"),
        ({"horizon": 900}, "too few"),
        ({"evaluate": "train"}, "data.evaluate"),
        ({"column": "note"}, "no number in row 1"),
    ],
)
def test_wrong_options_are_refused(daily, options, message):
    with pytest.raises(InputError, match=message):
        load_series(**{"path": daily()[0], **options})


def test_gaps_and_constants_are_refused(daily, tmp_path):
    path, load = daily()
    load = load.copy()
    load[7] = np.nan
    pd.DataFrame({"load": load, "flat": 1.0}).to_csv(path, index=False)
    with pytest.raises(InputError, match="row 8"):
        load_series(path)
    with pytest.raises(InputError, match="constant"):
        load_series(path, column="flat")


@pytest.mark.parametrize(
    "head, column, message",
    [
        ("load,load", "load", "more than one column 'load': give each"),
        ("NA,NA", "NA", "more than one column 'NA'"),
        ("load,load", None, "more than one column 'load'"),
        ("0,0", None, "numbers in place of column names"),
        ("load,load.1", "load", None),
        ("load,flag,flag", "load", None),  # the other two are not read
    ],
)
def test_two_columns_of_one_name_are_refused(daily, tmp_path, head, column, message):
    values = daily()[1]
    width = head.count(",") + 1
    rows = [",".join([str(value)] + ["0"] * (width - 1)) for value in values]
    path = tmp_path / "names.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    with pytest.raises(InputError, match=message) if message else nullcontext():
        load_series(path, column=column)


TEXT = "the cat sat on the mat. " * 200


@pytest.mark.parametrize("compressed", [False, True])
def test_a_text_is_its_symbols(tmp_path, compressed):
    path = tmp_path / ("text.txt.xz" if compressed else "text.txt")
    raw = TEXT.encode()
    path.write_bytes(lzma.compress(raw) if compressed else raw)
    data, validation = (load_text(path, evaluate=part) for part in ("test", "validation"))
    n = len(TEXT)
    assert data.symbols == "".join(sorted(set(TEXT))) and data.n_concepts == len(data.symbols)
    ends = int(0.9 * n), int(0.95 * n), n
    for own, start, stop in ((validation, *ends[:2]), (data, *ends[1:])):
        assert "".join(data.symbols[k] for k in own.x_train.which) == TEXT[: start - 1]
        assert "".join(data.symbols[k] for k in own.y_test) == TEXT[start + 1 : stop]
    shown = data.x_test[np.array([0, 3])]
    assert shown.shape == (2, 1, 4 * data.n_concepts) and (shown.sum(axis=(1, 2)) == 4).all()


def test_wrong_texts_are_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xff\xfe\xff" * 1000)
    with pytest.raises(InputError, match="UTF-8"):
        load_text(path)
    path.write_text("short")
    with pytest.raises(InputError, match="too few"):
        load_text(path)
    with pytest.raises(InputError, match="data.train = 5"):
        load_text(path, train=5)


@settings(deadline=None)
@given(
    n=st.integers(30, 400), segment=st.integers(1, 60), seed=st.integers(0, 5),
    epochs=st.integers(1, 3),
)
def test_training_shows_every_element_once_in_segments(n, segment, seed, epochs):
    from types import SimpleNamespace

    from bsd.runs.trials import sequence_trials

    data = SimpleNamespace(x_train=np.zeros((n, 1, 2)), y_train=np.arange(n))
    tables = sequence_trials(data, epochs, seed, segment=segment, decay=0.5)
    for k, table in enumerate(tables):  # linear, to zero after the last trial
        ends = np.array([1 - k / epochs, 1 - (k + 1) / epochs]) * 0.5**k
        assert np.allclose(table["learn"], np.linspace(*ends, n + 1)[:-1])
    for table in tables:
        stimulus = table["stimulus"].to_numpy()
        assert sorted(stimulus) == list(range(n))
        follows = np.diff(stimulus, prepend=-2) == 1
        # context is carried within a segment only, and always there
        assert (follows >= table["carry"]).all()
        assert (table["carry"] == (stimulus % segment > 0)).all()
        assert not table["carry"].iloc[0]

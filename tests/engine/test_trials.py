"""Trial tables: their checks, and how they are cut into chunks."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsd.equations import InputError
from bsd.runs.engine import Simulation
from bsd.runs.engine.simulation import cut
from bsd.runs.trials import (
    COLUMNS,
    SOURCES,
    alignment_trials,
    check_table,
    join_tables,
    recall_trials,
    test_trials,
    training_trials,
    trial_arrays,
)

test_trials.__test__ = False


@pytest.mark.parametrize(
    "columns, text",
    [
        ({"trial": [0, 0, 1]}, "'trial' must increase"),
        ({"trial": [2, 1, 3]}, "'trial' must increase"),
        ({"trial": [-1, 0, 1]}, "'trial' must increase"),
        ({"trial": [0, np.nan, 2]}, "'trial' must hold finite numbers"),
        ({"stimulus": "first"}, "'stimulus' must hold finite numbers"),
        ({"concept": np.inf}, "'concept' must hold finite numbers"),
        ({"learn": [1, np.inf, 1]}, "'learn' must hold finite numbers"),
        ({"learn": [1, -0.1, 1]}, "'learn' must not be negative"),
        ({"noise": np.inf}, "'noise' must hold finite numbers"),
        ({"occlusion": "half"}, "'occlusion' must hold finite numbers"),
        ({"shift": "two"}, "'shift' must hold finite numbers"),
        ({"stimulus": np.nan}, "'stimulus' needs a row"),
        ({"concept": None}, "'concept' needs a value"),
        ({"source": "stimulus+image"}, "unknown source 'image'.*stimulus, concept"),
        ({"source": ""}, "unknown source ''"),
        ({"part": "validation"}, "'part' must be 'train' or 'test'"),
        ({"mask": "middle"}, "'mask' must be one of left, right"),
        ({"stimulus": [0, 24, 1]}, r"stimulus 24 is not in the train part of made-up \(0 to 23\)"),
        ({"part": "test", "stimulus": 6}, r"stimulus 6 is not in the test part"),
        ({"stimulus": [0, -2, 1]}, "is not in the train part"),
        ({"stimulus": -1}, "'stimulus' needs a row"),
        ({"concept": 3}, "concepts must lie in 0 to 2"),
        ({"concept": -2}, "concepts must lie in 0 to 2"),
        ({"concept": -1}, "'concept' needs a value"),
    ],
)
def test_tables_that_cannot_be_are_refused(trial_table, dataset, columns, text):
    with pytest.raises(InputError, match=text) as error:
        check_table(trial_table(3, **columns), dataset, 3)
    assert "\n" not in str(error.value)


def test_stimulus_named_in_the_message_is_the_one_out_of_range(trial_table, dataset):
    with pytest.raises(InputError, match="stimulus -2 is not in"):
        check_table(trial_table(3, stimulus=[0, -2, 1]), dataset, 3)


@pytest.mark.parametrize("table", [pd.DataFrame(), pd.DataFrame({"trial": []}), {"trial": [0]}])
def test_empty_tables_are_refused(dataset, table):
    with pytest.raises(InputError, match="the trial table is empty"):
        check_table(table, dataset, 3)


def test_missing_columns_take_their_defaults_and_others_are_kept(dataset):
    table = pd.DataFrame({"stimulus": [2, 0], "note": ["a", "b"]}, index=[7, 3])
    checked = check_table(table, dataset, 3)
    assert list(table) == ["stimulus", "note"]  # the user's own table stays as it is
    assert checked["trial"].tolist() == [0, 1] and checked["note"].tolist() == ["a", "b"]
    for name, default in COLUMNS.items():
        if name not in ("trial", "stimulus"):
            assert checked[name].tolist() == [default, default]


def test_missing_values_take_their_defaults(trial_table, dataset):
    table = trial_table(2, learn=[np.nan, 0.5], part=[None, "train"], record=[None, True])
    checked = check_table(table, dataset, 3)
    assert checked["learn"].tolist() == [0.0, 0.5]
    assert checked["part"].tolist() == ["test", "train"]
    assert checked["record"].tolist() == [False, True]


sources = st.lists(st.sampled_from(SOURCES), min_size=1, max_size=4, unique=True).map("+".join)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_valid_tables_pass_unchanged(trial_table, dataset, data):
    n = data.draw(st.integers(1, 12))
    column = lambda values: data.draw(st.lists(values, min_size=n, max_size=n))  # noqa: E731
    gaps = np.cumsum(column(st.integers(1, 5)))
    table = trial_table(
        n,
        trial=gaps,
        part=column(st.sampled_from(["train", "test"])),
        stimulus=column(st.integers(0, 5)),
        concept=column(st.integers(0, 2)),
        source=column(st.one_of(sources, st.just("nothing"))),
        learn=column(st.floats(0, 10)),
        noise=column(st.floats(0, 1)),
    )
    checked = check_table(table, dataset, 3)
    pd.testing.assert_frame_equal(checked[list(table)], table)
    pd.testing.assert_frame_equal(check_table(checked, dataset, 3), checked)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2),
    st.sampled_from(["stimulus", "concept", "learn", "trial"]),
    st.one_of(st.integers(-1000, -3), st.just(-np.inf), st.just(np.inf), st.just("x")),
)
def test_one_impossible_value_anywhere_is_refused(trial_table, dataset, row, name, value):
    table = trial_table(3)
    table[name] = [value if k == row else v for k, v in enumerate(table[name])]
    with pytest.raises(InputError, match=name):
        check_table(table, dataset, 3)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from(["train", "test"])), min_size=1, max_size=40
    ),
    st.integers(1, 12),
)
def test_cut_covers_the_table_in_order(rows, capacity):
    table = pd.DataFrame(rows, columns=["epoch", "phase"])
    pieces = cut(table, capacity)
    assert [s for s, _ in pieces] == [0, *[e for _, e in pieces[:-1]]]  # no gap, no overlap
    assert pieces[-1][1] == len(table)
    for start, stop in pieces:
        assert 1 <= stop - start <= capacity
        assert len(set(rows[start:stop])) == 1  # one epoch and phase
    # as few chunks as possible: a piece ends where it is full or the block ends
    for start, stop in pieces[:-1]:
        assert stop - start == capacity or rows[stop] != rows[stop - 1]


def test_trials_of_a_chunk_are_numbered_without_gaps(small_network, dataset, trial_table):
    simulation = Simulation(small_network(), dataset, "runtime")
    with pytest.raises(InputError, match="without gaps"):
        simulation.run(trial_table(3, trial=[0, 1, 3]))


def test_ready_made_tables(dataset):
    first, second = training_trials(dataset, 2, seed=1, decay=0.5, shift=1)
    for epoch, table in ((1, first), (2, second)):
        assert sorted(table["stimulus"]) == list(range(24))
        assert (table["concept"] == dataset.y_train[table["stimulus"]]).all()
        assert (table["learn"] == 0.5 ** (epoch - 1)).all() and (table["epoch"] == epoch).all()
    assert first["stimulus"].tolist() != second["stimulus"].tolist()
    again = training_trials(dataset, 2, seed=1, decay=0.5, shift=1)[0]
    pd.testing.assert_frame_equal(first, again)
    other = training_trials(dataset, 1, seed=2)[0]
    assert first["stimulus"].tolist() != other["stimulus"].tolist()
    assert len(training_trials(dataset, 1, seed=1, n=5)[0]) == 5
    tests = test_trials(dataset, record=2)
    assert (tests["concept"] == dataset.y_test).all() and tests["record"].sum() == 2
    recall = recall_trials(3, instances=2)
    assert recall["concept"].tolist() == [0, 0, 1, 1, 2, 2]
    joined = join_tables([first, tests, recall, alignment_trials(dataset, n=4)])
    checked = check_table(joined, dataset, 3)
    assert checked["trial"].tolist() == list(range(24 + 6 + 6 + 4))
    assert (checked.loc[checked["phase"] != "train", "learn"] == 0).all()
    assert set(checked["phase"]) == {"train", "test", "recall", "align"}


def test_drive_and_control_follow_the_table(small_network, dataset, trial_table):
    network = small_network()
    table = check_table(
        trial_table(
            4,
            source=["stimulus", "concept", "stimulus+percept", "concept+recall"],
            learn=[1.0, 0.0, 0.5, 0.0],
            record=[True, False, False, True],
        ),
        dataset,
        3,
    )
    drive, control = trial_arrays(table, dataset, network, seed=0)
    assert drive.shape == (9, 15) and control.shape == (9, 4)
    assert control[:4].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0.5, 0, 1, 0], [0, 1, 0, 1]]
    encodings = network.encoding_matrix()
    for row in range(4):
        stimulus = row in (0, 2)
        image = dataset.x_train[row].ravel() if stimulus else np.zeros(9)
        concept = np.zeros(6) if stimulus else encodings[dataset.y_train[row]]
        assert np.array_equal(drive[row], np.concatenate([image, concept]))
    assert not drive[4:].any() and not control[4:].any()

"""Trial tables: their checks, and how they are cut into chunks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsd.equations import InputError
from bsd.networks import CONTROL_COLUMNS
from bsd.runs.engine import Simulation
from bsd.runs.engine.simulation import cut
from bsd.runs.trials import (
    COLUMNS,
    SOURCES,
    alignment_trials,
    check_table,
    join_tables,
    recall_trials,
    sequence_trials,
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
        ({"trial": pd.array([0, None, 2], dtype="Int64")}, "'trial' must hold finite numbers"),
        ({"trial": [0, 1.5, 2]}, "'trial' must hold whole numbers"),
        ({"trial": [0, 1, 2**31]}, "'draw' must lie in 0 to 2147483647"),
        ({"draw": [0, -1, 0]}, "'draw' must lie in 0 to 2147483647"),
        ({"draw": [0, 2**31, 0]}, "'draw' must lie in 0 to 2147483647"),
        ({"draw": 0.5}, "'draw' must hold whole numbers"),
        ({"draw": [0, None, 0]}, "'draw' must hold finite numbers"),
        ({"stimulus": "first"}, "'stimulus' must hold finite numbers"),
        ({"concept": np.inf}, "'concept' must hold finite numbers"),
        ({"learn": [1, np.inf, 1]}, "'learn' must hold finite numbers"),
        ({"learn": [1, -0.1, 1]}, "'learn' must be at least 0"),
        ({"learn": [1, np.nan, 1]}, "'learn' must hold finite numbers only .*join_tables"),
        ({"noise": -0.1}, "'noise' must be at least 0"),
        ({"occlusion": 1.01}, "'occlusion' must be 0 to 1"),
        ({"occlusion": -0.1}, "'occlusion' must be 0 to 1"),
        ({"shift": 3}, "'shift' must be 0 to 2"),
        ({"shift": -1}, "'shift' must be 0 to 2"),
        ({"shift": 0.5}, "'shift' must hold whole numbers"),
        ({"epoch": 1.5}, "'epoch' must hold whole numbers"),
        ({"epoch": np.nan}, "'epoch' must hold finite numbers"),
        ({"stimulus": 0.5}, "'stimulus' must hold whole numbers"),
        ({"concept": [0, 0.1, 1]}, "'concept' must hold whole numbers"),
        ({"record": 2}, "'record' must hold True or False"),
        ({"record": "yes"}, "'record' must hold finite numbers"),
        ({"record": [True, None, True]}, "'record' must hold finite numbers"),
        ({"phase": 1}, "'phase' must hold text"),
        ({"phase": [None, "test", "test"]}, "'phase' must hold text"),
        ({"source": 3}, "'source' must hold text"),
        ({"source": ["stimulus", None, "stimulus"]}, "'source' must hold text"),
        ({"part": 0}, "'part' must hold text"),
        ({"noise": np.inf}, "'noise' must hold finite numbers"),
        ({"occlusion": "half"}, "'occlusion' must hold finite numbers"),
        ({"shift": "two"}, "'shift' must hold finite numbers"),
        ({"stimulus": np.nan}, "'stimulus' needs a row"),
        ({"concept": None}, "'concept' needs a value"),
        ({"source": "stimulus+image"}, "unknown source 'image'.*stimulus, concept"),
        ({"source": ""}, "unknown source ''"),
        ({"source": "stimulus+"}, "unknown source ''"),
        ({"source": "nothing+stimulus"}, "unknown source 'nothing'.*write 'nothing' alone"),
        ({"source": "percept"}, "add 'stimulus' or 'concept' to the source"),
        ({"source": "recall"}, "add 'stimulus' or 'concept' to the source"),
        ({"source": ["stimulus", "percept+recall", "stimulus"]}, "add 'stimulus' or 'concept'"),
        ({"part": "validation"}, "'part' must be 'train' or 'test'"),
        ({"mask": "middle"}, "'mask' must be one of left, right"),
        ({"mask": ["random", "left", "random"]}, "'occlusion' how much: give it, too"),
        ({"stimulus": [0, 24, 1]}, r"stimulus 24 is not in the train part of made-up \(0 to 23\)"),
        ({"part": "test", "stimulus": 6}, r"stimulus 6 is not in the test part"),
        ({"stimulus": [0, -2, 1]}, "is not in the train part"),
        ({"stimulus": -1}, "'stimulus' needs a row"),
        ({"concept": 3}, "concepts must lie in 0 to 2"),
        ({"concept": -2}, "concepts must lie in 0 to 2"),
        ({"concept": -1}, "'concept' needs a value"),
        ({"other_stimulus": 24, "blend": 0.5}, "stimulus 24 is not in the train part"),
        ({"other_concept": 3, "blend": 0.5}, "concepts must lie in 0 to 2"),
        ({"other_concept": 1, "blend": 1.5}, "'blend' must be 0 to 1"),
        ({"blend": 0.5}, "'blend' needs a row in 'other_stimulus'"),
        ({"loss": -0.1}, "'loss' must be 0 to 1"),
        ({"blur": -1}, "'blur' must be 0 to 3"),
        ({"blur": 1e9}, "'blur' must be 0 to 3"),  # the filter would not fit into memory
        ({"stimuli": 0}, "unknown column 'stimuli', is 'stimulus' meant"),
        ({"Source": "stimulus"}, "unknown column 'Source', is 'source' meant"),
        ({"learns": 1.0}, "unknown column 'learns', is 'learn' meant"),
        ({"occlusions": 0.5}, "unknown column 'occlusions', is 'occlusion' meant"),
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
    assert checked["draw"].tolist() == [0, 1]
    for name, default in COLUMNS.items():
        if name not in ("trial", "draw", "stimulus"):
            assert checked[name].tolist() == [default, default]


def test_tables_of_epochs_are_joined_first(trial_table, dataset):
    with pytest.raises(InputError, match="2 trial tables: .* join_tables"):
        check_table([trial_table(1), trial_table(1)], dataset, 3)


def test_draw_is_the_number_of_the_trial_unless_it_is_given(trial_table, dataset):
    table = trial_table(3, trial=[4, 9, 11])
    assert check_table(table, dataset, 3)["draw"].tolist() == [4, 9, 11]
    given = check_table(table.assign(draw=[7, 7, 2**31 - 1]), dataset, 3)
    assert given["draw"].tolist() == [7, 7, 2**31 - 1]
    assert given["trial"].tolist() == [4, 9, 11]


def test_what_a_trial_does_not_have_may_be_missing(trial_table, dataset):
    """A stimulus, its part and mask, a concept; whatever else is missing is refused."""
    table = trial_table(
        3,
        source=["concept", "stimulus", "nothing"],
        stimulus=[np.nan, 2, None],
        concept=[1, None, np.nan],
        part=[None, "train", np.nan],
        mask=[np.nan, "left", None],
        occlusion=0.5,
    )
    checked = check_table(table, dataset, 3)
    assert checked["stimulus"].tolist() == [-1, 2, -1]
    assert checked["concept"].tolist() == [1, -1, -1]
    assert checked["part"].tolist() == ["test", "train", "test"]
    assert checked["mask"].tolist() == ["random", "left", "random"]


def test_columns_have_one_kind_each(trial_table, dataset):
    """Numbers that are whole or truth values stay so, however the table was made."""
    table = trial_table(
        2, trial=[0.0, 1.0], stimulus=["0", "1"], learn=[1, 0], record=[1, 0], shift=[2.0, 0.0]
    )
    checked = check_table(table, dataset, 3)
    for name, default in COLUMNS.items():
        kind = {bool: "b", float: "f", str: "OTU"}.get(type(default), "i")
        assert checked[name].dtype.kind in kind, name
    assert checked["stimulus"].tolist() == [0, 1] and checked["shift"].tolist() == [2, 0]
    assert checked["record"].tolist() == [True, False]


def test_text_may_be_categorical(trial_table, dataset):
    table = trial_table(2)
    names = ["phase", "source", "part"]
    checked = check_table(table.astype(dict.fromkeys(names, "category")), dataset, 3)
    assert checked[names].astype(str).equals(check_table(table, dataset, 3)[names].astype(str))


def test_blanks_in_sources_do_not_matter(trial_table, dataset):
    table = trial_table(2, source=["stimulus + concept", " concept "])
    assert check_table(table, dataset, 3)["source"].tolist() == ["stimulus+concept", "concept"]


def test_columns_of_the_user_need_names_of_their_own(trial_table, dataset):
    checked = check_table(trial_table(2, instance=1, rat="R7", noise_type="salt"), dataset, 3)
    assert checked[["instance", "rat", "noise_type"]].values.tolist() == [[1, "R7", "salt"]] * 2


sources = (
    st.lists(st.sampled_from(SOURCES), min_size=1, max_size=4, unique=True)
    .filter(lambda used: {"stimulus", "concept"} & set(used))
    .map("+".join)
)


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
        occlusion=column(st.floats(0, 1)),
        shift=column(st.integers(0, 2)),
        draw=column(st.integers(0, 2**31 - 1)),
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


def test_trial_numbers_may_have_gaps(small_network, dataset, trial_table):
    """Each trial is what its number says, whatever its neighbours are."""
    runs = []
    for table in (trial_table(8), trial_table(8).iloc[[0, 1, 4, 7]]):
        table = table.assign(learn=0.0)
        runs.append(Simulation(small_network(), dataset, "runtime").run(table).spikes)
    whole, part = runs
    assert set(part["trial"]) == {0, 1, 4, 7}
    expected = whole[whole["trial"].isin([0, 1, 4, 7])].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, expected)


SHOWN = ["t_ms", "population", "cell"]


def spikes_by_trial(recording):
    return {
        trial: spikes[SHOWN].reset_index(drop=True)
        for trial, spikes in recording.spikes.groupby("trial")
    }


@pytest.mark.parametrize("encoding", ["regular", "poisson"])
def test_same_draw_means_the_same_random_numbers(small_network, dataset, trial_table, encoding):
    """Spike phases, noise, shift and mask; another draw changes each of them."""
    network = small_network(assignments={"encoding.kind": encoding})
    simulation = Simulation(network, dataset, "runtime", seed=1)
    transforms = [{}, {"noise": 0.5}, {"shift": 2}, {"occlusion": 0.6}]
    if encoding == "poisson":
        transforms = transforms[:1]
    for columns in transforms:
        table = trial_table(3, stimulus=4, concept=1, learn=0.0, draw=[5, 9, 5], **columns)
        first, other, again = spikes_by_trial(simulation.run(table)).values()
        pd.testing.assert_frame_equal(first, again)
        assert not first.equals(other), columns


def test_each_transform_is_counted_by_the_draw(small_network, dataset, trial_table):
    network = small_network()
    for columns in ({"noise": 0.5}, {"shift": 2}, {"occlusion": 0.6}):
        table = trial_table(4, stimulus=4, source="stimulus", draw=[5, 9, 5, 3], **columns)
        drive, _ = trial_arrays([check_table(table, dataset, 3)], dataset, network, seeds=[0])
        assert np.array_equal(drive[0], drive[2])
        assert len(np.unique(drive[:4], axis=0)) > 1, columns
        moved, _ = trial_arrays(
            [check_table(table.assign(trial=[20, 21, 30, 31]), dataset, 3)], dataset, network, [0]
        )
        assert np.array_equal(drive, moved)


def test_blends_are_between_both(small_network, dataset, trial_table):
    table = trial_table(
        3, stimulus=4, other_stimulus=9, concept=0, other_concept=2, blend=[0.0, 0.25, 1.0]
    )
    network = small_network()
    drive, _ = trial_arrays([check_table(table, dataset, 3)], dataset, network, seeds=[0])
    encodings = network.encoding_matrix()
    for row, share in enumerate((0.0, 0.25, 1.0)):
        image = (1 - share) * dataset.x_train[4] + share * dataset.x_train[9]
        concept = (1 - share) * encodings[0] + share * encodings[2]
        assert np.allclose(drive[row], np.concatenate([image.ravel(), concept]))


def test_evidence_is_the_spikes_of_each_concept(small_network, dataset, trial_table):
    simulation = Simulation(small_network(), dataset, "runtime", seed=2)
    table = trial_table(3, source=["stimulus", "concept", "stimulus+percept"], learn=0.0)
    result = simulation.run(table)
    evidence = result.evidence.set_index(["trial", "candidate"])["spikes"]
    assert evidence.index.get_level_values("trial").unique().tolist() == [0, 2]
    output = result.cell_counts[result.cell_counts["population"] == "F3"]
    expected = output.groupby(["trial", output["cell"] // 2])["spikes"].sum()
    assert evidence[2].tolist() == expected[2].tolist()


def test_paired_trials_keep_their_percepts_when_they_are_numbered_anew(
    small_network, dataset, trial_table
):
    table = trial_table(6, source="stimulus", learn=0.0, noise=0.3, draw=[3, 4, 5, 3, 4, 5])
    renumbered = table.assign(trial=np.arange(6) * 7 + 100)
    simulation = Simulation(small_network(), dataset, "runtime", seed=2)
    generator = np.random.default_rng(5)
    weights = ("afferent_basal.w", "cortical_basal.w")
    simulation.restore(
        simulation.state
        | {k: generator.normal(0.2, 0.5, np.shape(simulation.state[k])) for k in weights}
    )
    a, b = (simulation.run(t).trials for t in (table, renumbered))
    assert (a["percept"] >= 0).any()
    for name in ("percept", "percept_voltage"):
        assert a[name].tolist() == b[name].tolist()
    forgotten = simulation.run(renumbered.drop(columns="draw"))
    kept = simulation.run(renumbered)
    assert not forgotten.spikes.equals(kept.spikes)


def test_ready_made_tables(dataset):
    first, second = training_trials(dataset, 2, seed=1, decay=0.5, shift=1)
    for epoch, table in ((1, first), (2, second)):
        assert sorted(table["stimulus"]) == list(range(24))
        assert (table["concept"] == dataset.y_train[table["stimulus"]]).all()
        assert (table["learn"] == 0.5 ** (epoch - 1)).all() and (table["epoch"] == epoch).all()
    assert first["stimulus"].tolist() != second["stimulus"].tolist()
    again = training_trials(dataset, 2, seed=1, decay=0.5, shift=1)[0]
    pd.testing.assert_frame_equal(first, again)
    falling = join_tables(training_trials(dataset, 2, seed=1, decay=0.5, linear=True))["learn"]
    np.testing.assert_allclose(falling[:24], 1 - np.arange(24) / 48)
    np.testing.assert_allclose(falling[24:], 0.5 * (1 - np.arange(24, 48) / 48))
    other = training_trials(dataset, 1, seed=2)[0]
    assert first["stimulus"].tolist() != other["stimulus"].tolist()
    assert len(training_trials(dataset, 1, seed=1, n=5)[0]) == 5
    tests = test_trials(dataset, record=2)
    assert (tests["concept"] == dataset.y_test).all() and tests["record"].sum() == 2
    recall = recall_trials(3, instances=2)
    assert recall["concept"].tolist() == [0, 0, 1, 1, 2, 2] and recall["record"].all()
    assert (recall["source"] == "concept").all()
    joined = join_tables([first, tests, recall, alignment_trials(dataset, n=4)])
    checked = check_table(joined, dataset, 3)
    assert checked["trial"].tolist() == list(range(24 + 6 + 6 + 4))
    assert (checked.loc[checked["phase"] != "train", "learn"] == 0).all()
    assert set(checked["phase"]) == {"train", "test", "recall", "align"}


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_numbers_of_epochs_and_elements_are_checked(dataset, n):
    for make in (
        lambda: training_trials(dataset, n, 0),
        lambda: training_trials(dataset, 1, 0, n=n),
        lambda: sequence_trials(dataset, n, 0, segment=4),
        lambda: sequence_trials(dataset, 1, 0, segment=n),
    ):
        with pytest.raises(InputError, match=f"= {n!r}: a positive whole number is needed"):
            make()
    assert len(training_trials(dataset, np.int64(2), 0, n=3)) == 2


def test_joined_trials_keep_their_draws_and_get_those_they_lack(dataset):
    paired = recall_trials(3).assign(draw=[7, 7, 7])
    for tables in ([paired, recall_trials(2)], [recall_trials(2), paired]):
        checked = check_table(join_tables(tables), dataset, 3)
        expected = [7, 7, 7, 3, 4] if tables[0] is paired else [0, 1, 7, 7, 7]
        assert checked["draw"].tolist() == expected


def test_a_forgotten_star_joins_the_same(dataset):
    epochs = training_trials(dataset, 2, 0)
    forgotten = join_tables([epochs, test_trials(dataset)])
    pd.testing.assert_frame_equal(forgotten, join_tables([*epochs, test_trials(dataset)]))
    pd.testing.assert_frame_equal(join_tables(epochs[0]), join_tables([epochs[0]]))
    for nothing in ([], "tables", [test_trials(dataset), "recall"], [None]):
        with pytest.raises(InputError, match="give trial tables"):
            join_tables(nothing)


def test_trials_of_each_replica_are_numbered_alike(dataset):
    each = [test_trials(dataset).assign(replica=replica) for replica in range(2)]
    joined = join_tables(each)
    assert joined["trial"].tolist() == 2 * list(range(len(dataset.y_test)))


def test_alignment_takes_the_concepts_in_turn(dataset):
    """The first stimulus of every concept, then the second, however the data are sorted."""
    by_label = np.argsort(dataset.y_train, kind="stable")
    uneven = by_label[5:]  # 3, 8 and 8 stimuli of the three concepts
    for order in (np.arange(24), by_label, uneven):
        data = replace(dataset, x_train=dataset.x_train[order], y_train=dataset.y_train[order])
        table = alignment_trials(data, n=8)
        assert table["concept"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
        assert (data.y_train[table["stimulus"]] == table["concept"]).all()
        assert table["stimulus"].is_unique and table["record"].all()
        everything = alignment_trials(data, n=100)
        assert sorted(everything["stimulus"]) == list(range(len(order)))


def test_drive_and_control_follow_the_table(small_network, dataset, trial_table):
    network = small_network()
    table = check_table(
        trial_table(
            4,
            source=["stimulus", "concept", "stimulus+percept", "concept+recall"],
            learn=[1.0, 0.0, 0.5, 0.0],
            record=[True, False, False, True],
            draw=[6, 1, 2**31 - 1, 6],
            loss=[0.0, 0.25, 0.0, 1.0],
            carry=[False, True, False, True],
        ),
        dataset,
        3,
    )
    drive, control = trial_arrays([table], dataset, network, seeds=[0])
    assert drive.shape == (9, 15) and control.shape == (9, 7)
    assert CONTROL_COLUMNS == (
        "learn", "record", "percept_to_concept", "recall_to_stimulus", "draw", "loss",
        "carry",
    )
    assert control[:4].tolist() == [
        [1, 1, 0, 0, 6, 0, 0],
        [0, 0, 0, 0, 1, 0.25, 1],
        [0.5, 0, 1, 0, 2**31 - 1, 0, 0],
        [0, 1, 0, 1, 6, 1, 1],
    ]
    encodings = network.encoding_matrix()
    for row in range(4):
        stimulus = row in (0, 2)
        image = dataset.x_train[row].ravel() if stimulus else np.zeros(9)
        concept = np.zeros(6) if stimulus else encodings[dataset.y_train[row]]
        assert np.array_equal(drive[row], np.concatenate([image, concept]))
    assert not drive[4:].any() and not control[4:].any()


def test_tables_with_and_without_replicas_are_not_joined(trial_table):
    with pytest.raises(InputError, match="a column replica to all tables or to none"):
        join_tables([trial_table(2).assign(replica=0), trial_table(2)])


def test_phases_in_turn_are_one_chunk(small_network, dataset, trial_table):
    """Each chunk is a program of its own; names of conditions must not cost one each."""
    simulation = Simulation(small_network(capacity=5), dataset, "runtime", seed=2)
    run, sizes = simulation.simulator.run, []

    def counted(inputs, n_trials, progress=None):
        sizes.append(n_trials)
        return run(inputs, n_trials, progress)

    simulation.simulator.run = counted
    table = trial_table(8)
    recording = simulation.run(table.assign(phase=["a", "b"] * 4))
    assert sizes == [5, 3] and recording.trials["phase"].tolist() == ["a", "b"] * 4

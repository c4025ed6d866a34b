import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bsd.analysis import measures

rasters = arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4)))
vectors = arrays(float, 5, elements=st.floats(-1e3, 1e3)).filter(np.any)


def counts_of(a, b):
    return a.sum(), b.sum(), (a & b).sum(), a.size


def test_cosine_of_known_angles():
    a = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    b = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0], [1.0, 0.0]])
    expected = [1.0, 0.0, np.sqrt(0.5), np.nan]
    np.testing.assert_allclose(measures.cosine(a, b), expected, atol=1e-15)
    np.testing.assert_allclose(measures.cosine(a.T, b.T, axis=0), expected, atol=1e-15)


@given(vectors, vectors, st.floats(1e-6, 1e6))
def test_cosine_is_bounded_symmetric_and_blind_to_scale(a, b, scale):
    value = measures.cosine(a, b)
    assert -1 <= value <= 1
    assert measures.cosine(b, a) == pytest.approx(value, abs=1e-12)
    if np.abs(a).max() > 1e-300:  # smaller ones are rounded as they are scaled, even to zero
        assert measures.cosine(scale * a, b) == pytest.approx(value, abs=1e-9)
    assert measures.cosine(a, a) == pytest.approx(1)


def test_cosine_keeps_tiny_and_huge_vectors():
    assert measures.cosine([1e-200, 1e-200], [1e200, 0]) == pytest.approx(np.sqrt(0.5))


@given(rasters)
def test_hamming_of_itself_is_one_and_of_the_complement_zero(raster):
    assert measures.hamming_similarity(raster, raster) == 1
    assert measures.hamming_similarity(raster, ~raster) == 0


def test_hamming_along_axes():
    a = np.array([[1, 0, 1, 0], [0, 0, 0, 0]])
    b = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
    np.testing.assert_array_equal(measures.hamming_similarity(a, b, axis=1), [0.75, 0.5])


@given(rasters, st.randoms(use_true_random=False))
def test_hamming_from_counts_equals_hamming_of_rasters(a, random):
    b = np.array([random.random() < 0.4 for _ in range(a.size)]).reshape(a.shape)
    assert measures.hamming_from_counts(*counts_of(a, b)) == pytest.approx(
        measures.hamming_similarity(a, b)
    )


@pytest.mark.parametrize("bad", [np.full((2, 3), 2), np.zeros((3, 2))])
def test_hamming_refuses_what_is_not_a_paired_raster(bad):
    with pytest.raises(ValueError, match="give"):
        measures.hamming_similarity(np.zeros((2, 3)), bad)


@given(rasters)
def test_kappa_of_identical_trains_is_one_where_defined(raster):
    value = measures.cohen_kappa(*counts_of(raster, raster))
    if raster.any() and not raster.all():
        assert value == 1
    else:
        assert np.isnan(value)


def test_kappa_textbook_value():
    # 20 both, 15 neither, 5 and 10 disagreements: p_o = 0.7, p_e = 0.5.
    assert measures.cohen_kappa(25, 30, 20, 50) == pytest.approx(0.4)


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50))
def test_kappa_is_zero_for_the_expected_coincidences_of_independent_trains(n, a, b):
    a, b = min(a, n), min(b, n)
    value = measures.cohen_kappa(a, b, a * b / n, n)
    both_silent_or_both_full = (a == b == 0) or (a == b == n)
    if both_silent_or_both_full:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(0, abs=1e-12)


def test_kappa_of_independent_trains_scatters_about_zero():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 400, 500)) < np.array([0.1, 0.4])[:, None, None]
    kappa = measures.cohen_kappa(a.sum(1), b.sum(1), (a & b).sum(1), 500)
    assert kappa.shape == (400,)
    assert abs(kappa.mean()) < 4 * kappa.std() / np.sqrt(400)


def test_kappa_of_complements_at_half_rate_is_minus_one():
    assert measures.cohen_kappa(5, 5, 0, 10) == -1


def test_kappa_is_vectorised_and_undefined_without_bins():
    value = measures.cohen_kappa([1, 0, 0], [1, 0, 2], [1, 0, 0], [4, 0, 4])
    np.testing.assert_array_equal(value, [1, np.nan, 0])


@pytest.mark.parametrize("counts", [(1, 1, 2, 4), (3, 3, 1, 4), (1, 1, -1, 4)])
def test_kappa_refuses_impossible_counts(counts):
    with pytest.raises(ValueError, match="contradict"):
        measures.cohen_kappa(*counts)


def test_shuffle_tells_agreement_about_the_trial_from_agreement_of_rates():
    rng = np.random.default_rng(0)
    same_in_both = rng.random((40, 10, 30)) < 0.2
    table = measures.paired_similarity(same_in_both, same_in_both)
    assert (table["kappa"] == 1).all() and (table["hamming"] == 1).all()
    assert abs(table["kappa_shuffled"].mean()) < 0.05
    # Cells of unequal rates, the same in every trial: all agreement survives the shuffle.
    fixed = np.broadcast_to(rng.random(30) < 0.5, (40, 10, 30))
    table = measures.paired_similarity(fixed, fixed)
    assert (table["kappa"] == 1).all() and (table["kappa_shuffled"] == 1).all()


def test_shuffled_values_by_hand():
    a = np.array([[[1, 0, 0, 0]], [[0, 1, 0, 0]], [[0, 0, 1, 1]]])
    b = np.array([[[1, 0, 0, 0]], [[0, 0, 1, 0]], [[0, 0, 1, 1]]])
    table = measures.paired_similarity(a, b)
    np.testing.assert_array_equal(table["hamming"], [1, 0.5, 1])
    # Trial 0 meets b of trials 1 and 2, trial 1 of 0 and 2, trial 2 of 0 and 1.
    np.testing.assert_array_equal(table["hamming_shuffled"], [0.375, 0.375, 0.5])
    np.testing.assert_allclose(table["kappa_shuffled"], [-5 / 12, -5 / 12, 0], atol=1e-12)


def test_a_lone_trial_has_no_shuffled_value_and_silence_no_kappa():
    table = measures.paired_similarity(np.ones((1, 2, 3)), np.eye(2, 3)[None])
    assert table["hamming"][0] == pytest.approx(1 / 3)
    assert table[["hamming_shuffled", "kappa_shuffled"]].isna().all(axis=None)
    table = measures.paired_similarity(np.zeros((2, 2, 3)), np.zeros((2, 2, 3)))
    assert (table["hamming"] == 1).all() and table["kappa_shuffled"].isna().all()


@given(st.integers(2, 7), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_shuffled_value_is_the_mean_over_all_other_trials(n_trials, n_steps, n_cells, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, n_trials, n_steps, n_cells)) < 0.4
    table = measures.paired_similarity(a, b)
    for i in range(n_trials):
        assert table["hamming"][i] == pytest.approx(measures.hamming_similarity(a[i], b[i]))
        others = [measures.hamming_similarity(a[i], b[j]) for j in range(n_trials) if j != i]
        assert table["hamming_shuffled"][i] == pytest.approx(np.mean(others))


def test_weight_angle_of_known_weights():
    W = np.array([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])
    assert measures.weight_angle(W, 5 * W.T) == pytest.approx(0, abs=1e-6)
    assert measures.weight_angle(W, -W.T) == pytest.approx(180)
    orthogonal = np.zeros_like(W)
    orthogonal[1, 0] = 1
    assert measures.weight_angle(W, orthogonal.T) == pytest.approx(90)
    assert np.isnan(measures.weight_angle(W, 0 * W.T))


@given(st.floats(1e-6, np.pi - 1e-6))
def test_weight_angle_is_exact_for_any_angle(angle):
    W, Theta = np.array([[1.0], [0.0]]), np.array([[np.cos(angle), np.sin(angle)]])
    assert measures.weight_angle(W, Theta) == pytest.approx(np.degrees(angle), rel=1e-9)


def test_weight_angle_refuses_untransposed_weights():
    with pytest.raises(ValueError, match="presynaptic"):
        measures.weight_angle(np.ones((2, 3)), np.ones((2, 3)))


def test_decide_by_largest_cosine_not_by_most_spikes():
    encodings = np.array([[1, 1, 1, 0], [0, 0, 0, 1]])
    counts = np.array([[2, 2, 2, 3], [1, 1, 0, 4], [0, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(measures.decide(counts, encodings), [0, 1, -1, 1])


def test_decide_calls_ties_and_silence_no_decision():
    counts = [[3, 3, 0], [0, 0, 0], [1, 1, 1], [0, 2, 1]]
    np.testing.assert_array_equal(measures.decide(counts, np.eye(3)), [-1, -1, -1, 1])
    # Equal cosines that differ by rounding only.
    encodings = np.kron(np.eye(2), np.ones(3)) * [[0.1], [7]]
    assert measures.decide([[1, 1, 1, 1, 1, 1]], encodings) == -1


@given(
    st.lists(st.permutations(range(6)), min_size=1, max_size=4), st.integers(1, 9),
    st.permutations(range(3)),
)
def test_decide_follows_the_encodings(orders, scale, order):
    encodings = np.kron(np.eye(3), [1, 1])
    counts = np.array(orders) + 1
    percept = measures.decide(counts, encodings)
    np.testing.assert_array_equal(measures.decide(scale * counts, encodings), percept)
    order = np.array(order)
    permuted = measures.decide(counts, encodings[order])
    np.testing.assert_array_equal(np.where(permuted < 0, -1, order[permuted]), percept)
    np.testing.assert_array_equal(measures.decide(encodings, encodings), [0, 1, 2])


@pytest.mark.parametrize(
    ("counts", "encodings"),
    [
        (np.ones((2, 3)), np.ones((2, 4))),
        (np.array([[np.nan, 1]]), np.eye(2)),
        (np.ones((1, 2)), np.array([[1, 0], [0, 0]])),
    ],
)
def test_decide_refuses_what_it_cannot_compare(counts, encodings):
    with pytest.raises(ValueError):
        measures.decide(counts, encodings)


@pytest.fixture
def trials():
    rows = [
        (0, 0, "train", 0, 0), (1, 0, "train", 1, 0), (2, 0, "test", 0, 0), (3, 0, "test", 1, -1),
        (4, 1, "train", 1, 1), (5, 1, "test", 0, 1), (6, 1, "test", 1, 1), (7, 1, "test", 2, 2),
        (8, 1, "test", 2, -1), (9, 1, "recall", 2, None),
    ]
    frame = pd.DataFrame(rows, columns=["trial", "epoch", "phase", "concept", "percept"])
    frame["correct"] = (frame["percept"] == frame["concept"]).where(frame["percept"].notna())
    return frame


def test_confusion_matrix_of_the_last_epoch(trials):
    table = measures.confusion_matrix(trials)
    assert list(table.columns) == [0, 1, 2, -1]
    np.testing.assert_array_equal(table, [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]])
    np.testing.assert_array_equal(
        measures.confusion_matrix(trials, epoch=0), [[1, 0, 0], [0, 0, 1]]
    )


def test_confusion_matrix_needs_percepts(trials):
    for arguments in ({"phase": "recall"}, {"epoch": 7}):
        with pytest.raises(ValueError, match="percept"):
            measures.confusion_matrix(trials, **arguments)
    with pytest.raises(ValueError, match="lacks"):
        measures.confusion_matrix(trials.drop(columns="percept"))


def test_accuracy_by_epoch(trials):
    table = measures.accuracy(trials)
    np.testing.assert_array_equal(table["epoch"], [0, 1])
    np.testing.assert_array_equal(table["n_trials"], [2, 4])
    np.testing.assert_array_equal(table["accuracy"], [0.5, 0.5])
    assert ((table["low"] < 0.5) & (table["high"] > 0.5)).all()
    assert "accuracy_voltage" not in table
    assert measures.accuracy(trials, phase="train")["accuracy"].tolist() == [0.5, 1.0]
    with pytest.raises(ValueError, match="recall"):
        measures.accuracy(trials, phase="recall")


def test_accuracy_of_a_cohort_counts_a_trial_once(trials):
    alone = measures.accuracy(trials)
    cohort = pd.concat([trials.assign(replica=replica) for replica in range(3)])
    pd.testing.assert_frame_equal(measures.accuracy(cohort), alone)


def test_accuracy_of_voltage_decisions(trials):
    trials["correct_voltage"] = True
    assert measures.accuracy(trials)["accuracy_voltage"].tolist() == [1, 1]


def test_wilson_interval_of_a_known_case(trials):
    certain = pd.DataFrame({"epoch": 0, "phase": "test", "correct": [True] * 10})
    table = measures.accuracy(certain)
    # z^2 / (n + z^2) is the distance of the lower bound from 1.
    assert table["low"][0] == pytest.approx(1 - 1.959964**2 / (10 + 1.959964**2), abs=1e-6)
    assert table["high"][0] == pytest.approx(1)


def test_running_accuracy_counts_undecided_training_trials(trials):
    curve = measures.running_accuracy(trials, window=2)
    assert curve["n_done"].tolist() == [1, 2, 3]
    assert curve["accuracy"].tolist() == [1, 0.5, 0.5]
    trials["correct"] = trials["correct"].where(trials["trial"] != 1)
    assert measures.running_accuracy(trials, window=2)["n_done"].tolist() == [1, 3]


def test_recall_correlation_of_known_images():
    image = np.array([0.0, 0.5, 1.0, 0.25])
    recalled = np.stack([image, 1 - image, 0.3 * image + 0.1, np.full(4, 0.1)])
    correlation = measures.recall_correlation(recalled, np.stack([image] * 4))
    np.testing.assert_allclose(correlation, [1, -1, 1, np.nan])
    np.testing.assert_allclose(
        measures.recall_correlation([[1, 2, 4]], [[0, 3, 1]]),
        [np.corrcoef([1, 2, 4], [0, 3, 1])[0, 1]],
    )
    with pytest.raises(ValueError, match="n_concepts"):
        measures.recall_correlation(recalled, image)

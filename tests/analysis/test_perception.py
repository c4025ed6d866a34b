"""Measures of perception and recall, on cases whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from bsd.analysis import perception, perception_report
from bsd.analysis.perception_figures import (
    plot_completed_images,
    plot_completion,
    plot_dynamics,
    plot_lesions,
)
from bsd.analysis.style import FittedFigure


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 12, 12))


def test_identical_images_are_alike(images):
    same = perception.image_similarity(images, images)
    assert np.allclose(same[["r", "ssim"]], 1) and np.allclose(same["mse"], 0)


def test_structural_similarity_of_constant_images():
    # no structure: what is left is the luminance, (2 a b + c1) / (a^2 + b^2 + c1)
    a, b = np.full((1, 8, 8), 0.2), np.full((1, 8, 8), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert perception.structural_similarity(a, b) == pytest.approx(expected)


def test_structural_similarity_of_opposite_images(images):
    assert (perception.structural_similarity(images, 1 - images) < 0).all()
    with pytest.raises(ValueError, match="height, width"):
        perception.structural_similarity(images, images[:2])


def test_nearest_image_is_the_scaled_one(images):
    assert perception.nearest_images(0.5 * images[[3, 1]] + 0.1, images).tolist() == [3, 1]


def test_overlap_of_patterns():
    a = np.array([[1, 0, 0, 0], [0, 0, 2, 2]])
    overlap = perception.pattern_overlap(a, a).pivot(
        index="row_a", columns="row_b", values=["cosine", "hamming"]
    )
    assert np.allclose(overlap["cosine"], np.eye(2))
    assert np.allclose(overlap["hamming"], [[1, 0.25], [0.25, 1]])


def test_geometry_of_identical_patterns_is_the_same():
    patterns = np.random.default_rng(1).random((8, 30))
    dissimilarity = perception.representational_dissimilarity(patterns)
    assert dissimilarity.shape == (28,)
    rho, p = perception.representational_similarity(dissimilarity, dissimilarity, 500)
    assert rho == pytest.approx(1) and p == pytest.approx(1 / 501, abs=0.004)


def test_permutation_test_of_unrelated_geometries():
    generator = np.random.default_rng(2)
    p = [
        perception.representational_similarity(
            *(perception.representational_dissimilarity(generator.random((7, 20)))
              for _ in range(2)),
            200, seed=k,
        )[1]
        for k in range(60)
    ]
    assert 0.3 < np.mean(p) < 0.7 and np.mean(np.array(p) < 0.1) < 0.25


def test_decision_time_is_when_the_running_decision_stays():
    encodings = np.kron(np.eye(2), np.ones((1, 2)))
    spikes = pd.DataFrame(
        [
            (4, 1.0, 0), (4, 2.0, 2), (4, 2.0, 3), (4, 3.0, 2),  # first, then second
            (6, 0.0, 1), (6, 5.0, 0),  # at once
            (7, 1.0, 0), (7, 1.0, 2),  # a tie
        ],
        columns=["trial", "t_ms", "cell"],
    )
    times = perception.decision_times(spikes, [4, 5, 6, 7], encodings, 1.0).set_index("trial")
    assert times.loc[4].tolist() == [3, 3]
    assert times.loc[6].tolist() == [1, 1]
    assert times.loc[[5, 7]].isna().all(axis=None)


def test_psychometric_curve_of_a_step():
    blend = np.repeat(np.linspace(0, 1, 11), 4)
    trials = pd.DataFrame(
        {"blend": blend, "concept": 3, "other_concept": 5, "percept": np.where(blend > 0.62, 5, 3)}
    )
    trials.loc[0, "percept"] = -1
    trials.loc[1, "percept"] = 8
    curve = perception.psychometric_curve(trials)
    assert curve.iloc[0].tolist() == [0, 4, 0.5, 0, 0.25, 0.25]
    assert (curve.loc[curve["blend"] > 0.62, "second"] == 1).all()


def test_figures_say_what_is_missing():
    with pytest.raises(ValueError, match="choose one of correct, r, ssim"):
        plot_completion(pd.DataFrame(), "accuracy")
    with pytest.raises(ValueError, match="lacks the column"):
        plot_completion(pd.DataFrame({"cue": []}))
    columns = ["cue", "kind", "cycle", "concept", "percept", "pixel", "rate"]
    with pytest.raises(ValueError, match="no images of the cue 'left'"):
        plot_completed_images(pd.DataFrame(columns=columns), (8, 8))


def test_no_line_of_the_dynamics_is_cut_off():
    rows = [
        (replica, n, quantity, of, value)
        for replica in (0, 1)
        for quantity, of, values in (
            ("angle_deg", "0", (90, 125)), ("cosine", "1", (0.1, 0.8)),
            ("hamming", "1", (0.5, 0.9)), ("kappa", "1", (-0.3, 0.6)), ("rate_hz", "F1", (20, 30)),
        )
        for n, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows, columns=["replica", "n_done", "quantity", "of", "value"])
    ax = plot_dynamics(frame, ax=FittedFigure().subplots())
    panels = [panel for panel in ax.figure.axes if panel.lines]
    assert len(panels) == 5
    for panel in panels:
        low, high = panel.get_ylim()
        values = np.concatenate([line.get_ydata() for line in panel.lines])
        assert low <= values.min() and values.max() <= high, panel.get_ylabel()
    assert len(panels[0].lines) == 2  # one of each replica


def test_each_line_of_the_dynamics_can_be_told():
    names = ["F1", "F2", "F3", "B2", "B1", "B0"]
    rows = [
        (0, n, quantity, name, value)
        for quantity, own in (("rate_hz", names), ("angle_deg", ["0", "1"]))
        for k, name in enumerate(own)
        for n, value in enumerate((50 + k, 90 + 0.1 * k))
    ]
    frame = pd.DataFrame(rows, columns=["replica", "n_done", "quantity", "of", "value"])
    figure = plot_dynamics(frame, ax=FittedFigure().subplots()).figure
    (panel,) = (ax for ax in figure.axes if ax.get_ylabel().startswith("rate"))
    colors = {to_hex(line.get_color()) for line in panel.lines}
    assert len(colors) == len(panel.lines) == len(names)
    ends = {line.get_ydata()[-1]: to_hex(line.get_color()) for line in panel.lines}
    heights = []
    for label in panel.texts:  # the leader goes to the end of the line of this colour
        assert ends[label.xy[1]] == to_hex(label.get_color()) and label.arrow_patch is not None
        heights.append(label.xyann[1])
    low, high = panel.get_ylim()
    assert np.diff(np.sort(heights)).min() > 0.05 * (high - low) and max(heights) <= high


@pytest.fixture
def completed():
    """Correlations below zero in one panel, three concepts."""
    rows = [
        (cue, level, condition, 3, concept, 1.0 - 1.5 * level * (cue == "left"), level < 0.5)
        for cue, level in (("none", 0.0), ("left", 0.5), ("left", 0.9), ("noise", 0.4))
        for condition in ("loop", "graded", "relay", "cut", "filled")
        for concept in range(3)
    ]
    columns = ["cue", "level", "condition", "cycle", "concept", "r", "correct"]
    return pd.DataFrame(rows, columns=columns)


def test_no_line_of_completion_is_cut_off(completed):
    figure = plot_completion(completed, "r", ax=FittedFigure().subplots()).figure
    panels = [panel for panel in figure.axes if panel.lines]
    assert len(panels) == 2
    for panel in panels:
        assert panel.get_ylim()[0] < completed["r"].min()
        assert panel.get_ylim()[1] > 1


def test_completion_says_chance_and_what_is_filled_in(completed):
    figure = plot_completion(completed, "correct", ax=FittedFigure().subplots()).figure
    for panel in figure.axes:
        if panel.lines:
            dotted = [line for line in panel.lines if line.get_linestyle() == ":"]
            assert [line.get_ydata()[0] for line in dotted] == [pytest.approx(100 / 3)]
            assert panel.get_ylim()[0] == 0
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "chance" in texts and "feedback cut, mean stimulus in the hidden part" in texts


@pytest.fixture
def lesioned():
    names = ["intact", "half of F1", "feedback cut", "half of B1"]
    return pd.DataFrame(
        {
            "when": "after", "manipulation": names, "kind": names, "level": 1.0,
            "accuracy": [0.9, 0.6, 0.9, 0.9], "accuracy_half": [0.5, 0.3, 0.5, 0.5],
            "accuracy_loop": [0.7, 0.35, 0.45, 0.6], "r_recall": [0.9, 0.9, 0.0, 0.4],
            "recognised": 1.0, "n_stimuli": 30,
        }
    )


def test_lesions_show_one_pass_and_the_loop(lesioned):
    def legend(frame):
        figure = plot_lesions(frame, ax=FittedFigure().subplots()).figure
        return [text.get_text() for text in figure.legends[0].get_texts()]

    old = ["whole stimulus", "half hidden, one pass without feedback"]
    assert legend(lesioned) == [*old, "half hidden, loop through recall"]
    assert legend(lesioned.drop(columns="accuracy_loop")) == old  # of an earlier version


def test_caption_of_lesions_says_what_harms_and_what_it_cannot_say(lesioned):
    def caption(frame):
        (section,) = perception_report._lesions({"lesions": frame}, {})
        return section["caption"]

    text = caption(lesioned)
    assert "70.0 % are right in the intact network and 45.0 % with feedback cut" in text
    assert "'half of F1' (60.0 %)" in text and "'half of B1' (r = 0.40, intact 0.90)" in text
    assert "one trial of each concept" in text and "one random draw" in text
    old = caption(lesioned.drop(columns="accuracy_loop"))
    assert "in one pass" in old and "cannot act" in old and "loop" not in old


def test_similarity_in_colour_is_the_mean_over_colours():
    a, b = np.random.default_rng(0).random((2, 4, 9, 11, 3))
    each = [perception.structural_similarity(a[..., c], b[..., c]) for c in range(3)]
    np.testing.assert_allclose(perception.structural_similarity(a, b), np.mean(each, axis=0))

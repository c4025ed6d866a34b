import inspect

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from bsd.analysis import figures, firing, firing_figures, measures, perception_figures
from bsd.analysis.report import load_results
from bsd.analysis.style import FittedFigure, panels_in


@pytest.fixture
def results(results_folder):
    return load_results(results_folder)


def axes():
    return FittedFigure().subplots()


def test_learning_curve_shows_the_accuracy_of_each_epoch(results):
    ax = figures.plot_learning_curve(results.trials, ax=axes())
    test = ax.containers[0].lines[0]
    accuracy = measures.accuracy(results.trials)["accuracy"]
    np.testing.assert_allclose(test.get_ydata().astype(float), 100 * accuracy)
    np.testing.assert_array_equal(test.get_xdata(), [120, 240, 360])
    assert "%" in ax.get_ylabel() and "training trials" in ax.get_xlabel()
    with pytest.raises(ValueError, match="decision"):
        figures.plot_learning_curve(results.trials.assign(correct=pd.NA))


@pytest.mark.parametrize("phase", ["train", "test"])
def test_learning_curve_of_one_phase(results, phase):
    only = results.trials[results.trials["phase"] == phase]
    ax = figures.plot_learning_curve(only, ax=axes())
    assert len(ax.containers) == (phase == "test")


def test_raster_holds_each_spike_once_inside_its_band(results):
    trial = results.spikes["trial"].max()
    ax = figures.plot_raster(results.spikes, trial, sizes={"F1": 80}, ax=axes())
    segments = [s for c in ax.collections for s in c.get_segments()]
    assert len(segments) == (results.spikes["trial"] == trial).sum()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert [label.split()[0] for label in labels] == ["S", "B0", "F1", "B1", "F2", "B2", "F3", "C"]
    assert "F1 (80)" in labels
    for row, collection in enumerate(ax.collections):
        y = np.concatenate([s[:, 1] for s in collection.get_segments()])
        assert y.min() >= row and y.max() <= row + 0.84 + 1e-9
    with pytest.raises(ValueError, match="not in the recorded spikes"):
        figures.plot_raster(results.spikes, trial=-5, ax=axes())


def test_voltages_show_the_livelier_pair(results):
    pairs = figures.voltage_pairs(results.voltages)
    assert pairs["excursion_mV"].is_monotonic_decreasing and len(pairs) == 4
    ax = figures.plot_voltages(
        results.voltages, threshold_mV=-55, spikes=results.spikes, ax=axes()
    )
    _, above, below = ax.figure.axes
    assert above.get_title("left").startswith(f"F1, cell {pairs['cell'][0]}")
    assert below.get_title("left").startswith(f"B1, cell {pairs['cell'][0]}")
    names = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert names == ["apical", "basal", "soma", "threshold", "spike"]
    with pytest.raises(ValueError, match="partner"):
        figures.plot_voltages(results.voltages, cell=99)


def test_recall_needs_a_fitting_shape(results):
    recalled, mean = results.recall["recalled"], results.recall["class_mean"]
    ax = figures.plot_recall(recalled, mean, (8, 8), ax=axes())
    shown = [panel for panel in ax.figure.axes if panel.images]
    assert len(shown) == 20
    np.testing.assert_array_equal(shown[0].images[0].get_array(), mean[0].reshape(8, 8))
    np.testing.assert_array_equal(shown[10].images[0].get_array(), recalled[0].reshape(8, 8))
    with pytest.raises(ValueError, match="rows, columns"):
        figures.plot_recall(recalled, mean, (7, 8))


def test_recall_in_colour():
    """Red, green and blue as they are, and no bar of a grey scale."""
    images = np.random.default_rng(0).random((2, 5 * 4 * 3))
    panels = figures.plot_recall(images, images[::-1], (5, 4, 3), ax=axes()).figure.axes
    shown = [panel.images[0].get_array() for panel in panels if panel.images]
    np.testing.assert_array_equal(shown[0], images[1].reshape(5, 4, 3))
    assert len(shown) == 4 and not any(panel.get_ylabel().startswith("rate") for panel in panels)
    with pytest.raises(ValueError, match="in colour"):
        figures.plot_recall(images, images, (5, 4), ax=axes())


def test_recall_wraps_many_concepts():
    images = np.random.default_rng(0).random((13, 12))
    images[3] = 0
    panels = figures.plot_recall(images, images, (3, 4), ax=axes()).figure.axes
    assert sum(bool(panel.images) for panel in panels) == 26
    assert any("undefined" in panel.get_xlabel() for panel in panels)


def test_alignment_panels_follow_what_was_recorded(results):
    def panels(*frames):
        ax = figures.plot_alignment(*frames, ax=axes())
        return [panel.get_ylabel() for panel in ax.figure.axes if panel is not ax]

    everything = panels(results.alignment, results.weight_alignment, results.trials)
    assert everything == ["cosine C", "Hamming similarity", "Cohen's κ", "angle (°)"]
    assert panels(results.alignment) == everything[:3]
    only = results.alignment.assign(hamming=np.nan, kappa=np.nan)
    assert panels(only) == everything[:1]
    with pytest.raises(ValueError, match="nothing|no alignment"):
        panels(only.assign(cosine=np.nan))


def test_confusion_is_normalised_by_row_and_counts_are_written(results):
    table = measures.confusion_matrix(results.trials)
    ax = figures.plot_confusion(table, ax=axes())
    colours = ax.collections[0].get_array().reshape(len(table), -1)
    np.testing.assert_allclose(colours.sum(axis=1), 100)
    written = [int(text.get_text()) for text in ax.texts if text.get_text()]
    assert sum(written) == table.to_numpy().sum()
    table[-1] = 0
    assert figures.plot_confusion(table, ax=axes()).get_xticklabels()[-1].get_text() == "9"


def test_rates_have_a_mark_per_population_and_phase(results):
    rates = firing.firing_rates(results.counts, results.trials)
    ax = figures.plot_rates(rates, ax=axes())
    assert len(ax.containers) == len(rates) == 3 * 8
    assert "Hz" in ax.get_xlabel()
    assert figures.plot_rates(firing.firing_rates(results.counts), ax=axes()).get_legend() is None


def test_figures_do_not_touch_the_session(results):
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    plt.close("all")  # what other tests of this process left open
    before = dict(mpl.rcParams)
    figures.plot_learning_curve(results.trials, ax=axes())
    assert dict(mpl.rcParams) == before and not plt.get_fignums()
    ax = figures.plot_confusion(measures.confusion_matrix(results.trials))
    assert plt.get_fignums() == [ax.figure.number]
    plt.close("all")


def test_every_figure_is_a_function_of_a_frame_and_an_axes():
    modules = (figures, firing_figures, perception_figures)
    plots = {f for module in modules for name, f in vars(module).items()
             if name.startswith("plot_")}
    assert len(plots) > 20
    for plot in plots:
        assert inspect.signature(plot).parameters["ax"].default is None, plot
        assert "matplotlib.axes.Axes" in plot.__doc__.partition("Returns")[2], plot


def test_panels_take_the_place_of_the_axes(results):
    left, right = FittedFigure().subplots(1, 2)
    ax = figures.plot_alignment(results.alignment, ax=left)
    assert ax is left and not ax.axison and right.axison
    figure = left.figure
    figure.draw_without_rendering()
    panels = [panel for panel in figure.axes if panel not in (left, right)]
    assert len(panels) == 3
    assert all(panel.get_position().x1 < right.get_position().x0 for panel in panels)
    with pytest.raises(ValueError, match="figure.subplots"):
        panels_in(FittedFigure().add_axes((0, 0, 1, 1)), 3.0, 1, 2)

import numpy as np
import pandas as pd
import pytest

from bsd.analysis import firing_figures, hypotheses, populations, spike_trains
from bsd.analysis.style import FittedFigure


def axes():
    return FittedFigure().subplots()


@pytest.fixture(scope="module")
def frames(poisson):
    return poisson(n_trials=24, concepts=3, replicas=2, seed=8)


def lit(ax):
    """Draw the figure, so that what cannot be drawn fails here."""
    ax.figure.canvas.draw()
    return ax


def test_distribution_shows_quantiles_and_numbers(frames):
    trains = spike_trains.train_statistics(*frames)
    ax = lit(firing_figures.plot_distribution(trains, "cv", ax=axes()))
    assert ax.get_xlabel() == "CV of the intervals"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["S", "F1", "B1"]
    cv = trains.loc[trains["population"] == "F1", "cv"]
    assert f"{cv.notna().sum()} of {len(cv)}" in [text.get_text() for text in ax.texts]
    drawn = np.concatenate([s[:, 0] for c in ax.collections for s in c.get_segments()])
    for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert np.isclose(drawn, cv.quantile(quantile)).any()
    assert ax.lines[0].get_xdata()[0] == 1  # a Poisson process
    with pytest.raises(ValueError, match="500 ms"):
        firing_figures.plot_distribution(trains.assign(cv=np.nan), "cv", ax=axes())


def test_psth_of_replicas_is_their_mean(frames):
    table = spike_trains.psth(*frames[:2], 100.0, frames[2])
    with pytest.raises(ValueError, match="one phase"):
        firing_figures.plot_psth(table, ax=axes())
    shown = table[table["phase"] == "test"]
    ax = lit(firing_figures.plot_psth(shown, ax=axes()))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time in trial (ms)", "rate per cell (Hz)")
    assert ax.get_xlim() == (0, 1000) and ax.get_ylim()[0] == 0
    stairs = [patch.get_data() for patch in ax.patches]
    expected = shown[shown["population"] == "F1"].groupby("t_ms")["rate_hz"].mean()
    np.testing.assert_allclose(stairs[1].values, expected)
    np.testing.assert_allclose(stairs[1].edges, np.arange(0, 1001, 100))
    one = shown[shown["replica"] == 0].assign(sem_hz=np.nan)
    assert not lit(firing_figures.plot_psth(one, ax=axes())).collections


def test_tuning_is_sorted_by_preference(frames):
    cells = spike_trains.spike_counts(*frames[:2])
    tuning = populations.tuning(cells, frames[2], 1000.0, by=[])
    ax = lit(firing_figures.plot_tuning(tuning, "F1", ax=axes()))
    image = ax.collections[0].get_array().reshape(7, 3)
    best = np.asarray(image).argmax(axis=1)
    assert (np.diff(best) >= 0).all() and set(best) == {0, 1, 2}
    assert "7 cells of F1" in ax.get_ylabel() and "1 silent" in ax.get_ylabel()
    assert ax.figure.axes[-1].get_ylabel() == "mean rate (Hz)"
    with pytest.raises(ValueError, match="'F9'"):
        firing_figures.plot_tuning(tuning, "F9", ax=axes())
    with pytest.raises(ValueError, match="one phase"):
        firing_figures.plot_tuning(populations.tuning(cells, frames[2], 1000.0), "F1", ax=axes())


def test_correlation_matrix_is_symmetric_and_leaves_silent_cells_out(frames):
    pairs = populations.pairwise_correlation(*frames[:2], 50.0)
    ax = lit(firing_figures.plot_correlation_matrix(pairs, "B1", replica=1, ax=axes()))
    matrix = ax.collections[0].get_array().reshape(7, 7).filled(np.nan)
    np.testing.assert_array_equal(matrix, matrix.T)
    shown = pairs[(pairs["population"] == "B1") & (pairs["replica"] == 1)]
    assert matrix[0, 1] == shown["correlation"].iloc[0]
    assert ax.get_xlabel() == "7 cells of B1 (1 left out)"
    with pytest.raises(ValueError, match="no pair"):
        firing_figures.plot_correlation_matrix(pairs.assign(correlation=np.nan), "B1", ax=axes())


def test_comparisons_show_difference_interval_and_p():
    noise = 0.1 * np.array([-4, -3, -2, -1, 1, 2, 3, 4])
    rows = []
    for measure, shift in (("accuracy", 0.0), ("r", 1.0)):
        table = pd.DataFrame(
            {"replica": np.tile(np.arange(8), 2), "feedback": np.repeat(["cut", "whole"], 8),
             measure: np.r_[np.zeros(8), shift + noise]}
        )
        rows.append(hypotheses.compare(table, "feedback", measure, unit="replica"))
    comparisons = hypotheses.correct_p_values(pd.concat(rows))
    ax = lit(firing_figures.plot_comparisons(comparisons, ax=axes()))
    assert ax.get_xlabel() == "whole less cut, 95 % interval"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["accuracy", "r"]
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert [p.get_markerfacecolor() for p in points] == ["white", "#0072B2"]
    np.testing.assert_allclose(
        [p.get_xdata()[0] for p in points], comparisons["difference"]
    )
    low, high = ax.collections[1].get_segments()[0][:, 0]
    assert (low, high) == tuple(comparisons.iloc[1][["ci_low", "ci_high"]])
    assert "8 replicas" in ax.texts[1].get_text()
    assert f"p = {comparisons['p_corrected'].iloc[1]:.3f}" in ax.texts[1].get_text()


def test_statistics_have_a_panel_for_each_that_is_defined(frames):
    trains = spike_trains.train_statistics(*frames).assign(lv=np.nan)
    ax = lit(firing_figures.plot_statistics(trains, ["rate_hz", "cv", "lv"], ax=axes()))
    labels = [panel.get_xlabel() for panel in ax.figure.axes if panel is not ax]
    assert labels == ["rate (Hz)", "CV of the intervals"]
    with pytest.raises(ValueError, match="nothing to show"):
        firing_figures.plot_statistics(trains, ["lv"], ax=axes())


def test_energy_leaves_silent_pathways_out():
    energy = pd.DataFrame(
        {"phase": ["test", "test", "train"], "pathway": ["forward", "backward", "forward"],
         "energy_nJ": [100.0, 0.0, 300.0], "dense_energy_nJ": [400.0, 400.0, 900.0]}
    )
    ax = lit(firing_figures.plot_energy(energy, ax=axes()))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["test, forward", "train, forward"]
    assert ax.lines[0].get_xdata().tolist() == [100, 300] and "(nJ)" in ax.get_xlabel()
    with pytest.raises(ValueError, match="silent"):
        firing_figures.plot_energy(energy.iloc[1:2], ax=axes())

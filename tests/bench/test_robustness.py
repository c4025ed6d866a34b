"""`bsd bench robustness`: what is disturbed, and the numbers that come out."""

import numpy as np
import pandas as pd
import pytest

from bsd.analysis.figures import plot_robustness
from bsd.analysis.style import FittedFigure
from bsd.runs.bench import robustness
from bsd.runs.bench.robustness import DISTURBANCES
from bsd.runs.experiments import experiment


def frame(**accuracy):
    """Two seeds; each method loses accuracy in proportion to the level."""
    return pd.DataFrame(
        {"method": method, "seed": seed, "kind": kind, "level": level,
         "accuracy": best * (1 - level) + 0.01 * (seed - 0.5)}
        for method, best in accuracy.items()
        for seed in (0, 1)
        for kind, levels in DISTURBANCES.items()
        for level in levels
    )


@pytest.fixture(scope="module")
def small(small_network, dataset):
    """A simulation with its initial weights."""
    from bsd.runs.engine import Simulation

    network = small_network(
        layers=(9, 12, 3), capacity=20, assignments={"encoding.receptive_field": 2}
    )
    return Simulation(network, dataset, "runtime", seed=3)


def test_noise_of_weights_stays_within_the_receptive_fields(small):
    weights, network = small.weights(), small.network
    noisy = robustness._noisy_weights(network, weights, 0.5, seed=1)
    for name, w in noisy.items():
        there = network.connectivity(network.layout.projection(name))
        assert not w[~there].any()
        ratio = (w - weights[name])[there].std() / weights[name][there].std()
        assert ratio == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2 * there.sum()))  # 4 SE
    twice = robustness._noisy_weights(network, weights, 1.0, seed=1)["W1"]
    np.testing.assert_allclose(twice - weights["W1"], 2 * (noisy["W1"] - weights["W1"]))


def test_disturbances_leave_the_weights_alone(small, monkeypatch):
    shown = []
    run = small.run
    monkeypatch.setattr(small, "run", lambda table: shown.append(table) or run(table))
    before, given, set_weights = small.weights(), [], small.set_weights
    monkeypatch.setattr(small, "set_weights", lambda w: given.append(w["W1"]) or set_weights(w))
    found = robustness.disturbed_accuracy(small, seed=0)
    for name, w in small.weights().items():
        np.testing.assert_array_equal(w, before[name])
    assert found.groupby("kind", sort=False)["level"].apply(tuple).to_dict() == DISTURBANCES
    assert found[found["level"] == 0]["accuracy"].nunique() == 1
    changed = [(w - before["W1"]).std() for w in given[::2]]  # noisy ones, and the old ones again
    assert len(changed) == len(DISTURBANCES["weight_noise"]) - 1
    assert (np.diff(changed) > 0).all() and changed[0] > 0
    assert not any(table.get("learn", pd.Series(0)).any() for table in shown)
    for kind in ("noise", "occlusion", "loss"):
        assert {t[kind].iloc[0] for t in shown if kind in t} == set(DISTURBANCES[kind]) - {0}


def test_advantage_is_ours_minus_backpropagation():
    found = robustness.summarise_robustness(frame(streaming=0.9, bp=0.8))
    assert found["levels"]["noise"] == list(DISTURBANCES["noise"])
    assert found["accuracy"]["bp"]["loss"][1] == pytest.approx(0.8 * 0.9)
    assert found["accuracy_sd"]["bp"]["loss"][1] == pytest.approx(0.01 / np.sqrt(2))
    assert found["advantage_points"]["noise"][0] == pytest.approx(10)
    assert found["advantage_points"]["noise"][-1] == pytest.approx(5)


def test_figure_has_a_panel_per_kind_and_a_line_per_method():
    ax = plot_robustness(frame(streaming=0.9, bp=0.8), ax=FittedFigure().subplots())
    panels = [panel for panel in ax.figure.axes if panel is not ax]
    assert len(panels) == len(DISTURBANCES)
    for panel, (kind, levels) in zip(panels, DISTURBANCES.items(), strict=True):
        assert [line.get_label() for line in panel.lines] == ["streaming", "bp"], kind
        np.testing.assert_allclose(panel.lines[1].get_xdata(), levels)
        np.testing.assert_allclose(panel.lines[1].get_ydata(), [80 * (1 - x) for x in levels])
    with pytest.raises(ValueError, match="level"):
        plot_robustness(frame(streaming=0.9).drop(columns="level"), ax=FittedFigure().subplots())


def test_command_without_torch(command_without_torch):
    found = command_without_torch(robustness, "robustness", frame(streaming=0.9))
    assert found["accuracy"]["streaming"]["noise"][0] == pytest.approx(0.9)
    assert found["advantage_points"] is None


@pytest.mark.slow
def test_disturbances_cost_accuracy(torch_python):
    chosen = experiment("digits").changed(hidden=(64, 64), epochs=4)
    found = robustness.measure_robustness(chosen, [0], torch_python=torch_python, n_train=600)
    right = found.set_index(["method", "kind", "level"])["accuracy"]
    for kind, levels in DISTURBANCES.items():
        assert right["streaming", kind, 0.0] > 0.85
        for method in ("streaming", "bp"):
            assert right[method, kind, levels[-1]] < right[method, kind, 0.0] - 0.05


def test_on_and_off_afferents_are_refused(bsd):
    """In PyTorch the noise would fall on their intensities, not on the pixels."""
    code, _, err = bsd("bench", "robustness", "--data", "mnist5k", "--set", "encoding.contrast=2")
    assert code == 2 and "--set encoding.contrast=0" in err

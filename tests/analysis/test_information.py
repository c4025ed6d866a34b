import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy
from scipy.stats import poisson as poisson_law
from sklearn.metrics import mutual_info_score

from bsd.analysis.information import mutual_information


def frames(matrix, concept):
    trial, cell = np.indices(matrix.shape)
    counts = pd.DataFrame(
        {"trial": trial.ravel(), "population": "F1", "pathway": "forward", "layer": 1,
         "cell": cell.ravel(), "spikes": matrix.ravel()}
    )
    return counts, pd.DataFrame({"trial": np.arange(len(matrix)), "concept": concept})


def test_a_cell_that_tells_all_concepts_and_one_that_is_silent():
    concept = np.tile(np.arange(4), 50)
    table = mutual_information(*frames(np.column_stack([concept, 0 * concept]), concept))
    np.testing.assert_allclose(table["plugin_bits"], [2, 0], atol=1e-12)
    np.testing.assert_allclose(table["concept_bits"], 2)
    assert table["bias_bits"].tolist() == pytest.approx([-3 / (2 * 200 * np.log(2)), 0])
    assert table["p_value"].tolist() == pytest.approx([1 / 201, 1])


def test_plugin_estimate_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    concept = rng.integers(0, 5, 300)
    matrix = rng.poisson(1 + concept[:, None] * np.array([0, 0.5, 3]))
    table = mutual_information(*frames(matrix, concept), n_shuffles=2)
    expected = [mutual_info_score(concept, matrix[:, k]) / np.log(2) for k in range(3)]
    np.testing.assert_allclose(table["plugin_bits"], expected, rtol=1e-9, atol=1e-12)


def test_corrections_take_the_bias_off_unrelated_counts():
    rng = np.random.default_rng(1)
    concept = np.tile(np.arange(10), 30)
    table = mutual_information(*frames(rng.poisson(2.0, (300, 300)), concept), n_shuffles=20)
    assert table["plugin_bits"].mean() > 0.08
    assert abs(table["information_bits"].mean()) < 0.025
    assert abs((table["plugin_bits"] - table["shuffled_bits"]).mean()) < 0.005
    # 300 tests at 2 of 21: SD 1.7 %.
    assert 0.04 < (table["p_value"] < 0.1).mean() < 0.15


def test_information_of_poisson_counts_is_the_analytic_one():
    means = np.array([1.0, 4.0, 8.0])
    law = poisson_law.pmf(np.arange(60)[:, None], means)
    true = entropy(law.mean(axis=1), base=2) - entropy(law, axis=0, base=2).mean()
    concept = np.tile(np.arange(3), 60)
    matrix = np.random.default_rng(2).poisson(np.repeat(means[concept][:, None], 400, axis=1))
    table = mutual_information(*frames(matrix, concept), n_shuffles=5)
    # 400 cells scatter by some 0.05 bits: SE 0.003.
    assert table["information_bits"].mean() == pytest.approx(true, abs=0.02)
    assert table["plugin_bits"].mean() > true + 0.03
    assert (table["p_value"] == 1 / 6).all()


def test_repeats_of_a_stimulus_do_not_inform_about_its_concept():
    """Rates of the stimuli differ, those of the concepts do not."""
    rng = np.random.default_rng(3)
    stimulus = np.repeat(np.arange(40), 5)
    matrix = rng.poisson(rng.gamma(4, 1, (40, 200))[stimulus])
    counts, trials = frames(matrix, stimulus % 10)
    trials = trials.assign(stimulus=stimulus)
    of_trials = mutual_information(counts, trials, n_shuffles=19)
    of_stimuli = mutual_information(counts, trials, unit="stimulus", n_shuffles=19)
    assert of_trials["information_bits"].mean() > 0.05
    assert (of_trials["p_value"] < 0.1).mean() > 0.3
    assert abs(of_stimuli["information_bits"].mean()) < 0.015
    # 200 tests at 1 of 20: SD 1.5 %.
    assert (of_stimuli["p_value"] < 0.1).mean() < 0.11
    np.testing.assert_allclose(of_stimuli["plugin_bits"], of_trials["plugin_bits"])


def test_trials_without_a_stimulus_are_units_of_their_own():
    concept = np.tile(np.arange(4), 20)
    counts, trials = frames(np.random.default_rng(4).poisson(2, (80, 3)), concept)
    alone, none = (
        mutual_information(counts, trials.assign(stimulus=s), unit="stimulus", n_shuffles=5)
        for s in (-1, np.nan)
    )
    pd.testing.assert_frame_equal(alone, none)
    by_trial = mutual_information(counts, trials, n_shuffles=5)
    np.testing.assert_allclose(alone["shuffled_bits"], by_trial["shuffled_bits"])
    with pytest.raises(ValueError, match="several concepts"):
        mutual_information(counts, trials.assign(stimulus=0), unit="stimulus")


def test_bad_input_is_refused():
    counts, trials = frames(np.ones((4, 2), int), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="whole numbers"):
        mutual_information(counts.assign(spikes=0.5), trials)
    with pytest.raises(ValueError, match="n_shuffles"):
        mutual_information(counts, trials, n_shuffles=0)
    with pytest.raises(ValueError, match="lacks"):
        mutual_information(counts, trials.drop(columns="concept"))

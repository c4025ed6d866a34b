import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bsd.analysis import hypotheses

FEW = {"n_resamples": 999}


def paired_table(differences, base=None, **columns):
    """Two rows per pair, `b` less `a` as given."""
    differences = np.asarray(differences, float)
    base = np.zeros(len(differences)) if base is None else base
    pair = np.arange(len(differences))
    return pd.concat(
        pd.DataFrame({"draw": pair, "condition": name, "m": values, **columns})
        for name, values in (("a", base), ("b", base + differences))
    )


def compare(table, **options):
    return hypotheses.compare(table, "condition", "m", **{**FEW, **options}).iloc[0]


def test_six_replicas_that_agree_reach_the_smallest_p():
    table = paired_table([0.1, 0.2, 0.3, 0.1, 0.2, 0.4]).rename(columns={"draw": "replica"})
    row = compare(table, unit="replica")
    assert row["p_value"] == pytest.approx(2 / 2**6)
    assert row["test"] == "paired permutation test, exact"
    assert (row["n_reference"], row["n_other"], row["paired"]) == (6, 6, True)
    assert row["difference"] == pytest.approx(1.3 / 6)
    assert row["effect"] == "Cohen's d_z"
    assert row["effect_size"] == pytest.approx(1.3 / 6 / np.std([1, 2, 3, 1, 2, 4], ddof=1) * 10)
    assert row["cliffs_delta"] == 1 and row["ci_low"] > 0


def test_independent_samples_by_hand():
    table = pd.DataFrame({"condition": ["a"] * 3 + ["b"] * 3, "m": [1.0, 2, 3, 4, 5, 6]})
    row = compare(table, unit="trial")
    # 20 ways to choose three of six, of which two are as extreme.
    assert row["p_value"] == pytest.approx(2 / 20)
    assert row["test"] == "permutation test, exact" and not row["paired"]
    assert row["effect"] == "Cohen's d" and row["effect_size"] == pytest.approx(3)


def test_pairing_finds_what_independent_samples_hide():
    rng = np.random.default_rng(0)
    table = paired_table(rng.normal(0.1, 0.1, 60), base=rng.normal(0, 3, 60))
    assert compare(table, unit="trial", paired_by="draw")["p_value"] < 0.01
    assert compare(table, unit="trial")["p_value"] > 0.5


def test_interval_and_p_value_agree_with_student_on_normal_differences():
    differences = np.random.default_rng(1).normal(0.3, 1, 80)
    row = compare(
        paired_table(differences), unit="trial", paired_by="draw", n_resamples=4999
    )
    student = stats.ttest_1samp(differences, 0)
    low, high = student.confidence_interval(0.95)
    assert row["ci_low"] == pytest.approx(low, abs=0.1 * (high - low))
    assert row["ci_high"] == pytest.approx(high, abs=0.1 * (high - low))
    assert row["p_value"] == pytest.approx(student.pvalue, abs=0.01)


def test_false_positives_are_as_rare_as_promised():
    rng = np.random.default_rng(2)
    tables = [paired_table(rng.normal(size=12), base=rng.normal(size=12)) for _ in range(100)]
    rows = [compare(t, unit="trial", paired_by="draw", n_resamples=199) for t in tables]
    # Binomial, 100 at 5 %: 10 or more have a probability of 3 %, 12 of 0.4 %.
    assert sum(row["p_value"] <= 0.05 for row in rows) < 12
    assert sum(row["ci_low"] > 0 or row["ci_high"] < 0 for row in rows) < 20


def test_replicas_count_once_whatever_their_trials():
    rng = np.random.default_rng(3)
    tables = [
        paired_table(0.5 * (-1) ** replica + rng.normal(0, 0.01, 500), replica=replica)
        for replica in range(4)
    ]
    pooled = pd.concat(tables)
    row = compare(pooled, unit="replica")
    assert row["n_other"] == 4 and row["p_value"] > 0.5
    with pytest.raises(ValueError, match="not independent"):
        compare(pooled, unit="trial", paired_by="draw")
    # Among the trials of one network the same difference is beyond doubt.
    assert compare(tables[0], unit="trial", paired_by="draw")["p_value"] < 0.01


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_of_few_units_hold_what_they_promise(paired):
    rng, found = np.random.default_rng(8), []
    for _ in range(200):
        table = paired_table(rng.normal(size=3), base=rng.normal(size=3))
        options = {"paired_by": "draw"} if paired else {}
        row = compare(table, unit="trial", n_resamples=9, **options)
        assert row["interval"] == "Student's t"
        found.append(row["ci_low"] <= 0 <= row["ci_high"])
    # Binomial, 200 at 95 %: SD 1.5 %; Welch's interval is a little too wide.
    assert 0.9 < np.mean(found) <= 1 and (not paired or np.mean(found) < 0.99)
    many = paired_table(rng.normal(size=10))
    assert compare(many, unit="trial", paired_by="draw")["interval"] == "BCa bootstrap"


def test_effect_size_is_missing_where_nothing_varies():
    assert np.isnan(hypotheses.cohens_d([0.1] * 3, [0.3] * 3))
    assert np.isnan(hypotheses.cohens_d([0.1] * 10, [0.1] * 7))


def test_rows_without_a_unit_are_left_out_and_counted():
    table = paired_table([1.0, 2.0, 3.0, 4.0]).rename(columns={"draw": "stimulus"})
    for none in (-1, np.nan):
        some = table.assign(stimulus=table["stimulus"].replace(3, none))
        row = compare(some, unit="stimulus")
        assert (row["n_other"], row["n_left_out"], row["difference"]) == (3, 2, 2)
    with pytest.raises(ValueError, match="no row has a stimulus"):
        compare(table.assign(stimulus=-1), unit="stimulus")
    with pytest.raises(ValueError, match="of one part"):
        compare(table.assign(part=["train", "test"] * 4), unit="stimulus")


def test_any_column_can_be_the_unit():
    """Repeats of a stimulus are averaged, those without a partner left out before."""
    rng = np.random.default_rng(4)
    means = rng.normal(0, 1, 8)
    table = paired_table(
        np.repeat(means, 50) + rng.normal(0, 0.01, 400), stimulus=np.repeat(np.arange(8), 50)
    )
    row = compare(table, unit="stimulus", paired_by="draw")
    assert (row["unit"], row["n_other"], row["paired"]) == ("stimulus", 8, True)
    assert row["difference"] == pytest.approx(means.mean(), abs=0.01)
    assert row["p_value"] > compare(table, unit="trial", paired_by="draw")["p_value"]
    lone = table[(table["condition"] == "a") | (table["draw"] != 0)]
    lone = lone.assign(m=lone["m"].where(lone["draw"] != 0, 1e6))
    assert compare(lone, unit="stimulus", paired_by="draw")["n_left_out"] == 1
    assert abs(compare(lone, unit="stimulus", paired_by="draw")["mean_reference"]) < 1
    with pytest.raises(ValueError, match="some units"):
        compare(table[(table["condition"] == "a") | (table["stimulus"] > 2)], unit="stimulus")


def test_incomplete_pairs_and_missing_values_are_left_out_and_counted():
    table = paired_table([1.0, 2.0, 3.0, 4.0])
    table.iloc[0, table.columns.get_loc("m")] = np.nan
    row = compare(table, unit="trial", paired_by="draw")
    assert (row["n_other"], row["n_left_out"], row["difference"]) == (3, 2, 3)
    row = compare(table, unit="trial")
    assert (row["n_reference"], row["n_other"], row["n_left_out"]) == (3, 4, 1)


def test_truth_values_without_a_decision():
    trials = pd.DataFrame(
        {"condition": ["a", "a", "a", "b", "b", "b"], "draw": [0, 1, 2] * 2,
         "m": pd.array([True, False, pd.NA, True, True, True], dtype="boolean")}
    )
    row = compare(trials, unit="trial", paired_by="draw")
    assert (row["mean_reference"], row["mean_other"], row["n_left_out"]) == (0.5, 1, 2)


def test_equal_conditions_have_p_one_and_no_interval():
    row = compare(paired_table(np.zeros(5)), unit="trial", paired_by="draw")
    assert row["p_value"] == 1 and row["difference"] == 0
    assert row[["ci_low", "ci_high", "effect_size"]].isna().all()


def test_levels_choose_conditions_and_the_sign():
    table = pd.concat([paired_table([1.0, 2, 4]), paired_table([0.0] * 3).replace("b", "c")])
    table = table.drop_duplicates(["draw", "condition"])
    with pytest.raises(ValueError, match="3 values"):
        compare(table, unit="trial")
    up = compare(table, unit="trial", paired_by="draw", levels=("a", "b"))
    down = compare(table, unit="trial", paired_by="draw", levels=("b", "a"))
    assert up["difference"] == -down["difference"] == pytest.approx(7 / 3)
    assert up["effect_size"] == -down["effect_size"] and up["p_value"] == down["p_value"]


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_rows_may_come_in_any_order_with_any_index(random, paired):
    table = paired_table([0.1, 0.5, -0.2, 0.3, 0.9], base=np.arange(5.0))
    options = {"unit": "trial", "paired_by": "draw" if paired else None, "n_resamples": 99}
    order = list(range(len(table)))
    random.shuffle(order)
    shuffled = table.iloc[order].set_axis([random.randint(0, 9) for _ in order])
    shuffled = shuffled.astype({"condition": "category"})
    pd.testing.assert_series_equal(compare(table, **options), compare(shuffled, **options))


def test_bad_comparisons_are_refused():
    table = paired_table([1.0, 2.0, 3.0])
    refused = [
        ({"unit": "cell"}, "independent observation"),
        ({"unit": "replica"}, "replica"),
        ({"unit": "trial", "levels": ("a", "a")}, "different values"),
        ({"unit": "trial", "levels": ("a", "z")}, "no value 'z'"),
        ({"unit": "trial", "paired_by": "stimulus"}, "lacks"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            compare(table, **options)
    with pytest.raises(ValueError, match="tell the rows"):
        compare(pd.concat([table, table]), unit="trial", paired_by="draw")
    with pytest.raises(ValueError, match="needs two"):
        compare(paired_table([1.0]), unit="trial")
    some = table.rename(columns={"draw": "replica"}).iloc[:-1]
    with pytest.raises(ValueError, match="leave the latter out"):
        compare(some, unit="replica")


def test_unit_has_no_default():
    with pytest.raises(TypeError, match="unit"):
        hypotheses.compare(paired_table([1.0, 2.0]), "condition", "m")


def test_corrections_of_a_known_family():
    # statsmodels 0.15.0, multipletests(p, method="holm") and (p, method="fdr_bh").
    p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205]
    holm = [0.008, 0.056, 0.234, 0.234, 0.234, 0.234, 0.234, 0.234]
    bh = [0.008, 0.032, 0.0672, 0.0672, 0.0672, 0.08, 0.0845714285714286, 0.205]
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    frame = pd.DataFrame({"p_value": p}).iloc[order]
    frame.loc[8] = np.nan
    for method, expected in (("holm", holm), ("benjamini-hochberg", bh)):
        corrected = hypotheses.correct_p_values(frame, method)["p_corrected"]
        np.testing.assert_allclose(corrected.iloc[:8], np.array(expected)[order], rtol=1e-12)
        assert np.isnan(corrected.loc[8])
    with pytest.raises(ValueError, match="choose"):
        hypotheses.correct_p_values(frame, "hochberg")
    with pytest.raises(ValueError, match="0 to 1"):
        hypotheses.correct_p_values(pd.DataFrame({"p_value": [1.2]}))


def test_cliffs_delta_counts_pairs():
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 5, 30), rng.integers(1, 6, 20)
    expected = np.sign(b[:, None] - a[None, :]).mean()
    assert hypotheses.cliffs_delta(a, b) == pytest.approx(expected)
    assert hypotheses.cliffs_delta([1, 2], [3]) == 1
    assert hypotheses.cliffs_delta([1, 2], [1, 2]) == 0


def test_d_prime_of_a_gaussian_observer():
    rng = np.random.default_rng(5)
    signal, noise = rng.normal(1.5, 1, 40_000) > 1, rng.normal(0, 1, 40_000) > 1
    sensitivity, criterion = hypotheses.d_prime(
        signal.sum(), (~signal).sum(), noise.sum(), (~noise).sum()
    )
    assert sensitivity == pytest.approx(1.5, abs=0.04)
    assert criterion == pytest.approx(1 - 0.75, abs=0.02)
    assert np.isfinite(hypotheses.d_prime(10, 0, 0, 10)).all()
    assert np.isnan(hypotheses.d_prime(0, 0, 3, 10)).all()
    with pytest.raises(ValueError, match="negative"):
        hypotheses.d_prime(-1, 0, 0, 0)


def test_detection_per_concept_phase_and_replica():
    trials = pd.DataFrame(
        {"replica": [0] * 6 + [1] * 2, "phase": "test", "concept": [0, 0, 1, 1, 2, -1, 0, 1],
         "percept": [0, -1, 1, 0, pd.NA, 0, 0, 1]}
    )
    table = hypotheses.concept_detection(trials).set_index(["replica", "concept"])
    assert len(table) == 4
    row = table.loc[0, 0]
    assert (row["n_signal"], row["n_noise"]) == (2, 2)
    assert (row["hit_rate"], row["false_alarm_rate"]) == (0.5, 0.5)
    assert row["d_prime"] == pytest.approx(0)
    assert (table.loc[0, 1]["hit_rate"], table.loc[0, 1]["false_alarm_rate"]) == (0.5, 0)
    assert (table.loc[1]["hit_rate"] == 1).all()


@pytest.mark.parametrize("steepness", [8.0, -8.0])
def test_psychometric_fit_recovers_the_function(steepness):
    levels = np.linspace(0, 0.9, 10)
    p = hypotheses.psychometric_function(levels, 0.55, steepness, 0.03, 0.1)
    n = 20_000
    right = np.concatenate([np.arange(n) < round(n * one) for one in p])
    trials = pd.DataFrame({"occlusion": np.repeat(levels, n), "correct": right})
    row = hypotheses.fit_psychometric(trials, "occlusion", chance=0.1).iloc[0]
    assert row["threshold"] == pytest.approx(0.55, abs=0.003)
    slope = 0.87 * steepness / np.sqrt(2 * np.pi)
    assert row["slope"] == pytest.approx(slope, rel=0.02)
    assert row["lapse"] == pytest.approx(0.03, abs=0.005)
    assert (row["n_levels"], row["n_trials"]) == (10, 200_000)


def test_standard_errors_of_the_fit_are_the_scatter_of_repetitions():
    rng = np.random.default_rng(6)
    levels = np.repeat(np.linspace(0, 10, 9), 200)
    p = hypotheses.psychometric_function(levels, 5.0, 0.5, 0.05, 0.0)
    trials = pd.concat(
        pd.DataFrame({"replica": k, "noise": levels, "correct": rng.random(len(p)) < p})
        for k in range(60)
    )
    table = hypotheses.fit_psychometric(trials, "noise", chance=0.0)
    assert len(table) == 60
    for name, true in (("threshold", 5.0), ("slope", 0.95 * 0.5 / np.sqrt(2 * np.pi))):
        scatter = table[name].std()
        assert table[name].mean() == pytest.approx(true, abs=4 * scatter / np.sqrt(60))
        # An SD of 60 values has a relative error of 9 %.
        assert table[f"{name}_se"].mean() == pytest.approx(scatter, rel=0.35)


def test_standard_errors_over_units_are_the_scatter_of_repetitions():
    """Each pair of stimuli has a threshold of its own, at which all its trials change."""
    rng = np.random.default_rng(7)
    levels, n_pairs = np.linspace(0, 1, 11), 60

    def sample():
        own = rng.normal(0.5, 0.15, n_pairs)
        return pd.DataFrame(
            {"pair": np.repeat(np.arange(n_pairs), 11), "blend": np.tile(levels, n_pairs),
             "correct": (levels > own[:, None]).ravel()}
        )

    fit = {"level": "blend", "chance": 0.0}
    tables = [sample() for _ in range(40)]
    scatter = np.std(
        [hypotheses.fit_psychometric(t, **fit)["threshold"].iloc[0] for t in tables], ddof=1
    )
    of_trials, of_pairs = (
        np.mean([hypotheses.fit_psychometric(t, **fit, unit=unit)["threshold_se"].iloc[0]
                 for t in tables[:8]])
        for unit in ("trial", "pair")
    )
    assert of_pairs == pytest.approx(scatter, rel=0.35)  # an SD of 40 has an error of 11 %
    assert of_trials < 0.75 * scatter


def test_psychometric_fit_knows_its_limits():
    flat = pd.DataFrame({"noise": np.tile(np.arange(5), 10), "correct": True})
    assert np.isnan(hypotheses.fit_psychometric(flat, "noise", chance=0)["threshold"].iloc[0])
    # Hardly falls within the levels shown: the threshold would be extrapolated.
    right = np.concatenate([np.arange(100) < n for n in (99, 98, 96, 92, 85)])
    far = pd.DataFrame({"noise": np.repeat(np.arange(5), 100), "correct": right})
    assert np.isnan(hypotheses.fit_psychometric(far, "noise", chance=0)["threshold"].iloc[0])
    with pytest.raises(ValueError, match="needs 4"):
        hypotheses.fit_psychometric(flat[flat["noise"] < 3], "noise", chance=0)
    with pytest.raises(ValueError, match="chance"):
        hypotheses.fit_psychometric(flat, "noise", chance=1)

"""Agreement in distribution: the distance is SciPy's, false alarms are rare, differences found."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bsd.analysis.agreement import _distances, _labelings, agreement

N_CELLS, DURATION_MS = 12, 1000.0


def recordings(seed, n_runs=5, rate_hz=40.0, regular=False, shared=False):
    """Two trials of 12 cells in each run; every run has a rate of its own, as networks do."""
    generator = np.random.default_rng(seed)
    spikes, counts = [], []
    for run in range(n_runs):
        own_rate = rate_hz * generator.lognormal(0, 0.1)
        for trial in range(2):
            n = 0
            common = np.sort(generator.uniform(0, DURATION_MS, generator.poisson(own_rate)))
            for cell in range(N_CELLS):
                if regular:
                    t = (np.arange(int(own_rate)) + generator.random()) / own_rate * 1e3
                elif shared:
                    t = common[generator.random(len(common)) < 0.9]
                else:
                    t = generator.uniform(0, DURATION_MS, generator.poisson(own_rate))
                t = np.unique(np.floor(t[t < DURATION_MS]))
                n += len(t)
                spikes.append(pd.DataFrame({"trial": trial, "replica": run, "t_ms": t,
                                            "cell": cell}))
            counts.append((trial, run, N_CELLS, n, n / N_CELLS))
    columns = ["trial", "replica", "n_cells", "spikes", "rate_hz"]
    label = {"population": "F1", "pathway": "forward", "layer": 1}
    return (
        pd.concat(spikes, ignore_index=True).assign(**label),
        pd.DataFrame(counts, columns=columns).assign(**label),
    )


def test_distance_is_that_of_scipy():
    generator = np.random.default_rng(0)
    values = np.round(generator.normal(size=300), 1)  # with ties
    run = generator.integers(0, 8, 300)
    labelings = _labelings(4, 4, 0)
    assert len(labelings) == 70 and labelings[0].tolist() == [True] * 4 + [False] * 4
    distances, effective = _distances(values, run, labelings)
    first = np.count_nonzero(run < 4)
    assert effective[0] == pytest.approx(first * (300 - first) / 300)
    for labeling, distance in zip(labelings, distances, strict=True):
        first = labeling[run]
        assert distance == pytest.approx(stats.ks_2samp(values[first], values[~first]).statistic)


def test_many_runs_are_labeled_at_random():
    labelings = _labelings(9, 9, 0)
    assert len(labelings) == 2000 and (labelings.sum(axis=1) == 9).all()
    assert labelings[0, :9].all()


@pytest.mark.parametrize(
    "change, statistic",
    [({"rate_hz": 55.0}, "rate_hz"), ({"regular": True}, "cv"), ({"shared": True}, "correlation")],
)
def test_planted_difference_is_found(change, statistic):
    table = agreement(recordings(1), recordings(2, **change), 10.0).set_index("statistic")
    assert table.loc[statistic, "p_value"] < 0.05  # 2/252 is the least there is
    assert table["ks"].idxmax() == statistic


def test_false_alarms_are_as_rare_as_promised():
    """Of 200 comparisons at 5 %, at most 21 (p = 0.001), though the cells of a run depend."""
    generator = np.random.default_rng(5)
    labelings, run = _labelings(5, 5, 0), np.repeat(np.arange(10), 20)
    alarms = usual = 0
    for _ in range(200):
        values = generator.normal(size=200) + generator.normal(size=10)[run]
        distances, _ = _distances(values, run, labelings)
        alarms += (distances >= distances[0] - 1e-12).mean() < 0.05
        usual += stats.ks_2samp(values[run < 5], values[run >= 5]).pvalue < 0.05
    assert alarms <= 21 < 50 < usual


def test_identical_runs_have_no_distance():
    one = recordings(3)
    table = agreement(one, one, 10.0)
    assert set(table["statistic"]) == {"rate_hz", "cv", "correlation"}
    assert (table["ks"] == 0).all() and (table["p_value"] == 1).all()


def test_too_few_runs_are_refused():
    with pytest.raises(ValueError, match="at least 4"):
        agreement(recordings(1, n_runs=3), recordings(2), 10.0)

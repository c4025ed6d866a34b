import numpy as np
import pytest

from bsd.analysis import interchange, spike_trains

pynapple = pytest.importorskip("pynapple", reason="pynapple is in no extra: pip install pynapple")


def test_units_and_trials_in_pynapple(poisson):
    spikes, counts, trials = poisson(duration_ms=600.0, replicas=2)
    units, epochs = interchange.to_pynapple(spikes, counts)
    assert len(units) == 2 * (6 + 8 + 8) and len(epochs) == 4
    of_f1 = units[units["population"] == "F1"]
    cells = spike_trains.spike_counts(spikes, counts)
    expected = cells[cells["population"] == "F1"].pivot(
        index="trial", columns=["replica", "cell"], values="spikes"
    )
    columns = list(zip(of_f1["replica"], of_f1["cell"], strict=True))
    np.testing.assert_array_equal(of_f1.count(ep=epochs).values, expected[columns])
    with pytest.raises(ValueError, match="different trials"):
        some = [f[(f["replica"] == 0) | (f["trial"] > 0)] for f in (spikes, counts)]
        interchange.to_pynapple(*some)


def test_documented_snippets(poisson):
    spikes, counts, trials = poisson(duration_ms=600.0)
    units, epochs = interchange.to_pynapple(spikes, counts)
    concept = trials.set_index("trial")["concept"].loc[epochs["trial"]]
    shown = epochs[np.flatnonzero(concept == 1)]
    rates = units[units["population"] == "F1"].restrict(shown).rates
    odd = spikes[(spikes["population"] == "F1") & (spikes["trial"] % 2 == 1)]
    assert rates.sum() == pytest.approx(len(odd) / 1.2, rel=1e-4)
    around = pynapple.compute_perievent(units, pynapple.Ts(epochs.start), window=(0, 0.6))
    assert len(around) == len(units)

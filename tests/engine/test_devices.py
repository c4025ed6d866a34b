"""The same network on NumPy in this process and as compiled C++; dense and plain synapses.

Two structures are compiled, each once for all tests of this file.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from brian2 import ms, mV, nS, pA, prefs

from bsd.analysis.agreement import agreement
from bsd.equations import InputError
from bsd.runs.engine import Simulation
from bsd.runs.engine import cpp as engine

from ..gpu import needs_gpu

#: Between them: both parameter sets, both projections, both encoders, both features, two top
#: rules, refractory period; the first is retinotopic below the output and has ON and OFF
#: afferents, the second has the equations of the fixture `adaptation`, too.
STRUCTURES = {
    "discrete-dense": (
        "discrete",
        {
            "encoding.receptive_field": 1, "encoding.deep_field": 2, "encoding.contrast": 2.0,
            "encoding.concept_code": "tuning", "learning.top_rule": "vector",
        },
        {},
    ),
    "biophysical-synapses": (
        "biophysical",
        {
            "timing.duration": 40 * ms,
            "encoding.kind": "poisson",
            "learning.features": "voltages",
            "learning.top_rule": "softmax",
        },
        {"projection": "synapses"},
    ),
}


@pytest.fixture(scope="module", params=STRUCTURES)
def network(request, small_network, adaptation):
    base, assignments, options = STRUCTURES[request.param]
    if base == "biophysical":
        equations, values = adaptation
        equations = {name: text for name, text in equations.items() if name != "START_TRIAL"}
        values = {**values, "cells.I_w": 10 * pA}  # goes on from trial to trial
        options = {**options, "equations": equations, "values": values, "probe_variables": ["I_w"]}
    return small_network(base, assignments=assignments, **options)


@pytest.fixture
def table(trial_table):
    """Training, then perception, recall, and the loop perceive - recall - perceive."""
    parts = [
        trial_table(8),
        trial_table(3, start=8, phase="test", source="stimulus", learn=0.0),
        trial_table(2, start=11, phase="recall", source="concept", learn=0.0),
        trial_table(2, start=13, phase="loop", source="stimulus+percept", learn=0.0),
        trial_table(2, start=15, phase="imagine", source="concept+recall", learn=0.0),
    ]
    table = pd.concat(parts, ignore_index=True)
    # numbers that a float32 could not tell apart, and two trials with the same
    return table.assign(draw=2**31 - 40 + table["trial"] % 15, record=table["trial"] % 4 > 0)


def frames(recording):
    return {name: getattr(recording, name) for name in recording.__dataclass_fields__}


def assert_identical(first, second):
    for name, frame in frames(first).items():
        pd.testing.assert_frame_equal(frame, getattr(second, name), check_exact=True)


def assert_same_state(first, second, tolerance=0.0):
    assert first.keys() == second.keys()
    for name, values in first.items():
        difference = np.abs(np.asarray(values) - second[name]).max(initial=0)
        assert difference <= tolerance, name


def test_compiled_equals_numpy(network, dataset, table):
    """Spikes exactly, potentials and weights to 1e-9 (float64)."""
    a, b = (Simulation(network, dataset, device, seed=2) for device in ("runtime", "cpp"))
    on_numpy, compiled = a.run(table), b.run(table)
    for name in ("spikes", "cell_counts", "counts"):
        pd.testing.assert_frame_equal(getattr(on_numpy, name), getattr(compiled, name))
    silent = on_numpy.counts.groupby("population")["spikes"].sum() == 0
    assert not silent.any()
    assert 0 < len(on_numpy.spikes) == on_numpy.cell_counts["spikes"].sum()
    for name in ("voltages", "trials", "cosines", "recalled"):
        pd.testing.assert_frame_equal(
            getattr(on_numpy, name), getattr(compiled, name), check_exact=False, rtol=0, atol=1e-9
        )
    pd.testing.assert_frame_equal(on_numpy.traces, compiled.traces, rtol=1e-9, atol=0)
    assert on_numpy.traces.empty or (on_numpy.traces["value"] > 0).mean() > 0.1
    assert_same_state(a.state, b.state, 1e-9)
    start = network.initial_state(2)
    for name in ("afferent_basal.w", "cortical_basal.w", "memory_pattern.mu"):
        assert np.abs(start[name] - b.state[name]).max() > 1e-4


def compiled(folder):
    """Files of a compiled network, and when they were written (other tests compile others)."""
    return {
        path.relative_to(folder): path.stat().st_mtime_ns
        for pattern in ("main", "**/*.o", "**/*.cpp") for path in folder.glob(pattern)
    }


def test_a_second_seed_compiles_nothing(network, dataset, table):
    first = Simulation(network, dataset, "cpp", seed=2)
    before = compiled(first.simulator.folder)
    assert before
    stages = []
    second = Simulation(network, dataset, "cpp", seed=3, progress=lambda *s: stages.append(s))
    assert second.simulator.folder == first.simulator.folder
    assert second.simulator.build_s == 0 and stages == []
    a, b = first.run(table), second.run(table)
    assert compiled(first.simulator.folder) == before
    assert not a.spikes.equals(b.spikes)


def test_same_seed_same_result_bit_for_bit(network, dataset, table):
    runs = []
    for _ in range(2):
        simulation = Simulation(network, dataset, "cpp", seed=2)
        runs.append((simulation.run(table), simulation.state))
    assert_identical(runs[0][0], runs[1][0])
    assert_same_state(runs[0][1], runs[1][1])


def test_compiled_result_does_not_depend_on_folders(
    network, dataset, table, monkeypatch, tmp_path
):
    """Neither on the working folder nor on that of temporary files."""
    runs = []
    for name in ("one", "another"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
        simulation = Simulation(network, dataset, "cpp", seed=2)
        runs.append((simulation.run(table), simulation.state))
        assert list((tmp_path / name).iterdir()) == []
    assert_identical(runs[0][0], runs[1][0])
    assert_same_state(runs[0][1], runs[1][1])


def test_compiled_result_does_not_depend_on_the_cuts(network, dataset, table):
    """One run, or three with the state handed over, cut anywhere: bit for bit."""
    whole = Simulation(network, dataset, "cpp", seed=2)
    recording = whole.run(table)
    pieces, state = [], None
    for start, stop in ((0, 3), (3, 4), (4, 13), (13, 17)):
        part = Simulation(network, dataset, "cpp", seed=2)
        if state is not None:
            part.restore(state)
        pieces.append(part.run(table[start:stop]))
        state = part.state
    joined = pieces[0].join(pieces)
    for name in ("trials", "spikes"):
        pd.testing.assert_frame_equal(getattr(joined, name), getattr(recording, name))
    for name in ("counts", "cell_counts", "cosines", "recalled", "voltages"):
        assert_same_rows(getattr(joined, name), getattr(recording, name))
    assert_same_state(state, whole.state)


def assert_same_rows(first, second):
    keys = [c for c in first if not c.startswith(("spikes", "rate", "cosine", "drive", "v_"))]
    first, second = (f.sort_values(keys, ignore_index=True) for f in (first, second))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_compiled_networks_take_new_values_without_compiling(network, dataset, table):
    """Weights, learning rates and cell constants, added ones too, travel as run arguments."""
    base = Simulation(network, dataset, "cpp", seed=2).run(table)
    changes = {
        "learning.eta": 0.3,
        "learning.lam": 0.5,
        "learning.margin_gating": False,
        "cell.V_threshold": -56 * mV,
        "cell.g_apical": 2 * nS,
    }
    changed = type(network)(
        [*network.cells_per_layer[:-1], network.n_concepts],
        network.parameters.updated(changes),
        projection=network.projection,
        capacity=network.capacity,
        precision=network.precision,
        equations=network.changed_equations,
        values={name: value / 2 for name, value in network.extra_values.items()},
        probe_variables=network.probe_variables,
    )
    compiled = Simulation(changed, dataset, "cpp", seed=2)
    assert compiled.simulator.build_s == 0
    on_numpy = Simulation(changed, dataset, "runtime", seed=2)
    recording = compiled.run(table)
    pd.testing.assert_frame_equal(recording.spikes, on_numpy.run(table).spikes)
    assert_same_state(compiled.state, on_numpy.state, 1e-9)
    assert not recording.spikes.equals(base.spikes)


def test_manifest_lists_what_goes_in_and_comes_out(network, dataset):
    simulator = Simulation(network, dataset, "cpp").simulator
    manifest = json.loads((simulator.folder / "manifest.json").read_text())
    assert {name: size for name, (size, _) in manifest["inputs"].items()} == {
        name: size for name, (size, _) in simulator.specs.items()
    }
    assert set(Simulation(network, dataset, "cpp").state) <= manifest["outputs"].keys()


@pytest.mark.parametrize("base", ["discrete", "biophysical"])
@pytest.mark.parametrize("features", ["spikes", "voltages"])
def test_dense_projections_equal_plain_synapses(
    small_network, dataset, table, base, features
):
    """Spikes exactly, weights to 1e-9 (float64, NumPy)."""
    assignments = {"learning.features": features}
    if base == "biophysical":
        assignments["timing.duration"] = 40 * ms
    results = []
    for projection in ("dense", "synapses"):
        network = small_network(base, assignments=assignments, projection=projection)
        simulation = Simulation(network, dataset, "runtime", seed=2)
        results.append((simulation.run(table), simulation.state))
    (dense, dense_state), (plain, plain_state) = results
    pd.testing.assert_frame_equal(dense.spikes, plain.spikes)
    assert len(dense.spikes) > 500
    assert_same_state(dense_state, plain_state, 1e-9)


def test_runtime_result_does_not_depend_on_the_chunk_size(small_network, dataset, table):
    results = []
    for capacity in (2, 5, 17):
        simulation = Simulation(small_network(capacity=capacity), dataset, "runtime", seed=2)
        results.append((simulation.run(table.assign(phase="train")), simulation.state))
    for recording, state in results[:-1]:
        pd.testing.assert_frame_equal(recording.spikes, results[-1][0].spikes)
        pd.testing.assert_frame_equal(recording.trials, results[-1][0].trials)
        assert_same_rows(recording.voltages, results[-1][0].voltages)
        assert_same_state(state, results[-1][1])


def test_float32_stays_close_to_float64(small_network, dataset, trial_table):
    """One trial: weights to 1e-5; the default precision is another structure."""
    states = []
    for precision in ("float32", "float64"):
        network = small_network(precision=precision)
        simulation = Simulation(network, dataset, "runtime", seed=2)
        simulation.run(trial_table(1))
        states.append(simulation.state)
    assert states[0]["cortical_basal.w"].dtype == np.float32
    assert_same_state(states[0], states[1], 1e-5)


def test_runtime_leaves_the_preferences_as_they_were(small_network, dataset, trial_table):
    before = prefs.codegen.target, prefs.core.default_float_dtype
    prefs.codegen.target, prefs.core.default_float_dtype = "cython", np.float32
    try:
        simulation = Simulation(small_network(), dataset, "runtime")
        assert (prefs.codegen.target, prefs.core.default_float_dtype) == ("cython", np.float32)
        simulation.run(trial_table(1))
        assert simulation.state["cortical_basal.w"].dtype == np.float64
        assert (prefs.codegen.target, prefs.core.default_float_dtype) == ("cython", np.float32)
    finally:
        prefs.codegen.target, prefs.core.default_float_dtype = before


def test_missing_compiler_and_unwritable_cache_are_user_errors(
    small_network, dataset, monkeypatch, tmp_path
):
    network = small_network(layers=(9, 5, 3))
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv("BSD_CACHE", str(blocker))
    with pytest.raises(InputError, match="set BSD_CACHE to a folder you can write to"):
        Simulation(network, dataset, "cpp")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="CXX = 'no-such-compiler' is no command"):
        Simulation(network, dataset, "cpp")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="install g\\+\\+"):
        Simulation(network, dataset, "cpp")
    with pytest.raises(InputError, match="choose one of cpp, cuda, runtime"):
        Simulation(network, dataset, "gpu")


def test_failed_build_leaves_nothing_behind(small_network, dataset, monkeypatch, tmp_path):
    monkeypatch.setenv("BSD_CACHE", str(tmp_path))

    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(engine, "make", fail)
    with pytest.raises(RuntimeError):
        Simulation(small_network(layers=(9, 5, 3)), dataset, "cpp")
    assert list(Path(engine.cache_directory()).iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpp", pytest.param("cuda", marks=needs_gpu)])
def test_devices_agree_in_distribution(small_network, dataset, trial_table, device):
    """NumPy with seeds 0 to 4, the other with 5 to 9; a membrane three times as slow is found."""
    table = trial_table(2, learn=0.0, phase="test")

    def network(**assignments):
        assignments = {"timing.duration": 500 * ms, **assignments}
        return small_network("biophysical", assignments=assignments, replicas=5, capacity=2)

    def recorded(network, device, seed):
        recording = Simulation(network, dataset, device, seed=seed).run(table)
        cells = recording.counts["pathway"] != "afferent"
        spikes = recording.spikes
        return spikes[spikes["pathway"] != "afferent"], recording.counts[cells]

    on_numpy = recorded(network(), "runtime", 0)
    same = agreement(on_numpy, recorded(network(), device, 5), 10.0)
    assert set(same["statistic"]) == {"rate_hz", "cv", "correlation"}
    assert same["p_value"].min() > 0.05, same
    slower = network(**{"cell.tau_soma": 3 * network().parameters.cell.tau_soma})
    assert agreement(on_numpy, recorded(slower, device, 5), 10.0)["p_value"].min() < 0.05

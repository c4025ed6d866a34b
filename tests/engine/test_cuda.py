"""CUDA: the generated program run on the CPU and on a GPU, read, and compiled by nvcc.

On the CPU the program is compiled as C++ (`cuda_on_cpu`), where a kernel is a loop over its
threads, so that all its kernels, copies and index arithmetic are put to the test without a GPU,
though not what threads do at the same time; that is what the tests on a GPU and of the generated
statements are for.
"""

import ctypes
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from brian2 import ms, mV
from brian2.core.functions import Function

from bsd.equations import InputError, plasticity, pyramidal
from bsd.equations.randomness import hash_uniform, uniform
from bsd.networks import dense
from bsd.networks.layout import Layout
from bsd.runs.engine import Simulation, cuda
from bsd.runs.engine.export import export_cuda, load_results
from bsd.runs.engine.sources import replace_once

from ..gpu import needs_gpu
from . import cuda_on_cpu

needs_brian2cuda = pytest.mark.skipif(
    importlib.util.find_spec("brian2cuda") is None, reason="needs brian2cuda: make setup-cuda"
)
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

#: Between them: both parameter sets, both projections, both encoders, both features, two rules of
#: the output, refractory period, replicas, context cells; the first is retinotopic below the
#: output, has ON and OFF afferents, and thresholds that go on from trial to trial.
STRUCTURES = {
    "discrete-dense-replicas": (
        "discrete",
        {
            "encoding.receptive_field": 1, "encoding.deep_field": 2, "encoding.contrast": 2.0,
            "encoding.concept_code": "tuning", "learning.top_rule": "vector",
        },
        {
            "replicas": 2,
            "equations": {
                "CELL_PARAMETERS": pyramidal.CELL_PARAMETERS + "theta_h : volt",
                "THRESHOLD": "v_s > theta + theta_h",
                "START_LEARNING": plasticity.START_LEARNING
                + "theta_h += int(learn > 0)*(n_s*count_unit - rate_target)*mV",
            },
            "values": {"cells.theta_h": 0.5 * mV},
        },
    ),
    "biophysical-synapses": (
        "biophysical",
        {
            "timing.duration": 40 * ms,
            "encoding.kind": "poisson",
            "encoding.context": 1,
            "learning.features": "voltages",
            "learning.top_rule": "softmax",
        },
        {"projection": "synapses"},
    ),
}


@pytest.fixture(scope="module", params=STRUCTURES)
def network(request, small_network):
    base, assignments, options = STRUCTURES[request.param]
    return small_network(base, assignments=assignments, **options)


@pytest.fixture
def on_cpu(monkeypatch):
    """The device "cuda", with the CPU as its GPU; holds the kernel launches of the last run."""
    launched, usual = [], cuda.CudaSimulator._hear

    def hear(self, word, value):
        if word == "launches":
            launched[:] = [int(value)]
        usual(self, word, value)

    for owner, name, value in cuda_on_cpu.INSTEAD:
        monkeypatch.setattr(owner, name, value)
    monkeypatch.setattr(cuda.CudaSimulator, "_hear", hear)
    return launched


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
    carry = table["trial"] % 3 > 0  # where there are context cells
    record = table["trial"] % 4 > 0
    return table.assign(draw=2**31 - 40 + table["trial"] % 15, carry=carry, record=record)


# ---------------------------------------------------------------------- run


@pytest.fixture(params=["cpu", "cpu-backward", pytest.param("gpu", marks=needs_gpu)])
def processor(request, monkeypatch):
    """What the device "cuda" is; on the CPU, threads run in one order or the other."""
    if request.param != "gpu":
        request.getfixturevalue("on_cpu")
    if request.param == "cpu-backward":
        monkeypatch.setenv("BACKWARD", "1")


@needs_brian2cuda
@needs_compiler
def test_cuda_program_equals_numpy(processor, network, dataset, table):
    """Spikes exactly, potentials and weights to 1e-9 (float64), in whatever order threads run."""
    a, b = (Simulation(network, dataset, device, seed=2) for device in ("runtime", "cuda"))
    on_numpy, compiled = a.run(table), b.run(table)
    for name in ("spikes", "cell_counts", "counts"):
        pd.testing.assert_frame_equal(getattr(on_numpy, name), getattr(compiled, name))
    assert not (on_numpy.counts.groupby("population")["spikes"].sum() == 0).any()
    for name in ("trials", "cosines", "recalled", "voltages"):
        pd.testing.assert_frame_equal(
            getattr(on_numpy, name), getattr(compiled, name), check_exact=False, rtol=0, atol=1e-9
        )
    start = network.initial_state(network.seeds(2))
    for name, values in a.state.items():
        assert np.abs(values - b.state[name]).max() <= 1e-9, name
        still = name == "memory.pointer" or (name == "afferents.held" and not network.n_context)
        if not still:
            assert np.abs(start[name] - b.state[name]).max() > 1e-4, name


@needs_gpu
@pytest.mark.parametrize("replicas", [1, 3])
def test_one_trial_changes_weights_as_in_cpp(small_network, dataset, trial_table, replicas):
    """In single precision to 1e-5, where some change by more than 1e-3."""
    network = small_network(precision="float32", replicas=replicas)
    states = []
    for device in ("cpp", "cuda"):
        simulation = Simulation(network, dataset, device, seed=2)
        simulation.run(trial_table(1))
        states.append(simulation.state)
    start = network.initial_state(network.seeds(2))
    for name, values in states[0].items():
        np.testing.assert_allclose(states[1][name], values, rtol=0, atol=1e-5, err_msg=name)
    for name in ("afferent_basal.w", "cortical_basal.w"):
        assert np.abs(states[0][name] - start[name]).max() > 1e-3


@needs_brian2cuda
@needs_compiler
def test_a_short_chunk_ends_early_and_launches_are_counted(on_cpu, network, dataset, trial_table):
    simulation = Simulation(network, dataset, "cuda", seed=2)
    done = []
    simulation.run(trial_table(3), progress=done.append)
    assert 3 <= max(done) <= 3 + 1 / network.parameters.timing.steps + 1e-9
    counted = simulation.simulator.manifest["launches"]
    steps = 3 * network.parameters.timing.steps + 1
    most = steps * counted["kernels_per_step"] + 4 * counted["kernels_per_trial"]
    once = 30  # creation and destruction
    # kernels of synapses are launched where a cell fired only
    assert 0.7 * most < on_cpu[0] <= most + once
    assert simulation.simulator.device_mb == 2  # that of `cuda_on_cpu.h`
    assert simulation.simulator.launches_per_step == pytest.approx(
        counted["kernels_per_step"]
        + counted["kernels_per_trial"] / network.parameters.timing.steps
    )


@needs_brian2cuda
@needs_compiler
def test_inputs_of_wrong_size_do_not_reach_the_program(on_cpu, network, dataset):
    """The program itself would complain on standard error and go on with the old values."""
    simulator = Simulation(network, dataset, "cuda", seed=2).simulator
    inputs = {name: np.zeros(size) for name, (size, _) in simulator.specs.items()}
    inputs["cortical_basal.w"] = np.zeros(3)
    with pytest.raises(ValueError, match="cortical_basal.w: 3 values given"):
        simulator.run(inputs, 1)


@needs_brian2cuda
@needs_compiler
def test_export_runs_and_loads(on_cpu, small_network, dataset, trial_table, tmp_path):
    table, network = trial_table(5), small_network(capacity=5)
    folder = tmp_path / "Project"  # with a capital letter, as the names of its inputs
    export_cuda(network, dataset, table, folder, "9.0", seed=4)
    known = {sys.prefix, sys.base_prefix, str(tmp_path), os.path.expanduser("~"), os.getcwd()}
    for file in folder.rglob("*"):
        if file.suffix in ("", ".json", ".md", ".cu", ".h") and file.is_file():
            content = file.read_bytes()
            assert not [path for path in known if len(path) > 1 and path.encode() in content], file
    cuda_on_cpu.build(folder / "code")
    (folder / "code" / "makefile").write_text("main:\n")
    subprocess.run(["make", "run"], cwd=folder, check=True, capture_output=True)
    expected = Simulation(network, dataset, "runtime", seed=4).run(table)
    recording = load_results(folder)
    pd.testing.assert_frame_equal(recording.spikes, expected.spikes)
    assert len(recording.spikes) > 100


# ---------------------------------------------------------------------- functions, one by one


def library(text, folder, name="library"):
    """Compile the text of CUDA functions as C++, with threads in warps, and load it."""
    source = folder / f"{name}.cpp"
    header = Path(__file__).with_name("cuda_warp.h")
    source.write_text(f'#include "{header}"\n' + text.replace("static inline", 'extern "C"'))
    subprocess.run(
        ["g++", "-O2", "-std=c++17", "-w", "-shared", "-fPIC", "-pthread", source.name,
         "-o", f"{name}.so"],
        cwd=folder, check=True,
    )
    return ctypes.CDLL(str(folder / f"{name}.so"))


def cuda_text(function):
    assert isinstance(function, Function)
    return function.implementations._implementations["cuda"].get_code(None)


@needs_compiler
def test_hash_is_that_of_numpy(tmp_path):
    text = re.sub(r"__host__ __device__", "", cuda_text(hash_uniform))
    generator = np.random.default_rng(3)
    words = generator.integers(-(2**31), 2**31, size=(1000, 3), dtype=np.int32)
    words[:3] = [[0, 0, 0], [2**31 - 1] * 3, [-(2**31)] * 3]

    def values(code, name):
        function = library(code, tmp_path, name).hash_uniform
        function.restype = ctypes.c_double
        return np.array([function(*map(int, row)) for row in words])

    np.testing.assert_array_equal(values(text, "right"), uniform(*words.T))
    wrong = text.replace("h >> 15", "h >> 14", 1)
    assert (values(wrong, "wrong") != uniform(*words.T)).mean() > 0.9


def some_connected(name):
    """Ranges of targets of every cell, some empty, all others elsewhere; the top all to all."""
    sizes = {"W0": (37, 150), "W1": (150, 19), "Theta0": (150, 37), "Theta1": (19, 150)}
    if name not in sizes:
        return None
    return np.random.default_rng(len(name)).integers(0, 3, sizes[name]) == 0


@pytest.fixture(
    scope="module",
    params=[("float32", None), ("float64", None), ("float32", some_connected)],
    ids=["float32", "float64", "ranges"],
)
def cohort(request):
    """Random weights, spikes and errors of three replicas; the arrays of each function.

    Populations begin and end within warps; some have more cells than a warp looks at at a time.
    """
    real, connected = request.param
    layout = Layout((37, 150, 19, 4), replicas=3, **({"connected": connected} if connected else {}))
    generator = np.random.default_rng(1)
    integers = {
        name: np.zeros(n, np.int32)
        for name, n in (
            ("target_start", layout.n_cells), ("target_stop", layout.n_cells),
            ("first_synapse", layout.n_cells), ("source_start", layout.n_cells),
            ("source_stop", layout.n_cells),
        )
    }
    projections = [p for p in layout.projections if p.synapses == "cortical_basal"]
    for p in projections:
        integers["target_start"][p.source.cells] = p.target.start + p.targets[:, 0]
        integers["target_stop"][p.source.cells] = p.target.start + p.targets[:, 1]
        integers["first_synapse"][p.source.cells] = p.first_synapses
        integers["source_start"][p.target.cells] = p.source.start + p.sources[:, 0]
        integers["source_stop"][p.target.cells] = p.source.start + p.sources[:, 1]
    n = layout.n_cells
    floats = {
        "w": generator.normal(size=max(p.synapse_slice.stop for p in projections)),
        "w_max": np.array([1.5]),
        "emit": generator.integers(0, 3, n),
        "r_learn": generator.integers(0, 3, n) / 4,
        "teach": generator.normal(size=n) * generator.integers(0, 2, n),
    }
    floats = {name: value.astype(real) for name, value in floats.items()}
    return projections, integers | floats, real


def called(text, name, arrays, folder, real, apart=0):
    """What a dense function returns for every cell; it may write into the arrays.

    `apart` has a bit for each thread of a warp that runs apart from the others.
    """
    kind = {"float32": "float", "float64": "double"}[real]
    at = "0" if len(arrays["w_max"]) == 1 else "at"  # as DenseProjection
    code = text.replace("@NAME@", name).replace("@REAL@", kind).replace("@AT@", at)
    given = [arrays[a] for a in dense._CUDA_ARRAYS[name]]
    types = ["int32_t" if a.dtype == np.int32 else kind for a in given]
    pointers = ", ".join(f"({of}*)arrays[{k}]" for k, of in enumerate(types))
    code += f"""
    static inline void all(int n, unsigned apart, {kind}* out, void** arrays)
    {{
        in_blocks(n, apart, [&](int i) {{ out[i] = {name}(i, {pointers}); }});
    }}
    """
    out = np.full(len(arrays["teach"]), np.nan, dtype=real)
    addresses = (ctypes.c_void_p * len(given))(*(a.ctypes.data for a in given))
    library(code, folder, f"{name}-{real}-{abs(hash(code))}").all(
        len(out), ctypes.c_uint32(apart), ctypes.c_void_p(out.ctypes.data), addresses
    )
    return out


def right_code(code, projections):
    """What `DenseProjection` takes where ranges differ, and where all cells reach all."""
    return dense.BANDED_CUDA[code] if any(p.banded for p in projections) else code


#: Threads of a warp that run together, and two parts of a warp, with gaps.
APART = (0, 0x0F0FF0F3)


def driven(projections, arrays):
    """Sum of the weights of the cells that fired, for every cell."""
    expected = np.zeros(len(arrays["teach"]))
    for p in projections:
        weights = p.matrix(arrays["w"])
        expected[p.target.cells] = weights[arrays["emit"][p.source.cells] > 0].sum(axis=0)
    return expected


@needs_compiler
def test_drive_is_a_sum_of_the_weights_of_cells_that_fired(cohort, tmp_path):
    projections, arrays, real = cohort
    expected = driven(projections, arrays)
    tolerance = 1e-5 if real == "float32" else 1e-12
    code = right_code(dense.DRIVE_CUDA, projections)
    for apart in APART:
        drive = called(code, "drive", arrays, tmp_path, real, apart)
        np.testing.assert_allclose(drive, expected, atol=tolerance)
    planted = re.sub(r"\(i - (target_start\[\w+\])\)", r"(i - \1 + 1)", code)
    assert planted != code
    arrays = arrays | {"w": np.append(arrays["w"], arrays["w"][:1])}
    wrong = called(planted, "drive", arrays, tmp_path, real)
    assert np.abs(wrong - expected).max() > 0.1


@needs_compiler
@pytest.mark.parametrize(
    "right, wrong, apart",
    [
        ("threadIdx.x - threadIdx.x % warpSize + ", "", APART[0]),  # one list for all warps
        ("from_first & (from_first + 1)", "false", APART[1]),  # gaps in a group
    ],
)
def test_planted_faults_of_warps_are_found(cohort, tmp_path, right, wrong, apart):
    projections, arrays, real = cohort
    if any(p.banded for p in projections):
        pytest.skip("each thread by itself")
    assert right in dense.DRIVE_CUDA
    expected = driven(projections, arrays)
    arrays = arrays | {"w": np.append(arrays["w"], np.zeros(10**5, real))}  # wrong rows end there
    drive = called(dense.DRIVE_CUDA.replace(right, wrong), "drive", arrays, tmp_path, real, apart)
    assert np.abs(drive - expected).max() > 0.1


@needs_compiler
@pytest.mark.parametrize("fields", [False, True])
def test_update_is_the_learning_rule(cohort, fields, tmp_path):
    """With one bound for all weights, and with a bound for each, 0 where there is no synapse."""
    projections, arrays, real = cohort
    arrays = {name: value.copy() for name, value in arrays.items()}
    expected, changed = arrays["w"].copy(), np.zeros(len(arrays["teach"]))
    if fields:
        there = np.random.default_rng(2).integers(0, 2, len(arrays["w"]))
        arrays["w_max"] = (1.5 * there).astype(real)
        arrays["w"] *= there
        expected *= there
    bounds = np.broadcast_to(arrays["w_max"], expected.shape)
    for p in projections:
        r, error = arrays["r_learn"][p.source.cells], arrays["teach"][p.target.cells]
        w, most = p.matrix(expected), p.matrix(bounds)
        touched = np.outer(r != 0, error != 0) & p.stored
        after = np.where(touched, np.clip(w + np.outer(r, error), -most, most), w)
        expected[p.synapse_slice] = p.of_synapses(after)
        changed[p.target.cells] = touched.sum(axis=0)
    before = arrays["w"].copy()
    code = right_code(dense.UPDATE_CUDA, projections)
    tolerance = 1e-6 if real == "float32" else 1e-12
    for apart in APART:
        arrays["w"][:] = before
        returned = called(code, "update", arrays, tmp_path, real, apart)
        np.testing.assert_allclose(arrays["w"], expected, atol=tolerance)
        np.testing.assert_array_equal(returned, changed)
    assert (np.abs(expected) == 1.5).any() and (expected != before).mean() > 0.1
    assert not fields or not expected[bounds == 0].any()
    arrays["w"][:] = before
    planted = code.replace("value < -bound ? -bound", "value < bound ? value")
    called(planted, "update", arrays, tmp_path, real)
    assert np.abs(arrays["w"] - expected).max() > 0.1


# ---------------------------------------------------------------------- generated statements


def code_of(project):
    """Generated code of each code object, without the number that Brian2 gives a later one."""
    text = (project / "code_objects.cu").read_text()
    found = re.findall(r"^namespace in_(\w+)\n\{(.*?)(?=^namespace in_|\Z)", text, re.M | re.S)
    return {re.sub(r"_\d+$", "", name): code for name, code in found}


def races(project):
    """Statements of synapses that write a cell's variable other than by an atomic operation."""
    write = re.compile(r"^\s*(_ptr_array_\w+\[_(?:pre|post)synaptic_idx\] = .*)$", re.MULTILINE)
    return [line for code in code_of(project).values() for line in write.findall(code)]


def random_numbers(project):
    """Code objects that draw from a generator; creation may, it does once and on the host."""
    return [
        name
        for name, code in code_of(project).items()
        if "synapses_create" not in name
        and re.search(r"_(?:rand|randn|poisson|binomial)\w*\(_vectorisation_idx", code)
    ]


def float_constants(project):
    """Constants in seconds and timed arrays' steps in single precision."""
    text = (project / "code_objects.cu").read_text()
    return re.findall(r"^\s*const double \w+ = .*\d\.?\d*f\b.*;", text, re.MULTILINE)


@needs_brian2cuda
@pytest.mark.parametrize("projection", ["dense", "synapses"])
def test_generated_statements(small_network, projection, tmp_path):
    network = small_network(projection=projection, precision="float32")
    manifest = cuda.generate(network, tmp_path, "9.0")
    code = code_of(tmp_path)
    assert len(code) > 50
    assert races(tmp_path) == [] and random_numbers(tmp_path) == []
    assert float_constants(tmp_path) == []
    atomic = {name for name, text in code.items() if "_brian_atomicAdd(&_ptr" in text}
    needed = {"cortical_apical_pre_codeobject", "relay_pre_codeobject"}
    needed |= {n for n in code if "summed_variable" in n}
    if projection == "synapses":
        needed |= {"cortical_basal_pre_codeobject", "afferent_basal_pre_codeobject"}
    assert needed <= atomic
    assert 15 < manifest["launches"]["kernels_per_step"] < 30
    if projection == "dense":  # those of recorded spikes
        copies = {n: v for n, v in manifest["launches"].items() if n.startswith("copies")}
        assert copies == {"copies_per_step": 2, "copies_per_trial": 0}
    assert sorted(f.name for f in tmp_path.rglob("*.cu")) == ["code_objects.cu", "program.cu"]


@needs_brian2cuda
@pytest.mark.parametrize(
    "statement, found",
    [
        ("I_b_post = clip(I_b_post + w*I_epsc_post, -1*amp, 1*amp)", races),
        ("I_b_post = w*I_epsc_post", races),
        ("I_b_post += w*I_epsc_post*rand()", random_numbers),
    ],
)
def test_planted_statements_are_found(small_network, tmp_path, monkeypatch, statement, found):
    monkeypatch.setattr("bsd.equations._check_drawn", lambda equations: None)
    network = small_network(projection="synapses", equations={"PROPAGATE": statement})
    cuda.generate(network, tmp_path, "9.0")
    assert found(tmp_path)


@needs_brian2cuda
@pytest.mark.parametrize(
    "name, statement",
    [
        ("RECEIVE_APICAL", "I_a_post = clip(I_a_post + apical_post*I_epsc_post, -1*nA, 1*nA)\n"
                           "n_a_post = n_a_post + apical_post"),
        ("RELAY", "relayed_post = clip(relayed_post + gate_post, 0, 1)"),
        ("STORE", "mu = h_a_post\nu_a_post += 0*mu"),
    ],
)
def test_changed_synapses_have_a_program(small_network, tmp_path, name, statement):
    """Those that do more than add have another one, which stays as brian2cuda wrote it."""
    network = small_network(equations={name: statement})
    assert cuda.generate(network, tmp_path, "9.0")["launches"]["copies_per_step"] >= 2


@needs_brian2cuda
def test_planted_float_constants_are_found(small_network, tmp_path, monkeypatch):
    import brian2cuda.device

    kept = brian2cuda.device.replace_floating_point_literals
    assert kept("const double dt = 0.001;") == "const double dt = 0.001f;"
    cuda.generate(small_network(precision="float32"), tmp_path / "right", "9.0")
    assert brian2cuda.device.replace_floating_point_literals is kept
    from contextlib import nullcontext

    monkeypatch.setattr(cuda, "_double_literals", nullcontext)
    cuda.generate(small_network(precision="float32"), tmp_path / "wrong", "9.0")
    assert float_constants(tmp_path / "wrong")


@needs_brian2cuda
def test_code_that_cannot_be_corrected_is_an_error(tmp_path):
    (tmp_path / "main.cu").write_text("int main() {}")
    with pytest.raises(RuntimeError, match="main.cu has .* 0 times"):
        replace_once([tmp_path / "main.cu"], r"\.run\(", "")


# ---------------------------------------------------------------------- compiled by nvcc


def toolkit():
    """Whether CUDA code can be compiled here."""
    try:
        cuda.nvcc()
        cuda.curand_home()
    except InputError:
        return False
    return True


@needs_brian2cuda
@pytest.mark.skipif(not toolkit(), reason="needs nvcc and cuRAND")
def test_nvcc_compiles_and_links(small_network, tmp_path):
    """The whole network; dense projections, voltages, softmax, Poisson, refractory, replicas."""
    base, assignments, _ = STRUCTURES["biophysical-synapses"]
    network = small_network(base, assignments=assignments, replicas=2, precision="float32")
    cuda.generate(network, tmp_path, "9.0")
    done = []
    cuda.make(tmp_path, lambda *progress: done.append(progress))
    assert done == [(1, 3), (2, 3), (3, 3)]
    needed = subprocess.run(
        ["readelf", "-d", "main"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "libcurand" in needed
    if not os.path.exists("/dev/nvidiactl"):
        run = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode != 0 and "cudaSetDevice" in run.stderr


# ---------------------------------------------------------------------- what is missing is named


@pytest.fixture
def nothing_compiled(monkeypatch):
    def never(*_):
        raise AssertionError("something was generated before everything was looked for")

    monkeypatch.setattr(cuda, "generate", never)


@pytest.fixture
def network_and_data(small_network, dataset):
    return small_network(layers=(9, 5, 3)), dataset


def test_missing_brian2cuda(network_and_data, nothing_compiled, monkeypatch):
    monkeypatch.setitem(sys.modules, "brian2cuda", None)
    with pytest.raises(InputError, match=r"bsd-brian2\[cuda\]"):
        Simulation(*network_and_data, "cuda")


@needs_brian2cuda
def test_missing_nvcc(network_and_data, nothing_compiled, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    with pytest.raises(InputError, match="install the CUDA toolkit"):
        Simulation(*network_and_data, "cuda")


@pytest.fixture
def fake_nvcc(monkeypatch, tmp_path):
    """A toolkit of CUDA 13 without cuRAND."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "nvcc"
    script.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "release 13.0, V13.0.88" && exit 0\nexit 1\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.delenv("CURAND_HOME", raising=False)


@needs_brian2cuda
def test_missing_curand(network_and_data, nothing_compiled, monkeypatch, fake_nvcc):
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install nvidia-curand"):
        Simulation(*network_and_data, "cuda")
    monkeypatch.setenv("CURAND_HOME", "/nowhere")
    with pytest.raises(InputError, match="no include/curand.h"):
        Simulation(*network_and_data, "cuda")


@needs_brian2cuda
@pytest.mark.parametrize(
    "driver, says",
    [
        ("raise OSError", "no NVIDIA driver"),
        ("raise SystemExit(3)", "finds no GPU"),
        ("print('9.0 12 NVIDIA X1')", "the NVIDIA driver is for CUDA 12, nvcc of CUDA 13"),
        ("print('6.1 13 NVIDIA X1')", "the NVIDIA X1 has compute capability 6.1, and at least 7.0"),
    ],
)
def test_missing_driver_or_gpu(
    network_and_data, nothing_compiled, monkeypatch, fake_nvcc, tmp_path, driver, says
):
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "curand.h").write_text("")
    monkeypatch.setenv("CURAND_HOME", str(tmp_path))
    monkeypatch.setattr(cuda, "_ASK_DRIVER", driver)
    with pytest.raises(InputError, match=says):
        Simulation(*network_and_data, "cuda")


@needs_compiler
@pytest.mark.parametrize("count, driver", [(1, 13000), (0, 13000), (1, 12090)])
def test_driver_is_asked(monkeypatch, fake_nvcc, tmp_path, count, driver):
    """A driver of one GPU of compute capability 9.0, or of none, or too old."""
    source = tmp_path / "driver.cpp"
    source.write_text(f"""
        #include <cstdio>
        extern "C" int cuInit(unsigned) {{ return 0; }}
        extern "C" int cuDeviceGetCount(int *n) {{ *n = {count}; return 0; }}
        extern "C" int cuDriverGetVersion(int *n) {{ *n = {driver}; return 0; }}
        extern "C" int cuDeviceGetAttribute(int *n, int what, int device)
        {{
            *n = what == 75 ? 9 : 0;
            return what != 75 && what != 76 || device != 0;
        }}
        extern "C" int cuDeviceGetName(char *name, int size, int device)
        {{
            snprintf(name, size, "NVIDIA X1");
            return device != 0;
        }}
    """)
    subprocess.run(["g++", "-shared", "-fPIC", source, "-o", tmp_path / "libcuda.so.1"], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    if count and driver == 13000:
        assert cuda.gpu() == ("9.0", "NVIDIA X1")
    else:
        with pytest.raises(InputError, match="finds no GPU" if not count else "CUDA 12"):
            cuda.gpu()


def test_compute_capability_is_checked(small_network, dataset, trial_table, tmp_path):
    for text in ("90", "sm_90", "6.1", ""):
        with pytest.raises(InputError, match="9.0"):
            export_cuda(small_network(), dataset, trial_table(3), tmp_path / "out", text)
    assert not (tmp_path / "out").exists()

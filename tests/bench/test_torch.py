"""The PyTorch baselines: which Python runs them, and whether they do what they say."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from brian2 import kHz, ms, mV, nS

from bsd.equations import DISCRETE, InputError
from bsd.networks import BidirectionalNetwork
from bsd.runs.bench import torch_process
from bsd.runs.bench.torch_process import (
    TorchProcess,
    find_torch_python,
    network_constants,
    write_data,
)

METHODS = ("bp", "batch_bsd", "feedback_alignment", "frozen", "streaming")
RUNNING = sys.executable


def interpreter(path, code):
    """A program that ends with an exit code, whatever it is asked to run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No Python with PyTorch anywhere."""
    monkeypatch.setattr(sys, "executable", interpreter(tmp_path / "own", 1))
    monkeypatch.setattr(torch_process, "_SCRIPT", tmp_path / "runs" / "bench" / "script.py")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.delenv("BSD_TORCH_PYTHON", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_torch_there_is_none(nowhere):
    assert find_torch_python() is None


@pytest.mark.skipif(find_spec("torch") is not None, reason="the running Python has PyTorch")
def test_a_folder_of_that_name_is_not_torch(nowhere, monkeypatch):
    monkeypatch.setattr(sys, "executable", RUNNING)
    (nowhere / "torch").mkdir()
    found = subprocess.run([RUNNING, "-c", "import torch"], cwd=nowhere, check=False)
    assert found.returncode == 0  # an empty package
    assert find_torch_python() is None


@pytest.mark.parametrize(
    "place", [".venv-torch/bin/python", "path/python3.12", "pyenv/versions/3.11.9/bin/python"]
)
def test_torch_is_found(place, nowhere):
    found = find_torch_python() or interpreter(nowhere / place, 0)
    assert find_torch_python() in (found, nowhere.joinpath(place).name)


def test_a_named_python_comes_first(nowhere, monkeypatch):
    interpreter(nowhere / ".venv-torch" / "bin" / "python", 0)
    named = interpreter(nowhere / "named", 0)
    monkeypatch.setenv("BSD_TORCH_PYTHON", named)
    assert find_torch_python() == named
    monkeypatch.setattr(sys, "executable", interpreter(nowhere / "running", 0))
    assert find_torch_python() == sys.executable


def test_a_named_python_without_torch_is_refused(nowhere, monkeypatch):
    monkeypatch.setenv("BSD_TORCH_PYTHON", interpreter(nowhere / "named", 1))
    with pytest.raises(InputError, match="BSD_TORCH_PYTHON"):
        find_torch_python()


def test_constants_are_those_of_the_discrete_set():
    constants = network_constants(BidirectionalNetwork([9, 8, 3], DISCRETE))
    assert constants["leak"] == pytest.approx(0.5)
    assert constants["threshold"] == pytest.approx(0.6)
    assert constants["layers"] == [9, 8, 3]
    assert constants["steps"] == 10


@pytest.mark.parametrize("key, value", [
    ("cell.tau_synapse", 5 * ms), ("cell.refractory", 2 * ms), ("cell.g_apical", 1 * nS),
    ("cell.V_reset", -65 * mV), ("encoding.kind", "poisson"), ("timing.f_max", 0.5 * kHz),
])
def test_what_the_baselines_lack_is_refused(key, value):
    network = BidirectionalNetwork([9, 8, 3], DISCRETE.updated({key: value}))
    with pytest.raises(InputError, match=key):
        network_constants(network)


@pytest.fixture(scope="module")
def request_(dataset, tmp_path_factory):
    data = tmp_path_factory.mktemp("torch") / "data.npz"
    network = BidirectionalNetwork([9, 40, 40, 3], DISCRETE)
    write_data(dataset, network, data)
    return {"data": str(data), "network": network_constants(network), "seed": 0}


@pytest.fixture(scope="module")
def baselines(torch_python):
    with TorchProcess(torch_python) as process:
        yield process


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(method, baselines, request_):
    said = []
    disturbances = [["noise", 0.0], ["occlusion", 1.0], ["loss", 1.0], ["weight_noise", 20.0]]
    result = baselines.ask(
        {
            **request_, "task": "train", "method": method, "learning_rate": 1e-2, "epochs": 40,
            "shift": 0, "perturbations": disturbances,
        },
        said.append,
    )
    assert len(said) == len(result["test_accuracy"]) == 40
    assert result["test_accuracy"][-1] > 0.8  # chance is 1/3
    perturbed = {kind: right for kind, _, right in result["perturbed"]}
    assert perturbed["noise"] > 0.8
    assert perturbed["occlusion"] < 0.5 and perturbed["loss"] == 0
    assert perturbed["weight_noise"] < 0.8
    assert result["test_accuracy_drive"][-1] > 0.8


def test_search_takes_the_best_rate(baselines, request_):
    result = baselines.ask(
        {
            **request_, "task": "search", "method": "bp", "grid": [1e-7, 1e-2], "epochs": 20,
            "shift": 1, "validation": 6,
        }
    )
    found = result["validation_accuracy"]
    assert result["learning_rate"] == float(max(found, key=found.get))


@pytest.mark.parametrize("method", ["streaming", "batch_bsd", "bp"])
def test_speed_is_measured(method, baselines, request_):
    answer = baselines.ask({**request_, "task": "speed", "method": method, "trials": 5})
    assert answer["ms_per_trial"] > 0


def test_an_asymmetric_loss_recalls_brighter(baselines, dataset, tmp_path):
    """And is the same loss without the asymmetry."""
    code = {"encoding.autoencoder": True, "encoding.cells_per_concept": 1}

    def reconstructed(method, asymmetry):
        network = BidirectionalNetwork(
            [9, 40, 4], DISCRETE.updated({**code, "learning.bottom_asymmetry": asymmetry})
        )
        data = tmp_path / f"{method} {asymmetry}"
        write_data(dataset, network, f"{data}.npz")
        baselines.ask({
            "data": f"{data}.npz", "network": network_constants(network), "seed": 0,
            "task": "train", "method": method, "learning_rate": 1e-2, "epochs": 20, "shift": 0,
            "generated": str(tmp_path), "fitted": 20,
        })
        with np.load(tmp_path / f"{method}.npz") as arrays:
            return arrays["reconstructed"]

    plain, brighter = (reconstructed(m, 0.8) for m in ("bp", "bp_asymmetric"))
    assert brighter.mean() > 1.05 * plain.mean()
    np.testing.assert_array_equal(reconstructed("bp_asymmetric", 0.0), plain)


def test_a_failure_is_said(torch_python, request_):
    with TorchProcess(torch_python) as process:
        with pytest.raises(RuntimeError, match="KeyError"):
            process.ask({"task": "train"})


def test_threads_that_wait_are_let_go(tmp_path):
    """Such as those of a benchmark that is interrupted."""
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\necho '{\"torch\": \"0\"}'\nexec sleep 600\n")
    slow.chmod(0o755)
    with TorchProcess(str(slow)) as process, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(process.ask, {"task": "train"})
        assert not waiting.done()
        torch_process.end_all()
        with pytest.raises(RuntimeError, match="ended: killed"):
            waiting.result(timeout=60)


FIELDS = """
import json, sys
import torch
sys.path.insert(0, sys.argv[1])
import torch_baselines as baselines
request = json.loads(sys.argv[2])
server = baselines.Server(print)
(images, labels), _, connected = server.data(request["data"])
for method in ("bp", "batch_bsd", "feedback_alignment", "frozen"):
    network = baselines.make(method, request["network"], 0, connected, 1e-2)
    first = [w.detach().clone() for w in network.forward_weights[:2]]
    for _ in range(3):
        network.learn(images.flatten(1), labels)
    for before, w, there in zip(first, network.forward_weights, connected):
        learned = (w != before)[there].any().item()
        print(method, w[~there].abs().max().item(), learned, before[there].std().item())
"""


def test_receptive_fields_hold_for_every_method(torch_python, dataset, tmp_path):
    changes = {"encoding.receptive_field": 1, "encoding.deep_field": 2, "encoding.contrast": 2.0}
    parameters = DISCRETE.updated({**changes, "learning.init_gain": 1.0})
    network = BidirectionalNetwork([9, 200, 200, 3], parameters)
    fan_in = [network.connectivity(network.layout.projection(f"W{i}")).sum(axis=0) for i in (0, 1)]
    assert np.all(fan_in[0] == 3) and np.all(np.abs(fan_in[1] - 200 * 4 / 9) < 20)
    write_data(dataset, network, tmp_path / "data.npz")
    request = {"data": str(tmp_path / "data.npz"), "network": network_constants(network)}
    run = subprocess.run(
        [torch_python, "-c", FIELDS, str(torch_process._SCRIPT.parent), json.dumps(request)],
        check=True, capture_output=True, text=True,
    )
    for number, line in enumerate(run.stdout.splitlines()):
        method, outside, learned, sd = line.split()
        assert float(outside) == 0
        assert (learned == "True") == (method != "frozen")
        assert float(sd) == pytest.approx(1 / np.sqrt(fan_in[number % 2].mean()), rel=0.1)
    assert number == 7


STREAM = """
import sys
import numpy as np, torch
sys.path.insert(0, sys.argv[1])
import torch_baselines as baselines
case = np.load(sys.argv[2], allow_pickle=False)
import json
network = baselines.Streaming(json.loads(str(case["constants"])), 0, [])
for side, name in (("forward_weights", "W"), ("backward_weights", "Theta")):
    weights = getattr(network, side)
    for i in range(len(weights)):
        weights[i] = torch.from_numpy(case[f"{name}{i}"].astype("float32"))
counts = [
    network.trial(torch.from_numpy(s), torch.from_numpy(c)).numpy()
    for s, c in zip(case["stimulus"], case["concept"])
]
np.savez(sys.argv[3], counts=counts,
         **{f"W{i}": w.numpy() for i, w in enumerate(network.forward_weights)},
         **{f"Theta{i}": w.numpy() for i, w in enumerate(network.backward_weights)})
"""


def test_streaming_in_torch_is_the_rule_of_the_network(
    torch_python, watched, firing, trial_table, tmp_path
):
    """The same spikes in, the same output spikes and weights after eight trials."""
    table = trial_table(8)
    before = firing().weights()
    simulation, recording, _, outputs = watched(table)
    network = simulation.network
    steps = network.parameters.timing.steps
    rasters = {}
    for population in network.layout.afferents:
        raster = np.zeros((len(table), steps, population.size), dtype=np.float32)
        own = recording.spikes[recording.spikes["population"] == population.name]
        raster[own["trial"], np.rint(own["t_ms"]).astype(int), own["cell"]] = 1
        rasters[population.name] = raster
    case, answer = tmp_path / "case.npz", tmp_path / "answer.npz"
    np.savez(
        case, constants=json.dumps(network_constants(network)), stimulus=rasters["S"],
        concept=rasters["C"], **before,
    )
    subprocess.run(
        [torch_python, "-c", STREAM, str(torch_process._SCRIPT.parent), str(case), str(answer)],
        check=True,
    )
    theirs = np.load(answer)
    top = network.layout.population(f"F{network.layout.depth + 1}")
    np.testing.assert_allclose(theirs["counts"], outputs["trial_cells.n_s"][:, top.cells])
    for name, ours in simulation.weights().items():
        change = np.linalg.norm(ours - before[name])
        assert change > 1e-3
        assert np.linalg.norm(theirs[name] - ours) < 1e-4 * change, name

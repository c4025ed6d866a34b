"""A network that was measured, and a Python with PyTorch where there is one."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def firing(small_network, dataset):
    """A simulation on the runtime device in which every population fires."""
    from bsd.runs.engine import Simulation

    def make(**options):
        simulation = Simulation(small_network(**options), dataset, "runtime", seed=3)
        generator = np.random.default_rng(5)
        state = dict(simulation.state)
        for name in ("afferent_basal.w", "cortical_basal.w"):
            state[name] = generator.normal(0.15, 0.5, size=np.shape(state[name]))
        simulation.restore(state)
        return simulation

    return make


@pytest.fixture(scope="session")
def watched(firing):
    """Function that runs a table; returns network, inputs and outputs of the simulator."""

    def run(table, **options):
        simulation = firing(**options)
        seen = {}
        simulate = simulation.simulator.run

        def spy(inputs, n_trials, progress=None):
            outputs = simulate(inputs, n_trials, progress)
            seen.update(inputs={k: np.copy(v) for k, v in inputs.items()}, outputs=dict(outputs))
            return outputs

        simulation.simulator.run = spy
        recording = simulation.run(table)
        return simulation, recording, seen["inputs"], seen["outputs"]

    return run


@pytest.fixture(scope="session")
def speed_frame(compiled_networks):
    """A small network that was measured without PyTorch, compiled into the tests' cache."""
    import contextlib

    from bsd.runs.bench import speed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "_empty_cache", contextlib.nullcontext)
        return speed.measure_speed([speed.Case((9, 8, 8, 3))], n_trials=20, rounds=2)


@pytest.fixture(scope="session")
def torch_python():
    """A Python with PyTorch; tests that need one are skipped where there is none."""
    from bsd.runs.bench.torch_process import find_torch_python

    python = find_torch_python()
    if python is None:
        pytest.skip("no Python with PyTorch")
    return python


@pytest.fixture
def answers_as_torch(monkeypatch):
    """Function that puts ``answer(request)`` in the place of the process with PyTorch."""

    def replace(module, answer):
        class Torch:
            def __init__(self, python):
                pass

            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

            def ask(self, request, count):
                return answer(request)

        monkeypatch.setattr(module, "TorchProcess", Torch)

    return replace


@pytest.fixture
def command_without_torch(monkeypatch, bsd, tmp_path):
    """Function that gives what `bsd bench NAME` says of a frame that it does not measure itself.

    There is no PyTorch; options reach what would measure, and the files are those of every
    comparison.
    """
    from bsd.runs.bench import torch_process

    def run(module, name, frame):
        asked = {}

        def measure(chosen, seeds, save, **options):
            asked.update(chosen=chosen, seeds=seeds, **options)
            save(frame)
            return frame

        monkeypatch.setattr(module, f"measure_{name}", measure)
        monkeypatch.setattr(torch_process, "find_torch_python", lambda: None)
        code, out, err = bsd(
            "bench", name, "--data", "digits", "--layers", "8,9", "--epochs", 3, "--seeds", "0,1",
            "--train", 50, "--json", "--out", tmp_path,
        )
        assert code == 0, err
        assert "make torch" in err
        names = {f"{name}.csv", f"{name}.json", f"{name}.png", "settings.json"}
        assert {f.name for f in tmp_path.iterdir()} == names
        assert asked["chosen"].hidden == (8, 9) and asked["chosen"].epochs == 3
        assert asked["seeds"] == [0, 1] and asked["n_train"] == 50
        return json.loads(out.splitlines()[-1])

    return run

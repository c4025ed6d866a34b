"""The recurrent baseline in PyTorch, and its comparison with the streaming rule."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from bsd.runs.bench.torch_process import TorchProcess, network_constants, write_sequence
from bsd.runs.experiments import experiment
from bsd.runs.experiments.run import build_network, load_data


@pytest.fixture(scope="module")
def baselines(torch_python):
    with TorchProcess(torch_python) as process:
        yield process


def request(chosen, folder, **more):
    """A request for the sequence task, with all that it needs."""
    dataset = load_data(chosen, 0)
    options = chosen.options | {"evaluate": "validation"}
    validation = load_data(dataclasses.replace(chosen, options=options), 0)
    network = build_network(chosen, dataset)
    write_sequence(dataset, validation, network, folder / "data.npz")
    return {
        "task": "sequence",
        "data": str(folder / "data.npz"),
        "network": network_constants(network),
        "seed": 0,
        "segment": chosen.segment,
        "learning_rate": 1e-2,
        "part": "test",
        **more,
    }


@pytest.fixture
def text(tmp_path):
    """After an a come b and c in turn: only the symbol before it tells which."""
    (tmp_path / "abac.txt").write_text("abac" * 600)
    chosen = experiment("text").changed(
        hidden=(60,), assignments={"data.path": str(tmp_path / "abac.txt")}
    )
    return dataclasses.replace(chosen, segment=12)


def test_backpropagation_learns_what_only_context_tells(baselines, text, tmp_path):
    asked = request(text, tmp_path, loss="symbol", epochs=10)
    # without context one symbol in four would be wrong at best
    assert baselines.ask(asked)["error"][-1] < 0.05


@pytest.mark.parametrize("loss", ["value", "code"])
def test_backpropagation_forecasts(baselines, tmp_path, loss):
    elements = np.arange(1500)
    noise = 0.3 * np.random.default_rng(1).standard_normal(len(elements))
    pd.DataFrame({"wave": np.sin(2 * np.pi * elements / 8) + noise}).to_csv(
        tmp_path / "wave.csv", index=False
    )
    chosen = experiment("forecast").changed(
        hidden=(40,),
        assignments={
            "data.path": str(tmp_path / "wave.csv"), "data.season": 8, "data.horizon": 3
        },
    )
    targets = load_data(chosen, 0).targets
    variance = ((targets["mean"] - targets["actual"]) ** 2).mean()
    error = baselines.ask(request(chosen, tmp_path, loss=loss, epochs=10))["error"][-1]
    assert error < 0.6 * variance

"""`bsd bench generation`: what is compared, and the numbers that come out."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from bsd.runs.bench import generation, torch_process
from bsd.runs.bench.learning import GRID
from bsd.runs.data import load
from bsd.runs.experiments import experiment
from bsd.runs.experiments import run as run_module


def rows(**distances):
    return pd.DataFrame(
        [
            {"method": method, "seed": seed, "mse": 0.03, "ssim": 0.6, "learning_rate": np.nan,
             "frechet_reconstructed": distance, "frechet_sampled": distance + seed,
             "classifier_accuracy": 0.9}
            for method, distance in distances.items() for seed in (0, 2)
        ]
    )


def test_ratios_are_ours_over_backpropagation():
    found = generation.summarise_generation(rows(streaming=3.0, bp=2.0, bp_asymmetric=1.0))
    ratios = found["ratio_reconstructed"]
    assert ratios["bp"] == {"streaming": pytest.approx(1.5)}
    assert ratios["bp_asymmetric"] == {"streaming": pytest.approx(3)}
    assert found["ratio_sampled"]["bp"] == {"streaming": pytest.approx(4 / 3)}
    assert found["seeds"] == [0, 2] and found["mse"]["bp"] == pytest.approx(0.03)


def test_rows_without_a_distance_have_no_ratio():
    """Such as remain of a comparison that was begun without PyTorch."""
    found = generation.summarise_generation(rows(streaming=np.nan, bp=2.0))
    assert found["ratio_reconstructed"] == {"bp": {}}


@pytest.mark.parametrize("asymmetry, n", [(0.0, 1), (0.3, 2)])
def test_an_asymmetry_has_a_baseline_of_its_own(monkeypatch, asymmetry, n):
    asked = {}

    def train(chosen, seeds, own, baselines, **options):
        asked["methods"] = baselines[0]
        return rows(streaming=3.0)

    monkeypatch.setattr(generation, "train_all", train)
    changes = {"learning.bottom_asymmetry": asymmetry}
    generation.measure_generation(experiment("autoencoder5k").changed(assignments=changes), [0])
    assert asked["methods"] == generation.BASELINES[:n]


@pytest.mark.parametrize("cutoff, second", [(0.0, generation.CUTOFF), (0.2, 0.2)])
def test_the_baselines_see_the_image_alone(monkeypatch, cutoff, second):
    asked = {}

    def train(chosen, seeds, own, baselines, **options):
        asked.update(chosen=chosen, own=own[0])
        return rows(streaming=3.0)

    monkeypatch.setattr(generation, "train_all", train)
    chosen = experiment("autoencoder5k").changed(assignments={"encoding.cutoff": cutoff})
    generation.measure_generation(chosen, [0])
    assert asked["chosen"].parameters.encoding.cutoff == 0
    assert [own["encoding.cutoff"] for own in asked["own"].values()] == [0, second]


def test_what_the_baseline_cannot_do_is_refused(bsd, tmp_path):
    for change in ("encoding.contrast=2", "encoding.context=1", "encoding.receptive_field=7"):
        code, _, err = bsd("bench", "generation", "--set", change, "--out", tmp_path / "x")
        assert code == 2 and change.split("=")[0] in err
    code, _, err = bsd("bench", "learning", "--data", "autoencoder5k", "--out", tmp_path / "x")
    assert code == 2 and "bsd bench generation" in err


def test_command_without_torch(monkeypatch, bsd, tmp_path):
    asked = {}
    without = rows(streaming=3.0)[["method", "seed", "mse", "ssim", "learning_rate"]]

    def measure(chosen, seeds, save, **options):
        asked.update(chosen=chosen, seeds=seeds, **options)
        return without

    monkeypatch.setattr(generation, "measure_generation", measure)
    monkeypatch.setattr(torch_process, "find_torch_python", lambda: None)
    code, out, err = bsd(
        "bench", "generation", "--train", 50, "--layers", "20,6", "--seeds", "0,2",
        "--out", tmp_path, "--json",
    )
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    assert found["ssim"] == {"streaming": pytest.approx(0.6)}
    assert found["ratio_sampled"] == {} and "mean squared error and SSIM only" in err
    assert asked["chosen"].hidden == (20, 6) and asked["n_train"] == 50
    assert (tmp_path / "generation.png").exists() and (tmp_path / "generation.csv").exists()


def test_classification_is_refused(bsd, tmp_path):
    code, _, err = bsd("bench", "generation", "--data", "digits", "--out", tmp_path / "x")
    assert code == 2 and "is no autoencoder" in err


@pytest.mark.slow
def test_all_methods_on_small_images(torch_python, monkeypatch):
    """Everything that is promised is measured; compiles two small networks."""
    digits = load("digits")
    few = {name: getattr(digits, name)[:60] for name in ("x_train", "y_train", "x_test", "y_test")}
    dataset = dataclasses.replace(digits, **few)
    for module in (run_module, generation):
        monkeypatch.setattr(module, "load_data", lambda *_: dataset)
    monkeypatch.setattr("bsd.runs.bench.learning.load_data", lambda *_: dataset)
    asymmetric = {"learning.bottom_asymmetry": 0.3}
    chosen = experiment("autoencoder").changed(
        hidden=(12, 5), epochs=1, assignments=asymmetric
    )
    found = generation.measure_generation(chosen, [1], torch_python=torch_python)
    methods = [*generation.OWN, *generation.BASELINES]
    assert list(found["method"]) == [*methods, "training images"]
    known = found.set_index("method")
    assert known.loc["bp", "learning_rate"] in GRID
    measures = known[["frechet_reconstructed", "frechet_sampled"]]
    assert np.isfinite(measures.to_numpy()).all() and (measures.to_numpy() >= 0).all()
    assert np.isfinite(known.loc[methods, ["mse", "ssim"]].to_numpy()).all()

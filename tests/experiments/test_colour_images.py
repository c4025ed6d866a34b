"""Colour images from their official files to a report, on small files made here."""

import json

import numpy as np
import pytest
import scipy.io

from bsd.analysis.report import write_report
from bsd.runs.data.files import CIFAR_FILES, SVHN_FILES
from bsd.runs.experiments import experiment, run_experiment

RNG = np.random.default_rng(3)


def write_cifar(folder):
    """Two images in each batch, each with a label and the planes of its colours."""
    for file in [*CIFAR_FILES["train"], *CIFAR_FILES["test"]]:
        rows = RNG.integers(0, 256, (2, 3073), dtype=np.uint8)
        rows[:, 0] = [1, 6]
        (folder / file).write_bytes(rows.tobytes())


def write_svhn(folder):
    """Ten training images and two test images."""
    for part, n in (("train", 10), ("test", 2)):
        arrays = {
            "X": RNG.integers(0, 256, (32, 32, 3, n), dtype=np.uint8),
            "y": np.resize(np.uint8([1, 10]), (n, 1)),
        }
        scipy.io.savemat(folder / SVHN_FILES[part], arrays)


@pytest.mark.parametrize(("name", "write"), [("cifar10", write_cifar), ("svhn", write_svhn)])
def test_colour_images_train_and_are_drawn(name, write, monkeypatch, tmp_path):
    monkeypatch.setenv("BSD_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / name).mkdir(parents=True)
    write(tmp_path / "data" / name)
    chosen = experiment(name).changed(
        hidden=(60, 20), epochs=1,
        assignments={"encoding.deep_field": 12, "encoding.cells_per_concept": 2},
    )
    out = tmp_path / "out"
    metrics = run_experiment(chosen, out, device="runtime")
    assert metrics["layers"] == [3072, 60, 20, 20] and 0 <= metrics["accuracy"] <= 1
    with np.load(out / "weights.npz") as weights:
        w = weights["W0"].reshape(32, 32, 9, 60)
    seen = w != 0  # red, green and blue, and their ON and OFF cells
    assert np.all(seen == seen[:, :, :1]) and np.all(seen[:, :, 0].sum(axis=(0, 1)) == 49)
    with np.load(out / "recall.npz") as recall:
        assert recall["image_shape"].tolist() == [32, 32, 3]
        assert recall["recalled"].shape == recall["class_mean"].shape == (10, 3072)
    assert json.loads((out / "metrics.json").read_text())["trials"] > 10
    write_report(out)
    assert list((out / "figures").glob("*recall*"))

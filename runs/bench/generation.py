"""What an autoencoder generates, beside backpropagation through the same layers."""

import dataclasses
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from bsd.analysis.generation import frechet_distance
from bsd.analysis.perception import image_similarity
from bsd.equations import InputError
from bsd.runs.bench.learning import shuffled, train_all
from bsd.runs.bench.torch_process import TorchProcess, network_constants, write_data
from bsd.runs.experiments.perception.generation import N_FITTED, decode, draw_codes, encode
from bsd.runs.experiments.run import build_network, load_data

__all__ = ["LARGEST_RATIO", "OWN", "measure_generation", "summarise_generation"]

#: The streaming rule with the image alone, and with high frequencies beside it.
OWN = ("streaming", "streaming, two streams")

#: Where the second stream begins if the experiment has none, in cycles per pixel.
CUTOFF = 0.1

#: Backpropagation, and with the asymmetry of ours in its loss.
BASELINES = ("bp", "bp_asymmetric")

#: Training images that the classifier learns from, at most.
N_JUDGE = 20_000

#: About the paper's ratio of its own to backpropagation's distance on MNIST, 72.39 / 49.56 = 1.46.
LARGEST_RATIO = 1.45

MEASURES = ("mse", "ssim", "frechet_reconstructed", "frechet_sampled")


def measure_generation(
    experiment, seeds, *, torch_python=None, n_train=None, finished=None, save=None, progress=None
):
    """Reconstructions and samples of the streaming rule and of backpropagation.

    Layers, epochs and the number of grey levels are those of the experiment for both; the baseline
    has no second stream, and as its spikes take no time from layer to layer, a trial has as many
    steps fewer as there are delays. Its initial weights have the experiment's gains, its learning
    rate is chosen as in `bsd.runs.bench.learning.measure_learning`, by the mean squared error.
    Where the recalled stimulus learns with an asymmetry (`learning.bottom_asymmetry`), a second
    baseline, `bp_asymmetric`, has it in its loss. As many images are sampled as there are test
    stimuli, from codes drawn from a Gaussian fitted to training codes.

    The Fréchet distance to the test stimuli is taken in the last hidden layer of a small
    convolutional classifier, which is trained here on `N_JUDGE` training images (seed 0). It is no
    "FID": that is defined by the features of the Inception network.

    Parameters
    ----------
    experiment : Experiment
        An autoencoder.
    seeds, torch_python, n_train, finished, save, progress
        See `bsd.runs.bench.learning.measure_learning`. Without PyTorch there is neither a baseline
        nor a Fréchet distance.

    Returns
    -------
    DataFrame
        Columns method (with ``training images``, whose Fréchet distance is the least to expect),
        seed, mse, ssim, frechet_reconstructed, frechet_sampled, classifier_accuracy,
        learning_rate.

    Raises
    ------
    InputError
        If the experiment is no autoencoder.
    """
    if not experiment.is_autoencoder:
        raise InputError(
            f"{experiment.name} is no autoencoder: use one, for example autoencoder (`bsd list`)."
        )
    if torch_python and finished is not None:  # without PyTorch no distance was taken
        known = finished.get("frechet_sampled", pd.Series(np.nan, finished.index))
        finished = finished[known.notna()]
    cutoff = experiment.parameters.encoding.cutoff or CUTOFF
    streams = dict(zip(OWN, ({"encoding.cutoff": 0.0}, {"encoding.cutoff": cutoff}), strict=True))
    experiment = experiment.changed(assignments=streams["streaming"])
    complete = shuffled(load_data(experiment, 0))
    network = build_network(experiment, complete)
    with tempfile.TemporaryDirectory(prefix="bsd-") as scratch, ExitStack() as held:
        judge = None
        if torch_python:
            judge = _Judge(torch_python, complete, network, Path(scratch), held)
            judge.train(progress)

        def own(method, seed, dataset, simulation, _):
            n = min(N_FITTED, len(dataset.x_train))
            codes, _ = encode(simulation, np.arange(n), "train")
            _, reconstructed = encode(simulation, np.arange(len(dataset.x_test)))
            sampled = decode(simulation, draw_codes(codes, len(dataset.x_test), seed))
            return _row(method, seed, dataset, reconstructed, sampled, judge)

        def baseline(method, seed, dataset, _, rate):
            with np.load(Path(scratch) / f"{method}.npz") as arrays:
                images = arrays["reconstructed"], arrays["sampled"]
            return _row(method, seed, dataset, *images, judge, rate)

        asymmetric = experiment.parameters.learning.bottom_asymmetry != 0
        baselines = BASELINES if asymmetric else BASELINES[:1]
        constants = None
        if torch_python:
            constants = network_constants(network)
            constants["steps"] -= network.n_delays
        rows = train_all(
            experiment, seeds, (streams, own), (baselines, baseline),
            torch_python=torch_python, n_train=n_train, finished=finished, save=save,
            progress=progress, network=constants, generated=scratch, fitted=N_FITTED,
        )
        if judge:
            rows = pd.concat([rows, judge.reference()], ignore_index=True)
    return rows


class _Judge:
    """Fréchet distances to the test stimuli, in the features of a classifier."""

    def __init__(self, python, dataset, network, folder, held):
        self.dataset, self.folder, self.lock = dataset, folder, threading.Lock()
        learned = dataclasses.replace(
            dataset, x_train=dataset.x_train[:N_JUDGE], y_train=dataset.y_train[:N_JUDGE]
        )
        write_data(learned, network, folder / "judge.npz")
        self.torch = held.enter_context(TorchProcess(python))

    def train(self, progress):
        """Learn from the training set; features of test stimuli."""

        def report(said):
            if progress:
                progress("classifier", "run", said["epoch"], said["epochs"], "")

        self.test = self.features({"test": self.dataset.x_test}, report)["test"]

    def features(self, images, progress=None):
        paths = {name: str(self.folder / f"{name}.npz") for name in ("images", "features")}
        with self.lock:
            np.savez(paths["images"], **images)
            asked = {"task": "features", "data": str(self.folder / "judge.npz"), "seed": 0}
            self.accuracy = self.torch.ask({**asked, **paths}, progress)["accuracy"]
            with np.load(paths["features"]) as arrays:
                return {name: arrays[name] for name in arrays.files}

    def distances(self, **images):
        found = self.features(images)
        return {
            f"frechet_{name}": frechet_distance(own, self.test) for name, own in found.items()
        } | {"classifier_accuracy": self.accuracy}

    def reference(self):
        """Training images in place of generated ones: the least distance to expect."""
        some = self.dataset.x_train[: len(self.dataset.x_test)]
        distance = self.distances(sampled=some)["frechet_sampled"]
        return pd.DataFrame(
            [{"method": "training images", "seed": 0, "frechet_sampled": distance,
              "frechet_reconstructed": distance, "classifier_accuracy": self.accuracy}]
        )


def _row(method, seed, dataset, reconstructed, sampled, judge, learning_rate=np.nan):
    likeness = image_similarity(reconstructed, dataset.x_test)
    row = {
        "method": method,
        "seed": seed,
        "mse": likeness["mse"].mean(),
        "ssim": likeness["ssim"].mean(),
        "learning_rate": learning_rate,
    }
    if judge:
        row |= judge.distances(reconstructed=reconstructed, sampled=sampled)
    return pd.DataFrame([row])


def summarise_generation(rows):
    """Means over seeds, and ours in units of backpropagation's.

    Parameters
    ----------
    rows : DataFrame
        From `measure_generation`.

    Returns
    -------
    dict
        Each measure by method; ``ratio_reconstructed`` and ``ratio_sampled``, Fréchet distance of
        ours over that of each baseline, by baseline and method, empty without PyTorch;
        ``classifier_accuracy``.
    """
    names = [name for name in MEASURES if name in rows]
    means = rows.groupby("method", sort=False)[names].mean()
    found = {
        name: {m: None if np.isnan(v) else float(v) for m, v in means[name].items()}
        for name in names
    }
    for kind in ("reconstructed", "sampled"):
        distance = found.get(f"frechet_{kind}", {})
        ours = {m: v for m, v in distance.items() if m in OWN and v is not None}
        found[f"ratio_{kind}"] = {
            baseline: {m: v / distance[baseline] for m, v in ours.items()}
            for baseline in BASELINES if distance.get(baseline)
        }
    if "classifier_accuracy" in rows:
        found["classifier_accuracy"] = float(rows["classifier_accuracy"].mean())
    own = rows[rows["method"] != "training images"]
    return found | {"seeds": sorted(int(seed) for seed in own["seed"].unique())}

"""Recall: each concept drives the backward network, many times, with spikes lost at random."""

import numpy as np
import pandas as pd

from bsd.analysis.perception import image_similarity, nearest_images
from bsd.runs.experiments.metrics import class_means
from bsd.runs.experiments.perception.study import Study, images_of, needs_images
from bsd.runs.trials import join_tables, recall_trials

__all__ = ["LOSSES", "SPIKE_NOISE", "recall", "recall_table", "train_classifier"]

#: Probabilities with which the concept afferents' spikes are lost.
LOSSES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

#: The one at which recall is judged. Afferents that fire in every step become irregular: a fifth of
#: their spikes fail, others in each instance.
SPIKE_NOISE = 0.2

#: Training images that the independent classifier learns from, and test images that judge it.
N_CLASSIFIER, N_JUDGED = 15_000, 1000

#: Instances of each concept whose images are kept.
N_SHOWN = 4


def recall_table(n_concepts, instances=20, losses=LOSSES):
    """Every concept alone, so many instances of it for each probability of losing a spike.

    Returns
    -------
    DataFrame
    """
    tables = [recall_trials(n_concepts, instances=instances).assign(loss=p) for p in losses]
    return join_tables(tables).assign(record=False)


def train_classifier(dataset):
    """A classifier of images that has nothing to do with the network.

    A support vector machine with a radial kernel, on images scaled to unit length (what is
    recalled has another contrast than what was learned from).

    Returns
    -------
    classifier
        Of scikit-learn; `predict` takes images as rows.
    accuracy : float
        On test images.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import SVC

    x_train, y_train = dataset.x_train[:N_CLASSIFIER], dataset.y_train[:N_CLASSIFIER]
    x_test, y_test = dataset.x_test[:N_JUDGED], dataset.y_test[:N_JUDGED]
    classifier = make_pipeline(Normalizer(), SVC(C=10))
    classifier.fit(x_train.reshape(len(x_train), -1), y_train)
    return classifier, float(classifier.score(x_test.reshape(len(x_test), -1), y_test))


def recall(trained, device="cpp", *, seed=None, instances=20, progress=None):
    """Recall of every concept, compared with class means and nearest training images.

    Parameters
    ----------
    trained : TrainedNetwork
    device : str
    seed : int, optional
        Of the spikes that are lost.
    instances : int
        Of each concept and probability.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Returns
    -------
    Study
        Frames ``quality`` (one row per trial) and ``images`` (some of the recalled ones, the class
        means and the nearest training images, one row per pixel).

    Raises
    ------
    InputError
        If the run was on a sequence.
    """
    needs_images(trained)
    study = Study("recall")
    dataset = trained.dataset
    simulation = trained.simulation(device, seed=seed, progress=progress)
    table = recall_table(dataset.n_concepts, instances)
    report = (lambda n: progress("run", n, len(table))) if progress else None
    result = simulation.run(table, report)
    trials = result.trials
    images = images_of(result.recalled, trials["trial"], dataset.image_shape)
    concept = trials["concept"].to_numpy()
    means = class_means(dataset)
    nearest = nearest_images(images, dataset.x_train)
    classifier, accuracy = train_classifier(dataset)
    recognised = classifier.predict(images.reshape(len(images), -1))
    study.frames["quality"] = pd.concat(
        [
            trials[["trial", "concept", "instance", "loss"]],
            image_similarity(images, means[concept]).add_suffix("_class_mean"),
            pd.DataFrame(
                {"nearest_stimulus": nearest, "nearest_concept": dataset.y_train[nearest]}
            ),
            image_similarity(images, dataset.x_train[nearest]).add_suffix("_nearest"),
            pd.DataFrame({"recognised": recognised, "recognised_right": recognised == concept}),
        ],
        axis=1,
    )
    study.frames["images"] = _images(trials, images, means, dataset.x_train[nearest])
    study.summary = _summary(study.frames["quality"]) | {"classifier_accuracy": accuracy}
    return study


def _images(trials, images, means, nearest):
    n_pixels = means[0].size

    def frame(kind, concepts, instances, stack):
        return pd.DataFrame(
            {
                "kind": kind,
                "concept": np.repeat(concepts, n_pixels),
                "instance": np.repeat(instances, n_pixels),
                "pixel": np.tile(np.arange(n_pixels), len(stack)),
                "rate": np.reshape(stack, -1).astype(np.float32),
            }
        )

    clean = ((trials["loss"] == 0) & (trials["instance"] == 0)).to_numpy()
    noisy = ((trials["loss"] == SPIKE_NOISE) & (trials["instance"] < N_SHOWN)).to_numpy()
    concepts = np.arange(len(means))
    return pd.concat(
        [
            frame("class mean", concepts, np.zeros(len(means), int), means),
            frame("recalled", trials["concept"][clean], trials["instance"][clean], images[clean]),
            frame("nearest", trials["concept"][clean], trials["instance"][clean], nearest[clean]),
            frame("noisy", trials["concept"][noisy], trials["instance"][noisy], images[noisy]),
        ],
        ignore_index=True,
    )


def _summary(quality):
    clean = quality[(quality["loss"] == 0) & (quality["instance"] == 0)]
    noisy = quality[quality["loss"] == SPIKE_NOISE]
    by_concept = noisy.groupby("concept")["recognised_right"].mean()
    measures = ["r_class_mean", "ssim_class_mean", "mse_class_mean", "r_nearest", "ssim_nearest"]
    return {
        "concepts": len(clean),
        "concepts_recognised": int(clean["recognised_right"].sum()),
        "spike_loss": SPIKE_NOISE,
        "instances_recognised": float(noisy["recognised_right"].mean()),
        "worst_concept": int(by_concept.idxmin()),
        "worst_concept_recognised": float(by_concept.min()),
        **{name: float(noisy[name].mean()) for name in measures},
    }

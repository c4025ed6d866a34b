"""How well a run did: what ``metrics.json`` and the arrays beside it hold."""

import numpy as np

from bsd.analysis.measures import mean_recall_correlation
from bsd.analysis.sequences import SIMPLE, forecast_errors, ngram_accuracy
from bsd.runs.engine.recording import of_replica

__all__ = [
    "about_images",
    "about_series",
    "class_means",
    "known_mean",
    "performance",
    "quality",
    "recalled_stimuli",
    "reconstructed_images",
    "sequence_performance",
    "worse_than_its_reference",
]


def class_means(dataset):
    """Mean training stimulus of each concept, zeros of one without any.

    Returns
    -------
    ndarray, shape (n_concepts, *image_shape)
    """
    members = [dataset.x_train[dataset.y_train == c] for c in range(dataset.n_concepts)]
    return np.stack(
        [own.mean(axis=0) if len(own) else np.zeros(dataset.image_shape) for own in members]
    )


def performance(experiment, means, trials, recalled):
    """Accuracy and recall of one replica."""
    r = mean_recall_correlation(recalled_stimuli(recalled, trials, means)["recalled"], means)
    return {
        **_accuracies(trials, experiment.epochs),
        "recall_correlation": None if np.isnan(r) else r,
    }


def sequence_performance(experiment, dataset, forecast, replica):
    """Errors of the forecast in the last epoch; accuracy of a trigram model of the text."""
    if experiment.data == "text":
        return {"trigram_accuracy": ngram_accuracy(dataset, 3)}
    if len(forecast):
        own = of_replica(replica, forecast)
        return forecast_errors(own[own["epoch"] == experiment.epochs])
    return {}


def about_series(dataset):
    """What was forecast, and its scale: errors are in units of its SD."""
    return {
        "series": dataset.source, "series_mean": dataset.mean, "series_sd": dataset.sd,
        "reference": dataset.reference,
    }


def about_images(dataset):
    """What was read of the user's own data, and the names of the concepts in order."""
    return {"source": dataset.source, "concepts": list(dataset.concept_names)}


def reconstructed_images(recalled, trials, dataset):
    """Some test stimuli and their reconstructions, by spikes and by basal drive, of replica 0."""
    own = of_replica(0, recalled).sort_values(["trial", "pixel"])
    rows = trials.drop_duplicates("trial").set_index("trial").loc[own["trial"].unique()]
    stimulus = rows["stimulus"].to_numpy(int)
    shape = (len(stimulus), *dataset.image_shape)
    return {
        "stimulus": dataset.x_test[stimulus],
        "reconstructed": own["rate"].to_numpy(float).reshape(shape),
        "reconstructed_drive": own["drive"].to_numpy(float).reshape(shape),
    }


def quality(experiment, reconstruction):
    """Likeness of stimulus and reconstruction of one replica after the last epoch, means."""
    last = reconstruction[reconstruction["epoch"] == experiment.epochs]
    decisions = ("accuracy", "accuracy_voltage", "ties", "accuracy_train", "recall_correlation")
    return dict.fromkeys(decisions) | {
        f"reconstruction_{name}": known_mean(last[name]) for name in ("mse", "ssim", "r", "r_drive")
    }


def recalled_stimuli(recalled, trials, means):
    """Recalled stimulus of each concept, mean over trials and replicas.

    Parameters
    ----------
    recalled, trials : DataFrame
        See `bsd.runs.engine.recording.Recording`.
    means : ndarray, shape (n_concepts, n_pixels)
        From `class_means`.

    Returns
    -------
    dict of str to ndarray
        ``recalled`` (rates), ``recalled_drive`` and ``class_mean``, of that shape.
    """
    concepts = trials.drop_duplicates("trial").set_index("trial")["concept"]
    recalled = recalled.assign(concept=recalled["trial"].map(concepts))
    rate, drive = (
        recalled.groupby(["concept", "pixel"])[name].mean().to_numpy().reshape(means.shape)
        for name in ("rate", "drive")
    )
    return {"recalled": rate, "recalled_drive": drive, "class_mean": means}


def _accuracies(trials, last_epoch):
    last = trials[trials["epoch"] == last_epoch]
    test, train = last[last["phase"] == "test"], last[last["phase"] == "train"]
    return {
        "accuracy": known_mean(test["correct"]),
        "accuracy_voltage": known_mean(test["correct_voltage"]),
        "ties": known_mean(test["percept"] < 0),
        "accuracy_train": known_mean(train["correct"]),
    }


def known_mean(values):
    """Mean of what is known, None where nothing is (JSON has no NaN)."""
    known = values.dropna().astype(float)
    return float(known.mean()) if len(known) else None


def worse_than_its_reference(dataset, means):
    """Warning of a forecast that is worse than the one that it corrects."""
    key = f"mse_{getattr(dataset, 'reference', '')}"
    if key in means and means["mse"] > means[key]:
        yield (
            f"the forecast is worse than the simple one that it corrects ({means['mse']:.3g}, "
            f"{SIMPLE[dataset.reference]} {means[key]:.3g}): lower learning.eta, "
            "learning.eta_feedback and learning.eta_top, or use a longer series."
        )

"""From a piece of a trial table to the arrays that drive a simulation."""

import numpy as np

from bsd.networks import CONTROL_COLUMNS
from bsd.runs.data import add_noise, jitter, occlude

__all__ = ["trial_arrays"]


def trial_arrays(table, dataset, network, seed):
    """Drive and control of a chunk, padded to the network's capacity.

    Parameters
    ----------
    table : DataFrame
        Checked trial table, at most ``network.capacity`` rows.
    dataset : DataSet
    network : BidirectionalNetwork
    seed : int
        Of the stimulus transforms.

    Returns
    -------
    drive : ndarray, shape (capacity + 1, n_afferents)
        Intensities in 0 to 1.
    control : ndarray, shape (capacity + 1, 5)
        See `bsd.networks.CONTROL_COLUMNS`.
    """
    layout = network.layout
    drive = np.zeros((network.capacity + 1, layout.n_afferents))
    control = np.zeros((network.capacity + 1, len(CONTROL_COLUMNS)))
    sources = table["source"].str.split("+")
    uses = {
        name: sources.map(lambda parts, name=name: name in parts).to_numpy(bool)
        for name in ("stimulus", "concept", "percept", "recall")
    }
    images = _images(table, dataset, uses["stimulus"], seed)
    encoding = network.encoding_matrix()
    rows = np.arange(len(table))
    for population in layout.afferents:
        if population.name == "S":
            drive[rows[uses["stimulus"]], population.cells] = images
        else:
            concepts = table["concept"].to_numpy(int)[uses["concept"]]
            drive[rows[uses["concept"]], population.cells] = encoding[concepts]
    control[rows, 0] = table["learn"]
    control[rows, 1] = table["record"].astype(float)
    control[rows, 2] = uses["percept"]
    control[rows, 3] = uses["recall"]
    control[rows, 4] = table["draw"]
    return drive, control


def _images(table, dataset, shown, seed):
    shown_trials = table[shown]
    stimulus = shown_trials["stimulus"].to_numpy(int)
    train = (shown_trials["part"] == "train").to_numpy()
    images = np.empty((len(stimulus), *dataset.image_shape), dtype=np.float32)
    images[train] = dataset.x_train[stimulus[train]]
    images[~train] = dataset.x_test[stimulus[~train]]
    trials = shown_trials["draw"].to_numpy(int)
    if shown_trials["shift"].any():
        images = jitter(images, shown_trials["shift"].to_numpy(int), seed, trials)
    noise = shown_trials["noise"].to_numpy(float)
    if noise.any():
        images = add_noise(images, noise, seed, trials)
    for mask, part in shown_trials.groupby("mask", sort=False):
        if part["occlusion"].any():
            at = (shown_trials["mask"] == mask).to_numpy()
            images[at] = occlude(
                images[at], part["occlusion"].to_numpy(float), mask, seed, trials[at]
            )
    return images.reshape(len(images), int(np.prod(dataset.image_shape)))

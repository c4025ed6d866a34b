"""From a piece of a trial table to the arrays that drive a simulation."""

import numpy as np

from bsd.networks import CONTROL_COLUMNS
from bsd.networks.frequencies import high_frequencies
from bsd.runs.data import add_noise, blend, blur, contrast, jitter, occlude

__all__ = ["concept_encodings", "shown_images", "stimulus_intensities", "trial_arrays"]


def trial_arrays(tables, dataset, network, seeds):
    """Drive and control of a chunk, padded to the network's capacity.

    Parameters
    ----------
    tables : list of DataFrame
        Checked trial table of each replica, at most ``network.capacity`` rows.
    dataset : DataSet
    network : BidirectionalNetwork
    seeds : list of int
        Of the stimulus transforms, one for each replica.

    Returns
    -------
    drive : ndarray, shape (capacity + 1, n_afferents)
        Intensities in 0 to 1.
    control : ndarray, shape (capacity + 1, 7 n_replicas)
        See `bsd.networks.CONTROL_COLUMNS`.
    """
    rows, n = network.capacity + 1, len(CONTROL_COLUMNS)
    drive = np.zeros((rows, network.layout.n_afferents))
    control = np.zeros((rows, n * len(tables)))
    for replica, (table, seed) in enumerate(zip(tables, seeds, strict=True)):
        own = control[:, n * replica : n * (replica + 1)]
        _fill(drive, own, table, dataset, network, seed, replica)
    return drive, control


def _fill(drive, control, table, dataset, network, seed, replica):
    sources = table["source"].str.split("+")
    uses = {
        name: sources.map(lambda parts, name=name: name in parts).to_numpy(bool)
        for name in ("stimulus", "concept", "percept", "recall")
    }
    images = _images(table, dataset, uses["stimulus"], seed)
    encoding = concept_encodings(network, dataset)
    rows = np.arange(len(table))
    for name, intensities in stimulus_intensities(images, network).items():
        first = network.layout.population(name, replica).start
        shown = slice(first, first + intensities.shape[1])
        drive[rows[uses["stimulus"]], shown] = intensities
    concept = network.layout.population("C", replica)
    drive[rows[uses["concept"]], concept.cells] = _encoded(table[uses["concept"]], encoding)
    control[rows, 0] = table["learn"]
    control[rows, 1] = table["record"].astype(float)
    control[rows, 2] = uses["percept"]
    control[rows, 3] = uses["recall"]
    control[rows, 4] = table["draw"]
    control[rows, 5] = table["loss"]
    control[rows, 6] = table["carry"]


def concept_encodings(network, dataset):
    """Intensities of the concept afferents that the column `concept` of a trial table counts.

    Returns
    -------
    ndarray, shape (n, n_output)
        The network's encoding of concepts, or the data set's codes; of an autoencoder without
        codes nothing.
    """
    codes = getattr(dataset, "codes", None)
    if codes is not None:
        return np.asarray(codes, dtype=float)
    if network.is_autoencoder:
        return np.zeros((0, network.layout.layers[-1]))
    return network.encoding_matrix()


def _encoded(shown, encoding):
    """Intensities of the concept afferents: of one concept, or a blend of two."""
    other = shown["other_concept"].to_numpy(int)
    fraction = np.where(other >= 0, shown["blend"], 0.0)[:, None]
    concepts = shown["concept"].to_numpy(int)
    return (1 - fraction) * encoding[concepts] + fraction * encoding[other]


def stimulus_intensities(images, network):
    """Intensities of the stimulus afferents under some images, without context cells.

    Parameters
    ----------
    images : ndarray, shape (n, *image_shape)
    network : BidirectionalNetwork

    Returns
    -------
    dict of str to ndarray, shape (n, cells)
        By population: of the only one, or of both streams (``encoding.cutoff``). The
        afferents of a pixel follow one another: its colours, with ``encoding.contrast`` their ON
        and then their OFF cells.
    """
    encoding = network.parameters.encoding
    if network.layout.high is not None:
        return {
            "S": images.reshape(len(images), network.n_stimulus),
            "S_high": high_frequencies(images, encoding.cutoff),
        }
    if network.n_contrast:
        pixels = images if images.ndim == 4 else images[..., None]
        on, off = np.moveaxis(contrast(pixels, encoding.contrast, encoding.surround), 1, 0)
        images = np.concatenate([pixels, on, off], axis=3)
    return {"S": images.reshape(len(images), network.n_stimulus + network.n_contrast)}


def shown_images(table, dataset, seed):
    """What the stimulus afferents are driven with, after all transforms.

    Parameters
    ----------
    table : DataFrame
        Checked trial table; every row has a stimulus.
    dataset : DataSet
    seed : int

    Returns
    -------
    ndarray of float32, shape (n, *image_shape)
        Intensities in 0 to 1.
    """
    everything = np.ones(len(table), dtype=bool)
    return _images(table, dataset, everything, seed)


def _images(table, dataset, shown, seed):
    shown_trials = table[shown]
    train = (shown_trials["part"] == "train").to_numpy()

    def of(column):
        stimulus = shown_trials[column].to_numpy(int)
        images = np.empty((len(stimulus), *dataset.image_shape), dtype=np.float32)
        images[train] = dataset.x_train[stimulus[train]]
        images[~train] = dataset.x_test[stimulus[~train]]
        return images

    images = of("stimulus")
    blended = (shown_trials["other_stimulus"] >= 0).to_numpy()
    if blended.any():
        fraction = shown_trials["blend"].to_numpy(float)[blended]
        images[blended] = blend(images[blended], of("other_stimulus")[blended], fraction)
    trials = shown_trials["draw"].to_numpy(int)
    if shown_trials["shift"].any():
        images = jitter(images, shown_trials["shift"].to_numpy(int), seed, trials)
    if shown_trials["blur"].any():
        images = blur(images, shown_trials["blur"].to_numpy(float))
    noise = shown_trials["noise"].to_numpy(float)
    if noise.any():
        images = add_noise(images, noise, seed, trials)
    for mask, part in shown_trials.groupby("mask", sort=False):
        if part["occlusion"].any():
            at = (shown_trials["mask"] == mask).to_numpy()
            images[at] = occlude(
                images[at], part["occlusion"].to_numpy(float), mask, seed, trials[at]
            )
    return images

"""Generation: an autoencoder reconstructs stimuli, decodes codes drawn at random, interpolates."""

import dataclasses

import numpy as np
import pandas as pd

from bsd.analysis.perception import image_similarity, nearest_images
from bsd.equations import InputError
from bsd.runs.engine.simulation import check_dataset
from bsd.runs.experiments.perception.study import Study, chosen_stimuli
from bsd.runs.trials import AUTOENCODER

__all__ = ["decode", "draw_codes", "encode", "generation"]

#: Training stimuli whose codes the Gaussian is fitted to.
N_FITTED = 5000

#: Images of each kind that are kept, and steps from one code to another.
N_SHOWN, N_STEPS = 10, 9


def encode(simulation, stimuli, part="test", progress=None):
    """Codes of stimuli, and what the backward network makes of them in the same trial.

    Parameters
    ----------
    simulation : Simulation
        Of an autoencoder.
    stimuli : array_like of int
        Rows of a part of its data set.
    part : {'test', 'train'}
    progress : callable, optional
        Called with the number of finished trials.

    Returns
    -------
    codes : ndarray, shape (n, code cells)
        Spikes of the code as the backward network receives them, in units of T f_max, at most 1.
    images : ndarray, shape (n, height, width)
        Reconstructions, by the spikes of the recalled stimulus.
    """
    table = pd.DataFrame(
        {"stimulus": np.asarray(stimuli), "part": part, "source": AUTOENCODER,
         "phase": "reconstruct"}
    )
    timing = simulation.network.parameters.timing
    most, codes, images = float(timing.duration * timing.f_max), [], []
    for recording in simulation.chunks(table, progress):
        spikes = recording.evidence["spikes"].to_numpy(float)
        codes.append((spikes / most).clip(max=1).reshape(-1, simulation.network.n_concepts))
        images.append(_images(recording, simulation))
    return np.concatenate(codes), np.concatenate(images)


def decode(simulation, codes, table=None, progress=None):
    """Images that the backward network makes of codes alone.

    Parameters
    ----------
    simulation : Simulation
        Of an autoencoder; goes on with its own data set afterwards.
    codes : array_like, shape (n, code cells)
        In units of T f_max; each is shown as the intensities of the concept afferents.
    table : DataFrame, optional
        Columns of a trial table that count the codes, for example ``concept``, ``other_concept``
        and ``blend``; by default each code once.
    progress : callable, optional

    Returns
    -------
    ndarray, shape (n, height, width)

    Raises
    ------
    InputError
        For codes of another size, or that are no intensities.
    """
    own = simulation.dataset
    with_codes = dataclasses.replace(own, codes=codes)
    check_dataset(simulation.network, with_codes)
    if table is None:
        table = pd.DataFrame({"concept": np.arange(len(codes))})
    simulation.dataset = with_codes
    try:
        recordings = simulation.chunks(table.assign(source="concept", phase="decode"), progress)
        return np.concatenate([_images(recording, simulation) for recording in recordings])
    finally:
        simulation.dataset = own


def _images(recording, simulation):
    rates = recording.recalled["rate"].to_numpy(float)
    return rates.reshape(-1, *simulation.dataset.image_shape)


def draw_codes(codes, n, seed):
    """Codes drawn from the Gaussian with the mean and covariance of given ones.

    Parameters
    ----------
    codes : array_like, shape (m, code cells)
    n : int
    seed : int

    Returns
    -------
    ndarray, shape (n, code cells)
        Within 0 to 1, as intensities must be.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x6E5A])))
    mean, covariance = np.mean(codes, axis=0), np.cov(codes, rowvar=False)
    drawn = generator.multivariate_normal(mean, covariance, size=n, method="eigh")
    return drawn.clip(0, 1)


def generation(trained, device="cpp", *, seed=None, samples=200, progress=None):
    """Reconstruct test stimuli, decode random codes, go from one code to another.

    Parameters
    ----------
    trained : TrainedNetwork
        An autoencoder.
    device : str
    seed : int, optional
        Of spike phases and of the codes that are drawn; that of the run by default.
    samples : int
        Codes that are drawn from a Gaussian fitted to training codes, and test stimuli, as many of
        each concept, that are reconstructed.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Returns
    -------
    Study
        Frames ``quality`` (one row per image: kind, number, and likeness to its stimulus or, for
        what is sampled, to the nearest training image), ``images`` (some of them, one row per
        pixel) and ``codes`` (of reconstructed stimuli and drawn ones, one row per cell).

    Raises
    ------
    InputError
        If the network is no autoencoder.
    """
    if not trained.network.is_autoencoder:
        raise InputError(
            f"{trained.folder} holds no autoencoder: give the folder of a run of one, for example "
            "of `bsd run autoencoder`."
        )
    study, dataset = Study("generate"), trained.dataset
    seed = trained.seed if seed is None else seed
    simulation = trained.simulation(device, seed=seed, progress=progress)
    n_fitted = min(N_FITTED, len(dataset.x_train))
    shown = chosen_stimuli(dataset, max(1, samples // dataset.n_concepts))
    tested = shown["stimulus"].to_numpy()
    n_test, pairs = len(tested), _pairs(shown["concept"].to_numpy())
    total = n_fitted + n_test + samples + N_STEPS * len(pairs)
    done = [0]

    def report(n):
        if progress:
            progress("run", done[0] + n, total)

    # spread over the training part, which may be in order of concepts
    some = np.linspace(0, len(dataset.x_train) - 1, n_fitted).astype(int)
    fitted, _ = encode(simulation, some, "train", report)
    done[0] += n_fitted
    codes, reconstructed = encode(simulation, tested, progress=report)
    done[0] += n_test
    drawn = draw_codes(fitted, samples, seed)
    sampled = decode(simulation, drawn, progress=report)
    done[0] += samples
    between = decode(simulation, codes, _steps(pairs), report)
    stimuli = dataset.x_test[tested]
    nearest = dataset.x_train[nearest_images(sampled, dataset.x_train)]
    study.frames["quality"] = pd.concat(
        [
            image_similarity(images, likes).assign(kind=kind, number=np.arange(len(images)))
            for kind, images, likes in (
                ("reconstructed", reconstructed, stimuli), ("sampled", sampled, nearest)
            )
        ],
        ignore_index=True,
    )
    ends = between.reshape(len(pairs), N_STEPS, *dataset.image_shape)
    study.frames["images"] = pd.concat(
        [
            _pixels("stimulus", stimuli[:N_SHOWN]),
            _pixels("reconstructed", reconstructed[:N_SHOWN]),
            _pixels("sampled", sampled[: 2 * N_SHOWN]),
            _pixels("nearest", nearest[: 2 * N_SHOWN]),
            *(_pixels("between", images, row) for row, images in enumerate(ends)),
        ],
        ignore_index=True,
    )
    study.frames["codes"] = pd.concat(
        [_cells("stimulus", codes[:N_SHOWN]), _cells("drawn", drawn[:N_SHOWN])], ignore_index=True
    )
    by_kind = study.frames["quality"].groupby("kind")
    study.summary = {
        "code_cells": codes.shape[1],
        "reconstructed": n_test,
        "sampled": samples,
        **{
            f"{kind}_{name}": float(own[name].mean())
            for kind, own in by_kind
            for name in ("mse", "ssim", "r")
        },
        "code_rate": float(fitted.mean()),
        "silent_cells": int((fitted.max(axis=0) == 0).sum()),
    }
    return study


def _pairs(labels):
    """Some pairs of test stimuli of different concepts, by their numbers."""
    first = [int(np.flatnonzero(labels == concept)[0]) for concept in np.unique(labels)]
    return list(zip(first[::2], first[1::2], strict=False))


def _steps(pairs):
    """From one code of each pair to the other."""
    return pd.DataFrame(
        {"concept": one, "other_concept": two, "blend": blend}
        for one, two in pairs
        for blend in np.linspace(0, 1, N_STEPS)
    )


def _pixels(kind, images, row=0):
    n_pixels = images[0].size
    return pd.DataFrame(
        {
            "kind": kind,
            "row": row,
            "number": np.repeat(np.arange(len(images)), n_pixels),
            "pixel": np.tile(np.arange(n_pixels), len(images)),
            "rate": np.reshape(images, -1).astype(np.float32),
        }
    )


def _cells(kind, codes):
    return pd.DataFrame(
        {
            "kind": kind,
            "number": np.repeat(np.arange(len(codes)), codes.shape[1]),
            "cell": np.tile(np.arange(codes.shape[1]), len(codes)),
            "rate": codes.ravel(),
        }
    )

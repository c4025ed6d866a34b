"""Stimulus transforms, each a pure function of the image, the seed and the trial number.

A transform of many trials at once equals the transform of each alone, so results do not depend
on how a run is cut into chunks. Images are shaped (n, height, width), in colour (n, height, width,
channels): all colours of an image are shifted, blurred and hidden together, each has noise of its
own.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from bsd.equations.errors import InputError
from bsd.runs.data.counters import random_bits, random_normal

MASKS = ("left", "right", "top", "bottom", "random")
"""Which part of an image `occlude` covers; 'random' covers single pixels."""

_JITTER, _NOISE, _OCCLUSION = 1, 2, 3
# Bounds the float64 workspace to some tens of MB however many trials are asked for.
_BLOCK_PIXELS = 1_000_000


def jitter(images, max_shift, seed, trials):
    """Shift every image by a random number of pixels, filling with zeros.

    Parameters
    ----------
    images : array, shape (n, height, width) or (n, height, width, channels)
        Intensities in 0..1.
    max_shift : int or array of int, shape (n,)
        Largest shift in pixels, along x and along y; the shifts are uniform in
        -max_shift..max_shift.
    seed : int
        Not negative.
    trials : array of int, shape (n,)
        Trial number of each image.

    Returns
    -------
    array of float32, of the images' shape

    Raises
    ------
    InputError
        Shapes that do not fit, or a shift that is not a whole number from 0 to below the
        image's smaller side.
    """
    images, trials = _check(images, seed, trials)
    n, height, width = images.shape[:3]
    shift = _per_trial(max_shift, n, "max_shift")
    limit = min(height, width) - 1
    if np.any(shift != np.floor(shift)) or np.any(shift < 0) or np.any(shift > limit):
        raise InputError(f"max_shift must be a whole number of pixels in 0..{limit}")
    shift = shift.astype(np.int64)
    pad = int(shift.max(initial=0))
    if pad == 0:
        return images.copy()
    span = (2 * shift + 1).astype(np.uint64)
    draws = (random_bits(seed, _JITTER, trials, 2) % span[:, None]).astype(np.int64)
    dy, dx = (draws - shift[:, None]).T
    border = (pad, pad)
    padded = np.pad(images, ((0, 0), border, border, *[(0, 0)] * (images.ndim - 3)))
    rows = pad - dy[:, None, None] + np.arange(height)[None, :, None]
    columns = pad - dx[:, None, None] + np.arange(width)[None, None, :]
    return padded[np.arange(n)[:, None, None], rows, columns]


def add_noise(images, sd, seed, trials):
    """Add normal noise to every pixel and clip to 0..1.

    Parameters
    ----------
    images : array, shape (n, height, width) or (n, height, width, channels)
        Intensities in 0..1.
    sd : float or array of float, shape (n,)
        Standard deviation of the noise, in units of intensity, not negative.
    seed : int
        Not negative.
    trials : array of int, shape (n,)
        Trial number of each image.

    Returns
    -------
    array of float32, of the images' shape

    Raises
    ------
    InputError
        Shapes that do not fit, or a negative or infinite `sd`.
    """
    images, trials = _check(images, seed, trials)
    sd = _per_trial(sd, len(images), "sd")
    if np.any(sd < 0):
        raise InputError("sd of the noise must not be negative")
    noisy = images.copy()
    n_pixels = images[0].size if len(images) else 0
    for block in _blocks(np.flatnonzero(sd > 0), n_pixels):
        normal = random_normal(seed, _NOISE, trials[block], n_pixels)
        normal = (sd[block, None] * normal).reshape(-1, *images.shape[1:])
        noisy[block] = np.clip(images[block] + normal, 0.0, 1.0)
    return noisy


def blend(images, others, fraction):
    """Mix each image with another one.

    Parameters
    ----------
    images, others : array, shape (n, height, width) or (n, height, width, channels)
        Intensities in 0..1.
    fraction : float or array of float, shape (n,)
        Share of the second image, 0..1.

    Returns
    -------
    array of float32, of the images' shape

    Raises
    ------
    InputError
        Shapes that do not fit, or a fraction outside 0..1.
    """
    images, others = np.asarray(images, np.float32), np.asarray(others, np.float32)
    if images.ndim not in (3, 4) or images.shape != others.shape:
        raise InputError(
            f"images shaped {images.shape} and {others.shape} cannot be blended: give both as "
            "(n, height, width), or with channels"
        )
    fraction = _per_trial(fraction, len(images), "fraction")
    if np.any(fraction < 0) or np.any(fraction > 1):
        raise InputError("fraction of a blend must be in 0..1")
    share = fraction.astype(np.float32).reshape(-1, *[1] * (images.ndim - 1))
    return (1 - share) * images + share * others


def blur(images, sd):
    """Blur every image with a Gaussian, the outside being dark.

    Parameters
    ----------
    images : array, shape (n, height, width) or (n, height, width, channels)
        Intensities in 0..1.
    sd : float or array of float, shape (n,)
        Standard deviation in pixels, at most the larger side of the images.

    Returns
    -------
    array of float32, of the images' shape

    Raises
    ------
    InputError
        Shapes that do not fit, or an `sd` that is negative or too large.
    """
    images = _as_images(images)
    sd = _per_trial(sd, len(images), "sd")
    most = max(images.shape[1:3])  # the filter is some 8 SD wide
    if np.any((sd < 0) | (sd > most)):
        raise InputError(f"sd of the blur must lie in 0 to {most}, the larger side of the images")
    blurred = images.copy()
    for width in np.unique(sd[sd > 0]):
        of_width = sd == width
        blurred[of_width] = gaussian_filter(
            images[of_width], (0, width, width, 0)[: images.ndim], mode="constant"
        ).clip(0, 1)
    return blurred


def contrast(images, gain, surround):
    """How much brighter, and how much darker, every pixel is than its surround.

    Parameters
    ----------
    images : array, shape (n, height, width) or (n, height, width, channels)
        Intensities in 0..1.
    gain : float
    surround : float
        Standard deviation, in pixels, of the Gaussian that weighs the surround; the outside is
        dark.

    Returns
    -------
    array of float32, shape (n, 2, ...)
        Intensities in 0..1 of ON and of OFF cells, one each for every pixel and channel.
    """
    difference = gain * (_as_images(images) - blur(images, surround))
    return np.stack([difference, -difference], axis=1).clip(0, 1)


def occlude(images, fraction, mask, seed, trials):
    """Set a fraction of every image to zero.

    Parameters
    ----------
    images : array, shape (n, height, width) or (n, height, width, channels)
        Intensities in 0..1.
    fraction : float or array of float, shape (n,)
        Covered share of the image, 0..1, rounded to whole columns ('left', 'right'), rows
        ('top', 'bottom') or pixels ('random').
    mask : {'left', 'right', 'top', 'bottom', 'random'}
        What is covered. Only 'random' uses `seed` and `trials`.
    seed : int
        Not negative.
    trials : array of int, shape (n,)
        Trial number of each image.

    Returns
    -------
    array of float32, of the images' shape

    Raises
    ------
    InputError
        Unknown mask, shapes that do not fit, or a fraction outside 0..1.
    """
    images, trials = _check(images, seed, trials)
    if mask not in MASKS:
        raise InputError(f"unknown mask {mask!r}: choose one of {', '.join(MASKS)}")
    n, height, width = images.shape[:3]
    fraction = _per_trial(fraction, n, "fraction")
    if np.any(fraction < 0) or np.any(fraction > 1):
        raise InputError("fraction of an occlusion must be in 0..1")
    if mask == "random":
        return _occlude_pixels(images, fraction, seed, trials)
    along_x = mask in ("left", "right")
    position = np.arange(width if along_x else height)
    if mask in ("right", "bottom"):
        position = position[::-1]
    covered = position[None, :] < np.floor(fraction * len(position) + 0.5)[:, None]
    covered = covered[:, None, :] if along_x else covered[:, :, None]
    return _hidden(images, covered)


def _occlude_pixels(images, fraction, seed, trials):
    occluded = images.copy()
    n_pixels = images.shape[1] * images.shape[2]
    n_covered = np.floor(fraction * n_pixels + 0.5).astype(np.int64)
    for block in _blocks(np.flatnonzero(n_covered), n_pixels):
        rank = random_bits(seed, _OCCLUSION, trials[block], n_pixels)
        last = np.take_along_axis(np.sort(rank, axis=1), n_covered[block, None] - 1, axis=1)
        covered = (rank <= last).reshape(-1, *images.shape[1:3])
        occluded[block] = _hidden(images[block], covered)
    return occluded


def _hidden(images, covered):
    """Dark where covered, in all channels."""
    covered = covered.reshape(*covered.shape, *[1] * (images.ndim - 3))
    return np.where(covered, np.float32(0), images)


def _blocks(rows, n_pixels):
    size = max(1, _BLOCK_PIXELS // max(1, n_pixels))
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _as_images(images):
    images = np.asarray(images, dtype=np.float32)
    if images.ndim not in (3, 4):
        raise InputError(
            f"images must be shaped (n, height, width), or (n, height, width, channels), not "
            f"{images.shape}"
        )
    return images


def _check(images, seed, trials):
    images, trials = _as_images(images), np.asarray(trials)
    if trials.shape != images.shape[:1]:
        raise InputError(
            f"give one trial number per image: {len(images)} images, trials shaped {trials.shape}"
        )
    if trials.size and (trials.dtype.kind not in "iu" or trials.min() < 0):
        raise InputError("trial numbers must be whole numbers, not negative")
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed must be a whole number, not negative; got {seed!r}")
    return images, trials


def _per_trial(value, n, name):
    value = np.asarray(value)
    if value.dtype.kind not in "iuf" or value.shape not in ((), (n,)):
        raise InputError(f"{name} must be one number, or one number for each of the {n} images")
    value = value.astype(np.float64)
    if not np.all(np.isfinite(value)):
        raise InputError(f"{name} must be finite")
    return np.broadcast_to(value, (n,))

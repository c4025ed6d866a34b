"""High spatial frequencies of images, as intensities of afferents of their own.

The frequency-aware form of the BSD paper (section 4, generation) divides the input by a Fourier
transform. Here the stimulus stays whole, and its high frequencies stand beside it: two sets of
afferents carry them, ON where they are above and OFF where they are below zero, as in the early
visual system (Schiller 1992, Trends Neurosci. 15, 86-92). They teach cells that recall them beside
those that recall the image, and both together are what is recalled.
"""

import numpy as np

__all__ = ["CONTRAST_SHARE", "GAIN", "IMAGE_SHARE", "high_frequencies", "with_contrasts"]

#: Intensities of ON and OFF afferents per contrast: a faint one is more than a spike or none.
GAIN = 2.5

#: Shares of the high frequencies of a recalled image, and of the contrasts recalled beside it.
#: Spikes of both are noisy, but not alike; and recalled images are blurred, so that together they
#: are more than 1. Chosen on validation images, see docs/generation.md.
IMAGE_SHARE, CONTRAST_SHARE = 0.75, 0.5


def high_frequencies(images, cutoff):
    """ON and OFF intensities of what an image has beside its low frequencies.

    Parameters
    ----------
    images : ndarray, shape (n, height, width)
        Intensities in 0 to 1.
    cutoff : float
        Spatial frequency f_c (cycles per pixel) of the low pass exp(-f^2 / (2 f_c^2)), which has no
        negative lobes. Edges are wrapped around.

    Returns
    -------
    ndarray, shape (n, 2 * height * width)
        ON, then OFF, in 0 to 1: image - low pass = (ON - OFF) / `GAIN`, where neither is cut off.
    """
    images = np.asarray(images, dtype=float)
    high = GAIN * (images - _low_pass(images, cutoff))
    high = high.reshape(len(images), images.shape[1] * images.shape[2])
    return np.hstack([high.clip(0, 1), (-high).clip(0, 1)])


def with_contrasts(images, contrasts, cutoff):
    """Recalled images, their high frequencies in part from recalled ON and OFF cells.

    Parameters
    ----------
    images : ndarray, shape (n, height, width)
    contrasts : ndarray, shape (n, 2 * height * width)
        Of ON, then of OFF cells, as `high_frequencies`.
    cutoff : float
        See `high_frequencies`.

    Returns
    -------
    ndarray, shape (n, height, width)
        low pass + `IMAGE_SHARE` (image - low pass) + `CONTRAST_SHARE` (ON - OFF) / `GAIN`
    """
    low = _low_pass(images, cutoff)
    on, off = np.hsplit(contrasts, 2)
    high = (on - off).reshape(images.shape) / GAIN
    return low + IMAGE_SHARE * (images - low) + CONTRAST_SHARE * high


def _low_pass(images, cutoff):
    rows, columns = np.fft.fftfreq(images.shape[1]), np.fft.rfftfreq(images.shape[2])
    passed = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * cutoff**2))
    return np.fft.irfft2(np.fft.rfft2(images) * passed, s=images.shape[1:])

"""Division of images into low and high spatial frequencies, as intensities of afferents.

The frequency-aware form of the BSD paper (section 4, generation) divides the input by a Fourier
transform. Intensities are not negative: what is left of an image without its low frequencies is
carried by two sets of afferents, ON where it is above and OFF where it is below zero, as in the
early visual system (Schiller 1992, Trends Neurosci. 15, 86-92).
"""

import numpy as np

__all__ = ["divide", "unite"]


def divide(images, cutoff):
    """Low and high frequencies of images.

    Parameters
    ----------
    images : ndarray, shape (n, height, width)
        Intensities in 0 to 1.
    cutoff : float
        Spatial frequency f_c (cycles per pixel) of the low pass exp(-f^2 / (2 f_c^2)), which has no
        negative lobes, so that low frequencies stay within 0 to 1. Edges are wrapped around.

    Returns
    -------
    low : ndarray, shape (n, height * width)
    high : ndarray, shape (n, 2 * height * width)
        ON, then OFF: low + ON - OFF is the image.
    """
    images = np.asarray(images, dtype=float)
    rows, columns = np.fft.fftfreq(images.shape[1]), np.fft.rfftfreq(images.shape[2])
    passed = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * cutoff**2))
    low = np.fft.irfft2(np.fft.rfft2(images) * passed, s=images.shape[1:]).clip(0, 1)
    flat = len(images), images.shape[1] * images.shape[2]
    high = (images - low).reshape(flat)
    return low.reshape(flat), np.hstack([high.clip(0), (-high).clip(0)])


def unite(low, high):
    """Images from what `divide` gives, or from rates of cells that stand for it.

    Parameters
    ----------
    low : ndarray, shape (n, pixels)
    high : ndarray, shape (n, 2 * pixels)

    Returns
    -------
    ndarray, shape (n, pixels)
        low + ON - OFF.
    """
    on, off = np.split(high, 2, axis=1)
    return low + on - off

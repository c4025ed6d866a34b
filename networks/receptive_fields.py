"""Receptive fields: which cells of a layer reach which cells of the next, by their places.

A cell of the first hidden layer receives a square of the stimulus, all colours of a pixel alike.
The squares' places are spread evenly (the quasi-random R2 sequence of Roberts 2018). In a
*retinotopic* network (``encoding.deep_field`` above 0) every hidden cell has a place in the
stimulus: a cell of a deeper layer receives those cells of the layer below whose squares begin in a
square of so many pixels, as in a convolution without shared weights, and the backward network
mirrors the forward one. Its cells are numbered from the top of the stimulus to the bottom, so that
the targets of a cell are nearly a range.
"""

import functools
import math

import numpy as np

from bsd.equations.errors import InputError

__all__ = ["ReceptiveFields", "image_shape"]


def image_shape(n_pixels):
    """Height, width and colours of a square image; a square is never three times another.

    Returns
    -------
    (int, int, int) or None
        None if so many numbers are no square, neither in grey nor in three colours.
    """
    for colours in (1, 3):
        side = math.isqrt(n_pixels // colours)
        if colours * side**2 == n_pixels:
            return side, side, colours
    return None


class ReceptiveFields:
    """Connections between the layers of a network.

    Parameters
    ----------
    encoding : EncodingParameters
    n_stimulus : int
        Pixels, times colours.
    sizes : sequence of int
        Cells of each layer, from the afferents of the stimulus to the output.

    Raises
    ------
    InputError
        Fields in a stimulus that is no square; a field of deeper layers without one of the first.
    """

    def __init__(self, encoding, n_stimulus, sizes):
        self.side, self.deep_side = encoding.receptive_field, encoding.deep_field
        self.sizes, self.shape = tuple(sizes), image_shape(n_stimulus)
        if self.side and self.shape is None:
            raise InputError(
                f"encoding.receptive_field = {self.side}: needs a square stimulus, in grey or in "
                f"three colours, not {n_stimulus} numbers (0: no receptive fields)."
            )
        self.local = self.shape is not None and 0 < self.side < self.shape[0]
        if self.deep_side and not self.local:
            raise InputError(
                f"encoding.deep_field = {self.deep_side}: needs an encoding.receptive_field "
                f"smaller than the image, not {self.side}."
            )
        self.retinotopic = self.local and self.deep_side > 0

    def connected(self, layer):
        """Which cells of a layer reach which cells of the next one, in the forward network.

        Returns
        -------
        ndarray of bool, shape (sizes[layer], sizes[layer + 1]), or None
            None where all reach all.
        """
        if layer == 0 and self.local:
            return self._first
        deep = self.retinotopic and 0 < layer < len(self.sizes) - 2
        if not deep or self.deep_side >= self._positions(layer):
            return None
        offset = self._corners(layer)[:, None] - self._corners(layer + 1)
        return ((offset >= 0) & (offset < self.deep_side)).all(axis=2)

    def connected_back(self, layer):
        """The same in the backward network, from ``layer + 1`` to ``layer``."""
        forward = self.connected(layer) if self.retinotopic else None
        return None if forward is None else forward.T

    def places(self, layer):
        """Centres of the fields of a hidden layer, in pixels from the left and from the top.

        Returns
        -------
        ndarray, shape (sizes[layer], 2)
        """
        return self._corners(layer)[:, ::-1] + min(self._side(layer), self.shape[0]) / 2

    def _side(self, layer):
        """Side of the square of pixels that a cell of a hidden layer sees, through all below."""
        return self.side + (layer - 1) * max(self.deep_side - 1, 0)

    def _positions(self, layer):
        """How many such squares fit along one side of the stimulus."""
        return max(self.shape[0] - self._side(layer) + 1, 1)

    def _corners(self, layer):
        """Row and column of the first pixel of each cell's square."""
        ratio = 1.324717957244746  # of the R2 sequence: x**3 = x + 1
        even = np.outer(np.arange(1, self.sizes[layer] + 1), [1 / ratio, 1 / ratio**2]) % 1
        corners = np.floor(even * self._positions(layer)).astype(int)
        if self.retinotopic:
            corners = corners[np.lexsort(corners.T[::-1])]
        return corners

    @functools.cached_property
    def _first(self):
        height, width, _ = self.shape
        offset = np.arange(width)[:, None, None] - self._corners(1)  # pixel, cell, axis
        inside = (offset >= 0) & (offset < self.side)
        pixels = (inside[:, None, :, 0] & inside[None, :, :, 1]).reshape(height * width, -1)
        return np.repeat(pixels, self.sizes[0] // len(pixels), axis=0)

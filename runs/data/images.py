"""Stimuli of the user's own: arrays, folders of images, tables of features."""

import warnings

import numpy as np
import pandas as pd

from bsd.equations.errors import InputError
from bsd.runs.data.datasets import DataSet, stratified_part
from bsd.runs.data.files import KEYS
from bsd.runs.data.tables import find_file, read_table, require_names

__all__ = ["load_images"]

TABLES = (".csv", ".csv.gz", ".csv.xz")

#: Folders of the two parts, where a folder of images is divided.
PARTS = ("train", "test")

#: Share of the stimuli of each concept in the test part, where the file has no test part.
TEST_SHARE = 0.2

#: Of a stimulus, at most: each pixel has an afferent, with a synapse to each cell of a layer.
MAX_PIXELS = 100_000

#: Modes of Pillow whose pixels are 8-bit grey or colour.
_GREY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def load_images(path=None, label=None, test=None, name="images"):
    """Stimuli with concepts from a file or folder of one's own.

    Intensities of images are in 0..1: whole numbers of 0..255 are divided by 255 (of 0 and 1 are
    taken as they are). Features, the columns of a table or of a 2-d array, are scaled to 0..1 by
    the minimum and maximum of each in the training part, and clipped; one that is constant there
    becomes 0. Labels of any kind are the concepts, numbered from 0 in sorted order.

    Parameters
    ----------
    path : path-like
        An .npz file with the arrays x, shaped (n, height, width), (n, height, width, 3) or (n,
        features), and y, shaped (n,), or with x_train, y_train, x_test and y_test; or a folder with
        a folder of image files for each concept, which has its name, or with two folders of this
        kind, train and test; or a .csv (.csv.gz, .csv.xz) with a line of column names and a row per
        stimulus. A name without a folder is looked for in the data directory, too.
    label : str, optional
        Of a table: the column of the concepts, by default the last one.
    test : float, optional
        Share of the stimuli of each concept in the test part, by default 0.2; the same stimuli
        every time. Of data that are divided it is left out.
    name : str

    Returns
    -------
    DataSet
        Its `image_shape` is (1, features) for features.

    Raises
    ------
    InputError
        Path missing or of another kind, arrays that do not fit each other, images of unequal
        shape, text or gaps among the features, values that are not finite or intensities outside
        0..1, one concept only, or a concept that lacks a stimulus in either part.
    """
    if path is None:
        raise InputError(
            "data.path is missing: name your .npz file, folder of images or .csv file, by --set "
            "data.path=PATH."
        )
    path = find_file(path, folders=True)
    is_table = not path.is_dir() and path.name.lower().endswith(TABLES)
    if label is not None and not is_table:
        raise InputError(f"data.label = {label!r}: {path} is no table: leave data.label out.")
    if path.is_dir():
        stimuli, labels, features = *_read_folder(path), None
    elif is_table:
        stimuli, labels, features = _read_features(path, label)
    elif path.suffix.lower() == ".npz":
        stimuli, labels, features = *_read_arrays(path), None
    else:
        raise InputError(
            f"{path}: give an .npz file, a folder with a folder of images for each concept, or a "
            "table whose name ends with .csv, .csv.gz or .csv.xz."
        )
    own_parts = len(stimuli) == 2
    if own_parts and test is not None:
        raise InputError(f"data.test = {test!r}: {path} has its own test part: leave it out.")
    share = _checked_share(TEST_SHARE if test is None else test)
    numbers, concepts = _numbered(np.concatenate(labels), path)
    _check_counts(numbers, concepts, None if own_parts else 2, path)
    if own_parts:
        is_test = np.arange(len(numbers)) >= len(labels[0])
        for part, own in (("training", numbers[~is_test]), ("test", numbers[is_test])):
            _check_counts(own, concepts, 1, f"{path}, {part} part")
    else:
        is_test = stratified_part(numbers, share)
    x, scaling = _intensities(np.concatenate(stimuli), ~is_test, features, path)
    n_test = np.count_nonzero(is_test)
    return DataSet(
        name=name,
        x_train=x[~is_test],
        y_train=numbers[~is_test],
        x_test=x[is_test],
        y_test=numbers[is_test],
        n_concepts=len(concepts),
        image_shape=x.shape[1:],
        source=(
            f"{path.resolve().name}: {len(x) - n_test} training and {n_test} test stimuli, "
            + ("as in the file" if own_parts else f"{share:g} of each concept for the test")
            + f"; {scaling}"
        ),
        licence="of the file",
        concept_names=concepts,
    )


def _checked_share(share):
    is_number = isinstance(share, int | float | np.number) and not isinstance(share, bool)
    if not is_number or not 0 < share < 1:
        raise InputError(f"data.test = {share!r}: a share between 0 and 1, such as 0.2.")
    return float(share)


# ------------------------------------------------------------------ what is read


def _read_arrays(path):
    """Stimuli and labels of an .npz file, lists of one part or two."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = KEYS if "x_train" in archive.files else ("x", "y")
            missing = [key for key in keys if key not in archive.files]
            arrays = {} if missing else {key: archive[key] for key in keys}
    # A damaged archive raises nearly anything: zipfile, zlib, struct, ValueError, MemoryError.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read ({' '.join(str(error).split())[:100]}): save it by "
            "numpy.savez, stimuli as numbers, labels as numbers or text, no objects."
        ) from error
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: it must hold the arrays x and y, or "
            f"{', '.join(KEYS)}."
        )
    stimuli = [arrays[key] for key in keys if key.startswith("x")]
    labels = [arrays[key] for key in keys if key.startswith("y")]
    for x, y in zip(stimuli, labels, strict=True):
        if x.dtype.kind not in "fiub":
            raise InputError(f"{path}: stimuli are of type {x.dtype}: save them as numbers.")
        if x.ndim not in (2, 3) and (x.ndim != 4 or x.shape[3] != 3):
            raise InputError(
                f"{path}: stimuli are shaped {x.shape}: reshape them to (n, height, width), colour "
                "images to (n, height, width, 3), features to (n, features)."
            )
        if y.ndim != 1 or len(y) != len(x):
            raise InputError(
                f"{path}: labels are shaped {y.shape} for {len(x)} stimuli: give one label for "
                "each (of one-hot labels the argmax)."
            )
        if x.size == 0:
            raise InputError(f"{path}: no stimuli (shape {x.shape}): give at least two a concept.")
    if stimuli[0].shape[1:] != stimuli[-1].shape[1:]:
        raise InputError(
            f"{path}: training stimuli are shaped {stimuli[0].shape[1:]}, test stimuli "
            f"{stimuli[-1].shape[1:]}: make them equal."
        )
    return stimuli, labels


def _read_folder(path):
    """Stimuli and labels of a folder of images, lists of one part or two."""
    inside = _visible(path)
    if {folder.name for folder in inside} == set(PARTS):
        found = [_read_concepts(path / part) for part in PARTS]
    else:
        found = [_read_concepts(path)]
    first = found[0][0][0]
    for images, _ in found:
        for file, image in images:
            if image.shape != first[1].shape:
                raise InputError(
                    f"{file} has {_size(image.shape)}, {first[0]} {_size(first[1].shape)}: crop, "
                    "resize or convert the images, so that all are alike."
                )
    return (
        [np.stack([image for _, image in images]) for images, _ in found],
        [np.array(labels) for _, labels in found],
    )


def _read_concepts(path):
    """Images, each with its file, and labels of a folder with a folder for each concept."""
    folders = [folder for folder in _visible(path) if folder.is_dir()]
    if not folders:
        raise InputError(
            f"{path} holds no folders: put the images of each concept into a folder of its own, "
            "which has the concept's name."
        )
    images, labels = [], []
    for folder in folders:
        files = _visible(folder)
        if not files:
            raise InputError(f"{folder} is empty: put images of the concept there, or remove it.")
        images += [(file, _read_image(file)) for file in files]
        labels += [folder.name] * len(files)
    return images, labels


def _visible(folder):
    """What a folder holds, in the order of the names."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror}): change its permissions."
        ) from error


def _read_image(file):
    """Pixels as bytes, (height, width) or (height, width, 3)."""
    from PIL import Image, ImageOps

    if file.is_dir():
        raise InputError(
            f"{file} is a folder: give as data.path a folder whose folders hold the images of one "
            "concept each."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                mode, n_frames = image.mode, getattr(image, "n_frames", 1)
                has_alpha = "A" in mode or "transparency" in image.info
                # a camera may say in which direction it was held
                pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
    # a file that is no image, or a damaged one, raises nearly anything
    except Exception as error:
        raise InputError(
            f"{file} cannot be read as an image ({' '.join(str(error).split())[:100]}): remove it, "
            "or convert it to PNG."
        ) from error
    if mode not in (*_GREY, *_COLOUR):
        raise InputError(
            f"{file} has pixels of another kind than 8 bits (mode {mode} of Pillow): convert it to "
            "8-bit grey or RGB."
        )
    if n_frames > 1:
        raise InputError(f"{file} has {n_frames} frames: save each that you need as a file.")
    if has_alpha and pixels[..., 3].min() < 255:
        raise InputError(f"{file} has transparent pixels: give it a background.")
    return pixels[..., 0] if mode in _GREY else pixels[..., :3]


def _size(shape):
    return f"{shape[0]}x{shape[1]} pixels in {'colour' if len(shape) == 3 else 'grey'}"


def _read_features(path, label):
    """Stimuli, labels and names of the features of a table."""
    frame, names, path = read_table(path)
    require_names(frame, path)
    if label is None:
        label = frame.columns[-1]
    elif not isinstance(label, str) or label not in frame:
        raise InputError(
            f"data.label = {label!r}: {path} has the columns "
            f"{', '.join(map(str, frame.columns[:40]))}."
        )
    if names.count(label) > 1:
        raise InputError(f"{path} has more than one column {label!r}: give each its own name.")
    if len(frame) == 0 or len(frame.columns) < 2:
        raise InputError(
            f"{path} has {len(frame)} rows and {len(frame.columns)} columns: give a row per "
            "stimulus, with a column of labels and at least one of a feature."
        )
    if frame[label].isna().any():
        row = int(np.flatnonzero(frame[label].isna())[0])
        raise InputError(
            f"{path}: column {label!r} has no label in row {row + 1} of the data (NA, None and the "
            "like are none): fill the gap, or remove the row."
        )
    columns = []
    for name in frame.columns.drop(label):
        values = pd.to_numeric(frame[name], errors="coerce").to_numpy(float, na_value=np.nan)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"{path}: column {name!r} has no finite number in row {row + 1} of the data: fill "
                f"the gap, or remove the column (labels are taken from {label!r}, see data.label)."
            )
        columns.append(values)
    given = frame[label]
    labels = given if pd.api.types.is_numeric_dtype(given) else list(map(str, given))
    return [np.stack(columns, axis=1)], [np.array(labels)], list(frame.columns.drop(label))


# ------------------------------------------------------------------ what is made of it


def _numbered(labels, path):
    """Number of each label in sorted order, and the names."""
    if labels.dtype.kind not in "iubfU":
        raise InputError(
            f"{path}: labels are of type {labels.dtype}: give whole numbers or text."
        )
    if labels.dtype.kind == "f" and not (np.isfinite(labels) & (labels == np.rint(labels))).all():
        raise InputError(
            f"{path}: labels have gaps or fractions: give whole numbers or text (of a table, name "
            "the column of the labels by data.label)."
        )
    kinds, numbers = np.unique(labels, return_inverse=True)
    text = "{:.0f}" if labels.dtype.kind == "f" else "{}"
    return numbers, tuple(text.format(kind) for kind in kinds)


def _check_counts(numbers, concepts, least, where):
    """Refuse one concept only, or less than so many stimuli of one."""
    if len(concepts) < 2:
        raise InputError(f"{where}: one concept only, {concepts[0]!r}: give at least two.")
    counts = np.bincount(numbers, minlength=len(concepts))
    if least is not None and counts.min() < least:
        rare = int(counts.argmin())
        raise InputError(
            f"{where}: {counts[rare]} stimuli of the concept {concepts[rare]!r}: give at least "
            f"{least}, or remove it."
        )


def _intensities(x, is_train, features, path):
    """Stimuli as intensities, and what was done with them."""
    if np.prod(x.shape[1:]) > MAX_PIXELS:
        raise InputError(
            f"{path}: a stimulus has {np.prod(x.shape[1:]):,} numbers, more than {MAX_PIXELS:,}: "
            "make it smaller, each has an afferent."
        )
    if x.ndim == 2:
        return _scaled(x.astype(float), is_train, features, path)[:, None, :], (
            f"{x.shape[1]} features, each scaled to 0..1 by its range in the training part"
        )
    size = "x".join(map(str, x.shape[1:]))
    if x.dtype.kind == "b":
        return x.astype(np.float32), f"images of {size}, intensities 0 and 1"
    if x.dtype.kind in "iu":
        low, high = x.min(), x.max()
        if low < 0 or high > 255:
            raise InputError(
                f"{path}: whole numbers range from {low} to {high}: give intensities of 0 to 255, "
                "or fractions of 0 to 1."
            )
        if high > 1:
            x = x / np.float32(255)
            return x, f"images of {size}, divided by 255: intensities {x.min():g} to {x.max():g}"
    # what is out of range is refused by the data set
    return x, f"images of {size}, intensities {x.min():g} to {x.max():g}"


def _scaled(x, is_train, features, path):
    """Features in 0..1, by the range of each in the training part."""
    if not np.isfinite(x).all():
        row, column = (int(k[0]) for k in np.nonzero(~np.isfinite(x)))
        raise InputError(
            f"{path}: feature {column} of stimulus {row} is {x[row, column]}: remove or replace "
            "what is not finite."
        )
    low, high = x[is_train].min(axis=0), x[is_train].max(axis=0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        spread = high - low
        if not np.isfinite(spread).all():
            column = int(np.flatnonzero(~np.isfinite(spread))[0])
            named = features[column] if features else column
            raise InputError(
                f"{path}: feature {named!r} ranges from {low[column]:.3g} to {high[column]:.3g}, "
                "too far: use another unit."
            )
        if not spread.any():
            raise InputError(f"{path}: all features are constant in the training part: add others.")
        return np.where(spread > 0, np.clip((x - low) / spread, 0, 1), 0)

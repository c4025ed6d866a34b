"""Image files in the data directory: found, downloaded, read and refused in plain words."""

import gzip
import math
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
import scipy.io

from bsd.equations.errors import InputError

KEYS = ("x_train", "y_train", "x_test", "y_test")
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}
#: Tables as they are passed round: a row per image, its label, then its pixels from 0 to 255.
CSV_FILES = {
    "mnist": {"train": "mnist_train.csv", "test": "mnist_test.csv"},
    "fashion": {"train": "fashion-mnist_train.csv", "test": "fashion-mnist_test.csv"},
}
#: The binary version of CIFAR-10; its pickled version is not read.
CIFAR_FILES = {
    "train": [f"data_batch_{batch}.bin" for batch in range(1, 6)], "test": ["test_batch.bin"]
}
SVHN_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
COLOUR_SHAPE = (32, 32, 3)

# MD5 sums as published with the data sets (Fashion-MNIST) and by torchvision (MNIST).
_DOWNLOADS = {
    "mnist": (
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        {
            "x_train": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "y_train": "d53e105ee54ea40749a09fcbcd1e9432",
            "x_test": "9fb629c4189551a2d022fa330f9573f3",
            "y_test": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion": (
        (
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        {
            "x_train": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "y_train": "25c81989df183df01b3e8a0aad5dffbe",
            "x_test": "bef4ecab320f06d8554ea6380940ec79",
            "y_test": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
}
_DOWNLOAD_TIMEOUT_S = 10
_IDX_MAX_BYTES = 1 << 31


def data_directory():
    """Folder of the data sets: ``$BSD_DATA``, else the user's cache folder ``bsd``.

    Returns
    -------
    pathlib.Path
        Absolute; it need not exist.
    """
    chosen = os.environ.get("BSD_DATA")
    if chosen:
        return Path(chosen).expanduser().resolve()
    return platformdirs.user_cache_path("bsd", appauthor=False)


def _files_of(name):
    """Names of the files that a folder of the data set holds."""
    if name == "cifar10":
        return [*CIFAR_FILES["train"], *CIFAR_FILES["test"]]
    return list((SVHN_FILES if name == "svhn" else IDX_FILES).values())


def _has(folder, files):
    return all((folder / file).is_file() for file in files)


def _tables_of(name):
    return list(CSV_FILES.get(name, {}).values())


def find(name):
    """File ``NAME.npz`` or folder ``NAME`` with the official files; None where neither is."""
    directory = data_directory()
    archive = directory / f"{name}.npz"
    if archive.is_file():
        return archive
    folder = directory / name
    tables = _tables_of(name)
    if _has(folder, _files_of(name)) or tables and _has(folder, tables):
        return folder
    return None


def how_to_get(name):
    """One sentence: which file to put where."""
    directory = data_directory()
    tables = _tables_of(name)
    either = f", or the tables {' and '.join(tables)} there" if tables else ""
    return (
        f"put {name}.npz (arrays {', '.join(KEYS)}) into {directory}, or the files "
        f"{', '.join(_files_of(name))} into {directory / name}{either}, or set BSD_DATA to the "
        "folder that has them"
    )


def downloaded(name):
    """Whether the data set is downloaded where it is not found."""
    return name in _DOWNLOADS


def read(name):
    """Raw arrays of a data set from the data directory, downloaded if they are not there.

    Parameters
    ----------
    name : {'mnist', 'fashion', 'cifar10', 'svhn'}

    Returns
    -------
    dict of str to array
        Keys x_train, y_train, x_test, y_test; as stored, not yet checked.
    pathlib.Path
        Where they were read.

    Raises
    ------
    InputError
        Missing and not to be downloaded, or damaged.
    """
    path = find(name)
    if path is None:
        if not downloaded(name):
            raise InputError(f"data set {name!r} is not here: {how_to_get(name)}")
        path = _download(name)
    if path.suffix == ".npz":
        return _read_npz(path), path
    if name == "cifar10":
        batches = {
            part: [_read_cifar(path / file) for file in own] for part, own in CIFAR_FILES.items()
        }
        parts = {
            part: [np.concatenate(arrays) for arrays in zip(*own, strict=True)]
            for part, own in batches.items()
        }
    elif name == "svhn":
        parts = {part: _read_svhn(path / file) for part, file in SVHN_FILES.items()}
    elif not _has(path, IDX_FILES.values()):
        parts = {part: _read_csv(path / file) for part, file in CSV_FILES[name].items()}
    else:
        return {key: _read_idx(path / file) for key, file in IDX_FILES.items()}, path
    return {
        f"{key}_{part}": own[k] for part, own in parts.items() for k, key in enumerate("xy")
    }, path


def _download(name):
    import pooch
    import requests

    mirrors, sums = _DOWNLOADS[name]
    folder = data_directory() / name
    downloader = pooch.HTTPDownloader(timeout=_DOWNLOAD_TIMEOUT_S)
    for key, file in IDX_FILES.items():
        for mirror in mirrors:
            try:
                pooch.retrieve(
                    mirror + file, f"md5:{sums[key]}", fname=file, path=folder,
                    downloader=downloader,
                )
                break
            # ValueError: what came has another checksum. Both mean: try the next mirror.
            except (requests.RequestException, ValueError):
                continue
            except OSError as error:
                raise InputError(
                    f"cannot write the data set {name!r} to {folder} ({error.strerror or error}): "
                    "set BSD_DATA to a folder you may write to"
                ) from error
        else:
            raise InputError(
                f"data set {name!r} is not here and could not be downloaded: {how_to_get(name)}"
            )
    return folder


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in KEYS if key not in archive.files]
            if not missing:
                return {key: archive[key] for key in KEYS}
    # A damaged archive raises nearly anything: zipfile, zlib, struct, ValueError, MemoryError.
    except Exception as error:
        raise _damaged(path, error) from error
    raise InputError(
        f"{path} lacks {', '.join(missing)}: it must hold the arrays {', '.join(KEYS)}"
    )


def _read_idx(path):
    """Array of unsigned bytes from a gzip-compressed IDX file."""
    try:
        with gzip.open(path) as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or magic[3] not in (1, 3):
                raise ValueError("not an IDX file of bytes with 1 or 3 dimensions")
            shape = tuple(int.from_bytes(stream.read(4), "big") for _ in range(magic[3]))
            n_bytes = int(np.prod(shape, dtype=object))
            if n_bytes > _IDX_MAX_BYTES:
                raise ValueError(f"header asks for {n_bytes} bytes")
            # One byte more than is due, so that the end, and with it the CRC, is reached.
            content = stream.read(n_bytes + 1)
            if len(content) != n_bytes:
                raise ValueError("length does not fit the header")
            return np.frombuffer(content, dtype=np.uint8).reshape(shape)
    except Exception as error:
        raise _damaged(path, error) from error


def _read_cifar(path):
    """Images and labels of a binary batch: a label and the planes of red, green, blue each."""
    try:
        content = np.fromfile(path, dtype=np.uint8)
        size = 1 + int(np.prod(COLOUR_SHAPE))
        if len(content) == 0 or len(content) % size:
            raise ValueError(f"{len(content)} bytes are no whole number of images of {size} bytes")
        rows = content.reshape(-1, size)
        height, width, colours = COLOUR_SHAPE
        planes = rows[:, 1:].reshape(-1, colours, height, width)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), rows[:, 0]
    except Exception as error:
        raise _damaged(path, error) from error


def _read_csv(path):
    """Images and labels of a table, with or without a line of column names."""
    try:
        with path.open(encoding="ascii") as stream:
            first = pd.Series(stream.readline().strip().split(","))
        named = pd.to_numeric(first, errors="coerce").isna().all()
        table = pd.read_csv(path, header=0 if named else None, encoding="ascii")
        if not (table.dtypes == np.int64).all():
            raise ValueError("other things than whole numbers, or rows of different lengths")
        values = table.to_numpy()
        side = math.isqrt(values.shape[1] - 1)
        if len(values) == 0 or side < 1 or side**2 != values.shape[1] - 1:
            raise ValueError("a row must be a label and the pixels of a square image")
        pixels = values[:, 1:]
        if pixels.min() < 0 or pixels.max() > 255:
            raise ValueError("pixels are not from 0 to 255")
        return pixels.astype(np.uint8).reshape(-1, side, side), values[:, 0]
    except Exception as error:
        raise _damaged(path, error) from error


def _read_svhn(path):
    """Images and labels of a MATLAB file: X (32, 32, 3, n) and y (n, 1), where 10 is digit 0."""
    try:
        if path.read_bytes()[:19] == b"MATLAB 7.3 MAT-file":
            raise ValueError("version 7.3 of the format, the official file has version 5")
        arrays = scipy.io.loadmat(path, variable_names=["X", "y"])
        missing = [key for key in ("X", "y") if key not in arrays]
        if missing:
            raise ValueError(f"lacks {' and '.join(missing)}")
        images, labels = np.asarray(arrays["X"]), np.asarray(arrays["y"]).ravel()
        if images.dtype != np.uint8 or images.shape[:-1] != COLOUR_SHAPE:
            raise ValueError(
                f"X is of type {images.dtype} and shape {images.shape}, not bytes of shape "
                f"{(*COLOUR_SHAPE, 'n')}"
            )
        if labels.dtype.kind not in "iuf" or not np.isin(labels, np.arange(1, 11)).all():
            raise ValueError("labels y are no whole numbers from 1 to 10")
        return np.ascontiguousarray(np.moveaxis(images, -1, 0)), labels.astype(np.int64) % 10
    # Like an archive, a damaged file raises nearly anything.
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path, error):
    if isinstance(error, PermissionError):
        return InputError(f"{path} cannot be read: change its permissions or set BSD_DATA")
    reason = "not a zip archive" if isinstance(error, zipfile.BadZipFile) else str(error)
    reason = " ".join(reason.split())[:120]
    return InputError(f"{path} is damaged ({reason}): delete it and get it again")

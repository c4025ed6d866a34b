"""Reading MNIST and Fashion-MNIST from a data directory; no network, no real files."""

import gzip
import io
from functools import partial

import numpy as np
import pooch
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bsd.equations.errors import InputError
from bsd.runs.data import available, data_directory, load
from bsd.runs.data.files import CSV_FILES, IDX_FILES

RNG = np.random.default_rng(0)
ARRAYS = {
    "x_train": RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8),
    "y_train": np.arange(20, dtype=np.uint8) % 10,
    "x_test": RNG.integers(0, 256, (10, 28, 28), dtype=np.uint8),
    "y_test": np.arange(10, dtype=np.uint8),
}


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty data directory, and no network."""
    monkeypatch.setenv("BSD_DATA", str(tmp_path))

    def no_network(*_, **__):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(pooch, "retrieve", no_network)
    return tmp_path


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


def write_idx(folder):
    folder.mkdir()
    for key, file in IDX_FILES.items():
        (folder / file).write_bytes(gzip.compress(idx_bytes(ARRAYS[key])))


def write_csv(folder, name, header):
    folder.mkdir()
    for part, file in CSV_FILES[name].items():
        rows = np.c_[ARRAYS[f"y_{part}"], ARRAYS[f"x_{part}"].reshape(-1, 784)]
        names = "label," + ",".join(f"{k}x{m}" for k in range(28) for m in range(28))
        np.savetxt(
            folder / file, rows, fmt="%d", delimiter=",", header=names if header else "",
            comments="",
        )


def npz_bytes(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def assert_is_loaded(name):
    data = load(name)
    np.testing.assert_array_equal(data.x_train, ARRAYS["x_train"] / np.float32(255))
    np.testing.assert_array_equal(data.x_test, ARRAYS["x_test"] / np.float32(255))
    np.testing.assert_array_equal(data.y_train, ARRAYS["y_train"])
    np.testing.assert_array_equal(data.y_test, ARRAYS["y_test"])


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_npz_is_read(folder, name):
    np.savez(folder / f"{name}.npz", **ARRAYS)
    assert_is_loaded(name)


@pytest.mark.parametrize("name, header", [("mnist", True), ("fashion", False)])
def test_tables_are_read(folder, name, header):
    write_csv(folder / name, name, header)
    assert_is_loaded(name)
    assert available().set_index("name").loc[name, "here"]


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_official_idx_files_are_read(folder, name):
    write_idx(folder / name)
    assert_is_loaded(name)
    assert available().set_index("name").loc[name, "here"]


def test_relative_data_directory_is_resolved(monkeypatch, tmp_path):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("BSD_DATA", "../data")
    assert data_directory() == tmp_path / "data"
    monkeypatch.setenv("BSD_DATA", "")
    assert data_directory().is_absolute() and data_directory().name == "bsd"


def test_missing_files_say_what_to_put_where(folder):
    with pytest.raises(InputError) as error:
        load("mnist")
    text = str(error.value)
    assert "put mnist.npz" in text and str(folder) in text and "train-images-idx3-ubyte.gz" in text
    assert "BSD_DATA" in text and "\n" not in text


def test_an_incomplete_folder_counts_as_missing(folder):
    write_idx(folder / "mnist")
    (folder / "mnist" / IDX_FILES["y_test"]).unlink()
    with pytest.raises(InputError, match="could not be downloaded"):
        load("mnist")


def test_download_fetches_the_official_files_with_checksums(folder, monkeypatch):
    fetched = []

    def retrieve(url, known_hash, fname, path, downloader):
        fetched.append((url, known_hash))
        if "ossci" in url:
            raise ValueError("wrong checksum")
        path.mkdir(exist_ok=True)
        key = next(key for key, file in IDX_FILES.items() if file == fname)
        (path / fname).write_bytes(gzip.compress(idx_bytes(ARRAYS[key])))

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert_is_loaded("mnist")
    assert len(fetched) == 8
    assert all(len(known_hash) == len("md5:") + 32 for _, known_hash in fetched)
    assert_is_loaded("mnist")
    assert len(fetched) == 8


def test_unwritable_folder_is_named(folder, monkeypatch):
    def retrieve(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(InputError, match="set BSD_DATA to a folder you may write to"):
        load("fashion")


def test_missing_key_is_named(folder):
    np.savez(folder / "mnist.npz", x_train=ARRAYS["x_train"], y_train=ARRAYS["y_train"])
    with pytest.raises(InputError, match="lacks x_test, y_test"):
        load("mnist")


def test_pickled_objects_are_refused(folder):
    objects = np.array([{"any": "thing"}], dtype=object)
    np.savez(folder / "mnist.npz", **(ARRAYS | {"y_test": objects}))
    with pytest.raises(InputError, match="damaged"):
        load("mnist")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("x_train", ARRAYS["x_train"].reshape(20, 784), "reshape"),
        ("x_train", ARRAYS["x_train"].astype(float), "divide by 255"),
        ("x_test", ARRAYS["x_test"][:, :14], "14x28 pixels, expected 28x28"),
        ("y_train", ARRAYS["y_train"][:5], "one label per image"),
        ("y_test", ARRAYS["y_test"] + 1, "labels range from 1 to 10"),
    ],
)
def test_wrong_content_is_refused(folder, key, value, text):
    np.savez(folder / "mnist.npz", **(ARRAYS | {key: value}))
    with pytest.raises(InputError, match=text):
        load("mnist")


@pytest.mark.parametrize("content", [b"", b"no zip", npz_bytes(**ARRAYS)[:5000]])
def test_damaged_npz_is_refused(folder, content):
    (folder / "mnist.npz").write_bytes(content)
    with pytest.raises(InputError, match="delete it and get it again") as error:
        load("mnist")
    assert "\n" not in str(error.value)


IMAGES = idx_bytes(ARRAYS["x_train"])
zipped = partial(gzip.compress, mtime=0)  # the names of the tests must not tell the time


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip",
        zipped(b""),
        zipped(b"\0\0\x08"),
        zipped(b"\0\0\x0d\x03" + IMAGES[4:]),
        zipped(b"\0\0\x08\x09" + IMAGES[4:]),
        zipped(IMAGES[:-1]),
        zipped(IMAGES + b"\0"),
        zipped(IMAGES[:4] + b"\xff" * 12 + IMAGES[16:]),
        zipped(IMAGES)[:-100],
        zipped(IMAGES)[:-8] + bytes(8),
    ],
)
def test_damaged_idx_is_refused(folder, content):
    write_idx(folder / "mnist")
    (folder / "mnist" / IDX_FILES["x_train"]).write_bytes(content)
    with pytest.raises(InputError, match="damaged.*delete it and get it again") as error:
        load("mnist")
    assert "\n" not in str(error.value)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_changed_bytes_are_refused_or_read_as_images(folder, data):
    content = bytearray(npz_bytes(**ARRAYS))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "mnist.npz").write_bytes(content)
    try:
        assert load("mnist").x_train.shape[1:] == (28, 28)
    except InputError as error:
        assert "\n" not in str(error)

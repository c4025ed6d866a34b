"""Colour images: official files, transforms, the shape that a network takes them in."""

import numpy as np
import pytest
import scipy.io

from bsd.equations.errors import InputError
from bsd.networks.receptive_fields import image_shape
from bsd.runs.data import MASKS, add_noise, available, blend, blur, contrast, jitter, load, occlude
from bsd.runs.data.files import CIFAR_FILES, SVHN_FILES

RNG = np.random.default_rng(0)
N = {"train": 10, "test": 4}
IMAGES = {part: RNG.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for part, n in N.items()}
LABELS = {part: np.arange(n) % 10 for part, n in N.items()}


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty data directory."""
    monkeypatch.setenv("BSD_DATA", str(tmp_path))
    return tmp_path


def batch(images, labels):
    """A binary batch of CIFAR-10: label, then the planes of red, green and blue."""
    rows = [
        bytes([label]) + b"".join(image[..., colour].tobytes() for colour in range(3))
        for image, label in zip(images, labels, strict=True)
    ]
    return b"".join(rows)


def write_cifar(folder):
    folder.mkdir()
    for k, file in enumerate(CIFAR_FILES["train"]):
        own = slice(2 * k, 2 * k + 2)
        (folder / file).write_bytes(batch(IMAGES["train"][own], LABELS["train"][own]))
    (folder / "test_batch.bin").write_bytes(batch(IMAGES["test"], LABELS["test"]))


def write_svhn(folder, **changes):
    folder.mkdir(exist_ok=True)
    for part, file in SVHN_FILES.items():
        y = np.where(LABELS[part] == 0, 10, LABELS[part]).astype(np.uint8)[:, None]
        arrays = {"X": np.moveaxis(IMAGES[part], 0, -1), "y": y}
        scipy.io.savemat(folder / file, {k: v for k, v in (arrays | changes).items()
                                         if v is not None})


@pytest.mark.parametrize(("name", "write"), [("cifar10", write_cifar), ("svhn", write_svhn)])
def test_official_files_are_read(folder, name, write):
    assert not available().set_index("name").loc[name, "here"]
    with pytest.raises(InputError, match=f"{name}' is not here: put {name}.npz"):
        load(name)
    write(folder / name)
    data = load(name)
    for part in ("train", "test"):
        images, labels = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        np.testing.assert_array_equal(images, IMAGES[part] / np.float32(255))
        np.testing.assert_array_equal(labels, LABELS[part])
    assert data.image_shape == (32, 32, 3)
    assert available().set_index("name").loc[name, "here"]


def test_colour_npz_is_read(folder):
    arrays = {f"x_{part}": IMAGES[part] for part in N} | {f"y_{part}": LABELS[part] for part in N}
    np.savez(folder / "cifar10.npz", **arrays)
    np.testing.assert_array_equal(load("cifar10").x_test, IMAGES["test"] / np.float32(255))
    np.savez(folder / "cifar10.npz", **(arrays | {"x_test": IMAGES["test"][..., 0]}))
    with pytest.raises(InputError, match="32x32 pixels, expected 32x32x3"):
        load("cifar10")


@pytest.mark.parametrize("change", [
    lambda content: b"", lambda content: content[:-1], lambda content: content + b"\0",
    lambda content: content[1:],
])
def test_damaged_batches_are_refused(folder, change):
    write_cifar(folder / "cifar10")
    file = folder / "cifar10" / "data_batch_3.bin"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InputError, match="data_batch_3.bin is damaged.*no whole number of images"):
        load("cifar10")


def test_labels_of_batches_are_checked(folder):
    write_cifar(folder / "cifar10")
    (folder / "cifar10" / "test_batch.bin").write_bytes(batch(IMAGES["test"], [0, 1, 2, 10]))
    with pytest.raises(InputError, match="labels range from 0 to 10"):
        load("cifar10")


@pytest.mark.parametrize(("changes", "text"), [
    ({"X": None}, "lacks X"),
    ({"y": None}, "lacks y"),
    ({"X": IMAGES["train"]}, "not bytes of shape"),
    ({"X": np.moveaxis(IMAGES["train"], 0, -1) / 255}, "type float64"),
    ({"X": np.array([{"a": 1}], dtype=object)}, "type object"),
    ({"y": np.arange(10)}, "whole numbers from 1 to 10"),
    ({"y": np.full(10, 11)}, "whole numbers from 1 to 10"),
    ({"y": np.full(10, 1.5)}, "whole numbers from 1 to 10"),
    ({"y": np.ones(3)}, "one label per image"),
])
def test_wrong_content_of_matlab_files_is_refused(folder, changes, text):
    write_svhn(folder / "svhn", **changes)
    with pytest.raises(InputError, match=text) as error:
        load("svhn")
    assert "\n" not in str(error.value)


def test_matlab_files_of_version_7_3_are_refused(folder):
    write_svhn(folder / "svhn")
    file = folder / "svhn" / "test_32x32.mat"
    file.write_bytes(b"MATLAB 7.3 MAT-file" + file.read_bytes()[19:])
    with pytest.raises(InputError, match="version 7.3"):
        load("svhn")


COLOUR = IMAGES["train"][:, :9, :12] / np.float32(255)
TRIALS = np.arange(len(COLOUR))
TRANSFORMS = {
    "jitter": lambda images: jitter(images, 2, 7, TRIALS),
    "blur": lambda images: blur(images, 0.5 + TRIALS % 3),
    "blend": lambda images: blend(images, images[:, ::-1], 0.3),
    **{m: lambda images, m=m: occlude(images, 0.4, m, 7, TRIALS) for m in MASKS},
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_colour_is_transformed_as_a_grey_image(name):
    """The same shift, blur, share and mask for red, green and blue."""
    whole = TRANSFORMS[name](COLOUR)
    assert whole.dtype == np.float32 and whole.shape == COLOUR.shape
    for colour in range(3):
        np.testing.assert_array_equal(whole[..., colour], TRANSFORMS[name](COLOUR[..., colour]))
    assert not np.array_equal(whole, COLOUR)


def test_every_colour_has_noise_of_its_own():
    noise = add_noise(np.full((2, 40, 40, 3), 0.5, np.float32), 0.1, 3, np.arange(2)) - 0.5
    assert noise.std() == pytest.approx(0.1, rel=0.05)
    correlation = np.corrcoef(noise.reshape(-1, 3).T)
    assert np.abs(correlation[np.triu_indices(3, 1)]).max() < 0.1


@pytest.mark.parametrize("channels", [(), (3,)])
def test_contrast_of_an_edge(channels):
    """Nothing where an image is even; ON beside OFF at an edge, as an error function tells."""
    from scipy.special import erf

    edge = np.zeros((1, 41, 41, *channels), np.float32)
    edge[:, :, 20:] = 0.4
    on, off = contrast(edge, 2.0, 2.0)[0]
    row = (on[20], off[20])
    distance = np.arange(41) - 19.5
    surround = 0.2 * (1 + erf(distance / 2.0 / np.sqrt(2)))
    expected = 2.0 * (np.where(distance > 0, 0.4, 0) - surround)
    near = np.abs(distance) < 12  # the outside is dark
    for cells, sign in zip(row, (1, -1), strict=True):
        cells = cells if not channels else cells[:, 1]
        np.testing.assert_allclose(cells[near], (sign * expected[near]).clip(0, 1), atol=5e-3)
    assert on[20, 5].max() < 1e-6 and off[20, 5].max() < 1e-6


def test_shape_of_images():
    assert image_shape(784) == (28, 28, 1) and image_shape(3072) == (32, 32, 3)
    assert image_shape(3) == (1, 1, 3) and image_shape(10) is None
    for side in range(1, 200):
        assert image_shape(side**2)[2] == 1 and image_shape(3 * side**2)[2] == 3

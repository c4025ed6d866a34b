"""Stimuli of the user's own: what is read, what is made of it, what is refused."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from bsd.analysis.report import write_report
from bsd.equations import InputError
from bsd.runs.data import load_images
from bsd.runs.experiments import experiment, open_run, run_experiment
from bsd.runs.experiments.perception import recall, save


@pytest.fixture
def bars(tmp_path):
    """Function that writes noisy images, of horizontal and of vertical bars."""
    rng = np.random.default_rng(0)
    y = np.tile(["up", "down"], 30)
    x = rng.uniform(0, 0.2, (60, 5, 5))
    x[y == "up", 2] += 0.7
    x[y == "down", :, 2] += 0.7

    def write(name="bars.npz", **changes):
        np.savez(tmp_path / name, **{"x": x, "y": y, **changes})
        return tmp_path / name

    write.x, write.y = x, y
    return write


@pytest.fixture
def table(tmp_path):
    frame = pd.DataFrame({"width": [1.0, 2, 3, 4, 5, 9], "kind": list("aabbab"), "height": 7})
    frame["depth"] = [0, -1, 2, 3, 4, 100]
    path = tmp_path / "features.csv"
    frame.to_csv(path, index=False)
    return path


def test_arrays_are_divided_into_parts_with_all_concepts(bars):
    data = load_images(bars(), test=0.3)
    assert data.concept_names == ("down", "up") and data.image_shape == (5, 5)
    assert np.bincount(data.y_train).tolist() == [21, 21] and len(data.y_test) == 18
    shown = np.concatenate([data.x_train, data.x_test]).reshape(60, 25)
    assert np.allclose(np.sort(shown, axis=0), np.sort(bars.x.reshape(60, 25), axis=0))
    assert load_images(bars(), test=0.3).digest == data.digest
    upright = data.x_train[:, 2].mean(axis=1) > 0.5
    assert np.array_equal(data.y_train, upright.astype(int))


def test_parts_of_the_file_are_kept(bars):
    own = {"x_train": bars.x[:40], "y_train": bars.y[:40], "x_test": bars.x[40:]}
    data = load_images(bars(**own, y_test=bars.y[40:]))
    assert np.allclose(data.x_test, bars.x[40:]) and data.y_test.tolist() == [1, 0] * 10


def test_features_are_scaled_by_the_training_part(table):
    data = load_images(table, label="kind", test=0.3)
    assert data.image_shape == (1, 3) and data.concept_names == ("a", "b")
    train, test = data.x_train[:, 0], data.x_test[:, 0]
    assert train.min() == 0 and train[:, [0, 2]].max(axis=0).tolist() == [1, 1]
    assert not train[:, 1].any() and test.min() >= 0 and test.max() <= 1


@pytest.mark.parametrize("colour", [False, True])
def test_folders_of_images_are_concepts(bars, tmp_path, colour):
    folder = tmp_path / "pictures"
    for k, (image, name) in enumerate(zip(bars.x, bars.y, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.uint8(255 * image))
        picture = picture.convert("RGB") if colour else picture
        picture.save(folder / name / f"{k:02}.png")
    data = load_images(folder)
    assert data.image_shape == ((5, 5, 3) if colour else (5, 5))
    assert data.concept_names == ("down", "up") and len(data.x_test) == 12
    assert data.x_train.max() == pytest.approx(bars.x.max(), abs=0.01)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "up" / "a.png")
    with pytest.raises(InputError, match="pixels in .*: crop, resize"):
        load_images(folder)
    (folder / "up" / "a.png").write_text("no image")
    with pytest.raises(InputError, match="cannot be read as an image"):
        load_images(folder)


def test_folders_train_and_test_are_the_parts(tmp_path):
    folder = tmp_path / "pictures"
    for part, level, concepts in (("train", 40, "abba"), ("test", 80, "ab")):
        for k, concept in enumerate(concepts):
            (folder / part / concept).mkdir(parents=True, exist_ok=True)
            picture = np.full((2, 3), level + (concept == "b"), np.uint8)
            Image.fromarray(picture).save(folder / part / concept / f"{k}.png")
    data = load_images(folder)
    assert data.y_train.tolist() == [0, 0, 1, 1] and data.y_test.tolist() == [0, 1]
    assert np.allclose(255 * data.x_train[:, 0, 0], [40, 40, 41, 41])
    assert np.allclose(255 * data.x_test[:, 0, 0], [80, 81])
    with pytest.raises(InputError, match="has its own test part"):
        load_images(folder, test=0.5)
    (folder / "test" / "b" / "1.png").rename(folder / "test" / "a" / "1.png")
    with pytest.raises(InputError, match="b is empty"):
        load_images(folder)
    (folder / "test" / "b").rmdir()
    with pytest.raises(InputError, match="test part: 0 stimuli of the concept 'b'"):
        load_images(folder)


def test_photographs_are_turned_as_the_camera_was_held(tmp_path):
    shown = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right by a quarter
    for concept in "ab":
        for k in range(2):
            (tmp_path / "own" / concept).mkdir(parents=True, exist_ok=True)
            Image.fromarray(shown).save(tmp_path / "own" / concept / f"{k}.png", exif=exif)
    data = load_images(tmp_path / "own")
    assert np.allclose(data.x_train[0] * 255, np.rot90(shown, -1))


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"y": np.arange(3)}, "one label for each"),
        ({"x": np.full((60, 5, 5), np.nan)}, "finite|NaN"),
        ({"x": np.full((60, 5, 5), 3.0)}, "0 to 1|0..1|outside"),
        ({"x": np.full((60, 5, 5), 300)}, "0 to 255"),
        ({"x": np.zeros((60, 5, 5, 2))}, "shaped .*reshape"),
        ({"y": ["one"] * 60}, "one concept only"),
        ({"y": ["one"] + ["two"] * 59}, "1 stimuli of the concept 'one'"),
        ({"x": np.array(["a"] * 60)}, "as numbers"),
    ],
)
def test_arrays_that_cannot_be_are_refused(bars, changes, says):
    with pytest.raises(InputError, match=says):
        load_images(bars(**changes))


@pytest.mark.parametrize(
    "options, says",
    [
        ({}, "data.path is missing"),
        ({"path": "nowhere.npz"}, "no such file"),
        ({"path": "features.csv", "label": "sort"}, "has the columns width, kind"),
        ({"path": "features.csv"}, "'kind' has no finite number in row 1"),
        ({"path": "features.csv", "label": "kind", "test": 2}, "share between 0 and 1"),
    ],
)
def test_options_that_cannot_be_are_refused(table, monkeypatch, options, says):
    monkeypatch.chdir(table.parent)
    with pytest.raises(InputError, match=says):
        load_images(**options)


@settings(max_examples=60, deadline=None)
@given(
    x=arrays.arrays(
        st.sampled_from([np.float64, np.int16, np.uint8]),
        st.tuples(st.integers(4, 8), st.integers(1, 3), st.integers(1, 3)),
    ),
    seed=st.integers(0, 99),
)
def test_what_is_read_is_intensities_or_refused(tmp_path_factory, x, seed):
    path = tmp_path_factory.mktemp("own") / "x.npz"
    np.savez(path, x=x, y=np.random.default_rng(seed).integers(0, 2, len(x)))
    try:
        data = load_images(path)
    except InputError as error:
        assert "\n" not in str(error)
        return
    shown = np.concatenate([data.x_train, data.x_test])
    assert np.isfinite(shown).all() and 0 <= shown.min() and shown.max() <= 1
    assert len(shown) == len(x) and set(data.y_test) == set(data.y_train) == {0, 1}


def test_a_run_on_own_images(bars, tmp_path):
    path = bars()
    chosen = experiment("images").changed(
        hidden=(12, 10), epochs=3, assignments={"data.path": str(path)}
    )
    out = tmp_path / "run"
    metrics = run_experiment(chosen, out, device="runtime")
    assert metrics["accuracy"] > 0.7 and metrics["concepts"] == ["down", "up"]
    assert json.loads((out / "metrics.json").read_text())["source"].startswith("bars.npz: 48 ")
    assert re.search(r"concept (up|down)", write_report(out).read_text())
    trained = open_run(out)
    assert trained.dataset.concept_names == ("down", "up")
    save(out, recall(trained, "runtime", instances=2))
    assert re.search(r"worst: concept (up|down)", write_report(out).read_text())
    with pytest.raises(InputError, match="fold = 7: the experiment has one fold"):
        run_experiment(chosen, tmp_path / "other", fold=7, device="runtime")
    bars(x=bars.x[::-1])
    with pytest.raises(InputError, match="not those that the network was trained"):
        open_run(out)
    with pytest.raises(InputError, match="other data: put the earlier file back"):
        run_experiment(chosen, out, device="runtime", resume=True)


def test_the_way_to_own_data_is_named():
    with pytest.raises(InputError, match="`bsd run images --set data.path=features.csv`"):
        experiment("features.csv")
    with pytest.raises(InputError, match="`bsd run images --set data.path=x.npz`"):
        experiment("demo").changed(assignments={"data.path": "x.npz"})

"""Bad input never becomes a wrong number: generated input runs or is refused in one line.

Other exceptions, and whatever a file could make Python execute, fail these tests. There are more
of the kind in `test_literals`, `data/test_files`, `data/test_datasets`, `engine/test_trials` and
`sweeps/test_plan`; `N_CASES` counts those of this file.
"""

import gzip
import json
import lzma
import os
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.io
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bsd.equations import BIOPHYSICAL, DISCRETE, InputError
from bsd.networks import BidirectionalNetwork
from bsd.runs.data import load, load_series, load_text
from bsd.runs.data.files import CIFAR_FILES, CSV_FILES, IDX_FILES, SVHN_FILES
from bsd.runs.engine import Simulation
from bsd.runs.engine.store import ResultsFolder
from bsd.runs.experiments import experiment, run_many
from bsd.runs.experiments.trained import open_run
from bsd.runs.literals import format_value, parse_assignment, parse_literal
from bsd.runs.sweeps import read_sweep
from bsd.runs.trials import COLUMNS, SOURCES, check_table, trial_arrays

#: Generated cases of each kind.
N = {
    "parameters": 500, "experiments": 150, "tables": 300, "weights": 300, "checkpoints": 150,
    "folders": 150, "idx": 150, "npz": 150, "tables of images": 100, "colour": 150, "sweeps": 150,
    "assignments": 300, "series": 300, "texts": 300,
}
N_CASES = sum(N.values())

_ANY = {"deadline": None, "suppress_health_check": list(HealthCheck)}
KEYS = sorted(key for key, _ in DISCRETE.items())
NUMBERS = st.one_of(
    st.integers(-3, 3), st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([0.5, 10.0])
)
UNITS = st.sampled_from(["", "*ms", "*mV", "*nS", "*Hz", "*Mohm", "*pA", "*us", "/ms", " kg"])
VALUES = st.one_of(
    NUMBERS, st.text(max_size=12), st.booleans(), st.none(), st.lists(NUMBERS, max_size=3),
    st.builds(lambda number, unit: f"{number}{unit}", st.integers(-100, 1000), UNITS),
)


def refused(call, *arguments, **options):
    """Whether a call was refused in one line; what it returns otherwise."""
    try:
        return False, call(*arguments, **options)
    except InputError as error:
        text = str(error)
        assert text.strip() and "\n" not in text and "Traceback" not in text
        return True, None


def test_there_are_2000_cases():
    assert N_CASES >= 2000


@settings(max_examples=N["parameters"], **_ANY)
@given(st.sampled_from([DISCRETE, BIOPHYSICAL]), st.sampled_from(KEYS), VALUES)
def test_parameters(base, key, value):
    """Units at every door: what passes has the dimensions of the default, is finite and kept."""
    if isinstance(value, str):
        was, value = refused(parse_literal, value)
        if was:
            return
    was, changed = refused(base.updated, {key: value})
    if was:
        return
    default, kept = dict(base.items())[key], dict(changed.items())[key]
    assert type(kept) is type(default)
    if isinstance(default, (str, bool)):
        assert kept == value
    else:
        assert getattr(kept, "dim", None) == getattr(default, "dim", None)
        assert np.isfinite(float(kept)) and float(kept) == float(value)
    # and it is written so that it reads as the same
    assert parse_literal(format_value(kept)) == kept


@settings(max_examples=N["assignments"], **_ANY)
@given(st.one_of(st.sampled_from(KEYS), st.text(max_size=10)), st.text(max_size=30))
def test_assignments(key, value):
    was, pair = refused(parse_assignment, f"{key}={value}")
    if not was:
        refused(DISCRETE.updated, dict([pair]))


@settings(max_examples=N["experiments"], **_ANY)
@given(
    st.lists(st.integers(-2, 40), max_size=3),
    st.integers(-1, 3),
    st.sampled_from(["demo", "digits", "mnist", "nothing", ""]),
    st.dictionaries(st.sampled_from(KEYS), NUMBERS, max_size=2),
)
def test_experiments(hidden, epochs, name, assignments):
    from bsd.networks import BidirectionalNetwork

    def build():
        chosen = experiment(name).changed(hidden=hidden, epochs=epochs, assignments=assignments)
        if chosen.parameters.encoding.cells_per_concept > 50:
            return None  # a large network is not what is tested
        return BidirectionalNetwork([16, *chosen.hidden, 2], chosen.parameters)

    was, network = refused(build)
    if not was and network is not None:
        assert network.layout.layers[1:-1] == tuple(hidden)


CELLS = st.one_of(
    NUMBERS, st.none(), st.booleans(), st.text(max_size=5), st.just(np.nan),
    st.sampled_from([*SOURCES, "stimulus+concept", "nothing", "train", "test", "left"]),
    st.lists(st.integers(), max_size=1), st.dates(),
)


@settings(max_examples=N["tables"], **_ANY)
@given(st.data())
def test_trial_tables(trial_table, small_network, dataset, data):
    """A table that passes drives the network with finite intensities from 0 to 1."""
    n = data.draw(st.integers(0, 4))
    table = trial_table(n)
    names = st.sampled_from([*COLUMNS]) | st.text(max_size=6)
    for name in data.draw(st.lists(names, max_size=2)):
        cells = data.draw(st.lists(CELLS, min_size=n, max_size=n))
        table[name] = pd.Series(cells, index=table.index, dtype=object)
    was, checked = refused(check_table, table, dataset, 3)
    if was:
        return
    network = small_network()
    drive, control = trial_arrays([checked], dataset, network, [0])
    assert np.isfinite(drive).all() and drive.min() >= 0 and drive.max() <= 1
    assert np.isfinite(control).all()


@pytest.fixture(scope="module")
def simulation(small_network, dataset):
    return Simulation(small_network(), dataset, "runtime")


DTYPES = st.sampled_from(["f4", "f8", "i4", "u1", "bool", "c8", "U3", "O", "M8[s]"])


@settings(max_examples=N["weights"], **_ANY)
@given(st.data())
def test_weights(simulation, data):
    """Another shape, order of layers or type is refused; what passes is what the network has."""
    before = simulation.weights()
    name = data.draw(st.sampled_from([*before, "W9", "theta0", ""]))
    shape = before[data.draw(st.sampled_from([*before]))].shape
    if data.draw(st.booleans()):
        shape = shape[::-1]
    dtype = data.draw(DTYPES)
    if dtype in ("f4", "f8"):
        value = data.draw(st.sampled_from([0.0, 0.25, -4.0, 5.0, np.nan, np.inf, 1e300]))
        with np.errstate(over="ignore"):
            values = np.full(shape, value).astype(dtype)
    else:
        values = np.zeros(shape, "i4").astype(dtype)
    values = data.draw(st.sampled_from([values, values[None], values[:-1], values.ravel()]))
    was, _ = refused(simulation.set_weights, {name: values})
    if was:
        for key, array in simulation.weights().items():
            np.testing.assert_array_equal(array, before[key])
    else:
        np.testing.assert_array_equal(simulation.weights()[name], values.astype(float))
        simulation.set_weights(before)


@settings(max_examples=100, **_ANY)
@given(st.data())
def test_states(simulation, data):
    """A saved state of another network is refused, whatever is missing or of another shape."""
    state = dict(simulation.state)
    name = data.draw(st.sampled_from([*state]))
    change = data.draw(st.sampled_from(["remove", "shorten", "reshape", "nan", "text"]))
    if change == "remove":
        del state[name]
    else:
        array = np.asarray(state[name])
        state[name] = {
            "shorten": array[:-1], "reshape": array[None],
            "nan": np.full(array.shape, np.nan), "text": np.full(array.shape, "x"),
        }[change]
    before = {key: np.array(value) for key, value in simulation.state.items()}
    was, _ = refused(simulation.restore, state)
    assert was
    for key, value in before.items():
        np.testing.assert_array_equal(simulation.state[key], value)


class Bomb:
    """Executes something when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


YAML_BOMB = "!!python/object/apply:os.mkdir [executed]\n"


def mutated(data, content):
    """A file with bytes changed, cut, joined, or another one that would execute something."""
    kind = data.draw(st.sampled_from(["change", "cut", "twice", "pickle", "yaml", "text"]))
    if kind == "change":
        content = bytearray(content)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        return bytes(content)
    if kind == "cut":
        return content[: data.draw(st.integers(0, len(content) - 1))]
    if kind == "text":
        return data.draw(st.text(max_size=40)).encode("utf-8", "surrogatepass")
    return {"twice": content * 2, "pickle": pickle.dumps(Bomb()), "yaml": YAML_BOMB.encode()}[kind]


@pytest.fixture
def nothing_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "executed").exists()


def test_the_bombs_would_go_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Bomb()))
    assert (tmp_path / "executed").exists()
    (tmp_path / "executed").rmdir()
    yaml.unsafe_load(YAML_BOMB)
    assert (tmp_path / "executed").exists()


CONFIG = {"name": "demo", "seed": 0}


@pytest.fixture
def stopped(tmp_path):
    """A run with two checkpoints."""
    state = {"cortical_basal.w": np.linspace(0, 1, 30, dtype=np.float32)}
    with ResultsFolder(tmp_path / "run", CONFIG) as folder:
        folder.begin()
        for number in range(2):
            frames = {"trials": pd.DataFrame({"trial": [number]})}
            folder.save_chunk(number, frames, state, {"run": 1.0})
    return tmp_path / "run", state


@settings(max_examples=N["checkpoints"], **_ANY)
@given(data=st.data())
def test_checkpoints(stopped, nothing_executed, data):
    """A changed file of an interrupted run is refused, or holds what was written."""
    path, state = stopped
    names = ["checkpoint-000002.npz", "config.yaml", "parts/trials-000001-*.parquet"]
    (file,) = path.glob(data.draw(st.sampled_from(names)))
    content = file.read_bytes()

    def read():
        with ResultsFolder(path, CONFIG, resume=True) as folder:
            chunks, kept, times = folder.load_checkpoint()
            return chunks, kept, times, folder.frame("trials", chunks)

    file.write_bytes(mutated(data, content))
    try:
        was, found = refused(read)
    finally:
        file.write_bytes(content)
    if not was:
        chunks, kept, times, trials = found
        assert chunks == 2 and times == {"run": 1.0} and trials["trial"].to_list() == [0, 1]
        np.testing.assert_array_equal(kept["cortical_basal.w"], state["cortical_basal.w"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A results folder of a finished run, without running it."""
    from bsd.runs.experiments.run import build_network, configuration

    folder = tmp_path_factory.mktemp("trained") / "run"
    folder.mkdir()
    chosen = experiment("demo").changed(hidden=(6,), epochs=1)
    digits = load("digits")
    network = build_network(chosen, digits)
    config = configuration(chosen, digits, network, [0], 0, "runtime")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text(json.dumps({"name": "demo", "accuracy": 0.5}))
    shapes = {p.name: p.shape for p in network.layout.projections}
    np.savez(folder / "weights.npz", **{name: np.zeros(shape) for name, shape in shapes.items()})
    return folder, shapes


@settings(max_examples=N["folders"], **_ANY)
@given(data=st.data())
def test_results_folders(trained, nothing_executed, data):
    folder, shapes = trained
    file = folder / data.draw(st.sampled_from(["config.yaml", "metrics.json", "weights.npz"]))
    content = file.read_bytes()
    file.write_bytes(mutated(data, content))
    try:
        was, found = refused(open_run, folder)
    finally:
        file.write_bytes(content)
    if not was:
        for name, shape in shapes.items():
            assert found.weights[name].shape == shape
            assert np.isfinite(found.weights[name]).all()


@pytest.fixture
def images(tmp_path, monkeypatch):
    """The four files of MNIST with 12 images."""
    monkeypatch.setenv("BSD_DATA", str(tmp_path / "data"))
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for key, file in IDX_FILES.items():
        shape = (12, 28, 28) if key.startswith("x") else (12,)
        array = (np.arange(np.prod(shape)) % 10).astype(np.uint8).reshape(shape)
        header = bytes([0, 0, 8, array.ndim])
        header += b"".join(n.to_bytes(4, "big") for n in array.shape)
        with gzip.GzipFile(folder / file, "wb", compresslevel=1, mtime=0) as stream:
            stream.write(header + array.tobytes())
    return folder


def read_or_refused(file, changed):
    """Images whose file was changed are refused, or are what images must be."""
    content = file.read_bytes()
    file.write_bytes(changed)
    try:
        was, found = refused(load, "mnist")
    finally:
        file.write_bytes(content)
    if not was:
        for part in ("train", "test"):
            x, y = getattr(found, f"x_{part}"), getattr(found, f"y_{part}")
            assert x.shape == (12, 28, 28) and 0 <= x.min() and x.max() <= 1
            assert 0 <= y.min() and y.max() < 10


@settings(max_examples=N["idx"], **_ANY)
@given(data=st.data())
def test_idx_files(images, nothing_executed, data):
    """The content is changed before or after it is compressed."""
    file = images / data.draw(st.sampled_from(list(IDX_FILES.values())))
    content = file.read_bytes()
    if data.draw(st.booleans()):
        changed = gzip.compress(mutated(data, gzip.decompress(content)), 1)
    else:
        changed = mutated(data, content)
    read_or_refused(file, changed)


@settings(max_examples=N["npz"], **_ANY)
@given(data=st.data())
def test_npz_files(tmp_path, monkeypatch, nothing_executed, data):
    """Bytes of the archive are changed, or an array is of another type, shape or range."""
    monkeypatch.setenv("BSD_DATA", str(tmp_path))
    images = np.arange(12 * 28 * 28).reshape(12, 28, 28) % 256
    arrays = {
        "x_train": images.astype(np.uint8), "y_train": np.arange(12) % 10,
        "x_test": images / 255.0, "y_test": np.arange(12, dtype=np.uint8) % 10,
    }
    file = tmp_path / "mnist.npz"
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from([*arrays]))
        array = arrays[name].astype(data.draw(DTYPES))
        scale = data.draw(st.sampled_from([1, 0, -1, 256]))
        with np.errstate(all="ignore"):
            array = array * np.array(scale) if array.dtype.kind in "iuf" else array
        arrays[name] = data.draw(
            st.sampled_from([array, array[None], array[:-1], array[:0], array.ravel()])
        )
    np.savez(file, **arrays)
    content = file.read_bytes()
    read_or_refused(file, content if data.draw(st.booleans()) else mutated(data, content))


@settings(max_examples=N["tables of images"], **_ANY)
@given(data=st.data())
def test_tables_of_images(tmp_path, monkeypatch, nothing_executed, data):
    """Bytes are changed, a value is of another kind, or a row is longer or shorter."""
    monkeypatch.setenv("BSD_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir(exist_ok=True)
    rows = [[k % 10, *(np.arange(784) * k % 256)] for k in range(12)]
    for name in CSV_FILES["mnist"].values():
        file = tmp_path / "mnist" / name
        file.write_text("\n".join(",".join(map(str, row)) for row in rows))
    if data.draw(st.booleans()):
        read_or_refused(file, mutated(data, file.read_bytes()))
        return
    row = data.draw(st.integers(0, 11))
    at = data.draw(st.integers(0, 784))
    value = data.draw(st.sampled_from(["-1", "256", "0.5", "nan", "", "x", "1e3", "1,1", "'1'"]))
    rows[row][at] = value
    changed = "\n".join(",".join(map(str, row)) for row in rows).encode()
    content = file.read_bytes()
    file.write_bytes(changed)
    was, _ = refused(load, "mnist")
    file.write_bytes(content)
    assert was


@pytest.fixture
def colour_images(tmp_path, monkeypatch):
    """Two images in each file of CIFAR-10 and of SVHN."""
    monkeypatch.setenv("BSD_DATA", str(tmp_path / "data"))
    files = []
    images = (np.arange(2 * 3072) % 251).astype(np.uint8)
    for name, own in (("cifar10", CIFAR_FILES), ("svhn", SVHN_FILES)):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for file in np.concatenate([np.ravel(part) for part in own.values()]):
            files.append(folder / file)
            if name == "cifar10":
                rows = np.c_[[[3], [9]], images.reshape(2, -1)].astype(np.uint8)
                files[-1].write_bytes(rows.tobytes())
            else:
                arrays = {"X": images.reshape(32, 32, 3, 2), "y": np.uint8([[1], [10]])}
                scipy.io.savemat(files[-1], arrays, do_compression=file.startswith("test"))
    return files


@settings(max_examples=N["colour"], **_ANY)
@given(data=st.data())
def test_colour_image_files(colour_images, nothing_executed, data):
    """Binary batches and MATLAB files, plain and compressed: cut, lengthened, bytes changed."""
    file = data.draw(st.sampled_from(colour_images))
    content = file.read_bytes()
    file.write_bytes(mutated(data, content))
    try:
        was, found = refused(load, file.parent.name)
    finally:
        file.write_bytes(content)
    if not was:
        for part in ("train", "test"):
            x, y = getattr(found, f"x_{part}"), getattr(found, f"y_{part}")
            assert x.shape[1:] == (32, 32, 3) and 0 <= x.min() and x.max() <= 1
            assert len(x) == len(y) and 0 <= y.min() and y.max() < 10


@settings(max_examples=N["sweeps"], **_ANY)
@given(data=st.data())
def test_sweep_files(tmp_path, nothing_executed, data):
    text = "experiment: demo\nseeds: [0, 1]\ngrid: {learning.lam: [1, 2]}\n"
    (tmp_path / "sweep.yaml").write_bytes(mutated(data, text.encode()))
    was, sweep = refused(read_sweep, tmp_path / "sweep.yaml")
    if not was:
        assert sweep.points and sweep.seeds


def test_folder_is_left_as_it_was(trained, tmp_path):
    """The copies that these tests change and mend are whole."""
    shutil.copytree(trained[0], tmp_path / "copy")
    assert open_run(tmp_path / "copy").weights.keys() == trained[1].keys()


# ------------------------------------------------------------------ series and texts

N_ROWS = 500

FIELDS = st.one_of(
    st.floats().map(repr), st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["", " ", "nan", "NA", "inf", "1e400", "1e308", "-1e308", "1,5", "1;5", "0x1f",
                     "1_0", "True", "x", '"', "\x00", "1\x002", "\u0661", "2021-13-01", "#"]),
    st.text(max_size=4),
)


@st.composite
def tables(draw):
    """Bytes of a CSV file with a series in it and a few things wrong, and the series."""
    series = 5 + np.sin(np.arange(N_ROWS) / 7) + 0.1 * np.cos(np.arange(N_ROWS))
    rows = [["when", "load", "other"]]
    days = pd.date_range("2021-01-01", periods=N_ROWS, freq="h").strftime("%Y-%m-%d %H:%M")
    rows += [[days[k], repr(float(series[k])), str(k)] for k in range(N_ROWS)]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(rows) - 1))
        wrong = ["field", "short", "long", "drop", "repeat", "swap", "all long"]
        match draw(st.sampled_from(wrong)):
            case "field" if rows[at]:  # it may have been made short
                rows[at][draw(st.integers(0, len(rows[at]) - 1))] = draw(FIELDS)
            case "short":
                rows[at] = rows[at][: draw(st.integers(0, 2))]
            case "long":
                rows[at] = [*rows[at], draw(FIELDS)]
            case "drop":
                del rows[at]
            case "repeat":
                rows.insert(at, list(rows[at]))
            case "swap":
                rows[at], rows[-1] = rows[-1], rows[at]
            case "all long":
                rows = [rows[0], *([*row, "7"] for row in rows[1:])]
        if len(rows) < N_ROWS:
            break
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    between = draw(st.sampled_from([",", ",", ",", ", ", ";", "\t"]))
    text = end.join(between.join(row) for row in rows) + draw(st.sampled_from(["", end]))
    coding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"]))
    raw = text.encode(coding, "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        raw = raw[: draw(st.integers(0, len(raw)))] + draw(st.binary(max_size=20))
    return raw


@settings(max_examples=N["series"], **_ANY)
@given(tables(), st.sampled_from([None, "load", "other", "when", "wind", 3, ["load"]]))
def test_series(tmp_path_factory, raw, column):
    """What is read is what a plain reader finds in the file: same values, in order."""
    path = tmp_path_factory.getbasetemp() / "generated.csv"
    path.write_bytes(raw)
    was, data = refused(load_series, path, column)
    if was:
        return
    for x in (data.x_train, data.x_test):
        assert np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1
    assert np.isfinite(data.values).all()
    assert np.isfinite(data.targets.select_dtypes("number")).all(axis=None)
    lines = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    names, *rows = [[f.strip(' "') for f in line.split(",")] for line in lines if line.strip()]
    header = pd.read_csv(path, nrows=0, index_col=False, skipinitialspace=True)  # repeated names
    named = [f"column {name!r} of {path.name}, " for name in header]
    (chosen,) = [i for i, text in enumerate(named) if data.source.startswith(text)]
    missing = {"", "nan", "NA"}  # may stand beyond the last column
    assert all(chosen < len(row) and set(row[len(names) :]) <= missing for row in rows)
    values = np.array([float(row[chosen]) for row in rows])
    learned = values[: int(0.8 * len(values))]
    z = (values - learned.mean()) / learned.std()
    assert np.allclose(data.targets["actual"], z[data.targets["element"]], rtol=1e-6)


TEXTS = st.one_of(
    st.binary(min_size=1, max_size=30), st.text(min_size=1, max_size=30).map(str.encode),
    st.sampled_from(["a", "ab", "ab\r\n", "\ufeffab", "ab\0", "\u00e4", "\n"]).map(str.encode),
    st.sampled_from(["utf-16", "utf-16-le", "utf-32", "latin-1"]).map("\u00e4bc d".encode),
)


@settings(max_examples=N["texts"], **_ANY)
@given(TEXTS, st.integers(1, 1500), st.booleans(), st.sampled_from([None, 150, 5, True, "x"]))
def test_texts(tmp_path_factory, piece, times, compressed, train):
    """What is read is the text of the file, lines ended by one character."""
    path = tmp_path_factory.getbasetemp() / ("generated.xz" if compressed else "generated.txt")
    raw = piece * times
    path.write_bytes(lzma.compress(raw, preset=0) if compressed else raw)
    was, data = refused(load_text, path, train)
    if was:
        return
    text = raw.decode().removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    shown = "".join(data.symbols[k] for k in data.x_train.which)
    assert shown == text[: len(shown)] and 2 <= data.n_concepts == len(set(text))
    assert "".join(data.symbols[k] for k in data.y_test) in text


@pytest.mark.parametrize(
    "content, says",
    [
        ("load\n" + "1,2\n2,3\n" * 300, "that many values"),
        ("a,b\n" + "1,2,3\n2,3,4\n" * 300, "that many values"),
        ("1,2\n" + "1,2\n2,3\n" * 300, "line of names"),
        ("load\n" + "1e200\n-1e200\n" * 300, "another unit"),
        ("a;b\n" + "1,5;2\n1,6;3\n" * 300, "that many values"),
    ],
)
def test_series_that_would_be_read_wrongly(tmp_path, content, says):
    (tmp_path / "series.csv").write_text(content)
    with pytest.raises(InputError, match=says):
        load_series(tmp_path / "series.csv")


@pytest.mark.parametrize("change", ["descending", "gap", "repeat"])
def test_dates_out_of_order_are_refused(tmp_path, change):
    frame = pd.DataFrame({"when": pd.date_range("2021-01-01", periods=600, freq="h"),
                          "load": np.sin(np.arange(600))})
    frame = {"descending": frame[::-1], "gap": frame.drop(index=100),
             "repeat": pd.concat([frame[:100], frame[99:]])}[change]
    frame.to_csv(tmp_path / "series.csv", index=False)
    with pytest.raises(InputError, match="sort the rows"):
        load_series(tmp_path / "series.csv")


@pytest.mark.parametrize("freq", ["MS", "B", "D"])
def test_months_and_working_days_are_no_gaps(tmp_path, freq):
    frame = pd.DataFrame({"when": pd.date_range("1900-01-01", periods=600, freq=freq),
                          "load": np.sin(np.arange(600))})
    frame.to_csv(tmp_path / "series.csv", index=False)
    assert len(load_series(tmp_path / "series.csv").x_train) > 300


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda _: experiment("demo").changed(hidden=16), r"give a list of widths"),
        (lambda _: run_many("demo", "out", seeds=[0]), r"'demo' is no experiment"),
        (lambda _: run_many(experiment("demo"), "out", seeds=[0, 0]), "different whole numbers"),
        (lambda _: BidirectionalNetwork([9, 8, 3], {"cell.g_apical": 2}), "DISCRETE.updated"),
        (lambda _: BidirectionalNetwork([9, 8, 3], "DISCRETE"), "DISCRETE.updated"),
        (lambda network: Simulation(network, "digits", "runtime"), "is no data set"),
        (lambda network: Simulation(network, load("digits"), "runtime", seed="a"), "seed = 'a'"),
        (lambda network: Simulation(network, load("digits"), "runtime", seed=-1), "seed = -1"),
        (lambda network: Simulation(network, load("digits"), "runtime").set_weights(np.eye(3)),
         "by projection"),
    ],
)
def test_arguments_of_another_type_are_refused(call, says):
    with pytest.raises(InputError, match=says):
        call(BidirectionalNetwork([64, 8, 10], DISCRETE))

"""The results folder: what a checkpoint holds, and what makes room for a new run."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bsd.equations import InputError
from bsd.runs.engine.store import ResultsFolder

CONFIG = {"name": "demo", "layers": [9, 8, 3], "seed": 0}


@pytest.fixture
def state():
    generator = np.random.default_rng(0)
    return {
        "cortical_basal.w": generator.normal(size=50).astype(np.float32),
        "memory.pointer": np.arange(12, dtype=np.int32),
    }


def frames(number):
    return {"trials": pd.DataFrame({"trial": [2 * number, 2 * number + 1]})}


def test_checkpoint_gives_back_what_it_was_given(tmp_path, state):
    times = {"run": 1.25, "train": 0.1 + 0.2, "trained": 24.0}
    with ResultsFolder(tmp_path, CONFIG) as folder:
        folder.begin()
        assert folder.load_checkpoint() == (0, None, {})
        for number in range(3):
            folder.save_chunk(number, frames(number), state, times | {"run": float(number)})
    with ResultsFolder(tmp_path, CONFIG, resume=True) as again:
        again.begin()
        chunks, kept, spent = again.load_checkpoint()
        assert chunks == 3
        assert spent == times | {"run": 2.0}
        assert kept.keys() == state.keys()
        for name, value in state.items():
            assert kept[name].dtype == value.dtype and np.array_equal(kept[name], value)
        assert again.frame("trials", 3)["trial"].tolist() == [0, 1, 2, 3, 4, 5]
        assert again.frame("spikes", 3).empty


def test_nothing_goes_before_the_run_begins(tmp_path, state):
    write(tmp_path, state, chunks=1)
    with ResultsFolder(tmp_path, CONFIG, resume=True) as folder:
        folder.write_json("metrics", {"accuracy": 1.0})
        folder.write_json("generated", {"prompt": "a", "written": "b"})
        folder.write_frame("trials", frames(0)["trials"])
        folder.write_frame("forecast", frames(0)["trials"])
    files = sorted(f for f in tmp_path.rglob("*"))
    other = ResultsFolder(tmp_path, CONFIG | {"seed": 1})
    with pytest.raises(InputError, match="finished run: .*--out.*--overwrite"), other:
        pass
    with ResultsFolder(tmp_path, CONFIG | {"seed": 1}, overwrite=True) as other:
        assert sorted(f for f in tmp_path.rglob("*")) == files
        assert other.finished
        other.begin()
        assert not other.finished
        assert sorted(f.name for f in tmp_path.rglob("[!.]*")) == ["config.yaml", "parts"]
        assert other.load_checkpoint() == (0, None, {})
    with pytest.raises(InputError, match="another seed"), resumed(tmp_path):
        pass


def test_without_resume_a_checkpoint_is_not_read(tmp_path, state):
    write(tmp_path, state, chunks=1)
    files = sorted(f for f in tmp_path.rglob("*"))
    with pytest.raises(InputError, match="unfinished run: .*--resume.*--overwrite"):
        ResultsFolder(tmp_path, CONFIG).__enter__()
    assert sorted(f for f in tmp_path.rglob("*")) == files
    with ResultsFolder(tmp_path, CONFIG, overwrite=True) as folder:
        assert folder.load_checkpoint() == (0, None, {})


def test_a_run_without_a_checkpoint_is_begun_anew(tmp_path):
    with ResultsFolder(tmp_path, CONFIG) as folder:
        folder.begin()
    with ResultsFolder(tmp_path, CONFIG | {"seed": 1}) as folder:
        folder.begin()


def write(path, state, chunks=3):
    """A run of so many chunks, not finished."""
    with ResultsFolder(path, CONFIG) as folder:
        folder.begin()
        for number in range(chunks):
            folder.save_chunk(number, frames(number), state, {})


def part(path, name, number):
    """File of a part of a frame."""
    (file,) = (path / "parts").glob(f"{name}-{number:06d}-*.parquet")
    return file


def resumed(path):
    return ResultsFolder(path, CONFIG, resume=True)


def test_the_last_two_checkpoints_are_kept_until_the_end(tmp_path, state):
    write(tmp_path, state, chunks=4)
    names = sorted(file.name for file in tmp_path.glob("checkpoint*"))
    assert names == ["checkpoint-000003.npz", "checkpoint-000004.npz"]
    with resumed(tmp_path) as folder:
        folder.close()
    assert not list(tmp_path.glob("checkpoint*")) and not folder.parts.exists()


def altered_value(file):
    """A whole archive, one weight of it changed."""
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed["cortical_basal.w"] = changed["cortical_basal.w"] + np.float32(1e-3)
    np.savez(file, **changed)


def other_format(file):
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed["_known"] = np.array(str(changed["_known"]).replace('"format": 1', '"format": 99'))
    np.savez(file, **changed)


def truncated(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def emptied(file):
    file.write_bytes(b"")


@pytest.mark.parametrize(
    "damage", [altered_value, other_format, truncated, flipped_bit, emptied]
)
def test_damaged_checkpoint_is_refused_and_the_last_good_one_named(tmp_path, state, damage):
    write(tmp_path, state)
    last, before = tmp_path / "checkpoint-000003.npz", tmp_path / "checkpoint-000002.npz"
    damage(last)
    why = "another version" if damage is other_format else "is damaged"
    cure = f"delete it to go on from {before.name}, the last good one .chunk 2."
    with pytest.raises(InputError, match=f"{last.name} .*{why}.*: {cure}"), resumed(tmp_path) as it:
        it.load_checkpoint()
    last.unlink()
    with resumed(tmp_path) as folder:
        assert folder.load_checkpoint()[0] == 2
        assert folder.frame("trials", 2)["trial"].tolist() == [0, 1, 2, 3]
    damage(before)
    with pytest.raises(InputError, match="start anew with --overwrite"), resumed(tmp_path) as it:
        it.load_checkpoint()


@pytest.mark.parametrize("damage", [truncated, flipped_bit, emptied])
def test_damaged_part_of_a_frame_is_refused(tmp_path, state, damage):
    write(tmp_path, state)
    damage(part(tmp_path, "trials", 1))
    with resumed(tmp_path) as folder:
        folder.load_checkpoint()
        with pytest.raises(InputError, match="trials-000001-.*parquet is damaged"):
            folder.frame("trials", 3)


def test_missing_part_of_a_frame_is_refused(tmp_path, state):
    write(tmp_path, state)
    part(tmp_path, "trials", 1).unlink()
    with resumed(tmp_path) as folder:
        folder.load_checkpoint()
        with pytest.raises(InputError, match="holds 4 rows of trials, 6 were written"):
            folder.frame("trials", 3)


def test_streamed_frame_is_the_joined_one(tmp_path):
    """Parts of different length and index, categories and an empty part among them."""
    parts = [
        pd.DataFrame(
            {"trial": range(n), "t_ms": 0.5, "population": pd.Categorical(["F1"] * n, ["B1", "F1"])}
        )
        for n in (3, 0, 5)
    ]
    parts[2].index += 100
    with ResultsFolder(tmp_path, CONFIG) as folder:
        folder.begin()
        for number, frame in enumerate(parts):
            folder.save_chunk(number, {"spikes": frame}, {"memory.pointer": np.arange(2)}, {})
        for name in ("spikes", "voltages"):
            folder.stream_frame(name, 3)
        expected = pd.concat(parts, ignore_index=True)
        pd.testing.assert_frame_equal(folder.frame("spikes", 3), expected)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "spikes.parquet"), expected)
        assert pd.read_parquet(tmp_path / "voltages.parquet").empty
        flipped_bit(part(tmp_path, "spikes", 2))
        with pytest.raises(InputError, match="spikes-000002-.*parquet is damaged"):
            folder.stream_frame("spikes", 3)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "spikes.parquet"), expected)


def test_damaged_config_is_refused(tmp_path, state):
    write(tmp_path, state)
    for content in ("", "[1, 2", "7"):
        (tmp_path / "config.yaml").write_text(content)
        with pytest.raises(InputError, match="config.yaml is damaged"), resumed(tmp_path):
            pass


def test_second_run_in_a_folder_is_refused(tmp_path, state):
    """With and without resuming; the lock goes with the process, however it ends."""
    script = (
        "import sys; from bsd.runs.engine.store import ResultsFolder\n"
        f"with ResultsFolder(sys.argv[1], {CONFIG!r}) as folder:\n"
        "    folder.begin(); print('in', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"in\n"
        for resume in (False, True):
            with pytest.raises(InputError, match=f"is in use .by process {holder.pid} on "):
                with ResultsFolder(tmp_path, CONFIG, resume):
                    pass
    finally:
        holder.kill()
        holder.communicate()
    with resumed(tmp_path) as folder:
        folder.begin()


def test_part_without_a_checkpoint_is_replaced(tmp_path, state):
    """The run was killed between the two, and writes something else when it goes on."""
    write(tmp_path, state, chunks=3)
    (tmp_path / "checkpoint-000003.npz").unlink()
    with resumed(tmp_path) as folder:
        assert folder.load_checkpoint()[0] == 2
        folder.save_chunk(2, frames(7), state, {})
        assert folder.frame("trials", 3)["trial"].tolist() == [0, 1, 2, 3, 14, 15]


def test_what_a_killed_process_left_is_no_other_file(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.yaml.1234.5678").touch()
    with ResultsFolder(tmp_path, CONFIG) as folder:
        folder.begin()
        folder.close()
    assert {file.name for file in tmp_path.iterdir()} == {".lock", "config.yaml"}

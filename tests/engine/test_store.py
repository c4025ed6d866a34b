"""The results folder: what a checkpoint holds, and what makes room for a new run."""

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
    folder = ResultsFolder(tmp_path, CONFIG)
    folder.begin()
    assert folder.load_checkpoint() == (0, None, {})
    times = {"run": 1.25, "train": 0.1 + 0.2, "trained": 24.0}
    for number in range(3):
        folder.save_chunk(number, frames(number), state, times | {"run": float(number)})
    again = ResultsFolder(tmp_path, CONFIG, resume=True)
    again.begin()
    chunks, kept, spent = again.load_checkpoint()
    assert chunks == 3
    assert spent == times | {"run": 2.0}
    assert kept.keys() == state.keys()
    for name, value in state.items():
        assert kept[name].dtype == value.dtype and np.array_equal(kept[name], value)
    assert again.frame("trials", 2)["trial"].tolist() == [0, 1, 2, 3]
    assert again.frame("trials", 3)["trial"].tolist() == [0, 1, 2, 3, 4, 5]
    assert again.frame("spikes", 3).empty


def test_nothing_goes_before_the_run_begins(tmp_path, state):
    folder = ResultsFolder(tmp_path, CONFIG)
    folder.begin()
    folder.save_chunk(0, frames(0), state, {})
    folder.write_json("metrics", {"accuracy": 1.0})
    files = sorted(f for f in tmp_path.rglob("*"))
    other = ResultsFolder(tmp_path, CONFIG | {"seed": 1})
    assert sorted(f for f in tmp_path.rglob("*")) == files
    assert other.finished
    other.begin()
    assert not other.finished
    assert sorted(f.name for f in tmp_path.rglob("*")) == ["config.yaml", "parts"]
    assert other.load_checkpoint() == (0, None, {})
    with pytest.raises(InputError, match="another seed"):
        ResultsFolder(tmp_path, CONFIG, resume=True)


def test_without_resume_a_checkpoint_is_not_read(tmp_path, state):
    folder = ResultsFolder(tmp_path, CONFIG)
    folder.begin()
    folder.save_chunk(0, frames(0), state, {})
    assert ResultsFolder(tmp_path, CONFIG).load_checkpoint() == (0, None, {})

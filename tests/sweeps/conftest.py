"""Sweep files, and workers that know the tiny data set."""

from importlib.util import find_spec
from pathlib import Path

import pytest

#: Without the extra `sweep`.
collect_ignore = [] if find_spec("distributed") else ["test_run.py"]


@pytest.fixture(scope="session")
def preload():
    """File that Dask workers load."""
    return str(Path(__file__).with_name("workers.py"))


@pytest.fixture
def read(tmp_path):
    """Function from the text of a sweep file to the sweep."""
    from bsd.runs.sweeps import read_sweep

    def write_and_read(text):
        (tmp_path / "sweep.yaml").write_text(text)
        return read_sweep(tmp_path / "sweep.yaml")

    return write_and_read

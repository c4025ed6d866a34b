"""The results folder of a run: parts while it runs, whole frames at its end.

Every finished chunk leaves its frames in ``parts/`` and then, atomically, a checkpoint: a run
that is stopped at any moment goes on from its last checkpoint.
"""

import json
import os
import shutil
import time
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import yaml

from bsd.equations.errors import InputError

__all__ = ["FRAMES", "ResultsFolder", "write_atomically", "write_json"]

#: Frames that a run collects chunk by chunk.
FRAMES = (
    "trials",
    "counts",
    "cell_counts",
    "spikes",
    "voltages",
    "alignment",
    "weight_alignment",
    "weight_distribution",
    "cosines",
    "recalled",
    "forecast",
)


class ResultsFolder:
    """Files of one run.

    Parameters
    ----------
    path : path-like
        Made if it is missing.
    config : dict
        What was asked for; a run resumes only with the config that it was started with.
    resume : bool
        Go on from the checkpoint in the folder; else an earlier run's files are replaced.

    Raises
    ------
    InputError
        If the folder cannot be written, holds something else than a run, or was started with
        another config.
    """

    def __init__(self, path, config, resume=False):
        self.path = Path(path)
        self.parts = self.path / "parts"
        self.config = config
        self._resume = resume
        known = (self.path / "config.yaml").exists()
        try:
            if self.path.exists() and any(self.path.iterdir()) and not known:
                raise InputError(
                    f"{self.path} holds other files: choose a new folder with --out."
                )
            if resume:
                self._check_same(known)
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / ".writable", lambda file: None)
            (self.path / ".writable").unlink()
        except OSError as error:
            raise InputError(
                f"cannot write to {self.path} ({error.strerror}): choose another folder with --out."
            ) from None

    def begin(self):
        """Make room for the run: files of an earlier one go, unless it is resumed."""
        if not self._resume:
            shutil.rmtree(self.parts, ignore_errors=True)
            shutil.rmtree(self.path / "experiments", ignore_errors=True)  # on the earlier network
            old = [*self.path.glob("weights*.npz")]
            old += [self.path / f for f in ("checkpoint.npz", "metrics.json", "report.html")]
            for file in old:
                file.unlink(missing_ok=True)
        self.parts.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / "config.yaml", lambda file: _dump_yaml(self.config, file))

    def _check_same(self, known):
        if not known:
            raise InputError(f"{self.path} holds no run to resume: start it without --resume.")
        before = yaml.safe_load((self.path / "config.yaml").read_text())
        now = yaml.safe_load(yaml.safe_dump(self.config))
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                raise InputError(
                    f"{self.path} was started with another {key}: "
                    "resume with the same options, or start anew without --resume."
                )

    @property
    def finished(self):
        """Whether the run came to its end."""
        return (self.path / "metrics.json").exists()

    def load_checkpoint(self):
        """Chunks done, state and times at the last checkpoint, or ``(0, None, {})``.

        Returns
        -------
        chunks : int
        state : dict of str to ndarray, or None
        times : dict of str to float
            What `save_chunk` was given.
        """
        file = self.path / "checkpoint.npz"
        if not self._resume or not file.exists():
            return 0, None, {}
        try:
            with np.load(file, allow_pickle=False) as data:
                state = {k: data[k] for k in data.files if not k.startswith("_")}
                times = {
                    k.removeprefix("_time_"): float(data[k])
                    for k in data.files
                    if k.startswith("_time_")
                }
                return int(data["_chunks"]), state, times
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(
                f"{file} is damaged ({error}): start anew without --resume."
            ) from None

    def save_chunk(self, number, frames, state, times):
        """Keep the frames of a chunk, then the checkpoint that says so.

        Parameters
        ----------
        number : int
        frames : dict of str to DataFrame
        state : dict of str to ndarray
        times : dict of str to float
            Seconds spent so far, by what.
        """
        for name, frame in frames.items():
            if len(frame):
                part = self.parts / f"{name}-{number:06d}.parquet"
                write_atomically(part, lambda file, frame=frame: frame.to_parquet(file))
        arrays = {**state, "_chunks": np.int64(number + 1)}
        arrays |= {f"_time_{name}": np.float64(value) for name, value in times.items()}
        write_atomically(self.path / "checkpoint.npz", lambda file: np.savez(file, **arrays))

    def frame(self, name, chunks):
        """One frame from the parts of the first so many chunks."""
        files = sorted(self.parts.glob(f"{name}-*.parquet"))
        files = [f for f in files if int(f.stem.rpartition("-")[2]) < chunks]
        if not files:
            return pd.DataFrame()
        return pd.concat([pd.read_parquet(f) for f in files], ignore_index=True)

    def write_frame(self, name, frame):
        """Write ``NAME.parquet``."""
        write_atomically(self.path / f"{name}.parquet", frame.to_parquet)

    def write_arrays(self, name, **arrays):
        """Write ``NAME.npz``, without pickle."""
        write_atomically(self.path / f"{name}.npz", lambda file: np.savez(file, **arrays))

    def write_json(self, name, content):
        """Write ``NAME.json``."""
        write_json(self.path / f"{name}.json", content)

    def close(self):
        """Remove what only a resumed run would need."""
        shutil.rmtree(self.parts, ignore_errors=True)
        (self.path / "checkpoint.npz").unlink(missing_ok=True)


def write_atomically(path, write):
    """Write a file under another name, flush it to disk, and give it its name."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with open(scratch, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def write_json(path, content):
    """Write a JSON file, numbers of NumPy included."""
    text = json.dumps(content, indent=1, default=_plain)
    write_atomically(path, lambda file: file.write(text.encode()))


def _dump_yaml(content, file):
    file.write(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value)} in a JSON file")

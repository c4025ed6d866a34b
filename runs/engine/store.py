"""The results folder of a run: parts while it runs, whole frames at its end.

Every finished chunk leaves its frames in ``parts/`` and then, atomically, a checkpoint: a run
that is stopped at any moment goes on from its last checkpoint.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import socket
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import yaml

from bsd.equations.errors import InputError
from bsd.runs.interrupts import uninterrupted

__all__ = [
    "FRAMES",
    "OF_SOME_DATA",
    "STREAMED",
    "ResultsFolder",
    "locked",
    "write_atomically",
    "write_json",
    "write_parquet",
]

#: Version of the format of checkpoints and parts; those of another one are refused.
FORMAT = 1

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
    "reconstruction",
)

#: Those of them that are written where there is something to write.
OF_SOME_DATA = ("forecast", "reconstruction")

#: Those of them that may not fit into memory.
STREAMED = ("cell_counts", "spikes", "voltages")


class ResultsFolder:
    """Files of one run, for one process at a time; used as a context.

    Parameters
    ----------
    path : path-like
        Made if it is missing.
    config : dict
        What was asked for; a run resumes only with the config that it was started with.
    resume : bool
        Go on from the checkpoint in the folder.
    overwrite : bool
        Replace an earlier run's files.

    Raises
    ------
    InputError
        On entering the context: if the folder cannot be written, is in use by another process,
        holds something else than a run, a run that is neither resumed nor to be replaced, or one
        that was started with another config.
    """

    def __init__(self, path, config, resume=False, overwrite=False):
        self.path = Path(path)
        self.parts = self.path / "parts"
        # plain values: a number of NumPy must not be found out after an earlier run was deleted
        self.config = json.loads(json.dumps(config, default=_plain))
        self._resume = resume
        self._overwrite = overwrite
        self._rows = {}
        self._held = ExitStack()

    def __enter__(self):
        with self._held:
            try:
                files = [f.name for f in self.path.iterdir()] if self.path.exists() else []
                visible = {name for name in files if not name.startswith(".")}
                if visible and "config.yaml" not in visible:
                    several = any(re.fullmatch(r"(seed\d+-)?fold\d+", name) for name in visible)
                    raise InputError(
                        f"{self.path} holds runs of several seeds or folds: name all seeds, also "
                        "those that are there, with --resume, or choose another folder with --out."
                        if several
                        else f"{self.path} holds other files: choose a new folder with --out."
                    )
                if self._resume and not visible:
                    if not self.path.exists():  # else stopped before it began
                        raise InputError(
                            f"{self.path} holds no run to resume: start it without --resume."
                        )
                    self._resume = False
                self.path.mkdir(parents=True, exist_ok=True)
                self._held.enter_context(locked(self.path))
                write_atomically(self.path / ".writable", lambda file: None)
                (self.path / ".writable").unlink()
            except OSError as error:
                raise InputError(
                    f"cannot write to {self.path} ({error.strerror}): choose another folder with "
                    "--out."
                ) from None
            if self._resume:
                self._check_same()
            elif not self._overwrite and self.finished:
                raise InputError(
                    f"{self.path} holds a finished run: choose another folder with --out, or "
                    "replace it with --overwrite (--resume keeps it, and runs what is missing of "
                    "several)."
                )
            elif not self._overwrite and self._checkpoints():
                raise InputError(
                    f"{self.path} holds an unfinished run: go on with --resume, or start anew "
                    "with --overwrite."
                )
            self._held = self._held.pop_all()
        return self

    def __exit__(self, *_):
        self._held.close()

    def begin(self):
        """Make room for the run: files of an earlier one go, unless it is resumed."""
        if not self._resume:
            # the metrics first: they say that the rest is whole
            old = ["metrics.json", "provenance.json", "generated.json", "recall.npz"]
            old += ["reconstructed.npz", "report.html", *(f"{name}.parquet" for name in FRAMES)]
            old = [self.path / file for file in old]
            for file in (*old, *self.path.glob("weights*.npz"), *self._checkpoints()):
                file.unlink(missing_ok=True)
            for folder in ("parts", "experiments", "figures"):  # made from the earlier network
                shutil.rmtree(self.path / folder, ignore_errors=True)
            write_atomically(self.path / "config.yaml", lambda file: _dump_yaml(self.config, file))
        self.parts.mkdir(exist_ok=True)

    def _check_same(self):
        file = self.path / "config.yaml"
        try:
            before = dict(yaml.safe_load(file.read_text()))
        except (OSError, ValueError, TypeError, yaml.YAMLError):
            raise InputError(f"{file} is damaged: start anew with --overwrite.") from None
        now = yaml.safe_load(yaml.safe_dump(self.config))
        before.setdefault("equations", now.get("equations"))  # older versions did not say
        data = [d.pop("data_digest", None) for d in (before, now)]
        asked = [[d.get(key) for key in ("data", "options")] for d in (before, now)]
        # another file may have other layers, too
        if data[0] != data[1] and asked[0] == asked[1]:
            raise InputError(
                f"{self.path} was started by an earlier version, which trained on less of the "
                "data: start anew with --overwrite."
                if data[0] is None
                else f"{self.path} was started with other data: put the earlier file back, or "
                "start anew with --overwrite."
            )
        for key in sorted({*before, *now}, key=str):
            if before.get(key) != now.get(key):
                raise InputError(
                    f"{self.path} was started with another {key}: "
                    "resume with the same options, or start anew with --overwrite."
                )

    @property
    def finished(self):
        """Whether the run came to its end."""
        return (self.path / "metrics.json").exists()

    def _checkpoints(self):
        """Files of the checkpoints, the last one first."""
        return sorted(self.path.glob("checkpoint-*.npz"), reverse=True)

    def load_checkpoint(self):
        """Chunks done, state and times at the last checkpoint, or ``(0, None, {})``.

        Returns
        -------
        chunks : int
        state : dict of str to ndarray, or None
        times : dict of str to float
            What `save_chunk` was given.

        Raises
        ------
        InputError
            If the last checkpoint is damaged or has another format; the one before it, if it is
            whole, is named.
        """
        self._rows = {}
        files = self._checkpoints() if self._resume else []
        if not files:
            return 0, None, {}
        try:
            chunks, self._rows, state, times = _read_checkpoint(files[0])
        except _Damaged as error:
            cure = "start anew with --overwrite."
            for file in files[1:]:
                try:
                    chunks = _read_checkpoint(file)[0]
                except _Damaged:
                    continue
                cure = (
                    f"delete it to go on from {file.name}, the last good one (chunk {chunks})."
                )
                break
            raise InputError(f"{files[0]} {error}: {cure}") from None
        return chunks, state, times

    @uninterrupted()
    def save_chunk(self, number, frames, state, times):
        """Keep the frames of a chunk, then the checkpoint that says so.

        The checkpoint before it is kept, too.

        Parameters
        ----------
        number : int
        frames : dict of str to DataFrame
        state : dict of str to ndarray
        times : dict of str to float
            Seconds spent so far, by what.
        """
        for name, frame in frames.items():
            for left in self.parts.glob(f"{name}-{number:06d}-*.parquet"):  # no checkpoint says so
                left.unlink()
            if len(frame):
                content = frame.to_parquet(index=False)
                part = self.parts / f"{name}-{number:06d}-{_short_digest(content)}.parquet"
                write_atomically(part, lambda file, content=content: file.write(content))
                self._rows[name] = self._rows.get(name, 0) + len(frame)
        known = {"format": FORMAT, "chunks": number + 1, "rows": self._rows, "times": times}
        arrays = {**state, "_known": np.array(json.dumps(known, default=_plain))}
        arrays["_sha256"] = np.array(_digest(arrays))
        _sync_folder(self.parts)
        file = self.path / f"checkpoint-{number + 1:06d}.npz"
        write_atomically(file, lambda file: np.savez(file, **arrays))
        _sync_folder(self.path)
        for old in self._checkpoints()[2:]:
            old.unlink()

    def frame(self, name, chunks):
        """One frame from the parts of the first so many chunks.

        Raises
        ------
        InputError
            If a part is damaged, or rows are missing.
        """
        tables = [table.to_pandas() for table in self._tables(name, chunks)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _tables(self, name, chunks):
        """The parts of a frame, one after the other, checked."""
        n_rows = 0
        for file in sorted(self.parts.glob(f"{name}-*.parquet")):
            _, number, digest = file.stem.split("-")
            if int(number) < chunks:
                content = file.read_bytes()
                if _short_digest(content) != digest:
                    raise InputError(f"{file} is damaged: start anew with --overwrite.")
                table = parquet.read_table(io.BytesIO(content))
                n_rows += len(table)
                yield table
        if n_rows != self._rows.get(name, 0):
            raise InputError(
                f"{self.parts} holds {n_rows} rows of {name}, {self._rows.get(name, 0)} were "
                "written: files are missing, start anew with --overwrite."
            )

    def stream_frame(self, name, chunks):
        """Write ``NAME.parquet`` from the parts, of which one at a time is in memory.

        Raises
        ------
        InputError
            As `frame`.
        """
        if not self._rows.get(name):
            self.write_frame(name, pd.DataFrame())
            return

        def write(out):
            tables = self._tables(name, chunks)
            first = next(tables)
            with parquet.ParquetWriter(out, first.schema) as writer:
                writer.write_table(first)
                for table in tables:
                    writer.write_table(table.cast(first.schema))

        write_atomically(self.path / f"{name}.parquet", write)

    def write_frame(self, name, frame):
        """Write ``NAME.parquet``."""
        write_parquet(self.path / f"{name}.parquet", frame)

    def write_arrays(self, name, **arrays):
        """Write ``NAME.npz``, without pickle."""
        write_atomically(self.path / f"{name}.npz", lambda file: np.savez(file, **arrays))

    def write_json(self, name, content):
        """Write ``NAME.json``."""
        write_json(self.path / f"{name}.json", content)

    def close(self):
        """Remove what only a resumed run would need."""
        for file in (*self._checkpoints(), *self.path.glob(".*.*.*")):  # of killed processes, too
            file.unlink(missing_ok=True)
        shutil.rmtree(self.parts, ignore_errors=True)


def _short_digest(content):
    """What the name of a part says of its content."""
    return hashlib.sha256(content).hexdigest()[:16]


class _Damaged(Exception):
    """A checkpoint that cannot be used, and why."""


def _read_checkpoint(file):
    """Chunks, rows of each frame, state and times."""
    try:
        with np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        digest = str(arrays.pop("_sha256", ""))
        whole = digest == _digest(arrays)
        known = dict(json.loads(str(arrays.pop("_known", "{}"))))
    # a damaged archive raises nearly anything: zipfile, zlib, struct, ValueError, MemoryError
    except Exception as error:
        raise _Damaged(f"is damaged ({_one_line(error)})") from None
    if known.get("format") != FORMAT:
        raise _Damaged("was written by another version of this package")
    if not whole:
        raise _Damaged("is damaged (its contents do not fit its checksum)")
    return known["chunks"], known["rows"], arrays, known["times"]


def _digest(arrays):
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        array = np.ascontiguousarray(array)
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.data if array.ndim and array.dtype.kind != "U" else array.tobytes())
    return digest.hexdigest()


def _one_line(error):
    return " ".join(str(error).split())[:120]


@contextmanager
def locked(folder):
    """A folder for this process alone, for as long as the context lasts.

    The lock is the kernel's: it ends with the process, however that ends. Its file stays.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    InputError
        If another process holds it, with the number of that process.
    OSError
        If the folder cannot be written.
    """
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"{folder} is in use ({file.read() or 'by another process'}): wait for it to end, "
                "or choose another folder with --out."
            ) from None
        file.truncate(0)
        file.write(f"by process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def write_atomically(path, write):
    """Write a file under another name, flush it to disk, and give it its name.

    Raises
    ------
    OSError
        If it cannot be written, for example because the disk is full; an earlier file of that
        name is as it was.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with open(scratch, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        # what a library raises may have no number and no file name
        reason = error.strerror or _one_line(error)
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error
    finally:
        scratch.unlink(missing_ok=True)


@uninterrupted()
def write_parquet(path, frame):
    """Write a frame as `write_atomically` does."""
    write_atomically(path, frame.to_parquet)


def _sync_folder(folder):
    """A new name is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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

"""Run a sweep on Dask, row by row into one Parquet file."""

import ast
import hashlib
import importlib.util
import json
import logging
import queue
import traceback
import uuid
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pandas as pd

from bsd.equations import InputError
from bsd.equations.errors import NotFiniteError, require_counts
from bsd.runs.engine.store import locked, write_atomically, write_parquet
from bsd.runs.experiments.run import build_network, configuration, load_data
from bsd.runs.processes import check_main_guard

__all__ = ["run_sweep"]

#: Seconds between two looks at the workers.
INTERVAL_S = 0.5

#: How often a run is tried before it is given up, unless it would only fail in the same way.
ATTEMPTS = 3

LOST = (
    "the connection to the Dask scheduler is lost: what has finished is kept, go on with the same "
    "command."
)

#: What of a configuration makes no other run; the equations are part of the structure.
_NOT_IN_KEY = ("name", "description", "equations")

#: Columns of the results besides what is varied and what was measured.
_FIRST = ("point", "label", "factor", "reference", "seed", "fold", "key")
_LAST = ("status", "error", "code")

#: Packages, and modules, that results depend on.
_CODE = (
    "bsd.equations", "bsd.networks", "bsd.runs.data", "bsd.runs.engine", "bsd.runs.experiments",
    "bsd.runs.trials", "bsd.analysis.measures", "bsd.analysis.perception",
)


@dataclass
class _Task:
    """A run of a point, or, with `runs`, the compilation that they wait for."""

    name: str
    experiment: object
    row: dict = field(default_factory=dict)
    structure: str = ""
    runs: list = field(default_factory=list)
    attempts: int = 0
    anew: bool = False
    log: str = ""


def run_sweep(sweep, out, *, scheduler=None, workers=None, progress=None):
    """Run all points of a sweep that have not been run, with all seeds and folds.

    Parameters
    ----------
    sweep : Sweep
    out : path-like
        Folder: ``results.parquet``, ``sweep.yaml``, and ``runs/KEY/`` and ``logs/KEY.txt`` of each
        run, seen alike from all workers. A run is known by a key that depends on everything that
        was asked for: one that has finished is never run again.
    scheduler : str, optional
        Address of a Dask scheduler; local worker processes by default.
    workers : int, optional
        Local processes, by default as many as there are cores.
    progress : callable, optional
        ``progress(done, failed, total, running)``, at least every second; `running` maps names of
        runs to (stage, done, total).

    Returns
    -------
    DataFrame
        One row per point, seed and fold, also in ``results.parquet``: point, label, factor,
        whether it is the reference, seed, fold, key, what is varied, what was measured
        (`bsd.runs.sweeps.worker.MEASURES`), status (``done`` or ``failed``), error, and a hash of
        the code that ran it.

    Raises
    ------
    InputError
        If Dask is not installed, a point cannot be built, the folder holds something else or
        results of other code, another process runs a sweep in it, or the scheduler cannot be
        reached.
    RuntimeError
        If the connection to the scheduler is lost.
    """
    _need_dask()
    from bsd.runs.sweeps.worker import MEASURES

    if workers is not None:
        require_counts(workers=workers)
    if scheduler is None:
        check_main_guard("run_sweep")
    out = Path(out)
    tasks = _tasks(sweep)
    columns = dict.fromkeys([*_FIRST, *_varied(tasks), *MEASURES, *_LAST])
    with _own(out):
        results = _Results(out, tasks, list(columns))  # refuses those of another sweep
        write_atomically(out / "sweep.yaml", lambda file: file.write(sweep.text.encode()))
        (out / "logs").mkdir(exist_ok=True)
        waiting = [task for task in tasks if not results.has(task)]
        if waiting:
            with _client(scheduler, workers) as client:
                _Execution(client, sweep, out, results, progress).run(waiting)
    return results.frame()


def _need_dask():
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise InputError(
            "sweeps run on Dask, which is not installed: pip install 'bsd-brian2[sweep]'."
        ) from None


# ------------------------------------------------------------------ what is to be run


def _tasks(sweep):
    """Runs of a sweep; every network is described, so that what is impossible shows here."""
    datasets, tasks = {}, []
    for number, point in enumerate(sweep.points):
        options = _hash(point.experiment.options)
        if options not in datasets:
            datasets[options] = load_data(point.experiment, 0)
        network = build_network(point.experiment, datasets[options])
        structure = _hash(network.structure)
        for seed in sweep.seeds:
            for fold in range(point.experiment.folds):
                config = configuration(
                    point.experiment, datasets[options], network, [seed], fold, sweep.device
                )
                made_from = {k: v for k, v in config.items() if k not in _NOT_IN_KEY}
                row = {
                    "point": number,
                    "label": point.label,
                    "factor": point.factor,
                    "reference": sweep.is_reference(point),
                    "seed": seed,
                    "fold": fold,
                    "key": _hash([made_from, structure]),
                    **sweep.columns(point),
                }
                name = f"{point.label}, seed {seed}"
                name += f", fold {fold}" if point.experiment.folds > 1 else ""
                tasks.append(_Task(name, point.experiment, row, structure))
    return tasks


def _hash(content):
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _code():
    """A hash of all code that results depend on, without comments and layout."""
    versions = [metadata.version(name) for name in ("brian2", "numpy")]
    files = []
    for name in _CODE:
        spec = importlib.util.find_spec(name)
        files += sorted(Path(spec.origin).parent.glob("*.py")) if spec.parent == name else [
            Path(spec.origin)
        ]
    return _hash([versions, [ast.dump(ast.parse(file.read_text())) for file in files]])


def _varied(tasks):
    return [name for name in tasks[0].row if name not in _FIRST]


# ------------------------------------------------------------------ what has been run


class _Results:
    """Rows of the runs that have finished or failed, kept in one file."""

    def __init__(self, out, tasks, columns):
        self.file, self.columns = out / "results.parquet", columns
        self.rows, self.code = {}, _code()
        if not self.file.exists():
            return
        try:
            before = pd.read_parquet(self.file).set_index("key", drop=False)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{self.file} cannot be read ({error}): delete it, the runs themselves are kept."
            ) from None
        done = before[before["status"] == "done"]
        if len(done) and ("code" not in done or done["code"].ne(self.code).any()):
            raise InputError(
                f"{out} holds results of another version of the code, of Brian2 or of NumPy: "
                f"choose another folder with --out, or delete {self.file} to take the finished "
                "runs as they are."
            )
        if len(done) and not any(task.row["key"] in done.index for task in tasks):
            raise InputError(
                f"{out} holds the results of another sweep: choose another folder with --out, or "
                f"delete {self.file}; its runs are kept."
            )
        for task in tasks:
            key = task.row["key"]
            if key in done.index:
                # labels may have changed since, measures have not
                self.rows[key] = done.loc[key].to_dict() | task.row
        self.write()

    def has(self, task):
        return task.row["key"] in self.rows

    def add(self, task, **measured):
        self.rows[task.row["key"]] = {**task.row, **measured, "code": self.code}
        self.write()

    def write(self):
        write_parquet(self.file, self.frame())

    def frame(self):
        frame = pd.DataFrame(list(self.rows.values()), columns=self.columns)
        return frame.sort_values(["point", "seed", "fold"], ignore_index=True)


@contextmanager
def _own(out):
    """The folder of a sweep, for this process alone."""
    with ExitStack() as held:
        try:
            files = {file.name for file in out.iterdir()} if out.exists() else set()
            visible = {name for name in files if not name.startswith(".")}
            if visible and "sweep.yaml" not in visible:
                raise InputError(f"{out} holds something else: choose another folder with --out.")
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(out))
        except OSError as error:
            raise InputError(
                f"cannot write to {out} ({error.strerror}): choose another folder with --out."
            ) from None
        yield


# ------------------------------------------------------------------ Dask


@contextmanager
def _client(scheduler, workers):
    import dask
    from distributed import Client, LocalCluster

    # a run whose worker died comes back to the sweep, which counts the attempts
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        if scheduler is not None:
            try:
                client = Client(scheduler, timeout="10s", set_as_default=False)
            except (OSError, ValueError, TimeoutError) as error:
                raise InputError(
                    f"no Dask scheduler answers at {scheduler} ({error}): start one with "
                    "`dask scheduler` and give the address that it prints."
                ) from None
            with client:
                yield client
            return
        preload = [*dask.config.get("distributed.worker.preload"), "bsd.runs.sweeps.worker"]
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, memory_limit=0,
                dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL, preload=preload,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client


class _Execution:
    """Hands tasks to the workers, one each at a time, and takes what comes back."""

    def __init__(self, client, sweep, out, results, progress):
        self.client, self.out, self.results = client, out, results
        self.device = sweep.device
        self.progress = progress or (lambda *_: None)
        self.topic = f"bsd-sweep-{uuid.uuid4().hex}"
        self.ready, self.running, self.stages = deque(), {}, {}
        self.finished = queue.SimpleQueue()
        self.done = self.failed = self.total = 0

    def run(self, waiting):
        from distributed import Event

        self.done = len(self.results.rows)
        self.total = self.done + len(waiting)
        self._plan(waiting)
        self.client.subscribe_topic(self.topic, self._take_event)
        ended = Event(self.topic, client=self.client)
        try:
            while self.ready or self.running:
                self._submit()
                try:
                    self._take(self.finished.get(timeout=INTERVAL_S))
                except queue.Empty:
                    pass
                if self.client.status != "running":
                    raise RuntimeError(LOST)
                self._report()
        finally:
            if self.running:
                with suppress(OSError, TimeoutError):  # the scheduler may be gone
                    ended.set()
                    self.client.cancel([future for future, _ in self.running.values()], force=True)

    def _plan(self, waiting):
        """Runs wait until their structure is compiled."""
        if self.device == "runtime":
            self.ready.extend(waiting)
            return
        by_structure = {}
        for task in waiting:
            by_structure.setdefault(task.structure, []).append(task)
        for structure, runs in by_structure.items():
            network = f"network of {runs[0].row['label']}"
            self.ready.append(_Task(network, runs[0].experiment, {"key": structure}, runs=runs))

    def _submit(self):
        from bsd.runs.sweeps.worker import compile_structure, run_point

        try:
            free = max(1, len(self.client.nthreads())) - len(self.running)
        except (OSError, TimeoutError):
            raise RuntimeError(LOST) from None
        for _ in range(min(free, len(self.ready))):
            task = self.ready.popleft()
            options = {"key": f"{self.topic}-{uuid.uuid4().hex}", "pure": False}
            if task.runs:
                future = self.client.submit(
                    compile_structure, self.topic, task.name, task.experiment, self.device,
                    **options,
                )
            else:
                future = self.client.submit(
                    run_point, self.topic, task.name, task.experiment,
                    str((self.out / "runs" / task.row["key"]).resolve()),
                    seed=task.row["seed"], fold=task.row["fold"], device=self.device,
                    anew=task.anew, **options,
                )
            self.running[future.key] = future, task
            future.add_done_callback(self.finished.put)

    def _take(self, future):
        _, task = self.running.pop(future.key)
        self.stages.pop(task.name, None)
        if future.status == "finished":
            if task.runs:
                self.ready.extendleft(reversed(task.runs))
            else:
                self.results.add(task, **future.result(), status="done", error="")
                self.done += 1
        elif future.status == "error":
            self._retry(task, future.exception(), future.traceback())
        else:  # cancelled or lost with the scheduler, which `run` sees
            self.ready.appendleft(task)

    def _retry(self, task, error, trace):
        from distributed import KilledWorker

        task.attempts += 1
        # of a worker that died the last checkpoint is as good as any
        task.anew = not isinstance(error, KilledWorker)
        said = "".join(traceback.format_exception(type(error), error, trace))
        task.log += f"attempt {task.attempts} of {ATTEMPTS}: {task.name}\n{said}\n"
        again = not isinstance(error, (InputError, NotFiniteError))
        if again and task.attempts < ATTEMPTS:
            self.ready.append(task)
            return
        for run in task.runs or [task]:
            log = self.out / "logs" / f"{run.row['key']}.txt"
            write_atomically(log, lambda file: file.write(task.log.encode()))
            line = " ".join(f"{type(error).__name__}: {error}".split())
            self.results.add(run, status="failed", error=line[:300])
            self.failed += 1

    def _take_event(self, event):
        _, (name, *stage) = event
        self.stages[name] = tuple(stage)

    def _report(self):
        names = [task.name for _, task in self.running.values()]
        running = {name: self.stages.get(name, ("start", 0, 1)) for name in names}
        self.progress(self.done, self.failed, self.total, running)

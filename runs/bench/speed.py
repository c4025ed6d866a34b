"""How fast a network is built and simulated, beside PyTorch and the machine's own limit."""

import contextlib
import os
import platform
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path

import numpy as np
import pandas as pd
from brian2 import ms

from bsd.equations import DISCRETE, InputError
from bsd.networks import BidirectionalNetwork
from bsd.runs.bench.events import MeteredSimulator
from bsd.runs.bench.limit import measure_limit
from bsd.runs.bench.torch_process import TorchProcess, network_constants, write_data
from bsd.runs.data import DataSet, load
from bsd.runs.engine import Simulation
from bsd.runs.engine.cpp import structure_key
from bsd.runs.engine.cuda import gpu
from bsd.runs.engine.devices import simulator
from bsd.runs.engine.standalone import cores
from bsd.runs.experiments.run import MAX_STIMULI
from bsd.runs.literals import format_value
from bsd.runs.processes import check_main_guard

__all__ = [
    "LAYERS",
    "Case",
    "cohort_cases",
    "complete_cases",
    "measure_cohorts",
    "measure_speed",
    "parse_layers",
    "settings",
    "summary",
]

#: The network of the headline numbers.
LAYERS = (784, 512, 512, 10)
PARAMETERS = DISCRETE.updated({"timing.duration": 8 * ms})
#: Columns that tell networks apart.
KEY = ("network", "sweep", "projection", "device", "replicas")
SEED = 0
#: Trials that are replayed for the limit.
N_REPLAYED = 20


@dataclass(frozen=True)
class Case:
    """One network to measure.

    Attributes
    ----------
    layers : tuple of int
        Stimulus, hidden widths, concepts.
    projection : {'dense', 'synapses'}
    sweep : str
        What varies: 'network', 'width', 'depth', 'synapses' or 'replicas'.
    replicas : int
    device : {'cpp', 'cuda'}
    """

    layers: tuple
    projection: str = "dense"
    sweep: str = "network"
    replicas: int = 1
    device: str = "cpp"

    @property
    def name(self):
        """Layers as text, equal ones in a row as a power."""
        hidden = self.layers[1:-1]
        if len(hidden) > 3 and len(set(hidden)) == 1:
            return f"{self.layers[0]}-{hidden[0]}x{len(hidden)}-{self.layers[-1]}"
        return "-".join(map(str, self.layers))

    @property
    def key(self):
        """Values of the columns `KEY`."""
        return (self.name, self.sweep, self.projection, self.device, self.replicas)


def complete_cases():
    """The headline network in both forms, six widths, six depths, and 1e5 and 1e8 synapses."""
    first, last = LAYERS[0], LAYERS[-1]

    def case(*hidden, **kind):
        return Case((first, *hidden, last), **kind)

    return [
        Case(LAYERS),
        Case(LAYERS, projection="synapses"),
        *(case(w, w, sweep="width") for w in (128, 256, 1024, 2048, 4096)),
        *(case(*[512] * d, sweep="depth") for d in (1, 3, 4, 5, 6)),
        *(case(w, w, sweep="synapses") for w in (49, 6600)),
    ]


def parse_layers(text):
    """Layers from ``512,512`` (hidden widths) or ``784-512-512-10`` (the whole network).

    Raises
    ------
    InputError
        For anything else.
    """
    whole = "-" in text
    try:
        sizes = [int(part) for part in text.split("-" if whole else ",")]
    except ValueError:
        sizes = []
    if min(sizes, default=0) < 1 or (whole and len(sizes) < 3):
        raise InputError(
            f"--layers {text}: give hidden widths, as in 512,512, or the whole network, as in "
            "784-512-512-10."
        )
    return tuple(sizes) if whole else (LAYERS[0], *sizes, LAYERS[-1])


def stimuli(layers):
    """Stimuli for a network: MNIST digits where they fit, else patterns of their intensities."""
    digits = load("mnist5k")
    if layers[0] == LAYERS[0] and layers[-1] == LAYERS[-1]:
        return digits
    generator = np.random.default_rng(SEED)
    images = {
        part: generator.choice(digits.x_train.ravel(), (n, 1, layers[0]))
        for part, n in (("train", 1000), ("test", 200))
    }
    return DataSet(
        name="patterns",
        n_concepts=layers[-1],
        image_shape=(1, layers[0]),
        source="pixels of mnist5k in random order",
        licence=digits.licence,
        **{f"x_{part}": x for part, x in images.items()},
        **{f"y_{part}": np.arange(len(x)) % layers[-1] for part, x in images.items()},
    )


@contextlib.contextmanager
def _empty_cache():
    """Compiled networks go to a folder of their own, so that each compiles for the first time."""
    before = os.environ.get("BSD_CACHE")
    with tempfile.TemporaryDirectory(prefix="bsd-cache-") as folder:
        os.environ["BSD_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["BSD_CACHE"]
            else:
                os.environ["BSD_CACHE"] = before


@contextlib.contextmanager
def _one_core():
    """This process, and those that it starts, on one core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _network(case, capacity):
    return BidirectionalNetwork(
        case.layers, PARAMETERS, projection=case.projection, capacity=capacity,
        replicas=case.replicas,
    )


def _compile(job):
    """Compile the network of a case into the cache; returns its number and the seconds."""
    number, (case, capacity) = job
    try:
        return number, simulator(_network(case, capacity), case.device).build_s
    except SystemExit:  # terminated: the pool would go on with the next one
        os._exit(1)


def _compile_all(cases, capacities, progress):
    """Compile networks, as many at a time as there are cores; returns the seconds of each."""
    check_main_guard("measure_cohorts")
    n, seconds, others = min(len(cases), cores()), {}, active_children()
    with ProcessPoolExecutor(n, get_context("spawn"), _until_terminated) as pool:
        jobs = enumerate(zip(cases, capacities, strict=True))
        try:
            for future in as_completed([pool.submit(_compile, job) for job in jobs]):
                number, seconds[number] = future.result()
                progress("compile", len(seconds), len(cases))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                if process not in others:
                    process.terminate()
            raise
    return [seconds[number] for number in range(len(cases))]


def _until_terminated():
    """A worker goes on at Ctrl-C, until its parent ends it; its compiler ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


class _Bench:
    """A compiled network that runs chunks of trials and keeps their times.

    Parameters
    ----------
    case : Case
    capacity : int
        Trials of a chunk at most.
    progress : callable
        ``progress(stage, done, total)`` while compiling.
    """

    def __init__(self, case, capacity, progress):
        self.case = case
        self.dataset = stimuli(case.layers)
        self.network = _network(case, capacity)
        self.simulation = Simulation(self.network, self.dataset, case.device, SEED, progress)
        self.compile_s = self.simulation.simulator.build_s
        start = time.perf_counter()
        simulator(self.network, case.device)
        self.compile_cached_s = time.perf_counter() - start
        self.meter = self.simulation.simulator = MeteredSimulator(self.simulation.simulator)
        self.generator = np.random.default_rng(SEED)
        self.trials = 0
        self.chunks = {"train": [], "test": []}

    @property
    def peak_mb(self):
        return self.meter.simulator.peak_mb

    def run(self, n, phase, record=False):
        """Run `n` trials; returns the `Chunk`."""
        learning = phase == "train"
        stimulus = self.generator.integers(len(self.dataset.x_train), size=n)
        table = pd.DataFrame(
            {
                "trial": self.trials + np.arange(n),
                "phase": phase,
                "part": "train",
                "stimulus": stimulus,
                "concept": self.dataset.y_train[stimulus],
                "source": "stimulus+concept" if learning else "stimulus",
                "learn": float(learning),
                "record": record,
            }
        )
        self.trials += n
        with _one_core():
            self.simulation.run(table)
        return self.meter.last

    def time(self, n, phase):
        """Run and keep what the table needs of `n` trials."""
        chunk = self.run(n, phase)
        times = {
            "ms": 1e3 * chunk.loop_s / n,
            "create_s": chunk.create_s,
            "rest_s": chunk.wall_s - chunk.loop_s - chunk.create_s,
        }
        if self.case.replicas == 1:
            times |= {
                "ns": 1e9 * chunk.loop_s / chunk.events.to_numpy().sum(),
                "events": chunk.events.to_numpy().sum() / n,
                "updates": chunk.events["updates"].sum() / n,
            }
        self.chunks[phase].append(times)

    def median(self, phase, what):
        return float(np.median([chunk[what] for chunk in self.chunks[phase]]))


def settings(cases, torch_python=None, *, device="cpp"):
    """What makes the rows of two calls comparable: the code, the machine, and PyTorch.

    Parameters
    ----------
    cases : sequence of Case
    torch_python : str, optional
        See `measure_speed`.
    device : {'cpp', 'cuda'}

    Returns
    -------
    dict
        Plain values. With ``device='cuda'`` the name of the GPU, without PyTorch.
    """
    return {
        "networks": sorted({case.name for case in cases}),
        "code": structure_key(_network(Case(LAYERS), 1)),  # sources, compiler, flags
        "parameters": {k: format_value(v) for k, v in PARAMETERS.items()},
        "processor": _processor(),
        "cores": cores(),
        **({"gpu": gpu()[1]} if device == "cuda" else {"torch": torch_python is not None}),
    }


def _processor():
    """The model of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _measure(case, n_trials, rounds, progress, torch_python=None):
    """One row of the table."""
    bench = _Bench(case, n_trials, progress)
    synapses = bench.network.n_synapses
    first = bench.run(min(N_REPLAYED, n_trials), "train")
    small_mb = bench.peak_mb
    n = first.in_a_second(n_trials)
    bench.run(n, "train")
    torch_ms = {}
    with contextlib.ExitStack() as stack:
        ask = None
        if torch_python:
            ask = stack.enter_context(_torch_speed(torch_python, bench, n_trials))
            ask()
        for done in range(rounds):
            bench.time(n, "train")
            for method, spent in (ask() if ask else {}).items():
                torch_ms.setdefault(method, []).append(spent)
            bench.time(n, "test")
            progress("run", 2 * n * (done + 1), 2 * n * rounds)
    recorded = bench.run(first.n_trials, "train", record=True)
    limit = measure_limit(bench.network, recorded)
    create_s = bench.median("train", "create_s")
    return {
        "synapses": synapses,
        "steps": PARAMETERS.timing.steps,
        "compile_s": bench.compile_s,
        "compile_cached_s": bench.compile_cached_s,
        "create_s": create_s,
        "create_s_per_million": create_s / synapses * 1e6,
        "ms_per_training_trial": bench.median("train", "ms"),
        "ms_per_test_trial": bench.median("test", "ms"),
        "chunk_trials": n,
        "chunk_rest_s": bench.median("train", "rest_s"),
        "events_per_trial": bench.median("train", "events"),
        "updates_per_trial": bench.median("train", "updates"),
        "ns_per_event": bench.median("train", "ns"),
        "ns_per_event_test": bench.median("test", "ns"),
        "limit_ns_per_event": limit,
        "peak_mb": bench.peak_mb,
        "small_mb": small_mb,
        **{f"torch_{name}_ms": float(np.median(spent)) for name, spent in torch_ms.items()},
    }


@contextlib.contextmanager
def _torch_speed(python, bench, n_trials):
    """A function that trains each baseline for a moment and gives the milliseconds per trial."""
    trials = {"streaming": min(200, n_trials), "batch_bsd": 256, "bp": 256}
    with tempfile.TemporaryDirectory(prefix="bsd-") as scratch, _one_core():
        data = Path(scratch) / "data.npz"
        write_data(bench.dataset, bench.network, data)
        request = {
            "task": "speed",
            "data": str(data),
            "network": network_constants(bench.network),
            "seed": SEED,
        }
        with TorchProcess(python) as torch:

            def ask():
                return {
                    method: torch.ask({**request, "method": method, "trials": n})["ms_per_trial"]
                    for method, n in trials.items()
                }

            yield ask


def measure_speed(
    cases, torch_python=None, *, n_trials=1000, rounds=5, finished=None, save=None, progress=None
):
    """Measure networks, each compiled into an empty cache.

    Every timed chunk follows warm-up chunks and runs on one core; medians over the rounds.
    With PyTorch, the first case's chunks and those of the baselines take turns.

    Parameters
    ----------
    cases : sequence of Case
    torch_python : str, optional
        See `bsd.runs.bench.torch_process.find_torch_python`.
    n_trials : int
        Trials of a chunk at most; slow networks take fewer, about a second's.
    rounds : int
    finished : DataFrame, optional
        What `save` got before, of the same `settings`; these cases are not measured again.
    save : callable, optional
        ``save(rows)`` with all rows so far, each time a network has been measured.
    progress : callable, optional
        ``progress(run, stage, done, total, text)``, as `bsd.runs.experiments.run_many`.

    Returns
    -------
    DataFrame
        One row per case. ``ms_per_training_trial`` and ``ms_per_test_trial`` are the time from the
        first step of a chunk to its last, per trial; ``create_s`` the time from the start of the
        program to its first step; ``chunk_rest_s`` the rest of a chunk: writing weights and
        stimuli, reading weights and records. ``ns_per_event`` divides the time of the training
        trials, all of it, by their events, see `bsd.runs.bench.events.count_events`.
        ``limit_ns_per_event`` is that of `bsd.runs.bench.limit.measure_limit`. ``peak_mb`` is the
        memory of the simulation, ``small_mb`` in chunks of 20 trials; ``bytes_per_synapse`` what
        these take more than those of the smallest network, for each synapse more.
        ``ns_per_further_event`` is what a training trial takes more than that of the next smaller
        network of as many layers, for each event more: those cells that both have are left out.
    """
    progress = progress or (lambda *_: None)

    def rows(missing):
        for case in missing:
            label = case.name if case.projection == "dense" else f"{case.name} {case.projection}"
            yield _measure(
                case, n_trials, rounds,
                lambda *event, label=label: progress(label, *event, ""),
                torch_python if case == cases[0] else None,
            )

    frame = _collected(rows, cases, finished, save)
    smallest = frame.loc[frame["synapses"].idxmin()]
    more = (frame["synapses"] - smallest["synapses"]).where(lambda n: n > 0)
    frame["bytes_per_synapse"] = 2**20 * (frame["small_mb"] - smallest["small_mb"]) / more
    frame["of_limit"] = frame["ns_per_event"] / frame["limit_ns_per_event"]
    growing = frame.assign(layers=[len(case.layers) for case in cases]).sort_values("synapses")
    by = growing.groupby(["projection", "layers"])
    further = by[["ms_per_training_trial", "events_per_trial"]].diff()
    frame["ns_per_further_event"] = 1e6 * further.iloc[:, 0] / further.iloc[:, 1]
    return frame


def _collected(measure, cases, finished, save):
    """Rows of the cases in their order, those that are finished and those of ``measure(missing)``.

    Each is kept as it comes: large networks take minutes, and a machine with a GPU may be lent
    for a short time.
    """
    rows = {}
    for row in [] if finished is None else finished.to_dict("records"):
        rows[tuple(row[name] for name in KEY)] = row
    missing = [case for case in cases if case.key not in rows]

    def frame():
        return pd.DataFrame([rows[case.key] for case in cases if case.key in rows])

    with _empty_cache():
        for case, row in zip(missing, measure(missing) if missing else (), strict=True):
            rows[case.key] = dict(zip(KEY, case.key, strict=True)) | row
            if save:
                save(frame())
    return frame()


def cohort_cases(layers=None):
    """Networks for a GPU, each width after a single one in C++; what takes longest comes last.

    Parameters
    ----------
    layers : tuple of int, optional
        Of this network alone, cohorts of all sizes.
    """
    first, *_, last = LAYERS
    if layers:
        cohorts = [(layers, (1, 4, 16, 64, 256))]
    else:
        widths = ((512, (1, 4, 16, 64)), (1024, (1, 16)), (2048, (1, 4)), (4096, (1,)),
                  (512, (256,)))
        cohorts = [((first, width, width, last), replicas) for width, replicas in widths]
    cases = {}
    for layers, replicas in cohorts:
        cases.setdefault(Case(layers, sweep="replicas"))
        for n in replicas:
            cases.setdefault(Case(layers, sweep="replicas", replicas=n, device="cuda"))
    return list(cases)


def measure_cohorts(
    cases, *, n_trials=1000, rounds=2, finished=None, save=None, progress=None
):
    """Measure cohorts on a GPU, beside one network of the same width on one core.

    Parameters
    ----------
    cases : sequence of Case
        The first of each width is the one that the others are compared with.
    n_trials : int
        Trials of a chunk at most; slow networks take fewer, about a second's, and so do large
        cohorts, as their stimuli need memory.
    rounds : int
    finished, save, progress
        See `measure_speed`.

    Returns
    -------
    DataFrame
        One row per case. ``ms_per_training_trial`` and ``ms_per_test_trial`` are of all replicas
        together, ``trials_per_s`` counts the training trials of each; ``compile_s`` was taken
        while as many networks compiled as there are cores;
        ``kernels_per_step`` and ``copies_per_step`` are launches and copies between device and
        host in a time step, ``device_mb`` the GPU's memory in use, ``speedup`` the trials per
        second over those of the first case of the width.
    """
    progress = progress or (lambda *_: None)

    def rows(missing):
        chunks = [
            int(np.clip(MAX_STIMULI // (case.replicas * case.layers[0]), 20, n_trials))
            for case in missing
        ]
        compile_s = _compile_all(
            missing, chunks, lambda *event: progress(f"{len(missing)} networks", *event, "")
        )
        for case, chunk, build_s in zip(missing, chunks, compile_s, strict=True):
            label = f"{case.name} x {case.replicas} {case.device}"

            def report(*event, label=label):
                progress(label, *event, "")

            yield {**_measure_cohort(case, chunk, rounds, report), "compile_s": build_s}

    frame = _collected(rows, cases, finished, save)
    reference = frame.groupby("network")["trials_per_s"].transform("first")
    frame["speedup"] = frame["trials_per_s"] / reference
    return frame


def _measure_cohort(case, chunk, rounds, report):
    """One row of the table, but for the time to compile."""
    bench = _Bench(case, chunk, report)
    n = bench.run(min(N_REPLAYED, chunk), "train").in_a_second(chunk)
    for done in range(rounds):
        bench.time(n, "train")
        bench.time(n, "test")
        report("run", 2 * n * (done + 1), 2 * n * rounds)
    ms = bench.median("train", "ms")
    device = bench.meter.simulator
    launches = getattr(device, "manifest", {}).get("launches", {})
    return {
        "width": case.layers[1],
        "synapses": bench.network.n_synapses,
        "steps": PARAMETERS.timing.steps,
        "create_s": bench.median("train", "create_s"),
        "chunk_trials": n,
        "chunk_rest_s": bench.median("train", "rest_s"),
        "ms_per_training_trial": ms,
        "ms_per_test_trial": bench.median("test", "ms"),
        "trials_per_s": 1e3 * case.replicas / ms,
        "peak_mb": bench.peak_mb,
        "device_mb": getattr(device, "device_mb", None),
        "kernels_per_step": launches.get("kernels_per_step"),
        "copies_per_step": launches.get("copies_per_step"),
    }


def summary(frame):
    """The headline numbers: those of the first row, and ratios of its time to PyTorch's.

    Parameters
    ----------
    frame : DataFrame
        From `measure_speed`.

    Returns
    -------
    dict
        None where something was not measured.
    """
    first = {k: None if pd.isna(v) else v for k, v in frame.iloc[0].to_dict().items()}
    ours = first["ms_per_training_trial"]
    ratios = {
        name: ours / first[key] if first.get(key) else None
        for name, key in (
            ("ratio_torch_batch1", "torch_streaming_ms"),
            ("ratio_torch_batch128", "torch_batch_bsd_ms"),
            ("ratio_torch_bp", "torch_bp_ms"),
        )
    }
    rows = [
        {k: None if pd.isna(v) else v for k, v in row.items()}
        for row in frame.to_dict("records")
    ]
    return {**first, **ratios, "rows": rows}

"""Brian2's standalone devices: a network becomes a program, which runs chunk by chunk."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import brian2
import numpy as np
from brian2 import prefs, set_device
from brian2.devices.device import get_device, reset_device
from platformdirs import user_cache_dir

import bsd.equations
import bsd.networks
from bsd.equations.errors import InputError
from bsd.networks.equation_errors import explained
from bsd.runs.engine.variables import check_inputs, input_specs, output_columns, output_names

__all__ = [
    "StandaloneSimulator",
    "cache_directory",
    "cores",
    "hashed",
    "preferences",
    "read_output",
    "run_make",
    "trim",
    "write_project",
]

#: Seconds after which the folder of a build that was killed is taken for abandoned.
ABANDONED_S = 24 * 3600


def cache_directory():
    """Where compiled networks are kept: ``$BSD_CACHE``, else the user's cache."""
    return Path(os.environ.get("BSD_CACHE") or user_cache_dir("bsd")) / "compiled"


def hashed(network, files, **parts):
    """A hash of everything that goes into the code of a network.

    Parameters
    ----------
    network : BidirectionalNetwork
    files : sequence of str
        Modules of this package that shape the code, besides the model's.
    parts
        Versions, flags and what else does.

    Returns
    -------
    str
    """
    here = Path(__file__).parent
    files = [*files, "sources.py", "standalone.py", "variables.py"]
    sources = {name: (here / name).read_text() for name in files}
    for package in (bsd.equations, bsd.networks):
        for file in sorted(Path(package.__path__[0]).glob("*.py")):
            if file.name != "describe.py":
                sources[f"{package.__name__}/{file.name}"] = file.read_text()
    known = {
        "structure": network.structure,
        "sources": sources,
        "brian2": brian2.__version__,
        **parts,
    }
    text = json.dumps(known, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@contextmanager
def preferences(**chosen):
    """Brian2 preferences, ``a__b`` for ``a.b``, for as long as the context lasts."""
    chosen = {name.replace("__", "."): value for name, value in chosen.items()}
    before = {name: prefs[name] for name in (*chosen, "core.default_float_dtype")}
    try:
        for name, value in chosen.items():
            prefs[name] = value
        yield
    finally:
        for name, value in before.items():
            prefs[name] = value


def write_project(network, directory, device_name, prepare=None, report=None):
    """Write the project of a network on a standalone device, without compiling it.

    Parameters
    ----------
    network : BidirectionalNetwork
    directory : path-like
        Must not exist, or be empty.
    device_name : str
        Brian2's name of the device.
    prepare : callable, optional
        Called as ``prepare(device, objects)`` before the project is written.
    report : str, optional
        C++ statement that prints the progress of the program, twice a second; without it the
        program has to print it by itself.

    Returns
    -------
    dict
        Manifest: inputs (size, dtype) and outputs (file, dtype, row length) of the program.
    """
    set_device(device_name, build_on_run=False)
    device = get_device()
    device.reinit()
    device.activate(build_on_run=False)
    try:
        # nothing is computed on this clock, but the program visits each of its steps
        brian2.defaultclock.dt = network.parameters.timing.dt
        objects = network.create()
        brian_network = objects.network()
        device.apply_run_args()
        brian_network.run(
            network.parameters.timing.duration * (network.capacity + 1),
            report=report,
            report_period=0.5 * brian2.second,
            namespace={},
        )
        if prepare:
            prepare(device, objects)
        device.build(directory=str(directory), compile=False, run=False, with_output=False)
        return _manifest(network, objects, device)
    finally:
        device.reinit()
        reset_device()


def _manifest(network, objects, device):
    outputs, columns = {}, output_columns(network)
    for name in output_names(network):
        owner, variable = name.split(".")
        var = getattr(objects, owner).variables[variable]
        outputs[name] = {
            "file": device.get_array_filename(var),
            "dtype": np.dtype(var.dtype).str,
            "columns": columns.get(owner, 0),
        }
    inputs = {name: [size, dtype.str] for name, (size, dtype) in input_specs(network).items()}
    return {"inputs": inputs, "outputs": outputs}


class StandaloneSimulator:
    """A compiled network; a subclass for each device says how it is compiled.

    Parameters
    ----------
    network : BidirectionalNetwork
    progress : callable, optional
        Called as ``progress(stage, done, total)`` with the stages ``"generate"`` and ``"compile"``.

    Attributes
    ----------
    folder : Path
        The compiled project in the cache.
    build_s : float
        Seconds that generating and compiling took; 0 if the cache had it.
    create_s : float
        Seconds from the start of the last simulation to its first time step: reading its inputs
        and creating the network.
    peak_mb : float
        Largest memory that a simulation took (Linux; 0 elsewhere).

    Raises
    ------
    InputError
        If a compiler or another tool is missing, or the cache cannot be written.
    RuntimeError
        If the compiler fails (with its first errors).
    """

    device = None

    def __init__(self, network, progress=None):
        self.network = network
        self.specs = input_specs(network)
        self.folder = cache_directory() / self._key()
        self.build_s = 0.0
        self.create_s = self.peak_mb = 0.0
        if not (self.folder / "manifest.json").exists():
            start = time.perf_counter()
            self._build(progress or (lambda *_: None))
            self.build_s = time.perf_counter() - start
        self.manifest = json.loads((self.folder / "manifest.json").read_text())

    def _key(self):
        """Name of the compiled network."""
        raise NotImplementedError

    def _generate(self, folder):
        """Write the project; returns its manifest."""
        raise NotImplementedError

    def _make(self, folder, progress):
        """Compile it, calling ``progress(done, total)``."""
        raise NotImplementedError

    def _build(self, progress):
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for left in self.folder.parent.glob("building-*"):
                with suppress(FileNotFoundError):  # another process may remove it, too
                    if time.time() - left.stat().st_mtime > ABANDONED_S:
                        shutil.rmtree(left, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix="building-", dir=self.folder.parent))
        except OSError as error:
            raise InputError(
                f"cannot write compiled networks to {self.folder.parent} ({error.strerror}): "
                "set BSD_CACHE to a folder you can write to."
            ) from None
        try:
            progress("generate", 0, 1)
            with explained(self.network):
                manifest = self._generate(scratch)
            self._make(scratch, lambda done, total: progress("compile", done, total))
            (scratch / "manifest.json").write_text(json.dumps(manifest, indent=1))
            try:
                scratch.rename(self.folder)
            except OSError:  # another process was faster, or a damaged folder is in the way
                if not (self.folder / "manifest.json").exists():
                    shutil.rmtree(self.folder)
                    scratch.rename(self.folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def run(self, inputs, n_trials, progress=None):
        """Simulate a chunk.

        Parameters
        ----------
        inputs : dict of str to ndarray
            Everything that `input_specs` names.
        n_trials : int
        progress : callable, optional
            Called with the number of finished trials.

        Returns
        -------
        dict of str to ndarray
            All that `output_names` says, per-trial ones as ``(n_trials, cells)``.

        Raises
        ------
        OSError
            If the folder of temporary files cannot be written.
        RuntimeError
            If the program fails or is killed.
        """
        inputs = check_inputs(self.specs, inputs)
        with tempfile.TemporaryDirectory(prefix="bsd-") as scratch:
            scratch = Path(scratch)
            arguments = []
            for number, (name, array) in enumerate(inputs.items()):
                file = scratch / f"in{number}.bin"
                try:
                    file.write_bytes(array.data)
                except OSError as error:
                    raise OSError(error.errno, error.strerror, str(file)) from None
                arguments.append(f"{name}={file}")
            results = scratch / "results"
            results.mkdir()
            with open(scratch / "errors.txt", "w+") as errors:
                command = ["./main", "--results_dir", f"{results}/", *arguments]
                self._execute(command, errors, progress)
            outputs = {
                name: read_output(results, spec)
                for name, spec in self.manifest["outputs"].items()
            }
        return trim(outputs, n_trials, self.network.parameters.timing.steps)

    def _execute(self, command, errors, progress):
        start = time.perf_counter()
        self.create_s = 0.0
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            for line in process.stdout:
                word, _, value = line.partition(" ")
                if word == "progress":
                    self.create_s = self.create_s or time.perf_counter() - start
                    self.peak_mb = max(self.peak_mb, _high_water_mb(process.pid))
                    if progress:
                        progress(float(value))
                else:
                    self._hear(word, value)
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        errors.seek(0)
        said = errors.read().strip()
        if code != 0 or said:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "failed"
            cure = "if memory is short, use smaller --layers; go on with --resume"
            raise RuntimeError(
                f"the compiled simulation {how} (exit code {code}): {said[-500:] or cure}"
            )

    def _hear(self, word, value):
        """What the program says besides its progress."""


def _high_water_mb(pid):
    """Largest memory of a process so far; the ru_maxrss of a child would count its parent's."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # no such file system
        return 0.0
    kilobytes = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(kilobytes[1]) / 1024 if kilobytes else 0.0


def read_output(results, spec):
    """An array that the compiled program wrote, as the manifest describes it."""
    array = np.fromfile(results / spec["file"], dtype=np.dtype(spec["dtype"]))
    return array.reshape(-1, spec["columns"]) if spec["columns"] else array


def cores():
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()  # macOS


def run_make(folder, arguments, total, progress):
    """Compile a project, as many files at a time as there are cores.

    Parameters
    ----------
    folder : Path
    arguments : list of str
        More arguments of ``make``.
    total : int
        Compiler runs that there will be.
    progress : callable
        Called as ``progress(done, total)``.

    Raises
    ------
    RuntimeError
        If make fails, with the first errors of its output.
    """
    log, done = [], 0
    process = subprocess.Popen(
        ["make", f"-j{cores()}", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        for line in process.stdout:
            log.append(line)
            if " -c " in line or " -dc " in line or " -o main" in line:
                done += 1
                progress(min(done, total), total)
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, 15)
        process.wait()
        raise
    if code != 0:
        errors = [line for line in log if re.search(r"\berror\b|fatal|No space", line)]
        said = " | ".join(line.strip() for line in (errors or log)[:3])
        raise RuntimeError(
            f"compiling failed (make's exit code {code}): {said[:1000]}: try another compiler with "
            "CXX=..., or --device runtime, which needs none."
        )


def trim(outputs, n_trials, steps):
    """Drop the sample before the first trial and all that follows the last one."""
    for name, array in outputs.items():
        monitor = name.split(".")[0]
        if monitor.startswith("trial_"):
            outputs[name] = array[1 : n_trials + 1]
        elif monitor == "probe_voltages":
            outputs[name] = array[: n_trials * steps]
    return outputs

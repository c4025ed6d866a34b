"""Export a network and its trials as a C++ or CUDA project that builds and runs without Python."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import brian2
import pandas as pd
import yaml

from bsd.equations import ModelParameters
from bsd.equations.errors import InputError
from bsd.networks import BidirectionalNetwork
from bsd.runs.engine import cpp, cuda
from bsd.runs.engine.recording import Recording, paired_alignment
from bsd.runs.engine.simulation import check_dataset, check_outputs, trial_inputs
from bsd.runs.engine.standalone import read_output, trim
from bsd.runs.engine.store import write_parquet
from bsd.runs.engine.variables import check_inputs, input_specs
from bsd.runs.literals import format_value, parse_literal
from bsd.runs.trials import concept_encodings, replica_tables

__all__ = ["export_cpp", "export_cuda", "load_results", "load_state", "write_results"]

_MEANINGS = {
    "trial_cells.n_s": "spikes of each pyramidal cell in the trial",
    "trial_cells.u": "trial mean of each cell's basal drive, in units of the unit synapse",
    "trial_afferents.n_s": "spikes of each afferent in the trial",
    "trial_cosine.C": "cosine of somatic and apical pattern, per population",
    "trial_cosine.attract": "weight of the attraction to the apical pattern, per population",
    "trial_cosine.repel": "weight of the repulsion by the memories, per population",
    "cell_spikes.i": "cells that fired in recorded trials",
    "cell_spikes.t": "their times since the start (s)",
    "afferent_spikes.i": "afferents that fired in recorded trials",
    "afferent_spikes.t": "their times since the start (s)",
    "probe_voltages.v_s": "soma of the probed cells (V)",
    "probe_voltages.v_b": "basal dendrite of the probed cells (V)",
    "probe_voltages.v_a": "apical dendrite of the probed cells (V)",
    "afferents.finished": "1 if all trials were run, 0 if the run was interrupted",
    "afferent_basal.w": "weights from afferents at the end",
    "cortical_basal.w": "weights from pyramidal cells at the end",
    "memory_pattern.mu": "patterns held by the memory interneurons at the end",
    "afferents.held": "spikes of the last trial that context cells repeat in the next",
    "cells.rate": "running mean rate of each cell at the end, in units of f_max",
    "memory.pointer": "memory slot that the next trial would fill",
}


def export_cpp(network, dataset, table, directory, seed=0):
    """Write a C++ project that runs a trial table: ``make run``, no Python.

    Parameters
    ----------
    network : BidirectionalNetwork
        Its capacity must hold the whole table, which runs as one chunk.
    dataset : DataSet
    table : DataFrame
        Trial table, see `bsd.runs.trials.COLUMNS`.
    directory : path-like
        New or empty folder. Nothing in it depends on where it lies.
    seed : int or sequence of int
        Of initial weights, spike phases and stimulus transforms, as for `Simulation`.

    Returns
    -------
    Path
        The folder, with ``Makefile``, ``README.md``, ``manifest.json`` (what the results mean),
        ``trials.parquet``, ``inputs/`` and ``code/``. `load_results` reads what a run writes.

    Raises
    ------
    InputError
        If the data or the table do not fit the network, or the folder cannot be used.
    """
    return _export(_CppProject(), network, dataset, table, directory, seed)


def export_cuda(network, dataset, table, directory, compute_capability, seed=0):
    """Write a CUDA project that runs a trial table on a GPU: ``make run``, no Python.

    Neither a CUDA toolkit nor a GPU is needed here.

    Parameters
    ----------
    network, dataset, table, directory, seed
        As for `export_cpp`.
    compute_capability : str
        Of the GPU, such as ``"9.0"``.

    Returns
    -------
    Path
        As of `export_cpp`.

    Raises
    ------
    InputError
        As `export_cpp`, or if brian2cuda is missing.
    """
    cuda.check_compute_capability(compute_capability)
    cuda.brian2cuda_module()
    project = _CudaProject(compute_capability)
    return _export(project, network, dataset, table, directory, seed)


def _export(project, network, dataset, table, directory, seed):
    check_dataset(network, dataset)
    n_concepts = len(concept_encodings(network, dataset))
    tables = replica_tables(table, dataset, n_concepts, network.layout.replicas)
    n_trials = len(tables[0])
    if n_trials > network.capacity:
        raise InputError(
            f"the table has {n_trials} trials, the network's capacity is {network.capacity}: "
            f"make the network with capacity={n_trials}, or export fewer trials."
        )
    seeds = network.seeds(seed)
    inputs = check_inputs(
        input_specs(network),
        {
            **network.values(),
            **network.encoder_keys(seeds),
            **network.initial_state(seeds),
            **trial_inputs(network, dataset, tables, seeds),
        },
    )
    directory = _empty_folder(directory)
    try:
        _write(project, network, tables, inputs, directory, seeds)
    except OSError as error:
        _empty(directory)
        raise InputError(
            f"cannot write to {directory} ({error.strerror}): choose another folder."
        ) from None
    except BaseException:
        _empty(directory)
        raise
    return directory


def _empty_folder(directory):
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        occupied = any(directory.iterdir())
    except OSError as error:
        raise InputError(
            f"cannot write to {directory} ({error.strerror}): choose a folder you can write to."
        ) from None
    if occupied:
        raise InputError(f"{directory} is not empty: choose a new folder, or empty this one.")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {directory}: choose a folder you can write to.")
    return directory


def _empty(directory):
    for thing in directory.iterdir():
        if thing.is_dir():
            shutil.rmtree(thing, ignore_errors=True)
        else:
            thing.unlink(missing_ok=True)


# ---------------------------------------------------------------------- writing


def _write(project, network, tables, inputs, directory, seeds):
    code = directory / "code"
    code.mkdir()
    manifest = project.generate(network, code)
    (directory / "inputs").mkdir()
    for name, array in inputs.items():
        array.tofile(directory / "inputs" / f"{name}.bin")
    table = pd.concat(tables, ignore_index=True)
    write_parquet(directory / "trials.parquet", table)
    makefile = _fill(_MAKEFILE, inputs=" \\\n    ".join(inputs), **project.makefile)
    (directory / "Makefile").write_text(makefile)
    (directory / "README.md").write_text(_readme(network, len(tables[0]), project.readme))
    described = _manifest(network, len(tables[0]), manifest, seeds)
    (directory / "manifest.json").write_text(json.dumps(described, indent=1) + "\n")


def _fill(text, **values):
    for name, value in values.items():
        text = text.replace(f"@{name.upper()}@", value)
    return text


class _CppProject:
    """What is particular to C++."""

    makefile = {
        "variables": """\
# Instruction set of the compiler: the one of this machine.
ARCH ?= native
export ARCH""",
        "prepare": "\n\t@test -e code/make.deps || touch code/make.deps",
        "options": " -o make.deps",
    }

    readme = {
        "kind": "C++",
        "needs": ". Needs g++ (C++17) and GNU make, no Python.",
        "choices": "CXX=... for another compiler",
        "building": """\
The code is compiled for the machine that compiles it (`-march=native`). For a program that runs
on other machines too: `make clean && make ARCH=x86-64-v3`. Another instruction set rounds
differently, so that results may differ in the last digits.""",
    }

    def generate(self, network, code):
        manifest = cpp.generate(network, code)
        makefile = code / "makefile"
        makefile.write_text(_portable(makefile.read_text()))
        return manifest


class _CudaProject:
    """What is particular to CUDA."""

    def __init__(self, compute_capability):
        self.compute_capability = compute_capability
        self.makefile = {
            "variables": "# NVCC, CUDA_HOME, CURAND_HOME, GPU, ARCH, CXX: see code/makefile.",
            "prepare": "",
            "options": "",
        }
        self.readme = {
            "kind": "CUDA",
            "needs": " and brian2cuda. Needs an\nNVIDIA GPU to run, a CUDA toolkit (12 or 13) with "
            "cuRAND, g++ (C++17) and GNU make to\nbuild, no Python.",
            "choices": "GPU=... for another one",
            "building": f"""\
The code is compiled for GPUs of compute capability {compute_capability}; for another one, 8.0 say
(at least {cuda.OLDEST}, with CUDA 13 at least 7.5): `make clean && make GPU=80`. nvcc is looked for
on the PATH; `make CUDA_HOME=/path/to/toolkit` names another. Where the toolkit has no cuRAND
(`curand.h` is missing): `make CURAND_HOME=/path`, a folder with its `include` and `lib`; the wheel
nvidia-curand has such a folder. The host code is compiled for the machine that compiles it, `make
ARCH=x86-64-v3` for others too. Sums on a GPU are not in a
fixed order: the last digits differ from run to run.""",
        }

    def generate(self, network, code):
        return cuda.generate(network, code, self.compute_capability)


def _portable(makefile):
    """Brian2's makefile without the paths of this machine, and the architecture a variable."""
    flags = " ".join(cpp.FLAGS).replace("-march=native", "-march=$(ARCH)")
    lines = {"OPTIMISATIONS": f"ARCH ?= native\nOPTIMISATIONS = {flags}", "LFLAGS": "LFLAGS ="}
    for name, line in lines.items():
        makefile, found = re.subn(
            rf"^{name} = .*$", lambda _, line=line: line, makefile, flags=re.MULTILINE
        )
        if found != 1:
            raise RuntimeError(f"Brian2's makefile has {found} lines {name!r} instead of one")
    return makefile


def _manifest(network, n_trials, manifest, seeds):
    layout = network.layout
    per_trial = f"row 0 stands before the first trial, row k + 1 is trial k of {n_trials}"
    rows = {
        "trial_cells": per_trial,
        "trial_afferents": per_trial,
        "trial_cosine": per_trial,
        "cell_spikes": "one entry per spike",
        "afferent_spikes": "one entry per spike",
        "probe_voltages": f"one row per time step, {network.parameters.timing.steps} a trial",
    }
    meanings = {
        **_MEANINGS,
        **{
            f"probe_voltages.{name}": f"{name} of the probed cells ({unit})"
            for name, unit in network.probe_units.items()
        },
        **{
            f"cells.{name}_kept": f"{name} of each cell at the end ({unit})"
            for name, unit in network.carried.items()
        },
    }
    outputs = {
        name: {
            **spec,
            "meaning": meanings.get(name, ""),
            "rows": rows.get(name.split(".")[0], "final values"),
        }
        for name, spec in manifest["outputs"].items()
    }
    inputs = {
        name: {"file": f"inputs/{name}.bin", "size": size, "dtype": dtype}
        for name, (size, dtype) in manifest["inputs"].items()
    }
    return {
        "about": "outputs: raw arrays in results/, rows one after the other; columns 0: a vector",
        "brian2": brian2.__version__,
        "seeds": seeds,
        "trials": n_trials,
        "network": {
            "layers": [*map(int, network.cells_per_layer[:-1]), int(network.n_concepts)],
            "parameters": [
                {k: format_value(v) for k, v in own.items()} for own in network.replica_parameters
            ],
            "projection": network.projection,
            "capacity": network.capacity,
            "precision": network.precision,
            "equations": network.changed_equations,
            "probe_variables": list(network.probe_variables),
            # all of them are in the state
            "values": {f"cells.{name}": 0 for name in network.carried},
        },
        "populations": [
            {
                "name": p.name,
                "replica": p.replica,
                "group": "afferents" if p.pathway == "afferent" else "cells",
                "first_cell": p.start,
                "cells": p.size,
            }
            for p in layout.afferents + layout.populations
        ],
        "projections": [
            {
                "name": p.name,
                "replica": p.source.replica,
                "source": p.source.name,
                "target": p.target.name,
                "weights": f"{p.synapses}.w",
                "first_synapse": p.start,
                "shape": list(p.shape),
            }
            # of each cell of the source, if they differ
            | ({"target_ranges": p.targets.tolist()} if p.banded else {})
            for p in layout.projections
        ],
        "probed_cells": [p.start + cell for p, cell in network.probes],
        "inputs": inputs,
        "outputs": outputs,
        "state": list(network.state_sizes),
    }


_MAKEFILE = """\
# `make` builds, `make run` writes results/, `make clean` removes both; see README.md.

@VARIABLES@
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

INPUTS = @INPUTS@

.PHONY: all run clean

all:@PREPARE@
	$(MAKE) -C code $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))@OPTIONS@

# The program only complains about an input that it cannot read, and goes on: look at its errors.
run: all $(INPUTS:%=inputs/%.bin)
	rm -rf results
	mkdir results
	@cd code && ./main --results_dir ../results/ \\
		$(foreach name,$(INPUTS),$(name)=../inputs/$(name).bin) 2> ../results/errors.txt \\
		|| { cat ../results/errors.txt >&2; exit 1; }
	@if [ -s results/errors.txt ]; then cat results/errors.txt >&2; exit 1; fi

clean:
	rm -f code/*.o code/*/*.o code/main code/make.deps
	rm -rf results
"""

_README = """\
# A bidirectional spiking network as a {kind} program

Layers {layers}, {trials} trials of {duration:g} ms in steps of {dt:g} ms. Made with `bsd export`;
the code is generated by Brian2 {brian2}{needs}

    make            # compile; make -j4 for a number of processes, {choices}
    make run        # simulate; the results go to results/
    make clean      # remove the program and the results

{building}

| | |
|---|---|
| `code/` | the program |
| `inputs/` | parameters, initial weights, stimuli and trials, one raw array each |
| `trials.parquet` | the trial table |
| `manifest.json` | network, inputs, and how to read each result: file, type, columns, meaning |
| `results/` | after `make run` |

## Reading the results

With the command line of the package `bsd`: `bsd report .` draws figures and writes
`results/report.html`. In Python with the package `bsd`:

    from bsd.runs.engine.export import load_results, load_state

    recording = load_results(".")     # pandas frames: trials, counts, spikes, voltages, ...
    print(recording.trials[["phase", "concept", "percept", "correct"]])
    state = load_state(".")           # final weights and memories

With NumPy alone, spikes of all cells in all trials (the first row stands before the first trial):

    import json
    import numpy as np

    spec = json.load(open("manifest.json"))["outputs"]["trial_cells.n_s"]
    spikes = np.fromfile("results/" + spec["file"], spec["dtype"]).reshape(-1, spec["columns"])[1:]

`populations` in the manifest says which columns belong to which population, `projections` which
weights to which projection, ordered by source cell, then by target cell.
"""


def _readme(network, n_trials, particular):
    timing = network.parameters.timing
    return _README.format(
        layers="-".join(map(str, network.layout.layers)),
        trials=n_trials,
        duration=float(timing.duration) * 1e3,
        dt=float(timing.dt) * 1e3,
        brian2=brian2.__version__,
        **particular,
    )


# ---------------------------------------------------------------------- reading


def load_results(directory):
    """What an exported program recorded.

    Parameters
    ----------
    directory : path-like
        Folder that `export_cpp` wrote and ``make run`` has run in.

    Returns
    -------
    Recording
        As `Simulation.run` gives it.

    Raises
    ------
    InputError
        If the folder is not an exported project, or has no complete results.
    RuntimeError
        If the simulation diverged.
    """
    directory = Path(directory)
    manifest = _read_manifest(directory)
    network = _network(manifest["network"])
    table = pd.read_parquet(directory / "trials.parquet")
    tables = [own.reset_index(drop=True) for _, own in table.groupby("replica")]
    n_trials = manifest["trials"]
    outputs = {
        name: _read(directory, spec)
        for name, spec in manifest["outputs"].items()
        if name not in manifest["state"]
    }
    if not outputs["afferents.finished"].any():
        raise InputError(f"the run in {directory} was interrupted: run `make run` again.")
    outputs = trim(outputs, n_trials, network.parameters.timing.steps)
    check_outputs(network, outputs, tables)
    return Recording.from_outputs(network, tables, outputs)


def write_results(directory):
    """Write what an exported program recorded as frames, where `bsd.analysis.report` reads them.

    Parameters
    ----------
    directory : path-like
        As for `load_results`.

    Returns
    -------
    Path
        ``results/`` in it, with the frames as Parquet and ``config.yaml``.

    Raises
    ------
    InputError
        As for `load_results`.
    """
    directory = Path(directory)
    recording = load_results(directory)
    manifest = _read_manifest(directory)
    results = directory / "results"
    trials = recording.trials
    if {"epoch", "phase"} <= set(trials):
        network = _network(manifest["network"])
        probed = trials[(trials["phase"] == "align") & trials["record"]]
        epochs = [replace(recording, trials=own) for _, own in probed.groupby("epoch")]
        if epochs:
            alignment = pd.concat([paired_alignment(network, own) for own in epochs])
            write_parquet(results / "alignment.parquet", alignment)
    for name in recording.__dataclass_fields__:
        write_parquet(results / f"{name}.parquet", getattr(recording, name))
    config = {"name": directory.resolve().name, "seeds": manifest["seeds"], **manifest["network"]}
    (results / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return results


def load_state(directory):
    """Weights, memories and the other state at the end of an exported program's run.

    Parameters
    ----------
    directory : path-like
        As for `load_results`.

    Returns
    -------
    dict of str to ndarray
        As `Simulation.state`; `Simulation.restore` goes on from it.

    Raises
    ------
    InputError
        As for `load_results`.
    """
    directory = Path(directory)
    manifest = _read_manifest(directory)
    return {name: _read(directory, manifest["outputs"][name]) for name in manifest["state"]}


def _read_manifest(directory):
    try:
        manifest = json.loads((directory / "manifest.json").read_text())
    except (OSError, ValueError):
        raise InputError(
            f"{directory} is no exported project (manifest.json cannot be read): name the folder "
            "that `bsd export` wrote."
        ) from None
    try:
        errors = (directory / "results" / "errors.txt").read_text().split("\n")
    except OSError:
        raise InputError(f"{directory} has no results: run `make run` in it first.") from None
    if errors[0]:
        raise InputError(
            f"the run in {directory} failed ({errors[0]}): mend this and run `make run` again."
        )
    if "state" not in manifest:
        raise InputError(f"{directory} was exported by an earlier version: export it again.")
    return manifest


def _network(about):
    about = dict(about)
    parameters = [
        ModelParameters().updated({k: parse_literal(v) for k, v in texts.items()})
        for texts in about.pop("parameters")
    ]
    return BidirectionalNetwork(about.pop("layers"), parameters, **about)


def _read(directory, spec):
    try:
        return read_output(directory / "results", spec)
    except OSError:
        raise InputError(
            f"the results in {directory} are not complete: run `make run` again."
        ) from None

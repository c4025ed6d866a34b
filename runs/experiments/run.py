"""Run an experiment: train, test, align, recall; keep everything in a results folder."""

import json
import os
import platform
import resource
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from bsd.analysis.sequences import forecast_frame
from bsd.equations import InputError
from bsd.networks import BidirectionalNetwork
from bsd.runs.engine import Simulation
from bsd.runs.engine.recording import of_replica
from bsd.runs.engine.simulation import cut
from bsd.runs.engine.store import (
    FRAMES,
    OF_SOME_DATA,
    STREAMED,
    ResultsFolder,
)
from bsd.runs.experiments.frames import (
    N_SHOWN,
    chunk_frames,
    found_divergences,
    reconstructions,
    warning_text,
)
from bsd.runs.experiments.metrics import (
    about_images,
    about_series,
    class_means,
    known_mean,
    performance,
    quality,
    recalled_stimuli,
    reconstructed_images,
    sequence_performance,
    worse_than_its_reference,
)
from bsd.runs.experiments.presets import data_set
from bsd.runs.experiments.text import generate, recalled_context
from bsd.runs.literals import format_value
from bsd.runs.trials import (
    AUTOENCODER,
    alignment_trials,
    check_table,
    join_tables,
    recall_trials,
    sequence_trials,
    stimulus_intensities,
    test_trials,
    training_trials,
)

__all__ = [
    "build_network",
    "checked_seeds",
    "configuration",
    "experiment_table",
    "load_data",
    "run_experiment",
]

#: Stimuli that a compiled chunk holds, at most, in numbers (8 bytes each).
MAX_STIMULI = 6e7

#: Training stimuli on which alignment is probed.
N_ALIGNMENT = 60

#: Trials of a chunk whose spikes are all kept: some 10 000 spikes each in large networks.
RECORDED_CAPACITY = 100

#: What the system calls the largest memory of a process, in MB.
MAXRSS_PER_MB = 2**20 if platform.system() == "Darwin" else 2**10

#: Of a spike in Parquet, and rate of the cells, for what is said before all spikes are kept.
BYTES_PER_SPIKE = 6
TYPICAL_RATE = 0.1


def build_network(experiment, dataset, *, replicas=1, capacity=None):
    """The network of an experiment.

    Parameters
    ----------
    experiment : Experiment
    dataset : DataSet
    replicas : int
        Of a cohort.
    capacity : int, optional
        Trials of a chunk: by default 1000, fewer for large cohorts or if all spikes are kept.
    """
    n_pixels = int(np.prod(dataset.image_shape))
    layers = experiment.layers(n_pixels, dataset.n_concepts)
    if capacity is None:
        encoding = experiment.parameters.encoding
        n_context = experiment.hidden[0] * encoding.context
        per_pixel = 3 if encoding.contrast or encoding.cutoff else 1
        afferents = per_pixel * n_pixels + n_context + layers[-1] * encoding.cells_per_concept
        most = RECORDED_CAPACITY if experiment.spikes == "all" else 1000
        capacity = int(np.clip(MAX_STIMULI // (replicas * afferents), 10, most))
    return BidirectionalNetwork(
        layers,
        experiment.parameters_of(replicas),
        replicas=replicas,
        capacity=capacity,
        equations=experiment.equations,
        values=experiment.values,
    )


def load_data(experiment, fold):
    """The data set of an experiment, a fold of it where it has folds."""
    return data_set(experiment.data, fold, experiment.folds, experiment.options)


def experiment_table(experiment, dataset, seed):
    """Trial table of an experiment.

    Alignment is probed before learning and after each epoch, on training stimuli and without
    plasticity; the test set is shown after each epoch, concepts are recalled at the end. An
    autoencoder has no concepts: in every trial its code drives the backward network.

    Returns
    -------
    DataFrame
    """
    both, forward = "stimulus+concept", "stimulus"
    if experiment.is_autoencoder:
        both = forward = AUTOENCODER
    tables = [alignment_trials(dataset, 0, N_ALIGNMENT, source=both)]
    learning = experiment.parameters.learning
    if experiment.is_sequence:
        training = sequence_trials(
            dataset, experiment.epochs, seed, segment=experiment.segment, decay=learning.decay
        )
    else:
        training = training_trials(
            dataset, experiment.epochs, seed, decay=learning.decay, linear=learning.linear_decay,
            shift=experiment.shift, source=both,
        )
    for table in training:
        epoch = table["epoch"].iloc[0]
        record = N_SHOWN if epoch == experiment.epochs else 0
        tables += [
            table,
            alignment_trials(dataset, epoch, N_ALIGNMENT, source=both),
            test_trials(
                dataset, epoch, record=record, carry=experiment.is_sequence, source=forward
            ),
        ]
    if not experiment.is_autoencoder:
        tables.append(recall_trials(dataset.n_concepts, experiment.epochs))
    table = join_tables(tables)
    if experiment.spikes == "all":
        table["record"] = True
    n_concepts = 0 if experiment.is_autoencoder else dataset.n_concepts
    return check_table(table, dataset, n_concepts)


def run_experiment(
    experiment, out, *, seed=0, fold=0, device="cpp", resume=False, overwrite=False,
    progress=None, command=None,
):
    """Run one experiment with one seed, or a cohort of several, and write its results folder.

    Parameters
    ----------
    experiment : Experiment
    out : path-like
        Results folder.
    seed : int or list of int
        Several are the replicas ("subjects") of one cohort, simulated together in one network.
    fold : int
    device : {'cpp', 'cuda', 'runtime'}
    resume : bool
        Go on from the checkpoint in `out`.
    overwrite : bool
        Replace a run that `out` holds; without either, it is refused.
    progress : callable, optional
        ``progress(stage, done, total, text)``; stages ``generate``, ``compile``, ``run``,
        ``note``, and ``warning`` with a new warning of `divergences`.
    command : str, optional
        What the user typed, for the provenance.

    Returns
    -------
    dict
        The metrics, also in ``metrics.json``; of a cohort the means, and those of each replica
        under ``replicas``.

    Raises
    ------
    InputError
        For whatever the user can mend.
    NotFiniteError
        If the network diverges.
    RuntimeError
        If the compiler or the simulation fails.
    """
    progress = progress or (lambda *_: None)
    seeds = checked_seeds(list(seed) if isinstance(seed, tuple) else seed)
    dataset = load_data(experiment, fold)
    network = build_network(experiment, dataset, replicas=len(seeds))
    tables = [
        experiment_table(replace(experiment, parameters=p), dataset, own).assign(replica=replica)
        for replica, (own, p) in enumerate(zip(seeds, network.replica_parameters, strict=True))
    ]
    config = configuration(experiment, dataset, network, seeds, fold, device)
    with ResultsFolder(out, config, resume, overwrite) as folder:
        if resume and folder.finished:
            folder.close()  # a run may have been killed as it did that
            metrics = json.loads((folder.path / "metrics.json").read_text())
            return metrics | {"out": str(folder.path)}  # it may have been moved
        if experiment.spikes == "all":
            progress("note", 1, 1, _announce(network, dataset, len(tables[0]), folder.path))
        return _run(
            experiment, folder, dataset, network, tables, seeds, device, progress, command
        )


def _announce(network, dataset, n_trials, path):
    """How large all spikes will be; refused if they do not fit on the disk."""
    layout, timing = network.layout, network.parameters.timing
    cells_per_concept = network.parameters.encoding.cells_per_concept
    some = stimulus_intensities(dataset.x_train[:1000], network)
    active = sum(values.sum(axis=1).mean() for values in some.values()) + cells_per_concept
    active += TYPICAL_RATE * network.n_context  # they repeat the rates of cells
    per_step = layout.replicas * active + TYPICAL_RATE * layout.n_cells
    n_spikes = n_trials * float(timing.duration * timing.f_max) * per_step
    gigabytes = BYTES_PER_SPIKE * n_spikes / 1e9
    # the parts stay until the whole file is written
    free = shutil.disk_usage(path).free / 1e9
    if 2 * gigabytes > free:
        raise InputError(
            f"all spikes of {n_trials} trials are about {n_spikes:.1e}, {gigabytes:.2g} GB in "
            f"Parquet, twice that while they are joined; {path} has {free:.2g} GB left: make room, "
            "or use fewer --epochs."
        )
    return f"all spikes of {n_trials} trials: about {n_spikes:.1e}, {gigabytes:.2g} GB in Parquet"


def _run(experiment, folder, dataset, network, tables, seeds, device, progress, command):
    """Run the tables of the replicas, from the last checkpoint on, and write the results."""
    n_trials = len(tables[0])
    started = datetime.now(UTC)
    simulation = Simulation(
        network, dataset, device, seeds,
        progress=lambda stage, done, total: progress(stage, done, total, ""),
    )
    folder.begin()
    pieces = cut(tables[0], network.capacity)
    done, state, times = folder.load_checkpoint()
    times = {"run": 0.0, "train": 0.0, "trained": 0.0} | times
    if state is not None:
        simulation.restore(state)
    right, warned, said = None, set(), "training {:.1%} right"
    for number in range(done, len(pieces)):
        first, last = pieces[number]
        text = "" if right is None else said.format(right)
        chunk = pd.concat([table.iloc[first:last] for table in tables], ignore_index=True)
        before = simulation.run_s
        recording = simulation.run(
            chunk,
            lambda n, first=first, text=text: progress("run", first + n, n_trials, text),
        )
        spent = simulation.run_s - before
        times["run"] += spent
        if chunk["phase"].iloc[0] == "train":
            times["train"] += spent
            times["trained"] += len(chunk)
            if not experiment.is_autoencoder:
                right = known_mean(recording.trials["correct"])
        probes = first == 0 or tables[0]["phase"].iloc[first - 1] != chunk["phase"].iloc[0]
        frames = chunk_frames(network, simulation, recording, experiment, probes)
        if chunk["phase"].iloc[0] == "test" and experiment.is_autoencoder:
            frames["reconstruction"], frames["recalled"] = reconstructions(
                recording, dataset, seeds, experiment.epochs
            )
            said = "mean squared error {:.4f}"
            right = frames["reconstruction"]["mse"].mean()
        if chunk["phase"].iloc[0] == "test" and getattr(dataset, "values", None) is not None:
            frames["forecast"] = forecast_frame(
                recording.evidence, recording.trials, dataset.targets, dataset.values
            )
        folder.save_chunk(number, frames, simulation.state, times)
        if "weight_distribution" in frames:
            found = found_divergences(network, frames)
            for row in found[~found["where"].isin(warned)].itertuples():
                progress("warning", 1, 1, warning_text(row, len(seeds)))
            warned |= set(found["where"])
    progress("run", n_trials, n_trials, "writing results")
    for name in STREAMED:
        folder.stream_frame(name, len(pieces))
    frames = {name: folder.frame(name, len(pieces)) for name in FRAMES if name not in STREAMED}
    recalled = frames.pop("recalled")
    for name, frame in frames.items():
        if len(frame) or name not in OF_SOME_DATA:
            folder.write_frame(name, frame)
    mean_stimuli = class_means(dataset).reshape(dataset.n_concepts, -1)
    if experiment.is_autoencoder:
        images = reconstructed_images(recalled, frames["trials"], dataset)
        folder.write_arrays("reconstructed", **images)
    else:
        recall = recalled_stimuli(recalled, frames["trials"], mean_stimuli)
        if not experiment.is_sequence:
            folder.write_arrays(
                "recall", **recall, image_shape=np.array(dataset.image_shape)
            )
    if experiment.data == "text":
        progress("run", n_trials, n_trials, "writing a text")
        context = recalled_context(recall["recalled"], mean_stimuli, dataset)
        written = generate(simulation, dataset, seeds[0])
        folder.write_json(
            "generated", {**written, "context": context, "symbols": dataset.symbols}
        )
    for replica in range(len(seeds)):
        file = "weights" if len(seeds) == 1 else f"weights-{replica}"
        folder.write_arrays(file, **simulation.weights(replica), **simulation.carried(replica))
    varied = _varied(experiment, network)
    replicas = [
        {"replica": replica, "seed": own}
        | {key: values[replica] for key, values in varied.items()}
        | (
            quality(experiment, of_replica(replica, frames["reconstruction"]))
            if experiment.is_autoencoder
            else performance(
                experiment, mean_stimuli, of_replica(replica, frames["trials"]),
                of_replica(replica, recalled),
            )
        )
        | sequence_performance(experiment, dataset, frames["forecast"], replica)
        for replica, own in enumerate(seeds)
    ]
    means = {
        key: known_mean(pd.Series([own[key] for own in replicas], dtype=float))
        for key in replicas[0]
        if key not in ("replica", "seed", *varied)
    }
    metrics = {
        "name": experiment.name,
        **means,
        "trials": n_trials * len(seeds),
        "ms_per_trial": 1e3 * times["train"] / times["trained"],  # of one replica
        "build_s": simulation.simulator.build_s,
        "create_s": simulation.simulator.create_s,
        "run_s": times["run"],
        "peak_mb": simulation.simulator.peak_mb
        + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MAXRSS_PER_MB,
        "seed": folder.config["seed"],
        "fold": folder.config["fold"],
        "epochs": experiment.epochs,
        "layers": network.cells_per_layer,
        "synapses": network.n_synapses,
        "device": simulation.simulator.device,
        "warnings": [
            *(
                warning_text(row, len(seeds))
                for row in found_divergences(network, frames).itertuples()
            ),
            *worse_than_its_reference(dataset, means),
        ],
        **(about_series(dataset) if "mse" in means else {}),
        **(about_images(dataset) if experiment.data == "images" else {}),
        "out": str(folder.path),
    }
    if len(seeds) > 1:
        metrics["replicas"] = replicas
    folder.write_json("provenance", _provenance(command, started, simulation))
    folder.write_json("metrics", metrics)
    folder.close()
    return metrics


def _varied(experiment, network):
    """Values of the replicas, as text, of each parameter that differs between them."""
    return {
        key: [format_value(dict(p.items())[key]) for p in network.replica_parameters]
        for key in experiment.varied
    }


def configuration(experiment, dataset, network, seeds, fold, device):
    """Everything that was asked for, quantities as text with their units."""
    own = _varied(experiment, network)
    changed = {}
    if experiment.equations or experiment.values:
        changed["changed_equations"] = sorted(experiment.equations)
        changed["values"] = {k: format_value(v) for k, v in sorted(experiment.values.items())}
    return {
        "name": experiment.name,
        "description": experiment.description,
        "data": experiment.data,
        "layers": network.cells_per_layer,
        "epochs": experiment.epochs,
        "shift": experiment.shift,
        "options": experiment.options,
        "segment": experiment.segment,
        "seed": seeds[0] if len(seeds) == 1 else seeds,
        "fold": fold,
        "folds": experiment.folds,
        "spikes": experiment.spikes,
        "device": device,
        "precision": network.precision,
        "projection": network.projection,
        "equations": network.equations_digest,
        "parameters": {k: format_value(v) for k, v in experiment.parameters.items()} | own,
        **({"data_digest": dataset.digest} if experiment.has_options else {}),
        **changed,
    }


def _provenance(command, started, simulation):
    packages = ("bsd-brian2", "brian2", "numpy", "pandas", "scikit-learn")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "command": command or "Python API",
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **versions},
        "git": _git_revision(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": simulation.simulator.device,
        "equations": simulation.network.equations,
        "build_s": simulation.simulator.build_s,
        "run_s": simulation.run_s,
    }


def _git_revision():
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():  # installed, not cloned
        return None
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here, capture_output=True, text=True, timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None


def checked_seeds(seeds):
    """Seeds of several runs as a list; one seed is a list of one.

    Raises
    ------
    InputError
        If they are no different whole numbers, or one is negative.
    """
    if not isinstance(seeds, list):
        seeds = [seeds]
    whole = all(
        isinstance(s, (int, np.integer)) and not isinstance(s, bool) and s >= 0 for s in seeds
    )
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds = {seeds}: give different whole numbers that are not negative.")
    return [int(seed) for seed in seeds]



"""Run an experiment: train, test, align, recall; keep everything in a results folder."""

import functools
import itertools
import json
import multiprocessing
import os
import platform
import queue
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from bsd.analysis.divergence import divergences
from bsd.analysis.measures import (
    mean_recall_correlation,
    paired_similarity,
    recall_correlation,
    weight_angle,
)
from bsd.analysis.perception import image_similarity
from bsd.analysis.sequences import SIMPLE, forecast_errors, forecast_frame, ngram_accuracy
from bsd.equations import InputError
from bsd.networks import BidirectionalNetwork
from bsd.runs.engine import Simulation
from bsd.runs.engine.simulation import cut
from bsd.runs.engine.standalone import cores
from bsd.runs.engine.store import (
    FRAMES,
    STREAMED,
    ResultsFolder,
    write_atomically,
    write_json,
)
from bsd.runs.experiments.presets import Experiment, data_set
from bsd.runs.experiments.text import generate, recalled_context
from bsd.runs.interrupts import check_interrupt, listen_for
from bsd.runs.literals import format_value
from bsd.runs.processes import check_main_guard
from bsd.runs.trials import (
    AUTOENCODER,
    alignment_trials,
    check_table,
    join_tables,
    recall_trials,
    sequence_trials,
    shown_images,
    stimulus_intensities,
    test_trials,
    training_trials,
)

__all__ = ["build_network", "experiment_table", "run_experiment", "run_many", "summarise"]

#: Stimuli that a compiled chunk holds, at most, in numbers (8 bytes each).
MAX_STIMULI = 6e7

#: Trials with spikes and voltages kept, for rasters and voltage traces.
N_SHOWN = 3
N_ALIGNMENT = 60

#: Test stimuli whose reconstructions by an autoencoder are kept as images.
N_RECONSTRUCTED = 10

#: Trials of a chunk whose spikes are all kept: some 10 000 spikes each in large networks.
RECORDED_CAPACITY = 100

#: Measures whose mean over runs is in their summary, besides errors and those of an autoencoder.
AVERAGED = ("accuracy", "accuracy_voltage", "ties", "accuracy_train", "recall_correlation",
            "trigram_accuracy", "ms_per_trial")

#: Of a spike in Parquet, and rate of the cells, for what is said before all spikes are kept.
BYTES_PER_SPIKE = 6
TYPICAL_RATE = 0.1

#: Quantiles of the weights of a projection that are kept before learning and after each epoch.
WEIGHT_QUANTILES = {"q01": 0.01, "q10": 0.1, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9,
                    "q99": 0.99}


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
                right = _mean(recording.trials["correct"])
        probes = first == 0 or tables[0]["phase"].iloc[first - 1] != chunk["phase"].iloc[0]
        frames = _frames(network, simulation, recording, experiment, probes)
        if chunk["phase"].iloc[0] == "test" and experiment.is_autoencoder:
            frames["reconstruction"], frames["recalled"] = _reconstruction(
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
            found = _divergences(network, frames)
            for row in found[~found["where"].isin(warned)].itertuples():
                progress("warning", 1, 1, _warning(row, len(seeds)))
            warned |= set(found["where"])
    progress("run", n_trials, n_trials, "writing results")
    for name in STREAMED:
        folder.stream_frame(name, len(pieces))
    frames = {name: folder.frame(name, len(pieces)) for name in FRAMES if name not in STREAMED}
    recalled = frames.pop("recalled")
    for name, frame in frames.items():
        folder.write_frame(name, frame)
    class_means = _class_means(dataset)
    if experiment.is_autoencoder:
        folder.write_arrays("reconstructed", **_reconstructed(recalled, frames["trials"], dataset))
    else:
        recall = _recall(recalled, frames["trials"], class_means)
        if not experiment.is_sequence:
            folder.write_arrays(
                "recall", **recall, image_shape=np.array(dataset.image_shape)
            )
    if experiment.data == "text":
        progress("run", n_trials, n_trials, "writing a text")
        context = recalled_context(recall["recalled"], class_means, dataset)
        written = generate(simulation, dataset, seeds[0])
        folder.write_json(
            "generated", {**written, "context": context, "symbols": dataset.symbols}
        )
    for replica in range(len(seeds)):
        file = "weights" if len(seeds) == 1 else f"weights-{replica}"
        folder.write_arrays(file, **simulation.weights(replica))
    replicas = [
        {"replica": replica, "seed": own}
        | (
            _quality(experiment, _of(replica, frames["reconstruction"]))
            if experiment.is_autoencoder
            else _performance(
                experiment, class_means, _of(replica, frames["trials"]), _of(replica, recalled)
            )
        )
        | _sequence_performance(experiment, dataset, frames["forecast"], replica)
        for replica, own in enumerate(seeds)
    ]
    means = {
        key: _mean(pd.Series([own[key] for own in replicas], dtype=float))
        for key in replicas[0]
        if key not in ("replica", "seed")
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
        + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "seed": folder.config["seed"],
        "fold": folder.config["fold"],
        "epochs": experiment.epochs,
        "layers": network.cells_per_layer,
        "synapses": network.n_synapses,
        "device": simulation.simulator.device,
        "warnings": [
            *(_warning(row, len(seeds)) for row in _divergences(network, frames).itertuples()),
            *_worse_than_its_reference(dataset, means),
        ],
        **(_about_series(dataset) if "mse" in means else {}),
        **(_about_images(dataset) if experiment.data == "images" else {}),
        "out": str(folder.path),
    }
    if len(seeds) > 1:
        metrics["replicas"] = replicas
    folder.write_json("provenance", _provenance(command, started, simulation))
    folder.write_json("metrics", metrics)
    folder.close()
    return metrics


def configuration(experiment, dataset, network, seeds, fold, device):
    """Everything that was asked for, quantities as text with their units."""
    own = {
        key: [format_value(dict(p.items())[key]) for p in network.replica_parameters]
        for key in experiment.varied
    }
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


def _frames(network, simulation, recording, experiment, probes):
    """What is kept of a chunk; `probes` says whether trials of a new kind begin with it."""
    trials = recording.trials
    epoch, phase = int(trials["epoch"].iloc[-1]), trials["phase"].iloc[0]
    frames = {
        name: getattr(recording, name)
        for name in ("trials", "counts", "cell_counts", "spikes", "voltages", "cosines", "recalled")
    }
    frames["counts"] = _compact(frames["counts"])
    if phase == "align":
        frames["alignment"] = _alignment(network, recording)
        frames["recalled"] = frames["recalled"].iloc[:0]
    if phase == "align" or experiment.spikes == "all":
        n_shown = N_SHOWN if epoch == experiment.epochs and phase != "train" else 0
        shown = trials["trial"].iloc[:n_shown] if probes else trials["trial"].iloc[:0]
        for name in STREAMED:
            if name != "spikes" or experiment.spikes == "few":
                frames[name] = frames[name][frames[name]["trial"].isin(shown)]
        if experiment.spikes == "few":  # `record` says whose spikes are there
            kept = trials["record"].astype(bool) & trials["trial"].isin(shown)
            frames["trials"] = trials.assign(record=kept)
    if phase == "align" and probes:
        at = int(trials["trial"].iloc[0]) - 1  # the last one in which weights could change
        weights = [simulation.weights(replica) for replica in range(network.layout.replicas)]
        for name, measure in (
            ("weight_alignment", _weight_alignment), ("weight_distribution", _weight_distribution)
        ):
            frames[name] = pd.concat(
                [measure(network, own, at, epoch, replica) for replica, own in enumerate(weights)]
            )
    return frames


def _divergences(network, frames):
    """Warnings of the run, or of the one chunk whose frames they are."""
    names = ("trials", "counts", "alignment", "weight_distribution")
    found = [
        divergences(
            *(_of(replica, frames[name]) for name in names),
            f_max_hz=float(parameters.timing.f_max),
            weight_max=parameters.learning.weight_max,
            loss=parameters.learning.loss,
            # neighbours of a tuned code share their partners' patterns
            learned=parameters.learning.hidden == "learned"
            and parameters.encoding.concept_code != "tuning",
        )
        for replica, parameters in enumerate(network.replica_parameters)
    ]
    order = ["epoch", "replica", "kind", "where"]
    return pd.concat(found).sort_values(order, ignore_index=True)


def _worse_than_its_reference(dataset, means):
    key = f"mse_{getattr(dataset, 'reference', '')}"
    if key in means and means["mse"] > means[key]:
        yield (
            f"the forecast is worse than the simple one that it corrects ({means['mse']:.3g}, "
            f"{SIMPLE[dataset.reference]} {means[key]:.3g}): lower learning.eta, "
            "learning.eta_feedback and learning.eta_top, or use a longer series."
        )


def _warning(row, n_replicas):
    replica = f", replica {row.replica}" if n_replicas > 1 else ""
    return f"epoch {row.epoch}{replica}: {row.text}"


def _compact(counts):
    for name in ("population", "pathway"):
        counts[name] = counts[name].astype("category")
    # synaptic events of a trial may be more than 32 bits hold
    for name in ("replica", "layer", "n_cells", "spikes", "synapses"):
        counts[name] = counts[name].astype(np.int32)
    counts["rate_hz"] = counts["rate_hz"].astype(np.float32)
    return counts


def _alignment(network, recording):
    """Cosine, Hamming similarity and kappa of the paired cells of each hidden layer."""
    trials = _of(0, recording.trials)["trial"].to_numpy()
    timing = network.parameters.timing
    frames = []
    for replica, layer in itertools.product(
        range(network.layout.replicas), range(1, network.layout.depth + 1)
    ):
        spikes, cosines = _of(replica, recording.spikes), _of(replica, recording.cosines)
        rasters = [
            np.concatenate(
                [
                    _raster(spikes, p.name, trials, timing, p.size)
                    for p in network.layout.populations
                    if (p.replica, p.layer, p.pathway) == (replica, layer, pathway)
                ],
                axis=2,
            )
            for pathway in ("forward", "backward")
        ]
        similarity = paired_similarity(*rasters)
        cosines = cosines[cosines["layer"] == layer].set_index("trial")["cosine"]
        similarity.insert(0, "trial", trials)
        similarity.insert(1, "replica", replica)
        similarity.insert(2, "layer", layer)
        similarity.insert(3, "cosine", cosines.loc[trials].to_numpy())
        frames.append(similarity)
    return pd.concat(frames, ignore_index=True)


def _of(replica, frame):
    return frame[frame["replica"] == replica]


def _raster(spikes, population, trials, timing, size):
    own = spikes[spikes["population"] == population]
    raster = np.zeros((len(trials), timing.steps, size), dtype=bool)
    step = np.rint(own["t_ms"] / (float(timing.dt) * 1e3)).astype(int)
    raster[np.searchsorted(trials, own["trial"]), step, own["cell"]] = True
    return raster


def _weight_alignment(network, weights, trial, epoch, replica):
    """Angles of W and Theta, where both have synapses."""
    layout = network.layout
    projection = layout.projection("W0", replica)
    _, rows, columns = layout.mirror(projection)  # the image, without high frequencies beside it
    theta = weights["Theta0"][rows, columns] * network.connectivity(projection).T
    weights = {**weights, "Theta0": theta}
    return pd.DataFrame(
        {
            "trial": trial,
            "replica": replica,
            "epoch": epoch,
            "layer": layer,
            "angle_deg": weight_angle(weights[f"W{layer}"], weights[f"Theta{layer}"]),
        }
        for layer in range(layout.depth + 1)
        if np.any(weights[f"W{layer}"]) and np.any(weights[f"Theta{layer}"])
    )


def _weight_distribution(network, weights, trial, epoch, replica):
    there = {
        name: w[network.connectivity(network.layout.projection(name, replica))]
        for name, w in weights.items()
    }
    return pd.DataFrame(
        {
            "trial": trial,
            "replica": replica,
            "epoch": epoch,
            "projection": name,
            **dict(zip(WEIGHT_QUANTILES, np.quantile(w, list(WEIGHT_QUANTILES.values())),
                       strict=True)),
        }
        for name, w in there.items()
    )


def _performance(experiment, class_means, trials, recalled):
    """Accuracy and recall of one replica."""
    recall = _recall(recalled, trials, class_means)
    r = mean_recall_correlation(recall["recalled"], class_means)
    return {
        **_accuracies(trials, experiment.epochs),
        "recall_correlation": None if np.isnan(r) else r,
    }


def _sequence_performance(experiment, dataset, forecast, replica):
    """Errors of the forecast in the last epoch; accuracy of a trigram model of the text."""
    if experiment.data == "text":
        return {"trigram_accuracy": ngram_accuracy(dataset, 3)}
    if len(forecast):
        own = _of(replica, forecast)
        return forecast_errors(own[own["epoch"] == experiment.epochs])
    return {}


def _about_series(dataset):
    """What was forecast, and its scale: errors are in units of its SD."""
    return {
        "series": dataset.source, "series_mean": dataset.mean, "series_sd": dataset.sd,
        "reference": dataset.reference,
    }


def _about_images(dataset):
    """What was read of the user's own data, and the names of the concepts in order."""
    return {"source": dataset.source, "concepts": list(dataset.concept_names)}


def _reconstruction(recording, dataset, seeds, last_epoch):
    """How like their stimuli the reconstructions of a chunk are; images of those to be shown.

    The images are those of some `N_RECONSTRUCTED` test stimuli, of all concepts, after the last
    epoch.
    """
    trials, frames = recording.trials, []
    for replica, seed in enumerate(seeds):
        own = _of(replica, trials)
        shown = shown_images(own, dataset, seed)
        recalled = _of(replica, recording.recalled)
        images, drives = (
            recalled[name].to_numpy(float).reshape(shown.shape) for name in ("rate", "drive")
        )
        by_drive = recall_correlation(*(a.reshape(len(a), -1) for a in (drives, shown)))
        frames.append(
            pd.concat(
                [
                    own[["trial", "replica", "epoch", "stimulus"]].reset_index(drop=True),
                    image_similarity(images, shown),
                    pd.DataFrame({"r_drive": by_drive}),
                ],
                axis=1,
            )
        )
    rank = pd.Series(dataset.y_test).groupby(dataset.y_test).cumcount()
    first = np.flatnonzero(rank < max(1, N_RECONSTRUCTED // dataset.n_concepts))
    chosen = trials[(trials["epoch"] == last_epoch) & trials["stimulus"].isin(first)]
    kept = recording.recalled["trial"].isin(chosen["trial"])
    return pd.concat(frames, ignore_index=True), recording.recalled[kept]


def _reconstructed(recalled, trials, dataset):
    """Some test stimuli and their reconstructions, by spikes and by basal drive, of replica 0."""
    own = _of(0, recalled).sort_values(["trial", "pixel"])
    rows = trials.drop_duplicates("trial").set_index("trial").loc[own["trial"].unique()]
    stimulus = rows["stimulus"].to_numpy(int)
    shape = (len(stimulus), *dataset.image_shape)
    return {
        "stimulus": dataset.x_test[stimulus],
        "reconstructed": own["rate"].to_numpy(float).reshape(shape),
        "reconstructed_drive": own["drive"].to_numpy(float).reshape(shape),
    }


def _quality(experiment, reconstruction):
    """Likeness of stimulus and reconstruction of one replica after the last epoch, means."""
    last = reconstruction[reconstruction["epoch"] == experiment.epochs]
    decisions = ("accuracy", "accuracy_voltage", "ties", "accuracy_train", "recall_correlation")
    return dict.fromkeys(decisions) | {
        f"reconstruction_{name}": _mean(last[name]) for name in ("mse", "ssim", "r", "r_drive")
    }


def _recall(recalled, trials, class_means):
    """Recalled stimulus of each concept, mean over trials and replicas."""
    concepts = trials.drop_duplicates("trial").set_index("trial")["concept"]
    recalled = recalled.assign(concept=recalled["trial"].map(concepts))
    rate, drive = (
        recalled.groupby(["concept", "pixel"])[name].mean().to_numpy().reshape(class_means.shape)
        for name in ("rate", "drive")
    )
    return {"recalled": rate, "recalled_drive": drive, "class_mean": class_means}


def _class_means(dataset):
    """Mean training stimulus of each concept, (n_concepts, n_pixels); zeros of one without any."""
    members = [dataset.x_train[dataset.y_train == c] for c in range(dataset.n_concepts)]
    n_pixels = int(np.prod(dataset.image_shape))
    return np.stack(
        [own.mean(axis=0).ravel() if len(own) else np.zeros(n_pixels) for own in members]
    )


def _accuracies(trials, last_epoch):
    last = trials[trials["epoch"] == last_epoch]
    test, train = last[last["phase"] == "test"], last[last["phase"] == "train"]
    return {
        "accuracy": _mean(test["correct"]),
        "accuracy_voltage": _mean(test["correct_voltage"]),
        "ties": _mean(test["percept"] < 0),
        "accuracy_train": _mean(train["correct"]),
    }


def _mean(values):
    """Mean of what is known, None where nothing is (JSON has no NaN)."""
    known = values.dropna().astype(float)
    return float(known.mean()) if len(known) else None


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


# ------------------------------------------------------------------ several seeds and folds


def run_many(
    experiment, out, *, seeds, cohort=False, device="cpp", resume=False, overwrite=False,
    progress=None, command=None,
):
    """Run every seed and fold of an experiment, as many at a time as there are cores.

    Several runs have a folder each in `out` (``seed0-fold0``, ...), beside ``runs.csv`` and a
    ``metrics.json`` with their means.

    Parameters
    ----------
    cohort : bool
        Simulate all seeds together, as the replicas of one network.
    resume, overwrite : bool
        Go on with the runs that `out` holds, or replace them; without either, they are refused.
    progress : callable, optional
        ``progress(run, stage, done, total, text)`` with the name of the run.

    Returns
    -------
    DataFrame
        Metrics, one row per seed and fold.

    Raises
    ------
    InputError
        As `run_experiment`, before anything is compiled where possible.
    RuntimeError
        If one of the runs failed; the others are stopped and can be resumed.
    """
    progress = progress or (lambda *_: None)
    if not isinstance(experiment, Experiment):
        raise InputError(f"{experiment!r} is no experiment: give one, as experiment('demo').")
    seeds = checked_seeds(list(seeds) if np.iterable(seeds) else seeds)
    folds = range(experiment.folds)
    if cohort:
        runs = {f"fold{fold}": (seeds, fold) for fold in folds}
    else:
        runs = {f"seed{seed}-fold{fold}": (seed, fold) for seed in seeds for fold in folds}
    out = Path(out)
    options = {"device": device, "resume": resume, "overwrite": overwrite, "command": command}
    if len(runs) == 1:
        ((name, (seed, fold)),) = runs.items()
        report = functools.partial(progress, name)
        metrics = run_experiment(
            experiment, out, seed=seed, fold=fold, progress=report, **options
        )
        return pd.DataFrame(_rows(metrics))
    check_main_guard("run_many")
    build_s = _prepare(experiment, out, runs, device, resume, overwrite, progress)
    rows = []
    for metrics in _in_processes(experiment, out, runs, options, progress):
        rows += _rows(metrics)
    metrics = pd.DataFrame(rows).sort_values(["seed", "fold"], ignore_index=True)
    metrics["build_s"] = metrics["build_s"].where(metrics["build_s"] > 0, build_s)
    table = metrics.assign(warnings=metrics["warnings"].map(len)).to_csv(index=False)
    write_atomically(out / "runs.csv", lambda file: file.write(table.encode()))
    write_json(out / "metrics.json", summarise(metrics, out))
    return metrics


def summarise(metrics, out):
    """Means over the runs, and the SD over seeds of the accuracy and of a forecast's error.

    Parameters
    ----------
    metrics : DataFrame
        From `run_many`: one row per seed and fold; the replicas of a cohort share a run.
    out : path-like

    Returns
    -------
    dict
    """
    first, runs = metrics.iloc[0], metrics.drop_duplicates("out")
    spread = {}
    for key in metrics.columns.intersection(["accuracy", "mse"]):
        own = metrics[key].astype(float).groupby(metrics["seed"]).mean()
        spread[f"{key}_sd"] = float(own.std()) if own.notna().sum() > 1 else None
    mean = {
        key: None if metrics[key].isna().all() else float(metrics[key].mean())
        for key in metrics
        if key in AVERAGED or key.startswith(("mse", "reconstruction_"))
    }
    return {
        "name": first["name"],
        **mean,
        **spread,
        "seeds": sorted(int(s) for s in metrics["seed"].unique()),
        "folds": int(metrics["fold"].nunique()),
        "trials": int(runs["trials"].sum()),
        "build_s": float(metrics["build_s"].max()),
        "create_s": float(metrics["create_s"].mean()),
        "peak_mb": float(metrics["peak_mb"].max()),
        "run_s": float(runs["run_s"].sum()),
        "epochs": int(first["epochs"]),
        "layers": list(first["layers"]),
        "device": first["device"],
        "warnings": sum(runs["warnings"], []),
        "out": str(out),
    }


def _rows(metrics):
    """One row for each replica."""
    return [metrics | own for own in metrics.pop("replicas", [{}])]


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


def _prepare(experiment, out, runs, device, resume, overwrite, progress):
    """Check every results folder, then compile once for all; seconds that it took."""
    if (out / "config.yaml").exists():
        raise InputError(
            f"{out} holds a run with one seed and fold: choose another folder with --out."
        )
    summaries = [out / "metrics.json", out / "runs.csv"]
    if any(file.exists() for file in summaries) and not (resume or overwrite):
        raise InputError(
            f"{out} holds finished runs: choose another folder with --out, go on with --resume, or "
            "replace them with --overwrite."
        )
    dataset = load_data(experiment, 0)
    each = {name: seed if isinstance(seed, list) else [seed] for name, (seed, _) in runs.items()}
    network = build_network(experiment, dataset, replicas=len(next(iter(each.values()))))
    folders = []
    for name, (_, fold) in runs.items():
        started = (out / name / "config.yaml").exists()
        config = configuration(experiment, dataset, network, each[name], fold, device)
        folders.append(ResultsFolder(out / name, config, resume and started, overwrite))
        with folders[-1]:
            pass
    simulation = Simulation(
        network, dataset, device, progress=lambda *event: progress("all", *event, "")
    )
    if overwrite:  # all of them now: a resumed run must not take an old one for its own
        for file in summaries:
            file.unlink(missing_ok=True)
        for folder in folders:
            with folder:
                folder.begin()
    return simulation.simulator.build_s


def _in_processes(experiment, out, runs, options, progress):
    """Metrics of the runs as they finish, one process for each."""
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    waiting, alive, begun = list(runs.items()), {}, set()
    most = 1 if options["device"] == "cuda" else cores()
    try:
        while waiting or alive:
            while waiting and len(alive) < most:
                name, (seed, fold) = waiting.pop(0)
                resume = options["resume"] and (out / name / "config.yaml").exists()
                process = context.Process(
                    target=_run_in_process,
                    args=(events, name, experiment, out / name),
                    kwargs={**options, "resume": resume, "seed": seed, "fold": fold},
                )
                process.start()
                alive[name] = process
            try:
                kind, name, content = events.get(timeout=0.5)
            except queue.Empty:
                for name, process in alive.items():
                    if process.exitcode not in (None, 0) and name not in begun:
                        raise InputError(
                            f"{name} ended before it began: see its messages above. A script must "
                            "call run_many under `if __name__ == '__main__':`."
                        ) from None
                    if process.exitcode not in (None, 0):
                        raise RuntimeError(
                            f"{name} ended with exit code {process.exitcode}: see its messages "
                            "above, then go on with --resume."
                        ) from None
                continue
            begun.add(name)
            if kind == "progress":
                progress(name, *content)
            elif kind == "error":
                raise content
            else:
                alive.pop(name).join()
                yield content
    finally:
        for process in alive.values():
            process.terminate()
        for process in alive.values():
            process.join()


def _end_with_parent():
    """A parent that is killed cannot end its processes."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _run_in_process(events, name, experiment, out, **options):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # even if the parent process ignores it
    listen_for(signal.SIGTERM)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    last = [0.0]

    def report(stage, done, total, text):
        check_interrupt()
        if time.monotonic() - last[0] > 0.2 or done == total:
            last[0] = time.monotonic()
            events.put(("progress", name, (stage, done, total, text)))

    try:
        events.put(("done", name, run_experiment(experiment, out, progress=report, **options)))
    except KeyboardInterrupt:
        events.cancel_join_thread()
        sys.exit(128 + signal.SIGTERM)  # a parent that did not ask for it waits for an answer
    except (InputError, RuntimeError, OSError, MemoryError) as error:
        events.put(("error", name, error))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to save

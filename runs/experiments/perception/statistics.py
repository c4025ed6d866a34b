"""Firing statistics of a trained network: long trials of perception and of imagery.

Stimuli and concepts are shown for 500 ms or more, several times each, with other spike phases each
time, without plasticity. As in `bsd.runs.experiments.perception.imagery`, both pathways are active
in either phase, so that every population can be compared between them.
"""

import itertools

import numpy as np
import pandas as pd
from brian2 import ms

from bsd.analysis.energy import energy_per_trial
from bsd.analysis.hypotheses import compare, correct_p_values
from bsd.analysis.information import mutual_information
from bsd.analysis.populations import (
    participation_ratio,
    population_sparseness,
    selectivity,
    synchrony,
)
from bsd.analysis.spike_trains import (
    MIN_DURATION_MS,
    MIN_SPIKES,
    fano_factor,
    per_population,
    train_statistics,
)
from bsd.equations import InputError
from bsd.runs.experiments.perception.imagery import LOSS
from bsd.runs.experiments.perception.study import Study, chosen_stimuli, needs_concepts
from bsd.runs.trials import join_tables

__all__ = ["COMPARED", "statistics", "statistics_table"]

#: Stimuli of each concept, and how often each is shown; a concept is imagined as often.
N_STIMULI, N_REPEATS = 4, 5

#: Width of the bins in which synchrony is measured.
BIN_MS = 10.0

N_SHUFFLES = 50

#: Trials recorded at a time: their spikes are kept only until they are counted.
CAPACITY = 20

#: Trials of each phase of the run that energy is averaged over.
N_ENERGY = 1000

#: What is compared between perception and imagery, and in what unit.
COMPARED = {"rate_hz": "Hz", "cv": "1", "chi": "1", "treves_rolls": "1"}

_LABELS = ["phase", "replica", "population", "pathway", "layer"]
_OF_TRAINS = ["rate_hz", "latency_ms", "isi_ms", "cv", "cv2", "lv"]


def statistics_table(dataset, n_stimuli=N_STIMULI, n_repeats=N_REPEATS):
    """Stimuli perceived and concepts imagined, each several times; all spikes recorded.

    Returns
    -------
    DataFrame
        A trial table with the phases ``perceived`` and ``imagined``.
    """
    stimuli = chosen_stimuli(dataset, n_stimuli)
    shown = pd.concat([stimuli] * n_repeats, ignore_index=True)
    concepts = pd.DataFrame({"concept": shown["concept"]})
    return join_tables(
        [
            shown.assign(phase="perceived", source="stimulus+percept", record=True),
            concepts.assign(phase="imagined", source="concept+recall", loss=LOSS, record=True),
        ]
    )


def statistics(
    trained, device="cpp", *, seed=None, n_stimuli=N_STIMULI, n_repeats=N_REPEATS, progress=None
):
    """Firing statistics per phase, replica and population, and perception against imagery.

    Parameters
    ----------
    trained : TrainedNetwork or sequence of TrainedNetwork
        One network, or the replicas of a cohort.
    device : str
    seed : int, optional
        Of the spike phases.
    n_stimuli, n_repeats : int
        Test stimuli of each concept, and trials of each stimulus.
    progress : callable, optional

    Returns
    -------
    Study
        Frames, the first four with ``phase, replica, population, pathway, layer``:

        ``populations``
            Distribution of each statistic over trains, trials or cells (``statistic, n,
            n_defined, mean, sd, median``), see `bsd.analysis.spike_trains.per_population`.
        ``cells``
            Mean over trials of the statistics of each cell's trains, Fano factor (mean over
            stimuli or concepts), selectivity, information about the concept.
        ``trials``
            Rate, CV, synchrony and sparseness of each trial.
        ``dimensionality``
            Participation ratio.
        ``comparisons``
            Rows of `bsd.analysis.hypotheses.compare`, imagined less perceived, paired by
            concept, or by replica where there are several; p corrected by Holm's method over
            all rows.
        ``energy``
            Of the last trials of each phase of the run, see `bsd.analysis.energy`: means per
            trial.

    Raises
    ------
    InputError
        If the frames of the run cannot be read or are of an earlier version, or for an autoencoder.
    """
    study = Study("statistics")
    replicas = list(trained) if isinstance(trained, (list, tuple)) else [trained]
    needs_concepts(replicas[0])
    energy = _energy(replicas[0])
    table = statistics_table(replicas[0].dataset, n_stimuli, n_repeats)
    trains, trials, cells, done = [], [], [], 0
    for one in replicas:
        timing = one.network.parameters.timing
        dt = float(timing.dt) * 1e3
        steps = np.ceil(round(MIN_DURATION_MS / dt, 6))  # whole ones
        duration = max(float(timing.duration) * 1e3, steps * dt)
        simulation = one.simulation(
            device, seed=seed, capacity=CAPACITY, progress=progress,
            parameters=one.network.parameters.updated({"timing.duration": duration * ms}),
        )
        for recording in simulation.chunks(table):
            recording = _of_replica(recording, one.replica)
            own = train_statistics(recording.spikes, recording.counts, recording.trials)
            trains.append(own)
            trials.append(_trials(recording, own))
            cells.append(recording.cell_counts)
            done += recording.trials["trial"].nunique()
            if progress:
                progress("run", done, len(replicas) * len(table))
    table = pd.concat([table.assign(replica=one.replica) for one in replicas])
    trains, trials, cells = (pd.concat(parts, ignore_index=True) for parts in
                             (trains, trials, cells))
    study.frames = _frames(trains, trials, cells, table) | {"energy": energy}
    study.summary = _summary(study.frames, duration, len(replicas))
    return study


def _of_replica(recording, replica):
    """The recording of a network that was simulated alone, under its number in the cohort."""
    for name in ("trials", "spikes", "counts", "cell_counts"):
        setattr(recording, name, getattr(recording, name).assign(replica=replica))
    return recording


def _trials(recording, trains):
    by = [*_LABELS, "trial"]
    table = trains.groupby(by, sort=False)[["rate_hz", "cv"]].mean().reset_index()
    for frame, column in (
        (synchrony(recording.spikes, recording.counts, BIN_MS, recording.trials), "chi"),
        (population_sparseness(recording.cell_counts, recording.trials), "treves_rolls"),
    ):
        table = table.merge(frame[[*by, column]], on=by)
    trials = recording.trials[["trial", "replica", "concept", "stimulus"]]
    return table.merge(trials, on=["trial", "replica"])


def _frames(trains, trials, cells, table):
    of_cell = [*_LABELS, "cell"]
    repeats = fano_factor(cells, table, by=["phase", "concept", "stimulus"])
    information = mutual_information(cells, table, unit="stimulus", n_shuffles=N_SHUFFLES)
    tuned = selectivity(cells, table, unit="stimulus", n_shuffles=N_SHUFFLES)
    dimensionality = participation_ratio(cells, table)
    parts = [
        trains.groupby(of_cell, sort=False)[_OF_TRAINS].mean(),
        trains.groupby(of_cell, sort=False)["cv"].count().rename("n_trains_with_cv"),
        repeats.groupby(of_cell, sort=False)["fano"].mean(),
        tuned.set_index(of_cell)[["selectivity", "selectivity_shuffled"]],
        information.set_index(of_cell)[["information_bits", "concept_bits"]],
    ]
    by_cell = pd.concat(parts, axis=1).reset_index()
    populations = pd.concat(
        [
            per_population(trains, _OF_TRAINS),
            per_population(trials, ["chi", "treves_rolls"]),
            per_population(repeats, ["fano"], by=["phase"]),
            per_population(tuned, ["selectivity", "selectivity_shuffled"]),
            per_population(information, ["information_bits"]),
            per_population(dimensionality, ["participation_ratio"]),
        ],
        ignore_index=True,
    )
    return {
        "populations": populations,
        "cells": by_cell,
        "trials": trials,
        "dimensionality": dimensionality,
        "comparisons": _comparisons(trials),
    }


def _comparisons(trials):
    """Imagined less perceived, for each population of both pathways and each measure."""
    unit = "replica" if trials["replica"].nunique() > 1 else "concept"
    rows = []
    of_pathways = trials[trials["pathway"] != "afferent"]
    for measure, (name, own) in itertools.product(
        COMPARED, of_pathways.groupby("population", sort=False)
    ):
        known = own[own[measure].notna()]
        both = known.groupby(unit)["phase"].nunique() == 2
        known = known[known[unit].isin(both.index[both])]
        if both.sum() > 1:
            row = compare(known, "phase", measure, unit=unit, levels=("perceived", "imagined"))
            row.insert(0, "population", name)
            rows.append(row)
    return correct_p_values(pd.concat(rows, ignore_index=True))


def _energy(trained):
    """Energy per trial of the run that trained the network: means of its last trials."""
    try:
        trials = pd.read_parquet(trained.folder / "trials.parquet")
        counts = pd.read_parquet(trained.folder / "counts.parquet")
    except (OSError, ValueError) as error:
        raise InputError(f"{trained.folder}: {error}: run again.") from None
    shown = trials[trials["phase"].isin(["train", "test", "recall"])]
    last = shown.drop_duplicates("trial").groupby("phase")["trial"].nlargest(N_ENERGY)
    slots = trained.network.parameters.learning.memory_slots
    try:
        energy = energy_per_trial(
            counts[counts["trial"].isin(last)], trials[trials["trial"].isin(last)], slots
        )
    except ValueError as error:
        raise InputError(
            f"{trained.folder} was written by an earlier version ({error}): run again."
        ) from None
    numbers = ["spikes", "accumulates", "multiply_accumulates", "energy_nJ", "dense_energy_nJ"]
    return energy.groupby(["phase", "replica", "pathway"], sort=False)[numbers].mean().reset_index()


def _summary(frames, duration_ms, n_replicas):
    populations = frames["populations"]
    means = populations.groupby(["phase", "population", "statistic"], sort=False)["mean"].mean()
    summary = {
        "duration_ms": duration_ms, "min_spikes": MIN_SPIKES, "bin_ms": BIN_MS,
        "replicas": n_replicas, "trials_per_phase": int(frames["trials"]["trial"].nunique() // 2),
    }
    for (phase, population, statistic), value in means.items():
        if np.isfinite(value):
            summary.setdefault(phase, {}).setdefault(population, {})[statistic] = float(value)
    return summary

"""What a run recorded, as tidy frames."""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bsd.analysis.measures import decide, paired_similarity

__all__ = ["Recording", "of_replica", "paired_alignment"]

COMPARTMENTS = {"v_s": "soma", "v_b": "basal", "v_a": "apical"}


@dataclass
class Recording:
    """Frames of a run; every frame joins to `trials` by ``trial`` and ``replica``.

    Attributes
    ----------
    trials : DataFrame
        The trial table with the columns percept, correct, percept_voltage, correct_voltage;
        -1 is a tie or silence, which count as wrong. A decision is neither right nor wrong (NA)
        in trials without a concept, without a drive of the forward network, or, with
        ``cell.g_apical`` above 0, with a drive of the output cells' apical dendrites.
    counts : DataFrame
        Spikes per trial and population; ``synapses`` of its projection, and the
        ``synaptic_events`` there (each spike times the synapses of its cell).
    evidence : DataFrame
        Output spikes for each concept in trials with a drive of the forward network: those of all
        output cells, each weighted with its share in the concept's encoding. Of an autoencoder the
        code as the backward network receives it: spikes of each concept afferent (``candidate``).
    cosines : DataFrame
        C per trial and layer of trials in which both pathways were driven; where there are two
        streams, the mean of theirs.
    cell_counts : DataFrame
        Spikes per trial and cell, of the trials whose ``record`` is set.
    spikes, voltages : DataFrame
        Of the trials whose ``record`` is set.
    traces : DataFrame
        Of the same trials, what ``network.probe_variables`` names: ``value`` in the SI unit of
        the column ``unit``.
    recalled : DataFrame
        Rate (in units of f_max) and mean basal drive (in units of R_b I_u) of each recalled
        pixel, of trials in which the backward network was driven without plasticity.
    """

    trials: pd.DataFrame
    counts: pd.DataFrame
    evidence: pd.DataFrame
    cosines: pd.DataFrame
    cell_counts: pd.DataFrame
    spikes: pd.DataFrame
    voltages: pd.DataFrame
    traces: pd.DataFrame
    recalled: pd.DataFrame

    @classmethod
    def join(cls, recordings):
        """One recording from those of consecutive chunks."""
        return cls(
            **{
                name: pd.concat([getattr(r, name) for r in recordings], ignore_index=True)
                for name in cls.__dataclass_fields__
            }
        )

    @classmethod
    def from_outputs(cls, network, tables, outputs):
        """Frames of one chunk.

        Parameters
        ----------
        network : BidirectionalNetwork
        tables : list of DataFrame
            The chunk's trials, of each replica.
        outputs : dict of str to ndarray
            What the simulator returned.
        """

        def each(frame):
            frames = [frame(network, table, outputs, r) for r, table in enumerate(tables)]
            return pd.concat(frames, ignore_index=True)

        return cls(
            trials=each(_decisions),
            counts=_counts(network, tables[0], outputs),
            evidence=each(_evidence),
            cosines=each(_cosines),
            cell_counts=each(_cell_counts),
            spikes=_spikes(network, tables[0], outputs),
            voltages=each(_voltages),
            traces=each(_traces),
            recalled=each(_recalled),
        )


def _decisions(network, table, outputs, replica):
    top = network.layout.population(f"F{network.layout.depth + 1}", replica)
    encodings = network.encoding_matrix()
    trials = table.copy()
    perceived = table["source"].str.contains("stimulus|recall").to_numpy()
    # the concept afferents reach the output cells' somata through their apical dendrites
    told = table["source"].str.contains("concept|percept").to_numpy()
    judged = perceived & (table["concept"] >= 0).to_numpy()
    if float(network.replica_parameters[replica].cell.g_apical) > 0:
        judged &= ~told
    for suffix, name in (("", "trial_cells.n_s"), ("_voltage", "trial_cells.u")):
        values = outputs[name]
        percept = np.where(perceived, decide(values[:, top.cells], encodings), -1)
        trials[f"percept{suffix}"] = percept
        right = pd.array(percept == table["concept"].to_numpy(), dtype="boolean")
        right[percept < 0] = False
        right[~judged] = pd.NA
        trials[f"correct{suffix}"] = right
    return trials


def _evidence(network, table, outputs, replica):
    top = network.layout.population(f"F{network.layout.depth + 1}", replica)
    perceived = table["source"].str.contains("stimulus|recall").to_numpy()
    encodings = network.encoding_matrix()
    if network.is_autoencoder:
        relayed = network.layout.partner(top)
        evidence = outputs["trial_afferents.n_s"][perceived][:, relayed.cells]
    else:
        share = encodings / encodings.max(axis=1, keepdims=True)
        evidence = outputs["trial_cells.n_s"][perceived][:, top.cells] @ share.T
    return pd.DataFrame(
        {
            "trial": np.repeat(table["trial"].to_numpy()[perceived], len(encodings)),
            "replica": replica,
            "candidate": np.tile(np.arange(len(encodings)), len(evidence)),
            "spikes": evidence.ravel(),
        }
    )


def _populations(network, outputs):
    for population in network.layout.afferents:
        yield population, outputs["trial_afferents.n_s"][:, population.cells]
    for population in network.layout.populations:
        yield population, outputs["trial_cells.n_s"][:, population.cells]


def _labels(population):
    return {
        "replica": population.replica,
        "population": population.name,
        "pathway": population.pathway,
        "layer": population.layer,
    }


def _counts(network, table, outputs):
    duration = float(network.parameters.timing.duration)
    frames = []
    for population, counts in _populations(network, outputs):
        spikes = counts.sum(axis=1).astype(np.int64)
        fan_out = network.fan_out(population)
        frames.append(
            pd.DataFrame(
                {
                    "trial": table["trial"],
                    **_labels(population),
                    "n_cells": population.size,
                    "spikes": spikes,
                    "rate_hz": spikes / (population.size * duration),
                    "synapses": fan_out.sum(),
                    "synaptic_events": (counts @ fan_out).astype(np.int64),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _cosines(network, table, outputs, replica):
    both = table["source"].str.contains("concept|percept") & (
        table["source"].str.contains("stimulus|recall")
    )
    layers = {}
    for population in network.layout.populations:
        if population.replica == replica and (
            population.pathway == "forward" or population.layer == 0
        ):
            cosine = outputs["trial_cosine.C"][both.to_numpy(), population.index]
            layers.setdefault(population.layer, []).append(cosine)
    frames = [
        pd.DataFrame(
            {
                "trial": table["trial"][both],
                "phase": table["phase"][both],
                "replica": replica,
                "layer": layer,
                "cosine": np.mean(streams, axis=0),
            }
        )
        for layer, streams in layers.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _cell_counts(network, table, outputs, replica):
    kept = np.flatnonzero(table["record"])
    frames = []
    for population, counts in _populations(network, outputs):
        if population.replica != replica:
            continue
        chosen = counts[kept]
        frames.append(
            pd.DataFrame(
                {
                    "trial": np.repeat(table["trial"].to_numpy()[kept], population.size),
                    **_labels(population),
                    "cell": np.tile(np.arange(population.size), len(kept)),
                    "spikes": chosen.ravel().astype(np.int32),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _times(network, t):
    """Row of the table and time in the trial (ms) of times since the chunk's start (s)."""
    timing = network.parameters.timing
    step = np.rint(t / float(timing.dt)).astype(np.int64)
    return step // timing.steps, (step % timing.steps) * float(timing.dt) * 1e3


def _spikes(network, table, outputs):
    """Spikes of all replicas: their trials have the same numbers."""
    frames = []
    for name, populations in (
        ("afferent_spikes", network.layout.afferents),
        ("cell_spikes", network.layout.populations),
    ):
        i, t = outputs[f"{name}.i"], outputs[f"{name}.t"]
        row, t_ms = _times(network, t)
        inside = row < len(table)
        row, t_ms, i = row[inside], t_ms[inside], i[inside]
        starts = np.array([population.start for population in populations])
        of = np.searchsorted(starts, i, side="right") - 1
        labels = pd.DataFrame([_labels(population) for population in populations])
        frame = labels.iloc[of].reset_index(drop=True)
        frame.insert(0, "trial", table["trial"].to_numpy()[row])
        frame.insert(1, "t_ms", t_ms)
        frames.append(frame.assign(cell=i - starts[of]))
    frame = pd.concat(frames, ignore_index=True)
    return frame.sort_values(
        ["trial", "replica", "t_ms", "population", "cell"], ignore_index=True
    )


def _voltages(network, table, outputs, replica):
    variables = {
        variable: {"compartment": compartment} for variable, compartment in COMPARTMENTS.items()
    }
    voltages = _probed(network, table, outputs, replica, variables)
    voltages["v_mV"] = voltages.pop("value") * 1e3
    return voltages


def _traces(network, table, outputs, replica):
    units = network.probe_units
    variables = {name: {"variable": name, "unit": unit} for name, unit in units.items()}
    if not variables:
        return pd.DataFrame()
    return _probed(network, table, outputs, replica, variables)


def _probed(network, table, outputs, replica, variables):
    """Time courses of variables in the probed cells; columns of each variable are given."""
    timing = network.parameters.timing
    kept = np.flatnonzero(table["record"].astype(bool))
    steps = (kept[:, None] * timing.steps + np.arange(timing.steps)).ravel()
    t_ms = np.arange(timing.steps) * float(timing.dt) * 1e3
    probes = [
        (column, {**_labels(population), "cell": cell})
        for column, (population, cell) in enumerate(network.probes)
        if population.replica == replica
    ]
    courses = [(column, variable) for column, _ in probes for variable in variables]
    labels = pd.DataFrame([{**probe, **own} for _, probe in probes for own in variables.values()])
    frame = labels.iloc[np.repeat(np.arange(len(labels)), len(steps))].reset_index(drop=True)
    trial = np.repeat(table["trial"].to_numpy()[kept], timing.steps)
    frame.insert(0, "trial", np.tile(trial, len(labels)))
    frame.insert(1, "t_ms", np.tile(t_ms, len(kept) * len(labels)))
    values = [outputs[f"probe_voltages.{variable}"][steps, column] for column, variable in courses]
    return frame.assign(value=np.concatenate(values))


def _recalled(network, table, outputs, replica):
    n = network.n_stimulus
    timing = network.parameters.timing
    kept = np.flatnonzero(
        table["source"].str.contains("concept|percept") & (table["learn"] == 0)
    )
    most = float(timing.duration * timing.f_max)
    return pd.DataFrame(
        {
            "trial": np.repeat(table["trial"].to_numpy()[kept], n),
            "replica": replica,
            "pixel": np.tile(np.arange(n), len(kept)),
            "rate": network.recalled_rates(
                outputs["trial_cells.n_s"][kept] / most, replica
            ).ravel(),
            "drive": network.recalled_stimulus(outputs["trial_cells.u"][kept], replica).ravel(),
        }
    )


def paired_alignment(network, recording):
    """Cosine, Hamming similarity and kappa of the paired cells of each hidden layer.

    Parameters
    ----------
    network : BidirectionalNetwork
    recording : Recording
        Of trials in which both pathways were driven, their spikes recorded.

    Returns
    -------
    DataFrame
        One row per trial, replica and layer; beside each measure, ``_shuffled``, with the partner
        of another trial.
    """
    trials = of_replica(0, recording.trials)["trial"].to_numpy()
    timing = network.parameters.timing
    frames = []
    for replica, layer in itertools.product(
        range(network.layout.replicas), range(1, network.layout.depth + 1)
    ):
        spikes = of_replica(replica, recording.spikes)
        cosines = of_replica(replica, recording.cosines)
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


def of_replica(replica, frame):
    """The rows of one replica."""
    return frame[frame["replica"] == replica]


def _raster(spikes, population, trials, timing, size):
    own = spikes[(spikes["population"] == population) & spikes["trial"].isin(trials)]
    raster = np.zeros((len(trials), timing.steps, size), dtype=bool)
    step = np.rint(own["t_ms"] / (float(timing.dt) * 1e3)).astype(int)
    raster[np.searchsorted(trials, own["trial"]), step, own["cell"]] = True
    return raster

"""What a run keeps of each chunk of trials."""

import numpy as np
import pandas as pd

from bsd.analysis.divergence import divergences
from bsd.analysis.measures import recall_correlation, weight_angle
from bsd.analysis.perception import image_similarity
from bsd.runs.engine.recording import of_replica, paired_alignment
from bsd.runs.engine.store import STREAMED
from bsd.runs.trials import shown_images

__all__ = [
    "N_SHOWN",
    "chunk_frames",
    "found_divergences",
    "reconstructions",
    "warning_text",
]

#: Trials with spikes and voltages kept, for rasters and voltage traces.
N_SHOWN = 3

#: Test stimuli whose reconstructions by an autoencoder are kept as images.
N_RECONSTRUCTED = 10

#: Quantiles of the weights of a projection that are kept before learning and after each epoch.
WEIGHT_QUANTILES = {"q01": 0.01, "q10": 0.1, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9,
                    "q99": 0.99}


def chunk_frames(network, simulation, recording, experiment, probes):
    """What is kept of a chunk; `probes` says whether trials of a new kind begin with it."""
    trials = recording.trials
    epoch, phase = int(trials["epoch"].iloc[-1]), trials["phase"].iloc[0]
    frames = {
        name: getattr(recording, name)
        for name in ("trials", "counts", "cell_counts", "spikes", "voltages", "cosines", "recalled")
    }
    frames["counts"] = _compact(frames["counts"])
    if phase == "align":
        frames["alignment"] = paired_alignment(network, recording)
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


def found_divergences(network, frames):
    """Warnings of the run, or of the one chunk whose frames they are."""
    names = ("trials", "counts", "alignment", "weight_distribution")
    found = [
        divergences(
            *(of_replica(replica, frames[name]) for name in names),
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


def warning_text(row, n_replicas):
    """One warning of `found_divergences`, with its epoch and, of several, its replica."""
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


def reconstructions(recording, dataset, seeds, last_epoch):
    """How like their stimuli the reconstructions of a chunk are; images of those to be shown.

    The images are those of some `N_RECONSTRUCTED` test stimuli, of all concepts, after the last
    epoch.
    """
    trials, frames = recording.trials, []
    for replica, seed in enumerate(seeds):
        own = of_replica(replica, trials)
        shown = shown_images(own, dataset, seed)
        recalled = of_replica(replica, recording.recalled)
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

"""Imagery: the same concepts perceived and imagined, in the same cells.

Perceived: a stimulus drives the forward network, whose percept drives the backward one
(``stimulus+percept``). Imagined: the concept alone drives the backward network, and what it
recalls enters perception (``concept+recall``). So both pathways are active both times, and four
comparisons can be made in each layer, as between seeing and imagining in early visual cortex
(Albers et al. 2013, Curr. Biol. 23, 1427-1431).
"""

import numpy as np
import pandas as pd

from bsd.analysis.perception import (
    pattern_overlap,
    representational_dissimilarity,
    representational_similarity,
)
from bsd.runs.experiments.perception.study import Study, chosen_stimuli, needs_images
from bsd.runs.trials import join_tables

__all__ = ["COMPARISONS", "imagery", "imagery_table"]

#: Patterns that are compared: (pathway, state) with (pathway, state).
COMPARISONS = {
    "type 1 perceived, type 1 imagined": (("forward", "perceived"), ("forward", "imagined")),
    "type 2 perceived, type 2 imagined": (("backward", "perceived"), ("backward", "imagined")),
    "type 1 perceived, type 2 imagined": (("forward", "perceived"), ("backward", "imagined")),
}

#: Probability that a spike of the concept afferents is lost, so that no two imaginings are alike.
LOSS = 0.1


def imagery_table(dataset, instances=20):
    """Stimuli perceived and concepts imagined, so many of each concept; spikes recorded."""
    stimuli = chosen_stimuli(dataset, instances)
    concepts = pd.DataFrame({"concept": stimuli["concept"]})
    return join_tables(
        [
            stimuli.assign(phase="perceived", source="stimulus+percept", record=True),
            concepts.assign(
                phase="imagined", source="concept+recall", loss=LOSS, record=True
            ),
        ]
    )


def imagery(trained, device="cpp", *, seed=None, instances=20, progress=None):
    """Overlap of perception and imagery, layer by layer.

    Parameters
    ----------
    trained : TrainedNetwork
    device : str
    seed : int, optional
    instances : int
        Of each concept, perceived and imagined.
    progress : callable, optional

    Returns
    -------
    Study
        Frames ``patterns`` (mean spikes of each cell, by state and concept), ``overlap`` (of every
        perceived with every imagined concept), ``dissimilarity`` (of pairs of concepts) and
        ``similarity`` (of the dissimilarities of both states: Spearman's rho and p).

    Raises
    ------
    InputError
        If the run was on a sequence.
    """
    needs_images(trained)
    study = Study("imagery")
    dataset = trained.dataset
    simulation = trained.simulation(device, seed=seed, progress=progress)
    table = imagery_table(dataset, instances)
    counts, done = [], 0
    for recording in simulation.chunks(table):
        trials = recording.trials[["trial", "phase", "concept"]]
        joined = recording.cell_counts.merge(trials, on="trial")
        by = ["phase", "pathway", "population", "layer", "concept", "cell"]
        counts.append(joined.groupby(by, observed=True)["spikes"].agg(["sum", "size"]))
        done += len(trials)
        if progress:
            progress("run", done, len(table))
    sums = pd.concat(counts).groupby(level=list(range(6))).sum()
    patterns = (sums["sum"] / sums["size"]).rename("spikes").reset_index()
    patterns = patterns.rename(columns={"phase": "state"})
    study.frames["patterns"] = patterns
    overlaps, pairs, similarities = [], [], []
    for layer in range(trained.network.layout.depth + 2):
        matrices = {
            (pathway, state): _matrix(patterns, pathway, state, layer)
            for pathway in ("forward", "backward")
            for state in ("perceived", "imagined")
        }
        dissimilarity = {
            key: representational_dissimilarity(matrix) for key, matrix in matrices.items()
        }
        pairs += [_pairs(key, layer, d) for key, d in dissimilarity.items()]
        for name, (a, b) in COMPARISONS.items():
            overlap = pattern_overlap(matrices[a], matrices[b])
            overlaps.append(overlap.assign(layer=layer, comparison=name))
            rho, p = representational_similarity(dissimilarity[a], dissimilarity[b])
            similarities.append({"layer": layer, "comparison": name, "rho": rho, "p": p})
    study.frames["overlap"] = pd.concat(overlaps, ignore_index=True).rename(
        columns={"row_a": "perceived", "row_b": "imagined"}
    )
    study.frames["dissimilarity"] = pd.concat(pairs, ignore_index=True)
    study.frames["similarity"] = pd.DataFrame(similarities)
    study.summary = _summary(study)
    return study


def _matrix(patterns, pathway, state, layer):
    """Concepts by cells. The afferents stand in for the pathway that a layer lacks."""
    own = patterns[(patterns["layer"] == layer) & (patterns["state"] == state)]
    of_pathway = own[own["pathway"] == pathway]
    own = of_pathway if len(of_pathway) else own[own["pathway"] == "afferent"]
    # with a stream of high frequencies a layer is two populations of each pathway, in one order
    return own.pivot(
        index="concept", columns=["population", "cell"], values="spikes"
    ).sort_index(axis=1).to_numpy()


def _pairs(key, layer, dissimilarity):
    n = round((1 + np.sqrt(1 + 8 * len(dissimilarity))) / 2)
    first, second = np.triu_indices(n, 1)
    return pd.DataFrame(
        {
            "pathway": key[0],
            "state": key[1],
            "layer": layer,
            "first": first,
            "second": second,
            "dissimilarity": dissimilarity,
        }
    )


def _summary(study):
    overlap, similarity = study.frames["overlap"], study.frames["similarity"]
    same = overlap["perceived"] == overlap["imagined"]
    summary = {}
    for row in similarity.itertuples():
        own = (overlap["layer"] == row.layer) & (overlap["comparison"] == row.comparison)
        summary.setdefault(f"layer {row.layer}", {})[row.comparison] = {
            "cosine_same": float(overlap.loc[own & same, "cosine"].mean()),
            "cosine_other": float(overlap.loc[own & ~same, "cosine"].mean()),
            "hamming_same": float(overlap.loc[own & same, "hamming"].mean()),
            "hamming_other": float(overlap.loc[own & ~same, "hamming"].mean()),
            "rho": row.rho,
            "p": row.p,
        }
    return summary

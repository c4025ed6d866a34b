"""Lesions and manipulations of a trained network, and of one that has still to learn.

All of them are values that a compiled network reads when it runs:

===================  ===============================================================================
cells silenced       no synapses, basal or apical, that act or learn: they never fire
apical dendrites     the partner's spikes neither reach them nor are counted (``cells.apical`` = 0)
memory interneurons  no repulsion and no margin gating (lambda = 0)
normaliser           a constant gain takes its place (eps = 10, far above the norms)
feedback cut         the same of all cells of the backward network
synapses scaled      all synapses of one pathway times a factor
===================  ===============================================================================

Test stimuli are perceived whole and with their left half hidden, these in the loop of
`bsd.runs.experiments.perception.completion`: in one pass forward the backward network could change
nothing.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bsd.analysis.measures import recall_correlation
from bsd.runs.experiments.metrics import class_means
from bsd.runs.experiments.perception.completion import CYCLES, Cue, percepts
from bsd.runs.experiments.perception.recall import train_classifier
from bsd.runs.experiments.perception.study import (
    Study,
    chosen_stimuli,
    images_of,
    needs_images,
)
from bsd.runs.trials import check_table, join_tables, recall_trials, training_trials

__all__ = ["Manipulation", "lesions", "lesions_table", "manipulations"]

FRACTIONS = (0.25, 0.5, 0.75)
FACTORS = (0.5, 0.75, 1.25, 1.5)

#: Trials from which a network with a manipulation learns.
N_RETRAIN = 3000


@dataclass(frozen=True)
class Manipulation:
    """One change of a network.

    Attributes
    ----------
    name : str
    kind : str
        Row of the table above, or ``intact``.
    level : float
        Fraction of cells, or factor on the synapses.
    silenced : dict of str to float
        Fraction of the cells of each population.
    scaled : dict of str to float
        Factor on the synapses of a pathway.
    blocked : tuple of str
        Populations whose apical dendrites are blocked.
    parameters : dict of str to value
    """

    name: str
    kind: str
    level: float = 1.0
    silenced: dict = field(default_factory=dict)
    scaled: dict = field(default_factory=dict)
    blocked: tuple = ()
    parameters: dict = field(default_factory=dict)

    def values(self, network, seed):
        """Constants of single cells that differ from the network's own, see `Simulation`."""
        values = network.values()
        eta, apical = values["cells.eta"].copy(), values["cells.apical"].copy()
        for population in network.layout.populations:
            silent = population.start + self._chosen(population, seed)
            if self.scaled.get(population.pathway) == 0:
                silent = population.cells
            eta[silent] = apical[silent] = 0  # with cell.g_apical partners could drive them
            if population.name in self.blocked:
                apical[population.cells] = 0
        return {"cells.eta": eta, "cells.apical": apical}

    def weights(self, network, weights, seed):
        """Manipulated weights."""
        bound = network.parameters.learning.weight_max
        changed = {}
        for projection in network.layout.projections:
            target = projection.target
            factor = self.scaled.get(target.pathway, 1.0)
            w = np.clip(factor * weights[projection.name], -bound, bound)
            for part in network.layout.populations:  # one, or both streams of a layer
                if target.start <= part.start and part.stop <= target.stop:
                    w[:, part.start - target.start + self._chosen(part, seed)] = 0
            changed[projection.name] = w
        return changed

    def _chosen(self, population, seed):
        n = round(self.silenced.get(population.name, 0.0) * population.size)
        generator = np.random.default_rng([seed, population.index])
        return generator.permutation(population.size)[:n]


def manipulations(network):
    """Those after learning, and those before.

    Returns
    -------
    dict of str to list of Manipulation
    """
    hidden = [
        p.name for p in network.layout.populations if 1 <= p.layer <= network.layout.depth
    ]
    everything = tuple(p.name for p in network.layout.populations)

    def silenced(name, fraction):
        return Manipulation(
            f"{100 * fraction:.0f} % of {name} silenced", "cells silenced", fraction,
            silenced={name: fraction},
        )

    intact = Manipulation("intact", "intact")
    apical = Manipulation("apical dendrites blocked", "apical dendrites", blocked=everything)
    interneurons = [
        Manipulation(
            "memory interneurons blocked", "memory interneurons",
            parameters={
                "learning.lam": 0.0, "learning.lam_high": 0.0, "learning.margin_gating": False,
                "learning.familiarity": 0.0,
            },
        ),
        Manipulation("no normaliser", "normaliser", parameters={"learning.epsilon": 10.0}),
    ]
    cut = Manipulation("feedback cut", "feedback cut", 0.0, scaled={"backward": 0.0})
    scaled = [
        Manipulation(
            f"{pathway} synapses × {factor}", "synapses scaled", factor, scaled={pathway: factor}
        )
        for pathway in ("forward", "backward")
        for factor in FACTORS
    ]
    after = [intact, *(silenced(name, part) for name in hidden for part in FRACTIONS)]
    after += [*scaled, cut, apical, *interneurons]
    before = [intact, *(silenced(name, 0.5) for name in hidden), cut, apical]
    before.append(
        Manipulation(
            "apical dendrites of hidden cells blocked", "apical dendrites", blocked=tuple(hidden)
        )
    )
    return {"after": after, "before": before + interneurons}


def lesions_table(dataset, n_per_concept=30):
    """Test stimuli, and every concept recalled.

    The same spike trains reach each lesioned network.
    """
    stimuli = chosen_stimuli(dataset, n_per_concept).assign(phase="whole", source="stimulus")
    return join_tables([stimuli, recall_trials(dataset.n_concepts).assign(record=False)])


def lesions(trained, device="cpp", *, seed=None, retrain=False, n_per_concept=30, progress=None):
    """Perception and recall under manipulations, after learning and, if asked for, before.

    Parameters
    ----------
    trained : TrainedNetwork
    device : str
    seed : int, optional
        Of spike phases, and of which cells are silenced.
    retrain : bool
        Let a new network learn from some training stimuli under each manipulation, too.
    n_per_concept : int
        Test stimuli.
    progress : callable, optional

    Returns
    -------
    Study
        Frame ``lesions``, one row per manipulation: ``accuracy`` for whole stimuli, for those
        whose left half is hidden after one pass (``accuracy_half``) and after the last cycle of
        the loop (``accuracy_loop``), correlation of the recalled stimuli with the class means
        (``r_recall``, mean over concepts), and how many of them a classifier recognises.

    Raises
    ------
    InputError
        If the run was on a sequence.
    """
    needs_images(trained)
    study = Study("lesions")
    dataset = trained.dataset
    table = lesions_table(dataset, n_per_concept)
    half = chosen_stimuli(dataset, n_per_concept).assign(occlusion=0.5, mask="left")
    half = check_table(half, dataset, dataset.n_concepts)
    cue = Cue(half, dataset, trained.seed if seed is None else seed)
    classifier, _ = train_classifier(dataset)
    todo = [
        (when, manipulation)
        for when, some in manipulations(trained.network).items()
        for manipulation in some
        if when == "after" or retrain
    ]
    learned = sum(when == "before" for when, _ in todo) * N_RETRAIN
    of_each = len(table) + CYCLES * len(half)
    total, done = len(todo) * of_each + learned, 0
    report = (lambda n: progress("run", done + n, total)) if progress else None
    rows = []
    for when, manipulation in todo:
        simulation = _manipulated(trained, manipulation, when, device, seed, progress)
        if when == "before":
            simulation.run(_lessons(trained), report)
            done += N_RETRAIN
        result = simulation.run(table, report)
        done += len(table)
        right = []
        for percept, *_ in percepts("loop", simulation, dataset, cue):
            right.append(float(np.mean(percept == half["concept"])))
            done += len(half)
            if progress:
                progress("run", done, total)
        rows.append(
            {
                "when": when,
                "manipulation": manipulation.name,
                "kind": manipulation.kind,
                "level": manipulation.level,
                **_measures(result, dataset, classifier),
                "accuracy_half": right[0],
                "accuracy_loop": right[-1],
            }
        )
    study.frames["lesions"] = frame = pd.DataFrame(rows)
    study.summary = {
        when: own.set_index("manipulation")[
            ["accuracy", "accuracy_half", "accuracy_loop", "r_recall"]
        ].to_dict("index")
        for when, own in frame.groupby("when")
    }
    return study


def _manipulated(trained, manipulation, when, device, seed, progress):
    network = trained.network
    seed = trained.seed if seed is None else seed
    parameters = network.parameters.updated(manipulation.parameters)
    simulation = trained.simulation(
        device, parameters=parameters, values=manipulation.values(network, seed), seed=seed,
        progress=progress,
    )
    weights = trained.weights
    if when == "before":
        simulation.restore(network.initial_state([trained.seed]))
        weights = simulation.weights()
    simulation.set_weights(manipulation.weights(network, weights, seed))
    return simulation


def _lessons(trained):
    shift = trained.config.get("shift", 0)
    (table,) = training_trials(trained.dataset, 1, trained.seed, shift=shift)
    repeats = -(-N_RETRAIN // len(table))  # a small data set is seen more than once
    return join_tables([table] * repeats).iloc[:N_RETRAIN]


def _measures(result, dataset, classifier):
    trials = result.trials
    whole = trials[trials["phase"] == "whole"]
    recalled = trials[trials["phase"] == "recall"]
    images = images_of(result.recalled, recalled["trial"], dataset.image_shape)
    images = images.reshape(len(images), -1)
    means = class_means(dataset).reshape(dataset.n_concepts, -1)
    concept = recalled["concept"].to_numpy()
    # an image without a spike is no recall at all
    r = np.nan_to_num(recall_correlation(images, means[concept]))
    recognised = (classifier.predict(images) == concept) & images.any(axis=1)
    return {
        "n_stimuli": len(whole),
        "accuracy": float(whole["correct"].astype(float).mean()),
        "r_recall": float(r.mean()),
        "recognised": float(recognised.mean()),
    }

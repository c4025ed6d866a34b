"""Which parameters are best, and how good are they, when the same images cannot tell both?

Nested cross-validation: before a fold of the digits is tested, width and parameters are chosen
among candidates on a validation part of its own training images, without any test image; then the
network learns from all training images. It takes some twenty minutes.
"""

from dataclasses import replace
from itertools import product

import pandas as pd

from bsd.equations import DISCRETE
from bsd.runs.data import load, split_validation
from bsd.runs.engine import Simulation
from bsd.runs.experiments import experiment
from bsd.runs.experiments.run import build_network
from bsd.runs.trials import join_tables, test_trials, training_trials

DEVICE, EPOCHS, FOLDS = "cpp", 10, (0, 1, 2, 3)
CHOICE_SEEDS = (0, 1)
TEST_SEEDS = (0, 1, 2)
WIDTHS = (256, 512)
SPARE = {"learning.familiarity": 0.9, "learning.homeostasis": 0.1}  # no repulsion by the same
RULES = ({}, SPARE | {"learning.lam": 4.0}, SPARE | {"learning.lam": 8.0})
RATES = ({}, {"learning.eta_top": 0.1, "learning.eta_bottom": 0.02})


def accuracy(data, width, changes, seed):
    """Share of right decisions on the test part of the data after the last epoch."""
    parameters = DISCRETE.updated(changes)
    chosen = replace(experiment("digits"), hidden=(width, width), parameters=parameters)
    simulation = Simulation(build_network(chosen, data), data, DEVICE, seed)
    decay = parameters.learning.decay
    training = training_trials(data, EPOCHS, seed, decay=decay, shift=chosen.shift)
    trials = simulation.run(join_tables([*training, test_trials(data, EPOCHS)])).trials
    return trials.loc[trials["phase"] == "test", "correct"].astype(float).mean()


candidates = [(width, rule | rates) for width, rule, rates in product(WIDTHS, RULES, RATES)]
rows = []
for fold in FOLDS:
    data = load("digits", fold)
    fitting, images, labels = split_validation(data, 0.25, seed=fold)
    validation = replace(fitting, x_test=images, y_test=labels)
    scores = [
        sum(accuracy(validation, *candidate, seed) for seed in CHOICE_SEEDS) / len(CHOICE_SEEDS)
        for candidate in candidates
    ]
    best = candidates[scores.index(max(scores))]
    print(f"fold {fold}: {best[0]} cells, {best[1] or 'default'}: {max(scores):.4f}", flush=True)
    rows += [(fold, *best, seed, accuracy(data, *best, seed)) for seed in TEST_SEEDS]

table = pd.DataFrame(rows, columns=["fold", "width", "changes", "seed", "test"])
right = 100 * table.groupby("seed")["test"].mean()
print(f"test folds: {right.mean():.2f} ± {right.std():.2f} % right, {len(right)} seeds")

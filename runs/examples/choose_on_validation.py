"""Which parameters are best, and how good are they? The same images cannot tell both.

Nested cross-validation: before a fold of the digits is tested, width and parameters are chosen on a
validation part of its own training images, so that no test image has a say in the choice among
the candidates; then the network learns from all training images. It takes some twenty minutes.
"""

from dataclasses import replace

import pandas as pd

from bsd.equations import DISCRETE
from bsd.runs.data import load, split_validation
from bsd.runs.engine import Simulation
from bsd.runs.experiments import experiment
from bsd.runs.experiments.run import build_network
from bsd.runs.trials import join_tables, test_trials, training_trials

DEVICE = "cpp"
EPOCHS = 10
CHOICE_SEEDS = (0, 1)
TEST_SEEDS = (0, 1, 2)
FOLDS = (0, 1, 2, 3)
WIDTHS = (256, 512)
SPARE_FAMILIAR = {"learning.familiarity": 0.9, "learning.homeostasis": 0.1}
LEARNING = {
    "default": {},
    "familiar memories do not repel, lambda 4": SPARE_FAMILIAR | {"learning.lam": 4.0},
    "familiar memories do not repel, lambda 8": SPARE_FAMILIAR | {"learning.lam": 8.0},
}
RATES = {"default": {}, "higher": {"learning.eta_top": 0.1, "learning.eta_bottom": 0.02}}


def accuracy(data, width, changes, seed):
    """Share of right decisions on the test part of the data after the last epoch."""
    chosen = replace(
        experiment("digits"), hidden=(width, width), epochs=EPOCHS,
        parameters=DISCRETE.updated(changes),
    )
    simulation = Simulation(build_network(chosen, data), data, DEVICE, seed)
    training = training_trials(
        data, EPOCHS, seed, decay=chosen.parameters.learning.decay, shift=chosen.shift
    )
    trials = simulation.run(join_tables([*training, test_trials(data, EPOCHS)])).trials
    return trials.loc[trials["phase"] == "test", "correct"].astype(float).mean()


rows = []
for fold in FOLDS:
    data = load("digits", fold)
    fitting, images, labels = split_validation(data, 0.25, seed=fold)
    validation = replace(fitting, x_test=images, y_test=labels)
    candidates = [
        (width, learning, rates) for width in WIDTHS for learning in LEARNING for rates in RATES
    ]
    scores = {}
    for width, learning, rates in candidates:
        changes = LEARNING[learning] | RATES[rates]
        right = [accuracy(validation, width, changes, seed) for seed in CHOICE_SEEDS]
        scores[width, learning, rates] = sum(right) / len(right)
    width, learning, rates = best = max(scores, key=scores.get)
    for seed in TEST_SEEDS:
        right = accuracy(data, width, LEARNING[learning] | RATES[rates], seed)
        rows.append((fold, width, learning, rates, scores[best], seed, right))
    print(f"fold {fold}: {width} cells; learning: {learning}; rates: {rates}", flush=True)

names = ["fold", "width", "learning", "rates", "validation", "seed", "test"]
table = pd.DataFrame(rows, columns=names)
print(table.groupby(names[:5])["test"].mean().reset_index().round(4).to_string(index=False))
of_seeds = table.groupby("seed")["test"].mean()
print(f"test folds: {100 * of_seeds.mean():.2f} ± {100 * of_seeds.std():.2f} % right, "
      f"{len(TEST_SEEDS)} seeds")

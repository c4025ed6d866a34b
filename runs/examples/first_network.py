"""How well does a small network perceive digits, and what does it recall of them?

A network of two hidden layers learns 8x8 digits, one trial at a time. Then it perceives digits that
it has never seen, and recalls each concept with no stimulus at all. Compiling takes half a minute,
once; the rest takes seconds.
"""

from bsd.analysis.measures import recall_correlation
from bsd.equations import DISCRETE
from bsd.networks import BidirectionalNetwork
from bsd.runs.data import load
from bsd.runs.engine import Simulation
from bsd.runs.trials import join_tables, recall_trials, test_trials, training_trials

DEVICE = "cpp"  # "runtime" needs no compiler, but takes longer
LAYERS = [64, 64, 64, 10]  # pixels, two hidden layers, concepts
EPOCHS = 3

digits = load("digits")
network = BidirectionalNetwork(LAYERS, DISCRETE)
simulation = Simulation(network, digits, device=DEVICE, seed=1)

# The experiment is a table: one row per trial. Training rows have a stimulus, a concept and
# plasticity; test rows a stimulus alone; recall rows a concept alone.
table = join_tables(
    [
        *training_trials(digits, epochs=EPOCHS, seed=1),
        test_trials(digits),
        recall_trials(digits.n_concepts),
    ]
)
result = simulation.run(table)

# Perception: the concept whose output cells fire most. A tie or silence counts as wrong.
accuracy = result.trials.groupby("phase")["correct"].mean()
print(f"right percepts: {accuracy['test']:.1%} of {len(digits.x_test)} new digits")

# Recall: the spikes of the recall cells, a pixel each, beside the mean digit of the concept.
recalled = result.recalled.pivot(index="trial", columns="pixel", values="rate").to_numpy()
class_means = [digits.x_train[digits.y_train == k].mean(axis=0).ravel() for k in range(10)]
likeness = recall_correlation(recalled, class_means)
print(f"recalled digits correlate with the class mean at {likeness.mean():.2f}")

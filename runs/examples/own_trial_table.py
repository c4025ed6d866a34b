"""Does it matter which half of a digit is hidden?

A hypothesis is a table, not new code. Here the same digits are shown with their upper or their
lower half hidden, with the same spike phases, and one row of statistics says which is harder to
perceive. First `bsd run demo`, which trains the network.
"""

import pandas as pd

from bsd.analysis.hypotheses import compare
from bsd.runs.experiments import open_run
from bsd.runs.trials import COLUMNS

DEVICE = "cpp"
RESULTS = "results/demo"
STIMULI = 200

trained = open_run(RESULTS)
print("columns of a trial table:", ", ".join(COLUMNS))

# Columns that are not in the list are yours: they come back with the results.
halves = [
    pd.DataFrame(
        {
            "stimulus": range(STIMULI),
            "concept": trained.dataset.y_test[:STIMULI],
            "draw": range(STIMULI),  # the same random numbers for both halves
            "occlusion": 0.5,
            "mask": mask,
            "hidden_half": mask,
        }
    )
    for mask in ("top", "bottom")
]
result = trained.simulation(DEVICE).run(pd.concat(halves, ignore_index=True))

# Paired by stimulus. The trials are those of one network: the conclusion is about further digits
# that this network sees, not about other networks (for that: a cohort, and unit="replica").
row = compare(
    result.trials, "hidden_half", "correct", unit="stimulus", levels=("top", "bottom")
)
print(row.T.to_string(header=False))

"""How much of a digit must be seen to recall it?

A trained network sees a part of a digit, and no label. Its own percept drives the backward
network, whose recall is compared with the whole digit. First `bsd run demo`, which trains it.
"""

import pandas as pd

from bsd.analysis.measures import recall_correlation
from bsd.runs.experiments import open_run

DEVICE = "cpp"
RESULTS = "results/demo"  # folder of a run
STIMULI = 100

trained = open_run(RESULTS)
digits = trained.dataset
simulation = trained.simulation(DEVICE)

# A row for each digit and cue. `percept` closes the loop from the output of the forward network
# to the top of the backward one. Rows with the same `draw` share their spike phases and their
# masks, so that only the size of the cue differs between them.
cues = [
    pd.DataFrame(
        {
            "stimulus": range(STIMULI),
            "concept": digits.y_test[:STIMULI],  # to judge the percept; nothing tells the network
            "draw": range(STIMULI),
            "source": "stimulus+percept",
            "occlusion": hidden,
            "mask": "left",
        }
    )
    for hidden in (0.0, 0.25, 0.5, 0.75)
]
result = simulation.run(pd.concat(cues, ignore_index=True))

# Every frame joins to the trial table by `trial`.
trials = result.trials.set_index("trial")
recalled = result.recalled.pivot(index="trial", columns="pixel", values="rate")
own = digits.x_test[trials["stimulus"]].reshape(len(trials), -1)
trials["r"] = recall_correlation(recalled.loc[trials.index].to_numpy(), own)
curve = trials.groupby("occlusion")[["correct", "r"]].mean()
print("share of the left side hidden, right percepts, r of the recall with the whole digit:")
print(curve.astype(float).round(2))

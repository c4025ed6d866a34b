"""How regularly do the cells of a trained network fire?

Statistics of intervals need long trials: the network sees digits for 500 ms each, and every spike
is kept. `bsd statistics` makes these and more for all phases; this is how to look by hand. First
`bsd run digits-biophysical`, which trains networks with membrane and synaptic filters.
"""

import matplotlib.pyplot as plt
import pandas as pd
from brian2 import ms

from bsd.analysis.firing_figures import plot_distribution, plot_psth
from bsd.analysis.spike_trains import per_population, psth, train_statistics
from bsd.runs.experiments import open_run

DEVICE = "cpp"
RESULTS = "results/digits-biophysical/seed0-fold0"
STIMULI = 20
OUT = "statistics.png"

trained = open_run(RESULTS)
longer = trained.network.parameters.updated({"timing.duration": 500 * ms})
simulation = trained.simulation(DEVICE, parameters=longer)
table = pd.DataFrame(
    {"stimulus": range(STIMULI), "source": "stimulus+percept", "phase": "look", "record": True}
)
result = simulation.run(table)

# A row per cell and trial. Below ten spikes the CV is missing, never a number.
trains = train_statistics(result.spikes, result.counts, result.trials)
summary = per_population(trains, ["rate_hz", "cv", "lv"])
columns = ["population", "statistic", "n", "n_defined", "mean", "sd"]
print(summary[columns].round(2).to_string(index=False))

# Each figure is a function of a frame and an axes.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
plot_distribution(trains, "rate_hz", ax=left)
plot_psth(psth(result.spikes, result.counts, 25.0, result.trials), ax=right)
figure.savefig(OUT, dpi=150)
print(f"figure: {OUT}")

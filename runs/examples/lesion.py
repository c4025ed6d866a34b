"""How many cells of a layer can be lost before perception suffers?

Cells of the first hidden layer of a trained network are silenced: their basal synapses are set to
zero, so they never fire. `bsd lesions` does many such manipulations; this is one by hand. First
`bsd run demo`, which trains the network.
"""

import numpy as np
import pandas as pd

from bsd.runs.experiments import open_run
from bsd.runs.trials import test_trials

DEVICE = "cpp"
RESULTS = "results/demo"
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 0.9)

trained = open_run(RESULTS)
simulation = trained.simulation(DEVICE)
n_cells = trained.weights["W0"].shape[1]  # W0: stimulus to layer 1, (pixels, cells)
order = np.random.default_rng(0).permutation(n_cells)  # which cells go first

rows = []
for fraction in FRACTIONS:
    w = trained.weights["W0"].copy()
    lost = order[: round(fraction * n_cells)]
    w[:, lost] = 0
    simulation.set_weights({"W0": w})  # weights are values: nothing is compiled again
    table = test_trials(trained.dataset).assign(draw=range(len(trained.dataset.x_test)))
    result = simulation.run(table)
    layer = result.counts[result.counts["population"] == "F1"]
    rows.append(
        {
            "silenced": len(lost),
            "right percepts": result.trials["correct"].astype(float).mean(),
            "spikes of layer 1": layer["spikes"].mean(),
        }
    )

curve = pd.DataFrame(rows)
print(f"of {n_cells} cells of layer 1:")
print(curve.round(3).to_string(index=False))

"""What every cell keeps of a trial, one row per trial in one array.

Brian2's StateMonitor appends one sample at a time, on CUDA to one list per cell: a cohort has some
100000 cells that are read once per trial. Here each cell writes into its own place of an array
that is as large as the run, on all devices alike.
"""

import numpy as np

__all__ = ["TrialRecord"]


class TrialRecord:
    """Record variables of a group once per trial.

    Parameters
    ----------
    group : NeuronGroup
    variables : sequence of str
        What is recorded.
    rows : int
        Number of samples of a run, the one before the first trial included.
    dt : Quantity
        Duration of a trial.

    Attributes
    ----------
    variables : dict of str to ArrayVariable
        By recorded variable: an array of ``rows * len(group)`` values, sample by sample.
    """

    def __init__(self, group, variables, rows, dt):
        own, n = group.variables, len(group)
        own.add_array("record_at", size=n, values=np.arange(n), dtype=np.int32, unique=True)
        self.variables = {}
        for name in variables:
            kept = f"trial_{name}"
            own.add_array(
                kept, size=rows * n, dtype=own[name].dtype, dimensions=own[name].dim,
                index="record_at",
            )
            self.variables[name] = own[kept]
        write = "\n".join(f"trial_{name} = {name}" for name in variables)
        group.run_regularly(write, dt=dt, when="record", name=f"{group.name}_record")
        # apart, because a statement writes where the index stands at the end of its block
        group.run_regularly(
            f"record_at += {n}", dt=dt, when="record", order=1, name=f"{group.name}_next_row"
        )

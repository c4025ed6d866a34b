"""Order of events in a time step and in the learning tick between two trials."""

__all__ = ["SCHEDULE"]

#: The tick stands at the first step of the next trial, before anything of that trial happens.
SCHEDULE = [
    "start",
    "features",  # rates and voltages of the trial that ended
    "pool",  # cells to normaliser
    "normalise",
    "compare",  # cells to memory interneurons
    "respond",
    "inhibit",  # memory interneurons to cells and normaliser
    "gate",
    "error",
    "learn",  # weights
    "store",  # memories
    "record",
    "begin",  # next trial: rest, new drive
    "encode",  # spikes of the afferents
    "transmit",  # afferents to basal dendrites, in the same step
    "groups",  # compartments
    "average",  # surrogate derivative and drive, before spikes reset the soma
    "thresholds",
    "synapses",  # cells to cells, seen in the next step; partners to apical dendrites
    "resets",
    "end",
]

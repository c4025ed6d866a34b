"""Afferents: cells that turn a stimulus and a concept into spikes.

An afferent of intensity x (0 to 1) fires at x f_max: regularly, with a phase that is drawn
anew for each trial, or Poisson-like (Bernoulli: with probability x f_max dt in each step). Both
are pure functions of (key, draw, step), where `draw` is the number of the trial unless the trial
table says otherwise. Each of these spikes may be lost, with a probability that the trial table
gives (0 by default), so that regular trains can be made as irregular as wished. A gated relay
makes an afferent fire with a pyramidal cell instead: the recalled stimulus re-enters perception,
the own percept drives recall.

A context cell (Elman 1990) is an afferent that repeats, throughout a trial, the rate at which one
cell of the first hidden layer fired in the trial before: it counts that cell's spikes and holds
them. To the hidden layer it is an afferent like any other. Further context cells hold the spikes
of context cells in the same way, and so repeat a trial longer ago.
"""

__all__ = [
    "AFFERENT",
    "AFFERENT_FEATURE",
    "COUNT_AFFERENT_SPIKE",
    "HOLD_CONTEXT",
    "ENCODERS",
    "RELAY",
    "START_AFFERENT_TRIAL",
]

AFFERENT = """
x           : 1                     # intensity in this trial, 0 to 1
phase       : 1                     # phase of the regular spike train
emit        : 1                     # above 0 in a step with a spike
relayed     : 1                     # spikes that arrived through the relay
held        : 1                     # spikes that a context cell holds for the next trial
gate        : 1                     # relay open in this trial (0 or 1)
n_s         : 1                     # spikes of the trial
r_learn     : 1                     # rate feature at the learning tick, else 0
learn       : 1 (shared)            # plasticity of the trial under way
recording   : 1 (shared)            # spikes of the trial under way are kept
loss        : 1 (shared)            # probability that a spike is lost in this trial
carry       : 1 (shared)            # context goes over from the trial before (0 or 1)
draw        : integer (shared)      # what the random numbers of the trial are counted by
replica     : integer (shared, constant)  # the network's number
step        : integer (shared)      # time step in the trial, from 1
n_trials    : integer (shared, constant)  # trials of the chunk
finished    : integer (shared)      # 1 when all of them are over
p_step      : 1 (shared, constant)  # f_max dt
count_unit  : 1 (shared, constant)  # 1 / (T f_max)
key         : integer (constant)    # random stream of the cell
is_concept  : integer (constant)    # concept afferents, else stimulus afferents
"""

#: One line each: regular with a phase, and Poisson-like.
ENCODERS = {
    "regular": """
step = timestep(t, step_duration) % steps_per_trial + 1
emit = int(floor(phase + x*p_step*step) > floor(phase + x*p_step*(step - 1)))
emit = emit*int(hash_uniform(key, draw, step) >= loss) + relayed
relayed = 0
""",
    "poisson": """
step = timestep(t, step_duration) % steps_per_trial + 1
emit = int(hash_uniform(key, draw, step) < x*p_step*(1 - loss)) + relayed
relayed = 0
""",
}

COUNT_AFFERENT_SPIKE = "n_s += 1"

#: At the learning tick: the rate feature of afferents, read by their synapses.
AFFERENT_FEATURE = "r_learn = int(learn > 0)*n_s*count_unit"

RELAY = "relayed_post += gate_post"

#: From a cell of the first hidden layer to its context cell, and from there to the next.
HOLD_CONTEXT = "held_post += 1"

#: `drive` and `control` are the chunk's trial table as timed arrays; the columns of `control`
#: are learn, record, gate of the concept relay, gate of the stimulus relay, draw, loss, carry, once
#: for each replica. What is held when a chunk ends is left for the next one.
START_AFFERENT_TRIAL = """
finished = trials_over(timestep(t, trial_duration), n_trials)
draw = int(control(t, n_control*replica + 4))
learn = control(t, n_control*replica)
recording = control(t, n_control*replica + 1)
loss = control(t, n_control*replica + 5)
carry = control(t, n_control*replica + 6)
x = drive(t, i) + carry*held*count_unit
held = held*finished
gate = control(t, n_control*replica + 3 - is_concept)
phase = hash_uniform(key, draw, 0)
relayed = 0
n_s = 0
r_learn = 0
"""

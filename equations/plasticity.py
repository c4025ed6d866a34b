"""The learning tick: rate features, local error and weight change of every cell.

All quantities belong to one cell, its population's interneurons, or a synapse. With r the
somatic and r^ the apical rate feature, h and h^ their normalised forms and C = h . h^, the
local error of the streaming ReCo rule is

    delta_k = psi_k [ 2 (1 - C) (h^_k - C h_k) - (2 lambda / K) sum_m c_m (mu_mk - c_m h_k) ],

at frozen weights -n psi_k times the gradient of the present trial's row of the ReCo loss (BSD
paper, eq. 6) with the K memories as its negatives. Margin gating (on by default) multiplies both
terms by one factor per trial and population, see `bsd.equations.interneurons.GATE`; InfoNCE puts
other weights in their place, see `GATE_INFONCE`. Where the partner is an afferent, and in every
layer if the loss is MSE, the delta rule psi_k (r^_k - r_k) (1 + b_k sign(r^_k - r_k)) serves, with
an asymmetry b_k that differs between the cells of one concept, and is b_0 in all cells of the
recalled stimulus. Where concepts are the steps of
a quantity, the output can learn from the error of its population vector as well, see
`ERROR_VECTOR`. Homeostasis adds
psi_k g (rho - <r_k>) to the error of ReCo cells, where <r_k> is the cell's own mean rate. Weights
change by dw_jk = eta r_j delta_k, times the trial's factor `learn`, and stay within -w_max to
w_max.
"""

__all__ = [
    "CELL_LEARNING",
    "CELL_LEARNING_SOFTMAX",
    "CELL_LEARNING_VECTOR",
    "ERROR",
    "ERROR_SOFTMAX",
    "ERROR_VECTOR",
    "FEATURES",
    "LEARN",
    "PATTERN",
    "PLASTIC_SYNAPSE",
    "PROPAGATE",
    "START_LEARNING",
]

CELL_LEARNING = """
r            : 1                     # somatic feature
r_a          : 1                     # apical feature
h            : 1                     # r / n
h_a          : 1                     # r^ / n^
inhibition   : 1                     # sum_m c_m mu_m, from the memory interneurons
rate         : 1                     # <r>, running mean of the somatic rate
rate_target  : 1 (shared, constant)  # rho
rate_window  : 1 (shared, constant)  # trials of the running mean
homeostasis  : 1 (shared, constant)  # g, gain of the homeostasis
delta        : 1                     # local error
teach        : 1                     # eta * learn * delta, read by the basal synapses
r_learn      : 1                     # somatic rate at the learning tick, else 0
learn        : 1 (shared)            # plasticity of the trial under way
recording    : 1 (shared)            # spikes of the trial under way are kept
replica      : integer (shared, constant)  # the network's number
eta          : 1 (constant)          # learning rate of the cell's basal synapses
reco         : 1 (constant)          # 1 where the ReCo rule applies
delta_spikes : 1 (constant)          # 1 where the delta rule on spikes applies
delta_volts  : 1 (constant)          # 1 where the delta rule on the basal drive applies
bias         : 1 (constant)          # asymmetry of the delta rule, -1 to 1
by_voltage   : 1 (constant)          # 1 where features are dendritic voltages, else spikes
partner      : integer (constant)    # the paired cell, or the paired afferent
paired       : integer (constant)    # 1 if the partner is a cell, 0 if an afferent
n_changed    : 1                     # basal synapses changed at the tick (dense projections)
population   : integer (constant)    # the population's normaliser
target_start : integer (constant)    # basal targets, as a range of cells
target_stop  : integer (constant)
first_synapse : integer (constant)   # first basal synapse of the cell
norm         : 1 (linked)            # from the normaliser: n
norm_a       : 1 (linked)            # n^
C            : 1 (linked)            # cosine
cc           : 1 (linked)            # sum of memory responses times overlaps
attract      : 1 (linked)            # weight of the attraction
repel        : 1 (linked)            # weight of the repulsion
"""

CELL_LEARNING_SOFTMAX = """
softmax      : 1 (constant)          # 1 where softmax cross-entropy applies
beta         : 1 (shared, constant)  # gain of the softmax
Z            : 1 (linked)            # from the normaliser: sum of exp(beta u)
A            : 1 (linked)            # sum of the apical features
"""

CELL_LEARNING_VECTOR = """
vote         : 1 (constant)          # weight of an output cell's spike in the read-out, 0 to 1
place        : 1 (constant)          # vote times its mean concept, counted from the middle
vector_gain  : 1 (shared, constant)  # weight of the population vector's error
F            : 1 (linked)            # from the normaliser: population vector of the somatic spikes
F_a          : 1 (linked)            # of the partners' spikes
"""

#: Spikes, or trial means of the dendritic drive (for which psi is 1).
FEATURES = """
r = by_voltage*u + (1 - by_voltage)*n_s*count_unit
r_a = by_voltage*u_a + (1 - by_voltage)*n_a*count_unit
"""

PATTERN = """
h = r / norm
h_a = r_a / norm_a
"""

ERROR = """
slope = by_voltage + (1 - by_voltage)*psi
e_reco = attract*(h_a - C*h) - repel*(inhibition - cc*h)
e_spikes = (n_a - n_s)*count_unit * (1 + bias*sign(n_a - n_s))
e_volts = n_a*count_unit - u
e_rate = homeostasis*(rate_target - rate)
delta = reco*(slope*e_reco + psi*e_rate) + delta_spikes*psi*e_spikes + delta_volts*e_volts
"""

#: Clipped to what single precision holds.
ERROR_SOFTMAX = """
delta += softmax*(r_a/(A + 1e-12) - exp(clip(softmax*beta*u, -80, 80))/Z)
"""

#: S times minus the gradient of (F_a - F)^2 / 2; F = sum_j place_j r_j / S, S = sum_j vote_j r_j.
ERROR_VECTOR = """
e_vector = (F_a - F)*(place - F*vote)
delta += vector_gain*psi*e_vector
"""

START_LEARNING = """
rate += int(learn > 0)*(n_s*count_unit - rate)/rate_window
teach = eta*learn*delta
r_learn = int(learn > 0)*n_s*count_unit
"""

#: Basal synapses of both pathways.
PLASTIC_SYNAPSE = """
w     : 1
w_max : 1 (shared, constant)  # bound of the weight
"""

PROPAGATE = "I_b_post += w*I_epsc_post"

#: At the learning tick of the synapses whose presynaptic cell fired, where `learn` is above 0.
LEARN = "w = clip(w + r_learn_pre*teach_post, -w_max, w_max)"

"""Interneurons that make learning streaming and local: normaliser and memory.

They are graded: their variables are updated once per trial, at the learning tick, and act on
plasticity only, never on a membrane. One *normaliser* (in the role of PV cells) per population
pools |r|^2, |r^|^2 and r . r^ of its cells. K *memory interneurons* (in the role of SOM cells) per
population hold the apical patterns of the most recent trials in fast synapses, which are used in
both directions, and inhibit learning in proportion to their overlap with the present pattern: they
take the place of the batch in the ReCo loss (BSD paper, eq. 6); their firing threshold is its
rectification.

Under InfoNCE (van den Oord et al. 2018, arXiv 1807.03748, eq. 4; compared with ReCo in the BSD
paper's table of layer losses) they have no threshold and respond exponentially. With overlaps
o_m = mu_m . h, temperature tau and p_m, p_0 the softmax over (o_1 .. o_K, C) / tau, the loss of
the present trial is -log p_0, and -n times its gradient with respect to r is

    (1 - p_0)/tau (h^ - C h)  -  sum_m p_m/tau (mu_m - o_m h):

the same inhibition with other weights. An empty memory is an orthogonal one (o_m = 0).
"""

__all__ = [
    "GATE",
    "GATE_INFONCE",
    "MEMORY",
    "MEMORY_INFONCE",
    "MEMORY_SYNAPSE",
    "NORMALISE",
    "NORMALISER",
    "NORMALISER_INFONCE",
    "NORMALISER_SOFTMAX",
    "NORMALISER_VECTOR",
    "NORMALISE_VECTOR",
    "NEXT_SLOT",
    "READ_LEARN",
    "POOL_CELLS",
    "POOL_CELLS_SOFTMAX",
    "POOL_CELLS_VECTOR",
    "POOL_MEMORY",
    "POOL_MEMORY_INFONCE",
    "RESPOND",
    "RESPOND_INFONCE",
    "STORE",
]

NORMALISER = """
rr          : 1                     # |r|^2
aa          : 1                     # |r^|^2
ra          : 1                     # r . r^
norm        : 1                     # n  = sqrt(|r|^2 + eps^2)
norm_a      : 1                     # n^ = sqrt(|r^|^2 + eps^2)
C           : 1                     # cosine between somatic and apical pattern
cc          : 1                     # sum of c_m (mu_m . h) over the memories
c8          : 1                     # sum of c_m^8
c9          : 1                     # sum of c_m^9
attract     : 1                     # weight of the attraction, 2 (1 - C), gated
repel       : 1                     # weight of the repulsion, 2 lambda / K, gated
lam         : 1 (constant)          # lambda
K           : 1 (shared, constant)  # memory interneurons per population
eps         : 1 (shared, constant)  # floor of the norm
margin      : 1 (shared, constant)  # margin of the gating
gated       : 1 (shared, constant)  # margin gating on (1) or off (0)
"""

#: What InfoNCE needs besides.
NORMALISER_INFONCE = """
c_all       : 1                     # sum of c_m
temperature : 1 (constant)          # tau
"""

#: What a softmax at the top needs besides.
NORMALISER_SOFTMAX = """
Z           : 1                     # sum of exp(beta u)
A           : 1                     # sum of the apical features
"""

#: What the population vector of the output needs besides (Georgopoulos et al. 1986).
NORMALISER_VECTOR = """
S           : 1                     # sum of vote r
S_a         : 1                     # sum of vote r^
P           : 1                     # sum of place r
P_a         : 1                     # sum of place r^
F           : 1                     # population vector of the somatic spikes
F_a         : 1                     # of the partners' spikes
"""

#: Cells onto their normaliser.
POOL_CELLS = """
rr_post = r_pre**2       : 1 (summed)
aa_post = r_a_pre**2     : 1 (summed)
ra_post = r_pre*r_a_pre  : 1 (summed)
"""

#: What a softmax at the top needs besides.
POOL_CELLS_SOFTMAX = """
Z_post = exp(clip(softmax_pre*beta_pre*u_pre, -80, 80)) : 1 (summed)
A_post = r_a_pre                                        : 1 (summed)
"""

#: What a population vector needs besides.
POOL_CELLS_VECTOR = """
S_post = vote_pre*r_pre      : 1 (summed)
S_a_post = vote_pre*r_a_pre  : 1 (summed)
P_post = place_pre*r_pre     : 1 (summed)
P_a_post = place_pre*r_a_pre : 1 (summed)
"""

NORMALISE = """
norm = sqrt(rr + eps**2)
norm_a = sqrt(aa + eps**2)
C = ra / (norm*norm_a)
"""

#: Silence stands for the middle.
NORMALISE_VECTOR = """
F = P / (S + 1e-12)
F_a = P_a / (S_a + 1e-12)
"""

MEMORY = """
overlap      : 1                       # mu . h
likeness     : 1                       # mu . h^
partner_likeness : 1 (linked)          # the same of the partner population's memory of that trial
c            : 1                       # response, ReCo max(0, mu . h); 0 when mu is familiar
familiar     : 1 (shared, constant)    # likeness from which mu counts as the same concept's
slot         : integer (constant)      # 0 .. K-1
pointer      : integer                 # the slot that the next trial fills
n_slots      : integer (shared, constant)
learn        : 1 (shared)              # plasticity of the trial under way
replica      : integer (shared, constant)  # the network's number
population   : integer (constant)      # normaliser of its population
partner_memory : integer (constant)    # memory of the same trial in the partner population
"""

MEMORY_INFONCE = "temperature : 1 (linked)  # from the normaliser: tau"

#: Memory interneurons to and from their cells, over one stored pattern `mu`.
MEMORY_SYNAPSE = """
mu                      : 1
overlap_pre = mu*h_post : 1 (summed)
likeness_pre = mu*h_a_post : 1 (summed)
inhibition_post = mu*c_pre : 1 (summed)
"""

#: A memory of what the apical dendrites of its population or of the partners receive now does not
#: repel: it is no negative.
RESPOND = """
c = clip(overlap, 0, inf)*int(likeness < familiar)*int(partner_likeness < familiar)
"""

#: Relative to the largest possible overlap, 1, so that it never overflows.
RESPOND_INFONCE = """
c = exp((overlap - 1)/temperature)*int(likeness < familiar)*int(partner_likeness < familiar)
"""

#: Memory interneurons onto the normaliser.
POOL_MEMORY = """
cc_post = c_pre**2 : 1 (summed)
c8_post = c_pre**8 : 1 (summed)
c9_post = c_pre**9 : 1 (summed)
"""

POOL_MEMORY_INFONCE = """
cc_post = c_pre*overlap_pre : 1 (summed)
c_all_post = c_pre          : 1 (summed)
"""

#: The strongest memory, as the Lehmer mean c9/c8 (at most the maximum, equal to it when one
#: memory dominates or all respond alike), against C: learning scales with the missing margin.
GATE = """
scale = 1 + gated*(clip((margin - C + c9/(c8 + 1e-12))/margin, 0, 2) - 1)
attract = scale*2*(1 - C)
repel = scale*2*lam/K
"""

#: Attraction (1 - p_0)/tau, repulsion p_m/tau = c_m/(tau Z): learning ends by itself where C leads.
GATE_INFONCE = """
Z_c = c_all + exp((C - 1)/temperature)
attract = c_all/(temperature*Z_c)
repel = 1/(temperature*Z_c)
"""

#: The oldest memory takes the apical pattern of this trial.
STORE = "mu = h_a_post"

NEXT_SLOT = "pointer = (pointer + int(learn > 0)) % n_slots"

#: See `bsd.equations.encoders.START_AFFERENT_TRIAL`.
READ_LEARN = "learn = control(t, n_control*replica)"


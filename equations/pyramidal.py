"""The pyramidal cell: soma, basal and apical dendrite, as Brian2 equations.

Type-1 (forward) and type-2 (backward) cells have the same equations. The basal dendrite drives
the soma. The apical dendrite counts the partner's spikes (`n_a`), which guide plasticity. Its
potential `v_a` acts only if g_as > 0 (on the soma) or ``learning.features = 'voltages'`` (on
plasticity); with the defaults it is computed and recorded, and has no effect. With g_as > 0 the
soma also receives g_as (v_a - v_s): depolarising when the partner fires, a leak when it is silent;
the partner pathway then reaches the soma, so a decision made while the concept is shown is no
perception. Form of the cell: Urbanczik & Senn (2014), Sacramento et al. (2018); role of the
compartments: BSD paper, section 3.2.
"""

__all__ = [
    "APICAL_SPIKES",
    "APICAL_VOLTAGES",
    "CELL_PARAMETERS",
    "COMPARTMENTS",
    "COUNT_SPIKE",
    "END_REFRACTORY",
    "INTEGRATION_ORDER",
    "LEARNING_VARIABLES",
    "READ_CONTROL",
    "READ_PARTNER",
    "RECEIVE_APICAL",
    "RESET",
    "START_TRIAL",
    "THRESHOLD",
    "TRIAL_AVERAGES",
    "TRIAL_AVERAGES_APICAL",
]

#: The three compartments and their synaptic currents.
COMPARTMENTS = """
dv_b/dt = (E_L - v_b + R_b*I_b) / tau_b                               : volt   # basal dendrite
dv_s/dt = (g_L*(E_L - v_s) + g_bs*(v_b - v_s) + g_as*(v_a - v_s)) / C_m : volt (unless refractory)
dI_b/dt = -I_b / tau_syn                                              : amp    # filtered spikes
dI_a/dt = -I_a / tau_syn                                              : amp    # partner's spikes
"""

#: Spike features (default): the apical dendrite receives the partner cell's spikes.
APICAL_SPIKES = """
dv_a/dt = (E_L - v_a + R_a*I_a) / tau_a                               : volt   # apical dendrite
"""

#: Voltage features (the paper's): it receives the partner's basal drive, a graded signal inside
#: the pair; cells whose partner is an afferent (`graded` = 0) receive its spikes as before.
APICAL_VOLTAGES = """
dv_a/dt = (E_L - v_a + (1 - graded)*R_a*I_a + graded*apical*partner_drive) / tau_a : volt
partner_drive                                                         : volt   # v_b - E_L of it
v_b_partner                                                           : volt (linked)
graded                                                                : 1 (constant)
partner_cell                                                          : integer (constant)
"""

#: Read before any cell moves, so that no cell sees its partner half a step ahead.
READ_PARTNER = "partner_drive = v_b_partner - E_L"

#: The dendrites follow their input first, then the soma follows them, then the currents decay.
INTEGRATION_ORDER = ["v_b", "v_a", "v_s", "I_b", "I_a"]

#: Shared by all cells; set at run time, so that a new value compiles nothing.
CELL_PARAMETERS = """
C_m         : farad (shared, constant)     # membrane capacitance of the soma
g_L         : siemens (shared, constant)   # leak
g_bs        : siemens (shared, constant)   # basal dendrite to soma
g_as        : siemens (shared, constant)   # apical dendrite to soma
E_L         : volt (shared, constant)      # rest
theta       : volt (shared, constant)      # threshold
V_r         : volt (shared, constant)      # reset
t_ref       : second (shared, constant)    # refractory period
tau_b       : second (shared, constant)    # basal dendrite
tau_a       : second (shared, constant)    # apical dendrite
tau_syn     : second (shared, constant)    # synaptic currents
R_b         : ohm (shared, constant)       # input resistance, basal
R_a         : ohm (shared, constant)       # input resistance, apical
I_u         : amp (shared, constant)       # mean current of weight 1 at f_max
I_epsc      : amp (shared, constant)       # jump of the current at a spike of weight 1
a_s         : volt (shared, constant)      # width of the surrogate derivative
count_unit  : 1 (shared, constant)         # 1 / (T f_max)
step_unit   : 1 (shared, constant)         # dt / T
"""

THRESHOLD = "v_s > theta"

RESET = "v_s = V_r"

COUNT_SPIKE = "n_s += 1"

#: What a cell keeps of the trial. `n_a` are partner spikes received by the apical dendrite (no
#: dendritic spike is modelled).
LEARNING_VARIABLES = """
n_s         : 1    # somatic spikes of the trial
n_a         : 1    # apical spikes of the trial (the partner's)
apical      : 1 (constant)  # 1, or 0 where the apical dendrite is blocked
psi         : 1    # trial mean of the surrogate derivative, at the potential before reset
u           : 1    # trial mean of the basal drive, in units of R_b I_u
u_a         : 1    # trial mean of the apical drive, in units of R_a I_u (graded: R_b I_u)
"""

#: Once per step, after the voltages moved and before spikes reset them.
TRIAL_AVERAGES = """
psi += step_unit / (1 + (pi*(v_s - theta)/a_s)**2)
u += step_unit * (v_b - E_L) / (R_b*I_u)
"""

TRIAL_AVERAGES_APICAL = """
u_a += step_unit * (v_a - E_L) / ((graded*R_b + (1 - graded)*R_a)*I_u)
"""

#: Arrival of a partner's spike at the apical dendrite.
RECEIVE_APICAL = """
I_a_post += apical_post*I_epsc_post
n_a_post += apical_post
"""

#: Every trial starts at rest.
START_TRIAL = """
v_s = E_L
v_b = E_L
v_a = E_L
I_b = 0*amp
I_a = 0*amp
n_s = 0
n_a = 0
psi = 0
u = 0
u_a = 0
teach = 0
r_learn = 0
n_changed = 0
"""

#: Columns of the trial table that all cells read.
READ_CONTROL = """
learn = control(t, n_control*replica)
recording = control(t, n_control*replica + 1)
"""

END_REFRACTORY = """
not_refractory = True
lastspike = -1e4*second
"""

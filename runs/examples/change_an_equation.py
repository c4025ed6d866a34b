"""What does an adaptation current do to the rates of a network that learns?

The model is text: Brian2 equations with units. A spike-triggered adaptation current takes one
equation, two constants, a line at the spike and one at the start of a trial. The changed network
is compiled by itself; a new value of a constant compiles nothing.
"""

from brian2 import ms, pA

from bsd.equations import DISCRETE, pyramidal
from bsd.networks import BidirectionalNetwork
from bsd.runs.data import load
from bsd.runs.engine import Simulation
from bsd.runs.trials import training_trials

DEVICE = "cpp"
LAYERS = [64, 64, 64, 10]
TRIALS = 1000

# The soma gets one more current, w_ad, which decays with a time constant of its own.
soma = pyramidal.COMPARTMENTS.replace("/ C_m : volt", "/ C_m - w_ad/C_m : volt")
assert "w_ad" in soma  # a text that is not found is not replaced
equations = {
    "COMPARTMENTS": soma + "dw_ad/dt = -w_ad/tau_w : amp",
    "CELL_PARAMETERS": pyramidal.CELL_PARAMETERS
    + "tau_w : second (shared, constant)\nb_ad : amp (shared, constant)",
    "RESET": "v_s = V_r\nw_ad += b_ad",
    "START_TRIAL": pyramidal.START_TRIAL + "w_ad = 0*amp",
}

digits = load("digits")
(table,) = training_trials(digits, epochs=1, seed=1)
rates = {}
for step in (0 * pA, 50 * pA, 200 * pA):
    network = BidirectionalNetwork(
        LAYERS, DISCRETE, equations=equations,
        values={"cells.tau_w": 30 * ms, "cells.b_ad": step},
    )
    result = Simulation(network, digits, device=DEVICE, seed=1).run(table.iloc[:TRIALS])
    hidden = result.counts[result.counts["population"].isin(["F1", "F2"])]
    rates[str(step)] = hidden["rate_hz"].mean()
    print(f"adaptation of {step} a spike: hidden cells fire at {rates[str(step)]:.0f} Hz")

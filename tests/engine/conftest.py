"""A change of the equations that adds a variable and constants."""

import pytest


@pytest.fixture(scope="session")
def adaptation():
    """Spike-triggered adaptation, a current of the soma with a time constant of its own.

    Changed equations, and the values of the constants that they add.
    """
    from brian2 import ms, pA

    from bsd.equations import equation_set

    original = equation_set()
    soma = "g_as*(v_a - v_s)) / C_m"
    assert original["COMPARTMENTS"].count(soma) == 1
    added = """
    dI_w/dt = -I_w/tau_w : amp
    tau_w   : second (shared, constant)
    b_w     : amp (shared, constant)
    """
    equations = {
        "COMPARTMENTS": original["COMPARTMENTS"].replace(soma, "g_as*(v_a - v_s) - I_w) / C_m")
        + added,
        "RESET": original["RESET"] + "\nI_w += b_w",
        "START_TRIAL": original["START_TRIAL"] + "I_w = 0*amp\n",
    }
    return equations, {"cells.tau_w": 30 * ms, "cells.b_w": 60 * pA}

"""The staggered integrator refuses what it cannot integrate."""

import pytest
from brian2 import BrianLogger, Equations, NeuronGroup, prefs
from brian2.devices.device import reset_device
from brian2.stateupdaters.base import UnsupportedEquationsException

from bsd.equations.integration import staggered

LINEAR = "dx/dt = (y - x)/tau : 1\ndy/dt = -y/tau : 1\ntau : second"


def updater(text, **options):
    reset_device()
    BrianLogger.suppress_name("unused_brian_object")  # only its variables are needed
    prefs.codegen.target = "numpy"
    group = NeuronGroup(1, text, method="euler")
    return staggered(Equations(text), group.variables, method_options=options)


def test_variables_are_updated_in_the_order_given():
    code = updater(LINEAR, order=["y", "x"])
    assert code.index("\ny =") < code.index("\nx =")
    code = updater(LINEAR, order=["x", "y"])
    assert code.index("\nx =") < code.index("\ny =")


@pytest.mark.parametrize(
    "text, options",
    [
        (LINEAR, {"order": ["x"]}),
        (LINEAR, {"order": ["x", "y", "z"]}),
        ("dx/dt = -x**2/tau : 1\ntau : second", {}),
        ("dx/dt = 1/tau : 1\ntau : second", {}),
        ("dx/dt = -x/tau + xi*tau**-0.5 : 1\ntau : second", {}),
    ],
    ids=["incomplete order", "unknown variable", "nonlinear", "no decay", "stochastic"],
)
def test_what_cannot_be_staggered_is_refused(text, options):
    with pytest.raises(UnsupportedEquationsException):
        updater(text, **options)

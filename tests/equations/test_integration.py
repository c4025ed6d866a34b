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


def updates(text, **options):
    """The variables in the order in which their new values are assigned."""
    lines = (line.partition(" = ") for line in updater(text, **options).splitlines())
    return [name for name, _, _ in lines if not name.startswith("_")]


def test_variables_are_updated_in_the_order_given():
    assert updates(LINEAR, order=["y", "x"]) == ["y", "x"]
    assert updates(LINEAR, order=["x", "y"]) == ["x", "y"]


def test_variables_that_the_order_leaves_out_follow():
    three = "dz/dt = (x - z)/tau : 1\n" + LINEAR
    for first in ("x", "y", "z"):
        order = updates(three, order=[first])
        assert order[0] == first and sorted(order) == ["x", "y", "z"]
    assert sorted(updates(three)) == sorted(updates(three, order=[])) == ["x", "y", "z"]


@pytest.mark.parametrize(
    "text, options, says",
    [
        (LINEAR, {"order": ["x", "y", "z"]}, "'order' must name variables of .*x.*y.*, got"),
        (LINEAR, {"order": ["y", "y"]}, "each at most once, got"),
        ("dx/dt = -x**2/tau : 1\ntau : second", {}, "not be separated.*: give the nonlinear"),
        ("dx/dt = (1 - x + exp(x))/tau : 1\ntau : second", {}, "dx/dt is not linear in x: give"),
        ("dx/dt = (1 - x + sqrt(x))/tau : 1\ntau : second", {}, "dx/dt is not linear in x"),
        ("dx/dt = -x/(1 + x)/tau : 1\ntau : second", {}, "dx/dt is not linear in x"),
        ("dx/dt = 1/tau : 1\ntau : second", {}, "dx/dt does not depend on x"),
        ("dx/dt = -x/tau + xi*tau**-0.5 : 1\ntau : second", {}, "Stochastic"),
    ],
    ids=["unknown variable", "repeated variable", "square", "exponential", "root",
         "saturating decay", "no decay", "stochastic"],
)
def test_what_cannot_be_staggered_is_refused(text, options, says):
    with pytest.raises(UnsupportedEquationsException, match=says):
        updater(text, **options)

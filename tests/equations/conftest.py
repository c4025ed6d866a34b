"""Cells of the model on the runtime device, outside any network."""

import numpy as np
import pytest


@pytest.fixture
def make_cells():
    """Function that makes a NeuronGroup of cells in float64, with a parameter set's values.

    Without `spiking` the threshold is out of reach. Changed `values` are in SI units.
    """
    from brian2 import BrianLogger, NeuronGroup, prefs
    from brian2.devices.device import reset_device

    from bsd.equations import pyramidal
    from bsd.equations.integration import staggered
    from bsd.networks import BidirectionalNetwork

    BrianLogger.suppress_name("unused_brian_object")  # cells that a test replaces

    def make(parameters, n=1, dt=None, spiking=False, **values):
        reset_device()
        prefs.codegen.target = "numpy"
        prefs.core.default_float_dtype = np.float64
        group = NeuronGroup(
            n,
            pyramidal.COMPARTMENTS
            + pyramidal.APICAL_SPIKES
            + pyramidal.CELL_PARAMETERS,
            threshold=pyramidal.THRESHOLD,
            reset=pyramidal.RESET,
            refractory="t_ref",
            method=staggered,
            method_options={"order": pyramidal.INTEGRATION_ORDER},
            dt=dt if dt is not None else parameters.timing.dt,
        )
        defaults = BidirectionalNetwork([1, 1, 2], parameters).values()
        for name in group.variables:
            value = values.pop(name, defaults.get(f"cells.{name}"))
            if value is not None:
                group.variables[name].set_value(value)
        assert not values, f"no such variables: {values}"
        for name in ("v_b", "v_s", "v_a"):
            group.variables[name].set_value(float(parameters.cell.E_leak))
        if not spiking:
            group.variables["theta"].set_value(1e3)
        return group

    return make


@pytest.fixture
def set_values():
    """Function that sets state variables of a group, in SI units."""

    def put(group, **values):
        for name, value in values.items():
            group.variables[name].set_value(value)

    return put

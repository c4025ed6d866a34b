"""The runtime device: NumPy inside this Python process, for tests and for looking inside."""

import brian2
import numpy as np

from bsd.networks.describe import runtime_device
from bsd.networks.equation_errors import explained
from bsd.runs.engine.standalone import trim
from bsd.runs.engine.variables import check_inputs, input_specs, output_columns, output_names

__all__ = ["RuntimeSimulator"]


class RuntimeSimulator:
    """The same as `CppSimulator`, without compiling anything.

    Attributes
    ----------
    objects : BrianObjects
        The Brian2 objects of the last chunk.
    """

    device = "runtime"

    def __init__(self, network, progress=None):
        self.network = network
        self.specs = input_specs(network)
        self.build_s = 0.0
        self.create_s = self.peak_mb = 0.0  # part of this Python process
        with runtime_device(), explained(network):
            self.objects = network.create()
            self._brian_network = self.objects.network()
            self._brian_network.store()

    def run(self, inputs, n_trials, progress=None):
        """Simulate a chunk; parameters and result as for `CppSimulator.run`."""
        inputs = check_inputs(self.specs, inputs)
        timing, failed = self.network.parameters.timing, []

        def report(elapsed, completed, start, duration):
            try:
                if progress and not failed:
                    progress(completed * n_trials)
            except BaseException as error:  # no error of equations
                failed.append(error)
                self._brian_network.stop()

        # Brian2 looks for values above 1e50, which a float32 cannot hold
        with runtime_device(), explained(self.network), np.errstate(over="ignore"):
            self._brian_network.restore()
            self._set(inputs)
            self._brian_network.run(
                n_trials * timing.duration + timing.dt,
                namespace={},
                report=report,
                report_period=0.5 * brian2.second,
            )
            outputs = {} if failed else self._outputs()
        if failed:
            raise failed[0]
        return trim(outputs, n_trials, timing.steps)

    def _set(self, inputs):
        for name, array in inputs.items():
            owner, variable = name.split(".")
            thing = getattr(self.objects, owner)
            if variable == "values":
                thing.values[...] = array.reshape(thing.values.shape)
            else:
                var = thing.variables[variable]
                var.set_value(array[0] if var.scalar else array)

    def _outputs(self):
        outputs, columns = {}, output_columns(self.network)
        for name in output_names(self.network):
            owner, variable = name.split(".")
            value = np.array(getattr(self.objects, owner).variables[variable].get_value())
            if owner in columns:
                value = value.reshape(-1, columns[owner])
            outputs[name] = np.atleast_1d(value)
        return outputs

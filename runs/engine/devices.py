"""Devices by name."""

from bsd.equations.errors import InputError
from bsd.runs.engine.cpp import CppSimulator
from bsd.runs.engine.cuda import CudaSimulator
from bsd.runs.engine.runtime import RuntimeSimulator

__all__ = ["DEVICES", "simulator"]

#: Devices by the name that the command line uses.
DEVICES = {"cpp": CppSimulator, "cuda": CudaSimulator, "runtime": RuntimeSimulator}


def simulator(network, device="cpp", progress=None):
    """A simulator of a network on a device.

    Parameters
    ----------
    network : BidirectionalNetwork
    device : {'cpp', 'cuda', 'runtime'}
    progress : callable, optional
        ``progress(stage, done, total)`` while compiling.

    Raises
    ------
    InputError
        For an unknown device, or a missing compiler, driver or GPU.
    """
    if device not in DEVICES:
        raise InputError(f"device = {device!r}: choose one of {', '.join(DEVICES)}.")
    return DEVICES[device](network, progress)

"""Simulate: build a network once, run it in chunks of trials on a device."""

from bsd.runs.engine.devices import DEVICES
from bsd.runs.engine.recording import Recording
from bsd.runs.engine.simulation import Simulation

__all__ = ["DEVICES", "Recording", "Simulation"]

"""Benchmarks: how fast the simulations are, and how well others learn the same."""

from bsd.runs.bench.learning import measure_learning
from bsd.runs.bench.sequences import measure_sequence
from bsd.runs.bench.speed import measure_speed

__all__ = ["measure_learning", "measure_sequence", "measure_speed"]

"""Experiments: named presets, and what a run of one does."""

from bsd.runs.experiments.presets import PRESETS, Experiment, experiment
from bsd.runs.experiments.run import run_experiment, run_many

__all__ = ["PRESETS", "Experiment", "experiment", "run_experiment", "run_many"]

"""Experiments: named presets, and what a run of one does."""

from bsd.runs.experiments.many import run_many, summarise
from bsd.runs.experiments.presets import PRESETS, Experiment, experiment
from bsd.runs.experiments.run import run_experiment
from bsd.runs.experiments.trained import (
    TrainedNetwork,
    learned_weights,
    open_cohort,
    open_run,
)

__all__ = [
    "PRESETS",
    "Experiment",
    "TrainedNetwork",
    "experiment",
    "learned_weights",
    "open_cohort",
    "open_run",
    "run_experiment",
    "run_many",
    "summarise",
]

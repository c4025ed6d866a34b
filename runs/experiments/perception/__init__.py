"""Experiments of perception and recall on a trained network: each a trial table and its measures.

Each function takes a `TrainedNetwork` and returns a `Study`: tidy frames and a summary; `save`
writes them to ``experiments/NAME/`` of the results folder, whose report then shows them.
"""

from bsd.runs.experiments.perception.ambiguity import ambiguity, ambiguity_table
from bsd.runs.experiments.perception.completion import completion, cues
from bsd.runs.experiments.perception.dynamics import dynamics
from bsd.runs.experiments.perception.generation import generation
from bsd.runs.experiments.perception.imagery import imagery, imagery_table
from bsd.runs.experiments.perception.lesions import (
    Manipulation,
    lesions,
    lesions_table,
    manipulations,
)
from bsd.runs.experiments.perception.recall import recall, recall_table
from bsd.runs.experiments.perception.statistics import statistics, statistics_table
from bsd.runs.experiments.perception.study import Study, save

__all__ = [
    "Manipulation",
    "Study",
    "ambiguity",
    "ambiguity_table",
    "completion",
    "cues",
    "dynamics",
    "generation",
    "imagery",
    "imagery_table",
    "lesions",
    "lesions_table",
    "manipulations",
    "recall",
    "recall_table",
    "save",
    "statistics",
    "statistics_table",
]

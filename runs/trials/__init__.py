"""Trial tables: one row per presentation; the table is the experiment."""

from bsd.runs.trials.arrays import (
    concept_encodings,
    shown_images,
    stimulus_intensities,
    trial_arrays,
)
from bsd.runs.trials.table import (
    AUTOENCODER,
    COLUMNS,
    SOURCES,
    alignment_trials,
    check_table,
    join_tables,
    recall_trials,
    replica_tables,
    sequence_trials,
    test_trials,
    training_trials,
)

__all__ = [
    "AUTOENCODER",
    "COLUMNS",
    "SOURCES",
    "alignment_trials",
    "check_table",
    "concept_encodings",
    "join_tables",
    "recall_trials",
    "replica_tables",
    "sequence_trials",
    "shown_images",
    "stimulus_intensities",
    "test_trials",
    "training_trials",
    "trial_arrays",
]

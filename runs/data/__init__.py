"""Images with concepts and sequences: data sets, their checks, and stimulus transforms."""

from bsd.runs.data.datasets import DataSet, available, load, split_validation, validate
from bsd.runs.data.files import data_directory
from bsd.runs.data.images import load_images
from bsd.runs.data.sequences import SequenceData, load_series, load_text
from bsd.runs.data.transforms import MASKS, add_noise, blend, blur, contrast, jitter, occlude

__all__ = [
    "MASKS",
    "DataSet",
    "SequenceData",
    "add_noise",
    "available",
    "blend",
    "blur",
    "contrast",
    "data_directory",
    "jitter",
    "load",
    "load_images",
    "load_series",
    "load_text",
    "occlude",
    "split_validation",
    "validate",
]

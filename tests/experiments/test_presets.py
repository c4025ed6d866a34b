"""The digest that tells data sets apart."""

import dataclasses

import numpy as np
import pytest

from bsd.runs.data import load, load_series, load_text
from bsd.runs.experiments.presets import data_digest


@pytest.mark.parametrize(
    "read", [lambda: load("digits"), load_series, lambda: load_text(train=500)]
)
def test_equal_data_have_equal_digests(read):
    assert data_digest(read()) == data_digest(read())


def test_every_change_of_the_data_changes_their_digest():
    images, series, text = load("digits"), load_series(), load_text(train=500)
    changed = [
        images,
        dataclasses.replace(images, x_train=images.x_train[::-1]),
        dataclasses.replace(images, y_test=np.roll(images.y_test, 1)),
        series,
        dataclasses.replace(series, values=series.values + 1e-9),
        load_series(evaluate="validation"),
        load_series(horizon=2),
        text,
        load_text(train=501),
        dataclasses.replace(text, symbols=text.symbols[::-1]),
    ]
    digests = [data_digest(dataset) for dataset in changed]
    assert len(set(digests)) == len(digests)

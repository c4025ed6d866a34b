"""Planted divergences are found and named; a healthy run shows none."""

import pandas as pd
import pytest

from bsd.analysis import divergence
from bsd.analysis.divergence import divergences

POPULATIONS = {
    "S": ("afferent", 0), "C": ("afferent", 3), "F1": ("forward", 1), "F2": ("forward", 2),
    "F3": ("forward", 3), "B0": ("backward", 0), "B1": ("backward", 1), "B2": ("backward", 2),
}
PROJECTIONS = ("W0", "W1", "W2", "Theta0", "Theta1", "Theta2")


def healthy():
    """Three epochs, two replicas: rates 100 Hz, kappa 0.4 above that of other trials."""
    trials = pd.DataFrame(
        {"trial": range(9), "epoch": [0, 0, 0, 1, 1, 1, 2, 2, 2],
         "phase": ["align", "align", "test", "train", "align", "align", "train", "align", "align"]}
    )
    cells, pairs, weights = [], [], []
    for replica in (0, 1):
        for row in trials.itertuples():
            cells += [
                (row.trial, replica, name, pathway, layer, 100.0)
                for name, (pathway, layer) in POPULATIONS.items()
            ]
            if row.phase == "align":
                kappa = 0.0 if row.epoch == 0 else 0.4
                pairs += [(row.trial, replica, layer, kappa, 0.0) for layer in (1, 2)]
        weights += [
            (epoch, replica, name, -0.5, 0.4) for epoch in range(3) for name in PROJECTIONS
        ]
    columns = ["trial", "replica", "population", "pathway", "layer", "rate_hz"]
    return {
        "trials": trials,
        "counts": pd.DataFrame(cells, columns=columns),
        "alignment": pd.DataFrame(
            pairs, columns=["trial", "replica", "layer", "kappa", "kappa_shuffled"]
        ),
        "weights": pd.DataFrame(
            weights, columns=["epoch", "replica", "projection", "q10", "q90"]
        ),
    }


def found(frames, **options):
    return divergences(**frames, **{"f_max_hz": 1000.0, "weight_max": 4.0, **options})


def plant(frame, column, value, epoch=2, **where):
    """Set a column where all of `where` holds, in the trials of an epoch."""
    rows = pd.Series(True, frame.index)
    if "trial" in frame:
        where["trial"] = {0: (0, 1), 1: (4, 5), 2: (7, 8)}[epoch]
    else:
        where["epoch"] = (epoch,)
    for name, values in where.items():
        rows &= frame[name].isin(values)
    assert rows.any()
    frame.loc[rows, column] = value


def test_a_healthy_run_shows_none():
    assert found(healthy()).empty


@pytest.mark.parametrize(
    "population, parameter",
    [("F1", "learning.eta,"), ("F3", "learning.eta_top,"), ("B0", "learning.eta_bottom,"),
     ("B2", "learning.eta_feedback,")],
)
def test_dead_population(population, parameter):
    frames = healthy()
    plant(frames["counts"], "rate_hz", 1.9, population=[population], replica=[1])
    (row,) = found(frames).itertuples()
    assert (row.epoch, row.replica, row.kind, row.where) == (2, 1, "dead", population)
    assert row.value == pytest.approx(1.9) and row.limit == divergence.DEAD * 1000
    assert parameter in row.text and population in row.text
    hidden = population in ("F1", "B2")
    assert ("learning.loss = reco" in found(frames, loss="mse")["text"][0]) == hidden
    plant(frames["counts"], "rate_hz", 2.1, population=[population], replica=[1])
    assert found(frames).empty


def test_population_dead_from_the_start():
    frames = healthy()
    plant(frames["counts"], "rate_hz", 0.0, epoch=0, population=["F2", "F3"])
    assert found(frames)["kind"].to_list() == ["dead"] * 4
    for text, gain in zip(found(frames)["text"], ["", "_readout"] * 2, strict=True):
        assert f"raise learning.init_gain{gain}, or lower cell.V_threshold" in text


def test_saturated_population():
    frames = healthy()
    for epoch in (0, 1):
        plant(frames["counts"], "rate_hz", 801.0, epoch=epoch, population=["B1", "B0", "S"])
    both = found(frames)
    assert both[["epoch", "replica", "kind", "where"]].values.tolist() == [
        [1, 0, "saturated", "B1"], [1, 1, "saturated", "B1"]
    ]
    assert both["text"].str.contains("lower learning.eta_feedback").all()


@pytest.mark.parametrize(
    "projection, parameter",
    [("W0", "learning.eta."), ("W2", "learning.eta_top."), ("Theta0", "learning.eta_bottom."),
     ("Theta2", "learning.eta_feedback.")],
)
@pytest.mark.parametrize("column, value", [("q10", -4.0), ("q90", 3.95)])
def test_exploded_weights(projection, parameter, column, value):
    frames = healthy()
    plant(frames["weights"], column, value, projection=[projection], replica=[0])
    (row,) = found(frames).itertuples()
    assert (row.epoch, row.replica, row.kind, row.where) == (2, 0, "exploded", projection)
    assert row.text.endswith(f"lower {parameter}")
    assert found(frames, weight_max=5.0).empty


def test_collapsed_alignment():
    frames = healthy()
    plant(frames["alignment"], "kappa_shuffled", 0.39, layer=[2])
    both = found(frames)
    assert both[["epoch", "replica", "kind", "where"]].values.tolist() == [
        [2, 0, "collapsed", "layer 2"], [2, 1, "collapsed", "layer 2"]
    ]
    assert both["text"].str.contains("raise learning.lam").all()
    assert not found(frames, loss="mse")["text"].str.contains("learning.lam").any()
    assert found(frames, learned=False).empty
    plant(frames["alignment"], "kappa", float("nan"), layer=[2])  # of silent cells
    assert found(frames).empty


def test_missing_columns_are_named():
    frames = healthy()
    frames["weights"] = frames["weights"].drop(columns="q90")
    with pytest.raises(ValueError, match="q90"):
        found(frames)

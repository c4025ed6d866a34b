"""Frames of sweeps: means over seeds, differences from the reference, figures, report."""

import re

import numpy as np
import pandas as pd
import pytest

from bsd.analysis import figures, sweep_report
from bsd.analysis.style import FittedFigure
from bsd.analysis.sweep_report import write_sweep_report
from bsd.analysis.sweeps import (
    column_label,
    differences,
    differences_text,
    grid_columns,
    point_means,
    varied_columns,
)


def rows(point, label, factor, lam, loss, accuracies, **columns):
    return [
        {
            "point": point, "label": label, "factor": factor, "reference": not factor,
            "seed": seed, "fold": fold, "key": f"{point}-{seed}-{fold}",
            "learning.lam": lam, "learning.loss": loss, "accuracy": accuracy,
            "kappa": 0.5, "kappa_shuffled": 0.2, "rate_forward_hz": 100.0, "ms_per_trial": 0.5,
            "run_s": 2.0, "status": "done", "error": "", **columns,
        }
        for seed, of_seed in enumerate(accuracies)
        for fold, accuracy in enumerate(of_seed)
    ]


@pytest.fixture
def frame():
    """Three seeds with two folds; one point clearly worse, one not, one with a failed run."""
    table = [
        *rows(0, "reference", "", 1.0, "reco", [(0.90, 0.94), (0.93, 0.95), (0.95, 0.97)]),
        *rows(1, "MSE", "loss", 1.0, "mse", [(0.40, 0.44), (0.42, 0.46), (0.46, 0.46)]),
        *rows(2, "lambda = 0", "lambda", 0.0, "reco", [(0.91, 0.93), (0.95, 0.95), (0.94, 0.94)]),
        *rows(3, "lambda = 5", "lambda", 5.0, "reco", [(0.97, 0.99), (0.99, 1.0), (1.0, 1.0)]),
    ]
    table[-1] |= {"status": "failed", "accuracy": None, "error": "RuntimeError: a <b>crash</b>"}
    return pd.DataFrame(table)


def test_means_are_over_folds_then_seeds(frame):
    means = point_means(frame).set_index("label")
    assert varied_columns(frame) == ["learning.lam", "learning.loss"]
    assert means.loc["reference", "mean"] == pytest.approx(0.94)
    assert means.loc["reference", "sd"] == pytest.approx(np.std([0.92, 0.94, 0.96], ddof=1))
    assert means.loc["lambda = 5", "mean"] == pytest.approx(np.mean([0.98, 0.995, 1.0]))
    assert means["n_seeds"].eq(3).all()


def test_differences_are_paired_by_seed_and_fold(frame):
    table = differences(frame).set_index("label")
    assert table.index[0] == "MSE"
    each = np.array([0.42 - 0.92, 0.44 - 0.94, 0.46 - 0.96])
    assert table.loc["MSE", "mean"] == pytest.approx(each.mean())
    assert table.loc["MSE", "sd"] == pytest.approx(each.std(ddof=1), abs=1e-12)
    each = np.array([0.0, 0.01, -0.02])
    half = 4.302653 * each.std(ddof=1) / np.sqrt(3)  # Student's t, 2 degrees of freedom
    assert table.loc["lambda = 0", "high"] == pytest.approx(each.mean() + half, rel=1e-6)


def test_text_names_losses_gains_and_what_is_not_known(frame):
    text = differences_text(frame)
    lost, _, rest = text.partition("Gained")
    gained, _, unknown = rest.partition("Not told apart")
    assert "94.0 ± 2.0 %" in text and "3 seeds" in text
    assert "loss: MSE \N{MINUS SIGN}50.0 ± 0.0" in lost
    assert "lambda = 5 +5.5" in gained and "lambda = 0" in unknown
    one = differences_text(frame[frame["seed"] == 0])
    assert "one seed" in one and "chance" in one and "±" not in one
    assert differences_text(frame[~frame["reference"]]) == ""


def test_factors_have_a_panel_each_with_the_reference(frame):
    figure = figures.plot_factors(frame, ax=FittedFigure().subplots()).figure
    titles = [(ax.get_title("left"), ax) for ax in figure.axes]
    panels = {title: ax for title, ax in titles if title}
    assert set(panels) == {"loss", "lambda"}
    assert [t.get_text() for t in panels["lambda"].get_xticklabels()] == ["0", "1", "5"]
    assert [t.get_text() for t in panels["loss"].get_xticklabels()] == ["reco", "MSE"]
    (diamond,) = (line for line in panels["lambda"].lines if line.get_marker() == "D")
    assert diamond.get_xdata() == [1] and diamond.get_ydata() == pytest.approx([94])
    with pytest.raises(ValueError, match="no reference"):
        figures.plot_factors(frame[~frame["reference"]], ax=FittedFigure().subplots())


@pytest.mark.parametrize("x", ["learning.lam", "learning.loss"])
def test_every_finished_run_is_drawn(frame, x):
    ax = figures.plot_sweep(frame, x, ax=FittedFigure().subplots())
    assert len(ax.lines[0].get_xdata()) == (frame["status"] == "done").sum()
    assert ax.get_xlabel() == x and "accuracy" in ax.get_ylabel()
    with pytest.raises(ValueError, match="no run"):
        figures.plot_sweep(frame.assign(status="failed"), x)


@pytest.mark.parametrize("with_factors", [True, False])
def test_report_stands_alone(frame, tmp_path, with_factors):
    if not with_factors:
        frame = frame.assign(factor="", reference=False)
    frame.to_parquet(tmp_path / "results.parquet")
    (tmp_path / "sweep.yaml").write_text("experiment: demo  # <script>")
    html = write_sweep_report(tmp_path).read_text()
    assert "report of a sweep" in html and "&lt;script&gt;" in html and "<script>" not in html
    assert "Failed: lambda = 5, seed 2" in html and "a &lt;b&gt;crash" in html
    assert "src=\"http" not in html
    drawn = {file.stem for file in (tmp_path / "figures").iterdir()}
    if with_factors:
        assert differences_text(frame) in html
        assert drawn == {"accuracy", "kappa", "rate_forward_hz", "ms_per_trial"}
    else:
        assert "Of 3 points of which all runs finished the best is reference" in html
        assert "0.300" in html and "0.500" not in html  # alignment, less what rates give
        assert "5 of 6" in html and "6 of 6" in html
        assert drawn == {"varied-learning.lam", "varied-learning.loss"}


@pytest.mark.parametrize("with_factors", [True, False])
def test_where_nothing_is_decided_points_are_ordered_by_likeness(frame, tmp_path, with_factors):
    likeness = frame["accuracy"].rank() / 100
    frame = frame.assign(accuracy=np.nan, reconstruction_ssim=likeness)
    if not with_factors:
        frame = frame.assign(factor="", reference=False)
    frame.to_parquet(tmp_path / "results.parquet")
    (tmp_path / "sweep.yaml").touch()
    html = write_sweep_report(tmp_path).read_text()
    assert re.search(r"finished the best is (reference|lambda = 0) with 0\.\d{3} ± 0\.", html)
    assert "tructural similarity" in html and "accuracy" not in html
    drawn = {file.stem for file in (tmp_path / "figures").iterdir()}
    assert ("reconstruction_ssim" in drawn) == with_factors and "accuracy" not in drawn


def test_forecasts_are_ordered_by_their_error(frame, tmp_path):
    frame["mse"] = 1 - frame["accuracy"]
    frame.assign(factor="", reference=False).to_parquet(tmp_path / "results.parquet")
    (tmp_path / "sweep.yaml").touch()
    html = write_sweep_report(tmp_path).read_text()
    assert "the best is reference with 0." in html and "mean squared error" in html
    rows = re.findall(r"<td>(lambda = \d|reference[^<]*)</td>", html)
    assert "accuracy (%)" not in html and rows[0] == "lambda = 5"


def test_without_a_finished_reference_points_are_compared_alone(frame, tmp_path):
    frame.loc[frame["reference"], "status"] = "failed"
    frame.to_parquet(tmp_path / "results.parquet")
    (tmp_path / "sweep.yaml").touch()
    html = write_sweep_report(tmp_path).read_text()
    assert "the best is" in html and "difference" not in html


def test_each_parameter_is_drawn_against_accuracy_alignment_rates_and_time(frame):
    sections = sweep_report._by_column(frame, sweep_report._measured(frame))
    assert [section.name for section in sections] == [
        "varied-learning.lam", "varied-learning.loss"
    ]
    for section in sections:
        figure = FittedFigure()
        section.draw(figure)
        labels = [ax.get_ylabel() for ax in figure.axes]
        for label, word in zip(labels, ("accuracy", "kappa", "Hz", "ms"), strict=True):
            assert word in label
        done = frame["status"] == "done"
        assert all(len(ax.lines[0].get_xdata()) == done.sum() for ax in figure.axes)


@pytest.fixture
def grid():
    """Two seeds at all points of a grid, one of which failed; accuracies near 0 and near 100 %."""
    values = {(lam, mV): 0.02 if lam else 0.98 for lam in (0.0, 2.0) for mV in (-60.0, -55.0)}
    table = []
    for point, ((lam, mV), accuracy) in enumerate(values.items()):
        of_seeds = [(accuracy - 0.02,), (accuracy + 0.02,)]
        each = rows(point, f"{lam}, {mV}", "", lam, "reco", of_seeds)
        table += [row | {"learning.loss": mV} for row in each]
    table[-1] |= {"status": "failed", "accuracy": None}
    table[-2] |= {"status": "failed", "accuracy": None}
    return pd.DataFrame(table).rename(columns={"learning.loss": "cell.V_threshold_mV"})


def test_columns_read_with_their_units():
    assert column_label("cell.V_threshold_mV") == "cell.V_threshold (mV)"
    assert column_label("cell.tau_soma_ms") == "cell.tau_soma (ms)"
    assert column_label("learning.lam_high") == "learning.lam_high"
    assert column_label("layers") == "cells of the hidden layers"


def test_a_grid_is_two_columns_in_all_combinations(frame, grid):
    assert grid_columns(grid) == ["learning.lam", "cell.V_threshold_mV"]
    assert grid_columns(frame) == []
    assert grid_columns(grid[grid["point"] != 1]) == []
    depths = grid.rename(columns={"learning.lam": "layers"})
    depths.insert(8, "depth", depths["layers"] + 1)
    assert grid_columns(depths) == ["depth", "cell.V_threshold_mV"]


def test_a_grid_of_two_parameters_is_drawn_jointly(grid, tmp_path):
    ax = figures.plot_grid(
        grid, "cell.V_threshold_mV", "learning.lam", ax=FittedFigure().subplots()
    )
    shown = ax.collections[0].get_array().reshape(2, 2)
    np.testing.assert_allclose(shown.filled(np.nan), [[98, 98], [2, np.nan]])
    assert ax.get_xlabel() == "cell.V_threshold (mV)" and ax.get_ylabel() == "learning.lam"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["-60", "-55"]
    with pytest.raises(ValueError, match="no run"):
        figures.plot_grid(grid.assign(status="failed"), "learning.lam", "cell.V_threshold_mV")
    grid.to_parquet(tmp_path / "results.parquet")
    (tmp_path / "sweep.yaml").touch()
    html = write_sweep_report(tmp_path).read_text()
    assert {file.stem for file in (tmp_path / "figures").iterdir()} == {"grid"}
    assert "learning.lam and cell.V_threshold (mV)" in html and "98.00 ± 2.83" in html


def test_bars_of_an_accuracy_stay_within_0_and_100(grid, frame):
    panels = [figures.plot_sweep(grid, "learning.lam", ax=FittedFigure().subplots())]
    grid["reference"] = grid["point"] == 0
    grid["factor"] = np.where(grid["reference"], "", "lambda")
    panels += figures.plot_factors(grid, ax=FittedFigure().subplots()).figure.axes
    bars = [s for ax in panels for c in ax.collections for s in c.get_segments()]
    ends = np.concatenate([bar[:, 1] for bar in bars])
    assert len(bars) > 3 and ends.min() >= -1e-9 and ends.max() <= 100 + 1e-9


def test_report_of_nothing_is_refused(frame, tmp_path):
    with pytest.raises(ValueError, match="holds no sweep"):
        write_sweep_report(tmp_path)
    frame.assign(status="failed").to_parquet(tmp_path / "results.parquet")
    (tmp_path / "sweep.yaml").touch()
    with pytest.raises(ValueError, match="no run of the sweep"):
        write_sweep_report(tmp_path)

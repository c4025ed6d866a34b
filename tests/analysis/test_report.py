import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from bsd.analysis import report

FIGURES = [
    "learning_curve", "confusion", "recall", "alignment", "raster", "voltages", "rates"
]
OPTIONAL = {
    "trials.parquet": {"learning_curve", "confusion"}, "counts.parquet": {"rates"},
    "alignment.parquet": {"alignment"}, "weight_alignment.parquet": set(),
    "cell_counts.parquet": set(), "spikes.parquet": {"raster"}, "voltages.parquet": {"voltages"},
    "recall.npz": {"recall"}, "config.yaml": set(), "provenance.json": set(),
    "metrics.json": set(),
}


def sections(html):
    return re.findall(r'<section id="(\w+)">', html)


def test_report_is_one_file_that_loads_nothing(results_folder):
    path = report.write_report(results_folder)
    assert path == results_folder / "report.html"
    html = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 10e6
    sources = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', html)
    assert len(sources) == len(FIGURES)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"<script|<link|@import|url\(|https?://", html)
    assert sections(html) == ["summary", *FIGURES, "configuration", "provenance"]
    assert "prefers-color-scheme: dark" in html


def test_report_says_the_numbers(results_folder):
    html = report.write_report(results_folder).read_text(encoding="utf-8")
    accuracy = json.loads((results_folder / "metrics.json").read_text())["accuracy"]
    assert f"{100 * accuracy:.1f} % of the 60 test trials" in html
    for text in ("bsd run digits --seed 1", "38.2 s", "1.23 ms", "64 – 40 – 40 – 10", "−55 mV"):
        assert text in html
    words = re.sub(r'base64,[^"]*', "", html)
    assert "2.10" in words and "V_r" not in words  # the equations are long: not in the page
    assert "validation" not in words and not re.search(r"\b(nan|None|NaN)\b", words)


def test_trials_of_a_cohort_are_counted_once(results_folder):
    trials = pd.read_parquet(results_folder / "trials.parquet")
    trials = pd.concat([trials.assign(replica=replica) for replica in range(3)])
    trials.to_parquet(results_folder / "trials.parquet")
    html = report.write_report(results_folder).read_text(encoding="utf-8")
    assert "Decisions of the 60 test trials of each of 3 networks" in html
    assert re.search(r"over \d+ training trials of each of 3 networks", html)


def test_a_handful_of_training_trials_has_a_report(results_folder):
    trials = pd.read_parquet(results_folder / "trials.parquet")
    first = trials[trials["phase"] == "train"].head(8)
    pd.concat([first, trials[trials["phase"] == "test"]]).to_parquet(
        results_folder / "trials.parquet"
    )
    html = report.write_report(results_folder).read_text(encoding="utf-8")
    assert "over 8 training trials, as a running mean of 8 trials" in html


@pytest.mark.parametrize("side", [8, 28])
def test_figures_are_not_empty(tmp_path, make_results, side):
    paths = report.draw_figures(make_results(tmp_path, side=side, epochs=1))
    assert [path.stem for path in paths] == FIGURES
    for path in paths:
        image = imread(path)
        assert 850 < image.shape[1] < 950
        assert image[..., :3].std() > 0.02
        assert (image[0, 0, :3] == 1).all()


@pytest.mark.parametrize("missing", OPTIONAL)
def test_a_missing_file_leaves_its_section_out(results_folder, missing):
    (results_folder / missing).unlink()
    html = report.write_report(results_folder).read_text(encoding="utf-8")
    gone = OPTIONAL[missing]
    assert [name for name in sections(html) if name in FIGURES] == [
        name for name in FIGURES if name not in gone
    ]


def test_recall_of_an_exported_project(results_folder):
    """It has what was recorded, and no data set."""
    for name in ("recall.npz", "weight_alignment.parquet", "metrics.json"):
        (results_folder / name).unlink()
    trials = pd.read_parquet(results_folder / "trials.parquet")
    shown = trials.loc[trials["phase"].isin(["recall", "train"]), ["trial", "concept"]]
    pixels = shown.merge(pd.DataFrame({"pixel": range(64)}), how="cross")
    pixels["rate"] = (pixels["pixel"] % 10 == pixels["concept"]) * 1.0
    recalled = pixels.drop(columns="concept")
    learned = trials.loc[trials["phase"] == "train", "trial"]
    recalled.loc[recalled["trial"].isin(learned), "rate"] = 1
    recalled.to_parquet(results_folder / "recalled.parquet")
    results = report.load_results(results_folder)
    assert results.recall["image_shape"] == (8, 8) and results.recall["class_mean"] is None
    expected = np.arange(64)[None] % 10 == np.arange(10)[:, None]
    np.testing.assert_array_equal(results.recall["recalled"], expected)
    html = report.write_report(results_folder).read_text(encoding="utf-8")
    assert {"recall", "alignment"} <= set(sections(html))
    words = re.sub(r'base64,[^"]*', "", html)
    assert "class mean" not in words
    assert not re.search(r"\bnan\b", words)
    trials.assign(carry=True).to_parquet(results_folder / "trials.parquet")  # of a sequence
    assert report.load_results(results_folder).recall is None


def test_rates_are_those_of_the_last_epoch_of_each_phase(results_folder):
    """Untrained and trained networks are not averaged."""
    trials = pd.read_parquet(results_folder / "trials.parquet")
    counts = pd.read_parquet(results_folder / "counts.parquet").merge(trials[["trial", "epoch"]])
    counts["rate_hz"] = 300.0 - 100 * counts["epoch"]
    counts.drop(columns="epoch").to_parquet(results_folder / "counts.parquet")
    cells = pd.read_parquet(results_folder / "cell_counts.parquet")
    early = trials.loc[(trials["phase"] == "test") & (trials["epoch"] == 0), "trial"].iloc[0]
    cells = pd.concat([cells.assign(spikes=0), cells.assign(trial=early, spikes=1)])
    cells.to_parquet(results_folder / "cell_counts.parquet")
    section = report._rates(report.load_results(results_folder))
    assert "in the last epoch of each" in section.caption
    assert "between 100 Hz" in section.caption and "and 100 Hz" in section.caption
    assert "F1 40 of 40" in section.caption  # they fired before


def test_caption_of_voltages_says_their_unit(results_folder):
    caption = report._voltages(report.load_results(results_folder)).caption
    assert "units of convenience" in caption and "100 mV" in caption


@pytest.mark.parametrize("alone", ["config.yaml", "metrics.json", "trials.parquet"])
def test_one_file_is_enough(results_folder, alone):
    for path in list(results_folder.iterdir()):
        if path.name != alone:
            path.unlink()
    assert report.write_report(results_folder).stat().st_size > 1000


def test_empty_and_undecided_frames_are_left_out(results_folder):
    for name in ("spikes", "voltages", "counts", "alignment"):
        path = results_folder / f"{name}.parquet"
        pd.read_parquet(path).iloc[:0].to_parquet(path)
    path = results_folder / "trials.parquet"
    pd.read_parquet(path).assign(percept=pd.NA, correct=pd.NA).to_parquet(path)
    html = report.write_report(results_folder).read_text(encoding="utf-8")
    assert [name for name in sections(html) if name in FIGURES] == ["recall"]


def test_categorical_columns_make_the_same_report(results_folder):
    plain = report.write_report(results_folder).read_text(encoding="utf-8")
    for path in results_folder.glob("*.parquet"):
        frame = pd.read_parquet(path)
        for column in {"phase", "population", "pathway", "compartment"} & set(frame):
            frame[column] = frame[column].astype("category")
        frame.to_parquet(path)
    assert report.write_report(results_folder).read_text(encoding="utf-8") == plain


def test_the_report_is_the_same_when_written_again(results_folder):
    first = report.write_report(results_folder).read_bytes()
    assert report.write_report(results_folder).read_bytes() == first


def test_undefined_measures_do_not_stop_the_report(results_folder):
    path = results_folder / "alignment.parquet"
    frame = pd.read_parquet(path)
    shuffled = ["hamming_shuffled", "kappa_shuffled"]
    frame[["kappa", *shuffled]] = np.nan
    frame.loc[frame["layer"] == 2, ["cosine", "hamming"]] = np.nan
    frame.to_parquet(path)
    archive = dict(np.load(results_folder / "recall.npz"))
    np.savez(results_folder / "recall.npz", **{**archive, "recalled": 0 * archive["recalled"]})
    (results_folder / "metrics.json").write_text('{"accuracy": NaN, "seed": null}')
    assert "undefined" in report.write_report(results_folder).read_text(encoding="utf-8")


def test_text_from_files_is_escaped(results_folder):
    (results_folder / "metrics.json").write_text('{"name": "<script>x</script>", "device": "a&b"}')
    html = report.write_report(results_folder).read_text(encoding="utf-8")
    assert "<script" not in html and "a&amp;b" in html


def test_a_folder_of_something_else_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        for function in (report.write_report, report.draw_figures):
            with pytest.raises(ValueError, match="give the folder that a run wrote"):
                function(folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "cure"),
    [
        ("trials.parquet", b"no table", "run again"),
        ("metrics.json", b"{", "run again"),
        ("metrics.json", b"[1]", "names and values"),
        ("config.yaml", b"a: [", "run again"),
        ("recall.npz", b"PK", "run again"),
    ],
)
def test_a_broken_file_is_named(results_folder, name, content, cure):
    (results_folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=cure) as caught:
        report.write_report(results_folder)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_frame_without_its_columns_is_named(results_folder):
    path = results_folder / "spikes.parquet"
    pd.read_parquet(path).drop(columns="t_ms").to_parquet(path)
    with pytest.raises(ValueError, match="spikes.parquet.*t_ms"):
        report.write_report(results_folder)


def test_the_figures_folder_must_be_writable(results_folder):
    (results_folder / "figures").write_text("in the way")
    with pytest.raises(ValueError, match="cannot be written"):
        report.write_report(results_folder)


@pytest.mark.parametrize(
    ("text", "mV"),
    [("-55. mV", -55), ("-55*mV", -55), ("-0.055 V", -55), ("-5.5e1 * mV", -55), ("high", None)],
)
def test_threshold_is_read_with_its_unit(text, mV):
    found = report._threshold_mV({"model": {"cell": {"V_threshold": text}}})
    assert found == (None if mV is None else pytest.approx(mV))
    assert report._threshold_mV({"cell.V_threshold": text}) == found


def test_report_needs_no_display(results_folder):
    code = (
        "import sys, matplotlib as mpl; from bsd.analysis.report import write_report;"
        "before = mpl.get_backend(auto_select=False); write_report(sys.argv[1]);"
        "assert mpl.get_backend(auto_select=False) == before;"
        "assert 'brian2' not in sys.modules"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    subprocess.run(
        [sys.executable, "-c", code, str(results_folder)], check=True,
        env={**env, "MPLBACKEND": "tkagg"},
    )

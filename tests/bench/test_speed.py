"""`bsd bench speed`: keys, table, figure, and what it says without PyTorch."""

import contextlib
import json

import numpy as np
import pandas as pd
import pytest

from bsd.analysis import figures
from bsd.analysis.style import FittedFigure
from bsd.equations import InputError
from bsd.runs.bench import speed, torch_process
from bsd.runs.engine import cuda

from ..gpu import MISSING

KEYS = {
    "ms_per_training_trial", "ms_per_test_trial", "ns_per_event", "compile_s", "create_s",
    "ratio_torch_batch1", "ratio_torch_batch128", "peak_mb",
}
COHORT_NUMBERS = (
    "compile_s", "create_s", "ms_per_training_trial", "ms_per_test_trial", "device_mb",
    "kernels_per_step", "copies_per_step",
)


def test_every_number_is_measured(speed_frame):
    row = speed_frame.iloc[0]
    assert row["synapses"] == 2 * (9 * 8 + 8 * 8 + 8 * 60)
    for name in KEYS - {"ratio_torch_batch1", "ratio_torch_batch128", "compile_s"}:
        assert row[name] > 0, name
    assert row["limit_ns_per_event"] > 0
    assert row["steps"] == 8


def test_memory_is_that_of_the_simulation_alone(speed_frame):
    """Not that of the Python process, which takes several hundred MB."""
    assert 1 < speed_frame["peak_mb"].iloc[0] < 100


def test_numbers_without_torch(speed_frame):
    numbers = json.loads(json.dumps(speed.summary(speed_frame)))
    assert KEYS <= numbers.keys()
    assert numbers["ratio_torch_batch1"] is None and numbers["ratio_torch_batch128"] is None
    assert len(numbers["rows"]) == len(speed_frame)


def test_ratios_are_ours_over_theirs(speed_frame):
    frame = speed_frame.assign(
        ms_per_training_trial=3.0, torch_streaming_ms=6.0, torch_batch_bsd_ms=2.0, torch_bp_ms=1.0
    )
    numbers = speed.summary(frame)
    assert numbers["ratio_torch_batch1"] == 0.5
    assert numbers["ratio_torch_batch128"] == 1.5


@pytest.fixture
def measured(monkeypatch, speed_frame):
    """The command measures nothing and finds no PyTorch."""
    asked = []

    def measure(cases, python, finished, save, progress):
        asked.append((cases, python, finished))
        save(speed_frame)
        return speed_frame

    monkeypatch.setattr(speed, "measure_speed", measure)
    monkeypatch.setattr(torch_process, "find_torch_python", lambda: None)
    return asked


def test_command(measured, bsd, tmp_path):
    code, out, err = bsd("bench", "speed", "--layers", "9-8-8-3", "--json", "--out", tmp_path)
    assert code == 0, err
    assert KEYS <= json.loads(out.splitlines()[-1]).keys()
    assert "9-8-8-3" in out and "event" in out
    assert "make torch" in err and len(err.strip().splitlines()) == 1
    assert {f.name for f in tmp_path.iterdir()} == {
        "settings.json", "speed.csv", "speed.json", "speed.png"
    }
    ((cases, python, finished),) = measured
    assert python is None and finished is None
    assert [(c.layers, c.projection) for c in cases] == [
        ((9, 8, 8, 3), "dense"), ((9, 8, 8, 3), "synapses"),
    ]


def test_without_layers_everything_is_measured(measured, bsd, tmp_path):
    assert bsd("bench", "speed", "--out", tmp_path)[0] == 0
    ((cases, *_),) = measured
    assert cases[0] == speed.Case((784, 512, 512, 10))
    dense = {c.layers for c in cases if c.projection == "dense"}
    widths = {(784, w, w, 10) for w in (128, 256, 512, 1024, 2048, 4096)}
    depths = {(784, *[512] * d, 10) for d in range(1, 7)}
    assert widths | depths <= dense and len(dense) == len(cases) - 1


def test_resume_goes_on_with_what_was_measured(measured, bsd, tmp_path):
    call = ("bench", "speed", "--layers", "9-8-8-3", "--out", tmp_path)
    for options in ([], ["--resume"], []):
        assert bsd(*call, *options)[0] == 0
    first, second, third = (finished for _, _, finished in measured)
    assert first is None and third is None
    assert second["network"].tolist() == ["9-8-8-3"]
    code, _, err = bsd("bench", "speed", "--layers", "9-8-3", "--out", tmp_path, "--resume")
    assert code == 2 and "with other networks" in err and "--out" in err


def test_rows_of_an_earlier_call_stay(measured, monkeypatch, bsd, tmp_path):
    """Not those of a call that was stopped before its first row: its settings may be others."""
    call = ("bench", "speed", "--layers", "9-8-8-3", "--out", tmp_path)
    assert bsd(*call)[0] == 0

    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(speed, "measure_speed", stopped)
        assert bsd(*call, "--resume")[0] == 130
        assert (tmp_path / "speed.csv").exists()
        assert bsd(*call)[0] == 130
    assert not (tmp_path / "speed.csv").exists()
    assert bsd(*call, "--resume")[0] == 0
    assert measured[-1][2] is None


def test_finished_networks_are_not_measured_again(monkeypatch, speed_frame):
    monkeypatch.setattr(speed, "_empty_cache", contextlib.nullcontext)
    small, large = speed.Case((9, 8, 8, 3)), speed.Case((9, 16, 16, 3))
    asked, kept = [], []

    def measure(case, n_trials, rounds, progress, torch_python):
        asked.append((case, torch_python))
        return {
            "synapses": 2000, "small_mb": 90.0, "ns_per_event": 3.0, "limit_ns_per_event": 2.0,
            "ms_per_training_trial": 5.0, "events_per_trial": 1e6,
        }

    monkeypatch.setattr(speed, "_measure", measure)
    frame = speed.measure_speed([large, small], "python", finished=speed_frame, save=kept.append)
    assert asked == [(large, "python")]
    assert frame["network"].tolist() == ["9-16-16-3", "9-8-8-3"]
    assert frame["of_limit"][0] == 1.5
    more = 2**20 * (90 - speed_frame["small_mb"][0]) / (2000 - speed_frame["synapses"][0])
    assert frame["bytes_per_synapse"][0] == pytest.approx(more)
    known = speed_frame.iloc[0]
    further = (5 - known["ms_per_training_trial"]) / (1e6 - known["events_per_trial"])
    assert frame["ns_per_further_event"][0] == pytest.approx(1e6 * further)
    assert np.isnan(frame["ns_per_further_event"][1])
    assert [len(rows) for rows in kept] == [2]
    again = speed.measure_speed([large, small], "python", finished=kept[0])
    pd.testing.assert_frame_equal(again, frame)
    assert len(asked) == 1


def test_cohorts_count_the_trials_of_all_replicas(tmp_path):
    layers = (9, 8, 8, 3)
    cases = [speed.Case(layers, device="runtime"), speed.Case(layers, replicas=3, device="runtime")]
    kept = []
    frame = speed.measure_cohorts(cases, n_trials=20, rounds=1, save=kept.append)
    assert [len(rows) for rows in kept] == [1, 2]
    one, three = frame.to_dict("records")
    assert three["synapses"] == 3 * one["synapses"]
    for row in (one, three):
        assert row["trials_per_s"] == pytest.approx(
            1e3 * row["replicas"] / row["ms_per_training_trial"]
        )
    assert one["speedup"] == 1
    assert three["speedup"] == pytest.approx(three["trials_per_s"] / one["trials_per_s"])
    resumed = speed.measure_cohorts(cases, n_trials=20, rounds=1, finished=kept[0])
    assert resumed["trials_per_s"][0] == one["trials_per_s"] != resumed["trials_per_s"][1]
    assert resumed["speedup"][1] == resumed["trials_per_s"][1] / one["trials_per_s"]
    pd.testing.assert_frame_equal(speed.measure_cohorts(cases, finished=resumed), resumed)
    frame = pd.DataFrame([one | {"device": "cpp"}, three | {"device": "cuda"}])
    ax = figures.plot_cohorts(frame)
    assert [line.get_ydata()[0] for line in ax.lines] == [
        three["trials_per_s"], one["trials_per_s"]
    ]
    with pytest.raises(ValueError, match="trials_per_s"):
        figures.plot_cohorts(frame.drop(columns="trials_per_s"))


def test_every_cohort_is_compared_with_one_network_on_one_core():
    cases = speed.cohort_cases()
    seen = set()
    for case in cases:
        assert case.device == "cpp" or case.layers in seen
        seen.add(case.layers)
    at_512 = {c.replicas for c in cases if c.layers[1] == 512 and c.device == "cuda"}
    assert at_512 == {1, 4, 16, 64, 256}
    assert {layers[1] for layers in seen} == {512, 1024, 2048, 4096}
    alone = speed.cohort_cases((64, 32, 10))
    assert [(case.layers, case.device, case.replicas) for case in alone] == [
        ((64, 32, 10), device, n)
        for device, n in [("cpp", 1), *(("cuda", n) for n in (1, 4, 16, 64, 256))]
    ]


def test_command_for_a_gpu(monkeypatch, bsd, tmp_path):
    """The networks that are asked for, and the GPU's name among the settings."""
    asked = []

    def measure(cases, finished, save, progress):
        asked.append(cases)
        row = {"network": "9-8-3", "device": "cpp", "replicas": 1, "width": 8, "synapses": 99,
               "steps": 8, "trials_per_s": 2.0, "speedup": 1.0,
               **dict.fromkeys(COHORT_NUMBERS, 1.0)}
        return pd.DataFrame([row, row | {"device": "cuda", "trials_per_s": 4.0}])

    monkeypatch.setattr(cuda, "check_machine", lambda: None)
    monkeypatch.setattr(speed, "gpu", lambda: ("9.0", "NVIDIA X1"))
    monkeypatch.setattr(speed, "measure_cohorts", measure)
    call = ("bench", "speed", "--device", "cuda", "--json", "--out", tmp_path)
    code, out, err = bsd(*call, "--layers", "9-8-3")
    assert code == 0, err
    assert asked == [speed.cohort_cases((9, 8, 3))]
    assert [row["trials_per_s"] for row in json.loads(out.splitlines()[-1])["rows"]] == [2, 4]
    assert {f.name for f in tmp_path.iterdir()} == {"cohorts.csv", "cohorts.png", "settings.json"}
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["gpu"] == "NVIDIA X1" and settings["networks"] == ["9-8-3"]
    assert bsd(*call)[0] == 0
    assert asked[1] == speed.cohort_cases()


@pytest.mark.skipif(MISSING is None, reason="this machine has a GPU")
def test_cohorts_need_a_gpu(bsd, tmp_path):
    code, _, err = bsd("bench", "speed", "--device", "cuda", "--out", tmp_path / "out")
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layers", ["512,x", "784-10", "0,5", "", "784-512--10"])
def test_impossible_layers(layers):
    with pytest.raises(InputError, match="--layers"):
        speed.parse_layers(layers)


def test_layers_as_hidden_widths_and_whole():
    assert speed.parse_layers("512,256") == (784, 512, 256, 10)
    assert speed.parse_layers("64-32-10") == (64, 32, 10)


def test_other_devices_are_refused(bsd):
    code, _, err = bsd("bench", "speed", "--device", "abacus")
    assert code == 2 and "--device abacus" in err


def test_figure_shows_each_network_and_program(speed_frame):
    frame = speed_frame.assign(
        torch_streaming_ms=6.0, torch_batch_bsd_ms=2.0, torch_bp_ms=float("nan")
    )
    figure = figures.plot_speed(frame, FittedFigure().subplots()).figure
    _, upper, lower = figure.axes
    assert upper.lines[0].get_ydata()[0] == frame["ns_per_event"].iloc[0]
    assert len(lower.patches) == 3
    with pytest.raises(ValueError, match="limit_ns_per_event"):
        figures.plot_event_time(frame.drop(columns="limit_ns_per_event"))

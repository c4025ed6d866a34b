"""What is said while runs and sweeps go on, on a plain stream and on a terminal."""

import io

import pytest
from rich.console import Console

from bsd.runs.cli import progress
from bsd.runs.cli.progress import RunProgress, SweepProgress


@pytest.fixture(params=[False, True], ids=["plain", "terminal"])
def console(request):
    return Console(file=io.StringIO(), force_terminal=request.param, width=120)


def said(console):
    return console.file.getvalue()


def test_a_warning_is_said_at_once(console):
    with RunProgress(console) as shown:
        shown.update("seed 3", "run", 10, 100, "")
        before = said(console)
        shown.update("seed 3", "warning", 0, 0, "the weights W1 have exploded [1] in epoch 2")
        new = said(console)[len(before) :]
    assert "warning" in new and "seed 3: the weights W1 have exploded [1] in epoch 2" in new


def test_time_left_of_a_run(console, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with RunProgress(console) as shown:
        shown.update("all", "run", 0, 100, "")
        now[0] += 10
        shown.update("all", "run", 20, 100, "accuracy 0.50")
        if not console.is_terminal:
            assert "trials 20/100, 2/s, 40 s left accuracy 0.50" in said(console)
        shown.update("all", "run", 100, 100, "")
    assert "trials" in said(console) and "100/100" in said(console)


def test_time_left_of_a_sweep(console, monkeypatch):
    """A run that is half done counts as half; what fails counts as over."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with SweepProgress(console) as shown:
        shown.update(0, 0, 10, {"0-0": ("compile", 1, 3)})
        now[0] = 100.0
        shown.update(1, 1, 10, {"1-0": ("run", 50, 100)})
        if console.is_terminal:
            shown._bars.refresh()
    assert "2/10, 1 failed, 5 min left" in said(console)  # 7.5 of 10 to go, 40 s each

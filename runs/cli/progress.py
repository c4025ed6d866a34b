"""Progress of runs and sweeps on the terminal: bars where there is one, else lines."""

import time

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bsd.runs.interrupts import check_interrupt

__all__ = ["RunProgress", "SweepProgress"]

STAGES = {
    "start": "starting",
    "generate": "generating code",
    "compile": "compiling",
    "run": "trials",
}


class _Rate(ProgressColumn):
    def render(self, task):
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


class RunProgress:
    """Bars, one per run and stage; on a plain stream a line every few seconds.

    Parameters
    ----------
    console : rich.console.Console
    interval_s : float
        Between two lines on a plain stream.
    """

    def __init__(self, console, interval_s=5.0):
        self._console = console
        self._interval_s = interval_s
        self._tasks = {}
        self._started = {}
        self._said = {}
        self._bars = None
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
                console=console,
            )

    def __enter__(self):
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_):
        if self._bars:
            self._bars.stop()

    def update(self, run, stage, done, total, text):
        """Take one event of `bsd.runs.experiments.run_many`."""
        check_interrupt()
        if stage in ("note", "warning"):
            style = "yellow" if stage == "warning" else ""
            self._console.print(
                Text.assemble((f"{stage}: ", style), f"{run}: {text}"), soft_wrap=True
            )
            return
        key = (run, stage)
        label = STAGES[stage] if run == "all" else f"{run}: {STAGES[stage]}"
        if self._bars:
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task(label, total=total, text="")
            self._bars.update(self._tasks[key], completed=int(done), total=total, text=text)
            return
        now = time.monotonic()
        start = self._started.setdefault(key, now)
        if now - self._said.get(key, -1e9) < self._interval_s and done < total:
            return
        if self._said.get(key) is not None and self._said.get((*key, "end")):
            return
        self._said[key] = now
        if done >= total:
            self._said[(*key, "end")] = True
        rate = done / (now - start) if now > start and done else 0
        left = ""
        if rate and done < total:
            left = f", {rate:.0f}/s, {(total - done) / rate:.0f} s left"
        self._console.print(
            f"{label} {int(done)}/{total}{left} {text}".rstrip(), highlight=False, soft_wrap=True
        )


class SweepProgress:
    """A bar for the whole sweep and one for each run under way; on a plain stream, lines.

    Parameters
    ----------
    console : rich.console.Console
    interval_s : float
        Between two lines on a plain stream, unless a run ends.
    """

    def __init__(self, console, interval_s=30.0):
        self._console = console
        self._interval_s = interval_s
        self._first = None
        self._said = -1e9, -1
        self._tasks = {}
        self._bars = None
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"),
                console=console,
            )
            self._whole = self._bars.add_task("runs", total=1, text="")

    def __enter__(self):
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_):
        if self._bars:
            self._bars.stop()

    def update(self, done, failed, total, running):
        """Take one report of `bsd.runs.sweeps.run_sweep`."""
        check_interrupt()
        now, over = time.monotonic(), done + failed
        shares = {name: (n / of if stage == "run" else 0) for name, (stage, n, of) in
                  running.items()}
        reached = over + sum(shares.values())
        self._first = self._first or (now, reached)
        gained, spent = reached - self._first[1], now - self._first[0]
        text = f"{over}/{total}" + (f", {failed} failed" if failed else "")
        if gained > 0 and over < total:
            text += f", {_duration(spent * (total - reached) / gained)} left"
        if not self._bars:
            if over > self._said[1] or now - self._said[0] > self._interval_s:
                self._said = now, over
                self._console.print(f"runs {text}", highlight=False, soft_wrap=True)
            return
        self._bars.update(self._whole, completed=reached, total=total, text=text)
        for name in [name for name in self._tasks if name not in running]:
            self._bars.remove_task(self._tasks.pop(name))
        for name, (stage, n, of) in running.items():
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=1, text="")
            self._bars.update(self._tasks[name], completed=n / of, text=STAGES[stage])


def _duration(seconds):
    """Rounded to what one wants to know of it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

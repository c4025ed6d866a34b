"""Progress of runs on the terminal: bars where there is one, lines where there is not."""

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

__all__ = ["RunProgress"]

STAGES = {"generate": "generating code", "compile": "compiling", "run": "trials"}


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

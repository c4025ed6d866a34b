"""Tables and equations on a terminal: experiment, model description, plausibility audit."""

import inspect

from rich import box
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bsd.networks.audit import CRITERIA
from bsd.runs.experiments.presets import READERS

__all__ = ["render_audit", "render_description", "render_experiment"]

#: Columns whose text may be broken over lines.
_LONG = ("meaning and source", "holds", "learns_by", "runs")

_COLOURS = {"pass": "green", "fail": "bold red", "note": "dim"}


def render_experiment(experiment, console):
    """Print what an experiment runs, and the options of its data.

    Parameters
    ----------
    experiment : bsd.runs.experiments.Experiment
    console : rich.console.Console
    """
    _print_rule(console, "Experiment")
    rows = {
        "name": f"{experiment.name}, {experiment.description}",
        "data": experiment.data,
        "epochs": experiment.epochs,
    }
    if experiment.folds > 1:
        rows["folds"] = experiment.folds
    if experiment.shift:
        rows["shift (pixels)"] = experiment.shift
    if experiment.is_sequence:
        rows["segment"] = experiment.segment
    rows |= {f"data.{key}": value for key, value in experiment.data_options.items()}
    for name, value in rows.items():
        _print_line(console, f"{name:<18}{value}")
    if experiment.has_options:
        doc = inspect.getdoc(READERS[experiment.data])
        about = doc.split("Parameters\n----------\n")[1].split("\n\nReturns")[0]
        _print_line(console, about.removesuffix("\nname : str"), style="dim")
    console.print()


def render_description(description, console):
    """Print a model description.

    Parameters
    ----------
    description : ModelDescription
        From `bsd.networks.describe.describe`.
    console : rich.console.Console
    """
    _print_rule(console, "Model")
    for name, value in description.summary.items():
        _print_line(console, f"{name.replace('_ms', ' (ms)'):<18}{value}")
    _print_table(console, "Populations", description.populations)
    projections = description.projections.drop(columns=["object", "plastic"])
    _print_table(console, "Projections", projections)
    _print_table(console, "Interneurons", description.interneurons)
    _print_equations(console, description.equations)
    _print_table(console, "Parameters", _with_source(description.parameters))
    _print_table(console, "Schedule of a time step", _by_slot(description.schedule))


def render_audit(audit, name, console):
    """Print a plausibility audit.

    Parameters
    ----------
    audit : bsd.networks.Audit
    name : str
        Experiment.
    console : rich.console.Console
    """
    table = Table(title=f"Plausibility of {name}", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("", "check", "verdict", "evidence"):
        table.add_column(column, overflow="fold", ratio={"check": 1, "evidence": 3}.get(column))
    for criterion, rows in audit.table.groupby("criterion", sort=False):
        verdict = audit.verdicts.get(criterion, "")
        title = CRITERIA.get(criterion, "what else a biologist would object to")
        mark = Text(verdict.upper(), style=_COLOURS.get(verdict, ""))
        table.add_row(Text(criterion if verdict else "", style="bold"), Text(title, style="bold"),
                      mark, "")
        for row in rows.itertuples():
            mark = Text(row.verdict, style=_COLOURS[row.verdict])
            table.add_row("", Text(row.check), mark, Text(row.evidence))
        table.add_section()
    console.print(table)


def _with_source(parameters):
    about = parameters["meaning"] + " [" + parameters["source"] + "]"
    table = parameters.assign(**{"meaning and source": about})
    return table.drop(columns=["meaning", "source"])


def _by_slot(schedule):
    """One row per slot and clock, what runs in it line by line."""
    runs = schedule["object"] + ": " + schedule["what"] + " " + schedule["name"]
    # the name of code starts with its object
    runs = runs.where(schedule["what"] != "code", schedule["name"])
    table = schedule.assign(runs=runs).groupby(["slot", "clock_ms"], sort=False)["runs"]
    return table.agg("\n".join).reset_index().rename(columns={"clock_ms": "every (ms)"})


def _print_table(console, title, frame):
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE, padding=(0, 1, 0, 0)
    )
    for column in frame.columns:
        heading = column.replace("_", " ")
        # short columns stay whole, long ones take what is left of the line
        longest = max([*map(len, heading.split()), *(len(_cell(v)) for v in frame[column])])
        table.add_column(
            heading,
            justify="right" if frame[column].dtype.kind in "if" else "left",
            min_width=None if column in _LONG else longest,
            overflow="fold",
        )
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(_cell(value)) for value in row))
    console.print()
    console.print(table)


def _cell(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _print_equations(console, frame):
    for name, rows in frame.groupby("object", sort=False):
        console.print()
        _print_rule(console, f"Equations: {name}")
        for row in rows.itertuples():
            heading = f"{row.what} {row.name}".strip()
            if row.slot:
                heading += f", in slot {row.slot!r} every {row.clock_ms:g} ms"
            if row.strings:
                heading += f" [{row.strings}]"
            _print_line(console, heading, style="italic")
            for line in row.text.splitlines():
                _print_line(console, f"    {line}", style="cyan")


def _print_rule(console, title):
    console.print(Rule(Text(title, style="bold"), align="left"))


def _print_line(console, text, style=""):
    # a line wider than the terminal is better than a broken equation
    console.print(Text(text, style=style), soft_wrap=True)

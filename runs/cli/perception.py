"""Commands for experiments of perception and recall on the results folder of a run."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bsd.equations.errors import InputError
from bsd.runs.cli.app import app, console

Folder = Annotated[Path, typer.Argument(help="Results folder of a finished run.")]
Device = Annotated[str, typer.Option(help="cpp, cuda or runtime")]
Replica = Annotated[int | None, typer.Option(help="Which network of a cohort.")]
Seed = Annotated[
    int | None, typer.Option(help="Of spikes, noise and masks; that of the run by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Last line: one JSON object.")]


#: Experiments whose commands take nothing but what all take: command, experiment, help.
_PLAIN = (
    ("recall", "recall",
     "Recall every concept many times with spike noise; does a classifier recognise them?"),
    ("complete", "completion",
     "Perceive and recall occluded, noisy and blurred stimuli, without any label."),
    ("imagery", "imagery",
     "Compare the activity of concepts perceived and imagined, layer by layer."),
    ("ambiguity", "ambiguity",
     "Blend two stimuli or two concepts: percept, recall, decision time."),
    ("generate", "generation",
     "Of an autoencoder: reconstruct, decode random codes, go from one code to another."),
)


def _add_command(name, experiment, about):
    @app.command(name, help=about)
    def command(
        folder: Folder, device: Device = "cpp", seed: Seed = None, replica: Replica = None,
        as_json: AsJson = False,
    ):
        _perform(experiment, folder, as_json, replica, device=device, seed=seed)


for _command in _PLAIN:
    _add_command(*_command)


@app.command()
def lesions(
    folder: Folder,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Before learning, too: train new networks briefly.")
    ] = False,
    device: Device = "cpp",
    seed: Seed = None,
    replica: Replica = None,
    as_json: AsJson = False,
):
    """Silence cells, block dendrites and interneurons, cut feedback, scale synapses."""
    _perform("lesions", folder, as_json, replica, device=device, seed=seed, retrain=retrain)


@app.command()
def statistics(
    folder: Folder,
    device: Device = "cpp",
    seed: Seed = None,
    replica: Annotated[
        int | None, typer.Option(help="Which network of a cohort, by default all of them.")
    ] = None,
    as_json: AsJson = False,
):
    """Firing statistics of perception and imagery in long trials; energy of the run."""
    _perform("statistics", folder, as_json, replica, every=True, device=device, seed=seed)


@app.command()
def dynamics(folder: Folder, as_json: AsJson = False):
    """How alignment, rates and weights went while the network learned; simulates nothing."""
    from bsd.runs.experiments import perception

    _write(perception.dynamics(folder), folder, as_json)


def _perform(name, folder, as_json, replica, every=False, **options):
    """Do an experiment on one network or, with `every`, on all replicas of a cohort."""
    from bsd.runs.cli.progress import RunProgress
    from bsd.runs.experiments import open_cohort, open_run, perception

    if (options["seed"] or 0) < 0:
        raise InputError(f"--seed {options['seed']}: give a whole number that is not negative.")
    all_of_them = every and replica is None
    trained = open_cohort(folder) if all_of_them else open_run(folder, replica)
    with RunProgress(console) as progress:
        options["progress"] = lambda *event: progress.update("all", *event, "")
        study = getattr(perception, name)(trained, **options)
    _write(study, folder, as_json)


def _write(study, folder, as_json):
    from bsd.analysis.report import write_report
    from bsd.runs.experiments import perception

    console.print("drawing figures, writing the report")
    summary = perception.save(folder, study, shlex.join(["bsd", *sys.argv[1:]]))
    try:
        report = write_report(folder)
    except ValueError as error:
        raise InputError(str(error)) from None
    _show(summary)
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
    if as_json:
        print(json.dumps(summary, default=float))


def _show(summary):
    """Print tables, and then the values that stand alone."""
    alone, tables = _sorted(summary)
    for title, rows in tables:
        _print_table(title, rows)
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for key, value in alone.items():
        table.add_row(_words(key), _text(value))
    console.print(table)


def _sorted(summary):
    """Values that stand alone, and tables: title and values by row and column."""
    alone, tables, flat = {}, [], []
    for key, value in summary.items():
        if not isinstance(value, dict):
            alone[key] = value
        elif any(isinstance(inner, dict) for inner in value.values()):
            tables.append((key, value))
        else:
            # measures of the same things are the rows of one table
            for rows in flat:
                if any(value.keys() & other.keys() for other in rows.values()):
                    rows[key] = value
                    break
            else:
                flat.append({key: value})
    if len(tables) > 1 and len(tables) >= len(tables[0][1]):
        tables = _exchanged(tables)
    return alone, tables + [("", _by_layer(rows)) for rows in flat]


def _exchanged(tables):
    """The many titles as rows of few tables, for example one row for each layer."""
    titles = dict.fromkeys(row for _, rows in tables for row in rows)
    return [
        (title, {name: rows[title] for name, rows in tables if title in rows})
        for title in titles
    ]


def _by_layer(rows):
    """First and last values of quantities: a row for each layer, population or projection."""
    names = dict.fromkeys(name for values in rows.values() for name in values)
    if not all(isinstance(value, list) for values in rows.values() for value in values.values()):
        return rows
    return {
        f"layer {name}" if name.isdigit() else name: {
            quantity: values[name] for quantity, values in rows.items() if name in values
        }
        for name in names
    }


def _print_table(title, rows):
    """Print a table, its columns in several parts if they are too wide for the terminal."""
    columns = list(dict.fromkeys(column for values in rows.values() for column in values))
    cells = {
        column: [_text(values[column]) if column in values else "" for values in rows.values()]
        for column in columns
    }
    names = [_words(name) for name in rows]
    room = console.width - max(map(len, names)) - 4
    parts, left = [[]], room
    for column in columns:
        width = 3 + max(map(len, [*cells[column], *_words(column).split()]))
        if parts[-1] and width > left:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= width
    for part in parts:
        table = Table(title=_words(title) or None, title_justify="left")
        table.add_column(overflow="fold")
        for column in part:
            table.add_column("\n".join(_words(column).split()), justify="right", no_wrap=True)
        for number, name in enumerate(names):
            table.add_row(name, *(cells[column][number] for column in part))
        console.print(table)


def _words(key):
    return key.replace("_", " ")


def _text(value):
    if isinstance(value, list):
        return " → ".join(map(_text, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)

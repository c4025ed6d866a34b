"""Commands and their options."""

import errno
import json
import math
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bsd.equations.errors import InputError
from bsd.runs.cli import options
from bsd.runs.cli.bench import bench
from bsd.runs.interrupts import listen_for

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Bidirectional spike-based distillation: a spiking network that perceives and recalls.",
)
app.add_typer(bench, name="bench")
console = Console(stderr=True)

#: Errors of a forecast, which say more of it than the share of right bins does.
FORECAST_MEASURES = {
    "mse": "forecast, mean squared error (squared SDs)",
    "mse_persistence": "persistence, the same",
    "mse_seasonal": "seasonal persistence, the same",
    "mse_seasonal_change": "seasonal change, the same",
    "mse_mean": "training mean, the same",
}

#: What stands beside the accuracy on a text; what autoencoders measure in its place.
OTHER_MEASURES = {
    "trigram_accuracy": "accuracy of a trigram model",
    "reconstruction_mse": "reconstruction, mean squared error",
    "reconstruction_ssim": "reconstruction, structural similarity",
    "reconstruction_r": "reconstruction, r with the stimulus",
    "reconstruction_r_drive": "the same by basal drive",
}

#: An exported program holds all of its trials at once.
MAX_EXPORT_GB = 4

Name = Annotated[str, typer.Argument(help="Experiment, see `bsd list`.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a parameter: cell.tau_soma=10*ms"),
]
Layers = Annotated[str | None, typer.Option(help="Hidden widths, for example 512,512.")]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary", metavar="KEY=VALUE,VALUE,...",
        help="A parameter of each replica of a cohort: learning.lam=0.5,1,2",
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training stimuli.")]


def main():
    """Entry point: user errors become one line and exit code 2, failures one and exit code 1."""
    listen_for(signal.SIGINT, signal.SIGTERM)
    try:
        if app(standalone_mode=False) == 130:  # what typer makes of an interrupt
            raise KeyboardInterrupt
    except (InputError, typer.BadParameter) as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        called = sys.argv[1:3]
        hint = ""
        if called[:1] in (["run"], ["sweep"], ["bench"]):
            more = called[:1] == ["run"] or called == ["bench", "speed"]
            hint = ": go on with the same command" + " and --resume" * more
            if "--overwrite" in sys.argv:
                hint += " in place of --overwrite"
        console.print(f"[yellow]interrupted[/]{hint}")
        sys.exit(130)
    except OSError as error:
        _fail(_explained(error), code=1)
    except (RuntimeError, MemoryError) as error:
        _fail(str(error) or "out of memory: use smaller --layers", code=1)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")):
            _fail(error.format_message() if hasattr(error, "format_message") else str(error))
        raise


def _explained(error):
    """What failed on which file, and for a full disk what to do."""
    text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        text += ": make room ($TMPDIR moves temporary files); a run goes on with --resume"
    return text


def _fail(text, code=2):
    line = Text.assemble(("error: ", "red"), " ".join(text.split()))
    console.print(line, highlight=False, soft_wrap=True)
    sys.exit(code)


def _changed(name, assignments, layers, epochs, vary=None, spikes=None):
    from bsd.runs.experiments import experiment
    from bsd.runs.literals import parse_assignment

    return experiment(name).changed(
        hidden=None if layers is None else options.whole_numbers("--layers", layers),
        epochs=epochs,
        assignments=dict(parse_assignment(text) for text in assignments or []),
        varied=dict(_values(text) for text in vary or []),
        spikes=spikes,
    )


def _values(text):
    """A parameter and its values, one for each replica."""
    from bsd.runs.literals import parse_assignment

    key, _, values = text.partition("=")
    pairs = [parse_assignment(f"{key}={value}") for value in values.split(",")]
    return pairs[0][0], tuple(value for _, value in pairs)


@app.command()
def run(
    name: Name,
    set_: Set = None,
    layers: Layers = None,
    epochs: Epochs = None,
    seed: Annotated[str, typer.Option(help="Seed, or several: 0,1,2")] = "0",
    replicas: Annotated[
        int | None,
        typer.Option(
            help="Simulate a cohort of so many networks together, with the seeds given by --seed, "
            "or with the first one given and those that follow it."
        ),
    ] = None,
    vary: Vary = None,
    device: Annotated[str, typer.Option(help="cpp, cuda or runtime")] = "cpp",
    out: Annotated[Path | None, typer.Option(help="Results folder.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the run that the folder holds.")] = False,
    spikes: Annotated[
        str, typer.Option(help="Keep the spikes of a few trials, or of all: few or all")
    ] = "few",
    as_json: Annotated[bool, typer.Option("--json", help="Last line: one JSON object.")] = False,
):
    """Train, test and recall; write a results folder with figures and report.html."""
    from bsd.runs.cli.progress import RunProgress
    from bsd.runs.experiments import run_many, summarise

    chosen = _changed(name, set_, layers, epochs, vary, spikes)
    seeds = options.seeds("--seed", seed)
    if resume and overwrite:
        raise InputError("--resume goes on with a run, --overwrite replaces it: give one of them.")
    if chosen.varied and replicas is None:
        raise InputError("--vary gives each replica of a cohort a value: add --replicas.")
    if replicas is not None:
        if replicas < 1 or len(seeds) not in (1, replicas):
            raise InputError(
                f"--replicas {replicas} --seed {seed}: give a positive number of replicas, and one "
                "seed or one for each."
            )
        seeds = seeds if len(seeds) == replicas else [seeds[0] + r for r in range(replicas)]
    out = out or Path("results") / name
    command = shlex.join(["bsd", *sys.argv[1:]])
    with RunProgress(console) as progress:
        metrics = run_many(
            chosen, out, seeds=seeds, cohort=replicas is not None, device=device, resume=resume,
            overwrite=overwrite, progress=progress.update, command=command,
        )
    summary = summarise(metrics, out)
    reports = _reports(metrics)
    _show_summary(summary, metrics, reports)
    if as_json:
        print(json.dumps(summary))


def _reports(metrics):
    from bsd.analysis.report import write_report

    console.print("drawing figures, writing the report")
    try:
        return [write_report(folder) for folder in metrics["out"].unique()]
    except ValueError as error:
        raise InputError(str(error)) from None


def _show_summary(summary, metrics, reports):
    table = Table(title=f"{summary['name']}: {' - '.join(map(str, summary['layers']))}")
    table.add_column("measure")
    table.add_column("value", justify="right")
    over = f" (SD over {len(summary['seeds'])} seeds)"
    sd, mse_sd = summary["accuracy_sd"], summary.get("mse_sd")
    spread = "" if sd is None else f" ± {100 * sd:.2f}{over}"
    for key, label in FORECAST_MEASURES.items():
        if key in summary:
            own = f" ± {mse_sd:.4f}{over}" if key == "mse" and mse_sd is not None else ""
            table.add_row(label, f"{summary[key]:.4f}{own}")
    if summary["accuracy"] is not None:
        table.add_row("test accuracy, output spikes", f"{100 * summary['accuracy']:.2f} %{spread}")
        table.add_row(
            "test accuracy, output voltages", f"{100 * summary['accuracy_voltage']:.2f} %"
        )
    for key, label in OTHER_MEASURES.items():
        if key in summary:
            own_sd = summary.get(f"{key}_sd")
            table.add_row(
                label, f"{summary[key]:.4f}" + ("" if own_sd is None else f" ± {own_sd:.4f}{over}")
            )
    if summary["recall_correlation"] is not None:
        table.add_row(
            "recalled stimulus, r with class mean", f"{summary['recall_correlation']:.3f}"
        )
    table.add_row("computing time per training trial", f"{summary['ms_per_trial']:.2f} ms")
    table.add_row("peak memory, simulation and Python", f"{summary['peak_mb']:.0f} MB")
    table.add_row("compile", f"{summary['build_s']:.1f} s")
    table.add_row("trials", f"{summary['trials']:,}")
    Console().print(table)
    if varied := [name for name in metrics if "." in name]:
        measured = ["accuracy", "recall_correlation", *FORECAST_MEASURES, *OTHER_MEASURES]
        measured = [name for name in measured if summary.get(name) is not None]
        each = Table("replica", *varied, *measured, title="the values that were varied")
        for row in metrics.to_dict("records"):
            each.add_row(
                str(row["replica"]), *(row[name] for name in varied),
                *(f"{row[name]:.4f}" for name in measured),
            )
        Console().print(each)
    if "reference" in metrics:
        from bsd.analysis.sequences import SIMPLE

        series, reference = metrics.iloc[0][["series", "reference"]]
        Console().print(
            f"{series}; corrected by the network: {SIMPLE[reference]}",
            soft_wrap=True, highlight=False, markup=False,
        )
    if "source" in metrics:
        Console().print(
            metrics.iloc[0]["source"], soft_wrap=True, highlight=False, markup=False
        )
    if n := len(summary["warnings"]):
        console.print(f"[yellow]{n} warning{'s' if n > 1 else ''}[/], see the report")
    for report in reports[:1]:
        Console().print(f"report: {report}", soft_wrap=True, highlight=False)
    if len(reports) > 1:
        Console().print(f"and {len(reports) - 1} more, one per run, in {summary['out']}")


@app.command("list")
def list_():
    """Experiments that can be run, and sweeps."""
    from bsd.runs.experiments import PRESETS
    from bsd.runs.sweeps import SHIPPED, read_sweep

    head = ("experiment", "data", "hidden", "epochs", "expected accuracy and time")
    _listing(head, {
        (p.name, p.data, _widths(p.hidden), str(p.epochs), p.expected): p.description
        for p in PRESETS.values()
    })
    sweeps = [read_sweep(name) for name in SHIPPED]
    _listing(("sweep", "experiment", "points", "seeds"), {
        (name, s.base.name, str(len(s.points)), ", ".join(map(str, s.seeds))): s.description
        for name, s in zip(SHIPPED, sweeps, strict=True)
    })


def _widths(hidden):
    """Hidden widths in few characters."""
    if len(hidden) > 2 and len(set(hidden)) == 1:
        return f"{len(hidden)} x {hidden[0]}"
    return "-".join(map(str, hidden))


def _listing(head, entries):
    """Print rows in columns, each with a line about it."""
    console = Console()
    widths = [max(map(len, column)) + 2 for column in zip(head, *entries, strict=True)]

    def line(cells, style):
        padded = "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        console.print(Text(padded.rstrip(), style), soft_wrap=True)

    line(head, "dim")
    for cells, about in entries.items():
        line(cells, "bold")
        console.print(Padding(Text(about), (0, 0, 0, 4)))
    console.print()


@app.command()
def show(name: Name, set_: Set = None, layers: Layers = None):
    """The model of an experiment: populations, projections, equations, parameters."""
    from bsd.networks import describe
    from bsd.runs.cli.show import render_description, render_experiment

    console = Console()
    chosen = _changed(name, set_, layers, None)
    network = _network(chosen)
    render_experiment(chosen, console)
    render_description(describe(network), console)


@app.command()
def audit(
    name: Name,
    set_: Set = None,
    layers: Layers = None,
    results: Annotated[
        Path | None, typer.Option(help="Results folder of a run: audit its trained weights.")
    ] = None,
    replica: Annotated[
        int | None, typer.Option(help="Which network of a cohort, with --results.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Last line: one JSON object.")] = False,
):
    """Is it biologically plausible? The paper's five criteria, checked on the Brian2 objects.

    Exit code 1 if a criterion fails.
    """
    from bsd.networks import audit as audit_network
    from bsd.runs.cli.show import render_audit
    from bsd.runs.experiments import learned_weights

    if results is None and replica is not None:
        raise InputError(f"--replica {replica}: say of which cohort with --results.")
    network = _network(_changed(name, set_, layers, None))
    weights = None if results is None else learned_weights(results, replica, network=network)
    found = audit_network(network, weights)
    render_audit(found, name, Console())
    if as_json:
        print(json.dumps({"name": name, "passed": found.passed, **found.verdicts}))
    if not found.passed:
        sys.exit(1)


def _network(chosen):
    """The network of an experiment; data without options need not be here."""
    from bsd.networks import BidirectionalNetwork
    from bsd.runs.data import available

    if chosen.has_options:
        from bsd.runs.experiments.run import build_network, load_data

        return build_network(chosen, load_data(chosen, 0))
    data_set = available().set_index("name").loc[chosen.data]
    n_pixels = math.prod(map(int, data_set["shape"].split("x")))
    layers = chosen.layers(n_pixels, int(data_set["classes"]))
    return BidirectionalNetwork(layers, chosen.parameters)


@app.command()
def data():
    """Data sets: which are here, where they are, how to get the others."""
    from bsd.runs.data import available, data_directory

    sets, console = available(), Console()
    table = Table(title=f"data directory: {data_directory()}")
    for column in ("name", "here", "images", "shape", "licence", "where"):
        table.add_column(column, overflow="fold")
    for row in sets.itertuples():
        table.add_row(
            row.name, "yes" if row.here else "no", str(row.images), str(row.shape), row.licence,
            str(row.where or ""),
        )
    console.print(table)
    for row in sets[~sets["here"].astype(bool)].itertuples():
        console.print(Text(f"How to get {row.name}:", "bold"))
        console.print(Padding(Text(str(row.how_to_get)), (0, 0, 0, 4)))


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="New folder for the project.")],
    device: Annotated[str, typer.Option(help="cpp or cuda")] = "cpp",
    compute_capability: Annotated[
        str | None, typer.Option(help="Of the GPU, for --device cuda: 9.0, for example.")
    ] = None,
    set_: Set = None,
    layers: Layers = None,
    epochs: Epochs = None,
    seed: Annotated[int, typer.Option()] = 0,
):
    """Write a C++ or CUDA project that builds with make and runs without Python."""
    from bsd.runs.engine.export import export_cpp, export_cuda
    from bsd.runs.experiments.run import build_network, experiment_table, load_data

    if seed < 0:
        raise InputError(f"--seed {seed}: give a whole number that is not negative.")
    if device not in ("cpp", "cuda"):
        raise InputError(f"--device {device}: use --device cpp or --device cuda.")
    if (device == "cuda") != (compute_capability is not None):
        raise InputError(
            "--compute-capability says what GPU --device cuda is for, such as 9.0 (H100, H200): "
            "give both or neither."
        )
    chosen = _changed(name, set_, layers, epochs)
    dataset = load_data(chosen, 0)
    table = experiment_table(chosen, dataset, seed)
    network = build_network(chosen, dataset, capacity=len(table))
    layout = network.layout
    gigabytes = len(table) * (8 * layout.n_cells + 12 * layout.n_afferents) / 1e9
    if gigabytes > MAX_EXPORT_GB:
        raise InputError(
            f"export: {len(table)} trials in one program would take about {gigabytes:.0f} GB of "
            f"memory (at most {MAX_EXPORT_GB}): use fewer with --epochs, or `bsd run`."
        )
    if device == "cuda":
        folder = export_cuda(network, dataset, table, out, compute_capability, seed)
    else:
        folder = export_cpp(network, dataset, table, out, seed)
    Console().print(f"{folder}: build and run it with make -C {folder} run", soft_wrap=True)


@app.command()
def sweep(
    file: Annotated[str, typer.Argument(help="YAML file, or a sweep that `bsd list` shows.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Use the cluster of a Dask scheduler.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Local processes, by default as many as there are cores.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Last line: one JSON object.")] = False,
):
    """Run an experiment at many points of its parameters; the same command goes on."""
    from bsd.runs.cli.progress import SweepProgress
    from bsd.runs.sweeps import read_sweep, run_sweep

    if workers is not None and (workers < 1 or scheduler is not None):
        raise InputError(
            f"--workers {workers}: give a positive number of local processes, without --scheduler."
        )
    chosen = read_sweep(file)
    out = out or Path("results") / chosen.name
    with SweepProgress(console) as progress:
        frame = run_sweep(
            chosen, out, scheduler=scheduler, workers=workers, progress=progress.update
        )
    failed = int((frame["status"] != "done").sum())
    try:
        if failed < len(frame):
            report(out)
    finally:  # what was measured does not depend on figures
        if as_json:
            print(json.dumps(_sweep_summary(chosen, frame, out)))
    if failed:
        raise RuntimeError(
            f"{failed} of {len(frame)} runs failed, see {out / 'logs'}: the same command tries "
            "them again."
        )


def _sweep_summary(chosen, frame, out):
    import pandas as pd

    from bsd.analysis.sweeps import main_measure, point_means

    main = main_measure(frame)
    means = point_means(frame, main) if (frame["status"] == "done").any() else frame.iloc[:0]
    return {
        "name": chosen.name,
        "runs": len(frame),
        "failed": int((frame["status"] != "done").sum()),
        "seeds": list(chosen.seeds),
        "points": [
            {
                "label": row.label,
                "factor": row.factor,
                main: None if pd.isna(row.mean) else row.mean,
                f"{main}_sd": row.sd if row.n_seeds > 1 else None,
            }
            for row in means.itertuples()
        ],
        "out": str(out),
    }


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="Results folder of a run or sweep, or exported project.")
    ],
):
    """Draw the figures of a results folder again and write its report.html."""
    from bsd.analysis.report import write_report
    from bsd.analysis.sweep_report import write_sweep_report
    from bsd.runs.engine.export import write_results

    if (folder / "manifest.json").exists():
        folder = write_results(folder)
    write = write_sweep_report if (folder / "results.parquet").exists() else write_report
    try:
        path = write(folder)
    except ValueError as error:
        raise InputError(str(error)) from None
    Console().print(f"report: {path}", soft_wrap=True, highlight=False)

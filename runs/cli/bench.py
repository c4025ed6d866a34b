"""The benchmarks of the command line."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bsd.equations.errors import InputError
from bsd.runs.cli import options

__all__ = ["bench"]

bench = typer.Typer(no_args_is_help=True, help="Speed and learning, beside PyTorch.")
console = Console(stderr=True)

Out = Annotated[Path | None, typer.Option(help="Folder for table and figure.")]
Json = Annotated[bool, typer.Option("--json", help="Last line: one JSON object.")]
#: Wide tables are not cut where standard output is no terminal.
WIDTH = 132


def _torch_python():
    """A Python with PyTorch, or None and a line that says how to get one."""
    from bsd.runs.bench.torch_process import HOW_TO_GET, find_torch_python

    python = find_torch_python()
    if python is None:
        console.print(HOW_TO_GET, soft_wrap=True, highlight=False)
    return python


def _print_table(table):
    Console(width=max(Console().width, WIDTH)).print(table)


@bench.command()
def speed(
    layers: Annotated[
        str | None,
        typer.Option(help="This network only: hidden widths 512,512, or whole 784-512-512-10."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpp, or cuda: cohorts on a GPU")] = "cpp",
    resume: Annotated[
        bool, typer.Option(help="Go on with the networks that a stopped call has not measured.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
):
    """Time and memory of building and simulating, beside PyTorch and the machine's limit."""
    from bsd.runs.bench.speed import (
        Case,
        cohort_cases,
        complete_cases,
        measure_speed,
        parse_layers,
        summary,
    )

    if device not in ("cpp", "cuda"):
        raise InputError(f"--device {device}: use --device cpp or cuda.")
    chosen = parse_layers(layers) if layers is not None else None
    if device == "cuda":
        cases = cohort_cases(chosen)
        _cohorts(cases, out or Path("results") / "bench-speed-cuda", resume, as_json)
        return
    if chosen:
        cases = [Case(chosen), Case(chosen, projection="synapses")]
    else:
        cases = complete_cases()
    out = out or Path("results") / "bench-speed"
    frame = _timed(measure_speed, cases, out / "speed.csv", resume, _torch_python())
    numbers = summary(frame)
    _save_speed(frame, numbers, out)
    _print_table(speed_table(frame))
    _print_torch(numbers)
    Console().print(f"table and figure: {out}", soft_wrap=True, highlight=False)
    if as_json:
        print(json.dumps(numbers))


def _cohorts(cases, out, resume, as_json):
    from bsd.analysis.figures import plot_cohorts
    from bsd.analysis.style import FittedFigure
    from bsd.runs.bench.speed import measure_cohorts
    from bsd.runs.engine.cuda import check_machine

    check_machine()
    path = out / "cohorts.csv"
    frame = _timed(measure_cohorts, cases, path, resume, device="cuda")
    frame.to_csv(path, index=False)
    plot_cohorts(frame, FittedFigure().subplots()).figure.savefig(out / "cohorts.png", dpi=150)
    _print_table(cohort_table(frame))
    Console().print(f"table and figure: {out}", soft_wrap=True, highlight=False)
    if as_json:
        known = frame.astype(object).where(frame.notna(), None)
        print(json.dumps({"rows": known.to_dict("records")}))


def _timed(measure, cases, path, resume, *torch_python, device="cpp"):
    """Rows of a measurement of speed, which are kept at `path` as they come."""
    from bsd.runs.bench.speed import settings
    from bsd.runs.cli.progress import RunProgress

    finished, save = _kept(path, settings(cases, *torch_python, device=device), anew=not resume)
    with RunProgress(console) as progress:
        return measure(
            cases, *torch_python, finished=finished, save=save, progress=progress.update
        )


def _kept(path, settings, *, anew=False):
    """Rows of an earlier call at `path` (none if `anew`), and a function that keeps rows there."""
    from bsd.runs.bench.learning import finished_rows
    from bsd.runs.engine.store import write_atomically, write_json

    finished = None if anew else finished_rows(path, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    if anew:
        path.unlink(missing_ok=True)
    write_json(path.with_name("settings.json"), settings)

    def save(rows):
        write_atomically(path, lambda file: rows.to_csv(file, index=False))

    return finished, save


def cohort_table(frame):
    """The table of `bsd bench speed --device cuda`.

    Parameters
    ----------
    frame : DataFrame
        Rows of `bsd.runs.bench.speed.measure_cohorts`.

    Returns
    -------
    rich.table.Table
    """
    columns = [
        ("network", "network", "{}"),
        ("device", "device", "{}"),
        ("replicas", "replicas", "{}"),
        ("syn. M", "synapses", "{:.2f}"),
        ("build s", "compile_s", "{:.1f}"),
        ("create s", "create_s", "{:.2f}"),
        ("train ms", "ms_per_training_trial", "{:.3f}"),
        ("test ms", "ms_per_test_trial", "{:.3f}"),
        ("trials / s", "trials_per_s", "{:.0f}"),
        ("/ one core", "speedup", "{:.1f}"),
        ("GPU MB", "device_mb", "{:.0f}"),
        ("kernels / step", "kernels_per_step", "{:.0f}"),
        ("copies / step", "copies_per_step", "{:.0f}"),
    ]
    table = Table(
        title=f"cohorts, {frame['steps'].iloc[0]} steps per trial; one core: the first row of each "
        "width",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    return _filled(table, columns, frame.assign(synapses=frame["synapses"] / 1e6))


def _filled(table, columns, frame):
    for heading, name, _ in columns:
        text = name in ("network", "projection", "device")
        table.add_column(heading, justify="left" if text else "right", no_wrap=text)
    known = frame.astype(object).where(frame.notna(), None)
    for row in known.to_dict("records"):
        table.add_row(
            *("" if row[name] is None else form.format(row[name]) for _, name, form in columns)
        )
    return table


def _save_speed(frame, numbers, out):
    from bsd.analysis.figures import plot_speed
    from bsd.analysis.style import FittedFigure

    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / "speed.csv", index=False)
    (out / "speed.json").write_text(json.dumps(numbers, indent=1))
    plot_speed(frame, FittedFigure().subplots()).figure.savefig(out / "speed.png", dpi=150)


def speed_table(frame):
    """The table of `bsd bench speed`.

    Parameters
    ----------
    frame : DataFrame
        From `bsd.runs.bench.speed.measure_speed`.

    Returns
    -------
    rich.table.Table
    """
    steps = frame["steps"].iloc[0]
    table = Table(
        title=f"one core, {steps} steps per trial, 20 output cells per concept, float32",
        caption="M: 1e6. events: spikes x basal targets, spikes arriving one to one, weights "
        "changed. further: for each event more than in the next smaller network. limit: a bare "
        "loop over the same weight rows.",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    columns = [
        ("network", "network", "{}"),
        ("projection", "projection", "{}"),
        ("syn. M", "synapses", "{:.2f}"),
        ("build s", "compile_s", "{:.1f}"),
        ("cached s", "compile_cached_s", "{:.2f}"),
        ("create s", "create_s", "{:.3g}"),
        ("s / M", "create_s_per_million", "{:.2g}"),
        ("train ms", "ms_per_training_trial", "{:.3g}"),
        ("test ms", "ms_per_test_trial", "{:.3g}"),
        ("events M", "events_per_trial", "{:.3g}"),
        ("event ns", "ns_per_event", "{:.3g}"),
        ("further ns", "ns_per_further_event", "{:.3g}"),
        ("limit ns", "limit_ns_per_event", "{:.3g}"),
        ("event / limit", "of_limit", "{:.1f}"),
        ("peak MB", "peak_mb", "{:.0f}"),
        ("bytes / syn.", "bytes_per_synapse", "{:.1f}"),
    ]
    shown = frame.assign(
        synapses=frame["synapses"] / 1e6, events_per_trial=frame["events_per_trial"] / 1e6
    )
    return _filled(table, columns, shown)


def _print_torch(numbers):
    if not numbers.get("torch_streaming_ms"):
        return
    table = Table(title=f"{numbers['network']}: training trial, the same core in turns")
    table.add_column("program")
    table.add_column("ms", justify="right")
    table.add_column("ours / theirs", justify="right")
    table.add_row("bsd, streaming", f"{numbers['ms_per_training_trial']:.3f}", "")
    for label, key, ratio in (
        ("PyTorch, the same rule, batch 1", "torch_streaming_ms", "ratio_torch_batch1"),
        ("PyTorch, batch-128 BSD", "torch_batch_bsd_ms", "ratio_torch_batch128"),
        ("PyTorch, batch-128 backpropagation", "torch_bp_ms", "ratio_torch_bp"),
    ):
        table.add_row(label, f"{numbers[key]:.3f}", f"{numbers[ratio]:.2f}")
    Console().print(table)


Data = Annotated[str, typer.Option(help="Experiment whose data and parameters are used.")]
Layers = Annotated[str | None, typer.Option(help="Hidden widths, for example 512,512.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training stimuli.")]
Seeds = Annotated[str, typer.Option(help="Seeds: 0,1,2")]
Train = Annotated[int | None, typer.Option(help="Use so many training stimuli.")]


Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As in `bsd run`.")
]


def _changed(name, layers, epochs, set_):
    """The experiment with the options' changes."""
    from bsd.runs.experiments import experiment
    from bsd.runs.literals import parse_assignment

    return experiment(name).changed(
        hidden=None if layers is None else options.whole_numbers("--layers", layers),
        epochs=epochs,
        assignments=dict(parse_assignment(text) for text in set_ or []),
    )


#: What baselines in PyTorch lack, and where it is off.
_LACKING = {"cutoff": 0, "context": 0, "concept_code": "blocks"}


def _on_images(data, layers, epochs, train, set_, lacking=tuple(_LACKING)):
    """The same, refused if it is a sequence or has what the baselines lack."""
    chosen = _changed(data, layers, epochs, set_)
    if chosen.is_sequence:
        raise InputError(f"--data {data} is a sequence: use `bsd bench sequence {data}`.")
    for name in lacking:
        value = _LACKING[name]
        if getattr(chosen.parameters.encoding, name) != value:
            raise InputError(
                f"encoding.{name}: the baselines in PyTorch do not have it: use --set "
                f"encoding.{name}={value}."
            )
    if train is not None and train < 1:
        raise InputError(f"--train {train}: give a positive whole number.")
    return chosen


def _of_concepts(data, layers, epochs, train, set_):
    """The same, refused if it is an autoencoder."""
    chosen = _on_images(data, layers, epochs, train, set_)
    if chosen.is_autoencoder:
        raise InputError(
            f"--data {data} is an autoencoder, which decides nothing: use `bsd bench generation "
            f"--data {data}`."
        )
    return chosen


def _measured(measure, chosen, seeds, path, n_train=None, methods=None, **grid):
    """Rows of a measurement, which are kept at `path` as they come; `grid` as of `comparison`."""
    from bsd.analysis.sequences import SIMPLE
    from bsd.runs.bench.learning import comparison
    from bsd.runs.cli.progress import RunProgress

    numbers = options.seeds("--seeds", seeds)
    finished, save = _kept(path, comparison(chosen, n_train, **grid))
    python = _torch_python()
    more = {"n_train": n_train, "methods": methods}
    more = {name: value for name, value in more.items() if value is not None}
    with RunProgress(console) as progress:
        rows = measure(
            chosen, numbers, torch_python=python, finished=finished, save=save,
            progress=progress.update, **more,
        )
    # what has no seed stands at the first one
    without_seed = rows["method"].isin(["training images", "trigram", *SIMPLE])
    asked = rows["seed"].isin(numbers) | without_seed
    if methods is not None:
        asked &= rows["method"].isin(methods)
    return rows[asked].reset_index(drop=True)


@bench.command()
def learning(
    data: Data,
    layers: Layers = None,
    epochs: Epochs = None,
    seeds: Seeds = "0,1,2",
    train: Train = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Only this one, again for more: streaming, bp, ...", metavar="NAME"),
    ] = None,
    set_: Set = None,
    out: Out = None,
    as_json: Json = False,
):
    """Accuracy beside backpropagation and other rules in PyTorch, on the same network.

    Stopped at any moment, the same command goes on with what is missing.
    """
    from bsd.runs.bench.learning import BASELINES, OWN, measure_learning, summarise_learning

    for name in method or ():
        if name not in [*OWN, *BASELINES]:
            known = "; ".join([*OWN, *BASELINES])
            raise InputError(f"--method {name}: give one of {known}.")
    out = out or Path("results") / f"bench-learning-{data}"
    path = out / "learning.csv"
    chosen = _of_concepts(data, layers, epochs, train, set_)
    curves = _measured(measure_learning, chosen, seeds, path, train, method or None)
    found = summarise_learning(curves)
    _save_learning(curves, found, out)
    _print_learning(chosen, found)
    Console().print(f"table and figure: {out}", soft_wrap=True, highlight=False)
    if as_json:
        print(json.dumps(found))


@bench.command()
def generation(
    data: Annotated[str, typer.Option(help="Experiment, an autoencoder.")] = "autoencoder",
    layers: Annotated[
        str | None, typer.Option(help="Hidden widths and the code's, for example 512,128.")
    ] = None,
    epochs: Epochs = None,
    seeds: Annotated[str, typer.Option(help="Seeds: 0,1,2")] = "0",
    train: Train = None,
    set_: Set = None,
    out: Out = None,
    as_json: Json = False,
):
    """Reconstructions and samples beside backpropagation, on the same layers to a code and back.

    Fréchet distances are taken in a small classifier that is trained here (no "FID"); they and the
    baseline need PyTorch. Stopped at any moment, the same command goes on with what is missing.
    """
    from bsd.analysis.generation import plot_generation
    from bsd.analysis.style import FittedFigure
    from bsd.runs.bench.generation import LARGEST_RATIO, measure_generation, summarise_generation

    out = out or Path("results") / f"bench-generation-{data}"
    path = out / "finished.csv"
    chosen = _on_images(data, layers, epochs, train, set_, lacking=("context", "concept_code"))
    encoding = chosen.parameters.encoding
    if encoding.contrast or encoding.receptive_field or chosen.data in ("cifar10", "svhn"):
        raise InputError(
            f"--data {data}: give grey images without encoding.contrast and "
            "encoding.receptive_field, which baseline and second stream do not have."
        )
    rows = _measured(measure_generation, chosen, seeds, path, train)
    found = summarise_generation(rows)
    rows.to_csv(out / "generation.csv", index=False)
    (out / "generation.json").write_text(json.dumps(found, indent=1))
    plot_generation(rows, FittedFigure().subplots()).figure.savefig(
        out / "generation.png", dpi=150
    )
    if "classifier_accuracy" not in found:
        console.print("without PyTorch: mean squared error and SSIM only", highlight=False)
    table = Table(title=f"{chosen.data}, {'-'.join(map(str, chosen.hidden))} and back")
    table.add_column("method", no_wrap=True)
    measures = {
        "mse": ("MSE", "{:.4f}"),
        "ssim": ("SSIM", "{:.3f}"),
        "frechet_reconstructed": ("Fréchet, reconstructions", "{:.2f}"),
        "frechet_sampled": ("Fréchet, samples", "{:.2f}"),
    }
    for heading, _ in measures.values():
        table.add_column(heading, justify="right")
    for method in rows["method"].unique():
        values = [(found.get(name, {}).get(method), form) for name, (_, form) in measures.items()]
        table.add_row(method, *("" if v is None else form.format(v) for v, form in values))
    _print_table(table)
    for kind in ("reconstructed", "sampled"):
        for baseline, ratios in found[f"ratio_{kind}"].items():
            for method, ratio in ratios.items():
                console.print(
                    f"{method}, {kind}: {ratio:.2f} times the Fréchet distance of {baseline} "
                    f"(aim: at most {LARGEST_RATIO})", highlight=False,
                )
    Console().print(f"table and figure: {out}", soft_wrap=True, highlight=False)
    if as_json:
        print(json.dumps(found))


@bench.command()
def sequence(
    name: Annotated[str, typer.Argument(help="Experiment on a sequence: forecast or text.")],
    layers: Layers = None,
    set_: Set = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training part.")] = None,
    seeds: Seeds = "0,1,2",
    out: Out = None,
    as_json: Json = False,
):
    """Error beside backpropagation through the same recurrent network in PyTorch.

    Stopped at any moment, the same command goes on with what is missing.
    """
    from bsd.analysis.figures import plot_errors
    from bsd.analysis.sequences import SIMPLE
    from bsd.analysis.style import FittedFigure
    from bsd.runs.bench.sequences import GRID, measure_sequence, summarise_sequence

    chosen = _changed(name, layers, epochs, set_)
    if not chosen.is_sequence:
        raise InputError(f"{name} is no sequence: use `bsd bench learning --data {name}`.")
    if "evaluate" in chosen.options:
        raise InputError(
            "data.evaluate: backpropagation chooses on the validation part by itself, the test "
            f"part is compared: leave it out; to choose your own settings use `bsd run {name} "
            "--set data.evaluate=validation`."
        )
    out = out or Path("results") / f"bench-sequence-{name}"
    frame = _measured(measure_sequence, chosen, seeds, out / "sequence.csv", grid=GRID)
    found = summarise_sequence(frame)
    (out / "sequence.json").write_text(json.dumps(found, indent=1))
    shown = frame.replace({"method": SIMPLE})
    plot_errors(shown, FittedFigure().subplots()).figure.savefig(out / "sequence.png", dpi=150)
    table = Table(title=f"{name}: test part, {found['measure']}")
    table.add_column("method", no_wrap=True)
    for heading in ("error", "SD over seeds"):
        table.add_column(heading, justify="right")
    for method, error in found["error"].items():
        spread = found["error_sd"][method]
        table.add_row(
            SIMPLE.get(method, method), f"{error:.4f}", "" if spread is None else f"{spread:.4f}"
        )
    _print_table(table)
    Console().print(f"table and figure: {out}", soft_wrap=True, highlight=False)
    if as_json:
        print(json.dumps(found))


def _save_learning(curves, found, out):
    import matplotlib as mpl

    from bsd.analysis.figures import plot_accuracy_curves
    from bsd.analysis.style import STYLE, FittedFigure

    (out / "learning.json").write_text(json.dumps(found, indent=1))
    figure = FittedFigure()
    with mpl.rc_context(STYLE):
        ax = figure.subplots()
    plot_accuracy_curves(curves, ax=ax)
    figure.savefig(out / "learning.png", dpi=150)


def _print_learning(chosen, found):
    table = Table(title=f"{chosen.data}, hidden {'-'.join(map(str, chosen.hidden))}")
    table.add_column("method", no_wrap=True)
    for heading in (
        "test %", "SD", "by drive %", "training %", "trials to 95 %", "learning rate"
    ):
        table.add_column(heading, justify="right")

    def shown(value, form="{}", factor=1):
        return "" if value is None else form.format(factor * value)

    for method, accuracy in found["accuracy"].items():
        table.add_row(
            method,
            f"{100 * accuracy:.2f}",
            shown(found["accuracy_sd"][method], "{:.2f}", 100),
            shown(found["accuracy_voltage"][method], "{:.2f}", 100),
            shown(found["accuracy_train"][method], "{:.2f}", 100),
            shown(found["trials_to_95"][method], "{:,.0f}"),
            shown(found["learning_rate"][method], "{:g}"),
        )
    _print_table(table)


@bench.command()
def robustness(
    data: Data,
    layers: Layers = None,
    epochs: Epochs = None,
    seeds: Seeds = "0,1,2",
    train: Train = None,
    set_: Set = None,
    out: Out = None,
    as_json: Json = False,
):
    """Accuracy under noise, occlusion, lost spikes and noisy weights, beside backpropagation.

    Stopped at any moment, the same command goes on with what is missing.
    """
    from bsd.analysis.figures import plot_robustness
    from bsd.analysis.style import FittedFigure
    from bsd.runs.bench.robustness import measure_robustness, summarise_robustness

    out = out or Path("results") / f"bench-robustness-{data}"
    path = out / "robustness.csv"
    chosen = _of_concepts(data, layers, epochs, train, set_)
    if chosen.parameters.encoding.contrast:
        raise InputError(
            "encoding.contrast: the baseline in PyTorch cannot disturb pixels before they become "
            "ON and OFF intensities: use --set encoding.contrast=0."
        )
    frame = _measured(measure_robustness, chosen, seeds, path, train)
    found = summarise_robustness(frame)
    (out / "robustness.json").write_text(json.dumps(found, indent=1))
    plot_robustness(frame, FittedFigure().subplots()).figure.savefig(
        out / "robustness.png", dpi=150
    )
    table = Table(title=f"{chosen.data}, hidden {'-'.join(map(str, chosen.hidden))}: test %")
    table.add_column("disturbance")
    table.add_column("level", justify="right")
    for method in found["accuracy"]:
        table.add_column(method, justify="right")
    for kind, levels in found["levels"].items():
        for number, level in enumerate(levels):
            right = [own[kind][number] for own in found["accuracy"].values()]
            table.add_row(kind, f"{level:g}", *(f"{100 * value:.2f}" for value in right))
    _print_table(table)
    Console().print(f"table and figure: {out}", soft_wrap=True, highlight=False)
    if as_json:
        print(json.dumps(found))

"""A results folder turned into figures and one self-contained HTML file."""

import base64
import json
import math
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
import yaml

from bsd.analysis import figures, firing, generation, measures, perception_report, sequences
from bsd.analysis.frames import require_columns
from bsd.analysis.style import STYLE, FittedFigure

DPI = 130
TEMPLATE = "report.html.j2"

_CELL = ["trial", "population", "pathway", "layer"]
_COLUMNS = {
    "trials": ["trial", "epoch", "phase", "concept"],
    "counts": [*_CELL, "n_cells", "rate_hz"],
    "alignment": ["trial", "layer", "cosine", "hamming", "kappa"],
    "weight_alignment": ["trial", "layer", "angle_deg"],
    "cell_counts": [*_CELL, "cell", "spikes"],
    "spikes": [*_CELL, "cell", "t_ms"],
    "voltages": [*_CELL, "cell", "t_ms", "compartment", "v_mV"],
}
#: Characters of the name of a concept that figures have room for.
LONGEST_NAME = 14

_PHASES = {"train": "training", "test": "test", "recall": "recall", "align": "alignment"}


@dataclass(frozen=True)
class Results:
    """What a results folder holds; what it lacks is None (or an empty dict).

    Attributes
    ----------
    folder : pathlib.Path
    config, provenance, metrics : dict
    trials, counts, alignment, weight_alignment, cell_counts, spikes, voltages : DataFrame or None
    recall : dict of numpy.ndarray or None
        ``recalled`` and ``class_mean``, (n_concepts, n_pixels), and ``image_shape``; the class
        mean of an exported project, which holds no data set, is None.
    """

    folder: Path
    config: dict
    provenance: dict
    metrics: dict
    trials: pd.DataFrame | None = None
    counts: pd.DataFrame | None = None
    alignment: pd.DataFrame | None = None
    weight_alignment: pd.DataFrame | None = None
    cell_counts: pd.DataFrame | None = None
    spikes: pd.DataFrame | None = None
    voltages: pd.DataFrame | None = None
    recall: dict | None = None

    @property
    def name(self):
        """Name of the experiment."""
        return str(self.metrics.get("name") or self.config.get("name") or self.folder.name)

    @property
    def concept_names(self):
        """Names of the concepts by number, cut short; empty where the numbers are the names."""
        names = self.metrics.get("concepts") or []
        own = {k: n if len(n) <= LONGEST_NAME else n[: LONGEST_NAME - 1] + "…"
               for k, n in enumerate(names)}
        return own or sequences.symbols(self.folder)


@dataclass(frozen=True)
class Section:
    """One figure of a report, with its caption, the command that made it, perhaps a table."""

    name: str
    title: str
    caption: str
    draw: Callable
    table: pd.DataFrame | None = None
    command: str | None = None


def load_results(folder):
    """Read a results folder.

    Parameters
    ----------
    folder : str or pathlib.Path

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        If it is not a results folder, or a file in it cannot be read.
    """
    folder = Path(folder)
    marks = ["config.yaml", "metrics.json", "trials.parquet"]
    if not folder.is_dir() or not any((folder / mark).is_file() for mark in marks):
        what = "holds none of" if folder.is_dir() else "is not a folder with one of"
        raise ValueError(
            f"{folder} {what} {', '.join(marks)}: give the folder that a run wrote (its --out)"
        )
    frames = {name: _read(folder / f"{name}.parquet", pd.read_parquet) for name in _COLUMNS}
    for name, frame in frames.items():
        if frame is not None:
            require_columns(frame, _COLUMNS[name], f"{name}.parquet")
    recall = _read(folder / "recall.npz", _read_recall)
    if recall is None and frames["trials"] is not None:
        recall = _recalled(folder, frames["trials"])
    return Results(
        folder=folder,
        config=_mapping(folder / "config.yaml", yaml.safe_load),
        provenance=_mapping(folder / "provenance.json", json.loads),
        metrics=_mapping(folder / "metrics.json", json.loads),
        recall=recall,
        **{name: None if f is None or f.empty else f for name, f in frames.items()},
    )


def draw_figures(folder):
    """Draw the figures of a results folder.

    Parameters
    ----------
    folder : str or pathlib.Path

    Returns
    -------
    list of pathlib.Path
        ``figures/*.png``, one for each thing that the run recorded.

    Raises
    ------
    ValueError
        If it is not a results folder, or a file in it cannot be read or written.
    """
    results = load_results(folder)
    return [path for _, path in _draw(results.folder, _sections(results))]


def write_report(folder):
    """Draw the figures of a results folder and write its report.

    Parameters
    ----------
    folder : str or pathlib.Path

    Returns
    -------
    pathlib.Path
        ``report.html``: one file, images included, nothing loaded from elsewhere. What the
        run did not record is left out.

    Raises
    ------
    ValueError
        If it is not a results folder, or a file in it cannot be read or written.
    """
    results = load_results(folder)
    config = (results.folder / "config.yaml").read_text("utf-8") if results.config else None
    return write_page(
        results.folder,
        _sections(results),
        name=results.name,
        kind="run",
        lead=_lead(results),
        command=_command(results),
        warnings=results.metrics.get("warnings", []),
        numbers=_numbers(results),
        config_name="config.yaml",
        config=config,
        # the file itself holds the equations
        provenance=_flat({k: v for k, v in results.provenance.items() if k != "equations"}),
    )


def write_page(folder, sections, **content):
    """Draw figures and write ``report.html`` with them.

    Parameters
    ----------
    folder : pathlib.Path
    sections : list of Section
    **content
        What else the template shows.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If a file cannot be written.
    """
    drawn = [
        {
            "name": section.name,
            "title": section.title,
            "caption": section.caption,
            "table": section.table,
            "command": section.command,
            "data": base64.b64encode(path.read_bytes()).decode("ascii"),
        }
        for section, path in _draw(folder, sections)
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(TEMPLATE).render(figures=drawn, **content)
    path = folder / "report.html"
    _write(path, lambda: path.write_text(html, encoding="utf-8"))
    return path


# Reading and writing


def _read(path, reader):
    if not path.is_file():
        return None
    try:
        return reader(path)
    except Exception as error:  # every format has exceptions of its own
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}): delete it, or run again"
        ) from error


def _mapping(path, parse):
    content = _read(path, lambda p: parse(p.read_text(encoding="utf-8")))
    if content is not None and not isinstance(content, dict):
        raise ValueError(f"{path} does not hold names and values: delete it, or run again")
    return content or {}


def _read_recall(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in ("recalled", "class_mean", "image_shape")}


def _recalled(folder, trials):
    """Recalled stimuli of all concepts from the trials of recall, of a sequence None."""
    recalled = _read(folder / "recalled.parquet", pd.read_parquet)
    shown = trials[(trials["phase"] == "recall") & (trials["concept"] >= 0)]
    sequence = "carry" in trials and trials["carry"].any()
    if recalled is None or shown.empty or sequence:
        return None
    concepts = shown.drop_duplicates("trial").set_index("trial")["concept"]
    recalled = recalled.assign(concept=recalled["trial"].map(concepts)).dropna(subset="concept")
    images = recalled.groupby(["concept", "pixel"])["rate"].mean().unstack().to_numpy()
    return {
        "recalled": images, "class_mean": None, "image_shape": _image_shape(images.shape[1]),
    }


def _image_shape(n_pixels):
    """Of square images, in grey or colour; else of a vector of features."""
    for n, colours in ((n_pixels, ()), (n_pixels // 3, (3,))):
        side = math.isqrt(n)
        if side**2 * (3 if colours else 1) == n_pixels:
            return (side, side, *colours)
    return 1, n_pixels


def _write(path, write):
    try:
        path.parent.mkdir(exist_ok=True)
        write()
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror}): make the folder writable"
        ) from error


def _draw(folder, sections):
    drawn = []
    for section in sections:
        path = folder / "figures" / f"{section.name}.png"
        with mpl.rc_context(STYLE):
            figure = FittedFigure()
            section.draw(figure)
            _write(path, lambda figure=figure, path=path: figure.savefig(path, dpi=DPI))
        drawn.append((section, path))
    return drawn


# What is said: the summary


def _test_accuracy(results):
    """Last row of the test accuracies, or None."""
    trials = results.trials
    if trials is None or "correct" not in trials:
        return None
    if not (trials["correct"].notna() & (trials["phase"] == "test")).any():
        return None
    return measures.accuracy(trials).iloc[-1]


def _command(results):
    command = results.provenance.get("command") or results.config.get("command")
    return shlex.join(str(word) for word in command) if isinstance(command, list) else command


def _lead(results):
    test, metrics = _test_accuracy(results), results.metrics
    share = metrics.get("accuracy", None if test is None else test["accuracy"])
    sentences = []
    if _is_number(metrics.get("mse")):
        errors = [f"Forecasts have a mean squared error of {metrics['mse']:.4f}, in squared SDs of "
                  "the training part"]
        for name, label in sequences.SIMPLE.items():
            if name != "mean" and _is_number(metrics.get(f"mse_{name}")):
                errors.append(f"{label} has {metrics[f'mse_{name}']:.4f}")
        sentences.append("; ".join(errors) + ".")
    if _is_number(share):
        text = f"The forward network decided {_percent(share)} of the "
        same = test is not None and abs(test["accuracy"] - share) < 5e-4
        text += f"{int(test['n_trials'])} test trials" if same else "test trials"
        text += " correctly, by the spike counts of its output"
        varied = any("." in name for name in (metrics.get("replicas") or [{}])[0])
        if varied:
            text += ", all varied values together"
        elif same:
            text += f" (95 % interval {_percent(test['low'])} to {_percent(test['high'])})"
        sentences.append(text + "; ties and silence count as wrong.")
    if results.recall is not None and results.recall["class_mean"] is not None:
        r = metrics.get("recall_correlation")  # of a cohort the mean over its networks
        if not _is_number(r):
            r = measures.mean_recall_correlation(
                results.recall["recalled"], results.recall["class_mean"]
            )
        if np.isfinite(r):
            sentences.append(
                f"What the backward network recalls from a concept alone correlates with the mean "
                f"of its class at r = {r:.2f} on average over {len(results.recall['recalled'])} "
                "concepts."
            )
    if _is_number(metrics.get("reconstruction_mse")):
        sentences.append(
            f"Test stimuli come back from the code with a mean squared error of "
            f"{metrics['reconstruction_mse']:.4f} (SSIM {metrics['reconstruction_ssim']:.2f})."
        )
    changed = results.config.get("changed_equations")
    if changed:
        sentences.append(
            f"Equations were changed: {', '.join(changed)} (their text is in provenance.json)."
        )
    return " ".join(sentences)


def _numbers(results):
    known = {
        "mse": ("Forecast, mean squared error (squared SDs)", "{:.4f}".format),
        **{
            f"mse_{name}": (f"{label.capitalize()}, mean squared error", "{:.4f}".format)
            for name, label in sequences.SIMPLE.items()
        },
        "series": ("Series", str),
        "source": ("Data", str),
        "series_mean": ("Its mean in the training part, in its own unit", "{:.5g}".format),
        "series_sd": ("Its SD in the training part, in its own unit", "{:.5g}".format),
        "reference": ("Simple forecast that is corrected", sequences.SIMPLE.get),
        "accuracy": ("Test accuracy, decided by output spikes", _percent),
        "accuracy_voltage": ("Test accuracy, decided by output voltages", _percent),
        "recall_correlation": ("Correlation of recalled stimulus and class mean", "{:.3f}".format),
        "reconstruction_mse": ("Reconstruction, mean squared error", "{:.4f}".format),
        "reconstruction_ssim": ("Reconstruction, structural similarity (SSIM)", "{:.3f}".format),
        "reconstruction_r": ("Reconstruction, correlation with the stimulus", "{:.3f}".format),
        "reconstruction_r_drive": ("The same, by basal drive", "{:.3f}".format),
        "ties": ("Test trials without a decision (tie or silence)", _percent),
        "accuracy_train": ("Accuracy over the last epoch of training", _percent),
        "layers": ("Cells per layer", lambda v: " – ".join(str(n) for n in v)),
        "epochs": ("Epochs", str),
        "trials": ("Trials presented", lambda v: f"{v:,}".replace(",", "\u202f")),
        "ms_per_trial": ("Computing time per trial", "{:.2f} ms".format),
        "build_s": ("Time to compile", "{:.1f} s".format),
        "create_s": ("Time to create the network", "{:.1f} s".format),
        "run_s": ("Time to run", "{:.1f} s".format),
        "peak_mb": ("Peak memory, simulation and Python", "{:.0f} MB".format),
        "synapses": ("Plastic synapses", lambda v: f"{v:,}".replace(",", "\u202f")),
        "seed": ("Seed", str),
        "device": ("Device", str),
    }
    metrics = dict(results.metrics)
    test = _test_accuracy(results)
    if test is not None and metrics.get("accuracy") is None:
        metrics["accuracy"] = float(test["accuracy"])
    rows = []
    for key, (label, form) in known.items():
        value = metrics.pop(key, None)
        if isinstance(value, (list, tuple)) if key == "layers" else _is_shown(value):
            rows.append((label, _formatted(value, form)))
    metrics.pop("concepts", None)  # their names stand in the figures
    replicas = metrics.pop("replicas", None)
    varied = [name for name in (replicas or [{}])[0] if "." in name]
    if varied:
        rows = [
            (
                f"Replica {own['replica']}, " + ", ".join(f"{k} = {own[k]}" for k in varied),
                "–" if own["accuracy"] is None else _percent(own["accuracy"]),
            )
            for own in replicas
        ] + rows
    elif replicas:
        shares = pd.Series([own["accuracy"] for own in replicas], dtype=float)
        rows.insert(0, (
            "Replicas",
            f"{len(replicas)}; test accuracy {_percent(shares.mean())} ± "
            f"{100 * shares.std():.1f} (SD)",
        ))
    for known_elsewhere in ("name", "out", "warnings"):
        metrics.pop(known_elsewhere, None)
    rows += [(key[0].upper() + key[1:], value) for key, value in _flat(metrics)]
    return rows


def _formatted(value, form):
    try:
        return form(value)
    except (TypeError, ValueError):
        return str(value)


# What is seen: one section per figure


def _sections(results):
    makers = [_learning, _confusion, _recall, _alignment, _raster, _voltages, _rates]
    own = [Section(**part) for part in generation.run_sections(results.folder, results.metrics)]
    own += [section for maker in makers if (section := maker(results)) is not None]
    if command := _command(results):
        own = [replace(section, command=command) for section in own]
    sequence = sequences.sections(results.folder, results.config.get("data"))
    studies = perception_report.sections(results.folder, results.concept_names)
    return [*(Section(**part) for part in sequence), *own, *(Section(**part) for part in studies)]


def _learning(results):
    trials = results.trials
    if trials is None or "correct" not in trials:
        return None
    decided = trials[trials["correct"].notna()]
    phases = set(decided["phase"])
    if not phases & {"train", "test"}:
        return None
    caption = []
    if "train" in phases:
        curve = measures.running_accuracy(trials)
        learned = decided[decided["phase"] == "train"]
        caption.append(
            f"Correct decisions over {learned['trial'].nunique()} training trials"
            f"{_of_networks(learned)}, as a running mean of "
            f"{curve.attrs['window']} trials, which ends at {_percent(curve['accuracy'].iloc[-1])}."
        )
    if "test" in phases:
        table = measures.accuracy(trials)
        last = table.iloc[-1]
        interval = f"95 % interval {_percent(last['low'])} to {_percent(last['high'])}"
        if len(table) > 1:
            best = table["accuracy"].max()
            caption.append(
                f"Test accuracy goes from {_percent(table['accuracy'].iloc[0])} after the first "
                f"to {_percent(last['accuracy'])} after the last of {len(table)} epochs "
                f"({int(last['n_trials'])} trials each time, {interval}; "
                f"best epoch {_percent(best)})."
            )
        else:
            caption.append(
                f"Test accuracy is {_percent(last['accuracy'])} "
                f"({int(last['n_trials'])} trials, {interval})."
            )
    n_concepts = trials.loc[trials["concept"] >= 0, "concept"].nunique()
    if n_concepts > 1:
        caption.append(f"The dotted line is chance, {_percent(1 / n_concepts)}.")
    return Section(
        "learning_curve", "Learning", " ".join(caption),
        lambda figure: figures.plot_learning_curve(trials, ax=figure.subplots()),
    )


def _of_networks(trials):
    n = trials["replica"].nunique() if "replica" in trials else 1
    return f" of each of {n} networks" if n > 1 else ""


def _confusion(results):
    trials = results.trials
    if trials is None or "percept" not in trials:
        return None
    judged = trials["percept"].notna() & (trials["concept"] >= 0)
    if not (judged & (trials["phase"] == "test")).any():
        return None
    table = measures.confusion_matrix(trials)
    last = _last_epochs(trials[judged & (trials["phase"] == "test")], trials)
    none = int(table[measures.NO_PERCEPT].sum())
    wrong = table.copy()
    for concept in table.index:
        wrong.loc[concept, concept] = 0
    caption = [
        f"Decisions of the {last['trial'].nunique()} test trials{_of_networks(last)} after the "
        f"last epoch: the colour is the fraction of the "
        f"true concept's trials, and where there is room counts are written.",
        f"{int(wrong.to_numpy().sum())} decisions are wrong, {none} of them ties or silence.",
    ]
    confused = wrong.drop(columns=measures.NO_PERCEPT)
    names = results.concept_names
    if confused.to_numpy().any():
        true, decided = confused.stack().idxmax()
        caption.append(
            f"The most frequent confusion is {names.get(true, true)} taken for "
            f"{names.get(decided, decided)} "
            f"({confused.loc[true, decided]} of {table.loc[true].sum()} trials)."
        )
    table = table.rename(index=names, columns=names)
    return Section(
        "confusion", "Perception: which concepts are confused", " ".join(caption),
        lambda figure: figures.plot_confusion(table, ax=figure.subplots()),
    )


def _recall(results):
    if results.recall is None:
        return None
    recalled, class_mean = results.recall["recalled"], results.recall["class_mean"]
    names = results.concept_names
    section = Section(
        "recall", "Recall: what each concept brings to mind", "",
        lambda figure: figures.plot_recall(
            recalled, class_mean, results.recall["image_shape"], names, ax=figure.subplots()
        ),
    )
    if class_mean is None:
        return replace(section, caption=(
            "What the backward network recalls when only the concept is presented: the rates of "
            "the recalled-stimulus population B0, as fractions of the largest possible rate."
        ))
    r = measures.recall_correlation(recalled, class_mean)
    caption = (
        "Below, what the backward network recalls when only the concept is presented: the rates "
        "of the recalled-stimulus population B0, as fractions of the largest possible rate. "
        "Above, the mean stimulus of the class, on the same scale."
    )
    if np.isfinite(r).any():
        caption += (
            f" The correlation r between them is "
            f"{measures.mean_recall_correlation(recalled, class_mean):.2f} on average (0 for a "
            f"concept that recalls nothing), from "
            f"{np.nanmin(r):.2f} (concept {names.get(np.nanargmin(r), np.nanargmin(r))}) to "
            f"{np.nanmax(r):.2f} (concept {names.get(np.nanargmax(r), np.nanargmax(r))})."
        )
    if len(results.metrics.get("replicas", ())) > 1:
        caption += (
            " The images are means over the replicas, which are smoother than what one network "
            f"recalls: alone, these reach {results.metrics['recall_correlation'] or 0:.2f} on "
            "average."
        )
    if np.isnan(r).any():
        silent = ", ".join(str(names.get(k, k)) for k in np.flatnonzero(np.isnan(r)))
        caption += f" Constant images, for which r is undefined: concept {silent}."
    return replace(section, caption=caption)


def _alignment(results):
    alignment, angles, trials = results.alignment, results.weight_alignment, results.trials
    if alignment is None:
        return None
    shown = alignment
    if shown[["cosine", "hamming", "kappa"]].notna().sum().sum() == 0:
        return None
    low, high = shown["trial"].min(), shown["trial"].max()
    tenth = (high - low) / 10
    first = shown[shown["trial"] <= low + tenth].groupby("layer").mean(numeric_only=True)
    last = shown[shown["trial"] >= high - tenth].groupby("layer").mean(numeric_only=True)
    caption = [
        "Agreement of the forward and the backward pathway in each layer over training; dashed, "
        "the same with the partner's spikes taken from another trial. Only the distance from the "
        "dashed line is agreement about the trial: sparse trains agree by their silence alone.",
        f"Averaged over layers, C goes from {first['cosine'].mean():.2f} in the first to "
        f"{last['cosine'].mean():.2f} in the last tenth of the trials shown.",
    ]
    columns = {"cosine": "cosine C", "hamming": "Hamming", "kappa": "κ"}
    table = {
        label: _change(first, last, column, ".2f")
        for column, label in columns.items()
        if shown[column].notna().any()
    }
    if angles is not None and angles["angle_deg"].notna().any():
        mean = angles.groupby(["layer", "trial"])["angle_deg"].mean()  # over replicas
        ends = mean.groupby("layer").agg(["first", "last"])
        caption.append(
            "An angle of 90° between forward and transposed feedback weights means that they are "
            "unrelated, 0° that they are symmetric; layer 0, the stimulus, has this one only."
        )
        table["angle of weights"] = ends["first"].map("{:.0f}°".format).str.cat(
            ends["last"].map("{:.0f}°".format), sep=" → "
        )
    caption.append(
        "The table gives each value in the first and in the last tenth of training (angles: "
        "first and last recorded), with its shuffled value in the last."
        if "angle of weights" in table
        else "The table gives each value in the first and in the last tenth of training, with its "
        "shuffled value in the last."
    )
    table = pd.DataFrame(table).fillna("–").rename_axis("layer").reset_index()
    return Section(
        "alignment", "Alignment of the two pathways", " ".join(caption),
        lambda figure: figures.plot_alignment(
            alignment, angles, trials, ax=figure.subplots()
        ),
        table,
    )


def _change(first, last, column, form):
    """Text per layer: first → last (shuffled)."""
    text = {}
    for layer in last.index:
        if not np.isfinite(last.loc[layer, column]):
            continue
        start = first[column].get(layer, np.nan)
        ends = f"{start:{form}} → " if np.isfinite(start) else ""
        ends += f"{last.loc[layer, column]:{form}}"
        beside = last.loc[layer].get(f"{column}_shuffled", np.nan)
        text[layer] = ends + (f" (shuffled {beside:{form}})" if np.isfinite(beside) else "")
    return pd.Series(text, dtype=object)


def _raster(results):
    spikes = _first_replica(results.spikes)
    if spikes is None:
        return None
    trial = _shown_trial(results, spikes)
    sizes = None
    if results.counts is not None:
        sizes = results.counts.groupby("population", observed=True)["n_cells"].first()
    of_trial = spikes[spikes["trial"] == trial]
    by_pathway = of_trial.groupby("pathway", observed=True).size()
    coded = (results.metrics or {}).get("reconstruction_mse") is not None
    top = "the code, and C, which repeats it one step later," if coded else "the concept"
    caption = (
        f"Every recorded spike of {_described(results, trial)}, from the stimulus at the bottom "
        f"to {top} at the top; each type-1 population stands beside its type-2 partner of "
        f"the same layer. {by_pathway.get('forward', 0)} spikes are of the forward and "
        f"{by_pathway.get('backward', 0)} of the backward pathway. All bands are equally high, "
        f"whatever their number of cells."
    )
    return Section(
        "raster", "Both pathways during one trial", caption,
        lambda figure: figures.plot_raster(spikes, trial, sizes=sizes, ax=figure.subplots()),
    )


def _voltages(results):
    voltages = _first_replica(results.voltages)
    if voltages is None or figures.voltage_pairs(voltages).empty:
        return None
    pairs = figures.voltage_pairs(voltages)
    trial = _shown_trial(results, pairs)
    pair = pairs[pairs["trial"] == trial].iloc[0]
    layer, cell = int(pair["layer"]), int(pair["cell"])
    threshold = _threshold_mV(results.config)
    caption = (
        f"Cell {cell} of layer {layer} in both pathways during {_described(results, trial)}: of "
        f"the recorded pairs the one whose somata both depolarise most. The basal dendrite drives "
        "the soma; the apical dendrite receives the partner cell and guides learning. Potentials "
        "of dendrites are in units of convenience: synapses are currents without a reversal "
        "potential, and by default one of weight 1 moves a dendrite by 100 mV."
    )
    if threshold is not None:
        caption += f" The dashed line is the firing threshold, {_signed(threshold)} mV."
    if results.spikes is not None:
        caption += " Triangles are spikes."
    return Section(
        "voltages", "A pair of cells from inside", caption,
        lambda figure: figures.plot_voltages(
            voltages, trial, layer, cell, threshold_mV=threshold,
            spikes=_first_replica(results.spikes), ax=figure.subplots(),
        ),
    )


def _rates(results):
    if results.counts is None:
        return None
    trials = results.trials
    rates = firing.firing_rates(_last_epochs(results.counts, trials), trials)
    caption = [
        "Mean rate of each population with its SD over trials"
        + (", by phase, in the last epoch of each." if "phase" in rates else ".")
    ]
    inner = rates[rates["pathway"].isin(["forward", "backward"])]
    if not inner.empty:
        low, high = inner.loc[inner["mean_hz"].idxmin()], inner.loc[inner["mean_hz"].idxmax()]
        caption.append(
            "The means of the forward and backward populations lie between "
            + " and ".join(
                f"{row['mean_hz']:.3g} Hz ({row['population']}"
                + (f", {_PHASES.get(row['phase'], row['phase'])})" if "phase" in row else ")")
                for row in (low, high)
            )
            + "."
        )
    if results.cell_counts is not None:
        silent = firing.silent_fraction(_last_epochs(results.cell_counts, trials))
        silent = silent[silent["pathway"].isin(["forward", "backward"])]
        if not silent.empty:
            caption.append(
                "Cells that fired in none of these trials, of those recorded by cell: "
                + ", ".join(
                    f"{row.population} {row.n_silent} of {row.n_cells}"
                    for row in silent.itertuples()
                )
                + "."
            )
    return Section(
        "rates", "Firing rates", " ".join(caption),
        lambda figure: figures.plot_rates(rates, ax=figure.subplots()),
    )


def _last_epochs(frame, trials):
    """Rows of each phase's last epoch: before it the network is another one."""
    if trials is None or "epoch" not in trials:
        return frame
    last = trials.groupby("phase", observed=True)["epoch"].transform("max")
    return frame[frame["trial"].isin(trials.loc[trials["epoch"] == last, "trial"])]


def _first_replica(frame):
    """What a figure of single cells shows of a cohort."""
    if frame is None or "replica" not in frame:
        return frame
    return frame[frame["replica"] == frame["replica"].min()]


def _shown_trial(results, frame):
    """The last recorded trial in which both pathways are driven, or the last of all."""
    recorded = frame["trial"]
    if results.trials is not None:
        both = results.trials.loc[results.trials["phase"].isin(["train", "align"]), "trial"]
        recorded = recorded[recorded.isin(both)] if recorded.isin(both).any() else recorded
    return int(recorded.max())


def _described(results, trial):
    if results.trials is None:
        return f"trial {trial}"
    rows = results.trials[results.trials["trial"] == trial]
    if rows.empty:
        return f"trial {trial}"
    row = rows.iloc[0]
    text = f"{_PHASES.get(row['phase'], row['phase'])} trial {trial}"
    if row["concept"] >= 0:
        names, concept = results.concept_names, int(row["concept"])
        text += f" (concept {names.get(concept, concept)}"
        if "percept" in row and pd.notna(row["percept"]):
            percept = int(row["percept"])
            decided = names.get(percept, percept)
            text += ", no decision" if percept < 0 else f", decided {decided}"
        text += ")"
    return text


def _threshold_mV(config):
    """Firing threshold of the configuration (``V_threshold``, written with its unit)."""
    for key, value in _leaves(config):
        if key.split(".")[-1] == "V_threshold":
            match = re.fullmatch(r"\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*\*?\s*(m?V)\s*", str(value))
            if match:
                return float(match.group(1)) * (1000.0 if match.group(2) == "V" else 1.0)
    return None


# Formats


def _percent(share):
    return f"{100 * share:.1f} %"


def _signed(number):
    return f"{number:g}".replace("-", "\N{MINUS SIGN}")


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


def _is_shown(value):
    return value is not None and not (isinstance(value, float) and np.isnan(value))


def _leaves(mapping, prefix=""):
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _flat(mapping):
    """Rows (name, text) of a nested mapping, values that are missing left out."""

    def text(value):
        if isinstance(value, float):
            return f"{value:.6g}"
        if isinstance(value, (list, tuple)):
            return ", ".join(text(v) for v in value)
        return str(value)

    return [
        (key.replace(".", ": ").replace("_", " "), text(value))
        for key, value in _leaves(mapping)
        if _is_shown(value)
    ]

"""The folder of a sweep turned into figures and one self-contained HTML file."""

from pathlib import Path

import pandas as pd

from bsd.analysis import figures
from bsd.analysis.report import Section, write_page
from bsd.analysis.sweeps import (
    column_label,
    differences,
    differences_text,
    grid_columns,
    main_measure,
    point_means,
    told_apart,
)

__all__ = ["write_sweep_report"]

#: What is drawn against what is varied, and how it reads in a table.
_MEASURES = {
    "accuracy": ("Accuracy", "accuracy (%)", 100, 2),
    "kappa": ("Alignment", "κ − shuffled", 1, 3),
    "rate_forward_hz": ("Firing rates", "rate (Hz)", 1, 1),
    "ms_per_trial": ("Time", "ms per trial", 1, 2),
}
#: These take the place of accuracy where there are some: of forecasts, and of an autoencoder.
_INSTEAD = {
    "mse": ("Forecast", "mean squared error", 1, 4),
    "reconstruction_ssim": ("Likeness", "SSIM", 1, 3),
}
#: Where less is better.
_ERRORS = ("mse",)
_MOST_ROWS = 30
_ABOUT = "Alignment is Cohen's kappa of the paired cells less that with the partner of another " \
    "trial, rates are those of the type-1 cells, both over hidden layers after training."


def write_sweep_report(folder):
    """Draw the figures of a sweep and write its report.

    Parameters
    ----------
    folder : str or pathlib.Path
        With ``results.parquet`` and ``sweep.yaml``, as `bsd sweep` writes them.

    Returns
    -------
    pathlib.Path
        ``report.html``: one file, images included, nothing loaded from elsewhere.

    Raises
    ------
    ValueError
        If a file cannot be read or written, or no run has finished.
    """
    folder = Path(folder)
    try:
        frame = pd.read_parquet(folder / "results.parquet")
        text = (folder / "sweep.yaml").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no sweep that can be read ({error})") from error
    done, failed = frame[frame["status"] == "done"], frame[frame["status"] != "done"]
    if done.empty:
        raise ValueError(f"no run of the sweep {folder} has finished: see {folder / 'logs'}")
    # agreement that rates alone would give is none
    frame["kappa"] -= frame.get("kappa_shuffled", 0)
    with_factors = done["reference"].any() and done["factor"].ne("").any()
    measured = _measured(frame)
    draw = _by_factor if with_factors else _of_grid if grid_columns(frame) else _by_column
    sections = draw(frame, measured)
    return write_page(
        folder,
        sections,
        name=folder.resolve().name,
        kind="sweep",
        lead=differences_text(frame) if with_factors and "accuracy" in measured
        else _best(frame, next(iter(measured))),
        command=None,
        numbers=[
            ("Points", str(frame["point"].nunique())),
            ("Seeds", ", ".join(map(str, sorted(frame["seed"].unique())))),
            ("Runs that finished", str(len(done))),
            ("Simulating, all runs together", f"{done['run_s'].sum():.0f} s"),
            *(
                (f"Failed: {row.label}, seed {row.seed}, fold {row.fold}", row.error)
                for row in failed.itertuples()
            ),
        ],
        config_name="sweep.yaml",
        config=text,
        provenance=[],
    )


def _measured(frame):
    """What is drawn and listed; points are ordered by the first."""
    main = main_measure(frame)
    rest = {k: v for k, v in _MEASURES.items() if k != "accuracy"}
    return {main: _INSTEAD.get(main, _MEASURES["accuracy"]), **rest}


def _by_factor(frame, measured):
    """A figure of each measure with a panel for each factor, and the table of all points."""
    about = {
        "accuracy": "Mean and SD over seeds at each point, cut at 100 %; the diamond and the "
        "dashed line are the reference, from which each point differs in one thing. The axes of "
        "the panels differ. The table gives the difference from the reference in percentage "
        "points, paired by seed.",
        "kappa": "Cohen's kappa of the paired cells' spikes after training, less that with the "
        "partner of another trial, averaged over hidden layers: agreement about the trial.",
        "rate_forward_hz": "Mean rate of the type-1 cells of the hidden layers, both pathways "
        "driven, after training.",
        "ms_per_trial": "Computing time of a training trial; it depends on the machine and on what "
        "else ran there.",
        "mse": "Mean squared error of the forecast, mean and SD over seeds; the diamond and the "
        "dashed line are the reference.",
        "reconstruction_ssim": "Structural similarity of test stimuli and their reconstructions, "
        "mean and SD over seeds; the diamond and the dashed line are the reference.",
    }
    return [
        Section(
            measure, title, about[measure],
            lambda figure, measure=measure: figures.plot_factors(
                frame, measure, figure.subplots()
            ),
            _table(frame, measured) if measure == next(iter(measured)) else None,
        )
        for measure, (title, *_) in measured.items()
    ]


def _of_grid(frame, measured):
    """Two parameters together, a panel for each measure, and the table of all points."""
    x, y = grid_columns(frame)
    seeds = frame["seed"].nunique()
    caption = (
        f"Each field is a point of the grid, its colour and number the mean over {seeds} seeds "
        "(the table has the SD)" if seeds > 1 else "Each field is a point of the grid, run with "
        "one seed"
    ) + f"; points without a run that finished are blank. {_ABOUT}"

    def draw(figure):
        _four_panels(
            figure, measured,
            lambda measure, ax: figures.plot_grid(frame, x, y, measure, ax=ax),
        )

    title = f"{column_label(x)} and {column_label(y)}"
    return [Section("grid", title, caption, draw, _table(frame, measured))]


def _by_column(frame, measured):
    """A figure for each thing varied, a panel for each measure."""
    sections = []
    for number, column in enumerate(told_apart(frame)):
        caption = "Each dot is a run; where a value was run several times, mean and SD over all " \
            "runs with it, whatever else was varied, cut where a measure ends (at 100 %, for " \
            f"example). {_ABOUT}"

        def draw(figure, column=column):
            _four_panels(
                figure, measured,
                lambda measure, ax: figures.plot_sweep(frame, column, measure, ax=ax),
            )

        table = _table(frame, measured) if number == 0 else None
        sections.append(Section(f"varied-{column}", column_label(column), caption, draw, table))
    return sections


def _four_panels(figure, measured, plot):
    for ax, measure in zip(figure.subplots(2, 2).ravel(), measured, strict=True):
        plot(measure, ax)
    figure.set_figheight(5.2)  # the panels took the height that suits them alone


def _table(frame, measured):
    """Points with the means of all measures, the best first."""
    main = next(iter(measured))
    scale, digits = measured[main][2:]
    means = point_means(frame, main)
    table = pd.DataFrame({"point": means["factor"].where(
        means["factor"] == "", means["factor"] + ": ") + means["label"]})
    for measure, (_, heading, own_scale, own_digits) in measured.items():
        own = point_means(frame, measure)
        table[heading] = [
            _with_sd(own_scale * row.mean, own_scale * row.sd, own_digits)
            for row in own.itertuples()
        ]
    if (frame["reference"] & (frame["status"] == "done")).any():
        change = differences(frame, main).set_index("point")
        table.insert(2, "difference", [
            _with_sd(scale * change["mean"][p], scale * change["sd"][p], digits, "+")
            if p in change.index else "reference" if own else "–"
            for p, own in zip(means["point"], means["reference"], strict=True)
        ])
    finished = _finished(frame)
    if (finished < finished.max()).any():
        runs = finished.reindex(means["point"]).to_numpy()
        table.insert(1, "runs", [f"{n} of {finished.max()}" for n in runs])
    order = means["mean"].sort_values(ascending=main in _ERRORS).index
    return table.loc[order].head(_MOST_ROWS if "difference" not in table else None)


def _finished(frame):
    """Runs of each point that finished."""
    return frame["status"].eq("done").groupby(frame["point"]).sum()


def _with_sd(mean, sd, digits, sign=""):
    if pd.isna(mean):
        return "–"
    return f"{mean:{sign}.{digits}f}" + ("" if pd.isna(sd) else f" ± {sd:.{digits}f}")


def _best(frame, measure):
    means = point_means(frame, measure)
    if means["mean"].isna().all():
        return f"{len(means)} points; nothing was decided, see results.parquet."
    finished = _finished(frame)  # others are of fewer seeds or folds
    whole = means[means["point"].isin(finished.index[finished == finished.max()])]
    whole = whole if whole["mean"].notna().any() else means
    ends = [whole.loc[whole["mean"].idxmax()], whole.loc[whole["mean"].idxmin()]]
    best, worst = ends[::-1] if measure in _ERRORS else ends
    seeds = f"mean of {best['n_seeds']} seeds" if best["n_seeds"] > 1 else "one seed"
    reached = {
        "accuracy": (100, 1, " % of the test trials decided correctly"),
        "mse": (1, 4, " as the mean squared error of the forecast"),
        "reconstruction_ssim": (1, 3, " as the structural similarity of reconstructions"),
    }
    scale, digits, what = reached[measure]
    some = " of which all runs finished" if len(whole) < len(means) else ""
    return (
        f"Of {len(whole)} points{some} the best is {best['label']} with "
        f"{_with_sd(scale * best['mean'], scale * best['sd'], digits)}{what} ({seeds}), the worst "
        f"{worst['label']} with {_with_sd(scale * worst['mean'], scale * worst['sd'], digits)}"
        f"{' %' if scale == 100 else ''}. The best of many is chosen by "
        "the test trials that it is judged by: choose on a validation part of the training set "
        "(docs/learning.md)."
    )

"""Learning dynamics: how alignment, activity and weights went, from the run's own frames."""

from pathlib import Path

import numpy as np
import pandas as pd

from bsd.equations import InputError
from bsd.runs.experiments.perception.study import Study

__all__ = ["dynamics"]

#: Stretches of training over which values are averaged.
N_BINS = 50


def dynamics(folder):
    """Collect what a run recorded while it learned.

    Parameters
    ----------
    folder : path-like
        Results folder of a finished run.

    Returns
    -------
    Study
        Frame ``dynamics``: ``replica``, ``n_done`` (training trials so far), ``quantity``, ``of``
        (layer, population or projection), ``value``; the quantities are angle_deg (of W and Theta
        transposed), cosine (C of training trials), hamming and kappa of paired cells with their
        trial-shuffled values, rate_hz, and quantiles of the weights (weight_q01 to weight_q99)
        where the run kept them. The summary has the first and last values, of a cohort
        their means over the replicas.

    Raises
    ------
    InputError
        If it is no results folder of a finished run, or its frames cannot be read.
    """
    folder = Path(folder)
    if not (folder / "metrics.json").is_file():
        raise InputError(
            f"{folder} is no results folder of a finished run: give the folder that `bsd run` "
            "wrote."
        )
    study = Study("dynamics")
    frames = {
        name: _read(folder, name)
        for name in ("trials", "counts", "alignment", "weight_alignment", "cosines")
    }
    trials = frames["trials"]
    trained_at = np.unique(trials.loc[trials["phase"] == "train", "trial"])

    def tidy(frame, value, of, quantity, binned=False):
        n_done = np.searchsorted(trained_at, frame["trial"], side="right")
        if binned:
            width = max(1, len(trained_at) // N_BINS)
            n_done = np.minimum((n_done - 1) // width * width + width // 2, len(trained_at))
        long = pd.DataFrame(
            {
                "replica": frame["replica"], "n_done": n_done,
                "of": frame[of].astype(str).to_numpy(), "value": frame[value],
            }
        )
        mean = long.groupby(["replica", "n_done", "of"], as_index=False)["value"].mean()
        return mean.assign(quantity=quantity)

    def while_training(frame):
        return frame[frame["trial"].isin(trained_at)]

    parts = [tidy(frames["weight_alignment"], "angle_deg", "layer", "angle_deg")]
    parts.append(tidy(while_training(frames["cosines"]), "cosine", "layer", "cosine", True))
    for quantity in ("hamming", "kappa", "hamming_shuffled", "kappa_shuffled"):
        parts.append(tidy(frames["alignment"], quantity, "layer", quantity))
    parts.append(
        tidy(while_training(frames["counts"]), "rate_hz", "population", "rate_hz", True)
    )
    if (folder / "weight_distribution.parquet").exists():
        weights = _read(folder, "weight_distribution")
        for column in weights.columns[weights.columns.str.startswith("q")]:
            parts.append(tidy(weights, column, "projection", f"weight_{column}"))
    study.frames["dynamics"] = pd.concat(parts, ignore_index=True)
    study.summary = _summary(study.frames["dynamics"])
    return study


def _read(folder, name):
    file = folder / f"{name}.parquet"
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}): run again.") from None


def _summary(frame):
    """First and last value of each quantity, by layer, population or projection."""
    summary = {}
    for (quantity, of), own in frame.sort_values("n_done").groupby(["quantity", "of"]):
        known = own.dropna(subset="value").groupby("replica")["value"]
        if len(known):
            summary.setdefault(quantity, {})[of] = [
                float(known.first().mean()), float(known.last().mean())
            ]
    return summary

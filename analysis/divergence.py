"""Silent divergence: populations that died or saturated, weights that exploded, alignment lost.

The limits lie far from what healthy runs showed (see `docs/reliability.md`).
"""

import numpy as np
import pandas as pd

from bsd.analysis.frames import require_columns

__all__ = ["COLLAPSED", "DEAD", "EXPLODED", "SATURATED", "divergences"]

#: Mean rate of a population, in units of f_max, below which it is dead.
DEAD = 0.002

#: Mean rate of hidden and output cells, in units of f_max, above which they are saturated.
SATURATED = 0.8

#: Share of the bound of the weights that a tenth of a projection's weights reached.
EXPLODED = 0.98

#: Kappa of paired cells beyond that with the partner's spikes of another trial, at least.
COLLAPSED = 0.02

_COLUMNS = ("epoch", "replica", "kind", "where", "value", "limit", "text")


def divergences(
    trials, counts, alignment, weights, *, f_max_hz, weight_max, loss="reco", learned=True
):
    """What went wrong, from the alignment trials before learning and after each epoch.

    Parameters
    ----------
    trials : DataFrame
        Columns trial, epoch, phase; only rows whose phase is ``align`` count.
    counts : DataFrame
        Columns trial, replica, population, pathway, layer, rate_hz.
    alignment : DataFrame
        Columns trial, replica, layer, kappa, kappa_shuffled.
    weights : DataFrame
        Columns epoch, replica, projection, q10, q90.
    f_max_hz : float
        The highest rate, Hz.
    weight_max : float
        Bound of the weights.
    loss : str
        That of the layers, for the advice.
    learned : bool
        Whether hidden layers learn partners that differ from concept to concept; if not, their
        alignment is not judged.

    Returns
    -------
    DataFrame
        One row per epoch, replica and population (``where``: F1, B0, ...), projection (W0, ...)
        or layer (``layer 1``): kind (``dead``, ``saturated``, ``exploded``, ``collapsed``), value
        and its limit (rates in Hz), and a sentence that names the parameter to turn.

    Raises
    ------
    ValueError
        If a frame lacks a column.
    """
    require_columns(trials, ["trial", "epoch", "phase"], "trials")
    require_columns(
        counts, ["trial", "replica", "population", "pathway", "layer", "rate_hz"], "counts"
    )
    require_columns(
        alignment, ["trial", "replica", "layer", "kappa", "kappa_shuffled"], "alignment"
    )
    require_columns(weights, ["epoch", "replica", "projection", "q10", "q90"], "weights")
    epochs = trials.loc[trials["phase"] == "align"].drop_duplicates("trial")
    epochs = epochs.set_index("trial")["epoch"]
    found = [
        *_rates(_in_epochs(counts, epochs), f_max_hz, loss),
        *_weights(weights, weight_max),
        *(_alignment(_in_epochs(alignment, epochs), loss) if learned else ()),
    ]
    frame = pd.DataFrame(found, columns=_COLUMNS)
    return frame.sort_values(["epoch", "replica", "kind", "where"], ignore_index=True)


def _in_epochs(frame, epochs):
    frame = frame[frame["trial"].isin(epochs.index)]
    return frame.assign(epoch=frame["trial"].map(epochs))


def _rates(counts, f_max_hz, loss):
    cells = counts[counts["pathway"] != "afferent"]
    top = cells["layer"].max()
    keys = ["epoch", "replica", "population", "layer"]
    means = cells.groupby(keys, observed=True)["rate_hz"].mean()
    for (epoch, replica, population, layer), rate in means.items():
        eta, gain = _parameters(population, layer, top)
        if rate < DEAD * f_max_hz:
            kind, limit = "dead", DEAD * f_max_hz
            advice = f"lower {eta}, or set learning.homeostasis above 0"
            if epoch == 0:
                advice = f"raise {gain}, or lower cell.V_threshold"
            elif loss == "mse" and 0 < layer < top:
                advice = "choose learning.loss = reco, or lower " + eta
        # initial weights may saturate a population that then learns; B0 follows the stimulus
        elif epoch > 0 and rate > SATURATED * f_max_hz and not population.startswith("B0"):
            kind, limit = "saturated", SATURATED * f_max_hz
            advice = f"lower {eta} or {gain}, or raise cell.V_threshold"
        else:
            continue
        text = f"{population} is {kind} (mean rate {rate:.3g} Hz, limit {limit:g} Hz): {advice}."
        yield epoch, replica, kind, population, rate, limit, text


def _parameters(population, layer, top):
    """Learning rate and initial gain of the synapses onto a population."""
    if layer == 0:
        return "learning.eta_bottom", "learning.init_gain_readout"
    if layer == top:
        return "learning.eta_top", "learning.init_gain_readout"
    eta = "learning.eta" if population.startswith("F") else "learning.eta_feedback"
    return eta, "learning.init_gain"


def _weights(weights, weight_max):
    largest = weights[["q10", "q90"]].abs().max(axis=1)
    limit = EXPLODED * weight_max
    layer = weights["projection"].str.extract(r"(\d+)")[0].astype(int)
    for row, value, onto in zip(weights.itertuples(), largest, layer, strict=True):
        if value >= limit:
            if row.projection.startswith("W"):
                eta = "learning.eta_top" if onto == layer.max() else "learning.eta"
            else:
                eta = "learning.eta_bottom" if onto == 0 else "learning.eta_feedback"
            text = (
                f"{row.projection} has exploded (a tenth of its weights reached {value:.3g} of "
                f"learning.weight_max = {weight_max:g}): lower {eta}."
            )
            yield row.epoch, row.replica, "exploded", row.projection, value, limit, text


def _alignment(alignment, loss):
    repel = "" if loss == "mse" else "raise learning.lam, or "
    excess = alignment["kappa"] - alignment["kappa_shuffled"]
    later = alignment.assign(excess=excess)[alignment["epoch"] > 0]
    means = later.groupby(["epoch", "replica", "layer"])["excess"].mean()
    for (epoch, replica, layer), value in means.items():
        # undefined where a population is silent, which is a divergence of its own
        if np.isfinite(value) and value < COLLAPSED:
            text = (
                f"the alignment of layer {layer} has collapsed (kappa of paired cells {value:.3f} "
                f"above that of other trials, limit {COLLAPSED:g}): {repel}lower "
                "learning.eta and learning.eta_feedback."
            )
            yield epoch, replica, "collapsed", f"layer {layer}", value, COLLAPSED, text

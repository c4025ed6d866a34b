"""Mutual information between the spike counts of a cell and the concept shown."""

import numpy as np
import pandas as pd
from scipy import stats

from bsd.analysis.frames import in_order
from bsd.analysis.populations import concepts_of_units, trials_with_concept


def mutual_information(
    cell_counts, trials, concept="concept", by=None, unit="trial", n_shuffles=200, seed=0
):
    r"""Information in bits that the spike count of a cell in a trial carries about the concept.

    The plug-in estimate is too high: with few trials even unrelated counts seem to inform. Two
    corrections stand beside it. `bias_bits` is that of Panzeri & Treves (1996, Network 7: 87),
    :math:`[\sum_s (R_s - 1) - (R - 1)] / (2 N \ln 2)`, with the R different counts that occur in
    N trials, and the :math:`R_s` that are possible at concept s by their Bayesian estimate (those
    that occurred, and as many more of the R as make that number likely). `shuffled_bits` is the
    mean plug-in estimate when concepts are shuffled over units, exact for a cell that carries no
    information and too large for one that does. Panzeri & Treves take trials for independent:
    where they are not, as repeats of a few stimuli of each concept, the latter takes its place.
    For Poisson counts with a mean of 2 that are unrelated to 10 concepts, the plug-in estimate is
    0.22 bit with 20 trials per concept and 0.08 bit with 60; 0.03 and 0.01 bit are left after the
    correction.

    Parameters
    ----------
    cell_counts : pandas.DataFrame
        ``trial, population, pathway, layer, cell, spikes`` (and ``replica``), silent cells
        included.
    trials : pandas.DataFrame
        Trial table; trials whose concept is -1 are left out.
    concept : str
        Column of the trial table.
    by : sequence of str, optional
        Columns of the trial table that tell groups apart; ``phase`` by default.
    unit : str
        What is an independent observation: ``'trial'``, or a column such as ``'stimulus'``, whose
        trials belong together (those without one, -1, are alone) and keep one concept when
        concepts are shuffled.
    n_shuffles : int
        At least 1; the smallest p-value is 1 / (n_shuffles + 1).
    seed : int
        Of the shuffles.

    Returns
    -------
    pandas.DataFrame
        ``*by, [replica,] population, pathway, layer, cell, n_trials, concept_bits, plugin_bits,
        bias_bits, shuffled_bits, information_bits, p_value``: `concept_bits` is the entropy of
        the concepts, the most there is to know; `information_bits` the plug-in estimate less
        `bias_bits` (it may come out below zero, so that its mean over cells is not biased), which
        is `shuffled_bits` where units have several trials (more than the bias of a cell that
        carries much, whose information is then underestimated);
        `p_value` the fraction of shuffles that reach the plug-in estimate, itself included. A
        silent cell carries 0 bits, with p = 1.

    Raises
    ------
    ValueError
        If a column is missing, a cell is missing or twice in a trial, no trial has a concept, a
        unit several, a count is not a whole number, or `n_shuffles` is below 1.

    Examples
    --------
    A cell that fires for one of two concepts:

    >>> import pandas as pd
    >>> counts = pd.DataFrame({"trial": range(8), "population": "F1", "pathway": "forward",
    ...                        "layer": 1, "cell": 0, "spikes": [0, 2] * 4})
    >>> trials = pd.DataFrame({"trial": range(8), "concept": [0, 1] * 4})
    >>> mutual_information(counts, trials)[["concept_bits", "plugin_bits"]]
       concept_bits  plugin_bits
    0           1.0          1.0
    """
    if n_shuffles < 1:
        raise ValueError("n_shuffles must be at least 1")
    rng = np.random.default_rng(seed)
    tables = []
    columns = [] if unit == "trial" else [unit]
    for label, of_trial, matrix in trials_with_concept(cell_counts, trials, concept, by, columns):
        if (matrix % 1).any() or (matrix < 0).any():
            raise ValueError("spike counts must be whole numbers: information is not of rates")
        concepts, of_unit, units = concepts_of_units(of_trial, concept, unit)
        one_hot = np.eye(len(concepts))[of_unit]
        responses = [(matrix == count).astype(float) for count in np.unique(matrix)]
        joint = _joint(responses, one_hot[units])
        plugin = _information(joint)
        shuffled = np.array(
            [
                _information(_joint(responses, rng.permutation(one_hot)[units]))
                for _ in range(n_shuffles)
            ]
        )
        bias = shuffled.mean(axis=0)
        if len(of_unit) == len(matrix):  # each trial alone
            bias = np.array([_bias(joint[:, cell]) for cell in range(matrix.shape[1])])
        # Equal tables give equal information up to rounding.
        reached = (shuffled >= plugin - 1e-9).sum(axis=0)
        tables.append(
            pd.DataFrame(
                {
                    **label, "cell": np.arange(matrix.shape[1]), "n_trials": len(matrix),
                    "concept_bits": stats.entropy(np.bincount(of_unit[units]), base=2),
                    "plugin_bits": plugin, "bias_bits": bias,
                    "shuffled_bits": shuffled.mean(axis=0), "information_bits": plugin - bias,
                    "p_value": (reached + 1) / (n_shuffles + 1),
                }
            )
        )
    return in_order(pd.concat(tables, ignore_index=True))


def _joint(responses, one_hot):
    """Trials per count, cell and concept."""
    return np.stack([response.T @ one_hot for response in responses])


def _information(joint):
    """Plug-in information of each cell: H(count) + H(concept) - H(count, concept)."""
    of_count = stats.entropy(joint.sum(axis=2), axis=0, base=2)
    of_concept = stats.entropy(joint.sum(axis=0), axis=1, base=2)
    of_both = stats.entropy(np.moveaxis(joint, 1, 2).reshape(-1, joint.shape[1]), axis=0, base=2)
    return np.maximum(of_count + of_concept - of_both, 0.0)


def _bias(joint):
    """Bias of the plug-in information of one cell (bits), from its trials per count and concept."""
    joint = joint[joint.any(axis=1)]
    possible = [_possible_counts(trials, len(joint)) for trials in joint.T]
    excess = sum(n - 1 for n in possible) - (len(joint) - 1)
    return excess / (2 * joint.sum() * np.log(2))


def _possible_counts(trials, most):
    """How many of `most` counts a concept can have, from the trials in which each occurred.

    The smallest number of further counts, equally likely a priori, with which as many are
    expected to occur as did (Panzeri & Treves 1996, section 4).
    """
    n, trials = trials.sum(), trials[trials > 0]
    occurred = len(trials)
    error = np.sum((1 - trials / n) ** n)
    unseen = 0
    while occurred + unseen < most:
        of_one = 1 - (n / (n + occurred)) ** (1 / n)
        seen = (1 - (unseen + 1) * of_one) * (trials + 1) / (n + occurred)
        expected = np.sum(1 - (1 - seen) ** n) + (unseen + 1) * (1 - (1 - of_one) ** n)
        if abs(occurred - expected) >= error:
            break
        error = abs(occurred - expected)
        unseen += 1
    return occurred + unseen

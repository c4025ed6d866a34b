"""Mutual information between the spike counts of a cell and the concept shown."""

import numpy as np
import pandas as pd
from scipy import stats

from bsd.analysis.frames import in_order
from bsd.analysis.populations import trials_with_concept


def mutual_information(cell_counts, trials, concept="concept", by=None, n_shuffles=200, seed=0):
    r"""Information in bits that the spike count of a cell in a trial carries about the concept.

    The plug-in estimate is too high: with few trials even unrelated counts seem to inform. Two
    corrections stand beside it. `bias_bits` is that of Panzeri & Treves (1996, Network 7: 87),
    :math:`[\sum_s (R_s - 1) - (R - 1)] / (2 N \ln 2)`, with the R (or, for concept s,
    :math:`R_s`) counts that occur in N trials. As counts that are possible but did not occur are
    not counted, it is too small if a concept has fewer trials than counts are common.
    `shuffled_bits` is the mean plug-in estimate when concepts are shuffled over trials, exact for
    a cell that carries no information and too large for one that does.

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
        `bias_bits` (it may come out below zero, so that its mean over cells is not biased);
        `p_value` the fraction of shuffles that reach the plug-in estimate, itself included. A
        silent cell carries 0 bits, with p = 1.

    Raises
    ------
    ValueError
        If a column is missing, a cell is missing or twice in a trial, no trial has a concept,
        a count is not a whole number, or `n_shuffles` is below 1.

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
    for label, of_trial, matrix in trials_with_concept(cell_counts, trials, concept, by):
        if (matrix % 1).any() or (matrix < 0).any():
            raise ValueError("spike counts must be whole numbers: information is not of rates")
        index, concepts = pd.factorize(of_trial[concept], sort=True)
        one_hot = np.eye(len(concepts))[index]
        responses = [(matrix == count).astype(float) for count in np.unique(matrix)]
        joint = _joint(responses, one_hot)
        plugin = _information(joint)
        occupied = joint > 0
        excess = (occupied.sum(axis=0) - 1).sum(axis=1) - (occupied.any(axis=2).sum(axis=0) - 1)
        bias = excess / (2 * len(matrix) * np.log(2))
        shuffled = np.array(
            [_information(_joint(responses, rng.permutation(one_hot))) for _ in range(n_shuffles)]
        )
        # Equal tables give equal information up to rounding.
        reached = (shuffled >= plugin - 1e-9).sum(axis=0)
        tables.append(
            pd.DataFrame(
                {
                    **label, "cell": np.arange(matrix.shape[1]), "n_trials": len(matrix),
                    "concept_bits": stats.entropy(np.bincount(index), base=2),
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

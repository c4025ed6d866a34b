"""Tests of hypotheses on trial tables: comparisons, effect sizes, many tests, detection, fits.

What is the unit of observation is for the experimenter to say. Trials of one network are not
independent subjects: thousands of them make any difference between two networks significant, and
say nothing about the next network with another seed (pseudo-replication). With ``unit="replica"``
a network counts once, whatever the number of its trials, and the conclusion is about networks
of this kind. With ``unit="trial"`` trials are the sample, and the conclusion is about further
trials of this one network. Any other column can be the unit too: with ``unit="stimulus"`` the
trials of one stimulus are averaged, and the conclusion is about further stimuli.
"""

import numpy as np
import pandas as pd
from scipy import optimize, stats

from bsd.analysis.frames import require_columns

MIN_LEVELS = 4
"""Levels of a psychometric function, which has three parameters."""

MIN_BOOTSTRAP = 10
"""Units of a condition below which an interval is Student's: bootstrap intervals are too narrow."""

# Of a trial table: a trial without a stimulus, or without a concept.
_NONE_SHOWN = -1

# Numbers that a batch of resamples may hold: some 80 MB.
_BATCH = 10_000_000


def compare(
    frame, condition, measure, *, unit, paired_by=None, levels=None, confidence=0.95,
    n_resamples=9999, seed=0,
):
    """Compare a measure between two conditions of a trial table.

    A permutation test of the difference of means (exact where `n_resamples` suffice), a
    confidence interval of it and effect sizes. The interval is a bootstrap's (BCa), with fewer
    than `MIN_BOOTSTRAP` (10) units in a condition Student's (Welch's without pairs). n pairs can
    have no p-value below 2 / 2**n: for one below 0.05 it takes six.

    Parameters
    ----------
    frame : pandas.DataFrame
        Trial table, or any frame with a row per observation: columns `condition`, `measure`,
        those of `paired_by` and, unless trials are the unit, the unit.
    condition : str
        Column with the two conditions.
    measure : str
        Column of numbers or truth values. Rows where it is missing are left out.
    unit : str
        What is an independent observation: ``'trial'``, each row, or a column such as
        ``'replica'`` or ``'stimulus'``. The measure is then averaged over the rows of each
        replica (stimulus, ...) and condition, and one that has both is paired with itself. Rows
        without a unit (missing, or a stimulus or concept of -1) are left out. All but replicas
        must be of one replica, all stimuli of one part.
    paired_by : str or sequence of str, optional
        Columns that pair the rows of the two conditions one to one (within the unit), such as
        ``draw``; rows whose partner is missing are left out. Without it trials are independent.
    levels : (object, object), optional
        The two values of `condition`, reference first; by default those that occur, sorted.
    confidence : float
    n_resamples : int
        Of the test and of the bootstrap.
    seed : int
        Of the resampling.

    Returns
    -------
    pandas.DataFrame
        One row: ``measure, condition, reference, other, unit, paired, n_reference, n_other``
        (units), ``n_left_out`` (rows), ``mean_reference, mean_other, difference`` (other less
        reference), ``ci_low, ci_high, confidence, interval`` (``BCa bootstrap`` or
        ``Student's t``), ``p_value, effect_size, effect`` (``Cohen's d_z`` or ``Cohen's d``),
        ``cliffs_delta, test``. The interval and the effect size are NaN where nothing varies.

    Raises
    ------
    ValueError
        If a column is missing, the condition has not two values, there are fewer than two units,
        trials of several replicas would be pooled, or stimuli of the training and the test part
        that have the same number, `paired_by` does not tell the rows of a condition apart, or
        some units have both conditions and some not.

    Examples
    --------
    >>> import pandas as pd
    >>> trials = pd.DataFrame({
    ...     "replica": [0, 1, 2, 3, 4, 5] * 2, "feedback": ["cut"] * 6 + ["whole"] * 6,
    ...     "r": [0.5, 0.4, 0.6, 0.5, 0.7, 0.3, 0.6, 0.6, 0.7, 0.8, 0.9, 0.4]})
    >>> row = compare(trials, "feedback", "r", unit="replica")
    >>> row[["n_other", "difference", "p_value", "test"]].round(5)
       n_other  difference  p_value                            test
    0        6     0.16667  0.03125  paired permutation test, exact
    """
    paired_by = [paired_by] if isinstance(paired_by, str) else list(paired_by or [])
    column = [] if unit == "trial" else [unit]
    if unit != "trial" and unit not in frame:
        raise ValueError(f"unit = {unit!r}: say what is an independent observation, 'trial' or a "
                         "column of the frame, such as 'replica'")
    require_columns(frame, [condition, measure, *paired_by], "frame")
    levels = _levels(frame, condition, levels)
    if unit != "replica" and "replica" in frame and frame["replica"].nunique() > 1:
        raise ValueError(
            "trials of several replicas are not independent: compare with unit='replica', or "
            "pass the trials of one replica"
        )
    rows = frame[frame[condition].isin(levels)]
    n_rows = len(rows)
    if column:
        rows = rows[rows[unit].notna()]
        if unit in ("stimulus", "concept"):
            rows = rows[rows[unit] != _NONE_SHOWN]
        if unit == "stimulus" and "part" in rows and rows["part"].nunique() > 1:
            raise ValueError(
                "stimuli of the training and of the test part have the same numbers: pass the "
                "trials of one part"
            )
        if rows.empty:
            raise ValueError(f"no row has a {unit}: choose another unit")
    rows = rows[rows[measure].notna()].astype({measure: float})
    if rows.empty:
        raise ValueError(
            f"{measure!r} is missing in all rows: a decision, for example, is judged only where "
            "the trial table has a concept"
        )
    if paired_by:
        rows = _complete_pairs(rows, condition, measure, [*column, *paired_by])
    reference, other = (rows[rows[condition] == level] for level in levels)
    paired = bool(paired_by)
    if column:
        reference, other = (part.groupby(unit)[measure].mean() for part in (reference, other))
        both = reference.index.intersection(other.index)
        paired = len(both) > 0
        if paired and not len(both) == len(reference) == len(other):
            raise ValueError(
                f"some units ({unit}) have both conditions and some only one: leave the latter out"
            )
    else:
        order = paired_by or [measure]
        reference, other = (part.sort_values(order)[measure] for part in (reference, other))
    reference, other = reference.to_numpy(), other.to_numpy()
    if min(len(reference), len(other)) < 2:
        raise ValueError(
            f"{len(reference)} and {len(other)} observations ({unit}): a comparison needs two in "
            "each condition"
        )
    test, p_value = _permutation_test(reference, other, paired, n_resamples, seed)
    interval = _student if min(len(reference), len(other)) < MIN_BOOTSTRAP else _bootstrapped
    samples = (other - reference,) if paired else (other, reference)
    low, high = np.nan, np.nan
    if not all(map(_constant, samples)):
        low, high = interval(samples, confidence, n_resamples, seed)
    effect_size = cohens_dz(other - reference) if paired else cohens_d(reference, other)
    return pd.DataFrame(
        {
            "measure": measure, "condition": condition, "reference": [levels[0]],
            "other": [levels[1]], "unit": unit, "paired": paired, "n_reference": len(reference),
            "n_other": len(other), "n_left_out": n_rows - len(rows),
            "mean_reference": reference.mean(), "mean_other": other.mean(),
            "difference": other.mean() - reference.mean(), "ci_low": low, "ci_high": high,
            "confidence": confidence, "interval": _INTERVALS[interval], "p_value": p_value,
            "effect_size": effect_size,
            "effect": "Cohen's d_z" if paired else "Cohen's d",
            "cliffs_delta": cliffs_delta(reference, other), "test": test,
        }
    )


def cohens_d(reference, other):
    """Cohen's d of independent samples: difference of means over the pooled SD.

    Parameters
    ----------
    reference, other : array_like
        At least two values each.

    Returns
    -------
    float
        Positive if `other` is larger; NaN if nothing varies.

    Examples
    --------
    >>> cohens_d([1, 2, 3], [3, 4, 5])
    2.0
    """
    reference, other = np.asarray(reference, float), np.asarray(other, float)
    n, m = len(reference), len(other)
    if _constant(reference) and _constant(other):
        return np.nan
    pooled = ((n - 1) * reference.var(ddof=1) + (m - 1) * other.var(ddof=1)) / (n + m - 2)
    return float((other.mean() - reference.mean()) / np.sqrt(pooled))


def cohens_dz(differences):
    """Cohen's d_z of paired samples: mean over SD of the differences.

    Parameters
    ----------
    differences : array_like
        At least two values.

    Returns
    -------
    float
        NaN if the differences do not vary. It depends on the correlation of the pairs: do not
        compare it with `cohens_d`.

    Examples
    --------
    >>> cohens_dz([1, 2, 3])
    2.0
    """
    differences = np.asarray(differences, float)
    if _constant(differences):
        return np.nan
    return float(differences.mean() / differences.std(ddof=1))


def cliffs_delta(reference, other):
    """Cliff's delta: how often a value of one sample exceeds one of the other.

    Parameters
    ----------
    reference, other : array_like

    Returns
    -------
    float
        P(other > reference) - P(other < reference): 1 if all of `other` are larger, -1 if all
        are smaller. Pairing is not regarded.

    Examples
    --------
    >>> cliffs_delta([1, 2], [2, 3])
    0.75
    """
    u = stats.mannwhitneyu(other, reference, method="asymptotic").statistic
    return float(2 * u / (len(reference) * len(other)) - 1)


def correct_p_values(frame, method="holm", column="p_value"):
    """Correct the p-values of a frame for their number.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per test of the family, such as the rows of `compare` in one table.
    method : {'holm', 'benjamini-hochberg'}
        Holm (1979) keeps the probability of any false positive, Benjamini & Hochberg (1995)
        the expected fraction of false ones among the positives.
    column : str

    Returns
    -------
    pandas.DataFrame
        With the columns ``p_corrected, correction``. Missing p-values are no tests and stay so.

    Raises
    ------
    ValueError
        If the column is missing, a p-value is outside 0 to 1, or the method unknown.

    Examples
    --------
    >>> import pandas as pd
    >>> tests = pd.DataFrame({"p_value": [0.01, 0.04, 0.03]})
    >>> correct_p_values(tests)["p_corrected"].tolist()
    [0.03, 0.06, 0.06]
    """
    require_columns(frame, [column], "frame")
    p = frame[column].to_numpy(dtype=float)
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise ValueError(f"'{column}' holds values outside 0 to 1: give p-values")
    corrected = np.full(len(p), np.nan)
    if method == "benjamini-hochberg":
        corrected[known] = stats.false_discovery_control(p[known], method="bh")
    elif method == "holm":
        corrected[known] = _holm(p[known])
    else:
        raise ValueError(f"method = {method!r}: choose 'holm' or 'benjamini-hochberg'")
    return frame.assign(p_corrected=corrected, correction=method)


def d_prime(hits, misses, false_alarms, correct_rejections):
    """Sensitivity d' and criterion c of detection.

    Rates are log-linearly corrected (half a response added to each cell; Hautus 1995, Behav Res
    Methods 27: 46), so that neither 0 nor 1 makes them infinite.

    Parameters
    ----------
    hits, misses, false_alarms, correct_rejections : array_like of int
        They broadcast.

    Returns
    -------
    d_prime, criterion : numpy.ndarray or float
        NaN without trials with or without the signal.

    Raises
    ------
    ValueError
        If a count is negative.

    Examples
    --------
    >>> sensitivity, criterion = d_prime(84, 16, 16, 84)
    >>> round(float(sensitivity), 2), round(float(criterion), 2)
    (1.96, -0.0)
    """
    counts = [np.asarray(n, float) for n in (hits, misses, false_alarms, correct_rejections)]
    if any((n < 0).any() for n in counts):
        raise ValueError("counts of responses cannot be negative")
    hits, misses, false_alarms, correct_rejections = counts
    signal, noise = hits + misses, false_alarms + correct_rejections
    z_hit = stats.norm.ppf((hits + 0.5) / (signal + 1))
    z_false = stats.norm.ppf((false_alarms + 0.5) / (noise + 1))
    shown = (signal > 0) & (noise > 0)
    sensitivity = np.where(shown, z_hit - z_false, np.nan)
    return sensitivity[()], np.where(shown, -(z_hit + z_false) / 2, np.nan)[()]


def concept_detection(trials, by=None):
    """Detection of each concept among all trials: d' and criterion.

    A concept is the signal of its own trials; perceiving it in any other trial is a false alarm.
    A tie or silence (-1) is a "no" to all concepts.

    Parameters
    ----------
    trials : pandas.DataFrame
        ``concept, percept`` (and ``correct``). Trials without a concept (-1) or without a
        decision (percept, or ``correct``, missing) are left out.
    by : sequence of str, optional
        Columns that tell groups apart; ``phase`` and ``replica`` by default, where there are.

    Returns
    -------
    pandas.DataFrame
        ``*by, concept, n_signal, n_noise, hit_rate, false_alarm_rate, d_prime, criterion``; the
        rates are as counted, d' and criterion are corrected, see `d_prime`.

    Raises
    ------
    ValueError
        If a column is missing or no trial is left.

    Examples
    --------
    >>> import pandas as pd
    >>> trials = pd.DataFrame({"concept": [0, 0, 1, 1], "percept": [0, 1, 1, -1]})
    >>> concept_detection(trials)[["concept", "hit_rate", "false_alarm_rate"]]
       concept  hit_rate  false_alarm_rate
    0        0       0.5               0.0
    1        1       0.5               0.5
    """
    by = _by(trials, by)
    require_columns(trials, ["concept", "percept", *by], "trials")
    decided = trials["percept"].notna() & (trials["concept"] != _NONE_SHOWN)
    if "correct" in trials:
        decided &= trials["correct"].notna()
    shown = trials[decided]
    if shown.empty:
        raise ValueError("no trial has a concept and a decision")
    rows = []
    for label, part in _groups(shown, by):
        for concept in sorted(part["concept"].unique()):
            signal, answered = part["concept"] == concept, part["percept"] == concept
            hits, false_alarms = (signal & answered).sum(), (~signal & answered).sum()
            n_signal, n_noise = signal.sum(), (~signal).sum()
            sensitivity, criterion = d_prime(
                hits, n_signal - hits, false_alarms, n_noise - false_alarms
            )
            rows.append(
                {
                    **label, "concept": concept, "n_signal": n_signal, "n_noise": n_noise,
                    "hit_rate": hits / n_signal,
                    "false_alarm_rate": false_alarms / n_noise if n_noise else np.nan,
                    "d_prime": sensitivity, "criterion": criterion,
                }
            )
    return pd.DataFrame(rows)


def psychometric_function(x, threshold, steepness, lapse, chance):
    """Cumulative Gaussian between chance and 1 - lapse.

    Parameters
    ----------
    x : array_like
        Levels of the stimulus.
    threshold : float
        Level half-way between chance and 1 - lapse.
    steepness : float
        1 / SD of the Gaussian; negative for a function that falls.
    lapse, chance : float

    Returns
    -------
    numpy.ndarray or float
        Probability of a correct answer.

    Examples
    --------
    >>> float(psychometric_function(0.5, 0.5, 4.0, 0.1, 0.1))
    0.5
    """
    gauss = stats.norm.cdf(steepness * (np.asarray(x, float) - threshold))
    return chance + (1 - chance - lapse) * gauss


def fit_psychometric(
    trials, level, *, chance, correct="correct", by=None, unit="trial", n_resamples=200, seed=0
):
    """Fit a psychometric function to correct decisions at several levels of a stimulus.

    `psychometric_function` is fitted to the fractions correct by least squares weighted with
    their binomial variance; `chance` is given, the lapse rate is fitted between 0 and 0.5. To
    compare conditions over networks fit each replica and pass the rows to `compare`.

    Parameters
    ----------
    trials : pandas.DataFrame
        Columns `level`, `correct`; trials without a decision (NA) are left out.
    level : str
        Column of the levels, such as ``occlusion`` or ``noise``.
    chance : float
        Fraction correct by guessing: 0 if silence and ties count as wrong and prevail without a
        stimulus, 1 / n_concepts if the network always decides.
    correct : str
    by : sequence of str, optional
        Columns that tell groups apart; ``phase`` and ``replica`` by default, where there are.
    unit : str
        What is an independent observation. Of ``'trial'`` standard errors are those of a binomial
        sample; of a column such as ``'stimulus'``, whose trials belong together, the SD over
        bootstrap samples of its values.
    n_resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        ``*by, level, n_levels, n_trials, threshold, threshold_se, slope, slope_se, lapse,
        chance``: threshold in units of the level, slope at it in probability per unit,
        negative where accuracy falls. NaN if the fit fails, or the threshold is outside the
        levels shown.

    Raises
    ------
    ValueError
        If a column is missing, a group has fewer than `MIN_LEVELS` (4) levels, or `chance` is
        not in 0 to 1.

    Examples
    --------
    >>> import pandas as pd
    >>> trials = pd.DataFrame({"noise": [0, 1, 2, 3, 4] * 20})
    >>> trials["correct"] = trials["noise"] < [2, 2, 2, 2, 2, 3, 3, 3, 3, 3] * 10
    >>> fit_psychometric(trials, "noise", chance=0.0)["threshold"].round(1).tolist()
    [2.0]
    """
    by = _by(trials, by)
    column = [] if unit == "trial" else [unit]
    require_columns(trials, [level, correct, *column, *by], "trials")
    if not 0 <= chance < 1:
        raise ValueError(f"chance = {chance}: give the fraction correct by guessing, 0 to 1")
    shown = trials[trials[correct].notna()].astype({correct: float, level: float})
    rows = []
    for label, part in _groups(shown, by):
        table = part.groupby(level)[correct].agg(["sum", "size"])
        if len(table) < MIN_LEVELS:
            raise ValueError(
                f"{len(table)} levels of '{level}': a psychometric function needs {MIN_LEVELS}"
            )
        x, k, n = table.index.to_numpy(), table["sum"].to_numpy(), table["size"].to_numpy()
        fit = _fit(x, k, n, chance)
        if column:
            fit |= _bootstrap_errors(part, level, correct, unit, chance, n_resamples, seed)
        rows.append(
            {
                **label, "level": level, "n_levels": len(x), "n_trials": int(n.sum()), **fit,
                "chance": chance,
            }
        )
    return pd.DataFrame(rows)


def _bootstrap_errors(part, level, correct, unit, chance, n_resamples, seed):
    """Standard errors of threshold and slope from fits to samples of the units."""
    table = part.pivot_table(
        index=unit, columns=level, values=correct, aggfunc=["sum", "size"], fill_value=0,
        observed=True,
    )
    k, n = (table[name].to_numpy(float) for name in ("sum", "size"))
    x, rng, fits = table["sum"].columns.to_numpy(float), np.random.default_rng(seed), []
    for _ in range(n_resamples):
        chosen = rng.integers(len(n), size=len(n))
        shown = n[chosen].sum(axis=0)
        there = shown > 0
        if there.sum() >= MIN_LEVELS:
            fits.append(_fit(x[there], k[chosen].sum(axis=0)[there], shown[there], chance))
    spread = pd.DataFrame(fits, columns=["threshold", "slope"]).std()
    return {f"{name}_se": float(spread[name]) for name in spread.index}


def _fit(x, k, n, chance):
    names = ["threshold", "threshold_se", "slope", "slope_se", "lapse"]
    failed = dict.fromkeys(names, np.nan)
    p = k / n
    if np.ptp(p) == 0:
        return failed
    low, span = x.min(), np.ptp(x)
    # Half a response each way keeps the variance above zero where all are right or wrong.
    smooth = (k + 0.5) / (n + 1)
    try:
        (middle, steepness, lapse), covariance = optimize.curve_fit(
            lambda z, *parameters: psychometric_function(z, *parameters, chance),
            (x - low) / span, p, p0=[0.5, 4 * np.sign(np.cov(x, p)[0, 1]) or 4, 0.02],
            sigma=np.sqrt(smooth * (1 - smooth) / n), absolute_sigma=True,
            bounds=([-2, -100, 0], [3, 100, 0.5]),
        )
    except RuntimeError:
        return failed
    if not 0 <= middle <= 1:
        return failed
    se_middle, se_steepness = np.sqrt(np.diag(covariance))[:2]
    per_unit = (1 - chance - lapse) * stats.norm.pdf(0) / span
    values = [low + span * middle, span * se_middle, per_unit * steepness, per_unit * se_steepness]
    return dict(zip(names, [*map(float, values), float(lapse)], strict=True))


def _levels(frame, condition, levels):
    found = frame[condition].dropna().unique()
    if levels is None:
        levels = sorted(found)
        if len(levels) != 2:
            raise ValueError(
                f"'{condition}' has {len(levels)} values: name the two to compare in `levels`"
            )
    if len(levels) != 2 or levels[0] == levels[1]:
        raise ValueError("give two different values of the condition in `levels`")
    missing = [level for level in levels if level not in list(found)]
    if missing:
        raise ValueError(f"'{condition}' has no value {missing[0]!r}")
    return levels


def _complete_pairs(rows, condition, measure, keys):
    if rows.duplicated([*keys, condition]).any():
        raise ValueError(
            f"{', '.join(keys)} does not tell the rows of a condition apart: pair by more columns"
        )
    return rows[rows.groupby(keys)[measure].transform("size") == 2]


def _permutation_test(reference, other, paired, n_resamples, seed):
    n = len(reference) + len(other)
    result = stats.permutation_test(
        (other, reference),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        permutation_type="samples" if paired else "independent", vectorized=True,
        n_resamples=n_resamples, batch=max(1, _BATCH // n), rng=np.random.default_rng(seed),
    )
    name = "paired permutation test" if paired else "permutation test"
    exact = len(result.null_distribution) < n_resamples
    return f"{name}, exact" if exact else name, float(result.pvalue)


def _student(samples, confidence, *_):
    result = (
        stats.ttest_1samp(*samples, 0) if len(samples) == 1
        else stats.ttest_ind(*samples, equal_var=False)
    )
    return tuple(map(float, result.confidence_interval(confidence)))


def _bootstrapped(samples, confidence, n_resamples, seed):
    def statistic(a, b=None, axis=-1):
        return a.mean(axis=axis) - (0 if b is None else b.mean(axis=axis))

    interval = stats.bootstrap(
        samples, statistic, confidence_level=confidence, n_resamples=n_resamples, method="BCa",
        batch=max(1, _BATCH // sum(map(len, samples))), rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


_INTERVALS = {_student: "Student's t", _bootstrapped: "BCa bootstrap"}


def _constant(values):
    # Equal differences of measured values differ by rounding.
    return np.ptp(values) <= 1e-12 * max(1.0, np.abs(values).max())


def _holm(p):
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _by(trials, by):
    if by is None:
        return [column for column in ("phase", "replica") if column in trials]
    return [by] if isinstance(by, str) else list(by)


def _groups(frame, by):
    if not by:
        yield {}, frame
        return
    for values, part in frame.groupby(by, observed=True, dropna=False):
        yield dict(zip(by, values, strict=True)), part

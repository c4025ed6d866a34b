"""Spikes to and from the formats of other tools: Neo (and so Elephant), pynapple.

The tools are optional: ``pip install "bsd-brian2[neo]"`` brings Neo, ``pip install pynapple``
pynapple.
"""

import functools

import numpy as np
import pandas as pd

from bsd.analysis.frames import in_order
from bsd.analysis.spike_trains import counts_from_spikes, recorded, trial_duration_ms

_LABELS = ["population", "pathway", "layer", "cell"]


def to_neo(spikes, counts, trials=None):
    """A Neo block of recorded spikes, for Elephant and for the file formats that Neo writes.

    Parameters
    ----------
    spikes, counts, trials
        See `bsd.analysis.spike_trains.spike_counts`; `counts` with ``rate_hz``.

    Returns
    -------
    neo.Block
        One segment per trial (and replica), annotated with ``trial`` (and ``replica``), one
        spike train per cell, annotated with ``population, pathway, layer, cell``, from 0 to the
        end of the trial, in ms. Silent cells have an empty train.

    Raises
    ------
    ImportError
        If Neo is not installed.
    ValueError
        If the frames contradict each other or a spike lies outside its trial.

    Examples
    --------
    Elephant on the cells of one trial::

        block = to_neo(result.spikes, result.counts)
        trains = [t for t in block.segments[0].spiketrains if t.annotations["population"] == "F1"]
        elephant.statistics.mean_firing_rate(trains[0])
    """
    neo, quantities = _neo()
    duration_ms = trial_duration_ms(counts)
    spikes, rows = recorded(spikes, counts, trials)
    keys = ["replica", "trial"] if "replica" in rows else ["trial"]
    times = {
        key: part.to_numpy() for key, part in spikes.groupby([*keys, "population", "cell"])["t_ms"]
    }
    silent = np.empty(0)
    block = neo.Block(name="bsd")
    for key, part in rows.groupby(keys):
        names = dict(zip(keys, map(int, key), strict=True))
        segment = neo.Segment(name=f"trial {names['trial']}", **names)
        block.segments.append(segment)
        for row in in_order(part).itertuples():
            for cell in range(row.n_cells):
                segment.spiketrains.append(
                    neo.SpikeTrain(
                        times.get((*key, row.population, cell), silent), units=quantities.ms,
                        t_stop=duration_ms, name=f"{row.population} {cell}",
                        population=row.population, pathway=row.pathway, layer=int(row.layer),
                        cell=cell,
                    )
                )
    return block


def from_neo(block):
    """The frames of a Neo block with the annotations that `to_neo` writes.

    Parameters
    ----------
    block : neo.Block
        Segments annotated with ``trial`` (and ``replica``), spike trains with ``population,
        pathway, layer, cell``, all starting at 0 and equally long.

    Returns
    -------
    spikes, counts : pandas.DataFrame
        ``trial, t_ms, [replica,] population, pathway, layer, cell`` and ``trial, [replica,]
        population, pathway, layer, n_cells, spikes, rate_hz``.

    Raises
    ------
    ImportError
        If Neo is not installed.
    ValueError
        If an annotation is missing, trains differ in duration, or there is no train.
    """
    _, quantities = _neo()
    trains, times = [], []
    to_ms = functools.cache(lambda units: float(quantities.Quantity(1.0, units).rescale("ms")))
    for segment in block.segments:
        if "trial" not in segment.annotations:
            raise ValueError("a segment of the block has no annotation 'trial': add its number")
        of_segment = {key: segment.annotations[key] for key in ("trial", "replica")
                      if key in segment.annotations}
        for train in segment.spiketrains:
            missing = [label for label in _LABELS if label not in train.annotations]
            if missing:
                raise ValueError(f"a spike train has no annotation {', '.join(missing)}: add it")
            factor = to_ms(train.dimensionality.string)
            times.append(train.magnitude * factor)
            label = {key: train.annotations[key] for key in _LABELS}
            ends = {"start": float(train.t_start) * factor, "stop": float(train.t_stop) * factor}
            trains.append({**of_segment, **label, **ends})
    if not trains:
        raise ValueError("the block has no spike train")
    trains = pd.DataFrame(trains)
    if trains["start"].any() or np.ptp(trains["stop"]) > 1e-6:
        raise ValueError("spike trains must start at 0 and end at the same time: cut them alike")
    spikes = trains.loc[trains.index.repeat([len(t_ms) for t_ms in times])]
    spikes = spikes.assign(t_ms=np.concatenate(times))
    keys = [key for key in ("trial", "replica") if key in trains]
    spikes = spikes[["trial", "t_ms", *keys[1:], *_LABELS]]
    spikes = spikes.sort_values([*keys, "t_ms", "population", "cell"], ignore_index=True)
    of_population = trains.groupby(["population", "pathway", "layer"])["cell"]
    populations = (of_population.max() + 1).rename("n_cells").reset_index()
    counts = counts_from_spikes(spikes, populations, trains["stop"].iloc[0], trains)
    return spikes, counts


def to_pynapple(spikes, counts, trials=None):
    """Spikes as pynapple objects, trials laid end to end.

    Parameters
    ----------
    spikes, counts, trials
        See `bsd.analysis.spike_trains.spike_counts`; `counts` with ``rate_hz``.

    Returns
    -------
    pynapple.TsGroup
        One unit per cell, silent ones included, with the metadata ``[replica,] population,
        pathway, layer, cell``.
    pynapple.IntervalSet
        One interval per trial, with the metadata ``trial``.

    Raises
    ------
    ImportError
        If pynapple is not installed.
    ValueError
        If the frames contradict each other, or replicas were recorded in different trials.

    Examples
    --------
    Rates of one population in the trials of concept 3::

        units, epochs = to_pynapple(result.spikes, result.counts)
        concept = result.trials.set_index("trial")["concept"].loc[epochs["trial"]]
        shown = epochs[np.flatnonzero(concept == 3)]
        units[units["population"] == "F1"].restrict(shown).rates

    A peri-stimulus histogram needs the onsets only::

        onsets = pynapple.Ts(epochs.start)
        pynapple.compute_perievent(units, onsets, window=(0, 0.5))
    """
    try:
        import pynapple
    except ImportError as error:
        raise ImportError("to_pynapple needs pynapple: pip install pynapple") from error
    duration_ms = trial_duration_ms(counts)
    spikes, rows = recorded(spikes, counts, trials)
    replica = ["replica"] if "replica" in rows else []
    numbers = np.unique(rows["trial"])
    if replica and not rows.groupby("replica")["trial"].nunique().eq(len(numbers)).all():
        raise ValueError("replicas were recorded in different trials: hand over one replica")
    cells = rows.drop_duplicates([*replica, "population"])
    cells = in_order(cells)[[*replica, "population", "pathway", "layer", "n_cells"]]
    cells = cells.loc[cells.index.repeat(cells.pop("n_cells"))].reset_index(drop=True)
    cells["cell"] = cells.groupby([*replica, "population"], sort=False).cumcount()
    onset = np.searchsorted(numbers, spikes["trial"]) * duration_ms
    spikes = spikes.assign(t_s=1e-3 * (onset + spikes["t_ms"])).sort_values("t_s")
    unit = [*replica, "population", "cell"]
    times = {key: part.to_numpy() for key, part in spikes.groupby(unit)["t_s"]}
    silent = np.empty(0)
    starts = 1e-3 * duration_ms * np.arange(len(numbers))
    ends = starts + 1e-3 * duration_ms
    # Intervals that touch lose 1 us, the resolution of its clock, with a warning.
    epochs = pynapple.IntervalSet(starts, ends - 1e-6, metadata={"trial": numbers})
    span = pynapple.IntervalSet(0, ends[-1])
    units = {
        number: pynapple.Ts(times.get(key, silent), time_support=span)
        for number, key in enumerate(zip(*(cells[column] for column in unit), strict=True))
    }
    return pynapple.TsGroup(units, time_support=span, metadata=cells), epochs


def _neo():
    try:
        import neo
        import quantities
    except ImportError as error:
        raise ImportError('this needs Neo: pip install "bsd-brian2[neo]"') from error
    return neo, quantities

"""Description of a network, generated from its objects: the tables of Nordlie et al. (2009).

Nothing is written down twice: sizes and wiring come from the layout, rules and learning rates
from the values that go into the simulation, equations and their order from the Brian2 objects
that `BidirectionalNetwork.create` makes, parameters from their dataclass fields.

Nordlie E., Gewaltig M.-O., Plesser H. E. (2009). Towards reproducible descriptions of neuronal
network models. PLoS Comput Biol 5(8): e1000456.
"""

import gc
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass, fields

import pandas as pd
from brian2 import EventMonitor, NeuronGroup, StateMonitor, Synapses, prefs, set_device
from brian2.devices.device import reset_device
from brian2.equations.equations import INTEGER, EquationError, Equations
from brian2.groups.group import CodeRunner
from brian2.groups.neurongroup import Resetter, StateUpdater, Thresholder
from brian2.synapses.synapses import SummedVariableUpdater, SynapticPathway
from brian2.units import get_dimensions
from brian2.units.fundamentalunits import DIMENSIONLESS

from bsd.equations import encoders, without_comments
from bsd.networks.dense import COMPUTED
from bsd.networks.equation_errors import explained

__all__ = ["ModelDescription", "describe"]

@dataclass(frozen=True)
class ModelDescription:
    """Tables that describe a network.

    Attributes
    ----------
    summary : dict of str to value
        Layers, replicas, numbers of cells and synapses, time step and trial (ms), how
        projections are computed, precision.
    populations : DataFrame
        Columns name, pathway, layer, cells, learns_by, partner; of one replica.
    projections : DataFrame
        Columns name, kind, source, target, connectivity, synapses, learning_rate, plastic,
        object; of one replica.
    interneurons : DataFrame
        Columns population, kind, cells, synapses, holds; of one replica.
    equations : DataFrame
        Columns object, what, name, slot, clock_ms, text, strings: everything that the Brian2
        objects compute, as it stands in the source, with comments and units, and the names under
        which `BidirectionalNetwork` takes other text for it; for synapses the name is that of the
        presynaptic event.
    parameters : DataFrame
        Columns key, symbol, value (text with unit), meaning, source.
    schedule : DataFrame
        Columns slot, clock_ms, object, what, name: what runs in a time step, in order; object,
        what and name are those of `equations`.
    """

    summary: dict
    populations: pd.DataFrame
    projections: pd.DataFrame
    interneurons: pd.DataFrame
    equations: pd.DataFrame
    parameters: pd.DataFrame
    schedule: pd.DataFrame


def describe(network):
    """Describe a network by tables.

    Parameters
    ----------
    network : BidirectionalNetwork

    Returns
    -------
    ModelDescription

    Notes
    -----
    The Brian2 objects are made on the runtime device and dropped again; the active device and
    the preferences stay as they are.
    """
    values = network.values()
    with runtime_device(), explained(network):
        objects = network.create()
        brian_network = objects.network()
        equations = _equations(network, objects, brian_network)
        schedule = _schedule(brian_network)
        del objects, brian_network
        gc.collect()
    return ModelDescription(
        summary=_summary(network),
        populations=_populations(network, values),
        projections=_projections(network, values),
        interneurons=_interneurons(network),
        equations=equations,
        parameters=_parameters(network.parameters),
        schedule=schedule,
    )


@contextmanager
def runtime_device():
    names = ("core.default_float_dtype", "codegen.target")
    before = {name: prefs[name] for name in names}
    set_device("runtime")
    prefs["codegen.target"] = "numpy"
    try:
        yield
    finally:
        reset_device()
        for name in names:
            prefs[name] = before[name]


# ---------------------------------------------------------------------- wiring


def _summary(network):
    layout, timing = network.layout, network.parameters.timing
    return {
        "layers": list(layout.layers),
        "concepts": network.n_concepts,
        "replicas": layout.replicas,
        "pyramidal cells": layout.n_cells,
        "afferents": layout.n_afferents,
        "plastic synapses": network.n_synapses,
        "dt_ms": round(float(timing.dt) * 1e3, 9),
        "trial_ms": round(float(timing.duration) * 1e3, 9),
        "projection": network.projection,
        "precision": network.precision,
    }


def _of_one_replica(populations):
    return [p for p in populations if p.replica == 0]


def _populations(network, values):
    layout = network.layout
    rows = []
    for population in _of_one_replica(layout.afferents + layout.populations):
        afferent = population.pathway == "afferent"
        rows.append(
            {
                "name": population.name,
                "pathway": population.pathway,
                "layer": population.layer,
                "cells": population.size,
                "learns_by": "-" if afferent else _rule(population, values),
                "partner": layout.partner(population).name,
            }
        )
    return pd.DataFrame(rows)


def _rule(population, values):
    def on(name):
        return name in values and values[name][population.start] > 0

    features = "dendritic voltages" if on("cells.by_voltage") else "spikes"
    contrastive = "InfoNCE" if "normaliser.temperature" in values else "ReCo"
    delta = "delta rule on spikes"
    if on("cells.vote"):
        delta += " and their population vector"
    rules = {
        "cells.reco": f"{contrastive} on {features}",
        "cells.delta_spikes": delta,
        "cells.delta_volts": "delta rule on the basal drive",
        "cells.softmax": "softmax cross-entropy on the basal drive",
    }
    rule = " and ".join(text for name, text in rules.items() if on(name)) or "no rule"
    return rule if on("cells.eta") else f"fixed ({rule} at rate 0)"


def _projections(network, values):
    layout = network.layout
    rows = []
    for projection in layout.projections:
        if projection.source.replica:
            continue
        rate = float(values["cells.eta"][projection.target.start])
        rows.append(
            {
                "name": projection.name,
                "kind": projection.kind,
                "source": "+".join(layout.streams(projection.source)),
                "target": "+".join(layout.streams(projection.target)),
                "connectivity": _connectivity(network, projection),
                "synapses": int(network.connectivity(projection).sum()),
                "learning_rate": rate,
                "plastic": rate > 0,
                "object": projection.synapses,
            }
        )
    for target in _of_one_replica(layout.populations):
        source = layout.partner(target)
        afferent = source.pathway == "afferent"
        graded = network.parameters.learning.features == "voltages" and not afferent
        rows.append(
            _pairs(
                "apical, graded" if graded else "apical",
                source,
                target,
                "afferent_apical" if afferent else "cortical_apical",
            )
        )
    for target in _of_one_replica(layout.afferents):
        rows.append(_pairs("relay, gated", layout.partner(target), target, "relay"))
    return pd.DataFrame(rows)


def _connectivity(network, projection):
    if network.connectivity(projection).all():
        return "all-to-all"
    first = 0 in (projection.source.layer, projection.target.layer)
    side = network.fields.side if first else network.fields.deep_side
    return f"squares of {side} x {side} {'pixels' if first else 'places'}"


def _pairs(kind, source, target, synapses):
    return {
        "name": f"{source.name} to {target.name}",
        "kind": kind,
        "source": source.name,
        "target": target.name,
        "connectivity": "one-to-one",
        "synapses": target.size,
        "learning_rate": 0.0,
        "plastic": False,
        "object": synapses,
    }


def _interneurons(network):
    learning, layout = network.parameters.learning, network.layout
    slots, top = learning.memory_slots, layout.population(f"F{layout.depth + 1}")
    added = {
        "softmax": ", sum of exp(beta u) and of r^",
        "vector": ", population vectors F of r and F_a of r^",
    }.get(learning.top_rule, "")
    pooled = "|r|^2, |r^|^2, r . r^ of the trial"
    rows = []
    for population in _of_one_replica(layout.populations):
        rows.append(
            {
                "population": population.name,
                "kind": "normaliser",
                "cells": 1,
                "synapses": population.size,
                "holds": pooled + (added if population is top else ""),
            }
        )
        if network.has_memory(population):
            rows.append(
                {
                    "population": population.name,
                    "kind": "memory",
                    "cells": slots,
                    "synapses": slots * population.size,
                    "holds": f"apical pattern of the last {slots} trials",
                }
            )
    return pd.DataFrame(rows)


# ---------------------------------------------------------------------- parameters


def _parameters(parameters):
    rows = []
    for section in fields(parameters):
        values = getattr(parameters, section.name)
        for entry in fields(values):
            about, value = entry.metadata, getattr(values, entry.name)
            source = about["source"]
            if value != about["default"]:
                default = _with_unit(about["default"], about["unit"])
                source = f"set for this network; default {default}: {source}"
            rows.append(
                {
                    "key": f"{section.name}.{entry.name}",
                    "symbol": about["symbol"],
                    "value": _with_unit(value, about["unit"]),
                    "meaning": about["meaning"],
                    "source": source,
                }
            )
    return pd.DataFrame(rows)


def _with_unit(value, unit):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    number = f"{float(value / unit):.6g}"
    return number if get_dimensions(unit) is DIMENSIONLESS else f"{number} {unit!s}"


# ---------------------------------------------------------------------- Brian2 objects


def _clock_ms(thing):
    return round(float(thing.clock.dt) * 1e3, 9)


def _equations(network, objects, brian_network):
    things = sorted(brian_network.objects, key=lambda thing: thing.name)
    groups = [thing for thing in things if isinstance(thing, NeuronGroup)]
    synapses = [thing for thing in things if isinstance(thing, Synapses)]
    sources = _equation_sources(network.equations)
    rows = []
    for group in groups:
        rows += _group_rows(group, sources)
    for thing in synapses:
        rows += _synapses_rows(thing, sources)
        if thing.name in objects.dense:
            rows += _dense_rows(objects.dense[thing.name])
    frame = pd.DataFrame(rows)
    frame["strings"] = [
        _strings_in(text, network.equations, afferent=owner == "afferents")
        for owner, text in zip(frame["object"], frame["text"], strict=True)
    ]
    return frame


def _strings_in(text, equations, afferent):
    """Names of the strings of the model that a text was put together from."""
    lines = {tuple(words) for words in without_comments(text)}
    found = {}
    for name, string in equations.items():
        for one in string.values() if isinstance(string, dict) else [string]:
            own = {tuple(words) for words in without_comments(one)}
            if own and own <= lines:
                found[name] = own
    kept = [n for n, own in found.items() if not any(own < other for other in found.values())]
    of_afferents = set(encoders.__all__)

    def is_anothers(name):  # alike in cells and afferents is the counting of spikes
        twins = [n for n in kept if n != name and found[n] == found[name]]
        return bool(twins) and (name in of_afferents) != afferent

    return ", ".join(name for name in kept if not is_anothers(name))


def _role(thing):
    """What a scheduled Brian2 object does, and its name."""
    if isinstance(thing, StateUpdater):
        return "integration", ""
    if isinstance(thing, Thresholder):
        return "threshold" if thing.event == "spike" else "event", thing.event
    if isinstance(thing, Resetter):
        return "reset", thing.event
    if isinstance(thing, SummedVariableUpdater):
        return "summed variable", thing.target_varname
    if isinstance(thing, SynapticPathway):
        return f"on_{thing.prepost}", thing.event
    if isinstance(thing, StateMonitor):
        return "monitor", f"{', '.join(thing.record_variables)} of {thing.source.name}"
    if isinstance(thing, EventMonitor):
        return "monitor", f"event {thing.event} of {thing.source.name}"
    if isinstance(thing, CodeRunner):
        return "code", thing.name
    return None  # a group or its synapses as a whole: they run nothing themselves


def _plain_row(thing, what, name, text):
    return {
        "object": thing.name,
        "what": what,
        "name": name,
        "slot": "",
        "clock_ms": float("nan"),
        "text": textwrap.dedent(text).strip("\n"),
    }


def _scheduled_row(owner, runner, text):
    row = _plain_row(owner, *_role(runner), text)
    return row | {"slot": runner.when, "clock_ms": _clock_ms(runner)}


def _group_rows(group, sources):
    rows = [_plain_row(group, "equations", "", _model_text(dict(group.user_equations), sources))]
    updater = group.state_updater
    if _integrates(group):
        text = f"method = {type(updater.method_choice).__name__}"
        for name, value in (updater.method_options or {}).items():
            text += f"\n{name} = {', '.join(value)}"
        rows.append(_scheduled_row(group, updater, text))
    if group._refractory is not False:
        rows.append(_plain_row(group, "refractory", "", group._refractory))
    for event, thresholder in sorted(group.thresholder.items(), reverse=True):
        rows.append(_scheduled_row(group, thresholder, group.events[event]))
        if event in group.resetter:
            rows.append(_scheduled_row(group, group.resetter[event], group.event_codes[event]))
    for runner in group.contained_objects:
        if (_role(runner) or ("",))[0] == "code":
            rows.append(_scheduled_row(group, runner, runner.abstract_code))
    return rows


def _synapses_rows(synapses, sources):
    rows = []
    model, summed = dict(synapses.equations), synapses.summed_updaters
    if model or summed:
        sums = {name: updater.expression.code for name, updater in summed.items()}
        rows.append(_plain_row(synapses, "equations", "", _model_text(model, sources, sums)))
    for name, updater in summed.items():
        text = f"{name} = sum over synapses of {updater.expression.code}"
        rows.append(_scheduled_row(synapses, updater, text))
    for pathway in synapses._pathways:
        rows.append(_scheduled_row(synapses, pathway, pathway.code))
    return rows


def _dense_rows(dense):
    name = dense.synapses.name
    texts = {
        "drive": f"{name}_drive(i) = sum of w over the presynaptic cells that fired in this step",
        "update": f"{name}_update(i) applies, for every presynaptic cell with r_learn != 0,\n"
        f"    {COMPUTED['LEARN']}\n"
        "and returns how many synapses of cell i it changed",
    }
    return [
        _plain_row(
            dense.synapses,
            "function",
            f"{name}_{role}",
            f"{text}\nreads {_touched(dense.reads[role])}; writes {_touched(dense.writes[role])}",
        )
        for role, text in texts.items()
    ]


def _touched(variables):
    texts = [f"{side} {', '.join(names)}" for side, names in variables.items() if names]
    return "; ".join(texts) or "nothing"


def _equation_sources(equations):
    """Those of the model's strings that are equations, each with its parsed form."""
    sources = []
    for text in equations.values():
        if not isinstance(text, str):
            continue
        try:
            parsed = dict(Equations(text))
        except EquationError:  # code or a condition
            continue
        if parsed:
            sources.append((text, parsed))
    return sources


def _model_text(present, sources, summed=None):
    """Equations of an object as the source strings they were made from.

    Brian2 keeps equations parsed, without comments and order; a source string stands in for
    them if each of its equations is among the object's. What no string covers is written out.
    """
    summed = summed or {}
    order = [*present, *summed]

    def holds(name, equation):
        if name in summed:
            return equation.expr is not None and equation.expr.code == summed[name]
        return present.get(name) == equation

    blocks, covered = [], set()
    for text, parsed in sources:
        if covered.isdisjoint(parsed) and all(holds(*item) for item in parsed.items()):
            first = min(order.index(name) for name in parsed)
            blocks.append((first, textwrap.dedent(text).strip("\n")))
            covered.update(parsed)
    rest = [name for name in order if name not in covered]
    if rest:
        lines = [
            f"{name} = {summed[name]} : 1 (summed)" if name in summed else _line(present[name])
            for name in rest
        ]
        blocks.append((order.index(rest[0]), "\n".join(lines)))
    return "\n\n".join(text for _, text in sorted(blocks))


def _line(equation):
    line = str(equation)
    if equation.var_type == INTEGER:  # which Brian2 prints as the unit 1
        line = line.replace(": 1", ": integer", 1)
    return line


def _schedule(brian_network):
    rows = []
    for thing in brian_network.sorted_objects:
        role = _role(thing)
        if role is None or (role[0] == "integration" and not _integrates(thing.group)):
            continue
        what, name = role
        rows.append(
            {
                "slot": thing.when,
                "clock_ms": _clock_ms(thing),
                "object": thing.name if what == "monitor" else thing.group.name,
                "what": what,
                "name": name,
            }
        )
    return pd.DataFrame(rows)


def _integrates(group):
    return bool(group.user_equations.diff_eq_names)

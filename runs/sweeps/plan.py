"""Sweep files: which points of which experiment.

    description: Threshold and repulsion        # the only text that is free
    experiment: demo                            # see `bsd list`
    data: mnist5k                               # else the experiment's
    layers: [256, 256]                          # the same
    epochs: 3
    set: {learning.eta: 0.1}                    # parameters of all points
    seeds: [0, 1, 2]                            # default [0]
    device: cpp                                 # or runtime
    grid:                                       # all combinations
      cell.V_threshold: [-57*mV, -55*mV]
      layers: [[256], [256, 256]]
    random:                                     # n samples
      n: 20
      seed: 1
      ranges:
        learning.lam: {loguniform: [0.1, 10]}
        cell.tau_soma: {uniform: [2*ms, 5*ms]}
        learning.top_rule: {choice: [delta, reco]}
    list:                                       # one by one, with a label and, if wanted, a factor
      - {label: reference}
      - {label: no repulsion, factor: lambda, learning.lam: 0}

Whatever can be given for all points (parameters, options of the data such as `data.horizon`,
`layers`, `epochs`) can be varied. The points of `grid`, `random` and `list` are joined; one of them
is needed.
"""

import difflib
import itertools
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import yaml
from brian2 import get_dimensions
from brian2.units.fundamentalunits import DIMENSIONLESS

from bsd.equations import InputError
from bsd.equations.parameters import unknown_key
from bsd.runs.engine.devices import DEVICES
from bsd.runs.experiments import Experiment, experiment
from bsd.runs.experiments.run import checked_seeds
from bsd.runs.literals import format_value, parse_value

__all__ = ["SHIPPED", "Point", "Sweep", "read_sweep"]

#: Sweep files that ship with the package, by name.
SHIPPED = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.yaml"))}

MAX_BYTES = 1_000_000
MAX_POINTS = 10_000

_KEYS = (
    "description", "experiment", "data", "layers", "epochs", "set", "seeds", "device", "grid",
    "random", "list",
)
_DISTRIBUTIONS = ("uniform", "loguniform", "choice")


@dataclass(frozen=True)
class Point:
    """One point of a sweep.

    Attributes
    ----------
    label : str
    factor : str
        What the point changes, for points that are compared with a reference; else empty.
    experiment : Experiment
        With all changes made.
    """

    label: str
    factor: str
    experiment: Experiment


@dataclass(frozen=True)
class Sweep:
    """A sweep that has been read and checked.

    Attributes
    ----------
    name, description : str
    base : Experiment
        What all points start from.
    seeds : tuple of int
    device : str
    points : tuple of Point
    varied : tuple of str
        Parameters, options of the data, ``layers`` or ``epochs`` in which the points differ.
    text : str
        The file.
    """

    name: str
    description: str
    base: Experiment
    seeds: tuple
    device: str
    points: tuple
    varied: tuple
    text: str

    def columns(self, point):
        """Values of what is varied at a point, by column of the results.

        Returns
        -------
        dict of str to number or text
            Quantities in the unit that ends the column's name; layers as text and as their
            number, ``depth``.
        """
        own = _settings(point.experiment)
        columns = {}
        for key in self.varied:
            if key == "layers":
                columns |= {"layers": "-".join(map(str, own[key])), "depth": len(own[key])}
                continue
            unit = _unit(key)
            if unit is None:
                columns[key] = own[key]
            else:
                columns[f"{key}_{unit!s}"] = float(own[key] / unit)
        return columns

    def is_reference(self, point):
        """Whether a point changes nothing."""
        return _identity(point.experiment) == _identity(self.base)


def read_sweep(name):
    """Read a sweep file and check everything that it says.

    Parameters
    ----------
    name : str or path-like
        A file, or the name of one that ships with the package (`SHIPPED`).

    Returns
    -------
    Sweep

    Raises
    ------
    InputError
        For whatever is wrong in it; the text names the key and the nearest known one.
    """
    path = SHIPPED.get(str(name), Path(name))
    text, content = _load(path)
    try:
        return _sweep(path.stem, text, content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


# ------------------------------------------------------------------ the file


class _Loader(yaml.SafeLoader):
    """Safe YAML in which no key is given twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"line {node.start_mark.line + 1}: {key!r} is given twice.")
        return super().construct_mapping(node, deep)


def _load(path):
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: a sweep file has at most {MAX_BYTES:,} bytes.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        near = difflib.get_close_matches(str(path), SHIPPED, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"no sweep file {path} ({error.strerror}): {hint}Give a YAML file, or one of "
            f"{', '.join(SHIPPED)}."
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8: give a YAML file.") from None
    try:
        content = yaml.load(text, _Loader)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is no YAML: {error}") from None
    return text, content


def _sweep(name, text, content):
    _check_keys("the file", content, _KEYS)
    if "experiment" not in content:
        raise InputError("experiment is missing: name the one to start from, see `bsd list`.")
    base = experiment(_text("experiment", content["experiment"]))
    if "data" in content:
        from bsd.runs.data import available

        known = list(available()["name"])
        base = replace(base, data=_one_of("data", content["data"], known))
    shared = _parameters("set", content.get("set", {}))
    shared |= {key: content[key] for key in ("layers", "epochs") if key in content}
    base = _changed(base, "the file", {key: _value(key, value) for key, value in shared.items()})
    device = _one_of("device", content.get("device", "cpp"), DEVICES)
    changes = [
        *_grid(content.get("grid", {})),
        *_list(content.get("list", [])),
        *_random(base, content.get("random", {})),
    ]
    if not changes:
        raise InputError("no points: give grid, random or list.")
    points = tuple(
        Point(label, factor, _changed(base, f"the point {label!r}", values))
        for label, factor, values in changes
    )
    _check_different(points)
    settings = [_settings(point.experiment) for point in points]
    varied = tuple(k for k in settings[0] if any(own[k] != settings[0][k] for own in settings))
    return Sweep(
        name=name,
        description=_text("description", content.get("description", "")),
        base=base,
        seeds=tuple(checked_seeds(content.get("seeds", [0]))),
        device=device,
        points=points,
        varied=varied,
        text=text,
    )


def _check_keys(where, mapping, known):
    if not isinstance(mapping, dict):
        raise InputError(f"{where} must be names and values, `name: value`.")
    for key in mapping:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise InputError(f"{where}: unknown key {key!r}: {hint}")


def _text(key, value):
    if not isinstance(value, str):
        raise InputError(f"{key} = {value!r}: text is needed.")
    return value


def _one_of(key, value, known):
    if value not in list(known):
        near = difflib.get_close_matches(str(value), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}."
        raise InputError(f"{key} = {value!r}: {hint}")
    return value


def _check_different(points):
    seen = {}
    for point in points:
        identity = _identity(point.experiment)
        if identity in seen:
            raise InputError(
                f"the point {point.label!r} is the same as {seen[identity]!r}: leave one out."
            )
        seen[identity] = point.label


# ------------------------------------------------------------------ values


def _parameters(where, mapping):
    """A mapping whose keys are known parameters, or options of the data (`data.path`)."""
    if not isinstance(mapping, dict):
        raise InputError(f"{where} must be names and values, `name: value`.")
    known = [*_METADATA, "layers", "epochs"]
    for key in mapping:
        if key not in known and not str(key).startswith("data."):
            error = unknown_key(str(key), known)
            raise InputError(f"{where}: {error}")
    return dict(mapping)


def _value(key, raw):
    """A value as YAML read it, text parsed with its units."""
    if key == "layers":
        return _layers(raw)
    if isinstance(raw, str):
        try:
            raw = parse_value(key, raw)
        except InputError as error:
            raise InputError(f"{key}: {error}") from None
    if raw is None or isinstance(raw, (list, dict)):
        raise InputError(f"{key} = {raw!r}: one value is needed.")
    return raw


def _layers(raw):
    widths = raw if isinstance(raw, list) else [raw]
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in widths)
    if not widths or not whole:
        raise InputError(
            f"layers = {raw!r}: give hidden widths, positive whole numbers, such as [256, 256]."
        )
    return tuple(widths)


def _changed(base, where, changes):
    own = dict(changes)
    hidden, epochs = own.pop("layers", None), own.pop("epochs", None)
    try:
        return base.changed(hidden=hidden, epochs=epochs, assignments=own)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


_METADATA = {
    f"{section.name}.{entry.name}": entry.metadata
    for section in fields(experiment("demo").parameters)
    for entry in fields(getattr(experiment("demo").parameters, section.name))
}


def _unit(key):
    """Unit of a parameter, None for numbers, text and switches."""
    unit = _METADATA[key]["unit"] if key in _METADATA else 1
    return None if get_dimensions(unit) is DIMENSIONLESS else unit


def _settings(changed):
    """Everything that a sweep can vary, by name."""
    own = {"layers": changed.hidden, "epochs": changed.epochs}
    own |= {f"data.{name}": changed.options.get(name) for name in changed.known_options}
    return own | dict(changed.parameters.items())


def _identity(changed):
    return tuple(format_value(value) for value in _settings(changed).values())


def _label(values):
    def text(key, value):
        if key == "layers":
            return "-".join(map(str, value))
        return format_value(value).replace("*", " ", 1)

    return ", ".join(f"{key.rpartition('.')[2]} = {text(key, values[key])}" for key in values)


# ------------------------------------------------------------------ points


def _grid(grid):
    axes = _parameters("grid", grid)
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"grid: {key} = {values!r}: give a list of values.")
    if math.prod(len(values) for values in axes.values()) > MAX_POINTS:
        raise InputError(f"grid: a sweep has at most {MAX_POINTS:,} points.")
    axes = {key: [_value(key, raw) for raw in values] for key, values in axes.items()}
    if not axes:
        return
    for values in itertools.product(*axes.values()):
        values = dict(zip(axes, values, strict=True))
        yield _label(values), "", values


def _list(entries):
    if not isinstance(entries, list) or len(entries) > MAX_POINTS:
        raise InputError(f"list: give at most {MAX_POINTS:,} points, each `- {{label: ..., ...}}`.")
    labels = set()
    for number, entry in enumerate(entries, start=1):
        where = f"list: point {number}"
        if not isinstance(entry, dict):
            raise InputError(f"{where} must be names and values, `- {{label: ..., ...}}`.")
        values = {k: v for k, v in entry.items() if k not in ("label", "factor")}
        _parameters(where, values)
        values = {key: _value(key, raw) for key, raw in values.items()}
        label = entry.get("label", _label(values) or "reference")
        label = _text(f"{where}: label", label)
        factor = _text(f"{where}: factor", entry.get("factor", ""))
        if (factor, label) in labels:
            raise InputError(f"{where}: the label {label!r} is given twice.")
        labels.add((factor, label))
        yield label, factor, values


def _random(base, section):
    _check_keys("random", section, ("n", "seed", "ranges"))
    if not section:
        return
    n, seed = section.get("n"), section.get("seed", 0)
    for key, value, least in (("n", n, 1), ("seed", seed, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"random: {key} = {value!r}: a whole number of at least {least}.")
    if n > MAX_POINTS:
        raise InputError(f"random: n = {n}: a sweep has at most {MAX_POINTS:,} points.")
    ranges = _parameters("random: ranges", section.get("ranges"))
    if not ranges:
        raise InputError("random: ranges is empty: give a range for each parameter to vary.")
    draws = {key: _range(key, given) for key, given in ranges.items()}
    generator, seen, found = np.random.default_rng(seed), set(), 0
    for _ in range(100 * n):
        values = {key: draw(generator) for key, draw in draws.items()}
        identity = _identity(_changed(base, "random", values))
        if identity not in seen:
            seen.add(identity)
            found += 1
            yield f"sample {found}: {_label(values)}", "", values
        if found == n:
            return
    raise InputError(f"random: n = {n}, but the ranges have only {found} different points.")


def _range(key, given):
    """Function that draws a value with a generator."""
    where = f"random: ranges: {key}"
    _check_keys(where, given, _DISTRIBUTIONS)
    if len(given) != 1:
        raise InputError(f"{where}: give one of {', '.join(_DISTRIBUTIONS)}.")
    ((kind, values),) = given.items()
    if not isinstance(values, list) or len(values) < 1 or (kind != "choice" and len(values) != 2):
        what = "values" if kind == "choice" else "two bounds"
        raise InputError(f"{where}: {kind} = {values!r}: give a list of {what}.")
    if kind == "choice":
        values = [_value(key, raw) for raw in values]
        return lambda generator: values[generator.integers(len(values))]
    if key == "layers" or key.startswith("data."):
        raise InputError(f"{where}: {key} is drawn by choice.")
    return _interval(where, kind, key, [_value(key, raw) for raw in values])


def _interval(where, kind, key, bounds):
    unit = _unit(key) or 1
    whole = key == "epochs" or type(_METADATA[key]["default"]) is int
    numbers = [
        float(bound / unit)
        for bound in bounds
        if not isinstance(bound, (bool, str)) and get_dimensions(bound) == get_dimensions(unit)
    ]
    if len(numbers) < 2 or not np.isfinite(numbers).all() or numbers[0] >= numbers[1]:
        raise InputError(f"{where}: {kind}: give two numbers, the smaller first, with their unit.")
    low, high = numbers
    if kind == "loguniform" and low <= 0:
        raise InputError(f"{where}: loguniform: bounds must be positive.")

    def draw(generator):
        if kind == "loguniform":
            number = math.exp(generator.uniform(math.log(low), math.log(high)))
        elif whole:
            return int(generator.integers(round(low), round(high) + 1))
        else:
            number = generator.uniform(low, high)
        number = min(max(number, low), high)
        return round(number) if whole else number * unit

    return draw

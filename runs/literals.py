"""Values of parameters as text: ``--set key=value`` and the configuration files.

A value is a number, a quantity with units, true, false, none, text, or a list of values. It is
read by a small recursive-descent parser whose names come from a whitelist; nothing is evaluated.

    value   = list | "'text'" | true | false | none | name | [ sign ] integer | [ sign ] inf
            | product
    list    = "[" [ value { "," value } ] "]"
    product = factor [ unit, after a number ] { ( "*" | "/" ) factor }
    factor  = [ sign ] number | ( unit | "(" product ")" ) [ "**" [ sign ] number ]
"""

import difflib
import math
import re
from typing import NamedTuple

import numpy as np
from brian2.units import allunits, stdunits
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension, Quantity

from bsd.equations.errors import InputError

MAX_LENGTH = 10_000
MAX_DEPTH = 8
MAX_POWER = 30
MAX_DIGITS = 100

_BASE_UNITS = ("metre", "kilogram", "second", "amp", "kelvin", "mole")
_BASE_DIMENSIONS = ("length", "mass", "time", "current", "temperature", "substance")
_PREFIXED = ("second", "volt", "amp", "siemens", "ohm", "farad", "hertz", "metre", "meter")
_PREFIXES = ("p", "n", "u", "m", "", "k", "M", "G")
_STANDARD = "ms us mV mA uA nA pA uF nF pF mS uS nS Hz kHz MHz cm mm um cm2 mm2 um2".split()
UNITS = {
    **{name: getattr(allunits, name) for name in _BASE_UNITS},
    **{p + name: getattr(allunits, p + name) for name in _PREFIXED for p in _PREFIXES},
    **{name: getattr(stdunits, name) for name in _STANDARD},
}
"""The units a value may name, by the names they have in Brian2."""

# What people write for a unit whose name in Brian2 is too unlike it for a spelling suggestion.
_OTHER_NAMES = {
    "s": "second", "sec": "second", "msec": "ms", "V": "volt", "A": "amp", "ampere": "amp",
    "S": "siemens", "F": "farad", "m": "metre", "K": "kelvin", "kg": "kilogram",
}  # fmt: skip
#: What needs no quotes, whatever it is written with.
TEXT_KEYS = ("data.path", "data.column", "data.label")

_KEYWORDS = {"true": True, "false": False, "none": None, "null": None}

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_.]*)
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<sign>\*\*|[][(),*/+-])""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def parse_assignment(text):
    """Split ``key=value`` and parse the value.

    Parameters
    ----------
    text : str
        Such as ``cell.tau_soma=10*ms``.

    Returns
    -------
    key : str
        Names joined by dots.
    value
        See `parse_literal`.

    Raises
    ------
    InputError
        No key, no value, or a value that cannot be parsed.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not _KEY.fullmatch(key):
        raise InputError(
            f"cannot read {_shown(text)}: write key=value, such as cell.tau_soma=10*ms"
        )
    if not value.strip():
        raise InputError(f"{key[:80]} has no value: write {key[:80]}=VALUE, or '' for no text")
    try:
        return key, parse_value(key, value)
    except InputError as error:
        raise InputError(f"{key[:80]}: {error}") from error


def parse_value(key, text):
    """The value of a key: a literal, but a path or the name of a column is taken as it stands.

    Parameters
    ----------
    key : str
    text : str

    Returns
    -------
    str, or what `parse_literal` returns

    Raises
    ------
    InputError
        A literal that cannot be parsed.

    Examples
    --------
    >>> parse_value("data.path", "~/my-data/load 2023.csv")
    '~/my-data/load 2023.csv'
    """
    stripped = text.strip()
    if key in TEXT_KEYS and stripped[:1] not in ("'", '"') and stripped.lower() not in _KEYWORDS:
        return stripped
    return parse_literal(text)


def parse_literal(text):
    """Parse a value: number, quantity, true, false, none, text or list.

    Parameters
    ----------
    text : str
        ``3``, ``0.5``, ``1e-3``, ``inf``, ``true``, ``none``, ``discrete``, ``'any text'``,
        ``[512, 512]``, ``10*ms``, ``10 ms``, ``-70*mV``, ``2*mV/ms``, ``1/mV``,
        ``0.1*nS/um**2``. A bare unit, such as ``ms``, is a quantity.

    Returns
    -------
    int, float, bool, None, str, list or brian2.Quantity
        A product in which all units cancel is a float.

    Raises
    ------
    InputError
        Anything else; the text names the unknown unit and the nearest known one.

    Examples
    --------
    >>> parse_literal("[10*ms, discrete, 1e-3, 4]")
    [10. * msecond, 'discrete', 0.001, 4]
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"value of {len(text)} characters: at most {MAX_LENGTH} are read")
    return _Parser(text).parse()


def format_value(value):
    """Text of a value that `parse_literal` reads back as an equal value.

    Parameters
    ----------
    value : int, float, bool, None, str, list, tuple, numpy scalar or scalar brian2.Quantity
        A tuple is written, and so read back, as a list. NaN has no text.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        Another type, or a quantity that is an array.
    InputError
        NaN, an infinite quantity, or a value that is too long or too deep to be read back.

    Examples
    --------
    >>> format_value([10e-3, True, "no name"])
    "[0.01, true, 'no name']"
    """
    text = _format(value, depth=0)
    if len(text) > MAX_LENGTH:
        raise InputError(f"value of {len(text)} characters: at most {MAX_LENGTH} can be read back")
    return text


class _Token(NamedTuple):
    kind: str  # number, name, text, sign, end
    text: str


class _Product(NamedTuple):
    magnitude: float  # in base units
    dim: Dimension


class _Parser:
    """Recursive descent; each method consumes the tokens of one rule of the grammar."""

    def __init__(self, source):
        self.source = source
        self.tokens = self._tokenise(source)
        self.place = 0

    def parse(self):
        value = self._value(depth=0)
        if self._next.kind != "end":
            raise self._error("put text in quotes, and * or / between units")
        return value

    def _tokenise(self, text):
        tokens, position = [], 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                if text[position] in "'\"":
                    raise self._error("close the quotes")
                raise self._error(f"{text[position]!r} is not understood; put text in quotes")
            position = match.end()
            if match.lastgroup != "space":
                tokens.append(_Token(match.lastgroup, match.group()))
        return [*tokens, _Token("end", "")]

    def _error(self, cure):
        return InputError(f"cannot read the value {_shown(self.source)}: {cure}")

    @property
    def _next(self):
        return self.tokens[self.place]

    def _take(self, *signs):
        """Text of the next token, consumed, if it is one of the signs; else None."""
        token = self._next
        if token.kind == "sign" and token.text in signs:
            self.place += 1
            return token.text
        return None

    def _value(self, depth):
        if self._take("["):
            return self._list(depth + 1)
        if self._next.kind == "text":
            self.place += 1
            return _unquoted(self.tokens[self.place - 1].text)
        start, sign = self.place, self._take("+", "-")
        token = self._next
        if token.kind in ("number", "name"):
            self.place += 1
            if self._next.kind == "end" or self._next.text in (",", "]"):
                literal = self._literal(token, sign)
                if literal is not None:
                    return literal[0]
        self.place = start
        magnitude, dim = self._product(depth=0)
        if not math.isfinite(magnitude):
            raise self._error("the number is too large")
        if any(abs(dim.get_dimension(name)) > MAX_POWER for name in _BASE_DIMENSIONS):
            raise self._error(f"a unit is raised to a power beyond {MAX_POWER}")
        return magnitude if dim is DIMENSIONLESS else Quantity(magnitude, dim=dim)

    def _literal(self, token, sign):
        """1-tuple of an integer, infinity, keyword or bare text; None if it is none of them."""
        word = token.text.lower()
        if word.isdigit():
            if len(word) > MAX_DIGITS:
                raise self._error(f"an integer has at most {MAX_DIGITS} digits")
            return (int((sign or "") + word),)
        if word == "inf":
            return (float((sign or "") + word),)
        if sign or token.kind == "number" or token.text in UNITS:
            return None
        if word == "nan":
            raise self._error("NaN is no value; put text in quotes")
        return (_KEYWORDS.get(word, token.text),)

    def _list(self, depth):
        if depth > MAX_DEPTH:
            raise self._error(f"lists are nested deeper than {MAX_DEPTH}")
        values = []
        while not self._take("]"):
            values.append(self._value(depth))
            if not self._take(",") and self._next.text != "]":
                raise self._error("close the list with ] and put commas between its values")
        return values

    def _product(self, depth):
        is_number = self._next.kind == "number" or self._next.text in ("+", "-")
        result = self._factor(depth)
        implicit = "*" if is_number and self._next.kind == "name" else None
        while operator := implicit or self._take("*", "/"):
            implicit = None
            factor = self._factor(depth)
            if operator == "*":
                result = _Product(result.magnitude * factor.magnitude, result.dim * factor.dim)
            elif factor.magnitude == 0:
                raise self._error("it divides by zero")
            else:
                result = _Product(result.magnitude / factor.magnitude, result.dim / factor.dim)
        return result

    def _factor(self, depth):
        sign = self._take("+", "-")
        token = self._next
        if token.kind == "number":
            self.place += 1
            return _Product(float((sign or "") + token.text), DIMENSIONLESS)
        if sign:
            raise self._error(f"a number must follow {sign}")
        if token.kind == "name":
            self.place += 1
            base = self._unit(token.text)
        elif self._take("("):
            if depth == MAX_DEPTH:
                raise self._error(f"brackets are nested deeper than {MAX_DEPTH}")
            base = self._product(depth + 1)
            if not self._take(")"):
                raise self._error("close the bracket with )")
        elif token.kind == "end":
            raise self._error("it ends too early")
        else:
            raise self._error(f"{token.text!r} is out of place; put text in quotes")
        return self._power(base) if self._take("**") else base

    def _unit(self, name):
        if name in UNITS:
            return _Product(float(UNITS[name]), UNITS[name].dim)
        nearest = _OTHER_NAMES.get(name) or _nearest_unit(name)
        cure = f"did you mean {nearest!r}?" if nearest else "text needs quotes"
        raise self._error(f"unknown unit {name[:40]!r}: {cure}")

    def _power(self, base):
        sign = self._take("+", "-") or ""
        token = self._next
        if token.kind != "number" or float(token.text) > MAX_POWER:
            raise self._error(f"** takes a number up to {MAX_POWER}")
        self.place += 1
        power = float(sign + token.text)
        if base.magnitude <= 0:
            raise self._error("only what is positive can be raised to a power")
        try:
            return _Product(base.magnitude**power, base.dim**power)
        except OverflowError as error:
            raise self._error("the number is too large") from error


def _nearest_unit(name):
    if len(name) < 2:  # would be near to anything
        return None
    close = difflib.get_close_matches(name[:40], UNITS, n=1)
    if close:
        return close[0]
    lower = {unit.lower(): unit for unit in UNITS}
    close = difflib.get_close_matches(name[:40].lower(), lower, n=1)
    return lower[close[0]] if close else None


def _unquoted(text):
    return re.sub(
        r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1], flags=re.DOTALL
    )


def _quoted(text):
    for character, escaped in (("\\", r"\\"), ("'", r"\'"), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(character, escaped)
    return f"'{text}'"


def _shown(text):
    """The text as one line of bounded length."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _format(value, depth):
    if isinstance(value, Quantity):
        return _format_quantity(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) >= 10**MAX_DIGITS:
            raise InputError(f"an integer has at most {MAX_DIGITS} digits")
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise InputError("NaN is no value: use none, or a number")
        return repr(value)
    if isinstance(value, str):
        bare = _NAME.fullmatch(value) and value not in UNITS
        return value if bare and value.lower() not in (*_KEYWORDS, "inf", "nan") else _quoted(value)
    if isinstance(value, list | tuple):
        if depth == MAX_DEPTH:
            raise InputError(f"lists are nested deeper than {MAX_DEPTH}")
        return "[" + ", ".join(_format(item, depth + 1) for item in value) + "]"
    raise TypeError(f"no text for a value of type {type(value).__name__}")


def _format_quantity(quantity):
    """With the shortest number in a customary unit that is exact, else in base units."""
    if quantity.ndim:
        raise TypeError("no text for an array of quantities: give a list")
    magnitude, dim = float(quantity), quantity.dim
    if dim is DIMENSIONLESS:
        return _format(magnitude, depth=0)
    if not math.isfinite(magnitude):
        raise InputError("a quantity must be finite")
    # Single units come first: 1*Mohm rather than 1/uS. Near the largest float the rounded number
    # may overflow when it is read.
    for units in _CUSTOMARY if abs(magnitude) < 1e290 else ():
        texts = [
            repr(number).removesuffix(".0") + suffix
            for suffix, scale in units.get(dim, ())
            for number in (float(f"{magnitude / scale:.15g}"), magnitude / scale)
            if math.isfinite(number)
        ]
        exact = [text for text in texts if float(parse_literal(text)) == magnitude]
        if exact:
            return min(exact, key=len)
    powers = [
        f"*{unit}" if power == 1 else f"*{unit}**{power:.17g}"
        for unit, quality in zip(_BASE_UNITS, _BASE_DIMENSIONS, strict=True)
        if (power := dim.get_dimension(quality))
    ]
    text = repr(magnitude) + "".join(powers)
    if getattr(parse_literal(text), "dim", None) is not dim:
        raise TypeError(f"no text for a quantity in {quantity.get_best_unit()}")
    return text


def _customary_units():
    """Suffixes of a number, such as ``*mV/ms``, with their scale, by dimension.

    One table of single units, one of inverse units and ratios.
    """
    names = "ms mV nA pA nS uS pF nF uF Mohm Gohm um us second volt amp siemens farad ohm Hz"
    names = names.split()
    above = {f"*{name}": UNITS[name] for name in (*names, "kHz", "metre")}
    below = {f"/{name}": UNITS[name] for name in (*names, "um2", "cm2")}
    singles, ratios = {}, {}
    for suffix, unit in above.items():
        singles.setdefault(unit.dim, []).append((suffix, float(unit)))
    for suffix, unit in below.items():
        ratios.setdefault(unit.dim**-1, []).append((suffix, 1 / float(unit)))
        for first, other in above.items():
            entry = (first + suffix, float(other) / float(unit))
            ratios.setdefault(other.dim / unit.dim, []).append(entry)
    return singles, ratios


_CUSTOMARY = _customary_units()

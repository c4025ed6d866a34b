"""The parser of `--set key=value`: what it reads, what it refuses, and the round trip."""

import math
import time

import numpy as np
import pytest
from brian2 import Hz, Mohm, Quantity, cm, mole, ms, mV, nS, pF, second, siemens, uF, um, volt
from brian2.units.fundamentalunits import DIMENSIONLESS, get_or_create_dimension
from hypothesis import given, settings
from hypothesis import strategies as st

from bsd.equations.errors import InputError
from bsd.runs.literals import (
    MAX_DEPTH,
    MAX_LENGTH,
    UNITS,
    format_value,
    parse_assignment,
    parse_literal,
)

CANDLE = Quantity(1.0, dim=get_or_create_dimension(candle=1))


def assert_equal(value, expected):
    """Equal, of the same type, and of the same dimensions."""
    if isinstance(expected, list):
        assert isinstance(value, list) and len(value) == len(expected)
        for one, other in zip(value, expected, strict=True):
            assert_equal(one, other)
    elif isinstance(expected, Quantity):
        assert isinstance(value, Quantity) and value.dim is expected.dim
        assert float(value) == float(expected)
    else:
        assert type(value) is type(expected) and value == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+3", 3),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-3", 1e-3),
        ("-2.5E+4", -2.5e4),
        ("3/4", 0.75),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("true", True),
        ("False", False),
        ("none", None),
        ("null", None),
        ("discrete", "discrete"),
        ("cpp_standalone", "cpp_standalone"),
        ("'a b, c=d'", "a b, c=d"),
        ('"it\'s"', "it's"),
        (r"'it\'s a \\ and\na line'", "it's a \\ and\na line"),
        ("''", ""),
        ("'true'", "true"),
        ("'10*ms'", "10*ms"),
        ("[]", []),
        ("[512, 512]", [512, 512]),
        ("[1, [2.5, x], 'y z',]", [1, [2.5, "x"], "y z"]),
        ("[10*ms, 5 mV, -1]", [10 * ms, 5 * mV, -1]),
        ("10*ms", 10 * ms),
        ("10 ms", 10 * ms),
        ("10ms", 10 * ms),
        ("  10 * ms  ", 10 * ms),
        ("2.5*nS", 2.5 * nS),
        ("-70*mV", -70 * mV),
        ("- 70 mV", -70 * mV),
        ("100*Hz", 100 * Hz),
        ("1e3*Mohm", 1e3 * Mohm),
        ("mV/ms", mV / ms),
        ("2*mV/ms", 2 * mV / ms),
        ("1/mV", 1 / mV),
        ("0.1*nS/um**2", 0.1 * nS / um**2),
        ("1*uF/cm**2", 1 * uF / cm**2),
        ("3*volt/(second*siemens)", 3 * volt / (second * siemens)),
        ("1*ms**-1", 1 * ms**-1),
        ("mV*ms**0.5", mV * ms**0.5),
        ("2*ms*3", 6 * ms),
        ("ms", 1 * ms),
        ("ms/ms", 1.0),
        ("5*metre", 5e6 * um),
        ("5*meter", 5e6 * um),
    ],
)
def test_values_are_read(text, value):
    parsed = parse_literal(text)
    if isinstance(value, Quantity):
        assert parsed.dim is value.dim
        assert float(parsed) == pytest.approx(float(value), rel=1e-15)
    else:
        assert_equal(parsed, value)


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("10*mss", "unknown unit 'mss': did you mean 'ms'"),
        ("10*milisecond", "unknown unit 'milisecond': did you mean 'msecond'"),
        ("10*MV", "did you mean 'mV'"),
        ("10 s", "did you mean 'second'"),
        ("10*V", "did you mean 'volt'"),
        ("a-b", "text needs quotes"),
        ("two words", "text needs quotes"),
        ("/tmp/file", "quotes"),
        ("päth", "quotes"),
        ("1/2 ms", "between units"),
        ("mV ms", "between units"),
        ("1, 2", "quotes"),
        ("", "ends too early"),
        ("3*", "ends too early"),
        ("-", "number must follow -"),
        ("--3", "number must follow -"),
        ("*3", "out of place"),
        ("]", "out of place"),
        ("[1", "close the list"),
        ("[1 2]", "close the list"),
        ("[,]", "out of place"),
        ("(1*ms", "close the bracket"),
        ("'open", "close the quotes"),
        ("1/0", "divides by zero"),
        ("ms/(0*mV)", "divides by zero"),
        ("1e999", "too large"),
        ("1e300*1e300*mV", "too large"),
        ("(1e300*mV)**9", "too large"),
        ("(1e300*mV)**0.5*1e300", "too large"),
        ("ms**31", r"\*\* takes a number up to 30"),
        ("ms**20*ms**20", "beyond 30"),
        ("ms**mV", r"\*\* takes a number"),
        ("(-1*mV)**0.5", "positive"),
        ("nan", "NaN"),
        ("9" * 200, "at most 100 digits"),
        ("[" * 9 + "]" * 9, "nested deeper than 8"),
        ("(" * 9 + "1" + ")" * 9, "nested deeper than 8"),
        ("1" * (MAX_LENGTH + 1), "at most 10000"),
        ("__import__('os').system('ls')", "put text in quotes"),
        ("__import__('os')", "unknown unit '__import__': text needs quotes"),
        ("[x for x in y]", "unknown unit|close the list"),
        ("lambda: 0", "not understood|unknown unit"),
    ],
)
def test_other_text_is_refused_with_the_cure(text, cure):
    with pytest.raises(InputError, match=cure) as error:
        parse_literal(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


def test_assignments_are_read():
    key, value = parse_assignment(" cell.tau_soma = 10*ms ")
    assert key == "cell.tau_soma"
    assert_equal(value, 10 * ms)
    assert parse_assignment("name='a=b'") == ("name", "a=b")
    assert parse_assignment("layers=[512,512]") == ("layers", [512, 512])
    assert parse_assignment("name=''") == ("name", "")


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("tau", "write key=value, such as cell.tau_soma=10"),
        ("=3", "write key=value"),
        ("a b=3", "write key=value"),
        ("cell..tau=3", "write key=value"),
        ("1tau=3", "write key=value"),
        ("tau=", "tau has no value"),
        ("tau= ", "tau has no value"),
        ("tau=10*mss", "^tau: .*did you mean 'ms'"),
    ],
)
def test_other_assignments_are_refused_with_the_cure(text, cure):
    with pytest.raises(InputError, match=cure):
        parse_assignment(text)


def test_every_unit_is_that_of_brian2():
    usual = "second ms us volt mV amp nA pA siemens nS uS ohm Mohm Gohm farad pF nF Hz kHz metre um"
    assert set(usual.split()) < set(UNITS)
    for name, unit in UNITS.items():
        assert_equal(parse_literal(f"1*{name}"), 1.0 * unit)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10 * ms, "10*ms"),
        (0.07 * second, "70*ms"),
        (-70 * mV, "-70*mV"),
        (0 * mV, "0*mV"),
        (1 * mV / ms, "1*mV/ms"),
        (0.3 / mV, "0.3/mV"),
        (1 * Mohm, "1*Mohm"),
        (200 * pF, "200*pF"),
        (100 * Hz, "100*Hz"),
        (2 * uF / cm**2, "2*uF/cm2"),
        (5 * mole, "5.0*mole"),
        (Quantity(1.7976931348623157e308, dim=second.dim), "1.7976931348623157e+308*second"),
        (Quantity(3.0), "3.0"),
        (np.float64(0.5), "0.5"),
        (np.int32(4), "4"),
        (np.bool_(True), "true"),
        ((1, "two"), "[1, two]"),
        ("ms", "'ms'"),
        ("None", "'None'"),
        ("", "''"),
    ],
)
def test_values_are_written_as_a_person_would(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf * mV, math.nan * ms, 10**100, "x" * 20_000])
def test_values_that_could_not_be_read_back_are_not_written(value):
    with pytest.raises(InputError):
        format_value(value)


@pytest.mark.parametrize(
    "value", [object(), {"a": 1}, [1, 2] * ms, CANDLE, 1j, np.zeros(2), b"x"]
)
def test_other_types_have_no_text(value):
    with pytest.raises(TypeError):
        format_value(value)


def test_too_deep_a_list_is_not_written():
    value = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert_equal(parse_literal(format_value(value)), value)
    with pytest.raises(InputError, match="nested"):
        format_value([value])


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DIMENSIONS = st.lists(
    st.tuples(st.sampled_from(sorted(UNITS)), st.sampled_from([-2, -1, 0.5, 1, 2])), max_size=3
)


@st.composite
def quantities(draw):
    unit = 1.0
    for name, power in draw(DIMENSIONS):
        unit = unit * UNITS[name] ** power
    magnitude = draw(FLOATS)
    dim = getattr(unit, "dim", DIMENSIONLESS)
    return magnitude if dim is DIMENSIONLESS else Quantity(magnitude, dim=dim)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**100) + 1, 10**100 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=50),
    st.sampled_from(["true", "NULL", "inf", "Nan", "ms", "mV", "a.b", "a-b", "é", "'", "\\", "\n"]),
    quantities(),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


def depth(value):
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@settings(max_examples=300, deadline=None)
@given(value=VALUES.filter(lambda value: depth(value) <= MAX_DEPTH))
def test_what_is_written_is_read_back_as_it_was(value):
    text = format_value(value)
    assert "\n" not in text
    assert_equal(parse_literal(text), value)


LIKELY = st.text(st.sampled_from("0123456789.eE+-*/()[],'\"\\ \n_msVHzaxinf"), max_size=60)


@settings(max_examples=500, deadline=None)
@given(text=st.one_of(st.text(max_size=100), LIKELY))
def test_any_text_is_read_or_refused(text):
    try:
        value = parse_literal(text)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert_equal(parse_literal(format_value(value)), value)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=100))
def test_any_assignment_is_read_or_refused(text):
    try:
        key, _ = parse_assignment(text)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert key and "=" not in key


@pytest.mark.parametrize(
    "piece",
    ["[", "(", "-", "'", "\\", "a", "a.", "9", "1.", "1e", "ms*", "ms/", "ms**9*", "[],", "**"],
)
def test_long_text_takes_no_long_time(piece):
    start = time.perf_counter()
    for text in (piece * (MAX_LENGTH // len(piece)), '"' + piece * (MAX_LENGTH // len(piece) - 1)):
        try:
            parse_literal(text)
        except InputError as error:
            assert len(str(error)) < 250
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "text", ["/tmp/x/mine.csv", "./my data.csv", "~/x.csv", "2023.csv", "load (MW)", "a=b", "µV"]
)
def test_paths_and_columns_need_no_quotes(text):
    for key in ("data.path", "data.column"):
        assert parse_assignment(f"{key}={text}") == (key, text)
        assert parse_assignment(f"{key}= '{text}'") == (key, text)
    with pytest.raises(InputError):
        parse_assignment("data.horizon=./my data")


def test_no_path_is_none():
    assert parse_assignment("data.path=none") == ("data.path", None)

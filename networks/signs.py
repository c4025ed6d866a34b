"""Which variables of a network can become negative, as far as its equations show.

An abstract interpretation: of every quantity only two things are followed, whether it can be
negative and whether it can be positive, through all statements until nothing changes. Bounds that
follow from more than signs (a cosine is at most 1) are not seen, so some that never are negative
count as signed.
"""

import ast

import numpy as np
from brian2 import TimedArray
from brian2.core.variables import Constant

__all__ = ["signed_variables"]

_NOTHING, _POSITIVE, _ANY = (False, False), (False, True), (True, True)


def signed_variables(model):
    """Variables that can be negative.

    Parameters
    ----------
    model : Model
        With its constants and initial weights set.

    Returns
    -------
    dict of (str, str) to list of Statement
        For each variable by group and name: the statements that make it signed out of quantities
        that are not. Empty where it starts signed or takes its sign from other signed ones.
    """
    signs = {}
    for group in model.groups.values():
        for name, variable in group.variables.items():
            owner = getattr(variable, "owner", None)
            if getattr(owner, "name", None) == group.name and hasattr(variable, "get_value"):
                signs[group.name, name] = _of_numbers(_value(variable))
    changed = True
    while changed:
        changed = False
        for statement in model.statements:
            key = statement.target.key
            sign = _either(signs.get(key, _NOTHING), _of_statement(statement, signs))
            if sign != signs.get(key, _NOTHING):
                signs[key], changed = sign, True
    return {
        key: [
            s for s in model.writers(key)
            if _of_statement(s, signs)[0]
            and not any(signs.get(read.key, _NOTHING)[0] for read in s.reads if not read.constant)
        ]
        for key, sign in signs.items()
        if sign[0]
    }


def _value(variable):
    try:
        return np.asarray(variable.get_value())
    except (NotImplementedError, TypeError, KeyError):  # computed, not stored
        return np.zeros(0)


def _of_numbers(numbers):
    numbers = np.asarray(numbers)
    if numbers.dtype.kind not in "biuf":
        return _NOTHING
    return bool((numbers < 0).any()), bool((numbers > 0).any())


def _either(a, b):
    return a[0] or b[0], a[1] or b[1]


def _minus(a):
    return a[1], a[0]


def _times(a, b):
    return (a[0] and b[1]) or (a[1] and b[0]), (a[0] and b[0]) or (a[1] and b[1])


def _of_statement(statement, signs):
    """Sign of what a statement puts into its target."""
    if statement.tree is None:  # a sum of products of what the function reads
        sign = _POSITIVE
        for read in statement.reads:
            own = signs.get(read.key, _NOTHING)
            sign = _either(sign, own) if own[0] else sign
        return sign
    hidden = statement.target.key if statement.kind == "d/dt" else None
    sign = _of(statement.tree, statement, signs, hidden)
    return _minus(sign) if statement.kind == "-=" else sign


def _of(node, statement, signs, hidden):
    """Sign of an expression; `hidden`, the variable of a differential equation, counts as 0.

    A variable that starts at 0 stays at or above it if its derivative is not negative there.
    """

    def of(part):
        return _of(part, statement, signs, hidden)

    if isinstance(node, ast.Constant):
        return _of_numbers(node.value)
    if isinstance(node, ast.Name):
        return _of_name(statement.names[node.id], signs, hidden)
    if isinstance(node, (ast.Compare, ast.BoolOp)):
        return _POSITIVE
    if isinstance(node, ast.UnaryOp):
        return {ast.USub: _minus(of(node.operand)), ast.Not: _POSITIVE}.get(
            type(node.op), of(node.operand)
        )
    if isinstance(node, ast.BinOp):
        return _of_operation(node, of)
    if isinstance(node, ast.Call):
        return _of_call(node, statement.names[node.func.id], of)
    return _ANY


def _of_name(value, signs, hidden):
    if isinstance(value, Constant):
        return _of_numbers(value.value)
    return _NOTHING if value.key == hidden else signs.get(value.key, _NOTHING)


def _of_operation(node, of):
    left, right = of(node.left), of(node.right)
    if isinstance(node.op, ast.Add):
        return _either(left, right)
    if isinstance(node.op, ast.Sub):
        return _either(left, _minus(right))
    if isinstance(node.op, (ast.Mult, ast.Div, ast.FloorDiv)):
        return _times(left, right)
    if isinstance(node.op, ast.Mod):
        return right
    if isinstance(node.op, ast.Pow):
        even = isinstance(node.right, ast.Constant) and node.right.value % 2 == 0
        return (False, any(left)) if even or not left[0] else _ANY
    return _ANY


def _of_call(node, function, of):
    if isinstance(function, TimedArray):  # no column of the trial table is negative
        return _POSITIVE
    name, signs = node.func.id, [of(part) for part in node.args]
    if name in ("exp", "hash_uniform"):
        return _POSITIVE
    if name in ("sqrt", "abs"):
        return False, any(signs[0])
    if name in ("int", "floor", "sign", "timestep"):
        return signs[0]
    if name == "clip":
        x, low, high = signs
        return (x[0] and low[0]) or high[0], (x[1] and high[1]) or low[1]
    return _ANY

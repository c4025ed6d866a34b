"""Errors of equations, in one line."""

import difflib
import re
from contextlib import contextmanager

from brian2 import DimensionMismatchError

from bsd.equations.errors import InputError

__all__ = ["explained"]


@contextmanager
def explained(network):
    """Turn what Brian2 says of equations into an `InputError`.

    Those of this package work, unless someone edits them; then a `RuntimeError` is none of theirs.
    """
    try:
        yield
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:
        if not network.changed_equations and isinstance(error, RuntimeError):
            raise
        changed = ", ".join(sorted(network.changed_equations))
        which = f"the changed equations ({changed})" if changed else "the strings of bsd.equations"
        raise InputError(f"{which} do not work: {_said(error, network)}") from error


def _said(error, network):
    """What is wrong and where, of all that a chain of exceptions says."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    unknown = re.search(r'identifier "(\w+)" could not be resolved', str(chain[-1]))
    if unknown:
        name = unknown[1]
        holds = re.compile(rf"\b{name}(_pre|_post)?\b")
        where = [key for key, text in network.equations.items() if holds.search(str(text))]
        near = difflib.get_close_matches(name, _declared(network.equations) - {name}, n=1)
        correct = f"did you mean {near[0]}? Else" if near else "correct its name,"
        return (
            f"{name} (in {', '.join(where)}) is unknown there: {correct} write a number "
            f"with its unit, or declare it, as a constant '{name} : UNIT (shared, constant)' in "
            f"CELL_PARAMETERS with a value in values={{'cells.{name}': ...}}."
        )
    # the outer one of units names the variable that is defined
    units = (one for one in chain if isinstance(one, DimensionMismatchError))
    return " ".join(str(next(units, chain[-1])).split())


def _declared(equations):
    """Names that stand on the left of a unit."""
    line = re.compile(r"^\s*(?:d(?P<state>\w+)/dt|(?P<name>\w+))\s*(?:=.*)?:", re.MULTILINE)
    texts = "\n".join(str(text) for text in equations.values())
    return {found["state"] or found["name"] for found in line.finditer(texts)}

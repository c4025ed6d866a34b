"""Errors whose text names the cure."""

import numbers
import sys

from brian2.utils.logger import brian_excepthook


class InputError(ValueError):
    """One-line error in the user's input whose text names the cure.

    The command line prints the text and exits with code 2, without a traceback.

    Parameters
    ----------
    text : str
        Line breaks, as in what a parser says, become spaces.
    """

    def __init__(self, text=""):
        super().__init__(" ".join(str(text).split()))


class NotFiniteError(RuntimeError):
    """A variable became NaN or infinite; it does so again whenever the run is repeated."""


def require_counts(**counts):
    """Refuse numbers, by name, that are not whole and positive.

    Raises
    ------
    InputError
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise InputError(f"{name} = {value!r}: a positive whole number is needed.")


def _excepthook(kind, error, trace):
    """Show an `InputError` as Python does; Brian2 would announce it as a mistake of its own."""
    hook = sys.__excepthook__ if issubclass(kind, InputError) else brian_excepthook
    hook(kind, error, trace)


if sys.excepthook is brian_excepthook:
    sys.excepthook = _excepthook

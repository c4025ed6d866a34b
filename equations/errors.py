"""The one kind of error that a user can cure."""

import sys

import brian2  # noqa: F401  (sets a hook of its own for uncaught exceptions)


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


_usual = sys.excepthook


def _excepthook(kind, error, trace):
    """Brian2 would announce an uncaught exception as a mistake that may be its own."""
    (sys.__excepthook__ if issubclass(kind, InputError) else _usual)(kind, error, trace)


sys.excepthook = _excepthook

"""Errors of equations, in one line."""

from contextlib import contextmanager

from bsd.equations.errors import InputError

__all__ = ["explained"]


@contextmanager
def explained(network):
    """Turn what Brian2 says of equations into an `InputError`.

    Those of this package work, unless someone edits them; then a `RuntimeError` is none of theirs.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except Exception as error:
        if not network.changed_equations and isinstance(error, RuntimeError | MemoryError):
            raise
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        changed = ", ".join(sorted(network.changed_equations))
        which = f"the changed equations ({changed})" if changed else "the strings of bsd.equations"
        raise InputError(f"{which} do not work: {cause}") from error

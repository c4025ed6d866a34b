"""Errors of equations that a user changed, in one line."""

from contextlib import contextmanager

from bsd.equations.errors import InputError

__all__ = ["explained"]


@contextmanager
def explained(network):
    """Turn what Brian2 says of changed equations into an `InputError`.

    Errors of the model's own equations are defects of this package and pass unchanged.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except Exception as error:
        if not network.changed_equations:
            raise
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        changed = ", ".join(sorted(network.changed_equations))
        raise InputError(f"the changed equations ({changed}) do not work: {cause}") from error

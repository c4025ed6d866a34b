"""Processes of this package's own, and the scripts that they import."""

import multiprocessing

from bsd.equations import InputError

__all__ = ["check_main_guard"]


def check_main_guard(function):
    """Refuse to start processes in one that still imports the script that started it.

    Such a script would start processes for ever.

    Parameters
    ----------
    function : str
        What the script calls.

    Raises
    ------
    InputError
    """
    # as multiprocessing tells it, too late for whoever replaces processes that end
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            f"{function} starts processes of its own, which import the script again: call it "
            "under `if __name__ == '__main__':`."
        )

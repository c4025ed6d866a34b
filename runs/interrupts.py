"""Ctrl-C and SIGTERM end a run, even if the exception that they raise gets lost.

Python raises it between any two instructions. Within a finaliser, or within Python code that a
compiled library calls, it is dropped: of 92 interrupts right after a checkpoint one was. Whoever
reports progress therefore asks again. While results are written it waits: a pool of threads that is
interrupted as it starts one (pyarrow's) waits for ever.
"""

import signal
import sys
from contextlib import contextmanager

__all__ = ["check_interrupt", "listen_for", "uninterrupted"]

_asked = _waiting = False
_held_off = 0


def listen_for(*signals):
    """Raise KeyboardInterrupt in the main thread at each of these signals, unless it is ignored."""
    global _asked, _waiting
    _asked = _waiting = False
    for number in signals:
        handler = signal.getsignal(number)
        handler = getattr(handler, "previous_handler", handler)  # Brian2's own, around another
        signal.signal(number, signal.SIG_IGN if handler is signal.SIG_IGN else _interrupt)


def _interrupt(*_):
    global _asked, _waiting
    _asked, _waiting = True, _held_off > 0
    sys.unraisablehook = lambda _: None  # what finalisers say of it from here on
    if not _waiting:
        raise KeyboardInterrupt


def check_interrupt():
    """Raise KeyboardInterrupt if a signal has asked for it."""
    if _asked:
        raise KeyboardInterrupt


@contextmanager
def uninterrupted():
    """Hold interrupts off until the end of the context, or of the function that it decorates."""
    global _held_off, _waiting
    _held_off += 1
    try:
        yield
    finally:
        _held_off -= 1
    if _waiting and not _held_off:
        _waiting = False
        raise KeyboardInterrupt

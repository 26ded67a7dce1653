"""`contained`: has what a function of the app's raises end the work on it, and nothing else.

`sys.exit()` in a function that a thread, or a loop, calls for a while would end these, and with
them whoever waits.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager

from jidocode.base.text import describe


class ContainedError(Exception):
    """Something was raised that is no `Exception`, such as `SystemExit`."""


_OWN_PLACES = 2
"""In a traceback: `contained`, and whoever has the block."""


@contextmanager
def contained(is_cancelled: Callable[[BaseException], bool] | None = None) -> Generator[None]:
    """Have whatever is raised in the block be an `Exception`.

    What comes from outside is none of the block's, and leaves it as it is: what a signal raises in
    the main thread, what closes the coroutine that the block is in, and what cancels it, which
    *is_cancelled* tells from what the block raises by itself.

    Raises:
        ContainedError: It is none by itself.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or is_of_signal(error) or _closes(error):
            raise
        if is_cancelled is not None and is_cancelled(error):
            raise
        raise ContainedError(f"it raised {describe(error)}") from None


def _closes(error: BaseException) -> bool:
    """Whether *error* was raised where the block waits, and not in what it waits for."""
    places = traceback.walk_tb(error.__traceback__)
    return isinstance(error, GeneratorExit) and len(list(places)) <= _OWN_PLACES


def is_of_signal(error: BaseException) -> bool:
    """Whether a signal has raised *error*; any KeyboardInterrupt of the main thread counts as one.

    Python does not tell one that somebody has raised from Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    handlers = [getattr(signal.getsignal(each), "__code__", None) for each in signal.Signals]
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__))

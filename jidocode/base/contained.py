"""`contained`: has what a function of the app's raises end the work on it, and nothing else.

`sys.exit()` in a function that a thread, or a loop, calls for a while would end these, and with
them whoever waits.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager

from jidocode.base.text import describe


class ContainedError(Exception):
    """Something was raised that is no `Exception`, such as `SystemExit`."""


@contextmanager
def contained(*passed: type[BaseException]) -> Generator[None]:
    """Have whatever is raised in the block be an `Exception`, but for *passed*.

    What a signal raises in the main thread is none of the block's, and leaves it as it is.

    Raises:
        ContainedError: It is none by itself.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, (Exception, *passed)) or _is_of_signal(error):
            raise
        raise ContainedError(f"it raised {describe(error)}") from None


def _is_of_signal(error: BaseException) -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    if isinstance(error, KeyboardInterrupt):
        return True
    handlers = [getattr(signal.getsignal(each), "__code__", None) for each in signal.Signals]
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__))

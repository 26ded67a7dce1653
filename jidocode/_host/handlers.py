"""Signal handlers of the app's: whether there are any, and what one of them has raised."""

from __future__ import annotations

import _signal  # pyright: ignore[reportMissingModuleSource] # it is built in
import contextlib
import signal
import threading
from collections.abc import Callable

from jidocode._host import threads

_SIGNALS = tuple(signal.valid_signals() - {signal.SIGINT})
_SECONDS = 1.0
"""How long what has failed may take when it is done once more (see `is_a_handlers`)."""


def has_handlers() -> bool:
    """Whether a signal may call a function of the app's; Ctrl-C by itself only raises."""
    # The functions of `signal` make an enum's member of each answer, which takes as long as a
    # call; those below them do not.
    look = _signal.getsignal
    if look(signal.SIGINT) is not signal.default_int_handler and callable(look(signal.SIGINT)):
        return True
    return any(map(callable, map(look, _SIGNALS)))


def is_a_handlers(error: BaseException, action: Callable[[], object]) -> bool:
    """Whether a signal handler has raised *error* in the middle of *action*, and not the latter.

    *action* runs foreign code, which can raise anything, and may be done twice: it pickles
    something, or reads a pickle. It is done again, and what it raises is looked at.
    """
    # Nothing that was raised tells who has raised it. But handlers run in the main thread alone:
    # so what is raised in another one as well is the action's. That thread has all of its stack
    # before it, so of a stack that was full it tells nothing.
    if threading.current_thread() is not threading.main_thread():
        return False
    if isinstance(error, RecursionError):
        return False
    outcomes: list[BaseException | None] = []

    def run() -> None:
        try:
            action()
        except BaseException as failure:  # noqa: BLE001 - looked at below
            outcomes.append(failure)
        else:
            outcomes.append(None)

    thread = threading.Thread(target=run, name="jidocode-again", daemon=True)
    with contextlib.suppress(threads.NoThreadError):
        threads.start(thread)
        threads.join(thread, _SECONDS)
    if not outcomes:  # where there are no handlers, Ctrl-C is all that comes
        return has_handlers() or isinstance(error, KeyboardInterrupt)
    # By what it is called: a class may be made anew each time.
    return type(outcomes[0]).__qualname__ != type(error).__qualname__

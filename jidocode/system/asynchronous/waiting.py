"""What coroutines wait for: a change that another thread makes, or the end of its work."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from jidocode._host import threads
from jidocode.base import log
from jidocode.base.changes import Changes
from jidocode.base.text import describe
from jidocode.otp.seconds import INFINITY
from jidocode.system.asynchronous.loops import current_loop

T = TypeVar("T")


async def wait_for(changes: Changes, look: Callable[[], T | None], deadline: float) -> T | None:
    """Return what *look* finds, as soon as it finds anything; see `Changes.wait_for`."""
    found = look()
    if found is not None:
        return found
    waiter = current_loop().waiter()
    with changes.waking(waiter.wake):
        while (found := look()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            await waiter.wait(left)
    return found


async def in_thread(
    action: Callable[[], T], *, undo: Callable[[Callable[[], T]], object] | None = None
) -> T:
    """Return what *action* does in a thread of its own, and hold up nobody meanwhile.

    For what takes long, and is done seldom: to start and to close, to open a session, to read
    journals. It is done to its end though its caller is cancelled. Then *undo* is called, in a
    thread too, with a function that waits for what *action* returns or raises; and only after
    that does the caller go on being cancelled. So nothing is left of it, and nobody finds it.
    """
    work = _Work(action)
    work.begin()
    try:
        await wait_for(work.changes, work.look, INFINITY)
    except BaseException as error:
        rest: _Work[object] = work  # type: ignore[assignment] # what it returns is not looked at
        if undo is not None:
            rest = _Work(lambda: _undo(undo, work))
            rest.begin()
        if not isinstance(error, GeneratorExit):  # nobody can wait in that
            await _see_the_end_of(rest)
        raise
    return work.outcome()


async def in_thread_until(deadline: float, action: Callable[[], T]) -> tuple[T] | None:
    """Return what *action* does in a thread of its own, None if it is not done by *deadline*.

    For a function of the app's that may never return: nobody waits for it after that, or after
    being cancelled.
    """
    work = _Work(action)
    work.begin()
    ended = await wait_for(work.changes, work.look, deadline)
    return (work.outcome(),) if ended else None


async def _see_the_end_of(work: _Work[object]) -> None:
    """Wait until *work* is done, also if that is cancelled."""
    loop = current_loop()
    with loop.shield():
        while not work.ended:
            with suppress(loop.cancelled):
                await wait_for(work.changes, work.look, INFINITY)


def _undo(undo: Callable[[Callable[[], T]], object], work: _Work[T]) -> None:
    def outcome() -> T:
        work.changes.wait_for(work.look, INFINITY)
        return work.outcome()

    try:
        undo(outcome)
    except Exception as error:  # noqa: BLE001 - who asked for it was cancelled, and hears of nothing else
        log.debug("nothing was to be undone: {}", describe(error))


class _Work(Generic[T]):
    """Something that a thread does.

    Attributes:
        changes: Tells when it is done.
        ended: Whether it is.
    """

    def __init__(self, action: Callable[[], T]) -> None:
        self.changes = Changes()
        self.ended = False
        self._action: Callable[[], T] | None = action
        self._result: list[T] = []
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Do it in a thread of its own; here, if there is none for it."""
        run = contextvars.copy_context().run
        thread = threading.Thread(target=run, args=(self._do,), name="jidocode-aside", daemon=True)
        try:
            threads.start(thread)
        except threads.NoThreadError:
            self._do()

    def _do(self) -> None:
        assert self._action is not None  # noqa: S101 - it is done once
        try:
            self._result.append(self._action())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        self._action = None  # see `outcome`
        self.ended = True
        self.changes.tell()

    def look(self) -> bool | None:
        """Return True when it is done, None until then."""
        return self.ended or None

    def outcome(self) -> T:
        """Return what came of it, or raise that; once.

        Nothing of it is kept here, nor of the action: the thread, which may be a moment behind,
        still holds this, and would be the last to hold a system that nobody has closed.
        """
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this very frame
        return self._result.pop()

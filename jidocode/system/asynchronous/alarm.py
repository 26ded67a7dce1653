"""`Alarm`: wakes those who wait in a loop, from other threads; `Turn`: has them wake others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_IN_A_TURN = 32
"""Coroutines that are woken in one turn of a loop."""


class Alarm:
    """Wakes the coroutines of one loop, a few of them in each of its turns.

    A thousand answers may come at once, or one death that ends a thousand calls. To wake all
    who wait for them in one turn would hold up everything else in the loop for as long as they
    take together. And waking the loop is a system call, which is made once for many of them.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """Have the loop call something in its next turn by *call_soon*, from any thread."""
        self._call_soon = call_soon
        self._due: deque[Callable[[], None]] = deque()
        self._is_called = False

    def ring(self, end: Callable[[], None]) -> None:
        """Have *end* called in the loop; any thread may."""
        self._due.append(end)
        if not self._is_called:
            self._call()

    def _call(self) -> None:
        self._is_called = True
        try:
            self._call_soon(self._run)
        except RuntimeError:  # the loop has ended, and nobody waits; of trio's errors it is one
            self._is_called = False
            self._due.clear()

    def _run(self) -> None:
        self._is_called = False  # first: who adds one after the last look calls again
        for _ in range(_IN_A_TURN):
            try:
                end = self._due.popleft()
            except IndexError:
                return
            end()
        if self._due:
            self._call()


class Turn:
    """Does something once for all who want it done in one turn of a loop.

    Such as to wake the thread that sends: that is a system call and a change of threads, and a
    hundred coroutines may begin a call in the same turn. The first one does not wait for its end.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """Have the loop call something in its next turn by *call_soon*, in its thread."""
        self._call_soon = call_soon
        self._gathered: dict[Callable[[], None], None] | None = None

    def gather(self, action: Callable[[], None]) -> None:
        """Do *action* at once, or at the end of the turn."""
        if self._gathered is not None:
            self._gathered[action] = None
            return
        self._call_soon(self._end)
        self._gathered = {}  # now: whatever raises here leaves nobody waiting for that end
        action()

    def _end(self) -> None:
        gathered, self._gathered = self._gathered, None
        for action in gathered or ():
            action()

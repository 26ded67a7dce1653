"""`Turns`: shares what coroutines do among the turns of their loop, so that none is a long one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

AT_A_TIME = 16
"""Coroutines that are woken in one turn of a loop, and that ask something in one."""
_BREATH = 50e-6
"""Seconds that leave a loop the interpreter."""

Action = Callable[[], None]


class Turns:
    """What is done in one loop for those of its coroutines that wait for other threads.

    A thousand answers may come at once, or one death that ends a thousand calls, and a thousand
    coroutines may begin in the same turn. To wake all of them in one turn, or to let all of them
    send, would hold up everything else in the loop for as long as they take together.

    And what is done once for many is cheaper: waking a loop and sending are system calls.
    """

    # A thread that works without a break leaves no other the interpreter for 5 ms, each time the
    # other has let go of it: as a loop does when it looks what is ready, and when it sends. So
    # who wakes more than the loop comes to takes a breath now and then: the loop comes first.

    def __init__(
        self, call_soon: Callable[[Action], object], call_from_outside: Callable[[Action], object]
    ) -> None:
        """Have the loop call something in its next turn.

        By *call_soon* if that is asked for in the loop, in which this is made, and by
        *call_from_outside* in any thread; both raise RuntimeError when the loop has ended.
        """
        self._thread = threading.get_ident()
        self._call_soon = call_soon
        self._call_from_outside = call_from_outside
        self._due: deque[Action] = deque()
        self._calling = threading.Lock()  # is held while `_wake_some` is to be called, or runs
        self._asked = 0
        self._to_send: dict[Action, None] | None = None

    # Any thread

    def wake(self, end: Action) -> None:
        """Have *end* called in the loop, a few of them in each turn."""
        self._due.append(end)
        if self._calling.acquire(blocking=False):
            self._call(self._call_from_outside)
        elif len(self._due) % AT_A_TIME == 0 and threading.get_ident() != self._thread:
            time.sleep(_BREATH)

    def _call(self, call: Callable[[Action], object]) -> None:
        try:
            call(self._wake_some)
        except RuntimeError:  # the loop has ended, and nobody waits; of trio's errors it is one
            self._due.clear()
            self._calling.release()

    # The loop

    def _wake_some(self) -> None:
        self._asked = 0
        try:
            for _ in range(min(AT_A_TIME, len(self._due))):
                self._due.popleft()()
        finally:
            self._go_on()

    def _go_on(self) -> None:
        if self._due:
            self._call(self._call_soon)
            return
        self._calling.release()
        # One may have come after the look.
        if self._due and self._calling.acquire(blocking=False):
            self._call(self._call_soon)

    @property
    def is_full(self) -> bool:
        """Whether so many have asked in this turn that others should wait for another one."""
        return self._asked >= AT_A_TIME

    def ask(self) -> None:
        """Take in that one more asks something in this turn."""
        self._asked += 1
        if self._asked > 1 and self._to_send is None:
            self._call_soon(self._send)
            self._to_send = {}

    def send(self, flush: Action) -> None:
        """Do *flush*, which sends what is there for one process: at once, or after this turn.

        The first to ask is not to wait for others, of whom there may be none.
        """
        if self._to_send is None:
            flush()
        else:
            self._to_send[flush] = None

    def _send(self) -> None:
        self._asked = 0
        to_send, self._to_send = self._to_send, None
        for flush in to_send or ():
            flush()

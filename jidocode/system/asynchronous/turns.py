"""`Turns`: shares what coroutines do among the turns of their loop, so that none is a long one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

AT_A_TIME = 16
"""Coroutines that are woken in one turn of a loop, and that begin something in one."""
LOST = 0.005
"""Seconds after which a loop that has not done what it was to do next is told again."""
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
    #
    # The loop is told once for all that there is to do, and `_told_at` is when it was told last.
    # Ctrl-C may be raised at any step of Python, here and in the loop itself, and what was
    # to be called is lost then; but the loop runs again, at the least to close the system, and
    # whoever waited for what was lost would wait for ever. So a loop that was told long ago is
    # told anew, and nothing is taken off a list before it is done. If it was only late, it hears
    # of a moment that is not the last one, and does nothing for it: or a loop that was held up
    # would do in one turn what was to be shared out among many.

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
        self._told_at: float | None = None  # monotonic seconds; none: there is nothing to do
        self._due: deque[Action] = deque()
        self._begun = 0
        self._asked = 0
        self._to_send: dict[Action, None] = {}

    # Any thread

    def wake(self, end: Action) -> None:
        """Have *end* called in the loop, a few of them in each turn."""
        self._due.append(end)
        if self._is_to_be_told():
            self._tell(self._call_from_outside)
        elif len(self._due) % AT_A_TIME == 0 and threading.get_ident() != self._thread:
            time.sleep(_BREATH)

    def _is_to_be_told(self) -> bool:
        told_at = self._told_at
        return told_at is None or time.monotonic() - told_at > LOST

    def _tell(self, call: Callable[[Action], object]) -> None:
        self._told_at = now = time.monotonic()
        try:
            call(partial(self._carry_out, now))
        except RuntimeError:  # the loop has ended, and nobody waits; of trio's errors it is one
            self._due.clear()
            self._told_at = None

    # The loop

    def _carry_out(self, told_at: float) -> None:
        if told_at != self._told_at:
            return
        self._begun = self._asked = 0
        try:
            for flush in tuple(self._to_send):
                flush()
                del self._to_send[flush]
            for _ in range(min(AT_A_TIME, len(self._due))):
                self._wake_first()
        finally:
            self._go_on()

    def _wake_first(self) -> None:
        try:
            self._due[0]()
        except Exception:
            self._due.popleft()
            raise
        self._due.popleft()

    def _go_on(self) -> None:
        if not self._due and not self._to_send:
            self._told_at = None
        # One may have come after the look, and before the loop was free to be told.
        if self._due or self._to_send:
            self._tell(self._call_soon)

    def begin(self) -> None:
        """Take in that one more begins something in this turn."""
        self._begun += 1
        if self._begun > 1 and self._is_to_be_told():
            self._tell(self._call_soon)

    @property
    def is_full(self) -> bool:
        """Whether so many have begun something in this turn that others should wait."""
        return self._begun >= AT_A_TIME

    def ask(self) -> None:
        """Take in that one more asks something in this turn."""
        self._asked += 1

    def send(self, flush: Action) -> None:
        """Do *flush*, which sends what is there for one process: at once, or after this turn.

        The first to ask is not to wait for others, of whom there may be none.
        """
        if self._asked <= 1:
            flush()
            return
        self._to_send[flush] = None
        if self._is_to_be_told():
            self._tell(self._call_soon)

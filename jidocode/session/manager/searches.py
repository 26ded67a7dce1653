"""What a Manager does in threads while it answers everything else: searches, and snapshots.

They run in a few threads of their own. The engine lets go of the interpreter while it is at
work, and between two of its steps each search looks at the clock and at whether the Manager
ends; so none has to be killed. What waits for a thread has its time counted, too.
"""

from __future__ import annotations

import errno
import itertools
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar

from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import Refuse, Reply
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.entries import Ground
from jidocode.session.requests import Operations, Request

MAX_WAITING = 64
"""Searches that wait in one Manager; more are refused."""

Answer = Callable[[Caller, Reply | Refuse], None]
"""Gives a caller the outcome of its search."""


_Holder = TypeVar("_Holder")


class _Search(NamedTuple):
    number: int
    request: Request[object]
    caller: Caller
    ground: Ground


class Searches(Generic[_Holder]):
    """The searches of one project, and the threads that make them, as long as there are any."""

    def __init__(  # noqa: PLR0913 - what they are, and who hears of them
        self,
        boundary: Boundary,
        operations: Operations[_Holder],
        hold: Callable[[Ground], _Holder],
        *,
        threads: int,
        answer: Answer,
        fail: Callable[[Exception], None],
    ) -> None:
        """Search beneath *boundary*.

        Args:
            boundary: The project's.
            operations: What a search may be.
            hold: Returns what one is carried out with, where it may look.
            threads: How many are at work at once; others wait for their turn.
            answer: Called in a thread with what a search has come to.
            fail: Called in a thread with an exception that is no refusal.
        """
        self._boundary, self._operations, self._hold = boundary, operations, hold
        self._most, self._answer, self._fail = threads, answer, fail
        self._waiting: SimpleQueue[_Search | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_closed = threading.Event()
        self._numbers = itertools.count()
        self._under_way: set[int] = set()

    @property
    def busy(self) -> bool:
        """Whether any search waits, or is at work."""
        return bool(self._under_way)

    def start(self, request: object, caller: Caller) -> bool:
        """Start the search that *request* asks for; return whether it is one.

        Raises:
            OSError: Too many wait (EAGAIN), or there is no descriptor or thread for it.
        """
        if not isinstance(request, Request):
            return False
        if request.operation not in self._operations.by_name:
            return False
        if self._waiting.qsize() >= MAX_WAITING:
            raise OSError(errno.EAGAIN, f"{MAX_WAITING} searches wait already")
        if len(self._threads) < self._most:
            # Daemons, for the end of the process waits for nobody's search.
            thread = threading.Thread(target=self._work, name="search", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # what Python says when the kernel has no more
                if not self._threads:
                    raise OSError(errno.EAGAIN, "no thread for a search") from error
            else:
                self._threads.append(thread)
        ground = Ground(self._boundary, should_stop=self._is_closed.is_set)
        search = _Search(next(self._numbers), request, caller, ground)
        self._under_way.add(search.number)
        self._waiting.put(search)
        return True

    def close(self) -> None:
        """Have all searches end soon, with what they have found, and then the threads."""
        self._is_closed.set()
        for _ in self._threads:
            self._waiting.put(None)

    def _work(self) -> None:
        while (search := self._waiting.get()) is not None:
            try:
                with search.ground:
                    outcome = self._operations.answer(search.request, self._hold(search.ground))
                if outcome is not None:
                    self._answer(search.caller, outcome)
            except Exception as error:  # noqa: BLE001 - a crash is the Manager's, not a thread's
                self._fail(error)
            finally:
                self._under_way.discard(search.number)

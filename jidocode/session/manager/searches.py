"""Searches that a Manager makes while it answers everything else.

They run in a few threads of their own. The engine lets go of the interpreter while it is at
work, and between two of its steps each search looks at the clock and at whether the Manager
ends; so none has to be killed. What waits for a thread has its time counted, too.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import Refuse, Reply
from jidocode.session.manager.operations import SEARCHES
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.entries import Ground
from jidocode.session.requests import Request

THREADS = 2
"""Searches at work at once in one Manager; others wait for their turn."""
MAX_WAITING = 64
"""Searches that wait in one Manager; more are refused."""

Answer = Callable[[Caller, Reply | Refuse], None]
"""Gives a caller the outcome of its search."""


class _Search(NamedTuple):
    request: Request[object]
    caller: Caller
    ground: Ground


class Searches:
    """The searches of one project, and the threads that make them, as long as there are any."""

    def __init__(
        self, boundary: Boundary, *, answer: Answer, fail: Callable[[Exception], None]
    ) -> None:
        """Search beneath *boundary*.

        Args:
            boundary: The project's.
            answer: Called in a thread with what a search has come to.
            fail: Called in a thread with an exception that is no refusal.
        """
        self._boundary, self._answer, self._fail = boundary, answer, fail
        self._waiting: SimpleQueue[_Search | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_closed = threading.Event()

    def start(self, request: object, caller: Caller) -> bool:
        """Start the search that *request* asks for; return whether it is one.

        Raises:
            OSError: Too many wait (EAGAIN), or there is no descriptor or thread for it.
        """
        if not isinstance(request, Request) or request.operation not in SEARCHES.by_name:
            return False
        if self._waiting.qsize() >= MAX_WAITING:
            raise OSError(errno.EAGAIN, f"{MAX_WAITING} searches wait already")
        if len(self._threads) < THREADS:
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
        self._waiting.put(_Search(request, caller, ground))
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
                    outcome = SEARCHES.answer(search.request, search.ground)
                if outcome is not None:
                    self._answer(search.caller, outcome)
            except Exception as error:  # noqa: BLE001 - a crash is the Manager's, not a thread's
                self._fail(error)

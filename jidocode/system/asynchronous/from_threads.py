"""`Await`: what a thread has a loop do for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from jidocode.base.stop import Stop

T = TypeVar("T")


class Await(Protocol):
    """Has something awaited in a loop, for a thread that waits for it."""

    def __call__(self, work: Callable[[], Awaitable[T]], stop: Stop) -> T:
        """Return what *work* comes to, in a task of its own; a *stop* cancels it.

        Raises:
            Stopped: It was stopped.
            RuntimeError: The loop has ended.
        """
        ...

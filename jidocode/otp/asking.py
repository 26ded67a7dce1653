"""How functions ask processes for whoever can call one: an app, or a server of the tree."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

from jidocode.base.refs import Target


class Asks(Protocol):
    """Whoever can call a process and wait: an `Application`, a `GenServer`."""

    def call(self, target: Target, request: object, *, timeout: float = ...) -> Any:
        """Send *request* to *target*, and return its answer."""
        ...


def ask(asks: Asks, target: Target, request: object, timeout: float | None = None) -> Any:
    """Have *asks* call *target*; without *timeout* for as long as it waits by default.

    Raises:
        TypeError: *asks* is a server of coroutines, whose `call` would have to be awaited.
        Exception: Whatever the call raises.
    """
    answer = (
        asks.call(target, request)
        if timeout is None
        else asks.call(target, request, timeout=timeout)
    )
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError(
            "this function waits, and a server of coroutines has to await it: "
            "await self.ask(function, ...) with all but its first argument"
        )
    return answer

"""Managers as somebody would have them who got in by a project's content."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import Any

from jidocode.otp import Caller, Reply
from jidocode.otp.server.results import CallResult
from jidocode.session.manager.server import Manager


class TakenOver(Manager):
    """Runs whatever Python it is sent, in its own thread or in a new one."""

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case ("run", str(source), *arguments):
                return Reply(_run(source, arguments))
            case ("run in a thread", str(source), *arguments):
                results: list[object] = []
                thread = threading.Thread(target=lambda: results.append(_run(source, arguments)))
                thread.start()
                thread.join()
                return Reply(results[0])
            case _:
                return super().handle_call(request, caller)


class Threaded(TakenOver):
    """Has a thread before it could be confined."""

    def init(self, *args: Any, **kwargs: Any) -> None:
        wait = threading.Event()
        threading.Thread(target=wait.wait, daemon=True).start()
        super().init(*args, **kwargs)


def _run(source: str, arguments: list[object]) -> object:
    results: dict[str, object] = {}
    names = {"results": results, "argv": arguments, "attempt": _attempt, "os": os}
    exec(source, names)  # noqa: S102 - that is what it is for
    return results


def _attempt(action: Callable[..., object], *arguments: object) -> str:
    """Return the name of the error that *action* ends with, or what it returns."""
    try:
        return repr(action(*arguments))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))

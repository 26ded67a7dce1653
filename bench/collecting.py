"""A request that has a session's process run a full garbage collection."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from jidocode.session.requests import SessionRequest


class Collect(SessionRequest[None]):
    """Collects as it is unpickled: a supervisor answers no request that it does not know."""

    def __reduce__(self) -> tuple[Callable[[], Collect], tuple[()]]:
        return _collected, ()

    def answer(self, holder: Any) -> None:
        """Answer that it is done."""


def _collected() -> Collect:
    gc.collect()
    return Collect()

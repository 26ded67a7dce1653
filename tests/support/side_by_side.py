"""A tool whose calls wait for each other."""

from __future__ import annotations

import threading
from typing import Any

from attrs import frozen

from jidocode import Tool, ToolKind

together: list[threading.Barrier] = []


@frozen
class Nothing:
    """Arguments of a tool that takes none."""


def _meet(_session: Any, _arguments: Nothing) -> str:
    together[0].wait(30)
    return "met"


WAITS = Tool(
    name="meet",
    description="Waits for another call.",
    kind=ToolKind.READ,
    arguments=Nothing,
    run=_meet,
)

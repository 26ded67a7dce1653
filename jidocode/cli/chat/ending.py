"""How a chat has a turn end, without waiting for that, or not for long."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from jidocode.errors import JidocodeError

if TYPE_CHECKING:
    from jidocode.session.agent.handle import TurnHandle

_END_SECONDS = 3.0
"""How long a turn may take to end when the chat ends."""


def request_cancel(turn: TurnHandle) -> None:
    """Have *turn* end, and wait for nothing."""
    turn._progress.request_cancel()  # noqa: SLF001 - whoever draws must not wait


def leave(turn: TurnHandle) -> None:
    """Have *turn* end, for this process has to, too."""
    with suppress(JidocodeError):  # it has ended, or does not in time
        request_cancel(turn)
        turn.result(_END_SECONDS)

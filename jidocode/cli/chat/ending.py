"""How a chat has a turn end, without waiting for that, or not for long."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from jidocode.errors import JidocodeError

if TYPE_CHECKING:
    from jidocode.session.agent.handle import TurnHandle
    from jidocode.session.agent.messages import TurnResult

_END_SECONDS = 3.0
"""How long a turn may take to end when the chat ends."""


def request_cancel(turn: TurnHandle) -> None:
    """Have *turn* end, and wait for nothing."""
    turn._progress.request_cancel()  # noqa: SLF001 - whoever draws must not wait


def leave(turn: TurnHandle) -> TurnResult | None:
    """Have *turn* end, for this process has to, too; return how it has, None if not in time."""
    with suppress(JidocodeError):
        request_cancel(turn)
        return turn.result(_END_SECONDS)
    return None

"""How the process is started that runs the commands of a session: by whoever wants one first.

The app does it, and any child of the session. So what it is started with is registered with
the session, where all of them can ask.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

from jidocode.base.stop import Stop
from jidocode.errors import AlreadyStartedError, NoProcessError
from jidocode.otp import management
from jidocode.otp.asking import Asks, ask
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.supervision.specs import ChildSpec
from jidocode.otp.supervision.strategy import Restart
from jidocode.session.admission.messages import GetOpenSession, OpenSession
from jidocode.session.requests import Channel, Request

COMMANDS = "commands"
"""The id of what runs the commands of a session, which is no child before they are wanted."""
_Result = TypeVar("_Result")


def commands_spec(opened: OpenSession) -> ChildSpec:
    """Return how the process is started that runs the commands of a session."""
    from jidocode.session.commands.server import Commands  # noqa: PLC0415 - few sessions run any

    session, upkeep = opened.record, opened.upkeep
    return Commands.child_spec(
        session,
        upkeep.commands,
        upkeep.journal_dir,
        upkeep.protection,
        upkeep.closed,
        id=COMMANDS,
        name=(COMMANDS, session.id),
        restart=Restart.TEMPORARY,
        heartbeat=upkeep.heartbeat,
    )


class WayToCommands:
    """The way to the process that runs the commands of a session, which it starts if need be."""

    def __init__(self, channel: Channel, asks: Asks, session_id: str) -> None:
        """Send what is asked by *channel*; start the process as *asks*."""
        self._channel = channel
        self._asks = asks
        self._session_id = session_id

    def __call__(
        self,
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> _Result:
        """Send *request*, and return its answer; see `Channel`."""
        try:
            return self._channel(request, timeout=timeout, stop=stop)
        except NoProcessError:
            self._start()
        return self._channel(request, timeout=timeout, stop=stop)

    def _start(self) -> None:
        opened: OpenSession = ask(self._asks, REGISTRY, GetOpenSession(self._session_id))
        with suppress(AlreadyStartedError):
            name = ("session", self._session_id)
            management.start_child(self._asks, name, commands_spec(opened))

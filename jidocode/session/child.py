"""`SessionChild`: a process of an app's own in a session, which knows that session.

It asks Manager and State as the app does, with the same clients, and its siblings by their
ids. All of that goes by names, so it stays good however often they are restarted.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from jidocode.base.refs import ActorRef, Name
from jidocode.base.stop import Stop
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.server.commands import CALL_TIMEOUT
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.machine import SendCall
from jidocode.otp.server.runtime import Runtime
from jidocode.session.manager.client import ManagerClient
from jidocode.session.record import is_session_id
from jidocode.session.requests import Channel, Request
from jidocode.session.starting import asking_commands
from jidocode.session.state.client import StateClient

if TYPE_CHECKING:
    from jidocode.session.commands.client import CommandsClient

_Result = TypeVar("_Result")


class OwnSession:
    """A session, as one of its own children sees it.

    What waits here waits as `GenServer.call` does: it raises the same, and the child
    handles nothing else meanwhile.

    Attributes:
        id: The session's id.
        manager: Asks its Manager for files.
        state: Asks its State for the conversation, and adds to it.
    """

    def __init__(self, child: SessionChild, session_id: str) -> None:
        """See *session_id* as *child* does."""
        self._child = child
        self.id = session_id
        self.manager = ManagerClient(_channel(child, "manager"))
        self.state = StateClient(_channel(child, "state"))

    @property
    def commands(self) -> CommandsClient:
        """Runs programs; the first use starts the process that does, so it is not for `init`.

        A command does not end with the child that has started it.
        """
        # Imported here because few children run commands, and all wait for imports.
        from jidocode.session.commands.client import CommandsClient  # noqa: PLC0415 - see above

        return CommandsClient(_way_to_commands(self._child, self.id))

    def whereis(self, child_id: str) -> ActorRef | None:
        """Return the process of the child *child_id* now, None if none runs."""
        return self._child.whereis(self._child.sibling(child_id))

    def call(self, child_id: str, request: object, *, timeout: float = CALL_TIMEOUT) -> Any:
        """Send *request* to the `handle_call` of the child *child_id*; return its answer."""
        return self._child.call(self._child.sibling(child_id), request, timeout=timeout)

    def cast(self, child_id: str, request: object) -> None:
        """Send *request* to the `handle_cast` of the child *child_id*; wait for nothing."""
        self._child.cast(self._child.sibling(child_id), request)


class SessionChild(GenServer):
    """A server that knows its session: the base of an app's own children.

    It runs only as a child of a session, or below one under a name whose second part is
    the session's id; anywhere else its start fails.
    """

    session: OwnSession
    """The session that it belongs to. Set before `init` runs."""

    def _attach(self, runtime: Runtime, ref: ActorRef, name: Name | None) -> None:
        super()._attach(runtime, ref, name)
        if name is None or not is_session_id(name[1]):
            raise InvalidChildSpecError(
                f"{type(self).__name__} is a SessionChild, so it runs only in a session: "
                "as one of its children, or under a name whose second part is its id"
            )
        self.session = OwnSession(self, name[1])


def _channel(child: SessionChild, child_id: str) -> Channel:
    """Return the way from *child* to its sibling *child_id*, for a client."""
    name = child.sibling(child_id)

    def ask(
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> _Result:
        answer: _Result = _call(child, name, request, timeout, stop)
        return answer

    return ask


def _way_to_commands(child: SessionChild, session_id: str) -> Channel:
    """Return the way from *child* to what runs the commands of its session, which it starts."""

    def ask(
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> _Result:
        def at_once(name: Name, asked: object, seconds: float | None) -> Generator[Any, Any, Any]:
            yield from ()  # it waits here, and leaves nothing to do
            return _call(child, name, asked, seconds, stop)

        return _end_of(asking_commands(at_once, session_id, request, timeout))

    return ask


def _call(
    child: SessionChild, name: Name, request: object, timeout: float | None, stop: Stop | None
) -> Any:
    seconds = CALL_TIMEOUT if timeout is None else timeout
    return child._runtime.call(SendCall(name, request, seconds), stop)  # noqa: SLF001 - it is part of the child


def _end_of(plan: Generator[Any, Any, _Result]) -> _Result:
    """Return what *plan* comes to, in which there is nothing to do."""
    try:
        next(plan)
    except StopIteration as end:
        result: _Result = end.value
        return result
    raise AssertionError("a child does all at once")

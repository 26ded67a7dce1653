"""What the type checkers have to understand; it is NOT meant to be executed."""

from typing import assert_type

from jidocode import (
    ActorRef,
    ChildInfo,
    ChildSpec,
    FileBytes,
    FileSlice,
    GenServer,
    Health,
    Message,
    Session,
    SessionHandle,
    SessionSystem,
    TextFile,
)
from jidocode.otp import Caller, Reply, Start


class Own(GenServer):
    """A child of one's own."""

    def init(self, size: int) -> None:
        """Take an argument from the spec."""
        self.size = size

    def handle_call(self, request: str, caller: Caller) -> Reply:
        """Answer one kind of request."""
        del caller
        return Reply(len(request) + self.size)


def sessions() -> None:
    """Calls have a precise type."""
    with SessionSystem(max_sessions=3) as system:
        assert_type(system, SessionSystem)
        session = system.create_session(".", children=[ChildSpec(id="own", start=Start(Own, 1))])
        assert_type(session, SessionHandle)
        assert_type(session.manager.read_file("a", limit=1), FileSlice)
        assert_type(session.manager.read_text("a", encoding="latin-1"), TextFile)
        assert_type(session.manager.read_bytes("a", offset=1), FileBytes)
        session.manager.write_file("a", "b", newline="\n\r")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # no line end
        assert_type(session.manager.project_root(), str)
        assert_type(session.manager.session(), Session)
        assert_type(ChildSpec(id="own", start=Own).start, Start)
        assert_type(session.state.append_message("user", "a"), Message)
        assert_type(session.state.messages(limit=1), list[Message])
        assert_type(session.state.append_chunk("a", "b", offset=0), int)
        session.manager.read_file("a", 1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # offset has to be named
        session.state.messages(limit="x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # on purpose
        assert_type(session.which_children(), tuple[ChildInfo, ...])
        assert_type(session.health_check(), Health)
        assert_type(system.get_manager(session.id), ActorRef)
        assert_type(system.list_sessions(), list[Session])
        assert_type(system.session_running(session.id), bool)

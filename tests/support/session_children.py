"""Children of sessions that work with their session."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from peers import Peer

from jidocode import ActorExitedError, SessionChild, ToolUseBlock
from jidocode.otp import Caller, Reply
from jidocode.otp.server.results import CallResult

T = TypeVar("T")


def persist(ask: Callable[[], T]) -> T:
    """Ask again whenever who was asked has died over it."""
    while True:
        try:
            return ask()
        except ActorExitedError:
            continue


class Clerk(SessionChild, Peer):
    """Does with its session what it is told."""

    kind: ClassVar[str] = "clerk"

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case ("record", text, path):
                own, once = self.session, str(uuid.uuid4())
                message = persist(lambda: own.state.append_message("user", text, message_id=once))
                return Reply((message.seq, persist(lambda: own.manager.read_text(path))))
            case ("session", method, *args):
                return Reply(getattr(self.session, method)(*args))
            case ("next change", int() as seq, timeout):
                with self.session.state.subscribe(from_seq=seq) as stream:
                    return Reply(stream.get(timeout=timeout))
            case ("close in a thread", int() as seq):
                stream = self.session.state.subscribe(from_seq=seq)
                threading.Timer(0.1, stream.close).start()
                return Reply(stream.get(timeout=600.0))
            case ("run", line):
                return Reply(self.session.commands.run(line))
            case ("start", line):
                return Reply(self.session.commands.start(line).id)
            case "id":
                return Reply(self.session.id)
            case _:
                return super().handle_call(request, caller)

    def ask_manager(self, path: str) -> object:
        return self.session.manager.read_text(path)

    def begin_turn(self) -> str:
        """Begin an answer, and a call of another one's, as their owner; end neither."""
        state = self.session.state
        use = ToolUseBlock("c1", "run", {})
        state.append_message("assistant", [use], message_id="asks")
        state.add_tool_call("run", call_id="c1", message_id="asks", owner=self.ref)
        began = state.begin_stream(owner=self.ref)
        state.append_chunk(began.id, "thought", offset=0, kind="reasoning")
        state.append_block(began.id, ToolUseBlock("c2", "run", {}), offset=7)
        state.append_chunk(began.id, "said", offset=7)
        return began.id

    def run_command(self, line: str, cwd: str = ".") -> str:
        return self.session.commands.run(line, cwd=cwd, check=True).stdout

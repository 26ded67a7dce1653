"""`FakeChild` and what its server asks of others: calls, names, timers, its own end."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from jidocode import CallTimeoutError, HandlerError
from jidocode.otp import INFINITY, ActorRef, Caller, GenServer, Reply, Response, Shutdown, Start
from jidocode.otp.server.machine import SendCall, SendCast, SendInfo
from jidocode.otp.server.results import CallResult
from jidocode.testing import FakeChild

OTHER = ActorRef("other", 1, 100)


class Asker(GenServer):
    """Asks another process, and keeps what comes meanwhile."""

    kind: ClassVar[str] = "asker"

    def init(self) -> None:
        self.diary: list[object] = []

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del caller
        match request:
            case ("ask", target, question):
                self.cast(target, "first")
                answer = self.call(target, question)
                self.diary.append(("answer", answer))
                self.send(target, "then")
                return Reply(answer)
            case ("timer", "cancelled"):
                return Reply(self.cancel_timer(self.send_after(1.0, "timer")))
            case ("sibling", child_id):
                name = self.sibling(child_id)
                return Reply((name, self.whereis(name)))
            case ("stop", reason):
                self.stop(reason)
                return Reply("answered")
            case ("request", target, timeout):
                return Reply(self.send_request(target, "never", timeout=timeout))
            case _:
                return Reply(list(self.diary))

    def handle_info(self, message: Any) -> None:
        self.diary.append(message)


def test_calls_of_a_fake_child_go_to_a_function_of_the_test() -> None:
    """By refs and by names, in their place among the effects; what comes meanwhile waits."""
    state = ("state", "x")

    def answer(target: object, question: object) -> object:
        child.info("meanwhile")
        child.advance(1.0)
        if question == "refuse":
            raise LookupError("no")
        return (target, question)

    child = FakeChild(Start(Asker), on_call=answer)

    assert child.call(("ask", OTHER, "why")) == (OTHER, "why")
    assert child.call(("ask", state, "how")) == (state, "how")
    assert child.effects == [
        SendCast(OTHER, "first"),
        SendCall(OTHER, "why", 5.0),
        SendInfo(OTHER, "then"),
        SendCast(state, "first"),
        SendCall(state, "how", 5.0),
        SendInfo(state, "then"),
    ]
    assert child.call("diary") == [
        ("answer", (OTHER, "why")),
        "meanwhile",
        ("answer", (state, "how")),
        "meanwhile",
    ]
    with pytest.raises(HandlerError, match="LookupError: no"):
        child.call(("ask", OTHER, "refuse"))


def test_a_fake_child_without_such_a_function_is_alone() -> None:
    """Nobody is there; and it cannot call itself."""
    with pytest.raises(HandlerError, match="NoProcessError: no process for state x"):
        FakeChild(Start(Asker)).call(("ask", ("state", "x"), "why"))
    child = FakeChild(Start(Asker), name=("asker", "x"))
    with pytest.raises(HandlerError, match="CallError: asker calls itself"):
        child.call(("ask", ("asker", "x"), "why"))


def test_a_fake_child_has_a_name_and_finds_others() -> None:
    """Those that the test names."""
    child = FakeChild(Start(Asker), name=("asker", "x"), names={("state", "x"): OTHER})

    assert child.call(("sibling", "state")) == (("state", "x"), OTHER)
    assert child.call(("sibling", "asker")) == (("asker", "x"), child.ref)
    assert child.call(("sibling", "nobody")) == (("nobody", "x"), None)


def test_requests_and_timers_of_a_fake_child_end_on_its_clock() -> None:
    """After their time, or never; a cancelled timer does not fire."""
    child = FakeChild(Start(Asker))
    assert child.call(("timer", "cancelled")) is True
    answered = child.call(("request", OTHER, 2.0))
    left = child.call(("request", OTHER, 2.0))
    child.call(("request", OTHER, INFINITY))
    child.advance(1.0)
    child.info(Response(answered, "answer", None))
    child.advance(1e6)

    first, second = child.call("diary")
    assert first == Response(answered, "answer", None)
    assert second.token == left
    assert isinstance(second.error, CallTimeoutError)


def test_a_fake_child_can_stop_itself() -> None:
    """As a real one: its answer is given."""
    child = FakeChild(Start(Asker))

    assert child.call(("stop", Shutdown("enough"))) == "answered"
    assert child.exit_reason == Shutdown("enough")

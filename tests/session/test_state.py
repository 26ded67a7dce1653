"""The State as a server: requests in, answers and refusals out, and it goes on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from jidocode.base.exits import SHUTDOWN, Crashed
from jidocode.base.refs import ActorRef
from jidocode.errors import CallError, HandlerError, InvalidRequestError, InvalidSessionError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.server.machine import LogUnexpected, SendRequest
from jidocode.otp.server.messages import Response
from jidocode.session.admission.messages import StopSession
from jidocode.session.conversation.blocks import ReasoningBlock
from jidocode.session.conversation.changes import Todo
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.idle import LookIdle
from jidocode.session.project.files import Project
from jidocode.session.record import Session, SessionConfig
from jidocode.session.requests import Operations, Request, request, update_session
from jidocode.session.state import server as module
from jidocode.session.state.client import StateClient
from jidocode.session.state.server import State

if TYPE_CHECKING:
    from jidocode.otp.server.gen_server import GenServer

Connect = Callable[["type[GenServer]", Session], Any]


@pytest.fixture
def wire(connect: Connect, session: Session) -> Any:
    """The way to a State."""
    return connect(State, session)


@pytest.fixture
def state(wire: Any) -> StateClient:
    """A State's client."""
    return StateClient(wire)


def test_the_conversation_goes_through_the_state(state: StateClient) -> None:
    """Append, page, clear; fresh ids unless given."""
    first = state.append_message("user", "why?", metadata={"n": 1})
    second = state.append_message("assistant", "because", message_id="mine")

    assert state.messages() == [first, second]
    assert (first.seq, second.seq, second.id) == (1, 2, "mine")
    assert first.id != state.append_message("tool", "").id
    assert state.messages(after_seq=1, limit=1) == [second]
    assert state.append_message("assistant", "because", message_id="mine") == second
    state.clear_messages()
    assert state.messages() == []
    assert state.statistics().last_seq == 4


def test_the_same_request_sent_twice_appends_once(wire: Any, state: StateClient) -> None:
    """Requests carry their id, so they may be repeated as they are."""
    append = request(Conversation.append_message, "a", "user", "hello")

    assert wire(append) == wire(append)
    assert len(state.messages()) == 1


def test_todos_and_tool_calls_go_through_the_state(state: StateClient) -> None:
    """Each has its methods."""
    call = state.add_tool_call("run", {"argv": ["make"]})
    done = state.add_tool_result(call.id, "ok")

    assert state.tool_calls() == [done]
    assert state.tool_calls(after_seq=done.seq) == []
    assert state.add_tool_call("run", call_id="mine").id == "mine"
    assert state.replace_todos([Todo("test")]) == state.todos() == (Todo("test"),)


def test_a_later_record_is_taken_and_an_earlier_one_is_not(
    wire: Any, state: StateClient, session: Session
) -> None:
    """Updates may arrive twice and out of order."""
    renamed = session.rename("market")
    updated = renamed.update_config({"model": "m"})

    assert wire(request(update_session, updated)) == updated
    assert wire(request(update_session, renamed)) == updated
    assert state.session() == updated
    assert state.config().model == "m"


def test_a_record_that_breaks_a_rule_is_refused(
    wire: Any, state: StateClient, session: Session
) -> None:
    """Nothing has changed then."""
    broken = evolve(session, config=SessionConfig(temperature=9))
    with pytest.raises(InvalidSessionError):
        wire(request(update_session, broken))
    with pytest.raises(InvalidRequestError):
        wire(request(update_session, "x"))  # type: ignore[arg-type] # on purpose
    for since in ("x", datetime.now()):  # noqa: DTZ005 - on purpose
        with pytest.raises(InvalidRequestError):
            wire(request(update_session, session, since))  # type: ignore[arg-type] # on purpose

    assert wire.exit is None
    assert state.session() == session


# What is asked (method, arguments, keyword arguments), and what it raises.
REFUSALS: list[tuple[tuple[str, list[Any], dict[str, Any]], type[Exception]]] = [
    (("append_message", ["wizard", "x"], {}), InvalidRequestError),
    (("append_message", ["user", None], {}), InvalidRequestError),
    (("append_message", ["user", "x"], {"message_id": ""}), InvalidRequestError),
    (("messages", [], {"limit": 0}), InvalidRequestError),
    (("replace_todos", ["x"], {}), InvalidRequestError),
    (("add_tool_result", ["unknown", "x"], {}), InvalidRequestError),
    (("add_tool_call", ["run"], {"call_id": "made", "message_id": b"x"}), InvalidRequestError),
    (("summarize", ["short"], {"summary_id": "told", "upto_seq": 10**5000}), InvalidRequestError),
    (("begin_stream", [], {"owner": ActorRef("x", 1, 2, [])}), InvalidRequestError),  # type: ignore[arg-type] # on purpose
    (("begin_stream", [], {"owner": ActorRef([], 1, 2)}), InvalidRequestError),  # type: ignore[arg-type] # on purpose
    (
        ("append_block", ["said", ReasoningBlock("", "s")], {"offset": 10**5000}),
        InvalidRequestError,
    ),
]


@pytest.mark.parametrize(("ask", "error"), REFUSALS)
def test_a_refusal_reaches_the_caller_and_the_state_goes_on(
    wire: Any,
    state: StateClient,
    ask: tuple[str, list[Any], dict[str, Any]],
    error: type[Exception],
) -> None:
    """Nothing is lost or changed by a request that breaks a rule."""
    kept = state.append_message("user", "kept")
    state.add_tool_call("run", call_id="made")
    state.summarize("short", upto_seq=1, summary_id="told")
    state.begin_stream(message_id="said")
    method, args, options = ask
    with pytest.raises(error) as caught:
        getattr(state, method)(*args, **options)

    assert caught.type is error
    assert wire.exit is None
    assert state.messages() == [kept]


def test_what_it_does_not_know_is_refused(wire: Any, state: StateClient) -> None:
    """Also a Manager's request, and the State goes on."""
    alien = request(Project.read_file, "x")
    asked: list[object] = [None, {"role": "user"}, alien, Request[None]("flush")]
    for question in asked:
        with pytest.raises(CallError):
            wire(question)

    assert wire.exit is None
    assert state.messages() == []


def divide(holder: Conversation) -> float:
    """An operation with a bug."""
    return len(holder.messages()) / 0


def test_an_unexpected_error_ends_the_state(wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor decides what then; the caller gets the traceback."""
    monkeypatch.setattr(module, "OPERATIONS", Operations(divide))
    with pytest.raises(HandlerError, match="ZeroDivisionError"):
        wire(request(divide))

    assert isinstance(wire.exit, Crashed)


def test_a_restart_begins_empty_with_the_record_of_the_spec(
    connect: Connect, session: Session
) -> None:
    """As OTP does; what must survive is another part's business."""
    first = connect(State, session)
    StateClient(first).append_message("user", "lost")
    first(request(update_session, session.update_config({"model": "lost"})))
    first.stop(SHUTDOWN)
    second = StateClient(connect(State, session))

    assert second.messages() == []
    assert second.session() == session


def test_a_stop_that_takes_its_time_is_nothing_unexpected(
    connect: Callable[..., Any], session: Session
) -> None:
    """An idle session whose children are slow to end: the answer comes while State still runs."""
    wire = connect(State, session, None, "process", None, 1e-9)
    assert wire.failure is None
    wire.info(LookIdle())
    asked = [effect for effect in wire.effects if isinstance(effect, SendRequest)]
    for effect in asked:
        wire.info(Response(effect.token, 1.0, None))
    stop = wire.effects[-2]
    assert (stop.target, stop.request) == (REGISTRY, StopSession(session.id))
    wire.info(Response(stop.token, None, CallError("no answer in time")))

    assert not any(isinstance(effect, LogUnexpected) for effect in wire.effects)

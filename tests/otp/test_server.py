"""`GenServer` and `ServerLoop` against OTP's gen_server, callback by callback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, strategies as st
from recorder import Recorded

from jidocode.base.exits import NORMAL, SHUTDOWN, Crashed, ExitReason, Shutdown
from jidocode.base.refs import ActorRef
from jidocode.errors import ActorExitedError, CallError, HandlerError
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.machine import (
    CallReceived,
    CastReceived,
    Continue,
    ContinueReceived,
    Effect,
    Event,
    Exit,
    IdleTimerFired,
    InfoReceived,
    InitDone,
    InitFailed,
    InitIgnored,
    LogUnexpected,
    Publish,
    SendAfter,
    SendCall,
    SendCast,
    SendError,
    SendInfo,
    SendReply,
    SendRequest,
    SetIdleTimer,
    StartMonitor,
    StopMonitor,
    StopReceived,
    StopSoon,
    TimerFired,
    WatchProcess,
)
from jidocode.otp.server.messages import Caller, Down, Response, Timeout
from jidocode.otp.server.results import Ignore, NoReply, Refuse, Reply, Stop
from jidocode.otp.supervision.specs import Start

ME = ActorRef("script", 1, 100)
OTHER = ActorRef("other", 1, 200)
CALLER = Caller("app", 1)

Step = Callable[["Script"], Any]


class Script(GenServer):
    """A server whose messages are the functions to run, and which keeps a diary."""

    kind = "script"

    def init(self, *steps: Step, then_terminate: Step | None = None) -> Any:
        self.diary: list[str] = []
        self.then_terminate = then_terminate
        return steps[0](self) if steps else None

    def handle_call(self, request: Step, caller: Caller) -> Any:
        self.diary.append("call")
        self.caller = caller
        return request(self)

    def handle_cast(self, request: Step) -> Any:
        self.diary.append("cast")
        return request(self)

    def handle_info(self, message: Any) -> Any:
        self.diary.append(f"info {type(message).__name__}")
        return message(self) if callable(message) else None

    def handle_continue(self, then: Any) -> Any:
        self.diary.append("continue")
        return then(self) if callable(then) else None

    def terminate(self, reason: ExitReason) -> None:
        self.diary.append(f"terminate {reason}")
        self.send(OTHER, "last words")
        if self.then_terminate is not None:
            self.then_terminate(self)


LAST_WORDS = SendInfo(OTHER, "last words")


def returning(value: object) -> Step:
    """Return a step that returns *value*."""
    return lambda _server: value


def raising(error: BaseException) -> Step:
    """Return a step that raises *error*."""

    def step(_server: Script) -> None:
        raise error

    return step


def running(*steps: Step, **options: Any) -> tuple[Script, Recorded]:
    """Return a server that is up, and its loop."""
    server = Script()
    loop = Recorded(server, ME)

    assert InitDone() in loop.start(Start(Script, *steps, **options))
    return server, loop


def call(step: Step) -> CallReceived:
    return CallReceived(CALLER, step)


# ----- init ----------------------------------------------------------------------


@pytest.mark.parametrize("result", [None, NoReply()])
def test_init_that_returns_nothing_special_is_done(result: object) -> None:
    """The supervisor is told, with nothing else to do."""
    loop = Recorded(Script(), ME)

    assert loop.start(Start(Script, returning(result))) == [InitDone()]


def test_init_gets_the_arguments_of_its_spec_and_knows_itself() -> None:
    """C11: the same ones at each start; `ref` is there before it."""
    seen: list[ActorRef] = []
    running(lambda server: seen.append(server.ref))

    assert seen == [ME]


def test_init_may_ignore() -> None:
    """A8: it leaves, and that is no failure."""
    assert Recorded(Script(), ME).start(Start(Script, returning(Ignore()))) == [InitIgnored()]


def test_init_may_stop() -> None:
    """A7: the start fails with its reason, and terminate does not run."""
    server = Script()

    effects = Recorded(server, ME).start(Start(Script, returning(Stop(Shutdown("no licence")))))

    assert (effects, server.diary) == ([InitFailed(Shutdown("no licence"))], [])


def test_exception_in_init_fails_the_start_with_its_traceback() -> None:
    """B3, L8: text only, and terminate does not run."""
    server = Script()

    (effect,) = Recorded(server, ME).start(Start(Script, raising(ValueError("no"))))

    assert isinstance(effect, InitFailed)
    assert isinstance(effect.reason, Crashed)
    assert effect.reason.error == "ValueError: no"
    assert "in step" in effect.reason.traceback
    assert server.diary == []


@pytest.mark.parametrize("result", [7, Reply(1), Refuse(ValueError()), Timeout()])
def test_bad_value_from_init_fails_the_start(result: object) -> None:
    """A7: any other value is an error that names it."""
    (effect,) = Recorded(Script(), ME).start(Start(Script, returning(result)))

    assert isinstance(effect, InitFailed)
    assert str(effect.reason).startswith("crashed: bad return value: init returned ")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(), NORMAL),
        (SystemExit(0), NORMAL),
        (SystemExit(3), Crashed("SystemExit: 3")),
        (KeyboardInterrupt(), Crashed("KeyboardInterrupt")),
    ],
    ids=repr,
)
def test_leaving_by_exit_fails_the_start(error: BaseException, reason: ExitReason) -> None:
    """A7: also by what is no `Exception`."""
    (effect,) = Recorded(Script(), ME).start(Start(Script, raising(error)))

    assert isinstance(effect, InitFailed)
    assert bare(effect.reason) == reason


@pytest.mark.parametrize(
    "then",
    [lambda: None, Ignore, Stop, lambda: 7, lambda: 1 / 0],
    ids=["done", "ignores", "stops", "bad value", "raises"],
)
def test_what_init_sent_is_sent_whatever_comes_of_it(then: Callable[[], object]) -> None:
    """As in OTP, where a send in init has happened when init fails."""

    def step(server: Script) -> object:
        server.cast(OTHER, "hello")
        return then()

    assert Recorded(Script(), ME).start(Start(Script, step))[0] == SendCast(OTHER, "hello")


def test_init_may_go_on_and_may_wait() -> None:
    """L9, L10: before any message that waits, or when none comes."""
    on, wait = (Recorded(Script(), ME) for _ in range(2))

    assert on.start(Start(Script, returning(NoReply(then="x")))) == [InitDone(), Continue("x")]
    assert wait.start(Start(Script, returning(NoReply(timeout=2.0)))) == [
        InitDone(),
        SetIdleTimer(0, 2.0),
    ]
    assert wait.handle(IdleTimerFired(0)) == []


def bare(reason: ExitReason) -> ExitReason:
    """Return *reason* without its traceback."""
    return evolve(reason, traceback="") if isinstance(reason, Crashed) else reason


# ----- messages --------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 7, "text", Stop()])
def test_call_is_answered_with_any_value(value: object) -> None:
    """None is an answer, too."""
    server, loop = running()

    assert loop.handle(call(returning(Reply(value)))) == [SendReply(CALLER, value)]
    assert server.diary == ["call"]


def test_call_may_be_refused_with_an_error() -> None:
    """The caller raises it, and the server goes on."""
    error = LookupError("nothing there")

    assert running()[1].handle(call(returning(Refuse(error)))) == [SendError(CALLER, error)]


def test_call_may_be_answered_later() -> None:
    """L11: from any callback, by a value or an error, in the order of the answers."""
    _, loop = running()
    error = LookupError()

    def answer(server: Script) -> None:
        server.reply(server.caller, 7)

    def refuse(server: Script) -> None:
        server.refuse(server.caller, error)

    assert loop.handle(call(returning(NoReply()))) == []
    assert loop.handle(CastReceived(answer)) == [SendReply(CALLER, 7)]
    assert loop.handle(InfoReceived(refuse)) == [SendError(CALLER, error)]


@pytest.mark.parametrize("result", [None, NoReply()])
@pytest.mark.parametrize("event", [CastReceived, InfoReceived, ContinueReceived])
def test_other_messages_have_no_answer(event: Callable[[Step], Event], result: object) -> None:
    """Casts, infos and continues may return nothing."""
    assert running()[1].handle(event(returning(result))) == []


def test_what_a_callback_does_is_carried_out_before_its_answer() -> None:
    """In the order in which it was done; tokens are never used twice."""

    def step(server: Script) -> Reply:
        server.cast(OTHER, 1)
        server.send(OTHER, 2)
        server.send_after(0.5, 3)
        request, monitor = server.send_request(OTHER, 4), server.monitor(OTHER)
        server.demonitor(monitor)
        return Reply((request, monitor, server.watch_process(OTHER)))

    assert running()[1].handle(call(step)) == [
        SendCast(OTHER, 1),
        SendInfo(OTHER, 2),
        SendAfter(1, 0.5, 3),
        SendRequest(2, OTHER, 4, 5.0),
        StartMonitor(3, OTHER),
        StopMonitor(3),
        WatchProcess(4, OTHER),
        SendReply(CALLER, (2, 3, 4)),
    ]


@pytest.mark.parametrize(
    "event",
    [call(returning(Reply(1, then="x"))), CastReceived(returning(NoReply(then="x", timeout=1)))],
    ids=["call", "cast"],
)
def test_continue_comes_before_any_waiting_message(event: Event) -> None:
    """L9: after the answer; it wins over a timeout."""
    server, loop = running()

    assert loop.handle(event)[-1] == Continue("x")
    assert loop.handle(ContinueReceived("x")) == []
    assert server.diary[-1] == "continue"


@pytest.mark.parametrize("then", [0, False, "", []])
def test_continue_takes_any_value_but_none(then: object) -> None:
    """L9: an empty value is a value."""
    assert running()[1].handle(CastReceived(returning(NoReply(then=then)))) == [Continue(then)]


def test_idle_timer_of_the_last_callback_fires_once() -> None:
    """L10: any message in between clears it, and so does its own."""
    server, loop = running()

    assert loop.handle(call(returning(Reply(1, timeout=0)))) == [
        SendReply(CALLER, 1),
        SetIdleTimer(1, 0),
    ]
    assert loop.handle(CastReceived(returning(NoReply(timeout=2)))) == [SetIdleTimer(2, 2)]
    assert loop.handle(IdleTimerFired(1)) == []
    assert server.diary == ["call", "cast"]
    assert loop.handle(IdleTimerFired(2)) == []
    assert loop.handle(IdleTimerFired(2)) == []
    assert server.diary == ["call", "cast", "info Timeout"]


def test_answers_and_downs_come_as_infos() -> None:
    """What the machinery has to tell is a message like any other."""
    server, loop = running()
    loop.handle(InfoReceived(Down(1, OTHER, NORMAL)))
    loop.handle(InfoReceived(Response(2, 7, None)))

    assert server.diary == ["info Down", "info Response"]


# ----- messages that nobody handles --------------------------------------------------


class Plain(GenServer):
    """A server with no callbacks of its own."""


def test_unknown_messages_are_reported_and_ignored() -> None:
    """L12: by type, so that no content gets into a log."""
    loop = Recorded(Plain(), ME)
    loop.start(Start(Plain))

    assert loop.handle(InfoReceived("secret")) == [LogUnexpected("str")]
    assert loop.handle(CastReceived({"password": 1})) == [LogUnexpected("dict")]
    assert loop.handle(InfoReceived(Down(1, OTHER, NORMAL))) == [LogUnexpected("Down")]


def test_unknown_call_is_refused() -> None:
    """L12: OTP's server would die of it; here the caller hears of its mistake."""
    loop = Recorded(Plain(), ME)
    loop.start(Start(Plain))

    (effect,) = loop.handle(CallReceived(CALLER, "x" * 10_000))

    assert isinstance(effect, SendError)
    assert isinstance(effect.error, CallError)
    assert len(str(effect.error)) < 200


def test_continue_that_nobody_handles_is_a_crash() -> None:
    """L5: it is the server's own mistake."""
    loop = Recorded(Plain(), ME)
    loop.start(Start(Plain))

    (effect,) = loop.handle(ContinueReceived("x"))

    assert isinstance(effect, Exit)
    assert str(effect.reason) == "crashed: NotImplementedError: Plain returned then='x'"


# ----- ends ------------------------------------------------------------------------


def exit_heard(effect: Effect) -> ExitReason:
    """Return the reason that *effect* tells the caller."""
    assert isinstance(effect, SendError)
    assert effect.caller == CALLER
    assert isinstance(effect.error, ActorExitedError)
    return effect.error.reason


def test_stop_with_a_reply_answers_after_terminate() -> None:
    """L7: and exits with the reason, normal by default."""
    server, loop = running()

    assert loop.handle(call(returning(Stop(reply=None)))) == [
        LAST_WORDS,
        SendReply(CALLER, None),
        Exit(NORMAL),
    ]
    assert server.diary == ["call", "terminate normal"]


def test_stop_without_a_reply_tells_the_caller_of_the_exit() -> None:
    """L7: with its reason."""
    _, loop = running()

    words, answer, last = loop.handle(call(returning(Stop(Shutdown("idle")))))

    assert (words, last) == (LAST_WORDS, Exit(Shutdown("idle")))
    assert exit_heard(answer) == Shutdown("idle")


@pytest.mark.parametrize("event", [CastReceived, InfoReceived, ContinueReceived])
def test_any_callback_may_stop(event: Callable[[Step], Event]) -> None:
    """L7: a reply has nobody to go to then."""
    _, loop = running()

    assert loop.handle(event(returning(Stop(reply=7)))) == [LAST_WORDS, Exit(NORMAL)]


def test_stop_by_the_supervisor_runs_terminate() -> None:
    """L8: with the reason it was given."""
    server, loop = running()

    assert loop.handle(StopReceived(SHUTDOWN)) == [LAST_WORDS, Exit(SHUTDOWN)]
    assert server.diary == ["terminate shutdown"]


def test_first_exception_in_a_call_ends_the_process() -> None:
    """L5: terminate runs once, the caller gets the remote traceback, then it is over."""
    server, loop = running()

    *words, answer, last = loop.handle(call(raising(ValueError("no"))))

    assert words == [LAST_WORDS]
    assert isinstance(answer, SendError)
    assert isinstance(answer.error, HandlerError)
    assert answer.error.error == "ValueError: no"
    assert "in step" in answer.error.remote_traceback
    assert isinstance(last, Exit)
    assert bare(last.reason) == Crashed("ValueError: no")
    assert server.diary == ["call", "terminate crashed: ValueError: no"]


@pytest.mark.parametrize("event", [CastReceived, InfoReceived, ContinueReceived])
def test_first_exception_anywhere_ends_the_process(event: Callable[[Step], Event]) -> None:
    """L5: what it had sent before is sent."""
    _, loop = running()

    def step(server: Script) -> None:
        server.cast(OTHER, "hello")
        raise ValueError("no")

    *words, last = loop.handle(event(step))

    assert words == [SendCast(OTHER, "hello"), LAST_WORDS]
    assert isinstance(last, Exit)
    assert bare(last.reason) == Crashed("ValueError: no")


def test_exception_in_terminate_is_the_reason_then() -> None:
    """L8: of the exit; the caller still hears what its own call did."""
    _, loop = running(then_terminate=raising(OSError("full")))

    _, answer, last = loop.handle(call(raising(ValueError("no"))))

    assert isinstance(answer, SendError)
    assert isinstance(answer.error, HandlerError)
    assert answer.error.error == "ValueError: no"
    assert isinstance(last, Exit)
    assert bare(last.reason) == Crashed("OSError: full")


def test_exception_in_terminate_does_not_swallow_the_reply() -> None:
    """L7: OTP replies in any case."""
    _, loop = running(then_terminate=raising(OSError("full")))

    _, answer, last = loop.handle(call(returning(Stop(reply=7))))

    assert answer == SendReply(CALLER, 7)
    assert isinstance(last, Exit)
    assert bare(last.reason) == Crashed("OSError: full")


@pytest.mark.parametrize("result", [None, 7, Ignore(), Timeout()])
def test_bad_answer_to_a_call_ends_the_process(result: object) -> None:
    """L6: the caller hears of the exit."""
    server, loop = running()

    _, answer, last = loop.handle(call(returning(result)))

    assert isinstance(last, Exit)
    assert str(last.reason).startswith("crashed: bad return value: handle_call returned ")
    assert exit_heard(answer) == last.reason
    assert server.diary[-1] == f"terminate {last.reason}"


@pytest.mark.parametrize("result", [7, Reply(1), Refuse(ValueError()), Ignore()])
@pytest.mark.parametrize("event", [CastReceived, InfoReceived, ContinueReceived])
def test_bad_return_value_ends_the_process(event: Callable[[Step], Event], result: object) -> None:
    """L6: a reply to nobody is one, too."""
    _, loop = running()

    last = loop.handle(event(returning(result)))[-1]

    assert isinstance(last, Exit)
    assert str(last.reason).startswith("crashed: bad return value: handle_")


def test_exit_in_a_handler_is_an_orderly_end() -> None:
    """OTP: exit(normal); terminate runs, and the caller hears of the exit."""
    server, loop = running()

    words, answer, last = loop.handle(call(lambda _server: sys.exit()))

    assert (words, last) == (LAST_WORDS, Exit(NORMAL))
    assert exit_heard(answer) == NORMAL
    assert server.diary == ["call", "terminate normal"]


def test_exit_with_a_status_in_a_handler_is_a_crash() -> None:
    """Its status is part of the reason."""
    last = running()[1].handle(CastReceived(raising(SystemExit(3))))[-1]

    assert isinstance(last, Exit)
    assert bare(last.reason) == Crashed("SystemExit: 3")


# ----- at once, and in between ---------------------------------------------------------


def test_what_a_callback_asks_for_is_asked_while_it_runs() -> None:
    """Not when it returns."""
    noted: list[list[object]] = []

    def step(server: Script) -> Reply:
        server.cast(OTHER, 1)
        noted.append(list(loop.runtime.noted))
        server.announce("progress")
        noted.append(list(loop.runtime.noted))
        return Reply(None)

    _, loop = running()
    loop.handle(call(step))

    assert noted == [[SendCast(OTHER, 1)], [SendCast(OTHER, 1), Publish("progress")]]


def test_a_call_waits_for_its_answer() -> None:
    """By ref or by name; what it is answered, or refused with, comes out of it."""
    asked: list[SendCall] = []

    def answer(call: SendCall) -> object:
        asked.append(call)
        if call.request == "refuse":
            raise LookupError("no")
        return "answer"

    loop = Recorded(Script(), ME, ("script", "x"), answer)
    loop.start(Start(Script))
    step = call(lambda server: Reply(server.call(OTHER, "ask", timeout=2.0)))
    by_name = call(lambda server: Reply(server.call(server.sibling("state"), "ask")))

    assert loop.handle(step)[-1] == SendReply(CALLER, "answer")
    assert loop.handle(by_name)[-1] == SendReply(CALLER, "answer")
    assert asked == [SendCall(OTHER, "ask", 2.0), SendCall(("state", "x"), "ask", 5.0)]
    refused = loop.handle(call(lambda server: Reply(server.call(OTHER, "refuse"))))
    assert isinstance(refused[-1], Exit)
    assert bare(refused[-1].reason) == Crashed("LookupError: no")


def test_a_server_knows_its_name_and_those_of_its_siblings() -> None:
    """If it has one."""
    named = Script()
    Recorded(named, ME, ("script", "x")).start(Start(Script))

    assert named.name == ("script", "x")
    assert named.sibling("state") == ("state", "x")
    nameless, _ = running()
    assert nameless.name is None
    with pytest.raises(CallError, match="script has no name"):
        nameless.sibling("state")


@pytest.mark.parametrize("wrong", ["name", ("a",), ("a", 1), ("a", "b", "c"), None, 7, ["a", "b"]])
def test_what_is_no_target_is_refused_in_the_line(wrong: Any) -> None:
    """Nothing is sent."""
    server, loop = running()
    for send in (server.cast, server.send, server.call, server.send_request):
        with pytest.raises(TypeError, match="must be an ActorRef, a name"):
            send(wrong, 1)
    with pytest.raises(TypeError, match="a pair of str"):
        server.whereis(wrong)

    assert loop.runtime.noted == []


@given(st.lists(st.sampled_from(["set", "fire", "cancel"]), max_size=30), st.randoms())
def test_each_timer_fires_once_or_is_cancelled(steps: list[str], random: Random) -> None:
    """Whatever comes in whatever order; a token is good for one of both, once."""
    server, loop = running()
    tokens: list[int] = []
    left: set[int] = set()
    for step in steps:
        token = random.choice(tokens) if tokens else 7
        if step == "set":
            tokens.append(server.send_after(1.0, "message"))
            left.add(tokens[-1])
        elif step == "fire":
            server.diary.clear()
            loop.handle(TimerFired(token, "message"))
            assert server.diary == (["info str"] if token in left else [])
            left.discard(token)
        else:
            assert server.cancel_timer(token) is (token in left)
            left.discard(token)

    assert len(set(tokens)) == len(tokens)


def test_a_stale_timer_does_not_clear_the_idle_timeout() -> None:
    """It is no message."""
    server, loop = running()
    token = server.send_after(0.0, "message")
    loop.runtime.take()
    loop.handle(CastReceived(returning(NoReply(timeout=1.0))))
    server.cancel_timer(token)
    loop.handle(TimerFired(token, "message"))
    loop.handle(IdleTimerFired(1))

    assert server.diary == ["cast", "info Timeout"]


# ----- stop() --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        (Reply(7), [SendReply(CALLER, 7)]),
        (Reply(7, then="x"), [SendReply(CALLER, 7)]),
        (NoReply(timeout=1.0), []),
        (Stop(SHUTDOWN, reply=8), [SendReply(CALLER, 8)]),
    ],
    ids=["reply", "reply, then", "no reply", "stop"],
)
def test_stop_ends_the_server_when_the_callback_returns(
    result: object, answer: list[object]
) -> None:
    """After `terminate`, and with the answer; what it left to do is not done."""

    def step(server: Script) -> object:
        server.stop(Shutdown("enough"))
        server.stop(NORMAL)  # the first one counts
        return result

    server, loop = running()
    effects = loop.handle(call(step))
    reason = SHUTDOWN if isinstance(result, Stop) else Shutdown("enough")

    assert effects[:2] == [StopSoon(Shutdown("enough")), StopSoon(NORMAL)]
    assert effects[2:] == [LAST_WORDS, *answer, Exit(reason)]
    assert server.diary == ["call", f"terminate {reason}"]


def test_stop_and_an_exception_is_a_crash() -> None:
    """As without it."""

    def step(server: Script) -> None:
        server.stop()
        raise ValueError("no")

    last = running()[1].handle(CastReceived(step))[-1]

    assert isinstance(last, Exit)
    assert bare(last.reason) == Crashed("ValueError: no")


def test_stop_in_init_fails_the_start() -> None:
    """As `Stop` does; `terminate` does not run."""

    def step(server: Script) -> None:
        server.stop(SHUTDOWN)

    server = Script()
    effects = Recorded(server, ME).start(Start(Script, step))

    assert effects == [StopSoon(SHUTDOWN), InitFailed(SHUTDOWN)]
    assert server.diary == []


def test_stop_wants_a_reason() -> None:
    """Anything else is refused in the line."""
    server, _ = running()
    with pytest.raises(TypeError, match="must be of type ExitReason"):
        server.stop("enough")  # type: ignore[arg-type] # that is the point

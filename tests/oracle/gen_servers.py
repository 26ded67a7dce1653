"""Servers, and whoever calls them."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from scenarios import Difference, scenario
from stage import HOWS, PATIENCE, REASONS, How, Noting, Stage, describe, down, supervisor, why

from jidocode import CallError, NoProcessError
from jidocode.otp import (
    ActorRef,
    Caller,
    CallHandle,
    ChildSpec,
    ExitReason,
    NoReply,
    Reply,
    Stop,
    Timeout,
)
from jidocode.otp.server.results import CallResult, InitResult, Result


class Server(Noting):
    """Does what it is asked; *mode* says how it begins or ends."""

    kind: ClassVar[str] = "server"

    def init(self, mode: str) -> InitResult:
        self.mode = mode
        self.waiting: list[tuple[Caller, int]] = []
        self.note("init")
        if mode != "continue":
            return None
        self.cast(self.ref, ("say", "waits"))
        return NoReply(then=1)

    def handle_continue(self, then: Any) -> Result:
        self.note(f"continue {then}")
        return NoReply(then=2) if then == 1 else None

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case "get":
                return Reply("got")
            case "raise":
                raise RuntimeError("told to")
            case "bad":
                return "bad"  # type: ignore[return-value] # on purpose
            case "exit":
                sys.exit()
            case ("stop", how):
                return Stop(REASONS[how])
            case ("stop", how, answer):
                return Stop(REASONS[how], reply=answer)
            case ("idle", seconds):
                return Reply(timeout=seconds)
            case ("ask", ref, question, seconds):
                return Reply(self.ask(ref, question, seconds))
            case "ask yourself":
                return Reply(self.ask(self.ref, "get", PATIENCE))
            case ("later", number):
                self.note(f"later {number}")
                self.waiting.insert(0, (caller, number))
                return NoReply()
            case "hold":
                self.note("holds")
                self.until("open")
                return Reply("held")
            case "say and raise":  # the message is behind this call in the mailbox
                self.cast(self.ref, ("say", "lost"))
                raise RuntimeError("told to")
            case "say and idle":
                self.cast(self.ref, ("say", "not idle"))
                return Reply(timeout=0.02)
            case "cancel timer":
                timer = self.send_after(0.02, ("say", "cancelled"))
                self.cancel_timer(timer)
                self.send_after(0.04, ("say", "later"))
                return Reply()
            case _:
                return super().handle_call(request, caller)

    def ask(self, target: ActorRef, question: object, seconds: float) -> object:
        """Return what another server answers, or why it does not."""
        try:
            return self.call(target, question, timeout=seconds)
        except CallError as error:
            return why(error)

    def handle_cast(self, request: Any) -> Result:
        match request:
            case ("say", text):
                self.note(f"says {text}")
            case "answer":  # those who came last are answered first
                for caller, number in self.waiting:
                    self.reply(caller, f"answer {number}")
            case ("end", "crash"):
                raise RuntimeError("told to")
            case ("end", how):
                return Stop(REASONS[how])
            case _:
                return super().handle_cast(request)
        return None

    def handle_info(self, message: Any) -> Result:
        match message:
            case Timeout():
                self.note("idle")
            case ("say", text):
                self.note(f"says {text}")
            case _:
                return super().handle_info(message)
        return None

    def terminate(self, reason: ExitReason) -> None:
        self.note(f"terminate {describe(reason)}")
        if self.mode == "bad end":
            raise RuntimeError("told to")


def server(mode: str = "plain", **options: Any) -> ChildSpec:
    """Return the spec of a `Server`."""
    return Server.child_spec(mode, **options)


@scenario("server: answers may come later, in any order")
def _(stage: Stage) -> None:
    ref = stage.start(server())
    calls: list[CallHandle] = []
    for number in (1, 2):
        calls.append(stage.app.begin_call(ref, ("later", number)))
        stage.until(f"later {number}")
    stage.app.cast(ref, "answer")
    for call in calls:
        stage.note(call.result())


@scenario("server: {} while somebody waits for an answer", each=[(how,) for how in HOWS])
def _(stage: Stage, how: How) -> None:
    ref = stage.start(server())
    with ThreadPoolExecutor() as pool:
        call = pool.submit(stage.call, ref, ("later", 1))
        stage.until("later 1")
        stage.note(f"server {stage.ends(ref, how)}")
        stage.note(f"caller: {call.result()}")


@scenario("server: handle_continue comes before what waits")
def _(stage: Stage) -> None:
    stage.start(server("continue"))
    stage.until("says waits")


@scenario("server: messages of one sender come in order")
def _(stage: Stage) -> None:
    ref = stage.start(server())
    for number in range(1, 6):
        stage.app.cast(ref, ("say", number))
    stage.note(stage.call(ref, "get"))


@scenario("server: an idle time-out comes once")
def _(stage: Stage) -> None:
    ref = stage.start(server())
    stage.call(ref, ("idle", 0.02))
    stage.until("idle")
    stage.call(ref, "cancel timer")
    stage.until("says later")


@scenario("server: any message clears the idle time-out")
def _(stage: Stage) -> None:
    ref = stage.start(server())
    stage.call(ref, "say and idle")
    stage.call(ref, "cancel timer")
    stage.until("says later")


@scenario(
    "server: handle_call {}",
    each=[
        ("stops", ("stop", "normal")),
        ("stops with shutdown", ("stop", "shutdown")),
        ("stops with a detail", ("stop", "shutdown x")),
        ("stops with an answer", ("stop", "normal", "bye")),
        ("raises", "raise"),
        ("returns nonsense", "bad"),
        ("exits", "exit"),
    ],
)
def _(stage: Stage, _name: str, request: object) -> None:
    ref = stage.start(server())
    monitor = stage.app.monitor(ref)
    stage.note(f"caller: {stage.call(ref, request)}")
    stage.note(f"server {down(monitor)}")


@scenario("server: terminate raises")
def _(stage: Stage) -> None:
    ref = stage.start(server("bad end"))
    monitor = stage.app.monitor(ref)
    stage.note(f"caller: {stage.call(ref, ('stop', 'normal', 'bye'))}")
    stage.note(f"server {down(monitor)}")


@scenario("server: what waits behind a crash is lost, and the call not handled again")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", [server()]))
    ref = stage.child(top, "server")
    stage.note(f"caller: {stage.call(ref, 'say and raise')}")
    stage.settled(top, ref)
    stage.note(stage.call(stage.child(top, "server"), "get"))


@scenario("server: a late answer is dropped")
def _(stage: Stage) -> None:
    ref = stage.start(server())
    stage.note(f"caller: {stage.call(ref, 'hold', 0.05)}")
    stage.note("open")
    stage.note(f"caller: {stage.call(ref, 'get')}")


@scenario("server: dead")
def _(stage: Stage) -> None:
    ref = stage.start(server())
    stage.ends(ref, "kill")
    stage.note(f"call: {stage.call(ref, 'get')}")
    stage.app.cast(ref, ("say", "x"))
    stage.note("cast: ok")
    stage.app.send(ref, ("say", "x"))
    try:
        stage.app.stop(ref)
    except NoProcessError as error:
        stage.note(f"stop: {why(error)}")


@scenario("server: nobody has that name")
def _(stage: Stage) -> None:
    name = ("server", "nobody")
    stage.note(f"call: {stage.call(name, 'get')}")
    stage.app.cast(name, ("say", "x"))
    stage.note("cast: ok")
    stage.note(f"whereis: {stage.app.whereis(name) or 'nobody'}")


@scenario(
    "server: stopped from outside with {}", each=[("normal",), ("shutdown",), ("shutdown x",)]
)
def _(stage: Stage, how: str) -> None:
    top = stage.start(supervisor("top", [server(restart="transient")]))
    ref = stage.child(top, "server")
    stage.app.stop(ref, REASONS[how])
    stage.settled(top, ref)
    stage.children(top)


@scenario("server: one that calls itself")
def _(stage: Stage) -> None:
    stage.note(stage.call(stage.start(server()), "ask yourself"))


@scenario("server: two that call each other")
def _(stage: Stage) -> None:
    one, two = stage.start(server(id="one")), stage.start(server(id="two"))
    stage.note(stage.call(one, ("ask", two, ("ask", one, "get", 0.05), PATIENCE)))
    stage.note(stage.call(one, ("ask", two, "get", PATIENCE)))


@scenario(
    "server: one that asks another one, which {}",
    each=[("crashes", "raise"), ("stops", ("stop", "shutdown x"))],
)
def _(stage: Stage, _name: str, request: object) -> None:
    one, two = stage.start(server(id="one")), stage.start(server(id="two"))
    stage.note(stage.call(one, ("ask", two, request, PATIENCE)))
    stage.note(stage.call(one, ("ask", two, "get", PATIENCE)))


UNKNOWN = "an unknown call is refused with an error"


@scenario(
    "server: a call that it does not know",
    Difference(
        ["terminate crash", "caller: crash", "then: noproc"],
        ["caller: refused", "then: got"],
        UNKNOWN,
    ),
)
def _(stage: Stage) -> None:
    ref = stage.start(server())
    stage.note(f"caller: {stage.call(ref, 'unknown')}")
    stage.note(f"then: {stage.call(ref, 'get')}")


@scenario(
    "server: a cast that it does not know",
    Difference(["terminate crash", "then: crash"], ["then: got"], UNKNOWN),
)
def _(stage: Stage) -> None:
    ref = stage.start(server())
    stage.app.cast(ref, "unknown")
    stage.note(f"then: {stage.call(ref, 'get')}")

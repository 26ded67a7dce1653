"""A server that does to others what it is told, from its main thread or from another one."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from actors import wait_for
from work import callers_of

from jidocode.otp import (
    ActorRef,
    Caller,
    ChildSpec,
    GenServer,
    Name,
    NoReply,
    Refuse,
    Reply,
    Start,
    Target,
    Via,
    tasks,
)
from jidocode.otp.server.results import CallResult, Result


class Peer(GenServer):
    """Does what it is told, and keeps what it is sent.

    `("do", method, *args)` answers what that method of its own returns, or the error it
    raises; `("in thread", ...)` does the same in a thread; `("raw", ...)` lets it raise.
    """

    kind: ClassVar[str] = "peer"

    def init(self, log: Path | None = None, first: Any = None, last: Any = None) -> None:
        self.log, self.last = log, last
        self.seen: list[object] = []
        self.outcome: object = None
        if first is not None:
            self.outcome = self.outcome_of(first)

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case ("echo", content):
                return Reply(content)
            case ("keep", content):
                self.seen.append(content)
                return Reply(None)
            case ("do", *_):
                return self.answer(request)
            case ("raw", method, *args):
                return Reply(getattr(self, method)(*args))
            case ("in thread", *_):
                self.in_thread(lambda: self.finish(caller, request))
                return NoReply()
            case ("later", Path() as gate, *_):
                self.in_thread(lambda: self.finish_later(gate, caller, request[1:]))
                return NoReply()
            case ("until", Path() as gate):
                self.note("busy")
                wait_for(gate)
                return Reply("done")
            case ("stream", int() as count, Path() as gate):
                for number in range(count):
                    self.announce(number)
                wait_for(gate)
                return Reply("done")
            case ("stream in lots", [*lots], Path() as gate):
                for first, end in itertools.pairwise([0, *lots]):
                    for number in range(first, end):
                        self.announce(number)
                    wait_for(gate.with_name(f"{end} taken"))
                return Reply("done")
            case ("fork", Path() as log, *_):
                return Reply(self.fork(log, request[1:]))
            case ("stop and answer", reason):
                self.stop(reason)
                return Reply("answered")
            case "never":
                return NoReply()
            case "raise":
                raise ValueError("told to")
            case "refuse":
                return Refuse(LookupError("on purpose"))
            case "seen":
                return Reply(list(self.seen))
            case "outcome":
                return Reply(self.outcome)
            case "pid":
                return Reply(os.getpid())
            case _:
                return super().handle_call(request, caller)

    def handle_cast(self, request: Any) -> Result:
        match request:
            case ("sleep", float() as seconds):
                time.sleep(seconds)
            case ("do", *_):
                self.outcome = self.outcome_of(request)
            case _:
                self.seen.append(request)
        return None

    def handle_info(self, message: Any) -> Result:
        self.seen.append(message)
        return None

    def terminate(self, reason: Any) -> None:
        if self.last is not None:
            self.note(f"last {self.outcome_of(self.last)}")
        self.note(f"terminate {reason}")

    def note(self, text: str) -> None:
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(text + "\n")

    def outcome_of(self, request: Any) -> object:
        _, method, *args = request
        options: dict[str, Any] = args.pop() if args and isinstance(args[-1], dict) else {}
        try:
            return getattr(self, method)(*args, **options)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return error

    def answer(self, request: Any) -> CallResult:
        outcome = self.outcome_of(request)
        return Refuse(outcome) if isinstance(outcome, Exception) else Reply(outcome)

    def finish(self, caller: Caller, request: Any) -> None:
        outcome = self.outcome_of(request)
        if isinstance(outcome, Exception):
            self.refuse(caller, outcome)
        else:
            self.reply(caller, outcome)

    def in_thread(self, work: Callable[[], object]) -> None:
        threading.Thread(target=work, daemon=True).start()

    def finish_later(self, gate: Path, caller: Caller, request: Any) -> None:
        wait_for(gate)
        self.finish(caller, request)

    def cast_a_lambda(self, target: Any) -> None:
        self.cast(target, lambda: None)

    def announce_a_lambda(self) -> None:
        self.announce(lambda: None)

    def call_with_a_lambda(self, target: Any) -> None:
        self.call(target, lambda: None)

    def start_task(self, supervisor: Name, *args: Any) -> ActorRef:
        return tasks.start(self, supervisor, callers_of, *args)

    def parts_of(self, target: Target, request: object) -> list[object]:
        return list(self.call_stream(target, request))

    def call_under_a_lambda(self, registry: Name) -> str:
        try:
            self.call(Via(registry, lambda: None), "pid")
        except Exception as error:  # noqa: BLE001 - whatever it is
            return type(error).__name__
        return "no error"

    def ask_with_a_lambda(self, target: Any) -> None:
        self.send_request(target, lambda: None)

    def wait_and_call(self, gate: Path, target: Any) -> object:
        self.note("busy")
        wait_for(gate)
        return self.call(target, ("echo", 1))

    def reply_with_nothing(self) -> None:
        """For a thread whose answer is None."""

    def call_many(self, target: Any, count: int) -> bool:
        return all(self.call(target, ("echo", number)) == number for number in range(count))

    def cancel_in_the_mailbox(self) -> tuple[bool, bool]:
        """Set a timer, let it fire while this goes on, and cancel it."""
        token = self.send_after(0.01, "cancelled")
        self.send_after(0.01, "not cancelled")
        time.sleep(0.05)
        self.whereis(("nobody", ""))  # the timers fire while this waits
        return self.cancel_timer(token), self.cancel_timer(token)

    def call_meanwhile(self, target: Any, request: object, timeout: float) -> object:
        """Call, after a stop of itself and a message to itself."""
        self.send(self.ref, "to itself")
        self.send_after(0.0, "a timer")
        return self.call(target, request, timeout=timeout)

    def fork(self, log: Path, request: Any) -> int:
        pid = os.fork()
        if pid == 0:
            log.write_text(type(self.outcome_of(request)).__name__)
            return 0
        os.waitpid(pid, 0)
        return pid


def peer(child_id: str, *args: Any, **options: Any) -> ChildSpec:
    """Return the spec of a `Peer`, registered as `("peer", child_id)`."""
    options.setdefault("name", ("peer", child_id))
    return ChildSpec(id=child_id, start=Start(Peer, *args), **options)

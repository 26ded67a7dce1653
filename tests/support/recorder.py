"""A runtime that notes what a server asks for, and a loop whose effects come behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jidocode.base.refs import ActorRef, Name, Via
from jidocode.errors import NoProcessError
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.loop import ServerLoop
from jidocode.otp.server.machine import Command, Effect, Event, SendCall, SendPart
from jidocode.otp.server.runtime import Interruption
from jidocode.otp.server.streams import PartSource
from jidocode.otp.supervision.specs import Start


class Recorder:
    """Notes each command; calls go to *answer*."""

    def __init__(self, answer: Callable[[SendCall], Any] | None = None) -> None:
        self.noted: list[Command | SendCall] = []
        self.names: dict[Name | Via, ActorRef] = {}
        self._answer = answer

    def emit(self, command: Command) -> None:
        self.noted.append(command)

    def call(self, call: SendCall, stop: Interruption | None = None) -> Any:
        del stop
        self.noted.append(call)
        if self._answer is None:
            raise NoProcessError("nobody")
        return self._answer(call)

    def open_stream(self, call: SendCall) -> PartSource:
        raise NotImplementedError

    def send_part(self, part: SendPart) -> bool:
        raise NotImplementedError

    def look_up(self, target: Name | Via) -> ActorRef | None:
        return self.names.get(target)

    def returned(self, error: BaseException | None) -> None:
        """Nobody forks here."""

    def take(self) -> list[Any]:
        """Return what was noted since the last time."""
        taken = self.noted[:]
        del self.noted[: len(taken)]  # a thread of the server may note more meanwhile
        return taken


class Recorded:
    """A `ServerLoop`; what comes of an event is what was asked for meanwhile, and the effects."""

    def __init__(
        self, server: GenServer, ref: ActorRef, name: Name | None = None, answer: Any = None
    ) -> None:
        self.server = server
        self.runtime = Recorder(answer)
        self._loop = ServerLoop(server, ref, self.runtime, name)

    def start(self, start: Start) -> list[Any]:
        effects: list[Effect] = self._loop.start(start)
        return [*self.runtime.take(), *effects]

    def handle(self, event: Event) -> list[Any]:
        effects: list[Effect] = self._loop.handle(event)
        return [*self.runtime.take(), *effects]

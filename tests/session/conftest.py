"""A server without a process: its requests and answers are pickled, and that is all."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from recorder import Recorded

from jidocode.base.refs import ActorRef
from jidocode.base.stop import Stop
from jidocode.otp.server.machine import (
    CallReceived,
    CastReceived,
    Exit,
    InfoReceived,
    InitDone,
    InitFailed,
    SendError,
    SendReply,
    StopReceived,
    StopSoon,
)
from jidocode.otp.server.messages import Caller
from jidocode.otp.supervision.specs import Start
from jidocode.session.record import Session
from jidocode.testing.waiting import eventually

if TYPE_CHECKING:
    from jidocode.base.exits import ExitReason
    from jidocode.otp.server.gen_server import GenServer
    from jidocode.otp.server.machine import Effect


class Wire:
    """A server and the way to it; usable as the `Channel` of a client."""

    def __init__(self, server: type[GenServer], session: Session, *args: object) -> None:
        start = Start(server, session, *args)
        self._loop = Recorded(server(), ActorRef(server.kind, 1, 1), (server.kind, session.id))
        self.failure: ExitReason | None = None
        """Why the start failed, None if it did not."""
        self.exit: ExitReason | None = None
        """Why the server ended, None if it did not."""
        self._calls = 0
        self.effects: list[Effect] = []
        """All that it asked for, but for answers that were returned."""
        match self._loop.start(start):
            case [*announced, InitDone()]:
                self.effects += announced
            case [InitFailed(reason)]:
                self.failure = reason
            case effects:
                pytest.fail(f"unexpected effects of init: {effects}")

    def __call__(
        self, request: object, /, *, timeout: float | None = None, stop: Stop | None = None
    ) -> Any:
        del timeout, stop
        since = len(self.effects)
        self._handled(request)
        (answer,) = eventually(lambda: self._answers(since), "an answer")
        if isinstance(answer, SendError):
            raise pickle.loads(pickle.dumps(answer.error))
        return pickle.loads(pickle.dumps(answer.value))

    def cast(self, request: object) -> None:
        self._noted(self._loop.handle(CastReceived(pickle.loads(pickle.dumps(request)))))

    def info(self, message: object) -> None:
        self._noted(self._loop.handle(InfoReceived(message)))

    def call_later(self, request: object) -> None:
        """Call, for an answer that is among the effects some time."""
        self._handled(request)

    def stop(self, reason: ExitReason) -> None:
        self._noted(self._loop.handle(StopReceived(reason)))

    def _handled(self, request: object) -> None:
        self._calls += 1
        received = CallReceived(Caller(None, self._calls), pickle.loads(pickle.dumps(request)))
        self._noted(self._loop.handle(received))

    def _answers(self, since: int) -> list[SendReply | SendError]:
        """Return those to the last call: none while a thread of the server is at it."""
        self._noted(self._loop.runtime.take())
        answers = [
            effect
            for effect in self.effects[since:]
            if isinstance(effect, SendReply | SendError) and effect.caller.request_id == self._calls
        ]
        assert answers or self.exit is None, f"it ended without an answer: {self.exit}"
        return answers

    def _noted(self, effects: list[Effect]) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Exit):
                self.exit = effect.reason
        if self.exit is None:
            for effect in effects:
                if isinstance(effect, StopSoon):
                    self.stop(effect.reason)


Connect = Callable[..., Wire]


@pytest.fixture
def connect() -> Connect:
    """Starts a server on a session, and returns the way to it."""
    return Wire


@pytest.fixture
def no_descriptor_is_left() -> Iterator[None]:
    """Fail a test that leaves one open, though a collection of garbage would close it."""
    before = sorted(Path("/proc/self/fd").iterdir())
    yield

    assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


@pytest.fixture
def session(folder: Path) -> Session:
    """A valid record for *folder*."""
    return Session.new(project_path=folder, name="shop")

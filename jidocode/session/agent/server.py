"""Agent: the process in which a language model works for a session.

It is started by who prompts first, and is temporary: its end ends nobody else, the State ends
what it was writing as interrupted, and the next prompt starts it again. It makes no calls of tools
itself; whoever has prompted does, with his tools and his policy.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any, ClassVar, TypeVar

from jidocode.base.exits import ExitReason
from jidocode.base.stop import Stop
from jidocode.errors import (
    AgentBusyError,
    InvalidModelError,
    JidocodeError,
)
from jidocode.otp import AsyncGenServer
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, Refuse, Reply, Result
from jidocode.session.agent.compaction import Gauge
from jidocode.session.agent.messages import (
    BeginTurn,
    CallLost,
    CallMade,
    CallWaits,
    CancelTurn,
    StartCall,
    TurnPart,
    TurnResult,
    Waits,
)
from jidocode.session.agent.model import Model
from jidocode.session.agent.presence import CancelTurns, IsBusy
from jidocode.session.agent.running import RunningTurn
from jidocode.session.agent.spec import ModelSpec
from jidocode.session.agent.turn import TurnOutcome
from jidocode.session.idle import HowIdle, Use
from jidocode.session.manager.client import AsyncManagerClient
from jidocode.session.record import Session
from jidocode.session.requests import Request
from jidocode.session.state.client import AsyncStateClient

ANSWER_TIME = 30.0
"""Seconds that State has for an answer: a history may be long."""
READ_TIME = 60.0
"""Seconds in which whoever has prompted has to read a part of the turn."""
_PAGE = 1000
_LATEST = 20
"""Messages among which the last answer is looked for."""

_Result = TypeVar("_Result")


class Agent(AsyncGenServer):
    """The server: one turn at a time, and those that wait."""

    kind: ClassVar[str] = "agent"

    async def init(
        self, session: Session, spec: ModelSpec | None, context_tokens: int | None
    ) -> None:
        """Be ready to speak with the model of *spec* (called by the host, first).

        A summary stands for the conversation when that comes near *context_tokens*.
        """
        self._gauge = Gauge(context_tokens)
        self._session_id = session.id
        self._spec = spec
        self._model: Model | None = None
        self._use = Use()
        self._turns: deque[RunningTurn] = deque()
        self._call_ids: set[str] = set()
        self._call_ids_upto_seq = 0
        self._state = AsyncStateClient(partial(self._ask, "state"))
        self._manager = AsyncManagerClient(partial(self._ask, "manager"))

    async def _ask(
        self,
        child_id: str,
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the process is told of it
        stop: Stop | None = None,
        shielded: bool = False,
    ) -> _Result:
        del stop, shielded
        seconds = ANSWER_TIME if timeout is None else timeout
        answer: _Result = await self.call(self.sibling(child_id), request, timeout=seconds)
        return answer

    async def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Run a turn, or answer at once: whether one is under way, and what it may do."""
        match request:
            case HowIdle():
                return Reply(0.0 if self._turns else self._use.idle_seconds())
            case StartCall():
                turns = self._those_of(request.turn_id)
                return Reply(any(turn.may_start(request.call_id) for turn in turns))
            case IsBusy():
                return Reply(bool(self._turns))
            case CancelTurns():
                turns = list(self._turns)
                for turn in turns:
                    turn.cancel()
                for turn in turns:
                    await turn.ended.wait()
                return Reply(bool(turns))
            case BeginTurn():
                self._use.note()
                try:
                    return await self._take(request, caller)
                except JidocodeError as error:
                    return Refuse(error)
                finally:
                    self._use.note()
            case _:
                return await super().handle_call(request, caller)

    async def handle_cast(self, request: Any) -> Result:
        """Tell a turn what has happened."""
        match request:
            case CallWaits():
                for turn in self._those_of(request.turn_id):
                    turn.await_permission(request.call_id)
                return None
            case CallMade():
                for turn in self._those_of(request.turn_id):
                    turn.call_ended(request.call_id)
                return None
            case CallLost():
                for turn in self._those_of(request.turn_id):
                    turn.call_lost(request.call_id)
                return None
            case CancelTurn():
                for turn in self._those_of(request.turn_id):
                    turn.cancel()
                return None
            case _:
                return await super().handle_cast(request)

    def _those_of(self, turn_id: str) -> list[RunningTurn]:
        """Return the turn with that id, if it is here."""
        return [turn for turn in self._turns if turn.turn_id == turn_id]

    async def terminate(self, reason: ExitReason) -> None:
        """Close the model."""
        del reason
        if self._model is not None:
            await self._model.aclose()

    # Turns

    async def _take(self, request: BeginTurn, caller: Caller) -> CallResult:
        if self._turns and not request.waits:
            return Refuse(AgentBusyError(self._session_id))
        send = partial(self._send, caller)
        turn = RunningTurn(
            request, self.ref, self._state, send, gauge=self._gauge, call_ids=self._call_ids
        )
        self._turns.append(turn)
        try:
            try:
                result = await self._run(turn)
            finally:  # nobody waits for whoever has prompted to read the rest
                self._turns.remove(turn)
                self._use.note()
                turn.ended.set()
                if self._turns:
                    self._turns[0].wake.set()
            await turn.parts.finish()
        finally:
            turn.parts.close()
        return Reply(result)

    async def _run(self, turn: RunningTurn) -> TurnResult:
        if self._turns[0] is not turn:
            turn.parts.add(Waits())
            await turn.wake.wait()
        elif not await turn.parts.beat():  # this process was blocked, and nobody waits any more
            turn.cancel()
        if turn.cancelled:
            return turn.result(TurnOutcome.CANCELLED)
        model = self._made()
        await turn.begin()
        await self._find_call_ids()
        await self._gauge_before()
        return await turn.run(model, self._model_name(), self._manager)

    async def _send(self, caller: Caller, parts: tuple[TurnPart, ...]) -> bool:
        return await self.send_part(caller, parts, timeout=READ_TIME)

    def _made(self) -> Model:
        if self._model is None:
            if self._spec is None:
                raise InvalidModelError(
                    "the system has no model: SessionSystem(model=ModelSpec(...))"
                )
            self._model = self._spec.make()
        return self._model

    def _model_name(self) -> str:
        name = self._spec.options.get("model") if self._spec is not None else None
        return name if isinstance(name, str) else ""

    async def _gauge_before(self) -> None:
        """Find how full the context is: a process that was there before has been told."""
        if self._gauge.bound is None or self._gauge.used is not None:
            return
        self._gauge.used = 0
        summary = await self._state.summary()
        since = 0 if summary is None else summary.seq
        for message in reversed(await self._state.messages(last=_LATEST)):
            if message.seq > since and message.completion is not None:
                self._gauge.note(message.completion.usage)
                return

    async def _find_call_ids(self) -> None:
        """Find the ids of all calls that there were: others, too, have calls made."""
        while page := await self._state.tool_calls(after_seq=self._call_ids_upto_seq, limit=_PAGE):
            self._call_ids.update(call.id for call in page)
            self._call_ids_upto_seq = page[-1].seq

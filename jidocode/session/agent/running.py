"""`RunningTurn`: carries out what a `Turn` says, in the process of the agent."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

from msgspec import Struct

from jidocode.base import log
from jidocode.base.refs import ActorRef
from jidocode.base.text import raised_at
from jidocode.errors import (
    CallError,
    ContextOverflowError,
    InvalidRequestError,
    JournalError,
    ModelError,
    SessionError,
    ToolCallRunningError,
)
from jidocode.session.agent.asking import ask_model
from jidocode.session.agent.compaction import Compaction, Gauge
from jidocode.session.agent.context import read_agents_file, system_prompt
from jidocode.session.agent.message import CalledTool
from jidocode.session.agent.messages import (
    Began,
    BeginTurn,
    Counted,
    MakeCalls,
    TurnPart,
    TurnResult,
)
from jidocode.session.agent.model import Model, ModelRequest
from jidocode.session.agent.part_queue import PartQueue
from jidocode.session.agent.retrying import RetryRules
from jidocode.session.agent.turn import (
    Action,
    AnswerCall,
    AskModel,
    Came,
    Cancel,
    EndTurn,
    Event,
    KeepMessage,
    ModelEnded,
    ModelFailed,
    RunTools,
    StopModel,
    StopTools,
    TimeUp,
    ToolEnded,
    ToolLost,
    Turn,
    TurnOutcome,
)
from jidocode.session.agent.writing import MessageWriter, arguments_of, completion_of, name_of
from jidocode.session.conversation import checks
from jidocode.session.conversation.blocks import NOTHING_USED, Usage
from jidocode.session.conversation.changes import MessageStatus, ToolCall, new_record_id
from jidocode.session.manager.client import AsyncManagerClient
from jidocode.session.record import SessionConfig
from jidocode.session.state.client import AsyncStateClient
from jidocode.session.tools.makers import making

MOST_WAITING = 100
"""Pieces of an answer that wait, before the model has to."""
STOP_TIME = 1.0
"""Seconds in which a model has to stop; what comes of it later is dropped."""

_FAILURES = (SessionError, CallError, JournalError)
"""What comes of asking a State that cannot, or is gone."""


class Broken(Struct, frozen=True):
    """The conversation cannot be read."""

    error: Exception


class RunningTurn:
    """One turn under way.

    Attributes:
        parts: Goes to whoever drives it.
        cancelled: Whether it is to end.
        ended: Set when it has ended, and what was said is written down.
        wake: Set when it need not wait any more, because it is the first, or is to end.
    """

    def __init__(  # noqa: PLR0913 - what its agent has for all turns, and for this one
        self,
        request: BeginTurn,
        agent: ActorRef,
        state: AsyncStateClient,
        send: Callable[[tuple[TurnPart, ...]], Awaitable[bool]],
        *,
        gauge: Gauge,
        call_ids: set[str],
    ) -> None:
        self._turn = Turn(
            {tool.description.name: tool.is_harmless for tool in request.tools},
            request.limits,
            new_record_id,
            call_ids,
        )
        self._gauge = gauge
        self._agents_file = ""
        self._upto_seq: int | None = None
        self._events: asyncio.Queue[Event | Broken] = asyncio.Queue()
        self.parts = PartQueue(send, self.cancel)
        self._request = request
        self._agent = agent
        self._state = state
        self._said = ""
        self._usage = NOTHING_USED
        self._asked_at = 0.0
        self.cancelled = False
        self.ended = asyncio.Event()
        self.wake = asyncio.Event()
        self._writer: MessageWriter | None = None
        self._asking: asyncio.Task[None] | None = None
        self._message_id = ""

    @property
    def turn_id(self) -> str:
        """The id of the turn."""
        return self._request.turn_id

    def cancel(self) -> None:
        """End it."""
        self.cancelled = True
        self.wake.set()
        self._events.put_nowait(Cancel())

    def call_ended(self, call_id: str) -> None:
        """A call has its result."""
        self._events.put_nowait(ToolEnded(call_id))

    def call_lost(self, call_id: str) -> None:
        """Nobody knows what came of a call."""
        self._events.put_nowait(ToolLost(call_id))

    def await_permission(self, call_id: str) -> None:
        """A call waits for permission."""
        self._turn.await_permission(call_id)

    def may_start(self, call_id: str) -> bool:
        """Whether a call that is allowed is made now."""
        return self._turn.may_start(call_id)

    def result(self, outcome: TurnOutcome, error: Exception | None = None) -> TurnResult:
        """Return how it ended."""
        return TurnResult(outcome=outcome, text=self._said, usage=self._usage, error=error)

    async def begin(self) -> None:
        """Write down what the user says.

        Raises:
            Exception: Whatever State has against it.
        """
        said = await self._state.append_message(
            "user", self._request.content, message_id=self._request.turn_id
        )
        self._upto_seq = said.seq - 1  # a summary does not stand for the question
        self.parts.add(Began(self._agent))

    async def run(self, model: Model, name: str, manager: AsyncManagerClient) -> TurnResult:
        """Carry it out, and return how it ended.

        Args:
            model: Who is asked.
            name: How its server calls it, unless the session has chosen another one.
            manager: Who reads the project's own instructions.
        """
        self._model = model
        self._config = await self._state.config()
        self._model_name = (self._config.model or name)[: checks.MAX_LABEL_LENGTH]
        self._compaction = Compaction(
            self._state, self._gauge, self._model_name, self._count_summary, self.parts.add
        )
        self._agents_file = await read_agents_file(manager, self._request.agents_file)
        clock, seconds = None, self._request.limits.timeout
        if seconds is not None:
            loop = asyncio.get_running_loop()
            clock = loop.call_later(seconds, self._events.put_nowait, TimeUp())
        try:
            return await self._carry_out()
        except _FAILURES as error:
            log.warning("a turn was broken off: {}", error)
            gone = isinstance(error, CallError) or await self._is_ended_by_state()
            await self._abandon()
            return self.result(TurnOutcome.INTERRUPTED if gone else TurnOutcome.FAILED, error)
        finally:
            if clock is not None:
                clock.cancel()
            await self._stop_model()

    async def _carry_out(self) -> TurnResult:
        actions: deque[Action] = deque(self._turn.start())
        while True:
            while actions:
                action = actions.popleft()
                if isinstance(action, EndTurn):
                    return self.result(action.outcome, action.error)
                await self._do(action)
            event = await self._events.get()
            if isinstance(event, Broken):
                raise event.error
            if isinstance(event, Came):
                self._take(event)
            actions.extend(self._turn.handle(event))

    def _take(self, event: Came) -> None:
        self.parts.add(event.delta)
        if self._writer is not None:
            self._writer.add(event.delta)

    async def _do(self, action: Action) -> None:
        match action:
            case AskModel():
                self._writer = MessageWriter(self._state, self._agent)
                self._asking = asyncio.create_task(self._ask())
            case StopModel():
                await self._stop_model()
            case KeepMessage():
                await self._keep(action)
            case RunTools():
                self.parts.add(MakeCalls(self._message_id, action.calls))
            case StopTools() | EndTurn():
                pass  # whoever makes them ends them when the turn ends
            case AnswerCall():
                await self._answer(action.call, action.content)

    # The model

    async def _ask(self) -> None:
        try:
            if self._compaction.is_due:
                await self._shorten(overflowed=False)
            self._come = False
            try:
                await self._answer_once()
            except ContextOverflowError:
                if self._come or not await self._shorten(overflowed=True):
                    raise
                await self._answer_once()
        except ModelError as error:
            self._events.put_nowait(ModelFailed(error))
        except Exception as error:  # noqa: BLE001 - whoever awaits the event raises it
            self._events.put_nowait(Broken(error))
        except BaseException as error:
            # A model can raise these, too, such as a CancelledError that a library has let out
            # of a time-out: nobody has cancelled this task then, and the turn waits for its end.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            log.warning("the model raised {}", raised_at(error))
            self._events.put_nowait(ModelFailed(ModelError(f"it raised {type(error).__name__}")))
        else:
            self._events.put_nowait(ModelEnded())

    async def _stop_model(self) -> None:
        task, self._asking = self._asking, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=STOP_TIME)

    async def _answer_once(self) -> None:
        self._asked_at = time.monotonic()
        request = self._request_of(await self._state.history())
        asking = ask_model(self._model, request, RetryRules(), self.parts.add)
        async with aclosing(asking) as deltas:
            async for delta in deltas:
                self._come = True
                self._events.put_nowait(Came(delta))
                if self._events.qsize() > MOST_WAITING:  # not every model ever waits
                    await asyncio.sleep(0)

    async def _shorten(self, *, overflowed: bool) -> bool:
        """Have a summary stand for the conversation; without one it goes on as it is."""
        upto_seq = self._upto_seq
        if upto_seq is None:  # calls and their results: all of it
            last = await self._state.messages(last=1)
            upto_seq = last[0].seq if last else 0
        said = await self._state.history()
        if self._upto_seq is not None and said and said[-1]["role"] == "user":
            said = said[:-1]  # the question, which is asked after it
        request = self._request_of(said)
        return await self._compaction.summarize(
            self._model, request, said, upto_seq, overflowed=overflowed
        )

    def _count(self, usage: Usage) -> None:
        self._usage += usage
        self.parts.add(Counted(usage))

    def _count_summary(self, usage: Usage) -> None:
        self._count(usage)
        self._turn.count(usage)

    def _request_of(self, said: Sequence[Mapping[str, Any]]) -> ModelRequest:
        prompt = system_prompt(self._request.instructions, self._agents_file)
        return ModelRequest(
            messages=[{"role": "system", "content": prompt}, *said],
            tools=[tool.description for tool in self._request.tools],
            parameters=_parameters(self._config),
        )

    # What is written down

    async def _keep(self, kept: KeepMessage) -> None:
        writer = self._writer
        assert writer is not None  # noqa: S101 - an answer is kept once
        message = kept.message
        seconds = time.monotonic() - self._asked_at
        completion = completion_of(message, self._model_name, seconds)
        self._said, self._message_id = message.text, writer.message_id
        if message.usage is not None:
            self._gauge.note(completion.usage)
        status: MessageStatus = "complete"
        if not kept.is_whole:
            stopped = self._turn.outcome in (TurnOutcome.CANCELLED, TurnOutcome.TIMEOUT)
            status = "aborted" if stopped else "interrupted"
        self._count(completion.usage)
        await writer.finish(message, status, completion)
        self._writer = self._upto_seq = None

    async def _answer(self, call: CalledTool, content: str) -> None:
        # As its maker, until it has the result: whoever was told to make it may begin only now, and
        # would find a call that somebody has begun and given up.
        with making() as maker:
            with suppress(ToolCallRunningError, InvalidRequestError):
                await self._state.add_tool_call(
                    name_of(call),
                    arguments_of(call),
                    call_id=call.id,
                    message_id=self._message_id,
                    owner=self._agent,
                    maker=maker,
                )
            settled: ToolCall | None
            try:
                settled = await self._state.add_tool_result(call.id, content, is_error=True)
            except InvalidRequestError:  # it has its result already
                settled = await self._state.tool_call(call.id)
            if settled is not None and settled.result is not None:
                self.parts.add(settled.result)

    async def _is_ended_by_state(self) -> bool:
        """Whether the answer was broken off by the end of a State, of which nobody has told."""
        try:
            return self._writer is not None and await self._writer.is_ended_by_state()
        except _FAILURES:
            return True

    async def _abandon(self) -> None:
        await self._stop_model()
        if self._writer is not None:
            with suppress(*_FAILURES):  # it may have ended, or nobody is there to end it
                await self._writer.abandon()


def _parameters(config: SessionConfig) -> Mapping[str, Any]:
    """Return what *config* has for the server of the model, by the server's names."""
    chosen = {"model": config.model, "temperature": config.temperature}
    chosen["max_tokens"] = config.max_tokens
    return config.extra | {key: value for key, value in chosen.items() if value is not None}

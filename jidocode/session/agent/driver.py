"""`TurnDriver`: makes a turn's calls of tools, in the process of whoever has prompted.

A model says what is to be called; what is called, and who allows it, belongs to the app: its tools
are functions, and its policy may ask a person. So the agent, a process of its own, sends the calls
here, and goes on when their results are in the State. One thread per turn reads what the agent
sends, whether or not anybody reads the handle, and a few make the calls. What can only be awaited
is awaited for them in the app's loop; see `system/asynchronous/prompting.py`.

The agent also sends signs of life. One that gives none, since its model blocks its process, cannot
end a turn: it is ended then, and whoever prompted has the outcome that the turn should have had.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, Self

from jidocode.base import log
from jidocode.base.exits import SHUTDOWN
from jidocode.base.refs import ActorRef
from jidocode.base.stop import Stop, Stopped
from jidocode.base.text import describe
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    HostError,
    JidocodeError,
    NoProcessError,
    RegistryNotRunningError,
    SessionNotFoundError,
    ToolCallRunningError,
)
from jidocode.session.agent.handle import TurnProgress
from jidocode.session.agent.message import CalledTool
from jidocode.session.agent.messages import (
    Began,
    BeginTurn,
    CallLost,
    CallMade,
    CallWaits,
    CancelTurn,
    Counted,
    MakeCalls,
    StartCall,
    TurnPart,
    TurnResult,
    Waits,
)
from jidocode.session.agent.model import Delta, TextDelta
from jidocode.session.agent.presence import PATIENCE
from jidocode.session.agent.retrying import ModelRetry
from jidocode.session.agent.turn import TurnOutcome
from jidocode.session.conversation.blocks import NOTHING_USED
from jidocode.session.conversation.changes import ToolResult
from jidocode.session.tools.policy import AsyncPolicy, Decision, Deny, ToolRequest
from jidocode.session.tools.toolbox import Toolbox

StoppablePolicy = Callable[[ToolRequest, Stop], Decision]
"""A policy, as a turn asks it; what it awaits is cancelled once its `Stop` is requested."""

SIDE_BY_SIDE = 8
"""How many calls that only read are made at once."""

LOOK = 0.5
"""Seconds of silence after which it is looked whether an agent is to be waited for any more."""

_TOO_LATE = Deny("the turn has ended")

_GONE = (CallError, HostError, RegistryNotRunningError, SessionNotFoundError)
"""What a turn that is under way ends with, if its agent does, or all."""


class TurnStream(Protocol):
    """What an agent sends of a turn, and the agent itself."""

    def __enter__(self) -> Self:
        """Read until the end of the block."""
        ...

    def __exit__(self, *error: object) -> None:
        """Read no more."""
        ...

    def parts(self, seconds: float) -> Iterator[Sequence[TurnPart] | None]:
        """Yield what comes, and None whenever nothing has for so many *seconds*."""
        ...

    def result(self) -> TurnResult:
        """Return how the turn ended, once no more comes."""
        ...

    def end_agent(self) -> None:
        """End the agent by force, and wait for nothing."""
        ...


class WayToAgent(Protocol):
    """How a driver reaches the agent of a session, and the tools of that.

    Attributes:
        call_timeout: Seconds that it has for a sign of life.
    """

    call_timeout: float

    def open(self, request: BeginTurn) -> TurnStream:
        """Begin a turn, and start the agent if need be."""
        ...

    def cast(self, request: object) -> None:
        """Tell the agent something; lost if there is none."""
        ...

    def ask(self, request: object) -> bool:
        """Ask the agent something; no, if there is none."""
        ...

    def cancel_turns(self) -> None:
        """End all of its turns; return when the conversation is written down."""
        ...

    def tools(self, stop: Stop | None = None) -> Toolbox:
        """Return the tools; commands that they run are ended once *stop* is requested."""
        ...

    def stoppable(self, policy: AsyncPolicy) -> StoppablePolicy:
        """Return how *policy* is asked.

        Raises:
            TypeError: It can only be awaited, and nothing is here.
        """
        ...


class TurnDriver:
    """Drives one turn to its end."""

    def __init__(self, way: WayToAgent, request: BeginTurn, policy: StoppablePolicy) -> None:
        """Make the calls of the turn that *request* begins, as far as *policy* allows."""
        self._way = way
        self._request = request
        self._policy = policy
        self._agent: ActorRef | None = None
        self._lock = threading.Lock()
        self._stops: set[Stop] = set()
        self._answered: set[str] = set()
        self._ended = False
        self._cancelled_at: float | None = None
        self._time_up_at: float | None = None
        self._is_heard = False
        self._heard_at = 0.0
        self._text = ""
        self._is_answered = False
        self._usage = NOTHING_USED
        self.progress = TurnProgress(request.turn_id, self.cancel)

    def start(self) -> None:
        """Begin the turn; return when it is taken, raise what it is refused with."""
        try:
            threading.Thread(target=self._run, name="jidocode-turn", daemon=True).start()
            self.progress.wait_accepted()
        except BaseException:
            self.cancel()  # whoever waits does not want it any more, or it is none
            raise

    def cancel(self) -> None:
        """Have the turn end."""
        if self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
        self._tell(CancelTurn(self._request.turn_id))

    def _tell(self, message: object) -> None:
        try:
            self._way.cast(message)
        except JidocodeError as error:  # then the turn has ended, and all with it
            log.debug("an agent cannot be told anything: {}", error)

    # In the thread of the turn

    def _run(self) -> None:
        try:
            result = self._drive()
        except Exception as error:  # noqa: BLE001 - whoever waits for the turn is told
            self._stop_calls()
            if not self.progress.accepted:
                self.progress.refuse(error)
                return
            result = self._broken_off(error)
        self._stop_calls()
        self.progress.end(result)

    def _broken_off(self, error: Exception) -> TurnResult:
        outcome = TurnOutcome.INTERRUPTED if isinstance(error, _GONE) else TurnOutcome.FAILED
        told: Exception | None = error
        if isinstance(error, ActorExitedError) and self._due_since() is not None:
            is_cancelled = self._cancelled_at is not None
            outcome = TurnOutcome.CANCELLED if is_cancelled else TurnOutcome.TIMEOUT
            told = None
        return TurnResult(outcome=outcome, text=self._text, usage=self._usage, error=told)

    def _drive(self, more: int = 2) -> TurnResult:
        """Return how the turn ends; begin it *more* times if its agent ends before that has."""
        try:
            return self._follow()
        except (ActorExitedError, NoProcessError) as error:
            # One that was about to be ended with the others has got it, and done nothing but say
            # that it lives, or find no State any more: what it does first of all has an id, and
            # is there once. Whoever begins again may meet the same one again. One that is ended
            # otherwise once it lives may be so over its model, and the next one would, too.
            is_killed = isinstance(error, ActorExitedError) and error.reason != SHUTDOWN
            is_ended_over_it = is_killed and self._is_heard
            is_unwanted = self.progress.accepted or self._cancelled_at is not None
            if is_unwanted or is_ended_over_it or not more:
                raise
            return self._drive(more - 1)

    def _follow(self) -> TurnResult:
        with self._way.open(self._request) as stream:
            self._is_heard, self._heard_at = False, time.monotonic()
            for parts in stream.parts(LOOK):
                if parts is None:
                    self._bear_silence(stream)
                    continue
                self._is_heard, self._heard_at = True, time.monotonic()
                for part in parts:
                    self._take(part)
            return stream.result()

    def _bear_silence(self, stream: TurnStream) -> None:
        """Wait on for an agent that says nothing, unless that is enough.

        Raises:
            CallTimeoutError: It has not even taken notice of the turn.
        """
        now, patience = time.monotonic(), self._way.call_timeout
        due_since = self._due_since()
        if due_since is not None and now - max(due_since, self._heard_at) >= PATIENCE:
            silence = now - self._heard_at
            log.warning(
                "an agent that is to end a turn gives no sign of life for {:.1f} s", silence
            )
            stream.end_agent()
        elif not (self._is_heard or self._request.waits) and now - self._heard_at >= patience:
            raise CallTimeoutError("the agent", patience)

    def _due_since(self) -> float | None:
        """Return since when the turn should have ended; None if it may go on."""
        if self._cancelled_at is not None:
            return self._cancelled_at
        time_up_at = self._time_up_at
        return time_up_at if time_up_at is not None and time.monotonic() >= time_up_at else None

    def _take(self, part: TurnPart) -> None:
        match part:
            case Waits():
                self._accept()
            case Began():
                self._agent = part.agent
                seconds = self._request.limits.timeout
                if seconds is not None:
                    self._time_up_at = time.monotonic() + seconds
                self._accept()
            case MakeCalls():
                for call in part.calls:
                    self.progress.put(call)
                args = (deque(part.calls), part.message_id)
                for _ in part.calls[:SIDE_BY_SIDE]:
                    threading.Thread(
                        target=self._make_all, args=args, name="jidocode-call", daemon=True
                    ).start()
            case Counted():
                self._usage += part.usage
                self._is_answered = True
            case ToolResult():
                self._show(part)
            case ModelRetry():
                self.progress.put(part)
            case _:
                self._add(part)

    def _add(self, delta: Delta) -> None:
        if self._is_answered:  # it is the first one of the next answer
            self._is_answered, self._text = False, ""
        if isinstance(delta, TextDelta):
            self._text += delta.text
        self.progress.put(delta)

    def _show(self, result: ToolResult) -> None:
        """Show *result*, unless it was: of a call that is cancelled the agent has it, too."""
        with self._lock:
            is_new = result.call_id not in self._answered
            self._answered.add(result.call_id)
        if is_new:
            self.progress.put(result)

    def _accept(self) -> None:
        self.progress.accept()
        if self._cancelled_at is not None:
            self.cancel()  # the agent may not have had the turn when it was told, nor been there

    # In the threads of calls

    def _make_all(self, calls: deque[CalledTool], message_id: str) -> None:
        """Make *calls*, which other threads take some of, too."""
        while True:
            try:
                call = calls.popleft()
            except IndexError:  # all are taken
                return
            self._make(call, message_id)

    def _make(self, call: CalledTool, message_id: str) -> None:
        with self._until_the_end() as stop:
            if stop.requested:
                return  # the agent has said what comes of it
            try:
                tools = self._way.tools(stop).under(self._decide)
                result = tools.call(
                    call.name,
                    call.arguments,
                    call_id=call.id,
                    message_id=message_id,
                    owner=self._agent,
                )
            except ToolCallRunningError:
                pass  # the turn has just ended, and the agent says what comes of the call
            except BaseException as error:  # noqa: BLE001 - sys.exit() in a tool, too: the turn goes on
                log.warning("what came of a call of a tool is not known: {}", describe(error))
                self._tell(CallLost(self._request.turn_id, call.id))
                return
            else:
                self._show(result)
            self._tell(CallMade(self._request.turn_id, call.id))

    def _decide(self, request: ToolRequest) -> Decision:
        """Ask the policy; what it allows after the end of the turn is not done any more."""
        call = self._request.turn_id, request.call_id
        self._tell(CallWaits(*call))
        decision = self._ask(request)
        if isinstance(decision, Deny):
            return decision
        try:
            is_made = self._way.ask(StartCall(*call))
        except JidocodeError as error:  # the agent is gone, and the turn with it
            log.debug("an agent cannot be asked about a call: {}", error)
            is_made = False
        return decision if is_made else _TOO_LATE

    def _ask(self, request: ToolRequest) -> Decision:
        with self._until_the_end() as stop:
            try:
                return self._policy(request, stop)
            except Stopped:
                return _TOO_LATE

    @contextmanager
    def _until_the_end(self) -> Generator[Stop]:
        """Yield a `Stop` that is requested when the turn ends within the block, or has ended."""
        stop = Stop()
        with self._lock:
            self._stops.add(stop)
            if self._ended:
                stop.request()
        try:
            yield stop
        finally:
            with self._lock:
                self._stops.discard(stop)

    def _stop_calls(self) -> None:
        with self._lock:
            self._ended = True
            stops = list(self._stops)
        for stop in stops:
            stop.request()

"""`TurnDriver`: makes a turn's calls of tools, in the process of whoever has prompted.

A model says what is to be called; what is called, and who allows it, belongs to the app: its tools
are functions, and its policy may ask a person. So the agent, a process of its own, sends the calls
here, and goes on when their results are in the State. One thread per turn reads what the agent
sends, whether or not anybody reads the handle, and one per call makes it. What can only be awaited
is awaited for them in the app's loop; see `system/asynchronous/prompting.py`.
"""

from __future__ import annotations

import threading
from typing import Protocol

from jidocode.base import log
from jidocode.base.refs import ActorRef
from jidocode.base.stop import Stop
from jidocode.base.text import describe
from jidocode.errors import (
    ActorExitedError,
    CallError,
    HostError,
    JidocodeError,
    RegistryNotRunningError,
    SessionNotFoundError,
)
from jidocode.otp.server.streams import CallStream
from jidocode.session.agent.handle import TurnHandle
from jidocode.session.agent.message import CalledTool
from jidocode.session.agent.messages import (
    Began,
    BeginTurn,
    CallMade,
    CancelTurn,
    MakeCalls,
    TurnPart,
    TurnResult,
    Waits,
)
from jidocode.session.agent.model import TextDelta, TokenUsage
from jidocode.session.agent.turn import TurnOutcome
from jidocode.session.conversation.blocks import NOTHING_USED, Usage
from jidocode.session.tools.policy import Decision, Deny, Policy, ToolRequest
from jidocode.session.tools.toolbox import Toolbox

SIDE_BY_SIDE = 8
"""How many calls that only read are made at once."""


_GONE = (CallError, HostError, RegistryNotRunningError, SessionNotFoundError)
"""What a turn that is under way ends with, if its agent does, or all."""


class WayToAgent(Protocol):
    """How a driver reaches the agent of a session, and the tools of that."""

    def open(self, request: BeginTurn) -> CallStream:
        """Begin a turn, and start the agent if need be."""
        ...

    def cast(self, request: object) -> None:
        """Tell the agent something; lost if there is none."""
        ...

    def tools(self, stop: Stop | None = None) -> Toolbox:
        """Return the tools; commands that they run are ended once *stop* is requested."""
        ...


class TurnDriver:
    """Drives one turn to its end."""

    def __init__(self, way: WayToAgent, request: BeginTurn, policy: Policy) -> None:
        """Make the calls of the turn that *request* begins, as far as *policy* allows."""
        self._way = way
        self._request = request
        self._policy = policy
        self._agent: ActorRef | None = None
        self._lock = threading.Lock()
        self._stops: set[Stop] = set()
        self._ended = False
        self._cancelled = False
        self._slots = threading.Semaphore(SIDE_BY_SIDE)
        self._text = ""
        self._usage = NOTHING_USED
        self.handle = TurnHandle(request.turn_id, self.cancel)

    def start(self) -> None:
        """Begin the turn; return when it is taken, raise what it is refused with."""
        try:
            threading.Thread(target=self._run, name="jidocode-turn", daemon=True).start()
            self.handle.wait_accepted()
        except BaseException:
            self.cancel()  # whoever waits does not want it any more, or it is none
            raise

    def cancel(self) -> None:
        """Have the turn end."""
        self._cancelled = True
        try:
            self._way.cast(CancelTurn(self._request.turn_id))
        except JidocodeError as error:  # then it has ended, and is told so
            log.debug("a turn cannot be cancelled: {}", error)

    # In the thread of the turn

    def _run(self) -> None:
        try:
            result = self._drive()
        except Exception as error:  # noqa: BLE001 - whoever waits for the turn is told
            self._stop_calls()
            if not self.handle.accepted:
                self.handle.refuse(error)
                return
            outcome = TurnOutcome.INTERRUPTED if isinstance(error, _GONE) else TurnOutcome.FAILED
            result = TurnResult(outcome=outcome, text=self._text, usage=self._usage, error=error)
        self._stop_calls()
        self.handle.end(result)

    def _drive(self) -> TurnResult:
        try:
            return self._follow()
        except ActorExitedError:
            # One that was about to die has got it, and done nothing: what it does first of all
            # has an id, and is there once.
            if self.handle.accepted:
                raise
            return self._follow()

    def _follow(self) -> TurnResult:
        with self._way.open(self._request) as stream:
            for parts in stream:
                for part in parts:
                    self._take(part)
            result: TurnResult = stream.result()
            return result

    def _take(self, part: TurnPart) -> None:
        match part:
            case Waits():
                self._accept()
            case Began():
                self._agent = part.agent
                self._accept()
            case MakeCalls():
                for call in part.calls:
                    self.handle.put(call)
                    args = (call, part.message_id)
                    threading.Thread(
                        target=self._make, args=args, name="jidocode-call", daemon=True
                    ).start()
                self._text = ""
            case _:
                if isinstance(part, TextDelta):
                    self._text += part.text
                if isinstance(part, TokenUsage):
                    self._usage += Usage(
                        input_tokens=part.input_tokens,
                        output_tokens=part.output_tokens,
                        cached_tokens=part.cached_tokens,
                        reasoning_tokens=part.reasoning_tokens,
                    )
                self.handle.put(part)

    def _accept(self) -> None:
        self.handle.accept()
        if self._cancelled:  # the agent may not have had the turn when it was told, nor been there
            self.cancel()

    # In the threads of calls

    def _make(self, call: CalledTool, message_id: str) -> None:
        stop = Stop()
        with self._slots:
            with self._lock:
                if self._ended:
                    return  # the agent has said what comes of it
                self._stops.add(stop)
            try:
                tools = self._way.tools(stop).under(self._decide)
                result = tools.call(
                    call.name,
                    call.arguments or "{}",
                    call_id=call.id,
                    message_id=message_id,
                    owner=self._agent,
                )
            except BaseException as error:  # noqa: BLE001 - sys.exit() in a tool, too: the turn goes on
                log.warning("what came of a call of a tool is not known: {}", describe(error))
            else:
                self.handle.put(result)
            finally:
                with self._lock:
                    self._stops.discard(stop)
            try:
                self._way.cast(CallMade(self._request.turn_id, call.id))
            except JidocodeError as error:  # the turn has ended, and all with it
                log.debug("nobody can be told that a call was made: {}", error)

    def _decide(self, request: ToolRequest) -> Decision:
        """Ask the policy; what it allows after the end of the turn is not done any more."""
        decision = self._policy(request)
        return Deny("the turn has ended") if self._ended else decision

    def _stop_calls(self) -> None:
        with self._lock:
            self._ended = True
            stops = list(self._stops)
        for stop in stops:
            stop.request()

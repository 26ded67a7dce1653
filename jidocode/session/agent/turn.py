"""`Turn`: what is done next, from a prompt to the end of its turn.

Everything that decides about a turn lives here, and nothing here touches a process, a clock or a
socket: whoever runs a turn tells it what has happened, and does what it says, in order.

    a prompt ──► ask the model ──► its answer is whole ──► it wants nothing ──► the turn ends
                      ▲                     │
                      │                     ▼ it wants tools
                      └── all answered ◄── make its calls: those that only read side by side,
                                           the others one after the other

The rule that holds at every moment: before the model is asked again, and before the turn ends,
each call of each of its answers has got exactly one result. Those that cannot be made, for what
they say makes no sense, are answered here; so are those that are open when the turn ends early.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from attrs import frozen
from msgspec import Struct

from jidocode.base.records import Record
from jidocode.errors import InvalidRequestError, ModelError
from jidocode.session.agent.message import CalledTool, MessageBuilder, ModelMessage
from jidocode.session.agent.model import Delta, StopReason, TokenUsage
from jidocode.session.conversation.blocks import Usage
from jidocode.session.tools.arguments import as_object, no_such

# What a turn may take, and how it ends


@frozen(eq=False, repr=False, kw_only=True)
class TurnLimits(Record):
    """What one turn may take; None for as much as it likes.

    Attributes:
        max_turns: How often the model is asked.
        max_tokens: Tokens of all requests and answers, as the server counts them; one that does
            not say counts none.
        timeout: Seconds. Whoever runs the turn has the clock, and says `TimeUp`.
        max_repeats: How often, in a row, the model may want exactly the same calls.
    """

    max_turns: int | None = 100
    max_tokens: int | None = None
    timeout: float | None = None
    max_repeats: int | None = 4


DEFAULT_LIMITS = TurnLimits()
"""What a turn may take that is not told otherwise."""


class TurnOutcome(StrEnum):
    """How a turn ended. The process that ran it is there for the next one, whatever it was."""

    END = "end"
    """The model said what it had to say."""
    EMPTY = "empty"
    """It said nothing, and wanted nothing."""
    LENGTH = "length"
    """It was cut off: it may not say more at once."""
    CONTENT_FILTER = "content_filter"
    """Its server did not let it say it."""
    REFUSAL = "refusal"
    """It does not want to."""
    CANCELLED = "cancelled"
    """Somebody cancelled the turn."""
    TIMEOUT = "timeout"
    """It took too long."""
    MAX_TURNS = "max_turns"
    """The model has been asked as often as it may."""
    MAX_TOKENS = "max_tokens"
    """As many tokens were used as may."""
    REPEATED = "repeated"
    """The model wants the same again and again."""
    INTERRUPTED = "interrupted"
    """Its answer broke off; what came of it stands in the conversation."""
    CONTEXT_OVERFLOW = "context_overflow"
    """The conversation is longer than the model can read."""
    AUTHENTICATION = "authentication"
    """Its server does not accept the key."""
    BAD_REQUEST = "bad_request"
    """Its server does not take the request."""
    UNAVAILABLE = "unavailable"
    """It could not answer, however often it was asked."""
    FAILED = "failed"
    """Something else went wrong with the model."""


# What happens


class Came(Struct, frozen=True):
    """A piece of the model's answer came."""

    delta: Delta


class ModelEnded(Struct, frozen=True):
    """The model's answer has ended."""


class ModelFailed(Struct, frozen=True):
    """The model's answer broke off, or there is none."""

    error: ModelError


class ToolEnded(Struct, frozen=True):
    """A call has its result, wherever that is kept."""

    call_id: str


class ToolLost(Struct, frozen=True):
    """Whoever made a call does not know what came of it."""

    call_id: str


class Cancel(Struct, frozen=True):
    """Somebody wants the turn to end."""


class TimeUp(Struct, frozen=True):
    """The turn has taken as long as it may."""


Event = Came | ModelEnded | ModelFailed | ToolEnded | ToolLost | Cancel | TimeUp

# What is done


class AskModel(Struct, frozen=True):
    """Ask the model, with the conversation as it is now; tell what comes."""


class StopModel(Struct, frozen=True):
    """End the request to the model."""


class KeepMessage(Struct, frozen=True):
    """Write the model's answer down.

    Attributes:
        message: It, or as much of it as came.
        is_whole: Whether it is all of it.
    """

    message: ModelMessage
    is_whole: bool


class RunTools(Struct, frozen=True):
    """Make these calls, side by side; tell of each when it has its result."""

    calls: tuple[CalledTool, ...]


class StopTools(Struct, frozen=True):
    """End these calls, which are being made. The error results that follow are theirs."""

    call_ids: tuple[str, ...]


class AnswerCall(Struct, frozen=True):
    """Write an error down as the result of a call; it is not made."""

    call: CalledTool
    content: str


class EndTurn(Struct, frozen=True):
    """The turn is over.

    Attributes:
        outcome: How it ended.
        error: What was wrong with the model, if something was.
    """

    outcome: TurnOutcome
    error: ModelError | None = None


Action = AskModel | StopModel | KeepMessage | RunTools | StopTools | AnswerCall | EndTurn

# The machine

_NOT_MADE = {
    StopReason.CONTENT_FILTER: TurnOutcome.CONTENT_FILTER,
    StopReason.REFUSAL: TurnOutcome.REFUSAL,
}
_LOST = "nobody knows what came of the call: it may be done in part"
_WHY = {
    TurnOutcome.CANCELLED: "the turn was cancelled",
    TurnOutcome.TIMEOUT: "the turn took longer than it may",
    TurnOutcome.MAX_TOKENS: "the turn has used as many tokens as it may",
    TurnOutcome.REPEATED: "exactly this was done before, several times in a row",
}


class Turn:
    """One turn: feed it what happens, do what it returns."""

    def __init__(
        self,
        tools: Mapping[str, bool],
        limits: TurnLimits,
        new_id: Callable[[], str],
        call_ids: set[str] | None = None,
    ) -> None:
        """Know what the model may call.

        Args:
            tools: For each tool whether it only reads, and may run beside others that do.
            limits: What the turn may take.
            new_id: Makes ids for calls that have none, or that of another.
            call_ids: Those of all calls there were, to which those of this turn are added; some
                servers count from 1 in every answer.
        """
        self._tools = dict(tools)
        self._limits = limits
        self._new_id = new_id
        self._call_ids: set[str] = set() if call_ids is None else call_ids
        self._builder: MessageBuilder | None = None
        self._asked = 0
        self._tokens = 0
        self._batches: deque[tuple[CalledTool, ...]] = deque()
        self._running: dict[str, CalledTool] = {}
        self._awaiting_permission: set[str] = set()
        self._last_wanted: tuple[tuple[str, str], ...] = ()
        self._repeats = 0
        self._outcome: TurnOutcome | None = None

    @property
    def tokens(self) -> int:
        """How many tokens the turn has used, as far as the server says."""
        return self._tokens

    @property
    def outcome(self) -> TurnOutcome | None:
        """How it ended; None as long as it has not."""
        return self._outcome

    def count(self, usage: TokenUsage | Usage) -> None:
        """Count the tokens of an answer; those of its own answers it counts itself."""
        self._tokens += usage.input_tokens + usage.output_tokens

    def start(self) -> list[Action]:
        """Return what is done first."""
        return self._ask()

    def handle(self, event: Event) -> list[Action]:
        """Return what is done about *event*: nothing if it comes too late."""
        if self._outcome is not None:
            return []
        match event:
            case Came(delta):
                if self._builder is not None:
                    self._builder.add(delta)
                return []
            case ModelEnded():
                return self._message_is_whole()
            case ModelFailed(error):
                return self._model_failed(error)
            case ToolEnded(call_id):
                if self._running.pop(call_id, None) is None or self._running:
                    return []
                return self._go_on()
            case ToolLost(call_id):
                call = self._running.get(call_id)
                if call is None:
                    return []
                return [AnswerCall(call, _LOST), *self.handle(ToolEnded(call_id))]
            case Cancel():
                return self._break_off(TurnOutcome.CANCELLED)
            case TimeUp():
                return self._break_off(TurnOutcome.TIMEOUT)

    # Permission, of which only those speak whose calls need one

    def await_permission(self, call_id: str) -> None:
        """A call is not made before it may be; see `may_start`."""
        self._awaiting_permission.add(call_id)

    def may_start(self, call_id: str) -> bool:
        """Whether a call that has got its permission is made now: not if it has its result."""
        self._awaiting_permission.discard(call_id)
        return call_id in self._running

    # Asking

    def _ask(self) -> list[Action]:
        if self._limits.max_turns is not None and self._asked >= self._limits.max_turns:
            return self._end(TurnOutcome.MAX_TURNS)
        self._asked += 1
        self._builder = MessageBuilder(self._new_id, self._call_ids)
        return [AskModel()]

    def _taken(self) -> ModelMessage | None:
        """Return what came of the answer, once; None if none is under way."""
        builder, self._builder = self._builder, None
        if builder is None:
            return None
        message = builder.message()
        if message.usage is not None:
            self.count(message.usage)
        return message

    def _message_is_whole(self) -> list[Action]:
        message = self._taken()
        if message is None:
            return []
        kept = KeepMessage(message, is_whole=True)
        if message.stop is not None and message.stop in _NOT_MADE:
            return [kept, *self._end(_NOT_MADE[message.stop], message.tool_calls)]
        if not message.tool_calls:
            if message.stop is StopReason.LENGTH:
                return [kept, *self._end(TurnOutcome.LENGTH)]
            return [kept, *self._end(TurnOutcome.EMPTY if message.is_empty else TurnOutcome.END)]
        if limit := self._met(message.tool_calls):
            return [kept, *self._end(limit, message.tool_calls)]
        wrong = self._sort(message.tool_calls, cut=message.stop is StopReason.LENGTH)
        return [kept, *wrong, *self._go_on()]

    def _model_failed(self, error: ModelError) -> list[Action]:
        message = self._taken()
        if message is None:
            return []
        try:
            outcome = TurnOutcome(error.kind)
        except ValueError:  # a kind of somebody else's
            outcome = TurnOutcome.FAILED
        return [*self._partial(message), *self._end(outcome, message.tool_calls, error)]

    @staticmethod
    def _partial(message: ModelMessage) -> list[Action]:
        if message.is_empty and not message.reasoning:
            return []
        return [KeepMessage(message, is_whole=False)]

    # Tools

    def _met(self, calls: tuple[CalledTool, ...]) -> TurnOutcome | None:
        """Return which limit is met, so that these calls are not made any more."""
        wanted = tuple((call.name, _canonical(call.arguments)) for call in calls)
        self._repeats = self._repeats + 1 if wanted == self._last_wanted else 1
        self._last_wanted = wanted
        if self._limits.max_tokens is not None and self._tokens >= self._limits.max_tokens:
            return TurnOutcome.MAX_TOKENS
        if self._limits.max_repeats is not None and self._repeats > self._limits.max_repeats:
            return TurnOutcome.REPEATED
        return None

    def _sort(self, calls: Iterable[CalledTool], *, cut: bool) -> list[Action]:
        """Put the calls in batches; return answers to those that cannot be made."""
        wrong: list[Action] = []
        side_by_side: list[CalledTool] = []
        for call in calls:
            if problem := self._problem(call, cut=cut):
                wrong.append(AnswerCall(call, problem))
            elif self._tools[call.name]:
                side_by_side.append(call)
            else:
                if side_by_side:
                    self._batches.append(tuple(side_by_side))
                    side_by_side = []
                self._batches.append((call,))
        if side_by_side:
            self._batches.append(tuple(side_by_side))
        return wrong

    def _problem(self, call: CalledTool, *, cut: bool) -> str:
        """Return what is wrong with *call*, for the model; nothing if it can be made."""
        if call.name not in self._tools:
            return no_such("tool", call.name, self._tools)
        try:
            as_object(call.arguments)
        except InvalidRequestError as error:
            if cut:
                return "the call was not made: its arguments were cut off; say less at once"
            return error.message
        return ""

    def _go_on(self) -> list[Action]:
        """Make the next calls; with none left, ask again."""
        if not self._batches:
            return self._ask()
        batch = self._batches.popleft()
        self._running = {call.id: call for call in batch}
        return [RunTools(batch)]

    # Ending

    def _break_off(self, outcome: TurnOutcome) -> list[Action]:
        message = self._taken()
        if message is not None:
            ended = self._end(outcome, message.tool_calls)
            return [StopModel(), *self._partial(message), *ended]
        running = tuple(self._running.values())
        waiting = [call for batch in self._batches for call in batch]
        why = _WHY[outcome]
        stopped: list[Action] = []
        if running:
            stopped.append(StopTools(tuple(call.id for call in running)))
        for call in running:
            if call.id in self._awaiting_permission:
                waiting.insert(0, call)
            else:
                done = "was not finished" if self._tools[call.name] else "may be done in part"
                stopped.append(AnswerCall(call, f"{why}: the call {done}"))
        return [*stopped, *self._end(outcome, waiting)]

    def _end(
        self,
        outcome: TurnOutcome,
        unmade: Iterable[CalledTool] = (),
        error: ModelError | None = None,
    ) -> list[Action]:
        """End the turn; *unmade* calls get a result that says so."""
        self._outcome = outcome
        self._running.clear()
        self._batches.clear()
        why = _WHY.get(outcome, "the answer did not end as it should")
        answers = [AnswerCall(call, f"the call was not made: {why}") for call in unmade]
        return [*answers, EndTurn(outcome, error)]


def _canonical(arguments: str) -> str:
    """Return *arguments* in one spelling, if they are JSON."""
    try:
        return json.dumps(as_object(arguments), sort_keys=True)
    except InvalidRequestError:
        return arguments

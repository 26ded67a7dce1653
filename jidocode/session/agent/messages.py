"""What an agent and whoever prompts it say to each other."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen
from msgspec import Struct

from jidocode.base.records import Record
from jidocode.base.refs import ActorRef
from jidocode.base.structs import Discreet
from jidocode.session.agent.message import CalledTool
from jidocode.session.agent.model import (
    Delta,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolDescription,
)
from jidocode.session.agent.retrying import ModelRetry
from jidocode.session.agent.turn import TurnLimits, TurnOutcome
from jidocode.session.conversation.blocks import NOTHING_USED, Block, Usage
from jidocode.session.conversation.changes import ToolResult


class OfferedTool(Struct, frozen=True):
    """A tool that the model may have called.

    Attributes:
        description: What the model is told of it.
        is_harmless: Whether calls of it may be made side by side.
    """

    description: ToolDescription
    is_harmless: bool


class BeginTurn(Discreet, frozen=True):
    """Begin a turn. Its answer comes in parts, tuples of `TurnPart`, and is a `TurnResult`.

    Refused with `AgentBusyError`, `InvalidModelError`, or with what State has against the content.

    Attributes:
        turn_id: The id of the turn, and of the message that it begins with.
        content: What the user says.
        tools: What the model may have called.
        limits: What the turn may take.
        waits: Whether it waits for the turns before it.
        instructions: What the model is told beside what every model is told.
        agents_file: The file with the project's own instructions; None for none.
    """

    hidden = ("content", "tools", "instructions")

    turn_id: str
    content: str | Sequence[Block]
    tools: tuple[OfferedTool, ...]
    limits: TurnLimits
    waits: bool
    instructions: str
    agents_file: str | None


class CallMade(Struct, frozen=True):
    """A call has its result, in the State (a cast)."""

    turn_id: str
    call_id: str


class CallLost(Struct, frozen=True):
    """Nobody knows what came of a call; it gets a result that says so, if it has none (a cast)."""

    turn_id: str
    call_id: str


class CallWaits(Struct, frozen=True):
    """A call is not made before a policy has allowed it (a cast)."""

    turn_id: str
    call_id: str


class StartCall(Struct, frozen=True):
    """A call is allowed. Answered with whether it is made: not once it has its result.

    It is asked about, and not only told, or a turn that ends at that moment would say of a call
    that it was not made, and it would be.
    """

    turn_id: str
    call_id: str


class CancelTurn(Struct, frozen=True):
    """End a turn; nothing if it has ended (a cast)."""

    turn_id: str


class Waits(Struct, frozen=True):
    """The turn waits for others."""


class Began(Struct, frozen=True):
    """The turn has begun; the user's message stands in the State.

    Attributes:
        agent: Who goes on with it.
    """

    agent: ActorRef


class MakeCalls(Struct, frozen=True):
    """Make these calls, side by side; say `CallMade` of each.

    Attributes:
        message_id: The message that asks for them.
        calls: They.
    """

    message_id: str
    calls: tuple[CalledTool, ...]


class Counted(Struct, frozen=True):
    """An answer of the model has ended, or a summary that it wrote.

    Attributes:
        usage: What that took.
    """

    usage: Usage


TurnEvent = Delta | CalledTool | ToolResult | ModelRetry
"""What happens in a turn: a piece of an answer, or a wait for one; a call, and what came of it."""

TurnPart = Waits | Began | MakeCalls | Counted | Delta | ToolResult | ModelRetry


@frozen(eq=False, repr=False, kw_only=True)
class TurnResult(Record):
    """How a turn ended.

    Attributes:
        outcome: How.
        text: What the model said last; as much of it as came.
        usage: What all of its answers took, as the server counts it; `calls` is how many they are.
        error: What went wrong, if something did.
    """

    outcome: TurnOutcome
    text: str = field(default="", repr=False)
    usage: Usage = NOTHING_USED
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether the model has said what it had to say."""
        return self.outcome is TurnOutcome.END


def joined(first: object, second: object) -> Delta | None:
    """Return two pieces as one that says the same; None if there is no such."""
    match first, second:
        case TextDelta(), TextDelta():
            return TextDelta(first.text + second.text)
        case ReasoningDelta(), ReasoningDelta():
            return ReasoningDelta(first.text + second.text, first.signature + second.signature)
        case ToolCallDelta(), ToolCallDelta() if first.index == second.index:
            return ToolCallDelta(
                first.index,
                first.id or second.id,
                first.name or second.name,
                first.arguments + second.arguments,
            )
        case _:
            return None

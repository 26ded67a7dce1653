"""`AgentClient`: a session's agent, as its app sees it."""

from __future__ import annotations

from collections.abc import Sequence

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.otp.seconds import require_seconds
from jidocode.session.agent.driver import TurnDriver, WayToAgent
from jidocode.session.agent.handle import TurnHandle
from jidocode.session.agent.messages import BeginTurn, OfferedTool
from jidocode.session.agent.model import ToolDescription
from jidocode.session.agent.presence import IsBusy
from jidocode.session.agent.turn import DEFAULT_LIMITS, TurnLimits
from jidocode.session.arguments import require_int
from jidocode.session.conversation import checks
from jidocode.session.conversation.blocks import Block, TextBlock
from jidocode.session.conversation.changes import new_record_id
from jidocode.session.tools.policy import AsyncPolicy, Policy


class AgentClient:
    """Prompts a session's agent.

    The first prompt starts its process, which is called `agent` among the session's children. If
    that dies, a turn under way ends as interrupted, nobody else is restarted, and the next prompt
    starts it again.
    """

    def __init__(self, way: WayToAgent, policy: AsyncPolicy) -> None:
        """Reach it by *way*; *policy* decides about the calls of its model."""
        self._way = way
        self._policy = policy

    def prompt(  # noqa: PLR0913 - all but the first are keywords
        self,
        content: str | Sequence[Block],
        *,
        max_turns: int | None = DEFAULT_LIMITS.max_turns,
        max_tokens: int | None = None,
        timeout: float | None = None,
        queue: bool = False,
        instructions: str = "",
        agents_file: str | None = "AGENTS.md",
        policy: Policy | None = None,
    ) -> TurnHandle:
        """Say something to the model, and return a handle of the turn that begins with it.

        It returns as soon as the user's message is written down; with *queue* earlier, if the turn
        has to wait. The turn asks the model, makes the calls of tools that it wants, asks it again
        with the results, and so on until it wants nothing more.

        Args:
            content: What the user says: text, or blocks.
            max_turns: How often the model is asked at most; None for as often as it takes.
            max_tokens: Tokens of all requests and answers, as the model's server counts them, with
                which no more calls are made; None for as many as it takes.
            timeout: Seconds that the turn may take; None for as long as it takes.
            queue: Whether it waits for a turn that is under way.
            instructions: What the model is told beside what every model is told.
            agents_file: The file with the project's own instructions, of which the model is told
                30,000 characters, if it is there; None for none.
            policy: Decides about its calls of tools; that of the system by default.

        Raises:
            AgentBusyError: A turn is under way, and it is not to wait.
            CallTimeoutError: The agent gives no sign of life, and it is not to wait.
            InvalidModelError: The system has no model, or it cannot be made.
            InvalidRequestError: An argument breaks a rule, or there is no *content* but blanks.
            InvalidTimeError: *timeout* is no time.
            TypeError: The policy can only be awaited, which takes an `AsyncSessionHandle`.
            StartFailedError: The process of the agent cannot be started.
            CallError, SessionError, JournalError: As `StateClient.append_message`.
        """
        said = (
            checks.content(content) if isinstance(content, str) else checks.blocks("user", content)
        )
        if not _says_something(said):
            raise InvalidRequestError("a prompt has to say something: this one is empty")
        if max_turns is not None:
            require_int("max_turns", max_turns, least=1)
        if max_tokens is not None:
            require_int("max_tokens", max_tokens, least=1)
        if timeout is not None:
            require_seconds("timeout", timeout)
        checks.flag("queue", queue)
        checks.text("instructions", instructions)
        if agents_file is not None:
            checks.text("agents_file", agents_file)
        chosen = self._policy if policy is None else policy
        if not callable(chosen):
            raise InvalidRequestError(f"a policy is a function, not {quote(chosen)}")
        decides = self._way.stoppable(chosen)
        offered = tuple(
            OfferedTool(
                ToolDescription(tool.name, tool.description, tool.schema), tool.kind.is_harmless
            )
            for tool in self._way.tools()
        )
        request = BeginTurn(
            turn_id=new_record_id(),
            content=said,
            tools=offered,
            limits=TurnLimits(max_turns=max_turns, max_tokens=max_tokens, timeout=timeout),
            waits=queue,
            instructions=instructions,
            agents_file=agents_file,
        )
        driver = TurnDriver(self._way, request, decides)
        driver.start()
        return TurnHandle(driver.progress)

    def busy(self) -> bool:
        """Whether a turn is under way, or waits, whoever has prompted; starts no agent.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        return self._way.ask(IsBusy())

    def cancel(self) -> None:
        """End the turn that is under way, and those that wait for it, whoever has prompted.

        It returns when the conversation is written down, as `TurnHandle.cancel`; each turn ends
        as `cancelled`. With no turn under way it does nothing, and starts no agent. An agent that
        does not answer is ended by force; its turns end as `interrupted` then, but for those that
        were cancelled by their handles.

        Raises:
            SessionNotFoundError: There is no such session.
            ReadOnlyError: This process has attached to look only.
        """
        self._way.cancel_turns()


def _says_something(content: str | Sequence[Block]) -> bool:
    """Whether a request has a message with *content*: one of blanks is left out of it."""
    if isinstance(content, str):
        return bool(content.strip())
    return any(not isinstance(block, TextBlock) or block.text.strip() for block in content)

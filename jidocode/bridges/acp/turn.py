"""A prompt of an editor: what it is shown of the turn, what it is asked, and how that ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from acp import RequestError, schema

from jidocode.base import log
from jidocode.base.text import describe, line
from jidocode.bridges.acp import permissions, updates
from jidocode.bridges.acp.updates import ShownCall, Translator, Update
from jidocode.errors import AgentError, CallError, JidocodeError
from jidocode.session.agent.message import CalledTool
from jidocode.session.agent.messages import TurnEvent, TurnResult
from jidocode.session.agent.model import ReasoningDelta, TextDelta, TokenUsage
from jidocode.session.agent.retrying import ModelRetry
from jidocode.session.agent.turn import TurnOutcome
from jidocode.session.conversation.blocks import Block
from jidocode.session.conversation.changes import ToolResult
from jidocode.session.tools.policy import Allow, Decision, Deny, ToolRequest

if TYPE_CHECKING:
    from jidocode.bridges.acp.sessions import EditorSession
    from jidocode.system.asynchronous.agent import AsyncTurnHandle
    from jidocode.system.asynchronous.handle import AsyncSessionHandle

T = TypeVar("T")

REASONS: dict[TurnOutcome, schema.StopReason] = {
    TurnOutcome.END: "end_turn",
    TurnOutcome.EMPTY: "end_turn",
    TurnOutcome.LENGTH: "max_tokens",
    TurnOutcome.MAX_TOKENS: "max_tokens",
    TurnOutcome.MAX_TURNS: "max_turn_requests",
    TurnOutcome.REPEATED: "max_turn_requests",
    TurnOutcome.CONTENT_FILTER: "refusal",
    TurnOutcome.REFUSAL: "refusal",
    TurnOutcome.CANCELLED: "cancelled",
}
"""Why a prompt ended, in the protocol's words; any other outcome is an error of the request."""


class Editor(Protocol):
    """The client, as a turn sees it."""

    async def show(self, session_id: str, update: Update) -> None:
        """Show something."""
        ...

    async def ask(
        self, session_id: str, call: schema.ToolCallUpdate, options: list[schema.PermissionOption]
    ) -> schema.RequestPermissionResponse:
        """Ask whoever sits there."""
        ...


class EditorTurn:
    """One prompt under way."""

    def __init__(self, editor: Editor, session: EditorSession) -> None:
        """Show *editor* what happens in *session*."""
        self._editor = editor
        self._session = session
        self._turn: AsyncTurnHandle | None = None
        self._cancelled = asyncio.Event()
        self._ended = asyncio.Event()
        self._over = asyncio.Event()
        self._shown: dict[str, asyncio.Event] = {}

    async def cancel(self) -> None:
        """End it; returns when it has ended."""
        self._cancelled.set()
        if self._turn is not None:
            await self._turn.cancel()
        await self._ended.wait()  # one that has not begun yet ends when it begins

    def end(self) -> None:
        """It has ended."""
        self._ended.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody wants it to end: then it is no error that it does."""
        return self._cancelled.is_set()

    async def run(
        self, handle: AsyncSessionHandle, content: str | list[Block]
    ) -> schema.PromptResponse:
        """Prompt the agent of *handle*, show what happens, and return how it ended.

        Raises:
            AgentError: It ended otherwise than a turn should.
        """
        self._handle = handle
        self._size = handle._system.settings.context_tokens  # noqa: SLF001 - no other way says it
        kinds = {tool.name: tool.kind async for tool in handle.tools}
        self._translator = Translator(self._session.record.project_path, kinds)
        if self._cancelled.is_set():
            return schema.PromptResponse(stop_reason="cancelled")
        turn = self._turn = await handle.agent.prompt(content, policy=self._decide)
        try:
            if self._cancelled.is_set():
                await turn.cancel()
            async for event in turn:
                await self._take(event)
            result = await turn.result()
        except Exception:
            await turn.cancel()  # nobody is told any more of what it does
            raise
        finally:
            self._over.set()
            for shown in self._shown.values():
                shown.set()
        for update in self._translator.left_open():
            await self._show(update)
        return self._response(result)

    def _response(self, result: TurnResult) -> schema.PromptResponse:
        reason = REASONS.get(result.outcome)
        if reason is None and self._cancelled.is_set():
            reason = "cancelled"
        if reason is None:
            error = result.error
            said = error.message if isinstance(error, JidocodeError) else str(error or "")
            raise AgentError(line(f"the turn ended as {result.outcome}: {said}"))
        return schema.PromptResponse(stop_reason=reason, usage=updates.usage(result.usage))

    # What happens

    async def _take(self, event: TurnEvent) -> None:
        match event:
            case TextDelta(text=text):
                if text:
                    await self._show(updates.text_chunk(text))
            case ReasoningDelta(text=text):
                if text:
                    await self._show(updates.thought_chunk(text))
            case ModelRetry():
                await self._show(updates.thought_chunk(f"{line(event.message)}\n"))
            case CalledTool():
                call = self._translator.called(event)
                is_harmless = call.kind is not None and call.kind.is_harmless
                status: schema.ToolCallStatus = "in_progress" if is_harmless else "pending"
                await self._show(self._translator.started(call, status))
                self._shown.setdefault(call.id, asyncio.Event()).set()
            case ToolResult():
                await self._take_result(event)
            case TokenUsage():
                if self._size is not None:
                    used = event.input_tokens + event.output_tokens
                    await self._show(updates.context_used(used, self._size))
            case _:
                pass

    async def _take_result(self, result: ToolResult) -> None:
        call = self._translator.shown(result.call_id)
        if call is None:  # it was never made, for it makes no sense
            recorded = await _known(self._handle.state.tool_call(result.call_id))
            if recorded is None:
                return
            call = self._translator.recorded(recorded)
            await self._show(self._translator.started(call))
        ended = self._translator.ended(call, result.content, is_error=result.is_error)
        await self._show(ended)
        if call.name == updates.TODO_WRITE and not result.is_error:
            todos = await _known(self._handle.state.todos())
            if todos is not None:
                await self._show(updates.plan(todos))

    async def _show(self, update: Update) -> None:
        await self._editor.show(self._session.id, update)

    # Who allows it

    async def _decide(self, request: ToolRequest) -> Decision:
        """Decide about a call of the model's: a policy."""
        # What comes before the call is shown before it, and the call before the question.
        if not self._over.is_set():
            await self._shown.setdefault(request.call_id, asyncio.Event()).wait()
        call = self._translator.shown(request.call_id)
        if call is None:
            return Deny("the call has ended")
        decided = self._session.preset.decide(request)
        if isinstance(decided, Deny):
            return decided
        old = await self._text_of(request) if call.name == updates.WRITE_FILE else None
        if decided is None:
            decided = await self._ask(request, call, old)
        chosen_meanwhile = self._session.preset.decide(request)
        if isinstance(chosen_meanwhile, Deny):
            return chosen_meanwhile
        if isinstance(decided, Allow):
            await self._show(self._translator.in_progress(call, old))
        return decided

    async def _text_of(self, request: ToolRequest) -> str | None:
        """Return the text of the file that a call replaces, for its diff."""
        with suppress(JidocodeError, OSError):
            part = await self._handle.manager.read_file(request.subject)
            return None if part.more else part.text
        return None

    async def _ask(self, request: ToolRequest, call: ShownCall, old: str | None) -> Decision:
        asked = self._translator.asked(call, old)
        asking = asyncio.create_task(
            self._editor.ask(self._session.id, asked, permissions.choices(request))
        )
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({asking, over}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return Deny("the turn has ended")
            return permissions.decision(request, asking.result().outcome)
        except (RequestError, ConnectionError, ValueError) as error:
            log.warning("the editor cannot be asked: {}", describe(error))
            return Deny("the editor could not be asked")
        finally:
            asking.cancel()
            over.cancel()


async def _known(work: Awaitable[T]) -> T | None:
    """Return what the State says; None if it dies over that, of which the turn tells."""
    try:
        return await work
    except CallError as error:
        log.debug("the State is not asked: {}", error)
        return None

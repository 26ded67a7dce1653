"""What an editor is shown of a session: its messages, calls of tools, todos and use of tokens.

Pure: what comes of a record does not depend on whether it is shown as it happens or replayed.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar, cast

from acp import schema
from attrs import frozen

from jidocode.base.text import line
from jidocode.session.agent.message import CalledTool
from jidocode.session.conversation.blocks import (
    Block,
    FileBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)
from jidocode.session.conversation.changes import Message, Todo, ToolCall
from jidocode.session.tools.arguments import shown_object
from jidocode.session.tools.tool import ToolKind

Update = (
    schema.UserMessageChunk
    | schema.AgentMessageChunk
    | schema.AgentThoughtChunk
    | schema.ToolCallStart
    | schema.ToolCallProgress
    | schema.AgentPlanUpdate
    | schema.UsageUpdate
    | schema.CurrentModeUpdate
    | schema.ConfigOptionUpdate
    | schema.SessionInfoUpdate
)
"""What is sent by `session/update`."""

_Chunk = TypeVar(
    "_Chunk", schema.UserMessageChunk, schema.AgentMessageChunk, schema.AgentThoughtChunk
)
_Content = (
    schema.ContentToolCallContent | schema.FileEditToolCallContent | schema.TerminalToolCallContent
)
_TITLE_LENGTH = 120
_SUBJECTS = ("path", "command", "pattern", "query", "url")
_FENCE = re.compile(r"`{3,}")
WRITE_FILE, EDIT_FILE, RUN_COMMAND, TODO_WRITE = (
    "write_file",
    "edit_file",
    "run_command",
    "todo_write",
)


@frozen
class ShownCall:
    """A call of a tool.

    Attributes:
        id: Its id.
        name: The tool's.
        arguments: As the model says them.
        kind: What the tool does; None if there is no such tool.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]
    kind: ToolKind | None


class Translator:
    """Says what an editor is shown of one session."""

    def __init__(self, folder: str, kinds: Mapping[str, ToolKind]) -> None:
        """Be that of a session with its project in *folder*, whose tools have these *kinds*."""
        self._folder = folder
        self._kinds = kinds
        self._open: dict[str, ShownCall] = {}

    # Calls

    def called(self, call: CalledTool) -> ShownCall:
        """Return the call that a model has asked for."""
        return self._call(call.id, call.name, shown_object(call.arguments))

    def recorded(self, call: ToolCall | ToolUseBlock) -> ShownCall:
        """Return a call that stands in the conversation."""
        return self._call(call.id, call.name, call.arguments)

    def _call(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> ShownCall:
        return ShownCall(call_id, name, arguments, self._kinds.get(name))

    def started(
        self, call: ShownCall, status: schema.ToolCallStatus = "pending"
    ) -> schema.ToolCallStart:
        """Return what says that there is a call."""
        self._open[call.id] = call
        return schema.ToolCallStart(
            session_update="tool_call",
            tool_call_id=call.id,
            title=self.title(call),
            kind=_kind(call),
            status=status,
            content=self.diffs(call) or None,
            locations=self.locations(call) or None,
            raw_input=dict(call.arguments),
        )

    def asked(self, call: ShownCall, old: str | None = None) -> schema.ToolCallUpdate:
        """Return the call that a person is asked about; *old* as for `in_progress`."""
        return schema.ToolCallUpdate(
            tool_call_id=call.id,
            title=self.title(call),
            kind=_kind(call),
            status="pending",
            content=self.diffs(call, old) or None,
            locations=self.locations(call) or None,
            raw_input=dict(call.arguments),
        )

    def in_progress(self, call: ShownCall, old: str | None = None) -> schema.ToolCallProgress:
        """Return what says that a call is made; *old* is the text of the file that it replaces."""
        return schema.ToolCallProgress(
            session_update="tool_call_update",
            tool_call_id=call.id,
            status="in_progress",
            content=None if old is None else self.diffs(call, old),
        )

    def ended(self, call: ShownCall, content: str, *, is_error: bool) -> schema.ToolCallProgress:
        """Return what says what came of a call; an edit that was made goes on to be its diff."""
        self._open.pop(call.id, None)
        shows_diff = bool(self.diffs(call)) and not is_error
        return schema.ToolCallProgress(
            session_update="tool_call_update",
            tool_call_id=call.id,
            status="failed" if is_error else "completed",
            content=None if shows_diff else [_text(_fenced(content))],
        )

    def shown(self, call_id: str) -> ShownCall | None:
        """Return a call that was shown, and of which nothing has come yet."""
        return self._open.get(call_id)

    def left_open(self) -> Iterator[schema.ToolCallProgress]:
        """Yield what ends all calls of which nothing has come."""
        for call in list(self._open.values()):
            yield self.ended(call, "nothing is known of a result", is_error=True)

    @staticmethod
    def title(call: ShownCall) -> str:
        """Return a line that says what a call is."""
        subject = _subject(call.arguments)
        shown = line(subject if len(subject) <= _TITLE_LENGTH else f"{subject[:_TITLE_LENGTH]}…")
        if call.name == RUN_COMMAND and "`" not in shown:
            return f"`{shown}`"
        return f"{line(call.name[:_TITLE_LENGTH])} {shown}".rstrip()

    def locations(self, call: ShownCall) -> list[schema.ToolCallLocation]:
        """Return the files that a call is about."""
        path, first = call.arguments.get("path"), call.arguments.get("offset")
        if call.kind not in {ToolKind.READ, ToolKind.SEARCH, ToolKind.EDIT}:
            return []
        if not isinstance(path, str):
            return []
        at = first if type(first) is int and first >= 1 else None
        return [schema.ToolCallLocation(path=self._whole(path), line=at)]

    def diffs(self, call: ShownCall, old: str | None = None) -> list[_Content]:
        """Return what a call changes in files; *old* is the text of the one that it replaces."""
        path = call.arguments.get("path")
        if not isinstance(path, str):
            return []
        if call.name == WRITE_FILE:
            pairs = [(old, call.arguments.get("content"))]
        elif call.name == EDIT_FILE:
            edits: object = call.arguments.get("edits")
            listed = cast("list[object]", edits) if isinstance(edits, (list, tuple)) else []
            pairs = [(each.get("old"), each.get("new")) for each in _objects(listed)]
        else:
            return []
        return [
            schema.FileEditToolCallContent(
                type="diff",
                path=self._whole(path),
                old_text=before if isinstance(before, str) else None,
                new_text=after,
            )
            for before, after in pairs
            if isinstance(after, str)
        ]

    def _whole(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._folder, path))  # noqa: PTH118 - the path is text throughout

    # What was said before

    def replayed(self, message: Message) -> Iterator[Update]:
        """Yield what is shown of a message that stands in the conversation."""
        blocks: tuple[Block, ...] = message.blocks or (TextBlock(message.content),)
        match message.role:
            case "user":
                for block in blocks:
                    yield from _said(schema.UserMessageChunk, block, message.id)
            case "assistant":
                for block in blocks:
                    yield from self._answered(block, message.id)
            case "tool":
                for block in blocks:
                    if isinstance(block, ToolResultBlock):
                        yield self._result_of(block)
            case "system":
                pass

    def _answered(self, block: Block, message_id: str) -> Iterator[Update]:
        match block:
            case ToolUseBlock():
                yield self.started(self.recorded(block))
            case ReasoningBlock(text=text):
                if text:
                    yield _chunk(schema.AgentThoughtChunk, _text_block(text), message_id)
            case _:
                yield from _said(schema.AgentMessageChunk, block, message_id)

    def _result_of(self, block: ToolResultBlock) -> Update:
        call = self.shown(block.call_id) or ShownCall(block.call_id, "", {}, None)
        return self.ended(call, block.content, is_error=block.is_error)


def text_chunk(text: str) -> schema.AgentMessageChunk:
    """Return more of what the model says."""
    return _chunk(schema.AgentMessageChunk, _text_block(text), None)


def thought_chunk(text: str) -> schema.AgentThoughtChunk:
    """Return more of what the model thinks."""
    return _chunk(schema.AgentThoughtChunk, _text_block(text), None)


def plan(todos: Iterable[Todo]) -> schema.AgentPlanUpdate:
    """Return what there is to do."""
    entries = [
        schema.PlanEntry(content=todo.content, priority="medium", status=todo.status)
        for todo in todos
    ]
    return schema.AgentPlanUpdate(session_update="plan", entries=entries)


def context_used(tokens: int, size: int) -> schema.UsageUpdate:
    """Return how full the model's context is."""
    return schema.UsageUpdate(session_update="usage_update", used=tokens, size=size)


def usage(used: Usage) -> schema.Usage:
    """Return what a turn has taken."""
    return schema.Usage(
        total_tokens=used.input_tokens + used.output_tokens,
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        thought_tokens=used.reasoning_tokens,
        cached_read_tokens=used.cached_tokens,
    )


def title_of(text: str, longest: int) -> str:
    """Return a name for a session whose first prompt is *text*; empty if that says nothing."""
    words = " ".join(text.split())
    plain = "".join(each for each in words if each.isprintable())
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


_KINDS: Mapping[ToolKind, schema.ToolKind] = {
    ToolKind.READ: "read",
    ToolKind.SEARCH: "search",
    ToolKind.THINK: "think",
    ToolKind.EDIT: "edit",
    ToolKind.EXECUTE: "execute",
}


def _subject(arguments: Mapping[str, Any]) -> str:
    """Return what a call is about; not the first argument, for journals sort them."""
    values = [arguments.get(name) for name in _SUBJECTS] + list(arguments.values())
    return next((each for each in values if isinstance(each, str)), "")


def _kind(call: ShownCall) -> schema.ToolKind:
    return "other" if call.kind is None else _KINDS[call.kind]


def _chunk(cls: type[_Chunk], content: Any, message_id: str | None) -> _Chunk:
    names: dict[type, Literal["user_message_chunk", "agent_message_chunk", "agent_thought_chunk"]]
    names = {
        schema.UserMessageChunk: "user_message_chunk",
        schema.AgentMessageChunk: "agent_message_chunk",
        schema.AgentThoughtChunk: "agent_thought_chunk",
    }
    return cls(session_update=cast("Any", names[cls]), content=content, message_id=message_id)


def _said(cls: type[_Chunk], block: Block, message_id: str) -> Iterator[_Chunk]:
    match block:
        case TextBlock(text=text):
            if text:
                yield _chunk(cls, _text_block(text), message_id)
        case ImageBlock(media_type=media_type, data=data) if data:
            image = schema.ImageContentBlock(type="image", data=data, mime_type=media_type)
            yield _chunk(cls, image, message_id)
        case ImageBlock(url=url):
            yield _chunk(cls, _text_block(url), message_id)
        case FileBlock(name=name, media_type=media_type, data=data):
            blob = schema.BlobResourceContents(blob=data, mime_type=media_type, uri=name)
            resource = schema.EmbeddedResourceContentBlock(type="resource", resource=blob)
            yield _chunk(cls, resource, message_id)
        case _:
            pass


def _text_block(text: str) -> schema.TextContentBlock:
    return schema.TextContentBlock(type="text", text=text)


def _text(text: str) -> schema.ContentToolCallContent:
    return schema.ContentToolCallContent(type="content", content=_text_block(text))


def _fenced(text: str) -> str:
    """Return *text* as Markdown that shows it as it is."""
    longest = max((len(each) for each in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"


def _objects(values: Iterable[object]) -> Iterator[Mapping[str, Any]]:
    for each in values:
        if isinstance(each, Mapping):
            yield cast("Mapping[str, Any]", each)

"""A list of messages of another tool's making, as the messages of a conversation.

Such lists are broken in many ways, because whatever crashed between a call and its result
left it so. They are repaired here, and it is said how; refused is only what is no message.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from attrs import evolve, field, frozen
from msgspec import Struct, field as struct_field

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.conversation import checks, limits
from jidocode.session.conversation.blocks import (
    Block,
    FileBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolUseBlock,
)
from jidocode.session.conversation.changes import Role, ToolResult, now
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.history import NO_RESULT, HistoryFormat, check_format
from jidocode.session.record import json_object

_Part = Mapping[str, Any]


@frozen(eq=False, repr=False, kw_only=True)
class ImportedHistory(Record):
    """What came of an import.

    Attributes:
        messages: How many messages it has become, the results of tools among them.
        repairs: What was wrong with the list, and was mended.
    """

    messages: int
    repairs: tuple[str, ...] = field(repr=False)


def import_history(
    holder: Conversation,
    import_id: str,
    messages: Sequence[Mapping[str, Any]],
    history_format: HistoryFormat,
) -> ImportedHistory:
    """Append the messages of a request that another tool has made, and mend what is broken.

    A call without a result gets one that says so; a result without a call, and what says
    nothing, is left out; calls get ids of their own. All of it is checked before anything is
    appended. If a crash comes in between, the same import with the same *import_id* goes on.

    Raises:
        InvalidRequestError: It is no list of messages, is too long, or holds something that a
            conversation does not take; nothing is appended.
    """
    checks.label("the id of an import", import_id)
    check_format(history_format)
    read = _read_openai if history_format == "openai" else _read_anthropic
    found = _Import(import_id)
    for place, message in enumerate(_checked(messages)):
        try:
            read(found, message)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidRequestError(
                f"message {place} of the history is no message of the format {history_format!r}"
            ) from error
    found.close()
    for said in found.said:
        checks.blocks(said.role, said.blocks)
        for content, _ in said.results.values():
            checks.content(content)
    for said in found.said:
        _append(holder, said)
    count = sum(1 + len(said.results) for said in found.said)
    return ImportedHistory(messages=count, repairs=tuple(found.repairs))


def _checked(messages: object) -> list[Any]:
    """Return a copy of *messages* that is JSON."""
    if not isinstance(messages, (list, tuple)):
        raise InvalidRequestError(f"a history must be a list, not {quote(messages)}")
    given = cast("Sequence[object]", messages)
    if len(given) > limits.MAX_IMPORTED:
        raise InvalidRequestError(
            f"a history may have {limits.MAX_IMPORTED} messages, not {len(given)}"
        )
    try:
        text = json.dumps(given, allow_nan=False)
        copy: list[Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError("a history must be JSON") from error
    if len(text) > limits.MAX_IMPORTED_LENGTH:
        raise InvalidRequestError(
            f"a history may have {limits.MAX_IMPORTED_LENGTH} characters of JSON, not {len(text)}"
        )
    return copy


class _Said(Struct):
    """One message to be appended, and what came of its calls.

    Attributes:
        id: Of the message.
        role: Who says it.
        blocks: All of it.
        results: By the id of the call: what came, and whether it is an error.
    """

    id: str
    role: Role
    blocks: list[Block]
    results: dict[str, tuple[str, bool]] = struct_field(default_factory=dict[str, tuple[str, bool]])


class _Import:
    """A list that is being read."""

    def __init__(self, import_id: str) -> None:
        name = import_id.encode("utf-8", "backslashreplace").decode()  # it may have surrogates
        self._namespace = uuid.uuid5(uuid.NAMESPACE_OID, name)
        self._ids = 0
        self._answer: _Said | None = None
        # The calls of the last answer that have no result yet: their ids by those in the list.
        self._open: dict[str, list[str]] = {}
        self.said: list[_Said] = []
        self.repairs: list[str] = []

    def _new_id(self) -> str:
        # Not by chance: the same import again finds what it has appended.
        self._ids += 1
        return uuid.uuid5(self._namespace, str(self._ids)).hex

    def say(self, role: Role, blocks: Sequence[Block]) -> None:
        """Take in a message, unless it says nothing."""
        kept = [self._renamed(block) for block in blocks if not _is_blank(block)]
        if not kept:
            self.repairs.append("a message that says nothing was left out")
            return
        self.said.append(_Said(self._new_id(), role, kept))

    def answer(self, blocks: Sequence[Block]) -> None:
        """Take in a message of the assistant."""
        self.close()
        before = len(self.said)
        self.say("assistant", blocks)
        self._answer = self.said[-1] if len(self.said) > before else None

    def _renamed(self, block: Block) -> Block:
        """Return the block of a call with an id that no other has."""
        if not isinstance(block, ToolUseBlock):
            return block
        call_id = self._new_id()
        known = self._open.setdefault(block.id, [])
        if known:
            self.repairs.append("two calls had the same id")
        known.append(call_id)
        return evolve(block, id=call_id)

    def call(self, call_id: object, name: object, arguments: object) -> Block:
        """Return the block of a call."""
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except (ValueError, RecursionError):
                arguments = None
        if json_object(arguments, max_length=checks.MAX_JSON_LENGTH) is None:
            self.repairs.append("arguments that are no JSON object, or too long, were left out")
            arguments = {}
        if not isinstance(name, str) or not 0 < len(name) <= checks.MAX_LABEL_LENGTH:
            self.repairs.append("a call without a proper name was called unknown")
            name = "unknown"
        return ToolUseBlock(str(call_id), name, cast("dict[str, Any]", arguments))

    def result(self, call_id: object, content: str, *, is_error: bool) -> None:
        """Take in the result of a call of the last answer."""
        known = self._open.get(str(call_id))
        if not known or self._answer is None:
            self.repairs.append("a result without a call was left out")
            return
        self._answer.results[known.pop(0)] = (content, is_error)

    def close(self) -> None:
        """Give the calls that are open a result."""
        for call_id in [call_id for calls in self._open.values() for call_id in calls]:
            if self._answer is not None:
                self._answer.results[call_id] = (NO_RESULT, True)
                self.repairs.append("a call without a result was given one")
        self._open.clear()

    def other(self, part: _Part) -> TextBlock:
        """Return what stands for a part that is not known, or has no place, where it is."""
        kind = str(part["type"])[: checks.MAX_LABEL_LENGTH]
        self.repairs.append(f"a part of the type {quote(kind)} was left out")
        return TextBlock(f"[{kind}]")

    def text(self, parts: Sequence[_Part], read: _ReadPart) -> str:
        """Return *parts* as the text of what has nothing else: a system message, or a result."""
        blocks = [read(self, part) for part in parts]
        shown = [
            block if isinstance(block, TextBlock) else self.other(part)
            for block, part in zip(blocks, parts, strict=True)
        ]
        return "\n".join([block.text for block in shown])

    def file_name(self, name: object) -> str:
        """Return the name of a document, which may have none."""
        if not isinstance(name, str) or not name:
            return "file"
        if len(name) > checks.MAX_LABEL_LENGTH:
            self.repairs.append("the name of a file was too long, and was cut")
        return name[: checks.MAX_LABEL_LENGTH]


_ReadPart = Callable[[_Import, _Part], Block]
"""How a part of a message is read, in one of the formats."""


def _is_blank(block: Block) -> bool:
    match block:
        case TextBlock():
            return not block.text.strip()
        case ReasoningBlock():
            return not (block.text or block.signature)
        case _:
            return False


def _append(holder: Conversation, said: _Said) -> None:
    holder.append_message(said.id, said.role, said.blocks)
    for call_id, (content, is_error) in said.results.items():
        if holder.ledger.message_with_id(call_id) is None:
            _append_result(holder, said.id, call_id, content, is_error=is_error)


def _append_result(
    holder: Conversation, message_id: str, call_id: str, content: str, *, is_error: bool
) -> None:
    # The call was not made here, so there is no ToolCall.
    holder.ledger.commit(
        lambda seq: ToolResult(
            seq=seq,
            call_id=call_id,
            content=content,
            is_error=is_error,
            created_at=now(),
            message_id=message_id,
        )
    )


def _parts(content: object) -> list[_Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(cast("list[_Part]", content))


def _from_data_url(url: str) -> tuple[str, str]:
    head, _, data = url.removeprefix("data:").partition(",")
    return head.removesuffix(";base64"), data


# ----- Chat Completions -------------------------------------------------------------


def _read_openai(found: _Import, message: _Part) -> None:
    parts = _parts(message.get("content"))
    match message["role"]:
        case "system" | "developer":
            found.say("system", [TextBlock(found.text(parts, _openai_block))])
        case "user":
            found.say("user", [_openai_block(found, part) for part in parts])
        case "assistant":
            thought = message.get("reasoning_content") or message.get("reasoning") or ""
            refusal = message.get("refusal") or ""
            calls = [
                found.call(call.get("id"), function.get("name"), function.get("arguments"))
                for call in message.get("tool_calls") or ()
                for function in [call["function"]]
            ]
            said = [_openai_block(found, part) for part in parts]
            found.answer([ReasoningBlock(thought), *said, TextBlock(refusal), *calls])
        case "tool":
            content = found.text(parts, _openai_block)
            found.result(message.get("tool_call_id"), content, is_error=False)
        case role:
            raise ValueError(role)


def _openai_block(found: _Import, part: _Part) -> Block:
    match part:
        case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return TextBlock(text)
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            if url.startswith("data:"):
                return ImageBlock(*_from_data_url(url))
            return ImageBlock(url=url)
        case {"type": "file", "file": {"file_data": str(data), **rest}}:
            return FileBlock(found.file_name(rest.get("filename")), *_from_data_url(data))
        case _:
            return found.other(part)


# ----- Messages ---------------------------------------------------------------------


def _read_anthropic(found: _Import, message: _Part) -> None:
    parts = _parts(message["content"])
    match message["role"]:
        case "system":
            found.say("system", [TextBlock(found.text(parts, _anthropic_block))])
        case "assistant":
            found.answer([_anthropic_block(found, part) for part in parts])
        case "user":
            results = [part for part in parts if part["type"] == "tool_result"]
            for part in results:
                content = found.text(_parts(part.get("content")), _anthropic_block)
                is_error = bool(part.get("is_error"))
                found.result(part.get("tool_use_id"), content, is_error=is_error)
            others = [part for part in parts if part["type"] != "tool_result"]
            if others or not results:
                found.say("user", [_anthropic_block(found, part) for part in others])
        case role:
            raise ValueError(role)


def _anthropic_block(found: _Import, part: _Part) -> Block:
    match part:
        case {"type": "text", "text": str(text)}:
            return TextBlock(text)
        case {"type": "thinking", "thinking": str(text)}:
            return ReasoningBlock(text, part.get("signature") or "")
        case {"type": "redacted_thinking", "data": str(data)}:
            return ReasoningBlock("", data, redacted=True)
        case {"type": "tool_use"}:
            return found.call(part.get("id"), part.get("name"), part.get("input"))
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return ImageBlock(url=url)
        case {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}:
            return ImageBlock(kind, data)
        case {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}:
            return FileBlock(found.file_name(part.get("title")), kind, data)
        case {"type": "document", "source": {"type": "text", "data": str(text)}} if text:
            data = base64.b64encode(text.encode("utf-8", "replace")).decode()
            return FileBlock(found.file_name(part.get("title")), "text/plain", data)
        case _:
            return found.other(part)

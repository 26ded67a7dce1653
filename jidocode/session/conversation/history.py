"""A conversation as the list of messages that a model's server takes.

Servers refuse a request, and every later one of the session, for one message that breaks
their rules. So what is built here keeps them whatever is in the conversation, because it is
built from what they ask for: each call of a tool is followed by its result, which is looked
up, and made up if there is none. A result is never looked at but for a call.

The rules, of both formats if nothing else is said:

- The results of all calls of a message come directly after it, each once.
- The ids of calls differ from each other; they and the names of tools have letters, digits,
  `_` and `-` (for the ids Anthropic says so), names up to 64 and ids up to 40 (OpenAI).
- Nothing is empty or blank; text can be written as UTF-8.
- Anthropic: user and assistant take turns, and the user begins. Reasoning has the signature
  of its provider, or is left out.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast, get_args

from msgspec import Struct, field

from jidocode.base.hashes import blake2b
from jidocode.session.conversation import checks
from jidocode.session.conversation.blocks import (
    Block,
    FileBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    text_in,
)
from jidocode.session.conversation.changes import Message, Summary

HistoryFormat = Literal["openai", "anthropic"]
"""Chat Completions, which most servers speak, and Anthropic's Messages."""

NO_RESULT = "interrupted: there is no result, and the tool may have run"
"""What a model is told of a call that has no result."""
_SUMMARY = "Summary of the conversation up to here:\n\n"
_BEGINNING = "(The conversation goes on.)"
_NOTHING = "(no output)"
_NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_LENGTH = 64
_ID_LENGTH = 40
_SHOWN_IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


class _Item(Struct):
    """One message on its way to a format.

    Attributes:
        role: Who says it.
        blocks: What is said; text is not blank.
        uses: The calls among them, under ids that no other call has.
        results: Of these calls, in their order.
    """

    role: str
    blocks: list[Block]
    uses: list[ToolUseBlock] = field(default_factory=list[ToolUseBlock])
    results: list[ToolResultBlock] = field(default_factory=list[ToolResultBlock])


def check_format(value: object) -> None:
    """Refuse what is no `HistoryFormat`."""
    checks.one_of("the format of a history", value, get_args(HistoryFormat))


def build_history(
    messages: Iterable[Message], summary: Summary | None, history_format: HistoryFormat
) -> list[dict[str, Any]]:
    """Return *messages*, which follow the *summary*, as a request has them; JSON throughout."""
    items = _items(messages)
    if summary is not None:
        items.insert(0, _Item("user", [TextBlock(_clean(_SUMMARY + summary.content))]))
    return _as_openai(items) if history_format == "openai" else _as_anthropic(items)


# ----- what is said, in turn ------------------------------------------------------


def _items(messages: Iterable[Message]) -> list[_Item]:
    given = list(messages)
    results: dict[tuple[str | None, str], ToolResultBlock] = {}
    for message in given:
        for block in message.blocks:
            if isinstance(block, ToolResultBlock):
                results.setdefault((block.message_id, block.call_id), block)
    items: list[_Item] = []
    taken: set[str] = set()
    for message in given:
        if any(isinstance(block, ToolResultBlock) for block in message.blocks):
            continue  # it comes with its call, or not at all
        item = _Item("user" if message.role == "tool" else message.role, [])
        for block in message.blocks or (TextBlock(message.content),):
            if isinstance(block, ToolUseBlock):
                use = _use(block, taken)
                found = results.get((message.id, block.id))
                result = _result(found, use.id)
                item.blocks.append(use)
                item.uses.append(use)
                item.results.append(result)
            else:
                item.blocks += _said(block)
        if item.blocks:
            items.append(item)
    return items


def _use(block: ToolUseBlock, taken: set[str]) -> ToolUseBlock:
    call_id = _sendable_id(block.id)
    number = 1
    while call_id in taken:
        number += 1
        call_id = _sendable_id(f"{block.id}-{number}")
    taken.add(call_id)
    name = _NOT_IN_NAME.sub("_", block.name)[:_NAME_LENGTH]
    arguments = json.loads(_clean(json.dumps(dict(block.arguments), ensure_ascii=False)))
    return ToolUseBlock(call_id, name, arguments)


def _sendable_id(call_id: str) -> str:
    """Return *call_id* as servers take it: the same one in every request, for their caches."""
    if len(call_id) <= _ID_LENGTH:
        return _NOT_IN_NAME.sub("_", call_id)
    return blake2b(call_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _result(found: ToolResultBlock | None, call_id: str) -> ToolResultBlock:
    if found is None:
        return ToolResultBlock(call_id, NO_RESULT, is_error=True)
    return ToolResultBlock(call_id, _clean(found.content), found.is_error)


def _said(block: Block) -> list[Block]:
    match block:
        case TextBlock():
            return [TextBlock(_clean(block.text))] if block.text.strip() else []
        case ReasoningBlock():
            return [ReasoningBlock(_clean(block.text), _clean(block.signature), block.redacted)]
        case FileBlock():
            return [FileBlock(_clean(block.name), block.media_type, block.data)]
        case ImageBlock():
            return [ImageBlock(block.media_type, block.data, _clean(block.url))]
        case _:
            return [block]


def _clean(text: str) -> str:
    """Return *text* with U+FFFD for what cannot be sent: halves of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _data_url(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"


# ----- Chat Completions -------------------------------------------------------------


def _as_openai(items: Sequence[_Item]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for item in items:
        match item.role:
            case "assistant":
                found += _openai_answer(item)
            case "user" if len(item.blocks) > 1 or not isinstance(item.blocks[0], TextBlock):
                found.append({"role": "user", "content": list(map(_openai_part, item.blocks))})
            case role:
                found.append({"role": role, "content": text_in(item.blocks)})
    return found


def _openai_answer(item: _Item) -> list[dict[str, Any]]:
    shown = [
        TextBlock(f"[{_name_of(block)}]") if isinstance(block, (ImageBlock, FileBlock)) else block
        for block in item.blocks
    ]
    text = text_in(shown)
    if not text and not item.uses:
        return []  # only thought: no server takes that for an answer
    answer: dict[str, Any] = {"role": "assistant", "content": text or None}
    thought = "".join([block.text for block in shown if isinstance(block, ReasoningBlock)])
    if thought:
        answer["reasoning_content"] = thought
    if item.uses:
        answer["tool_calls"] = [
            {
                "id": use.id,
                "type": "function",
                "function": {
                    "name": use.name,
                    "arguments": json.dumps(use.arguments, ensure_ascii=False),
                },
            }
            for use in item.uses
        ]
    results = [
        {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
        for result in item.results
    ]
    return [answer, *results]


def _openai_part(block: Block) -> dict[str, Any]:
    match block:
        case ImageBlock():
            url = block.url or _data_url(block.media_type, block.data)
            return {"type": "image_url", "image_url": {"url": url}}
        case FileBlock():
            data = _data_url(block.media_type, block.data)
            return {"type": "file", "file": {"filename": block.name, "file_data": data}}
        case _:
            return {"type": "text", "text": cast("TextBlock", block).text}


def _name_of(block: ImageBlock | FileBlock) -> str:
    if isinstance(block, FileBlock):
        return f"file {block.name}"
    return f"image {block.url or block.media_type}"


# ----- Messages ---------------------------------------------------------------------


def _as_anthropic(items: Sequence[_Item]) -> list[dict[str, Any]]:
    turns: list[tuple[str, list[dict[str, Any]]]] = []

    def say(role: str, parts: list[dict[str, Any]]) -> None:
        if not parts:
            return
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        else:
            turns.append((role, parts))

    for item in items:
        parts = [part for block in item.blocks if (part := _anthropic_part(block, item.role))]
        while parts and parts[-1]["type"] in ("thinking", "redacted_thinking"):
            parts.pop()  # an answer may not end with it
        say("assistant" if item.role == "assistant" else "user", parts)
        say("user", list(map(_anthropic_result, item.results)))
    if turns and turns[0][0] != "user":
        turns.insert(0, ("user", [{"type": "text", "text": _BEGINNING}]))
    if turns and turns[-1][0] == "assistant":  # nor with blanks, if nothing follows
        last = turns[-1][1][-1]
        last["text"] = last["text"].rstrip()
    return [{"role": role, "content": parts} for role, parts in turns]


def _anthropic_part(block: Block, role: str) -> dict[str, Any] | None:
    match block:
        case ReasoningBlock(redacted=True):
            return {"type": "redacted_thinking", "data": block.signature}
        case ReasoningBlock():
            if not block.signature:
                return None
            return {"type": "thinking", "thinking": block.text, "signature": block.signature}
        case ToolUseBlock():
            return {
                "type": "tool_use",
                "id": block.id,
                "name": block.name,
                "input": block.arguments,
            }
        case ImageBlock() if role == "user" and (block.url or block.media_type in _SHOWN_IMAGES):
            return {"type": "image", "source": _image_source(block)}
        case FileBlock() if role == "user" and (source := _document_source(block)):
            return {"type": "document", "source": source, "title": block.name}
        case ImageBlock() | FileBlock():
            return {"type": "text", "text": f"[{_name_of(block)}]"}
        case _:
            text = cast("TextBlock", block).text
            return {
                "type": "text",
                "text": f"<system>{text}</system>" if role == "system" else text,
            }


def _image_source(block: ImageBlock) -> dict[str, str]:
    if block.url:
        return {"type": "url", "url": block.url}
    return {"type": "base64", "media_type": block.media_type, "data": block.data}


def _document_source(block: FileBlock) -> Mapping[str, str] | None:
    if block.media_type == "application/pdf":
        return {"type": "base64", "media_type": block.media_type, "data": block.data}
    if block.media_type.startswith("text/"):
        text = base64.b64decode(block.data).decode("utf-8", "replace")
        return {"type": "text", "media_type": "text/plain", "data": text} if text.strip() else None
    return None


def _anthropic_result(result: ToolResultBlock) -> dict[str, Any]:
    content = result.content if result.content.strip() else _NOTHING
    return {
        "type": "tool_result",
        "tool_use_id": result.call_id,
        "content": content,
        "is_error": result.is_error,
    }

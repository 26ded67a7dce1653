"""A conversation as Markdown, from the changes that `SessionSystem.export_session` yields."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

_LEAST_FENCE = 3
_CONTROLS = {
    number: "\ufffd" for number in (*range(0x20), *range(0x7F, 0xA0)) if chr(number) not in "\t\n"
}
"""What is no text, and may do anything to a terminal: it has U+FFFD in its place."""


def as_markdown(changes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the conversation that *changes* add up to, a paragraph after the other.

    Only what was said and done is in it: messages, reasoning, calls of tools and their
    results. What was cleared is not, nor what of a message never got whole.
    """
    title: str | None = None
    said: list[tuple[str, str]] = []
    for change in changes:
        kind = next((key for key in change if key != "seq"), "")
        value = cast("Mapping[str, Any]", change.get(kind, {}))
        match kind:
            case "session_changed":
                title = value["session"]["name"]
            case "messages_cleared":
                said = [each for each in said if each[0] != "message"]
            case "reasoning_cleared":
                said = [each for each in said if each[0] != "reasoning_step"]
            case _:
                paragraph = _paragraph(kind, value)
                if paragraph:
                    said.append((kind, paragraph))
    paragraphs = [f"# {title or 'A session'}\n", *(paragraph for _, paragraph in said)]
    yield from (each.translate(_CONTROLS) for each in paragraphs)


def _paragraph(kind: str, value: Mapping[str, Any]) -> str | None:
    match kind:
        case "message":
            status = "" if value.get("status", "complete") == "complete" else f", {value['status']}"
            content = value["content"] or _said(value.get("blocks", ()))
            return f"## {value['role']}, {value['created_at']}{status}\n\n{content}\n"
        case "reasoning_step":
            return f"{_quoted(value['content'])}\n"
        case "tool_call":
            arguments = json.dumps(value["arguments"], indent=2, ensure_ascii=False)
            return f"### {value['name']}\n\n{_fenced(arguments, 'json')}\n"
        case "tool_result":
            title = "Error" if value["is_error"] else "Result"
            return f"{title}:\n\n{_fenced(value['content'])}\n"
        case "summary":
            return f"## summary, {value['created_at']}\n\n{value['content']}\n"
        case "approval":
            return f"{_quoted(value['question'])}\n>\n> ({', '.join(value['options'])})\n"
        case "approval_answer":
            return f"Answer: {value['option'] or 'withdrawn'}\n"
        case "damaged":
            return f"_{value['bytes']} bytes of the journal cannot be read._\n"
        case _:
            return None


def _said(blocks: Iterable[Mapping[str, Any]]) -> str:
    """Return what is said in *blocks*; calls have paragraphs of their own, once they are made."""
    parts: list[str] = []
    for block in blocks:
        match block:
            case {"text": {"text": text}}:
                parts.append(text)
            case {"reasoning": {"text": text}}:
                parts.append(_quoted(text))
            case {"image": {"url": url, "media_type": kind}}:
                parts.append(f"[image {url or kind}]")
            case {"file": {"name": name}}:
                parts.append(f"[file {name}]")
            case _:
                pass
    return "\n\n".join(part for part in parts if part)


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines())


def _fenced(text: str, language: str = "") -> str:
    """Return *text* as a block that nothing in it ends."""
    fence = "`" * _LEAST_FENCE
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"

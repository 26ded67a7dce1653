"""What the servers of models take for a list of messages: the rules, written down again.

It imports nothing of the package, so that what the package takes for valid is not the judge.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, cast

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
OPENAI_ID_LENGTH = 40
ANTHROPIC_ID = re.compile(r"[a-zA-Z0-9_-]+")
DATA_URL = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+);base64,(.+)", re.DOTALL)


def problems(messages: Sequence[dict[str, Any]], history_format: str) -> list[str]:
    """Return what a server would refuse in *messages*; nothing if it is valid."""
    found: list[str] = []
    try:
        json.dumps(messages, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        found.append(f"no JSON in UTF-8: {error!r}")
    return found + (_openai(messages) if history_format == "openai" else _anthropic(messages))


def _openai(messages: Sequence[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    open_calls: list[str] = []
    seen: set[str] = set()
    for place, message in enumerate(messages):
        role = message.get("role")
        if role == "tool":
            if set(message) != {"role", "tool_call_id", "content"}:
                found.append(f"{place}: fields of a result: {sorted(message)}")
            elif message["tool_call_id"] not in open_calls:
                found.append(f"{place}: a result without a call before it, or a second one")
            else:
                open_calls.remove(message["tool_call_id"])
            if not isinstance(message.get("content"), str):
                found.append(f"{place}: a result must be text")
            continue
        if open_calls:
            found.append(f"{place}: {len(open_calls)} calls before it have no result")
            open_calls = []
        if role == "assistant":
            found += [f"{place}: {each}" for each in _openai_answer(message)]
            calls = [str(call["id"]) for call in message.get("tool_calls", ())]
            if seen & set(calls) or len(set(calls)) < len(calls):
                found.append(f"{place}: an id of a call twice")
            seen |= set(calls)
            open_calls = calls
        elif role in ("user", "system"):
            if set(message) != {"role", "content"}:
                found.append(f"{place}: fields {sorted(message)}")
            parts = message["content"]
            if isinstance(parts, str):
                parts = [{"type": "text", "text": parts}]
            elif role == "system":
                found.append(f"{place}: a system message must be text")
            found += [f"{place}: {each}" for part in parts for each in _openai_part(part)]
            if not parts:
                found.append(f"{place}: empty")
        else:
            found.append(f"{place}: role {role!r}")
    if open_calls:
        found.append(f"at the end {len(open_calls)} calls have no result")
    return found


def _openai_answer(message: dict[str, Any]) -> list[str]:
    found: list[str] = []
    if not set(message) <= {"role", "content", "tool_calls", "reasoning_content"}:
        found.append(f"fields {sorted(message)}")
    content, calls = message.get("content"), message.get("tool_calls")
    if calls is None:
        if not isinstance(content, str) or not content.strip():
            found.append("an answer that says nothing")
        return found
    if content is not None and (not isinstance(content, str) or not content.strip()):
        found.append("an empty content beside calls")
    if not calls:
        found.append("an empty list of calls")
    for call in calls:
        if set(call) != {"id", "type", "function"} or call["type"] != "function":
            found.append(f"fields of a call {sorted(call)}")
        function = call["function"]
        if set(function) != {"name", "arguments"} or not NAME.fullmatch(function["name"]):
            found.append(f"function {function}")
        if not isinstance(json.loads(function["arguments"]), dict):
            found.append("arguments that are no object")
        if not 0 < len(call["id"]) <= OPENAI_ID_LENGTH:
            found.append("an id of a call that is empty or too long")
    return found


def _openai_part(part: dict[str, Any]) -> list[str]:
    match part:
        case {"type": "text", "text": str(text)} if text.strip():
            return []
        case {"type": "image_url", "image_url": {"url": str(url)}} if url.startswith(
            ("https://", "http://")
        ) or _is_data_url(url):
            return []
        case {"type": "file", "file": {"filename": str(name), "file_data": str(data)}} if (
            name and _is_data_url(data)
        ):
            return []
        case _:
            return [f"part {part}"]


def _is_data_url(url: str) -> bool:
    found = DATA_URL.fullmatch(url)
    return found is not None and bool(base64.b64decode(found[2], validate=True))


def _anthropic(messages: Sequence[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    open_calls: list[str] = []
    expected = "user"
    for place, message in enumerate(messages):
        role = message.get("role")
        parts = cast("list[dict[str, Any]]", message.get("content"))
        if set(message) != {"role", "content"} or role != expected:
            found.append(f"{place}: {role!r} with {sorted(message)}, not {expected}")
        expected = "assistant" if role == "user" else "user"
        if type(parts) is not list or not parts:
            found.append(f"{place}: empty")
            continue
        results = [part for part in parts if part.get("type") == "tool_result"]
        if parts[: len(results)] != results:
            found.append(f"{place}: a result after something else")
        given = [part["tool_use_id"] for part in results]
        if sorted(given) != sorted(open_calls):
            found.append(f"{place}: results of {given}, calls {open_calls}")
        calls = [part["id"] for part in parts if part.get("type") == "tool_use"]
        if seen & set(calls) or len(set(calls)) < len(calls):
            found.append(f"{place}: an id of a call twice")
        seen |= set(calls)
        open_calls = calls
        check = _anthropic_said if role == "assistant" else _anthropic_asked
        found += [f"{place}: part {part}" for part in parts if not check(part)]
        if role == "assistant" and "thinking" in parts[-1]["type"]:
            found.append(f"{place}: it ends with a thought")
    if open_calls:
        found.append(f"at the end {len(open_calls)} calls have no result")
    if messages and messages[-1]["role"] == "assistant":
        text = messages[-1]["content"][-1].get("text", "")
        if text != text.rstrip():
            found.append("it ends with blanks")
    return found


def _anthropic_said(part: dict[str, Any]) -> bool:
    match part:
        case {"type": "text", "text": str(text)}:
            return bool(text.strip())
        case {"type": "tool_use", "id": str(call_id), "name": str(name), "input": dict()}:
            return bool(ANTHROPIC_ID.fullmatch(call_id) and NAME.fullmatch(name))
        case {"type": "thinking", "thinking": str(), "signature": str(signature)}:
            return bool(signature)
        case {"type": "redacted_thinking", "data": str(data)}:
            return bool(data)
        case _:
            return False


def _anthropic_asked(part: dict[str, Any]) -> bool:
    match part:
        case {"type": "text", "text": str(text)}:
            return bool(text.strip())
        case {"type": "tool_result", "content": str(content), "is_error": bool()}:
            return bool(content.strip())
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return url.startswith(("https://", "http://"))
        case {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}:
            known = kind in ("image/jpeg", "image/png", "image/gif", "image/webp")
            return known and bool(base64.b64decode(data, validate=True))
        case {"type": "document", "title": str(), "source": {"type": "base64", **rest}}:
            return rest["media_type"] == "application/pdf" and bool(rest["data"])
        case {"type": "document", "title": str(), "source": {"type": "text", "data": str(text)}}:
            return bool(text.strip())
        case _:
            return False

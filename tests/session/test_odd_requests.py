"""Whatever a State is asked, it answers or refuses: no argument ends it, or spoils its journal."""

from __future__ import annotations

import inspect
from contextlib import suppress
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve
from conversations import snapshot
from hypothesis import given, settings, strategies as st

from jidocode.base.refs import ActorRef
from jidocode.session.conversation.blocks import (
    Completion,
    FileBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolUseBlock,
    Usage,
)
from jidocode.session.conversation.changes import Todo
from jidocode.session.journal.file import Journal
from jidocode.session.journal.place import journal_path
from jidocode.session.journal.recovery import recover
from jidocode.session.record import Session
from jidocode.session.requests import SESSION_OPERATIONS, Request
from jidocode.session.state.operations import OPERATIONS, NoEventYet

TABLES = (OPERATIONS, SESSION_OPERATIONS)
NAMES = [name for table in TABLES for name in table.by_name]
SIMPLE: list[Any] = [
    *(None, True, 0, -1, 1.5, float("nan"), 10**5000, 2**70),
    *("", "x", "x" * 300, "\ud800", b"x", [], (), {}, set(), object()),
    *([1], {1: 2}, {"a": float("nan")}, datetime.now(UTC), datetime(2020, 1, 1)),  # noqa: DTZ001 - on purpose
]
BLOCKS: list[Any] = [
    TextBlock("t"),
    ReasoningBlock("", "s"),
    ToolUseBlock("a", "n", {}),
    ImageBlock("image/png", "QUJD"),
    ImageBlock(url="https://a"),
    FileBlock("n", "text/plain", "QUJD"),
]
SOUND: list[Any] = [
    *BLOCKS,
    Completion(),
    Usage(),
    Todo("x"),
    ActorRef("k", 1, 2),
]
RECORDS = ("message", "call", "summary", "approval", "prompt", "step", "counted", "import")
USUAL: dict[str, list[Any]] = {
    **{f"{each}_id": ["a", "b"] for each in RECORDS},
    "role": ["assistant", "user"],
    "offset": [0, 1],
    "upto_seq": [1, 2],
    "block": BLOCKS,
    "options": [["x", "y"]],
    "option": ["x", None],
    "kind": ["text", "reasoning", "read"],
    "history_format": ["openai", "anthropic"],
    "messages": [[{"role": "user", "content": "q"}]],
    "sha256": ["a" * 64],
    "todos": [[Todo("x")]],
    "is_error": [True, False],
    "completion": [None, Completion()],
    "owner": [None, ActorRef("k", 1, 2)],
    **{name: [{}, {"a": [1]}] for name in ("metadata", "arguments", "changes", "context")},
}


@st.composite
def odd(draw: st.DrawFn) -> Any:
    """Something that no operation expects, or a sound record with one value that it has not."""
    if draw(st.booleans()):
        return draw(st.sampled_from(SIMPLE))
    record = draw(st.sampled_from(SOUND))
    name = draw(st.sampled_from([each.name for each in record.__attrs_attrs__]))
    record = evolve(record, **{name: draw(st.sampled_from(SIMPLE))})
    return [record] if draw(st.booleans()) else record


@st.composite
def requests(draw: st.DrawFn) -> Request[Any]:
    """One request, most of whose arguments are right."""
    name = draw(st.sampled_from(NAMES))
    (operation,) = [table.by_name[name] for table in TABLES if name in table.by_name]
    _holder, *parameters = inspect.signature(operation).parameters.values()
    values: dict[str, Any] = {}
    for each in parameters:
        if each.default is inspect.Parameter.empty or draw(st.booleans()):
            usual = st.sampled_from(USUAL.get(each.name, ["x", "y"]))
            values[each.name] = draw(odd() if draw(st.integers(0, 4)) == 0 else usual)
    return Request(name, (), values)


@given(st.lists(requests(), max_size=30))
@settings(max_examples=60, deadline=None)
def test_no_argument_ends_a_state_or_spoils_its_journal(asked: list[Request[Any]]) -> None:
    """What is not refused is there, and the same, in the next State."""
    with TemporaryDirectory() as folder, TemporaryDirectory() as journals:
        session = Session.new(project_path=folder)
        Journal.open(journal_path(journals, session.id), create=True).close()
        conversation = recover(session, journals, "process")
        for each in asked:
            with suppress(NoEventYet):
                assert any(table.answer(each, conversation) for table in TABLES)
        for stream in conversation.streams():
            conversation.end_stream(stream.id)
        for call in conversation.tool_calls():
            if call.result is None:
                conversation.add_tool_result(call.id, "done")
        before = snapshot(conversation)
        conversation.close()
        conversation = recover(session, journals, "process")
        after = snapshot(conversation)
        conversation.close()

    assert after == before

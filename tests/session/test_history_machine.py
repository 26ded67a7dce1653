"""A history is valid whatever was said, called, cut off, cleared, forked and imported."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from conversations import FORMATS, asking
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType] # hypothesis leaves it unannotated
)
from valid_history import problems

from jidocode.errors import InvalidRequestError
from jidocode.session.conversation import limits
from jidocode.session.conversation.blocks import (
    Block,
    FileBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolUseBlock,
)
from jidocode.session.conversation.changes import ChunkKind, Message
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.history import HistoryFormat
from jidocode.session.journal import change_log as log_module, file as journal_module
from jidocode.session.journal.catalogue import fork_journal
from jidocode.session.journal.file import Journal
from jidocode.session.journal.place import journal_path
from jidocode.session.journal.recovery import recover
from jidocode.session.record import Session


def with_plain_ids(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *messages* with the ids of calls numbered as they come."""
    numbers: dict[str, str] = {}

    def plain(value: Any, key: str = "") -> Any:
        match value:
            case dict():
                items = cast("dict[str, Any]", value).items()
                return {name: plain(each, name) for name, each in items}
            case list():
                return [plain(each) for each in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # it is JSON
            case str() if key in ("id", "tool_call_id", "tool_use_id"):
                return numbers.setdefault(value, str(len(numbers)))
            case _:
                return value

    found: list[dict[str, Any]] = plain(messages)
    return found


texts = st.sampled_from(["", " ", "\n", "hello", "two ", "\ud800", "\x00", "é\ufeff", "<system>"])
names = st.sampled_from(["run", "read_file", "no such tool!", "x" * 100, "\ud800"])
arguments = st.dictionaries(texts, texts | st.integers(-5, 5), max_size=2)
asked = st.one_of(
    st.builds(TextBlock, texts),
    st.just(ImageBlock("image/png", "QUJD")),
    st.just(ImageBlock("image/tiff", "QUJD")),
    st.just(ImageBlock(url="https://example.org/a.png")),
    st.just(FileBlock("a.pdf", "application/pdf", "QUJD")),
    st.just(FileBlock("a.txt", "text/plain", "QUJD")),
    st.just(FileBlock("blank\ud800.txt", "text/plain", "IA==")),
    st.just(FileBlock("a.bin", "application/octet-stream", "QUJD")),
)
thoughts = st.builds(
    ReasoningBlock, texts, st.sampled_from(["", "signed"]), redacted=st.just(value=False)
) | st.just(ReasoningBlock("", "secret", redacted=True))


class HistoryMachine(RuleBasedStateMachine):
    """One conversation with a journal, and all that can happen to it."""

    directory: Path
    session: Session

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp(dir=self.directory))
        self.ids = 0
        Journal.open(self.path, create=True).close()
        self.open()

    def open(self) -> None:
        self.conversation = recover(self.session, self.place, "process")
        self.state = asking(self.conversation)

    def fresh(self) -> str:
        self.ids += 1
        return f"{self.ids} &"

    @property
    def path(self) -> Path:
        return journal_path(self.place, self.session.id)

    def use(self, name: str, given: dict[str, Any], again: int) -> ToolUseBlock:
        """Return the block of a call; some servers give ids again."""
        return ToolUseBlock(f"call_{again}" if again else self.fresh(), name, given)

    @rule(
        role=st.sampled_from(["user", "system", "assistant", "tool"]),
        content=texts,
    )
    def say(self, role: Any, content: str) -> None:
        self.state.append_message(role, content, message_id=self.fresh())

    @rule(blocks=st.lists(asked, max_size=4), role=st.sampled_from(["user", "assistant"]))
    def show(self, blocks: list[Any], role: Any) -> None:
        self.state.append_message(role, blocks, message_id=self.fresh())

    @rule(
        parts=st.lists(
            thoughts
            | st.builds(TextBlock, texts)
            | st.tuples(names, arguments, st.sampled_from([0, 0, 1, 2])),
            max_size=5,
        ),
        results=st.lists(st.sampled_from(["none", "begun", "done", "failed"]), max_size=3),
    )
    def answer(self, parts: list[Any], results: list[str]) -> None:
        blocks = [part if isinstance(part, Block) else self.use(*part) for part in parts]
        try:
            message = self.state.append_message("assistant", blocks, message_id=self.fresh())
        except InvalidRequestError:  # two ids are the same, or one was there
            return
        self.make_calls(message, results)

    def make_calls(self, message: Message, results: list[str]) -> None:
        for use, result in zip(message.tool_uses, results, strict=False):
            if result == "none":
                continue
            name, given = use.name, use.arguments
            self.state.add_tool_call(name, given, call_id=use.id, message_id=message.id)
            if result != "begun":
                self.state.add_tool_result(use.id, result, is_error=result == "failed")

    @rule(
        steps=st.lists(
            st.tuples(st.sampled_from(["text", "reasoning"]), texts)
            | st.just("sign")
            | st.tuples(names, arguments, st.sampled_from([0, 0, 1, 2])),
            max_size=6,
        ),
        results=st.lists(st.sampled_from(["none", "begun", "done", "failed"]), max_size=3),
        status=st.sampled_from(["complete", "aborted", None]),
        twice=st.booleans(),
    )
    def stream(self, steps: list[Any], results: list[str], status: Any, *, twice: bool) -> None:
        if len(self.state.streams()) == limits.MAX_STREAMS:
            return
        began, length = self.state.begin_stream(message_id=self.fresh()), 0
        for step in steps:
            block: ReasoningBlock | ToolUseBlock | None = None
            if step == "sign":
                block = ReasoningBlock("", "signed")
            elif len(step) > 2:
                block = self.use(*step)
            for _ in range(1 + twice):
                if block is None:
                    kind = cast("ChunkKind", step[0])
                    self.state.append_chunk(began.id, step[1], offset=length, kind=kind)
                else:
                    try:
                        self.state.append_block(began.id, block, offset=length)
                    except InvalidRequestError:
                        break
            length += len(step[1]) if block is None else 0
        if status is not None:
            message = self.state.end_stream(began.id, status=status)
            self.make_calls(message, results)

    @rule(number=st.integers(0, 3), result=st.sampled_from(["done", ""]))
    def finish_call(self, number: int, result: str) -> None:
        for call in self.conversation._fold.unanswered_calls()[number : number + 1]:
            self.state.add_tool_result(call.id, result)

    @rule()
    def clear(self) -> None:
        self.state.clear_messages()

    @rule(back=st.integers(0, 5))
    def summarize(self, back: int) -> None:
        known = self.state.summary()
        upto = max(1, self.conversation.last_seq - back, known.upto_seq if known else 0)
        self.state.summarize("it was said \ud800", upto_seq=upto, summary_id=self.fresh())

    @rule()
    def compact(self) -> None:
        self.conversation.ledger.compact()

    @rule(lost=st.integers(0, 6), cut=st.integers(0, 20))
    def crash(self, lost: int, cut: int) -> None:
        """Anywhere: the last changes never came to the disk, one in part."""
        self.conversation.ledger.close()
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = lines[: max(1, len(lines) - lost)]
        self.path.write_bytes(b"".join(kept) + b'00000000 1 {"message":{}}'[:cut])
        self.open()

    @rule(back=st.integers(0, 8))
    def fork(self, back: int) -> None:
        """A fork is a prefix, with another session's record."""
        upto = max(1, self.conversation.last_seq - back)
        other = Session.new(project_path=self.session.project_path)
        self.conversation.ledger.close()
        fork_journal(self.path, other, upto_seq=upto)
        fork = recover(other, self.place, "process")
        for history_format in FORMATS:
            assert problems(asking(fork).history(history_format), history_format) == []
        fork.close()
        self.open()

    @rule(history_format=st.sampled_from(FORMATS))
    def import_own(self, history_format: HistoryFormat) -> None:
        if self.conversation.statistics().messages > 50:
            return
        history = self.state.history(history_format)
        for _ in range(2):  # the second time it is there already
            self.state.import_history(history, history_format, import_id=f"import {self.ids}")
        self.ids += 1

    @invariant()
    def it_is_valid(self) -> None:
        if not hasattr(self, "conversation"):
            return
        for history_format in FORMATS:
            history = self.state.history(history_format)
            assert problems(history, history_format) == []
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(limits, "MAX_MESSAGES", 1000)
                other = asking(Conversation.in_memory(self.session))
            report = other.import_history(history, history_format)
            assert report.repairs == ()
            again = other.history(history_format)
            assert with_plain_ids(again) == with_plain_ids(history)

    def teardown(self) -> None:
        if hasattr(self, "conversation"):
            self.conversation.ledger.close()


def test_a_history_is_always_valid_and_comes_back(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both formats; imported, it is the same again."""
    monkeypatch.setattr(limits, "MAX_MESSAGES", 3)
    monkeypatch.setattr(limits, "MAX_TOOL_CALLS", 3)
    monkeypatch.setattr(journal_module, "RECENT", 3)
    monkeypatch.setattr(log_module, "COMPACT_FROM", 3000)
    monkeypatch.setattr(HistoryMachine, "directory", tmp_path, raising=False)
    monkeypatch.setattr(HistoryMachine, "session", session, raising=False)
    run: Callable[..., None] = run_state_machine_as_test
    run(
        HistoryMachine,
        settings=settings(max_examples=30, stateful_step_count=15),
    )

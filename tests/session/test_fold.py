"""What changes add up to: the same changes to the same, whichever way they come."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from jidocode.session.conversation import limits
from jidocode.session.conversation.blocks import (
    Completion,
    FileBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolUseBlock,
    Usage,
    text_in,
)
from jidocode.session.conversation.changes import (
    Approval,
    ApprovalAnswer,
    Change,
    FileAccess,
    JournalOpened,
    Message,
    MessagesCleared,
    Numbered,
    PromptAdded,
    ReasoningCleared,
    ReasoningStep,
    SessionChanged,
    SettingsChanged,
    StreamBegan,
    StreamBlock,
    StreamChunk,
    Summary,
    Todo,
    TodosReplaced,
    ToolCall,
    ToolContextReplaced,
    ToolResult,
    UsageCounted,
)
from jidocode.session.conversation.fold import Fold
from jidocode.session.journal.codec import decode, encode
from jidocode.session.journal.format import JournalRecord
from jidocode.session.record import Session, SessionConfig

NOW = datetime(2025, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
SESSION = Session(
    id="11111111-2222-4333-8444-555555555555",
    name="shop",
    project_path="/projects/shop",
    project_key=(1, 2),
    config=SessionConfig(),
    language=None,
    created_at=NOW,
    updated_at=NOW,
)

ids = st.sampled_from("abcdefgh")
texts = st.text(st.characters(), max_size=8)  # lone surrogates among them
mappings = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, max_size=2)
todo_lists = st.lists(st.builds(Todo, texts), max_size=3).map(tuple)


def change(cls: type[Change], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Change]:
    return st.builds(cls, seq=st.just(0), **fields)


at = st.just(NOW)
maybe_ids = st.none() | ids
usages = st.builds(
    Usage, input_tokens=st.integers(0, 9), seconds=st.floats(0, 9, allow_subnormal=False)
)
blocks = st.one_of(
    st.builds(TextBlock, texts),
    st.builds(ReasoningBlock, texts, st.sampled_from(["", "signed"]), redacted=st.booleans()),
    st.builds(ToolUseBlock, ids, ids, mappings),
    st.builds(ImageBlock, st.just("image/png"), st.just("QQ==")),
    st.builds(ImageBlock, url=texts),
    st.builds(FileBlock, texts, st.just("text/plain"), st.just("QQ==")),
)
said: st.SearchStrategy[Message] = st.builds(
    Message,
    seq=st.just(0),
    id=ids,
    role=st.just("assistant"),
    content=st.just(""),
    metadata=mappings,
    created_at=at,
    blocks=st.lists(blocks, min_size=1, max_size=4).map(tuple),
    completion=st.none() | st.builds(Completion, model=texts, usage=usages),
)
changes = st.one_of(
    change(
        Message,
        id=ids,
        role=st.sampled_from(["user", "tool"]),
        content=texts,
        metadata=mappings,
        created_at=at,
    ),
    change(StreamBegan, id=ids, role=st.just("assistant"), metadata=mappings, created_at=at),
    change(StreamChunk, stream_id=ids, offset=st.integers(0, 4), text=texts),
    change(StreamChunk, stream_id=ids, offset=st.just(0), text=texts),
    change(
        StreamChunk,
        stream_id=ids,
        offset=st.integers(0, 4),
        text=texts,
        kind=st.just("reasoning"),
    ),
    change(StreamBlock, stream_id=ids, offset=st.integers(0, 4), block=blocks),
    said.map(lambda message: evolve(message, content=text_in(message.blocks))),
    change(ReasoningStep, id=ids, content=texts, created_at=at),
    change(ToolCall, id=ids, name=ids, arguments=mappings, created_at=at, message_id=maybe_ids),
    change(
        ToolResult,
        call_id=ids,
        content=texts,
        is_error=st.booleans(),
        created_at=at,
        message_id=maybe_ids,
    ),
    change(Summary, id=ids, content=texts, upto_seq=st.integers(1, 40), created_at=at),
    change(UsageCounted, counted_id=ids, usage=usages),
    change(
        Approval,
        id=ids,
        question=texts,
        options=st.just(("yes", "no")),
        metadata=mappings,
        created_at=at,
    ),
    change(
        ApprovalAnswer, approval_id=ids, option=st.sampled_from(["yes", "no", None]), created_at=at
    ),
    change(TodosReplaced, todos=todo_lists),
    change(ToolContextReplaced, context=mappings),
    change(SettingsChanged, settings=mappings),
    change(
        SessionChanged,
        session=st.sampled_from([SESSION, evolve(SESSION, name="market", language="python")]),
    ),
    change(PromptAdded, id=ids, text=texts, created_at=at),
    change(
        FileAccess,
        path=ids,
        kind=st.sampled_from(["read", "write"]),
        sha256=st.just("a" * 64),
        created_at=at,
    ),
    change(JournalOpened, created_at=at, repair=st.just({})),
    change(MessagesCleared),
    change(ReasoningCleared),
)
histories = st.lists(changes, max_size=40).map(
    lambda found: [evolve(each, seq=seq) for seq, each in enumerate(found, 1)]
)


def folded(history: Iterable[Change], *, keeps_all: bool = True) -> Fold:
    fold = Fold(SESSION, keeps_all=keeps_all)
    for each in history:
        fold.apply(each)
    return fold


def answers(fold: Fold) -> dict[str, Any]:
    """Return all that a fold can be asked, but for what was dropped in this process."""
    return {
        "seqs": list(fold.messages.seqs),
        "messages": [fold.messages.at(seq) for seq in fold.messages.seqs],
        "by id": {each: fold.messages.with_id(each) for each in "abcdefgh"},
        "streams": [(each.began, each.parts, each.seqs) for each in fold.streams.values()],
        "calls": list(fold.tool_calls.values()),
        "approvals": list(fold.approvals.values()),
        "summary": (fold.summary, fold.usage),
        "unanswered": fold.unanswered_calls(),
        "reasoning": list(fold.reasoning.values()),
        "prompts": list(fold.prompts.values()),
        "files": list(fold.files.values()),
        "single": [fold.todos, fold.tool_context, fold.settings, fold.session],
        "opened": fold.journal_opened,
        "session": fold.known_session,
        "needed": sorted(fold.needed_seqs()),
    }


def without_repeats(history: Iterable[Change]) -> list[Change]:
    """Leave out what a conversation never writes: an id that is known, or a second result."""
    fold = Fold(SESSION, keeps_all=True)
    found: list[Change] = []
    for each in history:
        match each:
            case Message():
                known = fold.messages.with_id(each.id) is not None
            case StreamBegan():
                known = fold.messages.with_id(each.id) is not None or each.id in fold.streams
            case ReasoningStep():
                known = each.id in fold.reasoning
            case PromptAdded():
                known = each.id in fold.prompts
            case ToolCall():
                known = each.id in fold.tool_calls
            case ToolResult():
                call = fold.tool_calls.get(each.call_id)
                known = call is None or call.result is not None
                known = known or fold.messages.with_id(each.call_id) is not None
            case Approval():
                known = each.id in fold.approvals
            case ApprovalAnswer():
                asked = fold.approvals.get(each.approval_id)
                known = asked is None or asked.answer is not None
            case _:
                known = False
        if not known:
            fold.apply(each)
            found.append(each)
    return found


@given(history=histories, keeps_all=st.booleans())
def test_the_same_changes_add_up_to_the_same(history: list[Change], *, keeps_all: bool) -> None:
    """Also after they were pickled, and after they were on a disk."""
    pickled = pickle.loads(pickle.dumps(history))
    stored = [decode(JournalRecord(each.seq, encode(each))) for each in history]
    expected = answers(folded(history, keeps_all=keeps_all))

    assert stored == history
    for again in (history, pickled, stored):
        assert answers(folded(again, keeps_all=keeps_all)) == expected


@given(history=histories, few=st.integers(1, 4), recent=st.integers(0, 10))
def test_what_a_compaction_keeps_adds_up_to_the_same(
    history: list[Change], few: int, recent: int
) -> None:
    """Also if little may be kept, and with the latest changes, superseded ones among them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAX_MESSAGES", "MAX_TOOL_CALLS", "MAX_PROMPTS", "MAX_FILE_ACCESSES"):
            patch.setattr(limits, name, few)
        history = without_repeats(history)
        fold = folded(history)
        last = history[-1].seq if history else 0
        needed = set(fold.needed_seqs())
        kept = [each for each in history if each.seq in needed or each.seq > last - recent]

        assert needed <= {each.seq for each in history}
        assert answers(folded(kept)) == answers(fold)


@given(history=histories, first=st.integers(0, 40))
def test_changes_can_be_added_to_what_was_added_up_before(
    history: list[Change], first: int
) -> None:
    """A fold of the first ones goes on with the rest."""
    fold = folded(history[:first])
    for each in history[first:]:
        fold.apply(each)

    assert answers(fold) == answers(folded(history))


def test_what_is_no_change_is_refused() -> None:
    """It would be a mistake of the program."""
    with pytest.raises(TypeError, match="no change"):
        folded([]).apply(Numbered(seq=1))  # type: ignore[arg-type] # on purpose

"""A conversation for models: blocks, calls that messages ask for, and the list that is built."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from conversations import FORMATS, asking
from valid_history import problems

from jidocode.errors import InvalidRequestError
from jidocode.session.conversation import checks, limits
from jidocode.session.conversation.blocks import (
    Block,
    Completion,
    FileBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)
from jidocode.session.conversation.changes import INTERRUPTED_CALL, Approval, ToolResult
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.history import NO_RESULT, HistoryFormat
from jidocode.session.journal.file import Journal
from jidocode.session.journal.place import journal_path
from jidocode.session.journal.recovery import recover
from jidocode.session.record import Session
from jidocode.session.state.client import StateClient

IMAGE = ImageBlock("image/png", "QUJD")
CALL = ToolUseBlock("c1", "read_file", {"path": "a.py"})
OTHER = ToolUseBlock("c2", "grep", {})


@pytest.fixture
def conversation(session: Session) -> Conversation:
    """An empty conversation."""
    return Conversation.in_memory(session)


@pytest.fixture
def state(conversation: Conversation) -> StateClient:
    """A client of it."""
    return asking(conversation)


def answered(state: StateClient, *blocks: Block, message_id: str = "a") -> None:
    state.append_message("assistant", blocks or [CALL], message_id=message_id)


def called(state: StateClient, call: ToolUseBlock = CALL, message_id: str = "a") -> None:
    state.add_tool_call(call.name, call.arguments, call_id=call.id, message_id=message_id)


# ----- blocks -------------------------------------------------------------------


def test_a_message_has_its_blocks_and_its_text(state: StateClient) -> None:
    """One of text alone has no blocks, however it was given."""
    shown = state.append_message("user", [TextBlock("what is "), IMAGE, TextBlock("this?")])
    said = state.append_message("user", [TextBlock("hello")])

    assert (shown.content, shown.blocks[1], said.content, said.blocks) == (
        "what is this?",
        IMAGE,
        "hello",
        (),
    )
    assert state.messages() == [shown, said]
    assert pickle.loads(pickle.dumps(shown)) == shown
    assert shown.length == len("what is this?") * 2 + len(IMAGE.data)


@pytest.mark.parametrize(
    ("role", "blocks"),
    [
        ("user", [CALL]),
        ("user", [ReasoningBlock("hm")]),
        ("system", [IMAGE]),
        ("tool", [IMAGE]),
        ("assistant", [ToolResultBlock("c1", "text")]),
        ("assistant", [CALL, evolve(OTHER, id="c1")]),
        ("assistant", [ToolUseBlock("", "run", {})]),
        ("assistant", [ToolUseBlock("c", "run", [])]),  # type: ignore[arg-type] # on purpose
        ("assistant", [ReasoningBlock("", 5)]),  # type: ignore[arg-type] # on purpose
        ("user", [ImageBlock("image/png", "no base64")]),
        ("user", [ImageBlock("image/png", "")]),
        ("user", [ImageBlock("png", "QUJD")]),
        ("user", [ImageBlock(url="file:///etc/passwd")]),
        ("user", [ImageBlock("image/png", "QUJD", "https://example.org")]),
        ("user", [ImageBlock("image/png", "QUJD", [])]),  # type: ignore[arg-type] # on purpose
        ("user", [ImageBlock("image/png", "QUJD", None)]),  # type: ignore[arg-type] # on purpose
        ("user", [ImageBlock(url="https://a", data=())]),  # type: ignore[arg-type] # on purpose
        ("user", [ImageBlock("image/" + "x" * 200, "QUJD")]),
        ("user", [FileBlock("", "text/plain", "QUJD")]),
        ("user", [TextBlock(5)]),  # type: ignore[arg-type] # on purpose
        ("user", ["text"]),
        ("user", {"text": "a"}),
        ("user", None),
        ("user", [TextBlock("")] * (checks.MAX_BLOCKS + 1)),
        ("user", [TextBlock("x" * 600_000)] * 2),
        (
            "assistant",
            [TextBlock("x" * 1_000_000), *(evolve(CALL, id=f"{n:0200}") for n in range(500))],
        ),
        ("user", [evolve(IMAGE, data="QUJD" * (checks.MAX_DATA_LENGTH // 8 + 1))] * 2),
    ],
)
def test_blocks_that_break_a_rule_are_refused(state: StateClient, role: Any, blocks: Any) -> None:
    """And nothing changes."""
    with pytest.raises(InvalidRequestError):
        state.append_message(role, blocks)

    assert state.statistics().last_seq == 0


def test_the_same_message_with_other_blocks_is_refused(state: StateClient) -> None:
    """The same once more is there already."""
    first = state.append_message("user", [IMAGE], message_id="a")

    assert state.append_message("user", [IMAGE], message_id="a") == first
    for other in ([evolve(IMAGE, data="QUJE")], [IMAGE, IMAGE], ""):
        with pytest.raises(InvalidRequestError, match="other content"):
            state.append_message("user", other, message_id="a")


def test_what_is_given_is_not_shared(state: StateClient) -> None:
    """Arguments are copied, all the way down."""
    given: dict[str, Any] = {"paths": ["a"]}
    answered(state, ToolUseBlock("c1", "run", given))
    given["paths"].append("b")

    assert state.messages()[0].tool_uses[0].arguments == {"paths": ["a"]}


# ----- calls --------------------------------------------------------------------


def test_the_result_of_a_call_becomes_a_message_of_the_tool(state: StateClient) -> None:
    """It is there once, under the id of the call."""
    answered(state)
    called(state)
    state.add_tool_result("c1", "text", is_error=True)
    said, result = state.messages()

    assert said.tool_uses == (CALL,)
    assert (result.role, result.id, result.content) == ("tool", "c1", "text")
    assert result.blocks == (ToolResultBlock("c1", "text", is_error=True, message_id="a"),)
    assert state.tool_call("c1") == state.tool_calls()[0]
    assert [type(event) for event in state.events(after_seq=2)] == [ToolResult]


@pytest.mark.parametrize(
    ("call_id", "message_id"), [("c1", "b"), ("c2", "a"), ("c1", "u"), ("c1", "s")]
)
def test_a_call_that_no_message_asks_for_is_refused(
    state: StateClient, call_id: str, message_id: str
) -> None:
    """Nor one of a message that is being said."""
    answered(state)
    state.append_message("user", "c1", message_id="u")
    state.begin_stream(message_id="s")
    state.append_block("s", evolve(CALL, id="c3"), offset=0)
    with pytest.raises(InvalidRequestError, match="asks for the call"):
        state.add_tool_call("run", {}, call_id=call_id, message_id=message_id)


def test_an_id_of_a_call_is_not_taken_again(state: StateClient) -> None:
    """Not by another message either, nor after the call was dropped: servers give ids again."""
    answered(state)
    called(state)
    state.add_tool_result("c1", "text")
    state.add_tool_call("run", {}, call_id="untied")
    for block in (CALL, ToolUseBlock("untied", "run", {})):
        with pytest.raises(InvalidRequestError, match="there already"):
            answered(state, block, message_id="b")
    state.begin_stream(message_id="s")
    with pytest.raises(InvalidRequestError, match="there already"):
        state.append_block("s", CALL, offset=0)
    for _ in range(limits.MAX_TOOL_CALLS):
        state.add_tool_call("run")

    assert state.tool_call("c1") is None
    with pytest.raises(InvalidRequestError, match="there already"):
        called(state)


# ----- streams ------------------------------------------------------------------


def stream_all(state: StateClient) -> None:
    state.begin_stream(message_id="s")
    state.append_chunk("s", "I wond", offset=0, kind="reasoning")
    state.append_chunk("s", "er", offset=6, kind="reasoning")
    state.append_block("s", ReasoningBlock("", "signed"), offset=8)
    state.append_chunk("s", "let me ", offset=8)
    state.append_chunk("s", "look", offset=15)
    state.append_block("s", CALL, offset=19)
    state.append_block("s", OTHER, offset=19)
    state.append_chunk("s", "more", offset=19, kind="reasoning")


SAID = (ReasoningBlock("I wonder", "signed"), TextBlock("let me look"), CALL, OTHER)


def test_a_stream_carries_all_that_an_answer_is(state: StateClient) -> None:
    """In its order; what came in pieces is one block, and a signature is with its reasoning."""
    stream_all(state)
    message = state.end_stream("s", completion=Completion(model="m", stop_reason="tool_calls"))

    assert message.content == "let me look"
    assert message.blocks == (*SAID, ReasoningBlock("more"))
    assert message.completion == Completion(model="m", stop_reason="tool_calls")
    assert state.messages() == [message]


def test_what_is_sent_again_in_a_stream_is_there_once(state: StateClient) -> None:
    """Each chunk and each block, by its offset."""
    state.begin_stream(message_id="s")
    for _ in range(2):
        assert state.append_chunk("s", "hm", offset=0, kind="reasoning") == 2
    for _ in range(2):
        assert state.append_block("s", CALL, offset=2) == 2
    for _ in range(2):
        assert state.append_chunk("s", "yes", offset=2) == 5
    assert state.append_block("s", CALL, offset=2) == 5
    assert state.append_chunk("s", "hm", offset=0, kind="reasoning") == 5

    assert state.end_stream("s").blocks == (ReasoningBlock("hm"), CALL, TextBlock("yes"))


@pytest.mark.parametrize(
    ("method", "arguments", "options"),
    [
        ("append_chunk", ("s", "ab"), {"offset": 0}),  # of another kind
        ("append_chunk", ("s", "b"), {"offset": 1, "kind": "text"}),
        ("append_chunk", ("s", "x"), {"offset": 2, "kind": "song"}),
        ("append_chunk", ("u", "x"), {"offset": 0, "kind": "reasoning"}),
        ("append_block", ("s", CALL), {"offset": 0}),
        ("append_block", ("s", evolve(CALL, name="other")), {"offset": 2}),
        ("append_block", ("s", evolve(OTHER)), {"offset": 3}),
        ("append_block", ("s", OTHER), {"offset": -1}),
        ("append_block", ("s", OTHER), {"offset": 10**5000}),
        ("append_block", ("s", TextBlock("x")), {"offset": 2}),
        ("append_block", ("s", ReasoningBlock("x")), {"offset": 2}),
        ("append_block", ("s", ToolResultBlock("c", "x")), {"offset": 2}),
        ("append_block", ("u", OTHER), {"offset": 0}),
        ("append_block", ("none", OTHER), {"offset": 0}),
        ("append_block", ("s", ReasoningBlock("", "x" * 2**20)), {"offset": 2}),
        ("append_chunk", ("s", "x" * (2**20 - 10)), {"offset": 2}),
        ("end_stream", ("s",), {"completion": "stop"}),
        ("end_stream", ("s",), {"completion": Completion(usage=Usage(calls=-1))}),
        ("end_stream", ("s",), {"completion": Completion(usage=Usage(seconds=float("nan")))}),
        ("end_stream", ("s",), {"completion": Completion(model="x" * 201)}),
    ],
)
def test_what_does_not_fit_into_a_stream_is_refused(
    state: StateClient, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """And it goes on as if it had not come."""
    state.begin_stream("user", message_id="u")
    state.begin_stream(message_id="s")
    state.append_chunk("s", "ab", offset=0, kind="reasoning")
    state.append_block("s", CALL, offset=2)
    last = state.statistics().last_seq
    with pytest.raises(InvalidRequestError):
        getattr(state, method)(*arguments, **options)

    assert state.statistics().last_seq == last
    assert state.end_stream("s").blocks == (ReasoningBlock("ab"), CALL)


def test_what_waits_of_one_kind_is_written_before_another(conversation: Conversation) -> None:
    """Chunks that may wait are one chunk, as long as they are of one kind."""
    conversation.begin_stream("s")
    for offset, kind in enumerate(["reasoning", "reasoning", "text", "text"]):
        conversation.append_chunk("s", offset, "x", kind=kind, wait=True)  # type: ignore[arg-type] # it is
    assert (conversation.last_seq, conversation.waiting_length) == (2, 2)
    assert conversation.append_chunk("s", 2, "xx", wait=True) == 4
    conversation.append_block("s", CALL, offset=4)
    assert (conversation.last_seq, conversation.waiting_length) == (4, 0)
    conversation.append_chunk("s", 4, "x", kind="reasoning", wait=True)

    assert conversation.end_stream("s").blocks == (
        ReasoningBlock("xx"),
        TextBlock("xx"),
        CALL,
        ReasoningBlock("x"),
    )


def test_a_stream_that_a_crash_cut_off_has_all_that_came(session: Session, tmp_path: Path) -> None:
    """And what it asked for is in a valid history."""
    Journal.open(journal_path(tmp_path, session.id), create=True).close()
    before = recover(session, tmp_path, "process")
    stream_all(asking(before))
    before.ledger.close()
    after = recover(session, tmp_path, "process")
    (message,) = after.messages()
    history = asking(after).history()
    after.ledger.close()

    assert (message.status, message.blocks) == ("interrupted", (*SAID, ReasoningBlock("more")))
    assert [each["role"] for each in history] == ["assistant", "tool", "tool"]
    assert history[1]["content"] == NO_RESULT


# ----- the list -----------------------------------------------------------------


def test_a_history_is_what_a_request_has(state: StateClient) -> None:
    """In both formats, and as plain data."""
    state.append_message("system", "be short")
    state.append_message("user", [TextBlock("what is this?"), IMAGE])
    answered(state, ReasoningBlock("hm", "signed"), TextBlock("I look"), CALL)
    called(state)
    state.append_message("user", "well?")
    state.add_tool_result("c1", "text")
    image = {"type": "base64", "media_type": "image/png", "data": "QUJD"}

    assert state.history() == [
        {"role": "system", "content": "be short"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            ],
        },
        {
            "role": "assistant",
            "content": "I look",
            "reasoning_content": "hm",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "read_file", "arguments": '{"path": "a.py"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "text"},
        {"role": "user", "content": "well?"},
    ]
    assert state.history("anthropic") == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system>be short</system>"},
                {"type": "text", "text": "what is this?"},
                {"type": "image", "source": image},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "signed"},
                {"type": "text", "text": "I look"},
                {"type": "tool_use", "id": "c1", "name": "read_file", "input": {"path": "a.py"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "c1",
                    "content": "text",
                    "is_error": False,
                },
                {"type": "text", "text": "well?"},
            ],
        },
    ]


def test_an_id_that_is_too_long_for_a_server_is_a_short_one_there(state: StateClient) -> None:
    """OpenAI takes 40 characters. It is the same one in each request, and no two are."""
    calls = [evolve(CALL, id="x" * 198 + each) for each in ("a", "b", "\ud800")]
    answered(state, *calls, evolve(OTHER, id="y" * 40))
    for call in calls:
        called(state, call)
        state.add_tool_result(call.id, call.id)
    history = state.history()
    ids = [each["id"] for each in history[0]["tool_calls"]]

    assert [each["content"] for each in history[1:4]] == [call.id for call in calls[:2]] + [
        "x" * 198 + "\ufffd"
    ]
    assert ids[3] == "y" * 40
    assert problems(history, "openai") == []
    state.append_message("user", "and?")
    assert [each["id"] for each in state.history()[0]["tool_calls"]] == ids


def test_a_call_without_a_result_is_told_to_have_been_interrupted(state: StateClient) -> None:
    """Whether it was begun or not; and its result comes in its place once it is there."""
    answered(state, CALL, OTHER)
    called(state)
    assert [each["content"] for each in state.history()[1:]] == [NO_RESULT, NO_RESULT]
    state.append_message("user", "go on")
    state.add_tool_result("c1", "late")

    assert [each["content"] for each in state.history()[1:]] == ["late", NO_RESULT, "go on"]
    assert state.history("anthropic")[2]["content"][1]["is_error"] is True


def test_a_summary_stands_for_what_was_before(state: StateClient) -> None:
    """In the history; the messages are all there. A result without its call is left out."""
    state.append_message("user", "long ago")
    answered(state)
    called(state)
    state.add_tool_result("c1", "text")
    last = state.messages()[-1].seq
    state.append_message("user", "now")
    summary = state.summarize("it was long", upto_seq=last - 1, summary_id="s")

    assert state.summarize("it was long", upto_seq=last - 1, summary_id="s") == summary
    assert state.summary() == summary
    first, second = state.history()
    assert "it was long" in first["content"]
    assert (first["role"], second) == ("user", {"role": "user", "content": "now"})
    assert len(state.messages()) == 4
    for upto_seq in (last - 2, 100, 0):
        with pytest.raises(InvalidRequestError):
            state.summarize("no", upto_seq=upto_seq)
    with pytest.raises(InvalidRequestError):
        state.summarize(" ", upto_seq=last)
    with pytest.raises(InvalidRequestError, match="other content"):
        state.summarize("it is", upto_seq=last - 1, summary_id="s")
    state.clear_messages()
    assert (state.summary(), state.history()) == (None, [])


def test_a_history_that_is_too_long_is_refused(
    state: StateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is summarized; and a format that there is none of is, too."""
    monkeypatch.setattr(limits, "MAX_HISTORY_LENGTH", 10)
    message = state.append_message("user", "x" * 11)
    with pytest.raises(InvalidRequestError, match="summarize it"):
        state.history()
    state.summarize("an x", upto_seq=message.seq)

    assert len(state.history()) == 1
    with pytest.raises(InvalidRequestError, match="openai"):
        state.history("gemini")  # type: ignore[arg-type] # on purpose


def test_the_latest_messages_come_alone(state: StateClient) -> None:
    """Oldest first; fewer if there are not as many, or they are long."""
    messages = [state.append_message("user", str(number)) for number in range(5)]

    assert state.messages(last=2) == messages[3:]
    assert state.messages(last=1000) == messages
    for last in (0, -1, True, "2", 1001):
        with pytest.raises(InvalidRequestError, match="last"):
            state.messages(last=last)  # type: ignore[arg-type] # on purpose
    state.clear_messages()
    assert state.messages(last=1) == []
    long = [state.append_message("user", "x" * 2**20) for _ in range(6)]
    assert state.messages(last=6) == long[2:]


# ----- usage --------------------------------------------------------------------


def test_usage_is_summed_and_each_answer_counted_once(session: Session, tmp_path: Path) -> None:
    """Of streams, of whole messages and of summaries; it outlives all of that."""
    Journal.open(journal_path(tmp_path, session.id), create=True).close()
    conversation = recover(session, tmp_path, "process")
    state = asking(conversation)
    usage = Usage(
        input_tokens=10, output_tokens=4, cached_tokens=2, reasoning_tokens=1, seconds=0.5
    )
    done = Completion(usage=usage)
    state.begin_stream(message_id="s")
    for _ in range(2):
        state.end_stream("s", completion=done)
        state.append_message("assistant", "hi", message_id="a", completion=done)
        state.summarize("hi", upto_seq=1, summary_id="x", completion=done)
    state.clear_messages()
    conversation.ledger.compact()
    conversation.ledger.close()
    again = recover(session, tmp_path, "process")
    found = again.statistics().usage
    again.ledger.close()

    assert found == usage + usage + usage
    assert (found.calls, found.input_tokens, found.seconds) == (3, 30, 1.5)


# ----- approvals ----------------------------------------------------------------


def test_a_question_is_answered_once_by_anybody_after_any_crash(
    session: Session, tmp_path: Path
) -> None:
    """Both are changes; an open one stays open until somebody answers it."""
    Journal.open(journal_path(tmp_path, session.id), create=True).close()
    conversation = recover(session, tmp_path, "process")
    state = asking(conversation)
    asked = state.ask("May it?", ["yes", "no"], approval_id="p", metadata={"call": "c1"})
    assert state.ask("May it?", ["yes", "no"], approval_id="p", metadata={"call": "c1"}) == asked
    state.ask("And this?", ["yes"], approval_id="q")
    conversation.ledger.compact()
    conversation.ledger.close()
    conversation = recover(session, tmp_path, "process")
    state = asking(conversation)
    assert [each.answer for each in state.approvals()] == [None, None]
    last = state.statistics().last_seq
    answer = state.answer("p", "yes").answer
    assert answer is not None
    assert answer.option == "yes"
    assert state.answer("p", "yes").answer == answer
    assert state.events(after_seq=last) == [answer]
    with pytest.raises(InvalidRequestError, match="another answer"):
        state.answer("p", "no")
    withdrawn = state.answer("q", None).answer
    assert withdrawn is not None
    assert withdrawn.option is None
    assert [each.id for each in state.approvals(after_seq=asked.seq)] == ["q"]
    conversation.ledger.close()


def test_what_is_no_question_or_no_answer_is_refused(state: StateClient) -> None:
    """By its options, its id, its length, and by how many are open."""
    asks: list[tuple[Any, Any]] = [
        ("?", []),
        ("?", ["a", "a"]),
        ("?", "yes"),
        ("?", [""]),
        ("?", [str(number) for number in range(21)]),
        (5, ["a"]),
        ("x" * (2**20 + 1), ["a"]),
    ]
    for question, options in asks:
        with pytest.raises(InvalidRequestError):
            state.ask(question, options)
    with pytest.raises(InvalidRequestError):
        state.answer("none", "a")
    state.ask("?", ["a"], approval_id="p")
    with pytest.raises(InvalidRequestError):
        state.answer("p", "b")
    with pytest.raises(InvalidRequestError):
        state.ask("??", ["a"], approval_id="p")
    for _ in range(limits.MAX_OPEN_APPROVALS - 1):
        state.ask("?", ["a"])
    with pytest.raises(InvalidRequestError, match="wait for an answer"):
        state.ask("?", ["a"])
    state.answer("p", "a")
    assert isinstance(state.ask("?", ["a"]), Approval)
    for approval in state.approvals():
        state.answer(approval.id, "a")
    for _ in range(limits.MAX_APPROVALS):
        state.answer(state.ask("?", ["a"]).id, "a")
    assert len(state.approvals()) == limits.MAX_APPROVALS


# ----- imports ------------------------------------------------------------------


def openai_call(call_id: object = "x", arguments: object = "{}", name: object = "run") -> Any:
    return {"id": call_id, "function": {"name": name, "arguments": arguments}}


def openai_answer(*calls: object, **fields: object) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls)} | fields


def tool_use(call_id: str = "x") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "run", "input": {}}


def tool_result(call_id: str = "x", content: object = "text") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def document(text: str, title: str) -> dict[str, Any]:
    return {"type": "document", "title": title, "source": {"type": "text", "data": text}}


BROKEN: list[tuple[HistoryFormat, list[dict[str, Any]], list[str], str]] = [
    ("openai", [{"role": "tool", "tool_call_id": "x", "content": "a"}], [], "without a call"),
    ("openai", [openai_answer(openai_call())], ["assistant", "tool"], "without a result"),
    (
        "openai",
        [openai_answer(openai_call()), {"role": "user", "content": "go on"}],
        ["assistant", "tool", "user"],
        "without a result",
    ),
    (
        "openai",
        [
            openai_answer(openai_call(), openai_call()),
            {"role": "tool", "tool_call_id": "x", "content": "a"},
            {"role": "tool", "tool_call_id": "x", "content": "b"},
        ],
        ["assistant", "tool", "tool"],
        "same id",
    ),
    (
        "openai",
        [
            openai_answer(openai_call()),
            {"role": "tool", "tool_call_id": "x", "content": "a"},
            {"role": "tool", "tool_call_id": "x", "content": "a"},
        ],
        ["assistant", "tool"],
        "without a call",
    ),
    ("openai", [openai_answer(openai_call(arguments="{"))], ["assistant", "tool"], "no JSON"),
    ("openai", [openai_answer(openai_call(arguments="[]"))], ["assistant", "tool"], "no JSON"),
    (
        "openai",
        [openai_answer(openai_call(arguments='{"a":NaN}'))],
        ["assistant", "tool"],
        "no JSON",
    ),
    (
        "openai",
        [openai_answer(openai_call(arguments='{"a":' * 70 + "1" + "}" * 70))],
        ["assistant", "tool"],
        "too long",
    ),
    (
        "openai",
        [
            {"role": "system", "content": [{"type": "text", "text": 5}, {"type": "text"}]},
            {"role": "user", "content": [{"type": "text", "text": 5}, {"type": "text"}]},
        ],
        ["system", "user"],
        "'text'",
    ),
    ("openai", [openai_answer(openai_call(name=None))], ["assistant", "tool"], "proper name"),
    ("openai", [{"role": "user", "content": ""}], [], "says nothing"),
    ("openai", [openai_answer(content=None)], [], "says nothing"),
    (
        "openai",
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
        ["user"],
        "input_audio",
    ),
    ("anthropic", [{"role": "user", "content": [tool_result()]}], [], "without a call"),
    (
        "anthropic",
        [{"role": "assistant", "content": [tool_use(), tool_use()]}],
        ["user", "assistant", "user"],
        "same id",
    ),
    (
        "anthropic",
        [
            {"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": ""}]},
            {"role": "user", "content": "b"},
        ],
        ["user"],
        "says nothing",
    ),
    (
        "anthropic",
        [
            {"role": "assistant", "content": [tool_use()]},
            {"role": "user", "content": [tool_result(content=[{"type": "image"}])]},
        ],
        ["user", "assistant", "user"],
        "'image'",
    ),
    (
        "anthropic",
        [{"role": "user", "content": [document("", "empty"), document("a", "x" * 300)]}],
        ["user"],
        "'document'",
    ),
    ("anthropic", [{"role": "user", "content": [document("a", "x" * 300)]}], ["user"], "too long"),
]


@pytest.mark.parametrize(("history_format", "messages", "roles", "repair"), BROKEN)
def test_a_broken_history_is_mended(
    state: StateClient,
    history_format: HistoryFormat,
    messages: list[dict[str, Any]],
    roles: list[str],
    repair: str,
) -> None:
    """It is said how; what comes of it is valid in both formats."""
    report = state.import_history(messages, history_format)

    assert any(repair in each for each in report.repairs), report.repairs
    assert [each["role"] for each in state.history(history_format)] == roles
    assert report.messages == len(state.messages())
    for each in FORMATS:
        assert problems(state.history(each), each) == []


def test_a_sound_history_needs_no_repair(state: StateClient) -> None:
    """Ids that come again later, results out of turn, and a missing id are no fault."""
    report = state.import_history(
        [
            {"role": "developer", "content": [{"type": "text", "text": "be short"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a"}}]},
            openai_answer(
                openai_call("x"), openai_call("y", "", "grep"), reasoning="hm", content="I look"
            ),
            {"role": "tool", "tool_call_id": "y", "content": [{"type": "text", "text": "2"}]},
            {"role": "tool", "tool_call_id": "x", "content": None},
            openai_answer(openai_call("x", {"a": 1}), content="again"),
            {"role": "tool", "tool_call_id": "x", "content": "3"},
            openai_answer(openai_call(None)),
            {"role": "tool", "content": "4"},
            {"role": "assistant", "refusal": "no"},
        ]
    )

    assert report.repairs == ()
    history = state.history()
    assert [each["content"] for each in history if each["role"] == "tool"] == ["", "2", "3", "4"]
    assert history[2]["reasoning_content"] == "hm"
    assert history[-1] == {"role": "assistant", "content": "no"}
    assert problems(history, "openai") == []


def test_an_import_that_is_sent_again_goes_on(state: StateClient) -> None:
    """It is there once, whatever of it was there."""
    history = [openai_answer(openai_call(), content="a"), {"role": "user", "content": "b"}]
    state.import_history(history[:1], import_id="i")
    report = state.import_history(history, import_id="i")
    assert state.import_history(history, import_id="i") == report

    assert [each.role for each in state.messages()] == ["assistant", "tool", "user"]
    state.import_history(history)
    state.import_history(history, import_id="\ud800")
    assert len(state.messages()) == 9


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "text",
        {"role": "user"},
        [5],
        [{"content": "a"}],
        [{"role": "wizard", "content": "a"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": [5]}],
        [{"role": "user", "content": [{"text": "a"}]}],
        [{"role": "assistant", "tool_calls": [{"id": "x"}]}],
        [{"role": "assistant", "tool_calls": 5}],
        [{"role": "assistant", "content": "a", "reasoning": 5}],
        [{"role": "user", "content": object()}],
        [{"role": "user", "content": float("nan")}],
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}],
            }
        ],
        [{"role": "user", "content": "x" * (2**20 + 1)}],
        [{"role": "user", "content": "x"}] * (limits.MAX_IMPORTED + 1),
        [{"role": "user", "content": "x" * 2**20}] * 17,
        [
            openai_answer(openai_call()),
            {"role": "tool", "tool_call_id": "x", "content": "x" * (2**20 + 1)},
        ],
    ],
)
def test_what_is_no_history_is_refused(state: StateClient, messages: Any) -> None:
    """And nothing of it is there, also if what is wrong comes last."""
    before: list[Any] = [{"role": "user", "content": "before"}]
    given = before + messages if isinstance(messages, list) else messages
    with pytest.raises(InvalidRequestError):
        state.import_history(given)

    assert state.statistics().last_seq == 0
    with pytest.raises(InvalidRequestError):
        state.import_history([], "gemini")  # type: ignore[arg-type] # on purpose


def test_the_error_says_which_message_is_wrong_in_which_format(state: StateClient) -> None:
    """An app may have thousands of them, from another tool."""
    history: list[Any] = [{"role": "user", "content": "a"}, {"role": "wizard", "content": "b"}]
    with pytest.raises(InvalidRequestError) as refused:
        state.import_history(history)
    assert refused.value.message == (
        "message 1 of the history is no message of the format 'openai'"
    )


def test_the_checker_can_fail() -> None:
    """Each rule of it refuses something; else the tests with it prove nothing."""
    call = openai_answer(openai_call() | {"type": "function"}, content=None)
    long = openai_call("x" * 41) | {"type": "function"}
    result = {"role": "tool", "tool_call_id": "x", "content": ""}
    ask: dict[str, Any] = {"role": "user", "content": "a"}
    said: dict[str, Any] = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    asked: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "a"}]}
    use: dict[str, Any] = {"role": "assistant", "content": [tool_use()]}
    done = {"role": "user", "content": [tool_result() | {"is_error": False}]}
    bad: list[tuple[HistoryFormat, list[dict[str, Any]]]] = [
        ("openai", [call]),
        ("openai", [call | {"tool_calls": [long]}, result | {"tool_call_id": long["id"]}]),
        ("openai", [call, ask]),
        ("openai", [result]),
        ("openai", [call, result, result]),
        ("openai", [call, result, call, result]),
        ("openai", [{"role": "user", "content": " "}]),
        ("openai", [{"role": "assistant", "content": ""}]),
        ("openai", [{"role": "user", "content": "\ud800"}]),
        ("anthropic", [said]),
        ("anthropic", [asked, asked]),
        ("anthropic", [asked, use]),
        ("anthropic", [asked, use, asked]),
        ("anthropic", [asked, use, done, use, done]),
        ("anthropic", [done]),
    ]
    for history_format, messages in bad:
        assert problems(messages, history_format), json.dumps(messages)
    assert problems([ask, call, result], "openai") == []
    assert problems([asked, use, done], "anthropic") == []


def test_an_interrupted_call_says_so_to_the_model(session: Session, tmp_path: Path) -> None:
    """What State wrote down for it at its start, and not that there is no result."""
    Journal.open(journal_path(tmp_path, session.id), create=True).close()
    conversation = recover(session, tmp_path, "process")
    state = asking(conversation)
    answered(state)
    called(state)
    conversation.ledger.close()
    conversation = recover(session, tmp_path, "process")
    history = asking(conversation).history()
    conversation.ledger.close()

    assert history[-1] == {"role": "tool", "tool_call_id": "c1", "content": INTERRUPTED_CALL}

"""The data of a State, without any process."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from attrs import frozen
from conversations import snapshot
from hypothesis import given, strategies as st

from jidocode.errors import EventGapError, InvalidRequestError
from jidocode.session.conversation import limits
from jidocode.session.conversation.changes import Message, Todo, new_record_id
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.limits import MAX_MESSAGES, MAX_TOOL_CALLS
from jidocode.session.record import Session


@pytest.fixture
def conversation(session: Session) -> Conversation:
    """An empty conversation."""
    return Conversation.in_memory(session)


def append(conversation: Conversation, count: int, content: str = "text") -> list[Message]:
    """Append *count* messages."""
    return [conversation.append_message(new_record_id(), "user", content) for _ in range(count)]


# ----- messages ---------------------------------------------------------------


def test_it_begins_empty(conversation: Conversation, session: Session) -> None:
    """No message, no todo, no call; the session's record is there."""
    figures = conversation.statistics()

    assert (conversation.messages(), conversation.tool_calls()) == ([], [])
    assert conversation.todos() == ()
    assert (figures.messages, figures.tool_calls, figures.last_seq) == (0, 0, 0)
    assert conversation.session is session
    assert conversation.repair.clean


def test_messages_are_kept_in_order_with_all_they_came_with(conversation: Conversation) -> None:
    """Oldest first; sequence numbers grow from 1."""
    before = datetime.now(UTC)
    first = conversation.append_message("a", "user", "hello", {"tokens": 3, "tags": ["x"]})
    second = conversation.append_message("b", "assistant", "")

    assert conversation.messages() == [first, second]
    assert (first.seq, first.id, first.role, first.content) == (1, "a", "user", "hello")
    assert first.metadata == {"tokens": 3, "tags": ["x"]}
    assert (second.seq, second.role, second.content, second.metadata) == (2, "assistant", "", {})
    assert timedelta() <= first.created_at - before < timedelta(minutes=1)


def test_metadata_is_not_shared_with_whoever_gave_it(conversation: Conversation) -> None:
    """A later change of the given mapping changes nothing here."""
    metadata: OrderedDict[str, Any] = OrderedDict(tags=["a"])
    conversation.append_message("a", "user", "x", metadata)
    metadata["tags"].append("b")

    assert conversation.messages()[0].metadata == {"tags": ["a"]}


def test_a_second_append_with_the_same_id_changes_nothing(conversation: Conversation) -> None:
    """Whoever is not sure that the first one arrived may try again."""
    first = conversation.append_message("a", "user", "hello")
    append(conversation, 1)

    assert conversation.append_message("a", "user", "hello") is first
    assert [message.seq for message in conversation.messages()] == [1, 2]


OTHER_CONTENT: list[tuple[str, list[Any], list[list[Any]]]] = [
    (
        "append_message",
        ["user", "hi", {"n": 1, "m": [2]}],
        [
            ["assistant", "hi", {"n": 1, "m": [2]}],
            ["user", "hi!", {"n": 1, "m": [2]}],
            ["user", "hi"],
            ["user", "hi", {"n": True, "m": [2]}],
            ["user", "hi", {"n": 1.0, "m": [2]}],
            ["user", "hi", {"n": 1, "m": [2], "o": None}],
        ],
    ),
    ("begin_stream", ["user", {"n": 1}], [["assistant", {"n": 1}], ["user"], ["user", {"n": "1"}]]),
    ("add_reasoning_step", ["hm"], [["hm "]]),
    (
        "add_tool_call",
        ["run", {"argv": ["a", "b"]}],
        [["walk", {"argv": ["a", "b"]}], ["run", {"argv": ["b", "a"]}], ["run"]],
    ),
    ("add_prompt", ["do it"], [["do"], [" "]]),
]


@pytest.mark.parametrize(
    ("method", "content", "others"), OTHER_CONTENT, ids=[each[0] for each in OTHER_CONTENT]
)
def test_the_same_under_the_same_id_is_one_and_something_else_is_refused(
    conversation: Conversation, method: str, content: list[Any], others: list[list[Any]]
) -> None:
    """The refusal names the id, and nothing changes."""
    add = getattr(conversation, method)
    first = add("the id", *content)
    for other in others:
        with pytest.raises(InvalidRequestError, match=r"'the id' .* other content"):
            add("the id", *other)

    assert add("the id", *content) is first
    assert conversation.last_seq == 1


def test_what_ended_otherwise_is_not_taken_for_an_append(conversation: Conversation) -> None:
    """A message that was cut short is no whole one, though it says the same."""
    conversation.begin_stream("s")
    conversation.append_chunk("s", 0, "abc")
    conversation.end_stream("s", "aborted")
    with pytest.raises(InvalidRequestError, match=r"'s' .* other content"):
        conversation.append_message("s", "assistant", "abc")


def test_the_oldest_messages_are_dropped_beyond_a_thousand(conversation: Conversation) -> None:
    """And it is counted."""
    append(conversation, MAX_MESSAGES + 3)
    kept = conversation.messages(limit=MAX_MESSAGES)

    assert [message.seq for message in kept] == list(range(4, MAX_MESSAGES + 4))
    assert conversation.statistics().dropped_messages == 3
    assert conversation.statistics().messages == MAX_MESSAGES


def test_clear_drops_messages_and_the_sequence_goes_on(conversation: Conversation) -> None:
    """A reader who pages by sequence number misses nothing that comes after."""
    append(conversation, 3)
    conversation.clear_messages()
    (fifth,) = append(conversation, 1)

    assert fifth.seq == 5
    assert conversation.messages(after_seq=3) == [fifth]
    assert conversation.statistics().dropped_messages == 0


@given(
    sizes=st.lists(st.integers(0, 30), max_size=20),
    limit=st.integers(1, 25),
    drop=st.integers(1, 20),
)
def test_pages_neither_repeat_nor_skip(sizes: list[int], limit: int, drop: int) -> None:
    """Whatever the page's length, short of what was dropped on the way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_MESSAGES", drop)
        patch.setattr(limits, "MAX_PAGE_LENGTH", 50)
        conversation = Conversation.in_memory(cast("Session", None))
        for size in sizes:
            append(conversation, 1, "x" * size)
        seen: list[int] = []
        while page := conversation.messages(after_seq=seen[-1] if seen else 0, limit=limit):
            assert len(page) <= limit
            assert len(page) == 1 or sum(message.length for message in page) <= 50
            seen += [message.seq for message in page]

    assert seen == list(range(1, len(sizes) + 1))[-drop:]


@pytest.mark.parametrize(
    "arguments",
    [
        ("", "user", "x"),
        ("x" * 201, "user", "x"),
        (None, "user", "x"),
        (7, "user", "x"),
        ("a", "wizard", "x"),
        ("a", None, "x"),
        ("a", ["user"], "x"),
        ("a", "user", None),
        ("a", "user", b"x"),
        ("a", "user", "x" * (2**20 + 1)),
        ("a", "user", "x", []),
        ("a", "user", "x", {1: 2}),
        ("a", "user", "x", {"k": object()}),
        ("a", "user", "x", {"k": float("nan")}),
        ("a", "user", "x", {"k": "x" * 2**20}),
        ("a", "user", "x", json.loads('{"k":' * 65 + "{}" + "}" * 65)),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused_and_nothing_changes(
    conversation: Conversation, arguments: tuple[Any, ...]
) -> None:
    """The message of the error is short, whatever came."""
    with pytest.raises(InvalidRequestError) as caught:
        conversation.append_message(*arguments)

    assert len(str(caught.value)) < 250
    assert conversation.statistics().last_seq == 0


@pytest.mark.parametrize(
    "options", [{"after_seq": -1}, {"after_seq": None}, {"limit": 0}, {"limit": "all"}]
)
def test_a_page_that_cannot_be_is_refused(
    conversation: Conversation, options: dict[str, Any]
) -> None:
    """For messages and tool calls alike."""
    for read in (conversation.messages, conversation.tool_calls):
        with pytest.raises(InvalidRequestError):
            read(**options)


# ----- todos ------------------------------------------------------------------


def test_todos_are_replaced_as_a_whole(conversation: Conversation) -> None:
    """The last list counts, also an empty one."""
    todos = [Todo("test"), Todo("ship", "in_progress"), Todo("plan", "completed")]

    assert conversation.replace_todos(todos) == tuple(todos)
    assert conversation.replace_todos((Todo("rest"),)) == (Todo("rest"),)
    assert conversation.todos() == (Todo("rest"),)
    assert conversation.replace_todos([]) == ()


@frozen(eq=False, repr=False)
class UrgentTodo(Todo):
    """What an app might make of a todo; a journal would not know it."""

    deadline: str = "today"


@pytest.mark.parametrize(
    "todos",
    [
        None,
        "test",
        {"content": "test"},
        [{"content": "test", "status": "pending"}],
        [Todo("fine"), Todo("")],
        [Todo(" \n")],
        [Todo(cast("str", None))],
        [Todo("x", cast("Any", "done"))],
        [Todo("x")] * 1001,
        [UrgentTodo("x")],
    ],
)
def test_a_list_with_one_bad_todo_is_refused_whole(
    conversation: Conversation, todos: object
) -> None:
    """The old list stays."""
    conversation.replace_todos([Todo("old")])
    with pytest.raises(InvalidRequestError):
        conversation.replace_todos(cast("list[Todo]", todos))

    assert conversation.todos() == (Todo("old"),)


# ----- tool calls -------------------------------------------------------------


def test_a_tool_call_gets_its_result(conversation: Conversation) -> None:
    """Calls share the sequence of the messages."""
    append(conversation, 1)
    call = conversation.add_tool_call("c", "read_file", {"path": "x"})
    done = conversation.add_tool_result("c", "text")

    assert (call.seq, call.id, call.name, call.arguments) == (2, "c", "read_file", {"path": "x"})
    assert call.result is None
    assert conversation.tool_calls() == [done]
    assert done.result is not None
    assert (done.result.call_id, done.result.content, done.result.is_error) == ("c", "text", False)
    assert (done.seq, append(conversation, 1)[0].seq) == (2, 4)


def test_a_tool_call_and_its_result_may_be_sent_again(conversation: Conversation) -> None:
    """The first ones count; another result is refused."""
    call = conversation.add_tool_call("c", "run")
    done = conversation.add_tool_result("c", "boom", is_error=True)

    assert conversation.add_tool_result("c", "boom", is_error=True) is done
    assert conversation.add_tool_call("c", "run") is done
    for content, is_error in [("boom", False), ("fine", True)]:
        with pytest.raises(InvalidRequestError, match="another result"):
            conversation.add_tool_result("c", content, is_error=is_error)
    assert (call.seq, done.seq, conversation.statistics().last_seq) == (1, 1, 2)


def test_the_oldest_tool_calls_are_dropped_beyond_five_hundred(
    conversation: Conversation,
) -> None:
    """A result for a call that was dropped is refused."""
    for number in range(MAX_TOOL_CALLS + 2):
        conversation.add_tool_call(str(number), "run")

    assert conversation.tool_calls(limit=1)[0].id == "2"
    assert conversation.statistics().dropped_tool_calls == 2
    with pytest.raises(InvalidRequestError, match="no tool call '1'"):
        conversation.add_tool_result("1", "late")


@pytest.mark.parametrize(
    ("method", "args", "options"),
    [
        ("add_tool_call", ["", "run"], {}),
        ("add_tool_call", ["c", ""], {}),
        ("add_tool_call", ["c", None], {}),
        ("add_tool_call", ["c", "run", ["x"]], {}),
        ("add_tool_result", ["unknown", "x"], {}),
        ("add_tool_result", [["known"], "x"], {}),
        ("add_tool_result", ["known", None], {}),
        ("add_tool_result", ["known", "x"], {"is_error": "yes"}),
    ],
)
def test_a_tool_call_that_breaks_a_rule_is_refused_and_nothing_changes(
    conversation: Conversation, method: str, args: list[Any], options: dict[str, Any]
) -> None:
    """Neither the call nor the sequence."""
    known = conversation.add_tool_call("known", "run")
    with pytest.raises(InvalidRequestError):
        getattr(conversation, method)(*args, **options)

    assert conversation.tool_calls() == [known]
    assert conversation.statistics().last_seq == 1


# ----- the record, and changes in general -------------------------------------


def test_a_new_record_is_a_change_and_the_same_one_is_none(
    conversation: Conversation, session: Session
) -> None:
    """It gets a number like any other."""
    conversation.session = session
    assert conversation.statistics().last_seq == 0
    conversation.session = updated = session.update_config({"temperature": 1.5})

    assert conversation.session == updated
    assert conversation.statistics().last_seq == 1


def test_the_changes_of_a_conversation_rebuild_it(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the events of it has the whole conversation."""
    monkeypatch.setattr(limits, "MAX_MESSAGES", 2)
    original = Conversation.in_memory(session)
    append(original, 2)
    original.clear_messages()
    append(original, 3)
    original.append_message(original.messages()[0].id, "user", "text")
    original.add_tool_call("c", "run", {"x": 1})
    original.add_tool_result("c", "done")
    original.replace_todos([Todo("x")])
    original.session = session.update_config({"model": "m"})
    changes = original.events(after_seq=0)
    copy = Conversation.in_memory(session)
    for change in pickle.loads(pickle.dumps(changes)):
        copy._fold.apply(change)

    assert len(changes) == 10
    assert snapshot(copy) == snapshot(original)


# ----- messages that come in chunks -------------------------------------------


def test_a_streamed_message_has_all_its_chunks(conversation: Conversation) -> None:
    """It takes its place among the messages when it ends, with what it began with."""
    began = conversation.begin_stream("s", "assistant", {"model": "m"})
    length = conversation.append_chunk("s", 0, "why ")
    length = conversation.append_chunk("s", length, "not")
    append(conversation, 1)
    assert conversation.streams() == (began,)
    message = conversation.end_stream("s")

    assert (length, message.content, message.status) == (7, "why not", "complete")
    assert (message.id, message.role, message.metadata) == ("s", "assistant", {"model": "m"})
    assert [each.content for each in conversation.messages()] == ["text", "why not"]
    assert conversation.streams() == ()
    assert (began.seq, message.seq) == (1, 5)


def test_everything_about_a_stream_may_be_sent_again(conversation: Conversation) -> None:
    """And changes nothing then."""
    began = conversation.begin_stream("s")
    conversation.append_chunk("s", 0, "abc")
    conversation.append_chunk("s", 3, "def")

    assert conversation.begin_stream("s") is began
    assert conversation.append_chunk("s", 0, "abc") == 6
    assert conversation.append_chunk("s", 3, "def") == 6
    assert conversation.append_chunk("s", 6, "") == 6
    ended = conversation.end_stream("s")
    assert conversation.end_stream("s") is ended
    assert conversation.append_message("s", "assistant", "abcdef") is ended
    assert ended.content == "abcdef"
    assert conversation.last_seq == 4


def test_chunks_that_wait_are_written_down_together(conversation: Conversation) -> None:
    """By a flush, by a chunk that does not wait, or by the end."""
    conversation.begin_stream("s")
    for offset, text in enumerate("abc"):
        assert conversation.append_chunk("s", offset, text, wait=True) == offset + 1
    assert (conversation.last_seq, conversation.waiting_length) == (1, 3)
    conversation.flush()
    assert (conversation.last_seq, conversation.waiting_length) == (2, 0)
    conversation.append_chunk("s", 3, "d", wait=True)
    conversation.append_chunk("s", 4, "e")
    assert (conversation.last_seq, conversation.waiting_length) == (3, 0)
    conversation.append_chunk("s", 5, "f", wait=True)
    conversation.flush()
    conversation.flush()
    conversation.append_chunk("s", 6, "g", wait=True)

    assert conversation.end_stream("s").content == "abcdefg"
    assert conversation.last_seq == 5


def test_several_messages_may_be_streamed_at_once(conversation: Conversation) -> None:
    """They do not mix, and there are not too many."""
    for number in range(limits.MAX_STREAMS):
        conversation.begin_stream(str(number))
        conversation.append_chunk(str(number), 0, str(number))
    with pytest.raises(InvalidRequestError, match="streamed already"):
        conversation.begin_stream("more")
    ended = [conversation.end_stream(stream.id).content for stream in conversation.streams()]

    assert ended == [str(number) for number in range(limits.MAX_STREAMS)]


STREAM_REFUSALS: list[tuple[str, list[Any]]] = [
    ("begin_stream", ["", "user"]),
    ("begin_stream", ["x", "wizard"]),
    ("begin_stream", ["x", "user", []]),
    ("begin_stream", ["whole"]),
    ("append_message", ["s", "user", "x"]),
    ("append_chunk", ["unknown", 0, "x"]),
    ("append_chunk", ["whole", 0, "x"]),
    ("append_chunk", [["s"], 0, "x"]),
    ("append_chunk", ["s", 2, "x"]),
    ("append_chunk", ["s", 4, "x"]),
    ("append_chunk", ["s", 0, "abd"]),
    ("append_chunk", ["s", "3", "x"]),
    ("append_chunk", ["s", 3, b"x"]),
    ("append_chunk", ["s", 3, "x" * 2**20]),
    ("append_chunk", ["s", 10**5000, "x"]),
    ("end_stream", ["unknown"]),
    ("end_stream", [None]),
    ("end_stream", ["s", "maybe"]),
    ("end_stream", ["whole", "aborted"]),
]


@pytest.mark.parametrize(("method", "arguments"), STREAM_REFUSALS)
def test_a_stream_that_breaks_a_rule_is_refused_and_nothing_changes(
    conversation: Conversation, method: str, arguments: list[Any]
) -> None:
    """It goes on as if that had not been asked."""
    conversation.append_message("whole", "user", "")
    conversation.begin_stream("s")
    conversation.append_chunk("s", 0, "abc")
    with pytest.raises(InvalidRequestError) as caught:
        getattr(conversation, method)(*arguments)

    assert len(str(caught.value)) < 250
    assert conversation.last_seq == 3
    assert conversation.end_stream("s", "aborted").content == "abc"


# ----- the rest of a session --------------------------------------------------


def test_reasoning_steps_are_kept_in_order_up_to_a_hundred(conversation: Conversation) -> None:
    """A known id adds nothing; all can be dropped."""
    steps = [conversation.add_reasoning_step(str(number), "hm") for number in range(102)]

    assert conversation.add_reasoning_step("101", "hm") is steps[-1]
    assert conversation.reasoning(limit=1000) == steps[2:]
    assert conversation.reasoning(after_seq=steps[50].seq, limit=1) == [steps[51]]
    conversation.clear_reasoning()
    assert conversation.reasoning() == []


def test_tool_context_is_replaced_and_settings_are_merged(conversation: Conversation) -> None:
    """None takes a setting out."""
    conversation.replace_tool_context({"cwd": "/a", "seen": [1]})
    conversation.replace_tool_context({"cwd": "/b"})
    conversation.update_settings({"theme": "dark", "wrap": True})

    assert conversation.update_settings({"theme": "light", "wrap": None}) == {"theme": "light"}
    assert conversation.settings() == {"theme": "light"}
    assert conversation.tool_context() == {"cwd": "/b"}


def test_prompts_are_kept_up_to_a_hundred_without_blank_ones(conversation: Conversation) -> None:
    """Oldest first; a known one adds nothing."""
    for number in range(102):
        conversation.add_prompt(str(number), f"prompt {number}")
    conversation.add_prompt("101", "prompt 101")
    conversation.add_prompt("blank", " \n")

    assert [prompt.text for prompt in conversation.prompts(limit=1000)] == [
        f"prompt {number}" for number in range(2, 102)
    ]


def test_the_last_access_of_each_kind_is_kept_for_each_file(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that was not touched for the longest time is forgotten first."""
    monkeypatch.setattr(limits, "MAX_FILE_ACCESSES", 3)
    conversation = Conversation.in_memory(conversation.session)
    digests = [character * 64 for character in "abcde"]
    conversation.add_file_access("x", "read", digests[0])
    written = conversation.add_file_access("x", "write", digests[1])
    conversation.add_file_access("y", "read", digests[2])
    again = conversation.add_file_access("x", "read", digests[3])

    assert conversation.file_access("x", "read") == again
    assert conversation.file_access("x", "write") == written
    conversation.add_file_access("z", "read", digests[4])
    assert conversation.file_access("x", "write") is None
    assert [access.path for access in conversation.file_accesses()] == ["y", "x", "z"]


OTHER_REFUSALS: list[tuple[str, list[Any]]] = [
    ("add_reasoning_step", ["", "x"]),
    ("add_reasoning_step", ["a", None]),
    ("replace_tool_context", [[]]),
    ("replace_tool_context", [{"k": "x" * 2**20}]),
    ("update_settings", [{1: 2}]),
    ("update_settings", [{"k": "x" * (2**20 - 20)}]),
    ("add_prompt", ["a", 7]),
    ("add_prompt", [None, "x"]),
    ("add_file_access", ["", "read", "a" * 64]),
    ("add_file_access", ["x" * 4097, "read", "a" * 64]),
    ("add_file_access", ["x", "look", "a" * 64]),
    ("add_file_access", ["x", "read", "A" * 64]),
    ("file_access", [7, "read"]),
    ("file_access", ["x", []]),
    ("replace_todos", [[Todo("x" * 2**19)] * 3]),
    ("events", []),
]


@pytest.mark.parametrize(("method", "arguments"), OTHER_REFUSALS)
def test_what_breaks_a_rule_is_refused_and_nothing_changes(
    conversation: Conversation, method: str, arguments: list[Any]
) -> None:
    """Whatever it is."""
    conversation.update_settings({"long": "y" * 100})
    options = {"after_seq": -1} if method == "events" else {}
    with pytest.raises(InvalidRequestError) as caught:
        getattr(conversation, method)(*arguments, **options)

    assert len(str(caught.value)) < 250
    assert conversation.last_seq == 1


def test_memory_is_bounded_in_characters_too(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content, metadata, arguments and results count; the last record is kept in any case."""
    monkeypatch.setattr(limits, "MAX_KEPT_LENGTH", 1000)
    conversation = Conversation.in_memory(conversation.session)
    append(conversation, 50, "x" * 300)
    assert len(conversation.messages()) == 3
    conversation.append_message("m", "user", "", {"k": "y" * 500})
    conversation.append_message("n", "user", "z" * 5000)
    for number in range(3):
        conversation.add_tool_call(str(number), "run", {"k": "y" * 200})
    done = conversation.add_tool_result("0", "z" * 700)
    assert conversation.tool_calls() == [done]
    assert conversation.statistics().dropped_tool_calls == 2
    conversation.add_tool_call("2", "run", {"k": "y" * 900})

    assert [message.id for message in conversation.messages()] == ["n"]
    assert [call.id for call in conversation.tool_calls()] == ["2"]


# ----- events -----------------------------------------------------------------


def test_events_are_the_changes_with_their_numbers(conversation: Conversation) -> None:
    """One by one, in pages; none after the last one."""
    (message,) = append(conversation, 1)
    conversation.add_tool_call("c", "run")
    conversation.add_tool_result("c", "x")
    events = conversation.events(after_seq=0)

    assert events[0] == message
    assert [event.seq for event in events] == [1, 2, 3]
    assert [type(event).__name__ for event in events] == ["Message", "ToolCall", "ToolResult"]
    assert conversation.events(after_seq=1, limit=1) == events[1:2]
    assert conversation.events(after_seq=3) == []


def test_an_event_that_is_not_there_is_said(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropped from memory, or in the future: never a gap in silence."""
    monkeypatch.setattr(limits, "MAX_EVENTS", 3)
    conversation = Conversation.in_memory(conversation.session)
    append(conversation, 5)
    for after_seq in (0, 1, 6):
        with pytest.raises(EventGapError) as caught:
            conversation.events(after_seq=after_seq)
        assert caught.value.resume_after == 2

    assert [event.seq for event in conversation.events(after_seq=2)] == [3, 4, 5]

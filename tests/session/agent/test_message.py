"""What deltas add up to, and what the events of a server are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from jidocode.errors import ModelInterruptedError
from jidocode.session.agent.chunks import ChunkReader, read_chunk
from jidocode.session.agent.message import CalledTool, MessageBuilder, ModelMessage
from jidocode.session.agent.model import (
    MOST_CALLS,
    Delta,
    ReasoningDelta,
    Stop,
    StopReason,
    TextDelta,
    TokenUsage,
    ToolCallDelta,
)


def whole(deltas: Iterable[Delta], taken: Iterable[str] = ()) -> ModelMessage:
    numbers = itertools.count(1)
    builder = MessageBuilder(lambda: f"ours-{next(numbers)}", set(taken))
    for delta in deltas:
        builder.add(delta)
    return builder.message()


def read(*events: object) -> list[Delta]:
    reader = ChunkReader()
    return [delta for event in events for delta in reader.read(read_chunk(json.dumps(event)))]


def delta(**fields: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": fields}]}


texts = st.text(max_size=12)
calls = st.builds(ToolCallDelta, st.integers(0, 3), st.sampled_from("ab"), texts, texts)
deltas = st.one_of(
    st.builds(TextDelta, texts),
    st.builds(ReasoningDelta, texts, texts),
    calls,
    st.builds(Stop, st.sampled_from(StopReason)),
)


def cut(text: str, places: list[int]) -> Iterator[str]:
    """Yield *text* in pieces, some of them empty."""
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    for start, stop in itertools.pairwise(edges):
        yield text[start:stop]


def split(piece: Delta, places: list[int]) -> Iterator[Delta]:
    match piece:
        case TextDelta():
            yield from map(TextDelta, cut(piece.text, places))
        case ReasoningDelta():
            yield ReasoningDelta("", piece.signature)
            yield from map(ReasoningDelta, cut(piece.text, places))
        case ToolCallDelta():
            first, *rest = cut(piece.arguments, places)
            yield ToolCallDelta(piece.index, piece.id, piece.name, first)
            for number, arguments in enumerate(rest):
                again = number % 2 == 0  # some servers repeat the name in every fragment
                yield ToolCallDelta(piece.index, "", piece.name if again else "", arguments)
        case _:
            yield piece


@given(st.lists(deltas), st.lists(st.integers(0, 20), max_size=4))
def test_however_an_answer_is_cut_it_is_the_same(whole_deltas: list[Delta], at: list[int]) -> None:
    """Only the order of the pieces of each part counts."""
    pieces = [piece for each in whole_deltas for piece in split(each, at)]

    assert whole(pieces) == whole(whole_deltas)


@given(st.lists(calls))
def test_every_call_has_an_id_of_its_own(pieces: list[Delta]) -> None:
    """Also if the server gives two the same one, or one that was taken before."""
    ids = [call.id for call in whole(pieces, taken=["a"]).tool_calls]

    assert len(set(ids)) == len(ids)
    assert "" not in ids
    assert "a" not in ids


@given(st.lists(st.tuples(st.integers(0, 2), st.text('{}"x:1', max_size=6)), max_size=12))
def test_fragments_of_calls_are_merged_by_index(fragments: list[tuple[int, str]]) -> None:
    """However the fragments of several calls are mixed; only the first has a name."""
    named: set[int] = set()
    events: list[object] = []
    expected: dict[int, str] = {}
    for index, arguments in fragments:
        first = index not in named
        named.add(index)
        function = {"arguments": arguments, **({"name": f"tool{index}"} if first else {})}
        events.append(delta(tool_calls=[{"index": index, "function": function}]))
        expected[index] = expected.get(index, "") + arguments
    found = {call.name: call.arguments for call in whole(read(*events)).tool_calls}

    assert found == {f"tool{index}": arguments for index, arguments in expected.items()}


def fragment(**fields: object) -> dict[str, object]:
    return delta(tool_calls=[fields])


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            [
                fragment(index=0, id="c", function={"name": "read", "arguments": '{"a"'}),
                fragment(index=0, id="c", function={"name": "read", "arguments": ":1}"}),
            ],
            [CalledTool("c", "read", '{"a":1}')],
            id="name and id again in every fragment",
        ),
        pytest.param(
            [
                fragment(index=0, id="r1", function={"name": "read", "arguments": "{"}),
                fragment(index=0, id="r2", function={"arguments": "}"}),
                fragment(index=0, id="r3", function={"arguments": ""}),
            ],
            [CalledTool("r1", "read", "{}")],
            id="another id in every fragment",
        ),
        pytest.param(
            [
                fragment(index=0, id="c1", function={"name": "read", "arguments": "{}"}),
                fragment(index=0, id="c2", function={"name": "read", "arguments": '{"a":1}'}),
            ],
            [CalledTool("c1", "read", "{}"), CalledTool("c2", "read", '{"a":1}')],
            id="all calls are number 0",
        ),
        pytest.param(
            [
                fragment(id="c1", function={"name": "read", "arguments": "{}"}),
                fragment(id="c2", function={"name": "read", "arguments": "{"}),
                fragment(function={"arguments": "}"}),
            ],
            [CalledTool("c1", "read", "{}"), CalledTool("c2", "read", "{}")],
            id="no index",
        ),
        pytest.param(
            [
                fragment(index=0, type=None, function={"name": "read", "arguments": None}),
                fragment(index=0, id=7, function=None),
                fragment(index=0, function={"name": "", "arguments": {"a": 1}}),
            ],
            [CalledTool("7", "read", '{"a": 1}')],
            id="nulls, a number, and an object",
        ),
    ],
)
def test_calls_of_tools_as_servers_send_them(events: list[object], expected: list[object]) -> None:
    """Each of these is what some server does."""
    assert list(whole(read(*events)).tool_calls) == expected


def test_a_call_without_an_id_gets_one_of_ours() -> None:
    """So its result can be tied to it."""
    (call,) = whole(read(fragment(index=0, function={"name": "read"}))).tool_calls

    assert call == CalledTool("ours-1", "read", "")


def test_reasoning_has_several_names() -> None:
    """And may come as blocks, beside text."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "c"}]}
    message = whole(
        read(
            delta(reasoning_content="a", reasoning="a"),
            delta(reasoning="b"),
            delta(reasoning={"effort": "none"}),
            delta(content=[thought, {"type": "text", "text": "d"}, 7, {"type": "image"}]),
            delta(content=[{"type": "thinking", "thinking": "e"}]),
        )
    )

    assert (message.reasoning, message.text) == ("abce", "d")


def test_what_may_be_missing_may_be_missing() -> None:
    """Choices, deltas, content, usage; and what nobody knows is left alone."""
    events: list[Any] = [{}, {"choices": []}, {"choices": None, "usage": None}, {"choices": [{}]}]
    events += [delta(role="assistant", content=None), delta(content=""), {"new": {"x": []}}]

    assert read(*events) == []


def test_the_last_usage_counts() -> None:
    """Some servers send it with every event."""
    details = {"prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": None}
    first: dict[str, Any] = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    last: dict[str, Any] = {
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 9, **details},
    }

    assert whole(read(first, last)).usage == TokenUsage(
        input_tokens=3, output_tokens=9, cached_tokens=2
    )
    assert whole(read(delta(content="x"))).usage is None


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", StopReason.END),
        ("eos", StopReason.END),
        ("tool_calls", StopReason.TOOL_CALLS),
        ("function_call", StopReason.TOOL_CALLS),
        ("length", StopReason.LENGTH),
        ("content_filter", StopReason.CONTENT_FILTER),
    ],
)
def test_why_an_answer_ended(reason: str, expected: StopReason) -> None:
    """A word that nobody knows is an end like any other; what comes after it changes nothing."""
    end: dict[str, Any] = {"choices": [{"delta": {}, "finish_reason": reason}]}
    again: dict[str, Any] = {"choices": [{"delta": {}, "finish_reason": "length"}]}

    assert whole(read(delta(content="x"), end, again)).stop == expected


def test_a_refusal_is_text_and_an_end_of_its_own() -> None:
    """What the model says instead of an answer is kept."""
    end: dict[str, Any] = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    message = whole(read(delta(refusal="I'd "), delta(refusal="rather not"), end))

    assert (message.text, message.stop) == ("I'd rather not", StopReason.REFUSAL)


@pytest.mark.parametrize("data", ["", "{", "[1]", '{"choices": 7}', "\0", "[" * 100_000])
def test_garbage_is_no_event(data: str) -> None:
    """It ends the answer, and is not quoted."""
    with pytest.raises(ModelInterruptedError) as caught:
        read_chunk(data)
    assert caught.value.__context__ is None


def test_calls_without_end_are_no_answer() -> None:
    """What a server sends is bounded."""
    reader = ChunkReader()
    event: dict[str, Any] = {
        "choices": [{"delta": {"tool_calls": [{"index": i} for i in range(MOST_CALLS + 1)]}}]
    }

    with pytest.raises(ModelInterruptedError, match="calls of tools"):
        list(reader.read(read_chunk(json.dumps(event))))

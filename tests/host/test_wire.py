"""What travels between processes comes out as it went in."""

from __future__ import annotations

import pickle
import struct

import pytest
from hypothesis import given, strategies as st

from jidocode._host import wire
from jidocode.errors import CallError

numbers = st.integers(min_value=0, max_value=2**64 - 1)
payloads = st.binary()
messages = st.one_of(
    st.builds(wire.Call, numbers, payloads),
    st.builds(wire.Cast, payloads),
    st.builds(wire.Info, payloads),
    st.builds(wire.Answer, numbers, st.booleans(), payloads),
    st.builds(wire.Ping, numbers),
    st.builds(wire.Call, numbers, payloads, st.integers(1, 2**22)),
    st.builds(wire.Part, numbers, payloads),
    st.builds(wire.Grant, numbers, st.integers(0, 2**32 - 1)),
    st.builds(wire.Hangup, numbers),
    st.builds(wire.News, st.none() | st.tuples(st.text(), st.text()), payloads),
    st.text(),
    st.tuples(numbers, payloads),
)


@given(messages)
def test_a_message_comes_out_as_it_went_in(message: object) -> None:
    """As the same type, too: tuples that are equal may mean different things."""
    decoded = wire.decode(wire.encode(message))

    assert decoded == message
    assert type(decoded) is type(message)


@given(messages)
def test_a_long_message_is_read_from_the_buffer_that_it_came_in(message: object) -> None:
    """The transport collects long bodies in a bytearray."""
    assert wire.decode(bytearray(wire.encode(message))) == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01",
        b"\x04short",
        b"\x06",
        b"\x09short",
        b"\x0a",
        b"\x0b",
        b"\x0c",
        b"\x80",
        b"no message",
    ],
)
def test_what_carries_no_message_is_refused(body: bytes) -> None:
    """Whoever sent it is told (see test_transport), and nobody else is disturbed."""
    with pytest.raises((IndexError, EOFError, struct.error, pickle.UnpicklingError)):
        wire.decode(body)


class _Touchy(str):
    """A text that exits when it is looked at."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise SystemExit


def test_what_exits_when_it_is_looked_at_is_refused() -> None:
    """As what cannot be read is: whoever reads it goes on."""
    body = wire.encode(wire.News((_Touchy("state"), "x"), b""))
    with pytest.raises(wire.UnreadableError, match="SystemExit"):
        wire.decode(body)


def test_an_answer_that_is_too_long_becomes_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller is told; an error that is too long is told as well, in short."""
    monkeypatch.setattr(wire, "MAX_BODY", 100_000)
    for answer in (wire.answer(1, bytes(100_000)), wire.refusal(1, ValueError(bytes(100_000)))):
        error = wire.unpack(answer.payload)

        assert answer.failed
        assert len(wire.encode(answer)) <= 100_000
        assert isinstance(error, CallError)
        assert "cannot be sent" in str(error)

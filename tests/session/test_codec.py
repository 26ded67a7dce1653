"""What a change is on the disk, and what is no change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jidocode.errors import JournalDamagedError, JournalVersionError
from jidocode.session.conversation.changes import SessionChanged, Todo, TodosReplaced
from jidocode.session.journal.codec import decode, encode, holds
from jidocode.session.journal.format import JournalRecord
from jidocode.session.record import Session

MESSAGE: dict[str, Any] = {
    "id": "a",
    "role": "user",
    "content": "x",
    "metadata": {},
    "created_at": "2025-01-02T03:04:05+00:00",
}


def record(value: object) -> JournalRecord:
    return JournalRecord(7, json.dumps(value).encode())


@pytest.mark.parametrize(
    "value",
    [
        {"message": {**MESSAGE, "colour": "red"}},
        {"message": {**MESSAGE, "seq": 7}},
        {"message": {**MESSAGE, "role": "wizard"}},
        {"message": {**MESSAGE, "created_at": "yesterday"}},
        {"message": {**MESSAGE, "content": 5}},
        {"message": {key: MESSAGE[key] for key in ("id", "role")}},
        {"message": [MESSAGE]},
        {"message": MESSAGE, "messages_cleared": {}},
        {"todos_replaced": {"todos": [{"content": "x", "colour": "red"}]}},
        {"todos_replaced": {"todos": {}}},
        {"messages_cleared": {"colour": "red"}},
        {},
        [],
        "message",
        7,
    ],
)
def test_what_is_no_change_is_damage(value: object) -> None:
    """Also a field that is not known: to drop it would be to lose it in silence."""
    with pytest.raises(JournalDamagedError, match="record 7"):
        decode(record(value))


@pytest.mark.parametrize("payload", [b"", b"{", b'{"a":\xff}', b"[" * 100_000, b'{"message":NaN}'])
def test_what_is_no_json_is_damage(payload: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(JournalDamagedError):
        decode(JournalRecord(7, payload))


@pytest.mark.parametrize("within", ["session", "config"])
def test_a_field_that_is_not_known_is_noticed_at_any_level(within: str, session: Session) -> None:
    """In the record of a session, and in its config."""
    fields = json.loads(encode(SessionChanged(seq=7, session=session)))["session_changed"]
    level = fields["session"] if within == "session" else fields["session"]["config"]
    assert decode(record({"session_changed": fields})) == SessionChanged(seq=7, session=session)
    level["colour"] = "red"
    with pytest.raises(JournalDamagedError):
        decode(record({"session_changed": fields}))


def test_an_unknown_tag_is_of_a_newer_version() -> None:
    """It says which; a tag that only begins like a known one is unknown, too."""
    for tag in ("picture", "message_edited"):
        with pytest.raises(JournalVersionError, match=tag):
            decode(record({tag: {}}))
    assert not holds(JournalRecord(7, b'{"todos_replaced_again":{}}'), TodosReplaced)


def test_a_change_is_one_line_of_json() -> None:
    """Its number is not in it."""
    change = TodosReplaced(seq=7, todos=(Todo("a\nb"), Todo("\u2028\ud800", "completed")))
    payload = encode(change)

    assert payload == (
        b'{"todos_replaced":{"todos":[{"content":"a\\nb","status":"pending"},'
        b'{"content":"\xe2\x80\xa8\xed\xa0\x80","status":"completed"}]}}'
    )
    assert holds(JournalRecord(7, payload), TodosReplaced)
    assert decode(JournalRecord(7, payload)) == change

"""Messages that come in chunks: what is written down of them, and what waits.

A model says a few letters at a time, and a write for each would cost more than the
letters. So a chunk may wait for more; what waits is lost with the process. The `Fold`
knows what is written down, this file adds what waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from msgspec import Struct, field

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.arguments import require_int
from jidocode.session.conversation import checks, limits
from jidocode.session.conversation.changes import (
    Message,
    MessageStatus,
    Role,
    StreamBegan,
    StreamChunk,
    now,
)
from jidocode.session.conversation.ledger import Ledger
from jidocode.session.conversation.messages import StreamedMessage


class _Waiting(Struct):
    """What waits of one message."""

    parts: list[str] = field(default_factory=list[str])
    length: int = 0

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)


class Streams:
    """The messages that are being said. `Conversation` documents each method."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._fold = ledger.fold
        self._waiting: dict[str, _Waiting] = {}

    @property
    def waiting_length(self) -> int:
        """How many characters wait for `flush`."""
        return sum(waiting.length for waiting in self._waiting.values())

    def begin(self, message_id: str, role: Role, metadata: Mapping[str, Any] | None) -> StreamBegan:
        """Begin a message."""
        checks.label("the id of a message", message_id)
        checks.one_of("a role", role, get_args(Role))
        given = checks.json_mapping("metadata", metadata)
        self._ledger.settle()
        known = self._fold.streams.get(message_id)
        if known is not None:
            there = (known.began.role, known.began.metadata)
            checks.same("message", message_id, there, (role, given))
            return known.began
        if self._ledger.message_with_id(message_id) is not None:
            raise InvalidRequestError(f"message {quote(message_id)} has ended already")
        if len(self._fold.streams) >= limits.MAX_STREAMS:
            raise InvalidRequestError(f"{limits.MAX_STREAMS} messages are being streamed already")
        return self._ledger.commit(
            lambda seq: StreamBegan(
                seq=seq, id=message_id, role=role, metadata=given, created_at=now()
            )
        )

    def append(self, message_id: str, offset: int, text: str, *, wait: bool) -> int:
        """Append a chunk, and return how many characters there are then."""
        stream = self._running(message_id)
        waiting = self._waiting.get(message_id) or _Waiting()
        checks.content(text)
        require_int("offset", offset, least=0)
        length, end = stream.length + waiting.length, offset + len(text)
        if end > checks.MAX_CONTENT_LENGTH:
            raise InvalidRequestError(
                f"a content may have {checks.MAX_CONTENT_LENGTH} characters, not {quote(end)}"
            )
        if end <= length and (stream.text + waiting.text)[offset:end] == text:
            text = ""  # it is there already
        elif offset != length:
            raise InvalidRequestError(
                f"message {quote(message_id)} has {length} characters, not {offset}, or others"
            )
        if not wait:
            self._write(stream, text)
        elif text:
            waiting.add(text)
            self._waiting[message_id] = waiting
        return length + len(text)

    def flush(self) -> None:
        """Write down what waits."""
        for message_id in list(self._waiting):
            self._write(self._fold.streams[message_id], "")

    def _write(self, stream: StreamedMessage, text: str) -> None:
        """Write down what waits of *stream*, and *text*, as one chunk."""
        message_id = stream.began.id
        whole = self._waiting_text(message_id) + text
        if whole:
            self._ledger.commit(
                lambda seq: StreamChunk(
                    seq=seq, stream_id=message_id, offset=stream.length, text=whole
                )
            )
        self._waiting.pop(message_id, None)

    def end(self, message_id: str, status: MessageStatus) -> Message:
        """End a message; what waits of it is written down as part of it."""
        checks.one_of("a status", status, get_args(MessageStatus))
        self._ledger.settle()
        known = self._ledger.message_with_id(checks.label("the id of a message", message_id))
        if known is not None and known.status == status:
            return known
        stream = self._running(message_id)
        rest = self._waiting_text(message_id)
        message = self._ledger.commit(lambda seq: stream.whole(seq, status, now(), rest=rest))
        self._waiting.pop(message_id, None)
        return message

    def _waiting_text(self, message_id: str) -> str:
        waiting = self._waiting.get(message_id)
        return waiting.text if waiting else ""

    def _running(self, message_id: object) -> StreamedMessage:
        self._ledger.settle()
        stream = self._fold.streams.get(checks.label("the id of a message", message_id))
        if stream is not None:
            return stream
        known = self._ledger.message_with_id(str(message_id))
        state = f"has ended: {known.status}" if known else "was not begun"
        raise InvalidRequestError(f"message {quote(message_id)} {state}")

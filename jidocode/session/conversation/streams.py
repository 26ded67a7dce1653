"""Messages that come in chunks: what is written down of them, and what waits.

A model says a few letters at a time, and a write for each would cost more than the
letters. So a chunk may wait for more; what waits is lost with the process. The `Fold`
knows what is written down, this file adds what waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, get_args

from msgspec import Struct, field

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.arguments import require_int
from jidocode.session.conversation import checks, limits
from jidocode.session.conversation.blocks import Block, Completion, ToolUseBlock
from jidocode.session.conversation.changes import (
    ChunkKind,
    Message,
    MessageStatus,
    Role,
    StreamBegan,
    StreamBlock,
    StreamChunk,
    now,
)
from jidocode.session.conversation.ledger import Ledger
from jidocode.session.conversation.messages import StreamedMessage, chunk_block, is_chunk


class _Waiting(Struct):
    """What waits of one message, all of it of one kind."""

    kind: ChunkKind
    parts: list[str] = field(default_factory=list[str])
    length: int = 0

    def chunks(self) -> Iterator[tuple[ChunkKind, str]]:
        """Yield it, as `StreamedMessage.chunks`."""
        yield self.kind, self.text

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

    def append(
        self, message_id: str, offset: int, text: str, kind: ChunkKind, *, wait: bool
    ) -> int:
        """Append a chunk, and return how many characters there are then."""
        stream = self._running(message_id)
        checks.content(text)
        require_int("offset", offset, least=0)
        if kind != "text":
            checks.one_of("the kind of a chunk", kind, get_args(ChunkKind))
            _require_assistant(stream)
        waiting = self._waiting.get(message_id)
        length, end = stream.length + (waiting.length if waiting else 0), offset + len(text)
        if end + stream.extra > checks.MAX_CONTENT_LENGTH:
            checks.room(stream.blocks, end)
        if end <= length and self._said(stream, waiting, offset, end) == [(kind, text)] * bool(
            text
        ):
            text = ""  # it is there already
        elif offset != length:
            raise InvalidRequestError(
                f"message {quote(message_id)} has {length} characters, not {offset}, or others"
            )
        if not wait:
            self._write(stream, text, kind)
        elif text:
            if waiting is None or waiting.kind != kind:
                self._write_waiting(stream)
                waiting = self._waiting[message_id] = _Waiting(kind)
            waiting.add(text)
        return length + len(text)

    def _said(
        self, stream: StreamedMessage, waiting: _Waiting | None, start: int, end: int
    ) -> list[tuple[ChunkKind, str]]:
        """Return what is there from *start* to *end*, each kind in a row as one."""
        found: list[tuple[ChunkKind, list[str]]] = []
        place = 0
        for kind, text in chain(stream.chunks(), waiting.chunks() if waiting else ()):
            part = text[max(0, start - place) : max(0, end - place)]
            if found and found[-1][0] == kind:
                found[-1][1].append(part)
            elif part:
                found.append((kind, [part]))
            place += len(text)
        return [(kind, "".join(parts)) for kind, parts in found]

    def flush(self) -> None:
        """Write down what waits."""
        for message_id in list(self._waiting):
            self._write_waiting(self._fold.streams[message_id])

    def add_block(self, message_id: str, offset: int, block: Block) -> int:
        """Add a block, and return how many characters there are."""
        stream = self._running(message_id)
        require_int("offset", offset, least=0)
        given = checks.block(stream.began.role, block)
        if is_chunk(given):
            raise InvalidRequestError("text, and reasoning without a signature, come in chunks")
        waiting = self._waiting.get(message_id)
        length = stream.length + (waiting.length if waiting else 0)
        there = stream.blocks_at(offset)
        if any(checks.as_json(each) == checks.as_json(given) for each in there):
            return length
        if offset != length:
            raise InvalidRequestError(
                f"message {quote(message_id)} has {length} characters, not {quote(offset)}"
            )
        if len(stream.blocks) >= checks.MAX_BLOCKS:
            raise InvalidRequestError(f"a message may have {checks.MAX_BLOCKS} blocks")
        checks.room([*stream.blocks, given], length)
        if isinstance(given, ToolUseBlock):
            if any(
                isinstance(each, ToolUseBlock) and each.id == given.id for each in stream.blocks
            ):
                raise InvalidRequestError(f"tool call {quote(given.id)} is there already")
            self._ledger.require_fresh_call(given.id)
        self._write_waiting(stream)
        self._ledger.commit(
            lambda seq: StreamBlock(seq=seq, stream_id=message_id, offset=length, block=given)
        )
        return length

    def _write(self, stream: StreamedMessage, text: str, kind: ChunkKind) -> None:
        """Write down what waits of *stream*, and *text*, as one chunk if they are of one kind."""
        waiting = self._waiting.get(stream.began.id)
        if waiting is not None and waiting.kind != kind:
            self._write_waiting(stream)
            waiting = None
        self._commit(stream, (waiting.text if waiting else "") + text, kind)

    def _write_waiting(self, stream: StreamedMessage) -> None:
        waiting = self._waiting.get(stream.began.id)
        if waiting is not None:
            self._commit(stream, waiting.text, waiting.kind)

    def _commit(self, stream: StreamedMessage, text: str, kind: ChunkKind) -> None:
        message_id = stream.began.id
        if text:
            self._ledger.commit(
                lambda seq: StreamChunk(
                    seq=seq, stream_id=message_id, offset=stream.length, text=text, kind=kind
                )
            )
        self._waiting.pop(message_id, None)

    def end(
        self, message_id: str, status: MessageStatus, completion: Completion | None = None
    ) -> Message:
        """End a message; what waits of it is written down as part of it."""
        checks.one_of("a status", status, get_args(MessageStatus))
        checks.completion(completion)
        self._ledger.settle()
        known = self._ledger.message_with_id(checks.label("the id of a message", message_id))
        if known is not None and known.status == status:
            return known
        stream = self._running(message_id)
        waiting = self._waiting.get(message_id)
        rest = [chunk_block(waiting.text, waiting.kind)] if waiting else []
        self._ledger.count(message_id, completion)
        message = self._ledger.commit(
            lambda seq: stream.whole(seq, status, now(), rest=rest, completion=completion)
        )
        self._waiting.pop(message_id, None)
        return message

    def _running(self, message_id: object) -> StreamedMessage:
        self._ledger.settle()
        stream = self._fold.streams.get(checks.label("the id of a message", message_id))
        if stream is not None:
            return stream
        known = self._ledger.message_with_id(str(message_id))
        state = f"has ended: {known.status}" if known else "was not begun"
        raise InvalidRequestError(f"message {quote(message_id)} {state}")


def _require_assistant(stream: StreamedMessage) -> None:
    if stream.began.role != "assistant":
        raise InvalidRequestError(f"a message of the {stream.began.role} has no reasoning")

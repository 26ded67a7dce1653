"""The messages among what changes add up to: whole ones, and those that are being said."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import TypeGuard, cast

from attrs import evolve
from msgspec import Struct, field

from jidocode.session.conversation import limits
from jidocode.session.conversation.blocks import (
    Block,
    Completion,
    ReasoningBlock,
    TextBlock,
    text_in,
)
from jidocode.session.conversation.bounded import BoundedMap
from jidocode.session.conversation.changes import (
    ChunkKind,
    Message,
    MessageStatus,
    StreamBegan,
    StreamBlock,
    StreamChunk,
)
from jidocode.session.conversation.hash_set import HashSet


class Messages:
    """Which whole messages there are, by number, and the latest of them themselves.

    A session may have more messages than its process has memory for. So of most only
    the number is known, and a hash of the id, in 24 bytes; the latest are in memory.
    Two ids may have the same hash, so whoever looks for an id looks at the message itself.
    Python's hashes differ from process to process: nobody can prepare such ids.

    Args:
        keeps_all: Whether a message that has left the memory can still be read from the
            log, by its number. If not, its number is forgotten with it.
    """

    def __init__(self, *, keeps_all: bool) -> None:
        self._keeps_all = keeps_all
        self._seqs = array("Q")
        self._latest: BoundedMap[int, Message] = BoundedMap(
            limits.MAX_MESSAGES, limits.MAX_KEPT_LENGTH
        )
        self._seq_by_id: dict[str, int] = {}
        self._hashes = array("q")
        self._known: HashSet | None = None

    def __len__(self) -> int:
        return len(self._seqs)

    @property
    def seqs(self) -> Sequence[int]:
        """The numbers of all messages, oldest first."""
        return self._seqs

    @property
    def in_memory(self) -> int:
        """How many messages are in memory."""
        return len(self._latest)

    def seqs_after(self, seq: int, limit: int) -> Sequence[int]:
        """Return the first *limit* numbers above *seq*."""
        place = bisect_right(self._seqs, seq)
        return self._seqs[place : place + limit]

    def at(self, seq: int) -> Message | None:
        """Return the message with that number if it is in memory."""
        return self._latest.get(seq)

    def with_id(self, message_id: str) -> Message | None:
        """Return the last message with that id if it is in memory."""
        seq = self._seq_by_id.get(message_id)
        return None if seq is None else self._latest[seq]

    def seqs_with_id(self, message_id: str) -> list[int]:
        """Return the numbers of the messages in the log that may have that id, latest first."""
        wanted = hash(id_key(message_id))
        if self._known is None:  # they are sorted when they are needed, and not while opening
            self._known = HashSet(self._hashes)
        if wanted not in self._known:
            return []
        pairs = zip(reversed(self._seqs), reversed(self._hashes), strict=False)
        return [seq for seq, value in pairs if value == wanted]

    def note(self, seq: int, key: bytes) -> None:
        """Take in the number, and the `id_key`, of a message that is in the log."""
        self._seqs.append(seq)
        if self._keeps_all:
            value = hash(key)
            self._hashes.append(value)
            if self._known is not None:
                self._known.add(value)

    def remember(self, message: Message) -> int:
        """Take a noted message into memory; return how many are lost for it, without the log."""
        oldest = self._latest.put(message.seq, message)
        self._seq_by_id[message.id] = message.seq
        for each in oldest:
            if self._seq_by_id.get(each.id) == each.seq:
                del self._seq_by_id[each.id]
        if self._keeps_all:
            return 0
        self.drop_oldest(len(oldest))
        return len(oldest)

    def drop_oldest(self, count: int) -> None:
        """Forget the numbers of the *count* oldest messages."""
        del self._seqs[:count]
        if self._keeps_all and count:
            self._forget_ids(count)

    def clear(self) -> None:
        """Forget all of them."""
        del self._seqs[:]
        self._latest.clear()
        self._seq_by_id.clear()
        self._forget_ids(len(self._hashes))

    def _forget_ids(self, count: int) -> None:
        del self._hashes[:count]
        self._known = None


def id_key(message_id: str) -> bytes:
    """Return the id of a message as it stands in most journals, for `Messages.note`."""
    return message_id.encode("utf-8", "surrogatepass")


class StreamedMessage(Struct):
    """A message that is being said, as far as it is written down.

    Attributes:
        began: How it began.
        seqs: The numbers of the changes that made it.
        parts: What they said: each chunk as a block, see `chunk_block`, and the other blocks.
        length: Characters in it, of text and of reasoning; an offset counts them.
        extra: Characters in its other blocks.
    """

    began: StreamBegan
    seqs: list[int]
    parts: list[Block] = field(default_factory=list[Block])
    length: int = 0
    extra: int = 0

    @property
    def blocks(self) -> list[Block]:
        """All blocks that are written down of it, but for its text and unsigned reasoning."""
        return [part for part in self.parts if not is_chunk(part)]

    def chunks(self) -> Iterator[tuple[ChunkKind, str]]:
        """Yield what came in chunks, oldest first."""
        for part in self.parts:
            if is_chunk(part):
                yield "text" if isinstance(part, TextBlock) else "reasoning", part.text

    def blocks_at(self, offset: int) -> list[Block]:
        """Return the other blocks that came after *offset* characters."""
        found: list[Block] = []
        place = 0
        for part in self.parts:
            if is_chunk(part):
                place += len(part.text)
            elif place == offset:
                found.append(part)
        return found

    def take(self, change: StreamChunk | StreamBlock) -> None:
        """Add what came, unless a chunk before it was lost in a damaged file: then all after is."""
        if change.offset != self.length:
            return
        self.seqs.append(change.seq)
        if isinstance(change, StreamChunk):
            self.parts.append(chunk_block(change.text, change.kind))
            self.length += len(change.text)
        else:
            self.parts.append(change.block)
            self.extra += change.block.length

    def whole(
        self,
        seq: int,
        status: MessageStatus,
        created_at: datetime,
        *,
        rest: Sequence[Block] = (),
        completion: Completion | None = None,
    ) -> Message:
        """Return what it becomes if it ends with number *seq*, after *rest*."""
        parts = [*self.parts, *rest]
        return Message(
            seq=seq,
            id=self.began.id,
            role=self.began.role,
            content=text_in(parts),
            metadata=self.began.metadata,
            created_at=created_at,
            status=status,
            blocks=() if all(isinstance(part, TextBlock) for part in parts) else _joined(parts),
            completion=completion,
        )


def chunk_block(text: str, kind: ChunkKind) -> TextBlock | ReasoningBlock:
    """Return a chunk as the part of a message that it is."""
    return TextBlock(text) if kind == "text" else ReasoningBlock(text)


def is_chunk(block: Block) -> TypeGuard[TextBlock | ReasoningBlock]:
    """Whether *block* is what comes in chunks: text, or reasoning without a signature yet."""
    if isinstance(block, ReasoningBlock):
        return not block.signature and not block.redacted
    return isinstance(block, TextBlock)


def _joined(parts: Iterable[Block]) -> tuple[Block, ...]:
    """Return *parts* as blocks: what came in pieces is one, and reasoning has its signature."""
    blocks: list[Block] = []
    for cls, group in groupby(parts, _chunk_class):
        if cls is None:
            for block in group:
                _put(blocks, block)
        else:
            pieces = cast("Iterable[TextBlock | ReasoningBlock]", group)
            blocks.append(cls("".join([each.text for each in pieces])))
    return tuple(blocks)


def _chunk_class(part: Block) -> type[TextBlock | ReasoningBlock] | None:
    return type(part) if is_chunk(part) else None


def _put(blocks: list[Block], block: Block) -> None:
    last = blocks[-1] if blocks else None
    match last, block:
        case ReasoningBlock(signature="", redacted=False), ReasoningBlock("", redacted=False):
            blocks[-1] = evolve(block, text=last.text)
        case _:
            blocks.append(block)

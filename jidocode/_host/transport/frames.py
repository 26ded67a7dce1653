"""The wire format: bytes in, frames out, every one of them proven by a keyed MAC.

There is no socket here; `inbound` and `outbound` read and write the bytes. A
connection carries messages one way and their acknowledgements the other way::

    opener   -> HELLO           then MESSAGE, CONFIRM or NUDGE, ...
    listener ->       WELCOME                                  ACK or REJECT, ...

A frame is a header (length of the body, kind, MAC) and the body. The first two
are the handshake (see `handshake`): it gives each direction a key that only this
connection has. Each later frame is proven by the key of its direction over its
place in the order, its kind, its length and its body. So no frame can be
forged, changed, dropped, repeated or moved, neither within a connection nor
from one to another, and nothing is unpickled before that is proven.

What a MAC per frame adds to the handshake: another user cannot put bytes into a
connection that is open, but whoever may read and write raw packets on this
machine's loopback can, such as root of a container that shares the network. He
reads what is sent; without the key he cannot have anything unpickled.
"""

from __future__ import annotations

import enum
import struct

from msgspec import Struct

from jidocode.base.hashes import blake2b, compare_digest
from jidocode.errors import HostError

MAC_BYTES = 16
MAX_BODY = 1 << 30
"""Bytes of the largest body an authenticated peer may send: 1 GiB."""
MAX_HELLO_BODY = 512 - 21
"""Bytes of the largest body of a first frame, which with its header has at most 512."""
MAX_REPLY_BODY = 64
"""Bytes of the largest body that travels back to the opener."""

HEADER = struct.Struct(f">IB{MAC_BYTES}s")
_PLACE = struct.Struct(">QBI")
_COUNT = struct.Struct(">Q")

Body = bytes | bytearray


class FrameError(HostError):
    """What came is no frame of this system: its length, kind, order or MAC is wrong."""


class Kind(enum.IntEnum):
    """What a frame is for."""

    HELLO = 1
    """Opens a connection: who speaks to whom."""
    MESSAGE = 2
    """A pickled message; acknowledged together with others."""
    CONFIRM = 3
    """A pickled message whose sender waits for the acknowledgement: it comes at once."""
    NUDGE = 4
    """No message, but counted as one: acknowledge all there is, at once."""
    ACK = 5
    """How many messages of this connection have arrived, counted from its start."""
    REJECT = 6
    """The place of a message that the receiver cannot unpickle."""
    REFUSE = 7
    """Answers HELLO: the life that the sender means does not listen here any more."""
    WELCOME = 8
    """Answers HELLO: the life that the sender means is here, and ready for messages."""


class Frame(Struct):
    """One frame as it was cut from the stream; its MAC is not checked yet."""

    kind: int
    mac: bytes
    body: Body


class FrameMac:
    """Seals, or checks, the frames of one direction of one connection, in their order.

    Attributes:
        place: How many frames come before the next one. Only who seals sets it,
            to seal again what was not sent.
    """

    __slots__ = ("_keyed", "place")

    def __init__(self, key: bytes) -> None:
        self._keyed = blake2b(digest_size=MAC_BYTES, key=key)
        self.place = 0

    def seal(self, kind: Kind, body: Body) -> bytes:
        """Return the header that makes *body* the next frame."""
        return HEADER.pack(len(body), kind, self._next_mac(kind, body))

    def check(self, frame: Frame) -> None:
        """Accept *frame* as the next one.

        Raises:
            FrameError: It is not what the holder of the key sent next.
        """
        if not compare_digest(self._next_mac(frame.kind, frame.body), frame.mac):
            raise FrameError("a frame does not carry the MAC of this connection")

    def _next_mac(self, kind: int, body: Body) -> bytes:
        mac = self._keyed.copy()
        mac.update(_PLACE.pack(self.place, kind, len(body)))
        mac.update(body)
        self.place += 1
        return mac.digest()


class FrameDecoder:
    """Cuts a byte stream into frames, in whatever pieces it comes.

    Give it bytes with `receive` and take frames with `next_frame` until that
    returns None. While a long body is on its way, `room` is the place where
    the next bytes belong: read into it and tell `filled`, and nothing is copied.

    Attributes:
        limit: Bytes that the body of the next frame may have.
        spent: Whether it holds no byte that is not part of a frame it has returned.
    """

    __slots__ = ("_at", "_body", "_data", "_got", "_head", "limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = True
        self._data: bytes = b""
        self._at = 0
        self._head = (0, b"")
        self._body: bytearray | None = None
        self._got = 0

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        rest = self._data[self._at :]
        self._data = rest + data if rest else data
        self._at = 0
        self.spent = False

    def room(self) -> memoryview | None:
        """Return where the rest of a begun body belongs, or None between frames."""
        return None if self._body is None else memoryview(self._body)[self._got :]

    def filled(self, count: int) -> None:
        """Count *count* bytes that were written into `room`."""
        self._got += count

    def next_frame(self) -> Frame | None:
        """Return the next whole frame, or None when more bytes are needed.

        Raises:
            FrameError: A header announces a body beyond the limit.
        """
        if self._body is not None:
            return self._long_frame(self._body)
        start = self._at + HEADER.size
        if len(self._data) < start:
            return None
        length, kind, mac = HEADER.unpack_from(self._data, self._at)
        if length > self.limit:
            raise FrameError(f"a frame of {length} bytes came where {self.limit} are allowed")
        if len(self._data) >= start + length:
            self._at = start + length
            self.spent = self._at == len(self._data)
            return Frame(kind, mac, self._data[start : self._at])
        self._head, self._body, self._got, self._at = (kind, mac), bytearray(length), 0, start
        return self._long_frame(self._body)

    def _long_frame(self, body: bytearray) -> Frame | None:
        piece = self._data[self._at : self._at + len(body) - self._got]
        body[self._got : self._got + len(piece)] = piece
        self._at += len(piece)
        self._got += len(piece)
        if self._got < len(body):
            return None
        self._body = None
        self.spent = self._at == len(self._data)
        return Frame(*self._head, body)


def pack_count(count: int) -> bytes:
    """Return the body of an ACK or a REJECT."""
    return _COUNT.pack(count)


def unpack_count(frame: Frame) -> int:
    """Return what an ACK or a REJECT says.

    Raises:
        FrameError: Its body is not a count.
    """
    if len(frame.body) != _COUNT.size:
        raise FrameError("an acknowledgement has the wrong length")
    count: int = _COUNT.unpack(frame.body)[0]
    return count

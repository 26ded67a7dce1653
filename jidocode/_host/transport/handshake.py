"""How the two ends of a connection prove to each other who they are, before anything is said.

There is no socket here, and no clock: frames in, bytes and keys out::

    opener   -> HELLO     its own address, the life of the target that is meant, a fresh salt;
                          proven by the key of the system
    listener -> WELCOME   a fresh salt; proven by the key of its direction
    opener   -> messages  proven by the key of theirs

Both keys come from the key of the system, HELLO as a whole, and the listener's salt.

Why so. When an actor has died, anybody on this machine may listen on its port, and
who has messages for it connects there. Nothing of them leaves before WELCOME, which

- takes the key of the system, so a stranger cannot make it;
- takes this HELLO, whose salt was never used before, so nobody can have recorded it;
- is given by one life of one actor only, the one that HELLO names. So a stranger
  who passes HELLO on to another process of the same system gets a refusal: nobody
  but the dead could answer;
- is made with another key than HELLO and messages, so no echo of those passes for it.

The listener has said nothing that is worth reading. That the opener is no recording
it sees by the first message: its key takes the listener's salt, which is as fresh.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from msgspec import Struct, field

from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import Body, Frame, FrameError, FrameMac, Kind
from jidocode._host.transport.key import KEY_BYTES
from jidocode.base.hashes import blake2b

SALT_BYTES = 16
_HELLO = struct.Struct(f">8s{SALT_BYTES}sHQQ")
_MAGIC = b"jidoco02"


class Hello(Struct, frozen=True):
    """The first frame of a connection: who speaks to which life of whom.

    Attributes:
        sender: Where the opener itself listens.
        target_nonce: The life of the target that is meant.
        salt: Random bytes that belong to this connection alone.
    """

    sender: LoopbackAddress
    target_nonce: int
    salt: bytes = field(default_factory=lambda: os.urandom(SALT_BYTES))

    def pack(self) -> bytes:
        """Return the body of the HELLO frame."""
        sender = self.sender
        return _HELLO.pack(_MAGIC, self.salt, sender.port, sender.nonce, self.target_nonce)

    @classmethod
    def unpack(cls, frame: Frame) -> Hello:
        """Return what a checked first frame says.

        Raises:
            FrameError: It is no HELLO of this version.
        """
        if frame.kind != Kind.HELLO or len(frame.body) != _HELLO.size:
            raise FrameError("a connection did not begin with HELLO")
        magic, salt, port, nonce, target_nonce = _HELLO.unpack(frame.body)
        if magic != _MAGIC:
            raise FrameError("a connection began with the HELLO of another version")
        return cls(LoopbackAddress(port, nonce), target_nonce, salt)


class ConnectionKeys(NamedTuple):
    """The two directions of one connection."""

    forward: FrameMac
    """From the opener to the listener."""
    back: FrameMac
    """From the listener to the opener."""


class Opening:
    """The opener's half of one handshake.

    Attributes:
        first: What to write: the HELLO frame.
    """

    __slots__ = ("_body", "_key", "first")

    def __init__(self, key: bytes, hello: Hello) -> None:
        self._key = key
        self._body = hello.pack()
        self.first = _hello_mac(key).seal(Kind.HELLO, self._body) + self._body

    def finish(self, frame: Frame) -> ConnectionKeys:
        """Return the keys, now that *frame* has come as the first reply.

        Raises:
            FrameError: The target is not there: the reply is no proof, or a refusal.
        """
        keys = _connection_keys(self._key, self._body, frame.body)
        keys.back.check(frame)
        if frame.kind != Kind.WELCOME or len(frame.body) != SALT_BYTES:
            raise FrameError("the target refuses: another life listens there")
        return keys


class Reception:
    """The listener's half of one handshake.

    Attributes:
        reply: What to write: WELCOME, or REFUSE if another life is meant.
        hello: What the opener has said.
        keys: What seals and checks the frames after this one; None after REFUSE.
    """

    __slots__ = ("hello", "keys", "reply")

    def __init__(self, key: bytes, nonce: int, frame: Frame) -> None:
        """Let in whoever has sent *frame* as his first to the life *nonce*.

        Raises:
            FrameError: The opener does not prove the key, or speaks another version.
        """
        _hello_mac(key).check(frame)
        self.hello = Hello.unpack(frame)
        salt = os.urandom(SALT_BYTES)
        keys = _connection_keys(key, frame.body, salt)
        is_meant = self.hello.target_nonce == nonce
        self.reply = keys.back.seal(Kind.WELCOME if is_meant else Kind.REFUSE, salt) + salt
        self.keys = keys if is_meant else None


def _hello_mac(key: bytes) -> FrameMac:
    return FrameMac(_derive(key, b"jidocode.hello", b"", b""))


def _connection_keys(key: bytes, hello: Body, salt: Body) -> ConnectionKeys:
    return ConnectionKeys(
        FrameMac(_derive(key, b"jidocode.forward", hello, salt)),
        FrameMac(_derive(key, b"jidocode.back", hello, salt)),
    )


def _derive(key: bytes, purpose: bytes, hello: Body, salt: Body) -> bytes:
    # HELLO has one length, so the border between the two is always at the same place.
    mac = blake2b(hello, digest_size=KEY_BYTES, key=key, person=purpose)
    mac.update(salt)
    return mac.digest()

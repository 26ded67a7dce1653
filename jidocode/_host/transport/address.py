"""The address of one life of one actor: where it listens, and a number nobody else ever has.

Unlike Thespian's own addresses, which are a host and a port, an address here
dies with its actor: a port is reused within a few starts, a nonce never is.
"""

from __future__ import annotations

from msgspec import Struct


class LoopbackAddress(Struct, frozen=True, cache_hash=True):
    """Where an actor listens on 127.0.0.1, and which life of it is meant.

    It is what Thespian calls the details of an `ActorAddress`.

    Attributes:
        port: TCP port, chosen by the kernel.
        nonce: 63 random bits, drawn when the port was bound. A message for
            another nonce is refused, so a reused port is never mistaken for
            the dead actor.
    """

    port: int
    nonce: int

    def __str__(self) -> str:
        return f"127.0.0.1:{self.port}/{self.nonce:x}"

    def isLocalAddr(self) -> bool:  # noqa: N802 - Thespian's name
        """Return True: an actor on loopback is on this machine."""
        return True

    def isSameSystem(self, other: object) -> bool:  # noqa: N802 - Thespian's name
        """Return whether *other* is an address of this transport, and so of this machine."""
        return isinstance(getattr(other, "addressDetails", other), LoopbackAddress)

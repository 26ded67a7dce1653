"""Addresses: where one life of one actor is reached, and a number nobody else ever has.

Unlike Thespian's own addresses, which are a host and a port, an address here
dies with its actor: a port is reused within a few starts, a nonce never is.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from jidocode.base.refs import LOCAL_NODE

MAX_PORT = (1 << 16) - 1
MAX_NONCE = (1 << 63) - 1


class Address(Protocol):
    """Where one life of one actor is reached, over whatever transport.

    Whether a transport reaches it, the transport says (`Messenger.reaches`).
    """

    @property
    def node(self) -> str:
        """The machine that the actor runs on."""
        ...

    @property
    def nonce(self) -> int:
        """A number that belongs to this life of this actor alone."""
        ...

    def __hash__(self) -> int: ...


class LoopbackAddress(Struct, frozen=True, cache_hash=True):
    """Where an actor listens on 127.0.0.1, and which life of it is meant.

    It is what Thespian calls the details of an `ActorAddress`.

    Attributes:
        port: TCP port, chosen by the kernel.
        nonce: 63 random bits, drawn when the port was bound. A message for
            another nonce is refused, so a reused port is never mistaken for
            the dead actor.
        node: The machine whose 127.0.0.1 is meant.
    """

    port: int
    nonce: int
    node: str = LOCAL_NODE

    def __post_init__(self) -> None:
        """Refuse what nobody can listen at, unpickled or not: to send there would raise."""
        if not (0 <= self.port <= MAX_PORT and 0 <= self.nonce <= MAX_NONCE):
            raise ValueError("a port or a nonce is out of range")

    def __str__(self) -> str:
        return f"127.0.0.1:{self.port}/{self.nonce:x}"

    def isLocalAddr(self) -> bool:  # noqa: N802 - Thespian's name
        """Return whether the actor is on this machine."""
        return self.node == LOCAL_NODE

    def isSameSystem(self, other: object) -> bool:  # noqa: N802 - Thespian's name
        """Return whether *other* is an address of this transport, and so of this machine."""
        details = getattr(other, "addressDetails", other)
        return isinstance(details, LoopbackAddress) and details.node == self.node

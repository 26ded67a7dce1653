"""How much of the network a command may use, as data."""

from __future__ import annotations

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError

MAX_PORTS = 1000


@frozen(eq=False, repr=False)
class NoNetwork(Record):
    """No socket at all, but for a pair that a process shares with its own children."""


@frozen(eq=False, repr=False)
class FullNetwork(Record):
    """TCP and UDP, to and from everywhere, and the list of this machine's addresses.

    The ports of this machine too, where other programs listen. No UNIX sockets.
    """


def _ports(value: object) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or len(value) > MAX_PORTS:
        raise InvalidRequestError(
            f"ports must be a tuple of at most {MAX_PORTS} numbers, not {quote(value)}"
        )
    for port in value:
        if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:  # noqa: PLR2004 - the last port
            raise InvalidRequestError(f"a port must be an int from 1 to 65535, not {quote(port)}")
    return tuple(value)


@frozen(eq=False, repr=False)
class Ports(Record):
    """TCP to some ports, wherever they are, and from some of this machine; no UDP, so no DNS.

    Args:
        connect: The ports to which a command may connect.
        listen: The ports on which it may listen.

    Raises:
        InvalidRequestError: That are no ports.
    """

    connect: tuple[int, ...] = field(default=(), converter=_ports)
    listen: tuple[int, ...] = field(default=(), converter=_ports)


Network = NoNetwork | Ports | FullNetwork

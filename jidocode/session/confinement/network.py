"""How much of the network a command may use, as data."""

from __future__ import annotations

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.confinement.arguments import require_few

MAX_PORTS = 1000
_LAST_PORT = 65535


@frozen(eq=False, repr=False)
class NoNetwork(Record):
    """No socket at all, but for a pair that a process shares with its own children."""


@frozen(eq=False, repr=False)
class FullNetwork(Record):
    """TCP and UDP, to and from everywhere, and the list of this machine's addresses.

    The ports of this machine too, where other programs listen. No UNIX sockets.
    """


def _ports(value: object) -> tuple[int, ...]:
    return tuple(map(_port, require_few("ports", value, most=MAX_PORTS)))


def _port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LAST_PORT:
        raise InvalidRequestError(
            f"a port must be an int from 1 to {_LAST_PORT}, not {quote(value)}"
        )
    return value


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


@frozen(eq=False, repr=False)
class Peers(Record):
    """TCP over IPv4, to every port and from who connects to a socket that listens already.

    By that the processes of a system talk with each other. No command is granted it.
    """


Network = NoNetwork | Ports | FullNetwork

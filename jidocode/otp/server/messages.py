"""What a server is sent by the machinery, and who waits for its answers."""

from __future__ import annotations

from attrs import field, frozen

from jidocode.base.exits import ExitReason
from jidocode.base.records import Record
from jidocode.base.refs import ActorRef


@frozen(eq=False, repr=False)
class Caller(Record):
    """Who waits for a reply; keep it to `GenServer.reply` later.

    Attributes:
        address: Where the reply goes; opaque.
        request_id: Which request it answers. The caller drops a late reply.
    """

    address: object
    request_id: int


@frozen(eq=False, repr=False)
class Timeout(Record):
    """No message came within the *timeout* that the last callback asked for."""


@frozen(eq=False, repr=False)
class Down(Record):
    """A monitored process is gone.

    Attributes:
        token: What `GenServer.monitor` returned.
        ref: The process.
        reason: Why it ended; `NoProcess` if it was gone before.
    """

    token: int
    ref: ActorRef
    reason: ExitReason


@frozen(eq=False, repr=False)
class Response(Record):
    """The answer to a `GenServer.send_request`.

    Exactly one of *value* and *error* is meant: *error* is None on success.
    """

    token: int
    value: object = field(repr=False)
    error: Exception | None

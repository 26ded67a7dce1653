"""What a server meets in its handlers: who waits for an answer, and news it has asked for.

A `Caller` comes with each call; `Timeout`, `Down` and `Response` come to `handle_info`,
each because a callback has asked for it.
"""

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
        reads_parts: Whether it called by `call_stream`.
    """

    address: object = field(repr=False)
    request_id: int
    reads_parts: bool = False


@frozen(eq=False, repr=False)
class Timeout(Record):
    """No message came within the `timeout=` that the last callback returned."""


@frozen(eq=False, repr=False)
class Down(Record):
    """A monitored process is gone (OTP: `'DOWN'`).

    Attributes:
        token: What `GenServer.monitor` or `GenServer.watch_process` returned.
        ref: The process.
        reason: Why it ended; `NoProcess` if it was gone before.
    """

    token: int
    ref: ActorRef
    reason: ExitReason


@frozen(eq=False, repr=False)
class Response(Record):
    """The answer to a `GenServer.send_request` (OTP gen_server: send_request).

    Exactly one of *value* and *error* is meant: *error* is None on success.

    Attributes:
        token: What `GenServer.send_request` returned.
        value: What the other server answered.
        error: What a plain call would have raised.
    """

    token: int
    value: object = field(repr=False)
    error: Exception | None

"""What a callback of a server returns: an answer, and what happens next.

OTP writes them as tuples (`{reply, Value, State, Timeout}`); here each is a record, and
the state stays in the server's attributes. What users' data may be in is not printed.
"""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from jidocode.base.exits import NORMAL, ExitReason
from jidocode.base.records import Record
from jidocode.otp.seconds import require_seconds


def _is_timeout(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None:
        require_seconds(attribute.name, value)


@frozen(eq=False, repr=False, kw_only=True)
class _Next(Record):
    """What happens next; a *timeout* that is no time raises `InvalidTimeError`.

    Attributes:
        timeout: Seconds without a message after which `handle_info` gets a
            `Timeout`; None for never (OTP gen_server: timeout in a return tuple).
        then: If not None, `handle_continue` gets it before any other message
            (OTP gen_server: `{continue, Then}`).
    """

    timeout: float | None = field(default=None, validator=_is_timeout)
    then: object = field(default=None, repr=False)


@frozen(eq=False, repr=False)
class Reply(_Next):
    """Answer the call with *value*, which must pickle, and go on.

    Attributes:
        value: The answer.
        timeout: Seconds without a message after which `handle_info` gets a `Timeout`.
            It is for this wait alone: who wants the next one, too, returns it again.
        then: If not None, `handle_continue` gets it before any other message.
    """

    value: object = field(default=None, repr=False)


@frozen(eq=False, repr=False)
class Refuse(_Next):
    """Answer the call with *error*, which the caller raises, and go on.

    For failures that are part of the contract. An exception that leaves a
    handler is a crash instead. *timeout* and *then* as in `Reply`.
    """

    error: Exception


@frozen(eq=False, repr=False)
class NoReply(_Next):
    """Go on without an answer; a caller is answered later by `GenServer.reply`.

    *timeout* and *then* as in `Reply`.
    """


class _Unset:
    """Tells "no reply" from a reply of None."""

    def __repr__(self) -> str:
        return "no reply"


UNSET = _Unset()


@frozen(eq=False, repr=False)
class Stop(Record):
    """End this process with *reason*, after `terminate`.

    With *reply* the caller gets that value, otherwise an `ActorExitedError`.
    From `init` it makes the start fail with *reason*.
    """

    reason: ExitReason = NORMAL
    reply: object = field(default=UNSET, repr=False)


@frozen(eq=False, repr=False)
class Ignore(Record):
    """From `init`: do not run, and that is no failure (OTP: `ignore`)."""


CallResult = Reply | Refuse | NoReply | Stop
"""What `handle_call` returns."""

Result = NoReply | Stop | None
"""What the other handlers return; None is `NoReply()`."""

InitResult = NoReply | Stop | Ignore | None
"""What `init` returns; None is `NoReply()`."""

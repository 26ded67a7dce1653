"""What a callback returns: an answer, and what happens next."""

from __future__ import annotations

from msgspec import Struct

from jidocode.base.exits import NORMAL, ExitReason


class _GoOn(Struct, frozen=True, kw_only=True):
    """What happens next.

    Attributes:
        timeout: Seconds without a message after which `handle_info` gets a
            `Timeout`; None for never (OTP: timeout in a return tuple).
        then: If not None, `handle_continue` gets it before any other message.
    """

    timeout: float | None = None
    then: object = None


class Reply(_GoOn, frozen=True):
    """Answer the call with *value*, which must pickle, and go on."""

    value: object = None


class Refuse(_GoOn, frozen=True):
    """Answer the call with *error*, which the caller raises, and go on.

    For failures that are part of the contract. An exception that leaves a
    handler is a crash instead.
    """

    error: Exception


class NoReply(_GoOn, frozen=True):
    """Go on without an answer; a caller is answered later by `GenServer.reply`."""


class _Unset:
    """Tells "no reply" from a reply of None."""


UNSET = _Unset()


class Stop(Struct, frozen=True):
    """End this process with *reason*, after `terminate`.

    With *reply* the caller gets that value, otherwise an `ActorExitedError`.
    From `init` it makes the start fail with *reason*.
    """

    reason: ExitReason = NORMAL
    reply: object = UNSET


class Ignore(Struct, frozen=True):
    """From `init`: do not run, and that is no failure (OTP: `ignore`)."""


CallResult = Reply | Refuse | NoReply | Stop


Result = NoReply | Stop | None


InitResult = NoReply | Stop | Ignore | None

"""What happens, in few words: the labels of metrics, and how many of them there may be.

Each combination of labels is a time series, which a server keeps for weeks. So none of them is an
id, and those that come from an app's own code are counted.
"""

from __future__ import annotations

import signal

from jidocode.base.exits import Crashed, ExitReason, Killed, NoProcess, Normal, Shutdown
from jidocode.base.text import word
from jidocode.session.commands.result import CommandResult
from jidocode.session.conversation.blocks import Usage
from jidocode.session.requests import Request

OTHER = "other"
"""What all are called that come after too many others."""

UNKNOWN = "unknown"
"""What a model is called that nobody has named."""
MOST_MODELS = 50
"""Models that are told apart."""
TOKENS_TEXT = "Tokens of an answer of a model."
ANSWER_TEXT = "How long a model took to answer."
"""What is measured of the answers of models, for people."""
TOKEN_BUCKETS = tuple(4**power for power in range(14))
ANSWER_BUCKETS = tuple(0.01 * 2**power for power in range(14))
"""What OpenTelemetry's conventions for generative AI want told apart: tokens, and seconds."""
CHAT = "chat"
"""What those conventions call it to ask a model for the next message."""


class Bounded:
    """Keeps the combinations of some labels few: those that come after *most* are `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._shown: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __call__(self, *labels: str) -> tuple[str, ...]:
        """Return the labels to use for *labels*."""
        shown = self._shown.get(labels)
        if shown is None:
            if len(self._shown) >= self._most:
                return (OTHER,) * len(labels)
            shown = self._shown[labels] = tuple(map(word, labels))
        return shown


def operation_of(request: object) -> str:
    """Return what is asked for, in a word: no argument is in it."""
    return request.operation if isinstance(request, Request) else type(request).__name__


def outcome_of(error: BaseException | None) -> str:
    """Return how a call has ended: `ok`, `cancelled`, or the name of the error's class."""
    if error is None:
        return "ok"
    return type(error).__name__ if isinstance(error, Exception) else "cancelled"


def reason_of(reason: ExitReason) -> str:
    """Return why a process has ended, in a word: that of a signal, if one has ended it."""
    match reason:
        case Normal():
            return "normal"
        case Shutdown():
            return "shutdown"
        case Crashed():
            return "crashed"
        case NoProcess():
            return "no_process"
        case Killed(signal=number):
            return _signal_name(number)


def ending_of(result: CommandResult) -> str:
    """Return how a command has ended: `ok`, `failed`, `timed_out`, `cancelled` or `killed`."""
    if result.timed_out:
        return "timed_out"
    if result.cancelled:
        return "cancelled"
    if result.signal is not None:
        return "killed"
    return "ok" if result.ok else "failed"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal, or one that nobody has seen
        return "killed"


def tokens_of(usage: Usage) -> list[tuple[str, int]]:
    """Return the tokens of each type that *usage* has; none if its server has not counted any."""
    both = [("input", usage.input_tokens), ("output", usage.output_tokens)]
    return both if usage.input_tokens or usage.output_tokens else []

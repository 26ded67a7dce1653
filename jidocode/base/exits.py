"""Why a process ended: the exit reasons, and which of them count as normal.

OTP's reasons are terms (`normal`, `shutdown`, `{shutdown, T}`, anything else);
here each is a small record. `Killed` and a `Crashed` without a traceback are
what is known when a process could not say anything itself.
"""

from __future__ import annotations

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.base.text import line, word

_PATH_LENGTH = 6
"""Ids that a sentence shows."""


@frozen(eq=False, repr=False)
class Normal(Record):
    """It finished its work (OTP: `normal`)."""

    def __str__(self) -> str:
        return "normal"


@frozen(eq=False, repr=False)
class FailedChild(Record):
    """The child that a supervisor could not start (OTP: `failed_to_start_child`).

    Attributes:
        id: The id of its spec.
        reason: Why it could not be started.
    """

    id: str
    reason: ExitReason


@frozen(eq=False, repr=False)
class Shutdown(Record):
    """It was told to stop, or gave up in order (OTP: `shutdown`, `{shutdown, Detail}`).

    Attributes:
        detail: Why, in words.
        failed: The child that could not be started, if a supervisor's own start failed for it.
    """

    detail: str = ""
    failed: FailedChild | None = None

    def __str__(self) -> str:
        if self.failed is not None:
            path, cause = failure(self.failed.id, self.failed.reason)
            return f"shutdown (failed to start child {path_text(path)}: {cause})"
        return f"shutdown ({line(self.detail)})" if self.detail else "shutdown"


@frozen(eq=False, repr=False)
class Killed(Record):
    """A signal ended it before it could say anything (OTP: `killed`).

    *signal* is the signal's number, 0 if the exit status was not seen.
    """

    signal: int = 0

    def __str__(self) -> str:
        return f"killed by signal {self.signal}" if self.signal else "killed"


@frozen(eq=False, repr=False)
class Crashed(Record):
    """It failed: an exception, a bad return value, or an exit status of its own.

    *error* is the exception's type name and message, *traceback* the traceback
    as text, empty if there was none.
    """

    error: str
    traceback: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"crashed: {line(self.error)}"


@frozen(eq=False, repr=False)
class NoProcess(Record):
    """It was dead, or never there, when somebody asked (OTP: `noproc`)."""

    def __str__(self) -> str:
        return "no process"


ExitReason = Normal | Shutdown | Killed | Crashed | NoProcess

NORMAL = Normal()
SHUTDOWN = Shutdown()


def is_normal(reason: ExitReason) -> bool:
    """Whether a transient child with this *reason* stays down (OTP: `normal`, `shutdown`)."""
    return isinstance(reason, (Normal, Shutdown))


def failure(child_id: str, reason: ExitReason) -> tuple[tuple[str, ...], ExitReason]:
    """Return what failed in a start that ended with *reason*: the ids that lead there, and why.

    The first id is *child_id*; the last one is that of the child without which all those above
    it could not start.
    """
    path = [child_id]
    while isinstance(reason, Shutdown) and reason.failed is not None:
        path.append(reason.failed.id)
        reason = reason.failed.reason
    return tuple(path), reason


def path_text(path: tuple[str, ...]) -> str:
    """Return the ids of *path*, outermost first, as words of one sentence; a long one is cut."""
    words = [word(each) for each in path]
    if len(words) > _PATH_LENGTH:
        words[2:-2] = ["..."]
    return " > ".join(words)


def best_reason(note: ExitReason | None, status: int | None) -> ExitReason:
    """Return the best reason that a dead process's traces give.

    Args:
        note: What the process said before it left, if it said anything.
        status: Its exit status as `subprocess` counts it (negative: a signal),
            None if nobody saw it.

    A signal beats the note: a process that was killed while it left did not
    finish leaving. Without a note even status 0 is a crash, for a server that
    ends in order says so (`os._exit(0)` in a handler is no order).
    """
    if status is not None and status < 0:
        return Killed(-status)
    if note is not None:
        return note
    if status is None:
        return Killed()
    return Crashed(f"exited with status {status} and without a word")

"""What the processes of a system have logged, for a process that has not started it."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import field, frozen

from jidocode._host.attach.door import ASKS_LOG, LOG
from jidocode._host.attach.place import require_name
from jidocode._host.attach.visit import visit
from jidocode._host.deadline import Deadline
from jidocode.base.records import Record
from jidocode.errors import AttachError
from jidocode.otp.seconds import MAX_SECONDS, require_seconds
from jidocode.session.arguments import require_int

_ALL = 2**32 - 1
_SHORTEST = 0.1


@frozen(eq=False, repr=False, kw_only=True)
class Logged(Record):
    """A line of the log.

    Attributes:
        at: When whoever has started the system heard it, in UTC.
        level: The name of its level.
        process: The kind of the process that wrote it.
        pid: The id of that process.
        module: The module that wrote it, or the name of the `logging` logger.
        function: The function.
        line: The line in its file.
        text: What it says; overlong ones lose their ends.
        extra: What was bound to it, the `traceback` of a crash among it.
        lost: How many lines before it are missing: its process wrote too fast, or
            whoever reads is too slow.
    """

    at: datetime
    level: str
    process: str
    pid: int
    module: str | None
    function: str
    line: int
    text: str = field(repr=False)
    extra: Mapping[str, object] = field(repr=False)
    lost: int = 0


def read_log(
    name: str, *, last: int, follow: bool = False, timeout: float = 10.0
) -> Generator[Logged]:
    """Yield the *last* lines that the processes of the system called *name* have logged.

    Of older ones some are not kept. Without *follow* it ends after as many lines as there were
    when it began; if the system has dropped some before they were read, because lines come
    fast, later ones take their places. With *follow* it goes on until the system ends.

    Args:
        name: As the system was started with.
        last: How many, 0 or more.
        follow: Whether to go on with those that come.
        timeout: Seconds in which the system has to let this process in, and for each answer.

    Raises:
        SystemNotFoundError: No live system of this user is called so.
        AttachError: It does not let this process in, or does not answer; or it ends, if it is not
            followed.
        InvalidSettingError: No system can be called so.
        InvalidRequestError: *last* is no such number.
        InvalidTimeError: *timeout* is no time.
    """
    require_int("last", last, least=0)
    require_seconds("timeout", timeout)
    patience = min(max(timeout, _SHORTEST), MAX_SECONDS)
    inside = visit(require_name(name), Deadline.after(patience))
    try:
        after, wanted, left = 0, min(last, _ALL), math.inf
        is_first = True
        while True:
            waits = follow and not is_first
            request = LOG.pack(ASKS_LOG, after, wanted, waits)
            answer: dict[str, Any] = json.loads(inside.ask(request, None if waits else patience))
            lines = answer["lines"]
            if is_first and lines and not follow:
                left = answer["count"] - lines[0]["number"] + 1
            for each in lines:
                missing = 0 if is_first else each["number"] - after - 1
                after, is_first = each["number"], False
                yield _logged(each, missing)
                left -= 1
                if not left:
                    return
            if not lines:
                after, is_first = max(after, answer["count"]), False
            if after >= answer["count"] and not follow:
                return
            wanted = _ALL
    except EOFError:
        if not follow:
            raise AttachError(f"system {name} has ended") from None
    except TimeoutError:
        raise AttachError(f"system {name} does not answer within {timeout:g} s") from None
    finally:
        inside.close()


def _logged(data: dict[str, Any], missing: int) -> Logged:
    return Logged(
        at=datetime.fromtimestamp(data["at"], UTC),
        level=data["level"],
        process=data["process"],
        pid=data["pid"],
        module=data["module"],
        function=data["function"],
        line=data["line"],
        text=data["text"],
        extra=data["extra"],
        lost=data["lost"] + missing,
    )

"""Which open files a command inherits: those that it is given, and no others.

An open file is a right: Landlock asks when a file is opened, and never again. So whatever the
app has open would be the command's to read and write.
"""

from __future__ import annotations

from collections.abc import Iterable

from jidocode.session.confinement.kernel import call

_CLOSE_RANGE = 436
_LAST = 2**32 - 1


def close_others(keep: Iterable[int] = (0, 1, 2)) -> None:
    """Close all open files of this process but *keep*; for a child, between fork and exec.

    It has to come after `Prepared.apply`, which needs an open file of its own.

    Raises:
        OSError: They cannot be closed; the child must not execute anything then.
    """
    first = 0
    for fd in sorted(keep):
        if fd > first:
            call(_CLOSE_RANGE, first, fd - 1, 0)
        first = fd + 1
    call(_CLOSE_RANGE, first, _LAST, 0)

"""What a command may use of the machine, as data; the kernel holds each of its processes to it."""

from __future__ import annotations

import resource

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError

_GIB = 2**30
_MOST = 2**62
_CPU_GRACE = 5
"""Seconds of processor time from SIGXCPU, at which most programs end, to SIGKILL."""


def _limit(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise InvalidRequestError(
            f"a limit must be None or an int from 0 to {_MOST}, not {quote(value)}"
        )
    return value


@frozen(eq=False, repr=False, kw_only=True)
class CommandLimits(Record):
    """Limits of each process of a command; None leaves one as it is for the app.

    They are for each process, not for all of them together. No limit is raised above what the
    app has itself.

    Args:
        core: Bytes of a core dump.
        file_size: Bytes of any file it writes; the process gets SIGXFSZ, or EFBIG.
        data: Bytes of memory of its own, reserved addresses not counted.
        descriptors: Files it has open at a time.
        cpu: Seconds of processor time; it gets SIGXCPU then, and SIGKILL a little later.
        processes: Processes of its user, all of them, and not those of this command alone: so it
            may fail for what others do. It does not hold for root.

    Raises:
        InvalidRequestError: A limit is neither None nor an int of 0 or more.
    """

    core: int | None = field(default=0, converter=_limit)
    file_size: int | None = field(default=16 * _GIB, converter=_limit)
    data: int | None = field(default=8 * _GIB, converter=_limit)
    descriptors: int | None = field(default=16_384, converter=_limit)
    cpu: int | None = field(default=None, converter=_limit)
    processes: int | None = field(default=None, converter=_limit)


def resource_limits(limits: CommandLimits) -> tuple[tuple[int, tuple[int, int]], ...]:
    """Return the arguments for `resource.setrlimit`, none above what this process has."""
    wanted = (
        (resource.RLIMIT_CORE, limits.core, 0),
        (resource.RLIMIT_FSIZE, limits.file_size, 0),
        (resource.RLIMIT_DATA, limits.data, 0),
        (resource.RLIMIT_NOFILE, limits.descriptors, 0),
        (resource.RLIMIT_CPU, limits.cpu, _CPU_GRACE),
        (resource.RLIMIT_NPROC, limits.processes, 0),
    )
    return tuple(
        (kind, (_lower(kind, limit), _lower(kind, limit + grace)))
        for kind, limit, grace in wanted
        if limit is not None
    )


def _lower(kind: int, limit: int) -> int:
    _, hard = resource.getrlimit(kind)
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)

"""What the kernel refused, in words that name the limit behind it."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeGuard

P = ParamSpec("P")

MIN_DESCRIPTORS = 64
"""Descriptors that each process of a system must be allowed to have, for one small session."""

MIN_MEMORY = 64 << 20
"""Bytes that a host, and beside what it has already an app, must be allowed to address.

Measured with 8 MB for the stack of each thread: it is 55 MB where a start just so succeeds.
"""

_MEMORY = [  # the limit, its name, and which figure of /proc/self/statm it bounds
    (resource.RLIMIT_AS, "RLIMIT_AS (ulimit -v)", 0),
    (resource.RLIMIT_DATA, "RLIMIT_DATA (ulimit -d)", 5),
]

_NO_MEMORY = "not enough memory for a system: see " + ", ".join(name for _, name, _ in _MEMORY)
"""Said where there is not enough to find out more, so it is made beforehand."""

_LIMITS = {
    errno.EAGAIN: (
        "no more process or thread may be started: see RLIMIT_NPROC (ulimit -u), pids.max of its "
        "control group (TasksMax=, --pids-limit), and for its memory RLIMIT_AS (ulimit -v)"
    ),
    errno.EMFILE: "see RLIMIT_NOFILE (ulimit -n)",
    errno.ENFILE: "see fs.file-max",
    errno.ENOMEM: "see RLIMIT_AS (ulimit -v)",
}


def is_kernels(error: BaseException) -> TypeGuard[OSError]:
    """Whether the kernel has refused something by *error*, which it numbers.

    What a signal handler raises is often a TimeoutError, which is an OSError, too.
    """
    return isinstance(error, OSError) and error.errno is not None


def explain(error: OSError) -> str:
    """Return what *error* says and, if a limit may be its cause, which."""
    text = error.strerror or str(error)
    if isinstance(error.filename, str):
        text = f"{text}: {error.filename}"
    limit = _LIMITS.get(error.errno or 0)
    return f"{text}: {limit}" if limit else text


def require_descriptors(name: str) -> None:
    """Raise `AttachError` where this process may not have those it takes to attach to *name*.

    Beforehand, because who has none left hears no answers, as if the system gave none.
    """
    from jidocode.errors import AttachError  # noqa: PLC0415 - a guard has no use for it

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < MIN_DESCRIPTORS:
        raise AttachError(
            f"system {name} cannot be attached to: Too many open files: RLIMIT_NOFILE (ulimit -n) "
            f"allows {limit} in this process, and it needs {MIN_DESCRIPTORS}"
        )


def refuse_tight_memory() -> None:
    """Raise `HostStartError` where the app may not have the memory that a system takes.

    Beforehand, because to run out of memory says nothing: an import ends in some error of its
    own, a thread is refused as if there were too many.
    """
    from jidocode.errors import HostStartError  # noqa: PLC0415 - idem

    for number, name, place in _MEMORY:
        limit, _ = resource.getrlimit(number)
        if limit == resource.RLIM_INFINITY:
            continue
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - pathlib takes long to import
            used = int(file.read().split()[place]) * resource.getpagesize()
        if limit - used < MIN_MEMORY:
            raise HostStartError(
                f"not enough memory for a system: {name} allows {limit >> 20} MB, which leaves "
                f"{max(0, limit - used) >> 20} MB, and a system needs {MIN_MEMORY >> 20} MB"
            )


def explains_memory(start: Callable[P, None]) -> Callable[P, None]:
    """Return *start*, which raises `HostStartError` where it would raise MemoryError.

    Of so little memory that `refuse_tight_memory` itself gets none, or what comes before it.
    """

    @wraps(start)
    def explained(*args: P.args, **kwargs: P.kwargs) -> None:
        from jidocode.errors import HostStartError  # noqa: PLC0415 - idem

        try:
            start(*args, **kwargs)
        except MemoryError:
            raise HostStartError(_NO_MEMORY) from None

    return explained

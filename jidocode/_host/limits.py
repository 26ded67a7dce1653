"""What the kernel refused, in words that name the limit behind it."""

from __future__ import annotations

import errno

MIN_DESCRIPTORS = 64
"""Descriptors that each process of a system must be allowed to have, for one small session."""

_LIMITS = {
    errno.EAGAIN: "no more process or thread may be started: see RLIMIT_NPROC (ulimit -u)",
    errno.EMFILE: "see RLIMIT_NOFILE (ulimit -n)",
    errno.ENFILE: "see fs.file-max",
    errno.ENOMEM: "see RLIMIT_AS (ulimit -v)",
}


def explain(error: OSError) -> str:
    """Return what *error* says and, if a limit may be its cause, which."""
    text = error.strerror or str(error)
    limit = _LIMITS.get(error.errno or 0)
    return f"{text}: {limit}" if limit else text

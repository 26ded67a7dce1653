"""Waiting for descriptors, wherever they come from."""

from __future__ import annotations

import select
from collections.abc import Iterable

STDERR = 2


def wait_for_any(descriptors: Iterable[int], timeout: float | None = None) -> bool:
    """Wait until one of *descriptors* is readable: a pipe, or a process that has ended.

    Args:
        descriptors: Of any number, unlike those that `select.select` takes.
        timeout: Seconds to wait; None for ever.

    Returns:
        False if none is after *timeout* seconds.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))

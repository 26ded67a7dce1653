"""The guard: a process between the app and the host that outlives neither for long.

It does nothing but wait. When the app is gone, or the host is, it kills every
process below itself, whatever it may be, and ends.

Why there is one: whoever holds the promise that nothing is left behind may itself be
killed. The app cannot hold it, for after its `kill -9` no code of it runs. The host cannot
hold it alone: it runs code for others, may hang, and its own death has to be seen by
somebody. The guard reads nothing from anybody and allocates nothing while it waits, so
there is nothing that could make it hang or crash. And it is a subreaper: whatever an
actor has started, daemons too, becomes its child when the processes between are gone.

If the guard is killed, the host sees that and does the same for what is below it; if both
are killed at once, the kernel kills the actors (see `processes.die_with_parent`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import NoReturn

from jidocode._host import processes
from jidocode._host.descriptors import wait_for_any


def run_guard(
    run_host: Callable[[], int], *, keep: Collection[int], lifelines: Collection[int]
) -> NoReturn:
    """Fork the host, wait until it or the app is gone, and end with everything below.

    Args:
        run_host: What the host process runs.
        keep: Descriptors that only the host needs.
        lifelines: Readable when the app is gone: a pipe whose other end it holds,
            and its pidfd. The pipe also tells that the app wants an end; but it does
            not tell of every death, for a worker that the app has forked may hold
            the pipe open beyond the app's end.

    Raises:
        OSError: The kernel refuses to fork.
    """
    processes.adopt_orphans()
    # The host outlives the guard by a moment, to clean up below itself.
    host = processes.fork(run_host, keep=keep, dies_with_parent=False)
    for descriptor in keep:
        os.close(descriptor)
    wait_for_any([*lifelines, os.pidfd_open(host.pid)])
    processes.kill_orphans(())
    os._exit(0)

"""The guard: a process between the app and the host that outlives neither for long.

It does nothing but wait. When the app is gone, or the host is, it kills every
process below, whatever it may be, and ends. Whatever an actor has started and
left behind becomes the guard's child, so that nothing can slip away.

If the guard itself is killed, the host does the same for what is below it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from typing import NoReturn

from jidocode._host.daemon import processes


def stand_guard(
    run_host: Callable[[], int], *, keep: Collection[int], lifelines: Collection[int], run_dir: str
) -> NoReturn:
    """Fork the host, wait until it or the app is gone, and end with everything below.

    Args:
        run_host: What the host process runs.
        keep: Descriptors that only the host needs.
        lifelines: Readable when the app is gone: a pipe whose other end it
            holds, and its process, for a worker that the app has forked may
            hold the pipe open beyond its end.
        run_dir: The system's private folder, removed at the end.
    """
    processes.adopt_orphans()
    processes.set_name("jido-guard")
    host = processes.fork(run_host, keep=keep, dies_with_parent=False)
    for descriptor in keep:
        os.close(descriptor)
    processes.wait_for_any([*lifelines, os.pidfd_open(host.pid)])
    processes.bury_orphans(())
    shutil.rmtree(run_dir, ignore_errors=True)
    os._exit(0)

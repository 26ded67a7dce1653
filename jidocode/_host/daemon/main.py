"""The guard and the host, in the fresh interpreter that `launcher` has started.

The start protocol, seen from here:

1. Standard input brings one line of JSON, the orders (`BOOTSTRAP` in `launcher` has read
   it): the key, where to import from, what to preload. It stays open: it is the lifeline,
   readable again when the app is gone or closes it.
2. This process becomes the guard. Its one child becomes the host, Thespian's Admin.
3. Standard output takes one line of JSON, the report: where the host listens, or why there
   is none. Then it is closed.

Why the orders do not come as arguments or in the environment: any process of the machine
can read those, and the key is among the orders.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
from functools import partial
from pathlib import Path
from typing import Any

from jidocode._host.daemon.guard import run_guard

MIN_DESCRIPTORS = 16_384
"""How many a process of the system may have open, if it is allowed to.

A session takes seven of the host's: a connection and a trace for each of its
three processes, and a connection back to its supervisor.
"""


def main(orders: dict[str, Any]) -> None:
    """Become the guard, with the host below."""
    # Masks and ignored signals are inherited. Deaths must be heard of, and the programs of the
    # actors must end when they are told to, whatever the app's thread had blocked.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Sent to all processes at once, they are the app's affair: guard and host end after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, MIN_DESCRIPTORS)), hard))
    gc.disable()  # until `prepare_host`: what it frees would be holes in pages that forks share
    lifeline, report = _take_over_streams()
    _use_run_dir(orders["run_dir"])
    # With the /proc of another pid namespace, what is found there and killed would be strangers.
    if not _proc_is_ours():
        _report(report, error="/proc does not show the processes of this pid namespace")
        return
    try:
        app = os.pidfd_open(orders["app"])
    except ProcessLookupError:
        Path(orders["run_dir"]).rmdir()
        return
    guard = os.pidfd_open(os.getpid())
    run_guard(
        partial(_run_host, orders, report, guard),
        keep=(report, guard, orders["log"]),
        lifelines=(lifeline, app),
        run_dir=orders["run_dir"],
    )


def _run_host(orders: dict[str, Any], report: int, guard: int) -> int:
    try:
        from jidocode._host.daemon.host import HostAdmin, prepare_host  # noqa: PLC0415 - the guard has no use for it
        from jidocode._host.transport.thespian import ThespianTransport  # noqa: PLC0415 - idem

        transport = ThespianTransport.for_admin(bytes.fromhex(orders.pop("key")))
        admin = HostAdmin(transport, guard, orders["log"], orders["run_dir"])
        prepare_host(admin, orders["preload"])
    except Exception as error:
        _report(report, error=f"{type(error).__name__}: {error}")
        raise
    address = transport.address
    try:
        _report(report, pid=os.getpid(), port=address.port, nonce=address.nonce)
    except BrokenPipeError:
        return 1  # the app has given up waiting
    os.close(report)
    admin.run()
    return 0


def _proc_is_ours() -> bool:
    try:
        return Path("/proc/self").readlink().name == str(os.getpid())
    except OSError:
        return False


def _take_over_streams() -> tuple[int, int]:
    """Move the lifeline and the report pipe aside; return their descriptors.

    A print or an `input()` in a user's module would disturb them: from now on standard
    input is empty, and what is printed goes to standard error.
    """
    lifeline, report = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return lifeline, report


def _use_run_dir(run_dir: str) -> None:
    """Have temporary files, Thespian's own log among them, in the system's private folder."""
    os.environ["TMPDIR"] = run_dir
    os.environ["THESPLOG_FILE"] = str(Path(run_dir, "thespian.log"))


def _report(descriptor: int, **facts: Any) -> None:
    os.write(descriptor, json.dumps(facts).encode("ascii") + b"\n")

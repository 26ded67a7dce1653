"""The guards and the host, in the fresh interpreter that `launcher` has started.

The start protocol, seen from here:

1. A file in memory holds the orders (`BOOTSTRAP` in `interpreter` has read it): the key,
   where to import from, what to preload, and the descriptors of the rest.
2. This process becomes the first guard. Its one child becomes the second, and the child of
   that the host, Thespian's Admin. All three hold the lifeline, a pipe that is readable when
   the app is gone or closes it.
3. The report takes one line of JSON: where the host listens, or why there is none. Then it
   is closed.

Why the orders do not come as arguments or in the environment: any process of the machine
can read those, and the key is among the orders.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from jidocode._host import processes
from jidocode._host.daemon.guard import Watch, run_guard
from jidocode._host.descriptors import STDERR
from jidocode._host.limits import MIN_DESCRIPTORS, explain
from jidocode._host.nesting import join_system

if TYPE_CHECKING:
    from jidocode._host.transport.messenger import Messenger

REACH_SECONDS = 2.0
WANTED_DESCRIPTORS = 16_384
"""How many a process of the system may have open, if it is allowed to.

A session takes seven of the host's: a connection and a trace for each of its
three processes, and a connection back to its supervisor.
"""


def main(orders: dict[str, Any], library: Sequence[str]) -> None:
    """Become the first guard, with all else below; *library* is where Python's own modules are."""
    join_system()
    # What was imported before may have closed one, whose number must be no pipe of ours.
    while os.open(os.devnull, os.O_RDWR) <= STDERR:
        pass
    # Masks and ignored signals are inherited. Deaths must be heard of, and the programs of the
    # actors must end when they are told to, whatever the app's thread had blocked.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Sent to all processes at once, they are the app's affair: guard and host end after it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()  # until `prepare_host`: what it frees would be holes in pages that forks share
    os.environ["THESPLOG_FILE"] = os.devnull  # Thespian's own log, which holds message contents
    report = orders["report"]
    try:
        problem = _problem_here(orders["version"])
        if problem:
            _report(report, error=problem)
            return
        app = os.pidfd_open(orders["app"])
    except ProcessLookupError:  # the app is gone
        return
    except OSError as error:
        _report(report, error=explain(error))
        return
    processes.set_name("jido-guard", f"jidocode guard of {orders['app']}")
    watch = Watch((orders["lifeline"], app), orders["log"], orders["heartbeat"], orders["grace"])
    host = partial(_run_host, orders, library)
    _run_guard(report, partial(_run_guard, report, host), watch)


def _run_guard(report: int, run_below: Callable[[Watch], int], watch: Watch) -> int:
    try:
        run_guard(run_below, watch, keep=(report,))
    except OSError as error:
        _report(report, error=explain(error))
    return 1


def _problem_here(version: Sequence[int]) -> str:
    """Say why no system of an app that runs on *version* of Python can run here, if none can."""
    if [*sys.version_info[:2]] != [*version]:
        own, apps = (".".join(map(str, each)) for each in (sys.version_info[:2], version))
        return f"its Python is {own}, and the app's is {apps}: see the setting python"
    # With the /proc of another pid namespace, what is found there and killed would be strangers.
    if not _proc_is_ours():
        return "/proc does not show the processes of this pid namespace"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, min(hard, WANTED_DESCRIPTORS))
    if wanted < MIN_DESCRIPTORS:
        return (
            f"Too many open files: RLIMIT_NOFILE (ulimit -n) allows {wanted} in each process, "
            f"and a system needs {MIN_DESCRIPTORS}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return ""


def _run_host(orders: dict[str, Any], library: Sequence[str], watch: Watch) -> int:
    report = orders["report"]
    try:
        from jidocode._host.daemon.host import HostAdmin, prepare_host  # noqa: PLC0415 - the guard has no use for it
        from jidocode._host.daemon.import_path import use_app_path  # noqa: PLC0415 - idem
        from jidocode._host.transport.thespian import ThespianTransport  # noqa: PLC0415 - idem

        transport = ThespianTransport.for_admin(bytes.fromhex(orders.pop("key")))
        _reach(transport)
        admin = HostAdmin(transport, watch)
        processes.set_name("jido-host", f"jidocode host of {orders['app']}")
        use_path = partial(use_app_path, orders["path"], orders["library"], library)
        prepare_host(admin, orders["preload"], use_path)
    except Exception as error:
        _report(report, error=_in_words(error))
        raise
    address = transport.address
    try:
        pids = [os.getppid(), os.getpid()]
        _report(report, pids=pids, port=address.port, nonce=address.nonce)
    except BrokenPipeError:
        return 1  # the app has given up waiting
    os.close(report)
    try:
        admin.run()
    finally:
        watch.resume_guards()
    return 0


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        return explain(error)
    return f"{type(error).__name__}: {error}"


def _reach(transport: Messenger) -> None:
    """Raise `OSError` unless others of the system can reach *transport*."""
    try:
        transport.reach_itself(REACH_SECONDS)
    except OSError as error:
        text = f"127.0.0.1 cannot be reached, is there no loopback? {explain(error)}"
        raise OSError(error.errno, text) from error


def _proc_is_ours() -> bool:
    try:
        return os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115 - as in `orphans`
    except OSError:
        return False


def _report(descriptor: int, **facts: Any) -> None:
    os.write(descriptor, json.dumps(facts).encode("ascii") + b"\n")

"""The guards: two processes between the app and the host that outlive neither for long.

A guard does nothing but wait. When the app is gone, or what is below, it kills every
process below itself, whatever it may be, and ends.

Why there is one: whoever holds the promise that nothing is left behind may itself be
killed. The app cannot hold it, for after its `kill -9` no code of it runs. The host cannot
hold it alone: it runs code for others, may hang, and its own death has to be seen by
somebody. A guard reads nothing from anybody and allocates nothing while it waits, so
there is nothing that could make it hang or crash. And it is a subreaper: whatever an
actor has started, daemons too, becomes its child when the processes between are gone.

Why there are two, one below the other, and the host below both: each of the three sees the
app's end and the end of the next ones, and does the same then for what is below it. So any
two of them may be killed or stopped in one instant. If all are killed, the kernel kills the
actors (see `processes.die_with_parent`), and what those have started lives on.

Nobody above a guard hears its signs of life, and one that is stopped is of no use. So
whoever is below sends it SIGCONT, which does nothing to one that runs: with each sign of life,
and at its own end. It must not be killed instead. Each one reaps who is below it: a guard
that is killed while it waits for that leaves a zombie to init, which may not look for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import termios
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple, NoReturn

from jidocode._host import processes
from jidocode._host.descriptors import signal_all, wait_for_any
from jidocode.base import orphans

MAX_MISSED = 2
"""After how many signs of life that stay away in a row somebody counts as hung."""
OTHERS_SECONDS = 0.1
"""How long a guard lets those below clean up before it kills them, for one may be stopped."""
MAX_BEATS = 4_096
"""As many as may wait to be read at once."""
_NOTHING = bytes(4)
"""What the kernel says is in an empty pipe."""


class Watch(NamedTuple):
    """What guards and host watch, besides what is below them.

    Attributes:
        lifelines: Descriptors that are readable when the app is gone: a pipe whose other end
            it holds, and its pidfd. The pipe also tells that the app wants an end, by a byte that
            nobody reads; but it does not tell of every death, for a worker that the app has
            forked may hold the pipe open beyond the app's end.
        log: The socket of the log.
        heartbeat: Seconds from one sign of life to the next; None if there are none.
        grace: Seconds that the tree has to stop in order if the app ends without a word.
        guards: The pidfds of the guards above.
        pulse: The pipe for signs of life to the guard above; None for the first guard.
    """

    lifelines: tuple[int, ...]
    log: int
    heartbeat: float | None
    grace: float
    guards: tuple[int, ...] = ()
    pulse: int | None = None

    @property
    def ends(self) -> tuple[int, ...]:
        """What is readable when the one that watches is to end with all below."""
        return (*self.lifelines, *self.guards)

    @property
    def patience(self) -> float:
        """How many seconds are left to those below now that the app is gone; 0 if it is not."""
        wants_an_end = fcntl.ioctl(self.lifelines[0], termios.FIONREAD, _NOTHING) != _NOTHING
        return self.grace if wait_for_any(self.lifelines, 0) and not wants_an_end else 0.0

    def beat(self) -> None:
        """Give a sign of life, and have the guards give theirs."""
        if self.pulse is not None:
            with contextlib.suppress(OSError):  # a guard that is stopped, or gone, reads none
                os.write(self.pulse, b"\0")
        self.resume_guards()

    def resume_guards(self) -> None:
        """Have those guards go on that are stopped."""
        signal_all(self.guards, signal.SIGCONT)

    def end(self) -> NoReturn:
        """End, with everything below; the guards see it, and do the same."""
        orphans.end_all()
        self.resume_guards()
        os._exit(0)


def run_guard(
    run_below: Callable[[Watch], int], watch: Watch, *, keep: Collection[int]
) -> NoReturn:
    """Fork what is below, wait until it or the app is gone, and end with everything below.

    Args:
        run_below: What the process below runs, with what it is to watch.
        watch: What to watch.
        keep: Descriptors that only those below need.

    Raises:
        OSError: The kernel refuses to fork.
    """
    orphans.adopt_orphans()
    pulse, beating = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    own = os.pidfd_open(os.getpid())
    for_below = watch._replace(guards=(*watch.guards, own), pulse=beating)
    # Who is below outlives the guard by a moment, to clean up below itself.
    below = processes.fork(
        partial(run_below, for_below),
        keep=(*keep, *for_below.ends, watch.log, beating),
        dies_with_parent=False,
    )
    for descriptor in (*keep, own, beating):
        os.close(descriptor)
    if _wait(watch, below.descriptor, pulse):
        wait_for_any([below.descriptor, *watch.guards], watch.patience)
        _let_others_end()
        watch.end()
    below.kill()
    _report_silence(watch)
    watch.end()


def _let_others_end() -> None:
    """Wait a moment for a guard and a host below, which see the same end, to end by themselves.

    Each of them cleans up below itself first. If it were killed in the middle of that, what
    is left would be this guard's to clean up, alone: and if this one were killed then, nobody's.
    """
    deadline = time.monotonic() + OTHERS_SECONDS
    with contextlib.suppress(ChildProcessError):  # there are none any more
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(orphans.PAUSE_SECONDS)


def _wait(watch: Watch, below: int, pulse: int) -> bool:
    """Wait for an end; False if those *below* have given no sign of life for too long."""
    ends = (*watch.ends, below)
    missed, patience = 0, None  # until the host begins to give them, it is the app that waits
    while missed < MAX_MISSED:
        if not wait_for_any([*ends, pulse], patience):
            missed += 1  # once may be our own fault: all were stopped, and we were first to go on
        elif wait_for_any(ends, 0) or not os.read(pulse, MAX_BEATS):
            return True
        else:
            missed, patience = 0, watch.heartbeat
            watch.beat()
    return False


def _report_silence(watch: Watch) -> None:
    from jidocode._host.shipper import Shipper  # noqa: PLC0415 - a guard has no use for it before
    from jidocode.base import log  # noqa: PLC0415 - idem

    log.send_lines_to(Shipper(watch.log, "guard").ship)
    seconds = MAX_MISSED * (watch.heartbeat or 0.0)
    log.error("the host gave no sign of life for {:g} s: the system ends", seconds)

"""The spawner: forks the runners of a session's commands, and reaps them.

Why there is one: the server has threads, and a lock that one of them holds at a fork is held in
the child for ever; and it has much memory, all of which each fork is given and each exec
takes away again, which takes several times as long as all the rest. So the spawner is
an interpreter of its own, that has imported next to nothing, has one thread, and nothing open
but its channels. What it runs (`runner`, `program`) imports nothing of other rooms.

It adopts what a runner that was killed leaves behind, and kills it. It keeps the far end of
each runner's channel open until all of that is done: so when the server sees the end of a
channel, nothing of the command is left, however its runner ended.

When its server is gone, it ends all that is below it, and itself. When it is gone itself,
the server ends, and whoever adopts what both leave behind kills it (the host).
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from jidocode.base import orphans
from jidocode.session.commands.channel import Channel
from jidocode.session.commands.runner import GIVE_UP_SECONDS, run_runner
from jidocode.session.commands.words import FAILED, obstructed, word
from jidocode.session.confinement.namespaces import Obstacle, make_users

RUN = b"R"
"""What it is told: fork a runner, for the channel whose end comes with the word."""
RUN_APART = b"A"
"""The same, for a command in namespaces of its own."""

_LEFT_TO_APP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


_BOOTSTRAP = """
import sys, types
package = types.ModuleType("jidocode")  # as it is but for its `__init__`, which takes longer
package.__path__ = [sys.argv[2]]
sys.modules["jidocode"] = package
from jidocode.session.commands.spawner import main
main(int(sys.argv[1]))
"""
_TAKEN_OVER = ("LD_LIBRARY_PATH",)
"""Variables without which some interpreters do not start."""


def start_spawner() -> tuple[subprocess.Popen[bytes], Channel]:
    """Start the spawner; return its process, and the channel to it. It is not waited for.

    Raises:
        OSError: The kernel refuses.
    """
    ours, theirs = Channel.pair()
    descriptor = theirs.fileno()
    package = str(Path(__file__).parents[2])
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, and our own words
            [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, str(descriptor), package],
            stdin=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _TAKEN_OVER if name in os.environ},
            cwd="/",
            pass_fds=[descriptor],
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def request_runner(spawner: Channel, *, apart: bool) -> Channel | None:
    """Have *spawner* fork a runner; return the channel to it, None if the spawner is gone.

    Nobody waits: what is sent by the channel is there when the runner is. With *apart* its
    command will be in namespaces of its own.

    Raises:
        OSError: No descriptor is left, or the spawner is behind.
    """
    ours, theirs = Channel.pair()
    try:
        if spawner.send(RUN_APART if apart else RUN, [theirs.fileno()]):
            return ours
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.close()
    return None


def main(descriptor: int) -> None:
    """Be the spawner; *descriptor* is the channel to the server (called by the interpreter)."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - its signature
    orphans.adopt_orphans()
    # Sent to all processes of an app at once, they are the app's affair.
    for number in _LEFT_TO_APP:
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()
    try:
        _Spawner(Channel.of(descriptor)).run()
    finally:
        orphans.end_all()


class _Spawner:
    """Forks, and reaps."""

    def __init__(self, control: Channel) -> None:
        self._control = control
        self._runners: dict[int, tuple[int, Channel]] = {}  # pid and far end, by pidfd
        self._poll = select.poll()
        self._users: int | None = None  # the user namespace of all commands, once there is one

    def run(self) -> None:
        """Do what the server says until it is gone."""
        self._poll.register(self._control, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            for pidfd in ready & self._runners.keys():
                self._bury(pidfd)
            if self._control.fileno() in ready:
                message, descriptors = self._control.receive()
                if not message:
                    return
                self._fork(Channel.of(descriptors[0]), apart=message == RUN_APART)

    def _fork(self, channel: Channel, *, apart: bool) -> None:
        try:
            if apart and self._users is None:
                from jidocode.session.confinement.world import World  # noqa: PLC0415 - if it is wanted

                del World  # it is for the forks
                self._users = make_users()
            pid = os.fork()
            if not pid:
                run_runner(channel, self._users)
            pidfd = os.pidfd_open(pid)
        except Obstacle as obstacle:
            channel.send(obstructed(obstacle))
            channel.close()
            return
        except OSError as error:
            channel.send(word(FAILED, error.errno or errno.EAGAIN))
            channel.close()
            return
        self._runners[pidfd] = pid, channel
        self._poll.register(pidfd, select.POLLIN)

    def _bury(self, pidfd: int) -> None:
        """Reap a runner, and kill what it has left behind, if it was killed itself."""
        pid, channel = self._runners.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        alive = {other for other, _ in self._runners.values()}
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while status and time.monotonic() < give_up_at:
            if orphans.kill_orphans(alive) and orphans.kill_orphans(alive):
                break
            time.sleep(orphans.PAUSE_SECONDS)
        channel.close()

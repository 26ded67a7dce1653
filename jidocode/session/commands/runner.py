"""The runner of one command: the process above it, that ends all of it.

Why each command has one: whatever a command starts, daemons that have left its session
and its group among it, has to end with it, and nothing else. A process that adopts what
those below it leave behind (`orphans`) has all of it among its own children, and
one process for several commands could not tell whose a daemon is.

It is single-threaded, for it forks and kills, and it waits for nothing but its channel and
its command. Its channel is the only thing that keeps it: when the server at the other end is
gone, it ends all that is below it, and itself.

A command has ended when its main process has. What is left of it then has a moment, to
write down what it still has to; a server that was started with `&` would hold its caller up
for ever.

A runner whose command has left nothing has the next one: a fork less, and by then the process
that becomes its program waits already. Any other ends with its command.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import NoReturn

from jidocode.base import orphans
from jidocode.session.commands.channel import MAX_MESSAGE, Channel, close_all_but
from jidocode.session.commands.program import become_program
from jidocode.session.commands.words import (
    DONE,
    END,
    EXITED,
    GONE,
    SIGNAL,
    STARTED,
    obstructed,
    parse,
    word,
)
from jidocode.session.confinement.namespaces import Obstacle, be_init, leave

LINGER_SECONDS = 0.2
"""How long what a command has started may outlive its main process."""
GIVE_UP_SECONDS = 2.0
"""How long the end is kept back for those who resist SIGKILL; they are killed on."""
POLL_SECONDS = 0.005
"""Between two looks whether anything is left."""


def run_runner(channel: Channel, users: int | None) -> NoReturn:
    """See to the end of the commands that will come by *channel*, one after the other.

    With *users*, a user namespace, there is one, and it is in namespaces of its own.
    """
    status = 1
    try:
        close_all_but(channel.fileno(), *(() if users is None else (users,)))
        orphans.adopt_orphans()
        init = None if users is None else _start_init(users)
        while _run_next(channel, init):
            pass
        status = 0
    except Obstacle as obstacle:
        channel.send(obstructed(obstacle))
        status = 0
    finally:
        orphans.end_all()
        os._exit(status)


def _start_init(users: int) -> int:
    """Start the init of the command's namespace; return what is to be closed for its end."""
    leave(users)
    os.close(users)
    reading, ours = os.pipe()
    if not os.fork():
        close_all_but(reading)
        be_init(reading)
    os.close(reading)
    return ours


def _run_next(channel: Channel, init: int | None) -> bool:
    """Fork the process of the next command, and see to its end; return whether to go on."""
    reading, failure = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        become_program(channel, failure)
    os.close(failure)
    try:
        return _Runner(channel, pid, init).run(reading)
    finally:
        os.close(reading)


class _Runner:
    """Follows one command from its start to the end of all of it."""

    def __init__(self, channel: Channel, pid: int, init: int | None) -> None:
        self._channel = channel
        self._pid = pid
        self._init = init
        self._kill_at: float | None = None
        self._poll = select.poll()

    def run(self, failure: int) -> bool:
        """Follow it; return when nothing is left of it, or nobody wants it any more.

        Returns:
            Whether there may be another one: all of this is gone, and somebody wants them.
        """
        problem = os.read(failure, MAX_MESSAGE)  # nothing, once the program is executed
        if problem:
            self._channel.send(problem)
            return False
        if not self._channel.send(word(STARTED, self._pid)):
            return False
        self._poll.register(self._channel, select.POLLIN)
        status = self._await_exit()
        if status is None:
            return False
        if self._init is None and _is_childless():
            return self._channel.send(word(DONE, status))
        self._channel.send(word(EXITED, status))
        if self._init is not None:  # of what is left it is the parent, and knows its end
            with contextlib.suppress(BrokenPipeError):  # it was killed, and all with it
                os.write(self._init, b"!")
        self._end_rest()
        self._channel.send(word(GONE))
        return False

    def _await_exit(self) -> int | None:
        """Return how the main process ended; None if the server is gone."""
        pidfd = os.pidfd_open(self._pid)
        self._poll.register(pidfd, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll(self._milliseconds_left())}
            if pidfd in ready:
                break
            if ready and not self._take_word():
                return None
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._signal_group(signal.SIGKILL)
                self._kill_at = None
        self._poll.unregister(pidfd)
        os.close(pidfd)
        return self._reap()

    def _reap(self) -> int:
        """Return how the main process, which is dead, has ended."""
        # Whoever traces a process is told of its death first, and it is nobody else's to reap
        # until then. A command may be traced by what it has started, and that may never ask.
        now = time.monotonic()
        while time.monotonic() < now + GIVE_UP_SECONDS:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= now + LINGER_SECONDS:
                orphans.kill_orphans({self._pid})
            time.sleep(orphans.PAUSE_SECONDS)
        return -signal.SIGKILL

    def _milliseconds_left(self) -> float | None:
        if self._kill_at is None:
            return None
        return max(0.0, self._kill_at - time.monotonic()) * 1000 + 1

    def _take_word(self) -> bool:
        """Do what the server says; return whether it is there."""
        message, _ = self._channel.receive()
        if not message:
            return False
        letter, number = parse(message)
        if letter == SIGNAL:
            self._signal_group(number)
        elif letter == END:
            self._signal_group(signal.SIGTERM)
            self._signal_group(signal.SIGCONT)  # one that is stopped would not hear of it
            kill_at = time.monotonic() + number / 1000
            self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)
        return True

    def _signal_group(self, number: int) -> None:
        orphans.attempt(os.killpg, self._pid, number)

    def _end_rest(self) -> None:
        """Let what is left end by itself for a moment, then kill it; return when it is gone."""
        now = time.monotonic()
        linger_until = max(now + LINGER_SECONDS, self._kill_at or now)
        while not _is_childless() and time.monotonic() < linger_until:
            if self._poll.poll(POLL_SECONDS * 1000):
                message, _ = self._channel.receive()
                if not message:
                    return
                letter, number = parse(message)
                if letter == END:  # nobody has its group's number any more: no other is heeded
                    linger_until = min(linger_until, time.monotonic() + number / 1000)
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while not _is_childless() and time.monotonic() < give_up_at:
            if not (orphans.kill_orphans(()) and orphans.kill_orphans(())):
                time.sleep(orphans.PAUSE_SECONDS)


def _is_childless() -> bool:
    """Reap who is dead; return whether nobody is left, here or below."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False

"""The process that becomes a command's program: it waits for its order, and executes it.

It is forked before anybody wants it, and so is the runner above it: then all that is left
to do when a command is wanted is an exec.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import marshal
import os
import signal
import termios
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, Protocol

from jidocode.session.commands.channel import Channel


class Confinement(Protocol):
    """What a command may do, ready to be put into force."""

    def apply(self) -> None:
        """Put it into force for this process, and whatever it executes.

        Raises:
            OSError: That is not possible; then nothing is executed.
        """
        ...


class Order(NamedTuple):
    """What to execute.

    It comes in a file in memory. With the word that it is there come the descriptors of that
    file, of the current folder, and of standard input, output and error.

    Attributes:
        argv: The program and its arguments.
        environment: All of its variables.
        tty: Whether the standard streams are a terminal, which is to be its own.
    """

    argv: list[bytes]
    environment: dict[bytes, bytes]
    tty: bool


def write_order(order: Order) -> int:
    """Return the descriptor of a file in memory that holds *order*.

    Raises:
        OSError: No descriptor is left, or no memory.
    """
    descriptor = os.memfd_create("jidocode-order")
    try:
        with open(descriptor, "wb", buffering=0, closefd=False) as file:
            file.write(marshal.dumps(tuple(order)))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def become_program(channel: Channel, failure: int, confinement: Confinement | None) -> NoReturn:
    """Wait for the order that comes by *channel*, and execute it.

    Args:
        channel: Read once; what else comes is for the runner.
        failure: A pipe that is closed by the exec; if there is none, it says why.
        confinement: What the command may do; None for all that we may.
    """
    try:
        _prepare()
        message, descriptors = channel.receive()
        if message:
            _execute(descriptors, confinement)
    except BaseException as error:  # noqa: BLE001 - the runner says it
        number = (isinstance(error, OSError) and error.errno) or errno.EIO
        os.write(failure, number.to_bytes(4, "little"))
    finally:
        os._exit(127)


def _prepare() -> None:
    """Do beforehand what takes long: what a fork does for the first time copies its pages."""
    os.setsid()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _ = Order(*marshal.loads(marshal.dumps(([b"/"], {b"PATH": b"/"}, False))))  # noqa: S302 - our own
    with contextlib.suppress(OSError):
        os.execvpe(b"/", [b"/"], {b"PATH": b"/"})  # noqa: S606 - a folder is no program


def _execute(descriptors: Sequence[int], confinement: Confinement | None) -> None:
    file, folder, *streams = descriptors
    with open(file, "rb") as memory:  # noqa: PTH123 - it has no path
        memory.seek(0)
        order = Order(*marshal.loads(memory.read()))  # noqa: S302 - its sender is our own server
    os.fchdir(folder)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    if order.tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if confinement is not None:
        confinement.apply()
    os.execvpe(order.argv[0], order.argv, order.environment)  # noqa: S606 - it is what is wanted

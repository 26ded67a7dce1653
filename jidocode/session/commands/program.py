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
from typing import Any, NamedTuple, NoReturn

from jidocode.session.commands.channel import Channel
from jidocode.session.commands.words import BUILT, FAILED, obstructed, word
from jidocode.session.confinement.namespaces import Obstacle
from jidocode.session.confinement.seal import Seal


class Order(NamedTuple):
    """What to execute.

    It comes in a file in memory. With the word that it is there come the descriptors of that
    file, of the current folder, of standard input, output and error, and of the Landlock rules.
    If there is a world, it has rules of its own; then the last one, if it is there, is that of the
    mount namespace in which the same was built before.

    Attributes:
        argv: The program and its arguments.
        environment: All of its variables.
        tty: Whether the standard streams are a terminal, which is to be its own.
        seal: The fields of the `Seal` that confines it; None for nothing.
        world: The fields of the `World` that it sees; None for ours.
    """

    argv: list[bytes]
    environment: dict[bytes, bytes]
    tty: bool
    seal: tuple[Any, ...] | None
    world: tuple[Any, ...] | None = None


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


def become_program(channel: Channel, failure: int) -> NoReturn:
    """Wait for the order that comes by *channel*, and execute it.

    Args:
        channel: Read once; what else comes is for the runner.
        failure: A pipe that is closed by the exec; if there is none, what the runner is to say
            of it.
    """
    try:
        _prepare()
        message, descriptors = channel.receive()
        if message:
            _execute(channel, descriptors)
    except Obstacle as obstacle:
        os.write(failure, obstructed(obstacle))
    except BaseException as error:  # noqa: BLE001 - the runner says it
        os.write(failure, word(FAILED, (isinstance(error, OSError) and error.errno) or errno.EIO))
    finally:
        os._exit(127)


def _prepare() -> None:
    """Do beforehand what takes long: what a fork does for the first time copies its pages."""
    os.setsid()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    order = ([b"/"], {b"PATH": b"/"}, False, None, None)
    _ = Order(*marshal.loads(marshal.dumps(order)))  # noqa: S302 - our own
    with contextlib.suppress(OSError):
        os.execvpe(b"/", [b"/"], {b"PATH": b"/"})  # noqa: S606 - a folder is no program


def _execute(channel: Channel, descriptors: Sequence[int]) -> None:
    file, folder, *streams = descriptors[:5]
    last = descriptors[5] if len(descriptors) > 5 else None  # noqa: PLR2004 - see `Order`
    with open(file, "rb") as memory:  # noqa: PTH123 - it has no path
        memory.seek(0)
        order = Order(*marshal.loads(memory.read()))  # noqa: S302 - its sender is our own server
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    if order.tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if order.world is None:
        os.fchdir(folder)
    else:
        from jidocode.session.confinement.world import World  # noqa: PLC0415 - the spawner has it

        last = World(*order.world).enter(folder, last, lambda it: channel.send(word(BUILT), [it]))
    if order.seal is not None and last is not None:
        Seal(*order.seal).apply(last)
    os.execvpe(order.argv[0], order.argv, order.environment)  # noqa: S606 - it is what is wanted

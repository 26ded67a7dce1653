"""The process that becomes a command's program: it waits for its order, and executes it.

It is forked before anybody wants it, and so is the runner above it: then all that is left
to do when a command is wanted is an exec.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import marshal
import os
import signal
import termios
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from jidocode.session.commands.channel import Channel
from jidocode.session.commands.environment import DEFAULT_PATH, with_changes
from jidocode.session.commands.words import BUILT, FAILED, obstructed, word
from jidocode.session.confinement.namespaces import Obstacle
from jidocode.session.confinement.seal import Seal, rehearse

if TYPE_CHECKING:
    from jidocode.session.commands.wanted import Wanted
    from jidocode.session.confinement.confinement import Prepared


class Order(NamedTuple):
    """What to execute.

    It comes in a file in memory. With the word that it is there come the descriptors of that
    file, of the current folder, of standard input, output and error, and of the Landlock rules.
    If there is a world, it has rules of its own; then the last one, if it is there, is that of the
    mount namespace in which the same was built before.

    Attributes:
        paths: Where the program may be; the first one that can be executed is.
        argv: Its name and arguments.
        environment: All of its variables.
        tty: Whether the standard streams are a terminal, which is to be its own.
        seal: The fields of the `Seal` that confines it; None for nothing.
        world: The fields of the `World` that it sees; None for ours.
    """

    paths: list[bytes]
    argv: list[bytes]
    environment: dict[bytes, bytes]
    tty: bool
    seal: tuple[Any, ...] | None
    world: tuple[Any, ...] | None = None


def order_for(
    wanted: Wanted,
    variables: Mapping[str, str],
    prepared: Prepared | None,
    world: tuple[object, ...] | None,
    *,
    tty: bool = False,
) -> Order:
    """Return the order to execute what is *wanted*, which has *variables* beside its own."""
    argv = [os.fsencode(each) for each in wanted.argv]
    environment = {
        os.fsencode(name): os.fsencode(value)
        for name, value in with_changes(variables, wanted.env).items()
    }
    return Order(
        _paths_of(argv[0], environment.get(b"PATH", os.fsencode(DEFAULT_PATH))),
        argv,
        environment,
        tty=tty,
        seal=None if prepared is None else tuple(prepared.seal),
        world=world,
    )


def _paths_of(program: bytes, path: bytes) -> list[bytes]:
    """Return where *program* may be: as it is named, or in the folders of the variable *path*."""
    if b"/" in program:
        return [program]
    return [os.path.join(folder, program) for folder in path.split(b":")]  # noqa: PTH118 - bytes


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
        while message and not descriptors:  # it was for the command before this one
            message, descriptors = channel.receive()
        if message:
            _execute(channel, descriptors)
    except Obstacle as obstacle:
        os.write(failure, obstructed(obstacle))
    except BaseException as error:  # noqa: BLE001 - the runner says it
        os.write(failure, word(FAILED, (isinstance(error, OSError) and error.errno) or errno.EIO))
    finally:
        os._exit(127)


@functools.cache
def changed_signals() -> tuple[int, ...]:
    """Return the signals that do not do what they do by default.

    The spawner asks first: in each fork it would take longer than all the rest of it.
    """
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return tuple(each for each in numbers if signal.getsignal(each) is not signal.SIG_DFL)


def _prepare() -> None:
    """Do beforehand what takes long: what a fork does for the first time copies its pages."""
    os.setsid()
    for number in changed_signals():
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    fields = ([b"/"], [b"/"], {b"PATH": b"/"}, False, None, None)
    order = Order(*marshal.loads(marshal.dumps(fields)))  # noqa: S302 - our own
    rehearse()
    with contextlib.suppress(OSError):
        _become_one_of(order)  # a folder is no program


def _execute(channel: Channel, descriptors: Sequence[int]) -> None:
    file, folder, *streams = descriptors[:5]
    last = descriptors[5] if len(descriptors) > 5 else None  # noqa: PLR2004 - see `Order`
    data = os.pread(file, os.fstat(file).st_size, 0)
    order = Order(*marshal.loads(data))  # noqa: S302 - its sender is our own server
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
    _become_one_of(order)


def _become_one_of(order: Order) -> NoReturn:
    """Execute the first of the paths that can be; raises the error that says most."""
    problem: OSError | None = None
    for path in order.paths:
        try:
            os.execve(path, order.argv, order.environment)  # noqa: S606 - it is what is wanted
        except (FileNotFoundError, NotADirectoryError) as error:
            problem = problem or error
        except OSError as error:
            if problem is None or isinstance(problem, (FileNotFoundError, NotADirectoryError)):
                problem = error
    raise problem or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

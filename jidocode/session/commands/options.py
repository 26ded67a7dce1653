"""`CommandOptions`: what can be said of a command, besides what it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from jidocode.session.confinement.limits import CommandLimits
    from jidocode.session.confinement.network import Network


class CommandOptions(TypedDict, total=False):
    """What can be said of a command, by `CommandsClient.run` and `start`, and by what passes it on.

    Attributes:
        cwd: A folder of the project.
        env: Changes of its environment, which has nothing of the app's but PATH, language
            and time zone; None takes a variable away.
        stdin: What it can read; text as UTF-8. Nothing by default.
        timeout: Seconds until it is ended, as by `CommandHandle.cancel`, `INFINITY` for never;
            by default `Settings.command_timeout` for `run`, and never for `start`.
        output_limit: Bytes of each stream that are kept, the first half and the last;
            `Settings.command_output_limit` by default.
        merge: Whether its standard error is written to its standard output.
        tty: Whether it has a terminal; its size is 24 rows and 80 columns, or what is given.
        save_output: A file outside the project to be made, that all of its output goes to,
            up to 1 GiB.
        network: Which sockets it may have: `NoNetwork()`, `Ports(connect=[443], listen=[8000])`
            or `FullNetwork()`.
        read: Absolute paths that it may read and execute, too, with all beneath them.
        write: Absolute paths that it may change, too, with all beneath them.
        limits: What each of its processes may use of the machine; `Settings.command_limits` by
            default.
        ptrace: Whether it may debug what it has started itself, as `gdb` and `strace` do.
    """

    cwd: str | os.PathLike[str]
    env: Mapping[str, str | None] | None
    stdin: str | bytes | None
    timeout: float | None
    output_limit: int | None
    merge: bool
    tty: bool | tuple[int, int]
    save_output: str | os.PathLike[str] | None
    network: Network
    read: Sequence[str | os.PathLike[str]]
    write: Sequence[str | os.PathLike[str]]
    limits: CommandLimits | None
    ptrace: bool

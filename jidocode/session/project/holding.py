"""Who holds a session's folder: its supervisor, as long as the session is open.

A path is only how an app says which folder is meant. The folder may be moved while its session
is open, and something else may take its path. Manager and Commands hold it while they live, but
they come and go: whoever is started next looks for it at its path first, and if it is not there,
at the one process of the session that has held it all the time.

For that there is no message: a process in its `init` waits for its supervisor, which could not
answer before. What another process has open can be seen in /proc, and opened again from there.

It is held for another reason, too. The number of a folder that was deleted is free for the
next one that is made, as soon as nobody holds it: that would be taken for the project.
"""

from __future__ import annotations

import os
from contextlib import suppress

from jidocode.otp.server.gen_server import GenServer
from jidocode.session.project.descriptors import DIRECTORY, key_of
from jidocode.session.project.locate import ProjectKey


def hold_folder(path: str, key: ProjectKey) -> None:
    """Hold the folder at *path*, if it is the one with *key*, until this process ends.

    If it is not, nothing is held: whoever needs it says what is wrong.
    """
    with suppress(OSError):
        fd = os.open(path, DIRECTORY)
        if key_of(os.fstat(fd)) != key:
            os.close(fd)


def open_held(server: GenServer, key: ProjectKey) -> int | None:
    """Return a descriptor of the folder with *key*, which the supervisor of *server* holds.

    None if it holds none, or *server* runs in no session.
    """
    ref = None if server.name is None else server.whereis(server.sibling("session"))
    if ref is None:
        return None
    folder = f"/proc/{ref.os_pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - names are all that is needed
            with suppress(OSError):  # most are no folders
                fd = os.open(f"{folder}/{name}", DIRECTORY)
                if key_of(os.fstat(fd)) == key:
                    return fd
                os.close(fd)
    return None

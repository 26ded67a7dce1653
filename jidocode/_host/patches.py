"""Whether somebody has put coroutines in the place of threads, sockets and processes.

gevent and eventlet can replace parts of the standard library (monkey patching): whatever
blocks then lets other coroutines of the same thread run. A system's client cannot live on
that: its one reader is a real thread, which must run while the app does something else, and
it waits by epoll, which gevent takes out of `select`.
"""

from __future__ import annotations

import select
import socket
import subprocess
import threading

from jidocode.errors import HostStartError


def refuse_patches() -> None:
    """Raise `HostStartError` if the library that a client stands on has been replaced."""
    is_own = {
        "select": hasattr(select, "epoll"),
        "socket": socket.socket.__module__ == "socket",
        "subprocess": subprocess.Popen.__module__ == "subprocess",
        "thread": type(threading.Lock()).__module__ == "_thread",
    }
    patched = [name for name, own in is_own.items() if not own]
    if patched:
        raise HostStartError(
            f"the standard library is patched ({', '.join(patched)}), as gevent and eventlet do "
            "it, and a system needs its own threads and sockets: start the system in a process "
            "that is not patched, or leave these out (monkey.patch_all("
            f"{', '.join(f'{name}=False' for name in is_own)}))"
        )

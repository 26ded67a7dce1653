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
from typing import Any

from jidocode.errors import HostStartError

_LIBRARIES = ("gevent", "eventlet")


def refuse_patches() -> None:
    """Raise `HostStartError` if the library that a client stands on has been replaced."""
    present = {
        "select": getattr(select, "epoll", None),
        "socket": socket.socket,
        "subprocess": subprocess.Popen,
        "thread": type(threading.Lock()),
    }
    patched = [name for name, part in present.items() if part is None or _is_patch(part)]
    if patched:
        raise HostStartError(
            f"the standard library is patched ({', '.join(patched)}), as gevent and eventlet do "
            "it, and a system needs its own threads and sockets: start the system in a process "
            "that is not patched, or leave these out (monkey.patch_all("
            f"{', '.join(f'{name}=False' for name in present)}))"
        )


def _is_patch(part: Any) -> bool:
    return part.__module__.partition(".")[0] in _LIBRARIES

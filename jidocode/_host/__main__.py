"""The host process: `python -Im jidocode._host`, started by `launcher` and by nobody else.

It learns the key and where to import from on its standard input, which stays
open as a lifeline, becomes Thespian's Admin, reports its address on its
standard output, and runs until the app is gone.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def _take_over_streams() -> tuple[int, int]:
    """Move the lifeline and the report pipe aside, so that no print can disturb them."""
    lifeline, report = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return lifeline, report


def _read_line(descriptor: int) -> bytes:
    """Read one line, and not a byte more."""
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = os.read(descriptor, 1)
        if not chunk:
            raise EOFError("the app is gone")
        line += chunk
    return bytes(line)


def _report(descriptor: int, **facts: Any) -> None:
    os.write(descriptor, json.dumps(facts).encode("ascii") + b"\n")


def main() -> None:
    """Become the host."""
    os.environ["THESPLOG_FILE_MAXSIZE"] = "0"  # Thespian's own log would hold messages
    lifeline, report = _take_over_streams()
    orders = json.loads(_read_line(lifeline))
    sys.path[:] = orders["path"]
    try:
        from jidocode._host.admin import HostAdmin, prepare_host  # noqa: PLC0415 - idem
        from jidocode._host.transport import LoopbackTransport  # noqa: PLC0415

        app = os.pidfd_open(orders["app"])
        transport = LoopbackTransport.for_admin(bytes.fromhex(orders.pop("key")))
        admin = HostAdmin(transport, [lifeline, app])
        prepare_host(admin, orders["preload"])
        _report(report, port=transport.address.port, nonce=transport.address.nonce)
    except Exception as error:
        _report(report, error=f"{type(error).__name__}: {error}")
        raise
    os.close(report)
    admin.run()
    os._exit(0)


if __name__ == "__main__":
    main()

"""`Waiter`: the process that waits for the result of a command, which may be killed meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable

from jidocode.session.commands.loop import EventLoop


class Waiter:
    """A process, watched in the thread of the event loop until it ends, or is forgotten."""

    def __init__(self, loop: EventLoop, pid: int, on_end: Callable[[], object]) -> None:
        """Have *on_end* called once when process *pid* has ended; at once if it has already."""
        self._loop = loop
        self._on_end = on_end
        self._process: int | None = None
        try:
            self._process = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_soon(on_end)
        except OSError:  # no descriptor is left: the command ends by itself, or by its time
            pass
        else:
            loop.watch(self._process, self._end)

    def _end(self) -> None:
        self.forget()
        self._on_end()

    def forget(self) -> None:
        """Watch it no more; twice is fine."""
        process, self._process = self._process, None
        if process is not None:
            self._loop.unwatch(process)
            os.close(process)

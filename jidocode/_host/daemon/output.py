"""What the processes of a system print, on its way to the app's standard error.

Why it does not go there directly: a standard error may become unusable at any time. Its reader
ends, or does not read on; the terminal hangs up. Each print of a child would be an error in the
child then, or wait for ever, and end a session over nothing. So all print into a pipe
that is always read, here; what cannot be passed on is dropped.

And what the interpreter says while it starts is kept: if it fails, that is the reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import threading

from jidocode._host import threads
from jidocode._host.descriptors import STDERR, wait_for_any

MAX_TAIL = 2_000
"""Bytes that are kept of what was said last."""
CHUNK = 4_096
"""As much as a pipe that is writable takes at once, so that no write waits (pipe(7): PIPE_BUF)."""
WRITE_SECONDS = 0.2
"""How long a reader may be behind before something is dropped."""
CLOSE_SECONDS = 1.0

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Output:
    """The app's end of what a system's processes print; in a thread of its own.

    Attributes:
        writing: The descriptor that they print to; to be closed when they have it.
    """

    def __init__(self) -> None:
        """Begin."""
        with contextlib.ExitStack() as undo:
            self._reading, self.writing = os.pipe()
            undo.callback(os.close, self._reading)
            undo.callback(os.close, self.writing)
            self._stop = os.eventfd(0)
            undo.callback(os.close, self._stop)
            self._target = os.dup(STDERR) if _app_has_stderr() else None
            if self._target is not None:
                undo.callback(os.close, self._target)
            self._tail = b""
            self._patience = WRITE_SECONDS
            self._closed = False
            self._thread = threading.Thread(target=self._relay, name="jidocode-output", daemon=True)
            threads.start(self._thread)
            undo.pop_all()

    def close(self) -> None:
        """Pass on what has arrived, and end; closing twice is fine."""
        if not self._closed:
            self._closed = True
            os.eventfd_write(self._stop, 1)
            threads.join(self._thread, CLOSE_SECONDS)
            if not self._thread.is_alive():
                os.close(self._stop)

    def last_words(self) -> str:
        """Return the end of what was said, on one printable line."""
        text = _ESCAPES.sub("", self._tail.decode("utf-8", "replace"))
        return "".join(each if each.isprintable() else " " for each in " ".join(text.split()))

    def _relay(self) -> None:
        # An app may want to be ended by a SIGPIPE of its own; this one would not be.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
        while wait_for_any([self._reading, self._stop]) and wait_for_any([self._reading], 0):
            chunk = os.read(self._reading, CHUNK)
            if not chunk:
                break
            self._tail = (self._tail + chunk)[-MAX_TAIL:]
            if self._target is not None:
                self._pass_on(self._target, chunk)
        for descriptor in (self._reading, self._target):
            if descriptor is not None:
                os.close(descriptor)

    def _pass_on(self, target: int, chunk: bytes) -> None:
        poll = select.poll()
        poll.register(target, select.POLLOUT)
        while chunk:
            if not poll.poll(self._patience * 1000):
                self._patience = 0.0  # whoever is stuck shall not hold up those who print
                return
            self._patience = WRITE_SECONDS
            try:
                chunk = chunk[os.write(target, chunk) :]
            except BlockingIOError:
                continue
            except OSError:  # nobody reads it any more
                return


def _app_has_stderr() -> bool:
    """Whether descriptor 2 is a standard error: not closed, nor a file that got its number."""
    try:
        return os.get_inheritable(STDERR)
    except OSError:
        return False

"""`Pipes`: standard input and output, for a protocol alone."""

from __future__ import annotations

import fcntl
import os
from typing import Self

from attrs import frozen


@frozen
class Pipes:
    """Standard input and output as the client has them, which nothing else can use any more."""

    source: int
    sink: int

    @classmethod
    def claim(cls) -> Self:
        """Return them; from now on nothing else reads or writes there, no child either.

        Whatever prints, prints to standard error.
        """
        source, sink = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        return cls(source, sink)

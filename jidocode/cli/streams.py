"""The standard streams of a command: there in any case, and a terminal or not."""

from __future__ import annotations

import os
import sys

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def take_standard_streams() -> None:
    """Have a standard stream that is closed be /dev/null: nothing to read, nobody who reads.

    Python has None for it, and whatever is opened next, such as a socket, would get its number.
    """
    for descriptor in range(len(_MODES)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - it has no name
    for descriptor, (name, mode) in enumerate(_MODES.items()):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 - as Python's own


def are_a_terminal() -> bool:
    """Whether somebody sits at a terminal, who types there and reads there."""
    return sys.stdin.isatty() and sys.stdout.isatty()

"""What a runner and its server say to each other: a letter and a number."""

from __future__ import annotations

import struct

from jidocode.session.confinement.namespaces import Obstacle

# What a runner says
STARTED = b"S"
"""The command runs: its pid."""
FAILED = b"F"
"""It could not be started: the error's number."""
BUILT = b"B"
"""A mount namespace was built; its descriptor comes with the word."""
OBSTRUCTED = b"O"
"""It could not be confined: the step that was refused, and the error's number."""
EXITED = b"X"
"""Its main process has ended: its status, as `subprocess` counts it."""
GONE = b"G"
"""Nothing of it is left."""
# What it is told
SIGNAL = b"N"
"""Send the command's group a signal: its number."""
END = b"E"
"""End all of it: milliseconds between SIGTERM and SIGKILL."""

_WORD = struct.Struct("<ci")
_STEP = 16
"""Bits of an error's number; the step is above them."""


def word(letter: bytes, number: int = 0) -> bytes:
    """Return what a runner says or is told."""
    return _WORD.pack(letter, number)


def parse(message: bytes) -> tuple[bytes, int]:
    """Return the letter and the number of *message*."""
    letter, number = _WORD.unpack(message)
    return letter, number


def obstructed(obstacle: Obstacle) -> bytes:
    """Return the word on *obstacle*."""
    return word(OBSTRUCTED, obstacle.step << _STEP | obstacle.number)


def parse_obstacle(number: int) -> Obstacle:
    """Return the obstacle that the *number* of such a word tells of."""
    return Obstacle(number >> _STEP, number & (1 << _STEP) - 1)

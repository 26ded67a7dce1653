"""Strangers where the kernel takes no knock: each of them gets as far as the handshake.

Such is a network whose loopback has a small MTU; this process makes itself one.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import socket
import struct
from pathlib import Path

import strangers

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_SET_FLAGS, _SET_MTU = 0x8914, 0x8922
_UP = 1


def attack(plan: random.Random, until: float, folder: Path) -> str:
    """Do what `strangers` does, in that network."""
    if not _leave_the_network():
        return "not run: the kernel gives this user no network of its own"
    return strangers.attack(plan, until, folder)


def _leave_the_network() -> bool:
    user = os.getuid()
    if ctypes.CDLL(None).unshare(_NEW_NET | (_NEW_USER if user else 0)):
        return False
    if user:
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    with socket.socket() as control:
        fcntl.ioctl(control, _SET_MTU, struct.pack("16si12x", b"lo", 1500))
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
    return True

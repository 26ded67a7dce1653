"""Mounts, by the calls that take descriptors: what is shown is what was opened, not a path."""

from __future__ import annotations

import ctypes
import os

from jidocode.session.confinement.kernel import call
from jidocode.session.confinement.syscalls import numbers

NOSUID, NODEV, NOEXEC = 2, 4, 8
_REC, _PRIVATE = 0x4000, 0x4_0000
_DETACH = 2

_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_OPEN_TREE_CLONE = 1
_CLOEXEC = os.O_CLOEXEC
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 0x8000, 0x1000
_F_EMPTY_PATH, _T_EMPTY_PATH = 0x04, 0x40

_NUMBERS = numbers(os.uname().machine)


class _Attributes(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = (
        ("add", ctypes.c_uint64),
        ("remove", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("users", ctypes.c_uint64),
    )


_EMPTY = ctypes.create_string_buffer(b"")
_SIZE = ctypes.sizeof(_Attributes)


def make_private() -> None:
    """Let no mount of ours reach others, and none of theirs us."""
    call(_NUMBERS["mount"], None, ctypes.create_string_buffer(b"/"), None, _REC | _PRIVATE, None)


def mount(kind: bytes, place: bytes, flags: int, options: bytes = b"") -> None:
    """Mount a new file system of that *kind* at *place*."""
    name = ctypes.create_string_buffer(kind)
    call(
        _NUMBERS["mount"],
        name,
        ctypes.create_string_buffer(place),
        name,
        flags,
        ctypes.create_string_buffer(options),
    )


def pivot_root(old: bytes) -> None:
    """Make the current folder, a mount, the root, and put what was the root at *old* in it."""
    here = ctypes.create_string_buffer(b".")
    call(_NUMBERS["pivot_root"], here, ctypes.create_string_buffer(old))


def unmount(place: bytes) -> None:
    """Take away what is mounted at *place*, and beneath."""
    call(_NUMBERS["umount2"], ctypes.create_string_buffer(place), _DETACH)


def show(source: int, place: int, *, writable: bool, devices: bool = False) -> None:
    """Show what is open as *source*, with all that is mounted in it, at what is open as *place*."""
    flags = _OPEN_TREE_CLONE | _CLOEXEC | _AT_RECURSIVE | _AT_EMPTY_PATH
    tree = call(_NUMBERS["open_tree"], source, _EMPTY, flags)
    try:
        _restrict(tree, writable=writable, devices=devices)
        call(
            _NUMBERS["move_mount"],
            *(tree, _EMPTY, place, _EMPTY, _F_EMPTY_PATH | _T_EMPTY_PATH),
        )
    finally:
        os.close(tree)


def _restrict(tree: int, *, writable: bool, devices: bool) -> None:
    add = _ATTR_NOSUID | (0 if writable else _ATTR_RDONLY) | (0 if devices else _ATTR_NODEV)
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE
    call(_NUMBERS["mount_setattr"], tree, _EMPTY, flags, _Attributes(add, 0, 0, 0), _SIZE)


def freeze(place: bytes) -> None:
    """Make what is mounted at *place* read-only, but not what is mounted beneath."""
    call(
        _NUMBERS["mount_setattr"],
        *(_AT_FDCWD, ctypes.create_string_buffer(place), 0),
        *(_Attributes(_ATTR_RDONLY, 0, 0, 0), _SIZE),
    )

"""System calls for which neither Python nor the C library has a function.

All is loaded when this is imported: between fork and exec there is nothing left to look for.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_prctl, _capget, _capset = _libc.prctl, _libc.capget, _libc.capset

Pointer = ctypes.Array[ctypes.c_char] | ctypes.Structure | None

_OPENAT2 = 437
_AT_FDCWD = -100
_NO_SYMLINKS = 0x04


class _OpenHow(ctypes.Structure):
    """struct open_how, openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_place(path: bytes, flags: int = 0) -> int:
    """Return a descriptor that stands for what is at *path*; by no way that a symlink is part of.

    Whoever may write one of its folders could lay one there that leads elsewhere. With
    O_NOFOLLOW a symlink may be what stands there itself.

    Raises:
        OSError: With its error number.
    """
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC | flags, 0, _NO_SYMLINKS)
    name = ctypes.create_string_buffer(path)
    return call(_OPENAT2, _AT_FDCWD, name, how, ctypes.sizeof(how))


def call(number: int, *arguments: int | Pointer) -> int:
    """Make the system call with that number; return what it returns.

    Raises:
        OSError: With its error number.
    """
    return _checked(_syscall(ctypes.c_long(number), *map(_word, arguments)))


def prctl(option: int, *arguments: int | Pointer) -> int:
    """Have the kernel do one of the many things that it calls prctl; return what it returns.

    Raises:
        OSError: With its error number.
    """
    # The kernel wants 0 for each argument that is not used.
    rest = [ctypes.c_long(0)] * (4 - len(arguments))
    return _checked(_prctl(ctypes.c_int(option), *map(_word, arguments), *rest))


def capget(header: ctypes.Structure, held: ctypes.Structure) -> None:
    """Have the kernel fill in which capabilities are held.

    Raises:
        OSError: With its error number.
    """
    _checked(_capget(ctypes.byref(header), ctypes.byref(held)))


def capset(header: ctypes.Structure, wanted: ctypes.Structure) -> None:
    """Have the kernel take away capabilities.

    Raises:
        OSError: With its error number.
    """
    _checked(_capset(ctypes.byref(header), ctypes.byref(wanted)))


def _word(argument: int | Pointer) -> object:
    # These functions are variadic: ctypes would pass an int as one of 32 bits, with anything
    # in the upper half of the register.
    if argument is None:
        return ctypes.c_void_p(0)
    return ctypes.c_long(argument) if isinstance(argument, int) else ctypes.byref(argument)


def _checked(result: int) -> int:
    if result == -1:
        # Only now: at success errno holds whatever went wrong before.
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result

"""The first tier: `openat2(2)`, by which the kernel itself holds the boundary.

With RESOLVE_BENEATH the kernel resolves the path and checks every step of it in one
call: `..`, symlinks, mounts, whatever is swapped meanwhile. There is no moment between
a check and an opening in which another process could put something else in the way.
"""

from __future__ import annotations

import ctypes
import errno
import os

from jidocode.session.project.descriptors import DIRECTORY
from jidocode.session.project.paths import os_error, path_bytes

_SYS_OPENAT2 = 437  # the same on all architectures that share the new numbers
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_MAX_TRIES = 1000


class _OpenHow(ctypes.Structure):
    """struct open_how, openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


# The C library has no function for it; its `syscall` takes the number.
_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(root: int, relative: str, flags: int, mode: int, *, symlinks: bool = True) -> int:
    """Open *relative* beneath the directory *root*; return the descriptor.

    With *symlinks* those inside are followed, otherwise ELOOP is raised for any.

    Raises:
        OSError: EXDEV or ELOOP if it leads out, ENOSYS or EPERM if the kernel does not
            have the call or a filter denies it, or as `open`.
    """
    # To openat2 a mode without O_CREAT is an error, where open ignores it.
    mode = mode if flags & os.O_CREAT else 0
    # BENEATH refuses magic links today, but the manual page asks to say so.
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS
    how = _OpenHow(flags, mode, resolve if symlinks else resolve | _RESOLVE_NO_SYMLINKS)
    # `syscall` is variadic: ctypes passes a Python int as a C int of 32 bits, so whatever
    # is wider in the kernel's eyes has to be said. In the upper half of the register there
    # may be anything else.
    number, name, size = ctypes.c_long(_SYS_OPENAT2), path_bytes(relative), ctypes.sizeof(how)
    for _ in range(_MAX_TRIES):
        fd: int = _libc.syscall(number, root, name, ctypes.byref(how), ctypes.c_size_t(size))
        if fd >= 0:
            return fd
        # EAGAIN: something was renamed or mounted, anywhere on the machine, while ".."
        # was resolved. The kernel cannot tell then whether it is still inside, and leaves
        # it to us to try again; not for ever, for a racer could keep us here.
        code = ctypes.get_errno()
        if code not in {errno.EAGAIN, errno.EINTR}:
            raise os_error(code)
    raise os_error(errno.EAGAIN)


def is_available(root: int) -> bool:
    """Whether this kernel lets us open the directory *root* that way."""
    try:
        os.close(open_beneath(root, ".", DIRECTORY, 0))
    except OSError as error:
        # An old kernel; a seccomp filter that does not know the call.
        if error.errno in {errno.ENOSYS, errno.EPERM}:
            return False
        raise
    return True

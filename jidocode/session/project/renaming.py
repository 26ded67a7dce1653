"""Giving what is in a directory another name, in that directory or another; replacing nothing.

`rename` replaces what has the new name already. Linux has a call that does not, but not
every file system and not every C library has it; there several calls do the same, and a
kill between them leaves both names, or one of the two things under a third.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat

from jidocode.session.project.paths import os_error, path_bytes

_NOREPLACE = 1
_EXCHANGE = 2
# A file system, a kernel, or a filter that does not know the flag or the call.
_UNKNOWN = {errno.EINVAL, errno.ENOSYS}
_libc = ctypes.CDLL(None, use_errno=True)


def rename_new(parent: int, name: str, new_parent: int, new_name: str) -> None:
    """Call *name* in the directory *parent* *new_name* in *new_parent*, where nothing has it.

    Raises:
        OSError: EEXIST if something has; EXDEV if the two are on different file systems;
            or as `rename`.
    """
    try:
        _renameat2(parent, name, new_parent, new_name, _NOREPLACE)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        _rename_in_two(parent, name, new_parent, new_name)


def exchange(parent: int, name: str, other_parent: int, other_name: str) -> None:
    """Give each of the two the place of the other.

    Raises:
        OSError: One is not there; EXDEV if the two are on different file systems; or as `rename`.
    """
    try:
        _renameat2(parent, name, other_parent, other_name, _EXCHANGE)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        between = f".jidocode-{os.urandom(12).hex()}"
        rename_new(parent, name, parent, between)
        try:
            rename_new(other_parent, other_name, parent, name)
        except OSError:
            rename_new(parent, between, parent, name)
            raise
        rename_new(parent, between, other_parent, other_name)


def _renameat2(parent: int, name: str, new_parent: int, new_name: str, flag: int) -> None:
    call = getattr(_libc, "renameat2", None)
    if call is None:
        raise os_error(errno.ENOSYS)
    if call(parent, path_bytes(name), new_parent, path_bytes(new_name), flag):
        raise os_error(ctypes.get_errno())


def _rename_in_two(parent: int, name: str, new_parent: int, new_name: str) -> None:
    """Do it by calls that fail by themselves if the name is taken: `mkdir` and `link`."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(new_name, dir_fd=new_parent)
        try:
            os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=new_parent)
        except OSError:
            with contextlib.suppress(OSError):  # somebody has put something in there
                os.rmdir(new_name, dir_fd=new_parent)
            raise
        return
    os.link(name, new_name, src_dir_fd=parent, dst_dir_fd=new_parent, follow_symlinks=False)
    os.unlink(name, dir_fd=parent)

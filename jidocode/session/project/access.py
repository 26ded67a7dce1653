"""Who may do what with a file, carried over to the file that takes its place.

What the kernel does not let us carry over is dropped, never widened: permissions that
were a group's are not given to another group, nor to those whom an access control list
kept out.
"""

from __future__ import annotations

import contextlib
import errno
import os

_ACL = "system.posix_acl_access"
_GROUP = 0o070
# No list on this file; no lists on this file system.
_NO_ACL = {errno.ENODATA, errno.EOPNOTSUPP}


def copy(old: int, new: int) -> None:
    """Give the file *new* the owner, group, permissions and attributes of the file *old*.

    Its content must be there, and nobody else may have access to it yet: the permissions
    come last, when those whom they are for are right. Both are descriptors; *old* may be
    one of a place.

    Raises:
        OSError: The permissions cannot be set.
    """
    status = os.fstat(old)
    permissions = status.st_mode & 0o777  # set-user-id and its kin are for the old content
    _copy_owner(status, new)
    _copy_attributes(old, new)
    same_group = os.fstat(new).st_gid == status.st_gid
    # With a list the bits of the group are those of all groups and users that it names.
    if not (same_group and _copy_acl(old, new)):
        permissions &= ~_GROUP
    os.fchmod(new, permissions)


def _copy_owner(status: os.stat_result, new: int) -> None:
    mine = os.fstat(new)
    # Each by itself: who may not give a file away may still give it to a group of theirs.
    for owner, group in ((-1, status.st_gid), (status.st_uid, -1)):
        if owner in {-1, mine.st_uid} and group in {-1, mine.st_gid}:
            continue
        with contextlib.suppress(OSError):
            os.fchown(new, owner, group)


def _copy_attributes(old: int, new: int) -> None:
    place = _place(old)
    with contextlib.suppress(OSError):
        for name in os.listxattr(place):
            if name.startswith("user."):
                os.setxattr(new, name, os.getxattr(place, name))


def _copy_acl(old: int, new: int) -> bool:
    """Return whether *new* has the access control list of *old* now, or both have none."""
    try:
        acl = os.getxattr(_place(old), _ACL)
    except OSError as error:
        return error.errno in _NO_ACL and _drop_acl(new)
    try:
        os.setxattr(new, _ACL, acl)
    except OSError:
        return False
    return True


def _drop_acl(new: int) -> bool:
    """Take the list away that *new* may have from its directory; return whether it has none."""
    try:
        os.removexattr(new, _ACL)
    except OSError as error:
        return error.errno in _NO_ACL
    return True


def _place(fd: int) -> str:
    # A descriptor of a place has no attributes; what it stands for is reached through /proc.
    return f"/proc/self/fd/{fd}"

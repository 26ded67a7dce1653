"""Landlock: how a process gives up access to files, TCP ports and other processes, for good.

A ruleset names the rights it handles. Each of them is denied everywhere, except where a rule
grants it: beneath an opened folder, on an opened file, for a port. Rulesets add up: what an
earlier one denies, no later one grants again. A rule holds what was opened, not its path: a
folder that is renamed keeps its rights, and what takes its name has none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable

from jidocode.session.confinement.kernel import call, open_place

# linux/landlock.h; the comment is the ABI from which on the kernel has it.
EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13  # 2
TRUNCATE = 1 << 14  # 3
IOCTL_DEV = 1 << 15  # 5
RESOLVE_UNIX = 1 << 16  # 9

BIND_TCP = 1 << 0  # 4
CONNECT_TCP = 1 << 1  # 4
BIND_UDP = 1 << 2  # 10
SEND_UDP = 1 << 3  # 10

ABSTRACT_UNIX_SOCKET = 1 << 0  # 6
SIGNAL = 1 << 1  # 6

READ = EXECUTE | READ_FILE | READ_DIR
WRITE = (
    READ
    | (WRITE_FILE | TRUNCATE | REFER | REMOVE_DIR | REMOVE_FILE)
    | (MAKE_DIR | MAKE_REG | MAKE_SYM | MAKE_FIFO | MAKE_SOCK)
)
"""All but what makes devices: root could make itself the disk's."""
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
"""A device, or the folder that has them, without a list of what is in there."""

_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV | RESOLVE_UNIX
"""What can be granted for something that is no folder; with any other right a rule is invalid."""

_CREATE_RULESET, _ADD_RULE = 444, 445
_VERSION = 1 << 0
_PATH_BENEATH, _NET_PORT = 1, 2
NOTHING_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG}


class _RulesetAttributes(ctypes.Structure):
    """struct landlock_ruleset_attr; a kernel that knows less of it wants the rest to be 0."""

    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _layout_ = "ms"  # the only one that packs; Python 3.14 wants it said
    _fields_ = (("access", ctypes.c_uint64), ("fd", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    """struct landlock_net_port_attr."""

    _fields_ = (("access", ctypes.c_uint64), ("port", ctypes.c_uint64))


def find_abi() -> int:
    """Return which version of Landlock the kernel has; 0 if none, or if it is switched off."""
    try:
        return call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError as error:
        # Not built in; not among the modules that were started; a filter that does not know it.
        if error.errno in {errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}:
            return 0
        raise


def _known(rights: Iterable[tuple[int, int]], abi: int) -> int:
    known = 0
    for first, right in rights:
        known |= right if abi >= first else 0
    return known


def file_rights(abi: int) -> int:
    """Return the rights over files that *abi* has."""
    return _known(
        (
            (1, READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_CHAR | MAKE_DIR | MAKE_REG),
            (1, MAKE_SOCK | MAKE_FIFO | MAKE_BLOCK | MAKE_SYM),
            (2, REFER),
            (3, TRUNCATE),
            (5, IOCTL_DEV),
            (9, RESOLVE_UNIX),
        ),
        abi,
    )


def network_rights(abi: int) -> int:
    """Return the rights over ports that *abi* has."""
    return _known(((4, BIND_TCP | CONNECT_TCP), (10, BIND_UDP | SEND_UDP)), abi)


def scopes(abi: int) -> int:
    """Return what *abi* can keep within the processes that are confined together."""
    return _known(((6, ABSTRACT_UNIX_SOCKET | SIGNAL),), abi)


def unenforced(abi: int) -> tuple[str, ...]:
    """Return what a command can do outside its rules with *abi*, one short text each.

    That is what nothing else closes: the rights over ports are missing before ABI 4, too, but
    there a filter denies sockets.
    """
    gaps = (
        (3, "cut off files that it may not write"),
        (5, "send ioctls to devices that it may read"),
        (6, "send signals to other processes of its user"),
    )
    return tuple(gap for first, gap in gaps if abi < first)


class Ruleset:
    """What a process may do, as the kernel holds it; made before the fork, enforced after it.

    Rights that the kernel does not know are left out: `unenforced` says what that means.

    Args:
        abi: What `find_abi` returned, 1 or more.
        network: Whether ports are handled; if not, all are open.

    Raises:
        OSError: The kernel refused.
    """

    def __init__(self, abi: int, *, network: bool) -> None:
        self._files = file_rights(abi)
        self._network = network_rights(abi) if network else 0
        attributes = _RulesetAttributes(self._files, self._network, scopes(abi))
        # It is closed by exec: the kernel opens it so.
        self.fd = call(_CREATE_RULESET, attributes, ctypes.sizeof(attributes), 0)

    def allow_path(self, path: str, access: int) -> bool:
        """Grant *access* to what is at *path*, and to all beneath it.

        No symlink in *path* is followed.

        Returns:
            False if nothing was granted: nothing is there, or not for us, or behind a symlink.

        Raises:
            OSError: The kernel refused something else.
        """
        try:
            fd = open_place(os.fsencode(path))
        except OSError as error:
            if error.errno in NOTHING_THERE:
                return False
            raise
        try:
            self.allow_opened(fd, access)
        finally:
            os.close(fd)
        return True

    def allow_opened(self, fd: int, access: int) -> None:
        """Grant *access* to what is open as *fd*, and to all beneath it.

        Raises:
            OSError: The kernel refused.
        """
        access &= self._files
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= _OF_FILES
        call(_ADD_RULE, self.fd, _PATH_BENEATH, _PathBeneath(access, fd), 0)

    def allow_port(self, port: int, access: int) -> None:
        """Grant *access*, `BIND_TCP` or `CONNECT_TCP`, for *port*.

        Raises:
            OSError: The kernel refused, or its Landlock knows no ports.
        """
        call(_ADD_RULE, self.fd, _NET_PORT, _NetPort(access & self._network, port), 0)

    def close(self) -> None:
        """Let go of it; who is confined by it stays so."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

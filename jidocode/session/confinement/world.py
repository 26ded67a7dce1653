"""`World`: the root folder that a command sees in tier namespaces, as data, and how it is built.

It has what the command's rules grant, at its own path, and nothing else: what is not granted is
not there. What is only to be read is mounted read-only, so that not even its permissions
and times can be changed. `/proc`, `/dev/shm`, `/dev/pts` are the command's own; `/tmp` is a folder
of its session's scratch folder.

It is built by the process that becomes the command, which has imported next to nothing: so here
is nothing but numbers, bytes and system calls. `view` says what goes into it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

from jidocode.session.confinement import landlock, mounts
from jidocode.session.confinement.kernel import open_place
from jidocode.session.confinement.namespaces import (
    BUILD,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    LEAVE_REST,
    MOUNT_PROC,
    enter,
    taking,
    unshare,
)

_OLD = b"/.old"
_OLD_PROC, _OLD_PTS = b"/.proc", b"/.pts"
_TEMPORARY, _MEMORY, _PTS = b"/tmp", b"/dev/shm", b"/dev/pts"
_STANDARD_LINKS = (
    (b"/dev/fd", b"/proc/self/fd"),
    (b"/dev/stdin", b"/proc/self/fd/0"),
    (b"/dev/stdout", b"/proc/self/fd/1"),
    (b"/dev/stderr", b"/proc/self/fd/2"),
    (b"/dev/ptmx", b"pts/ptmx"),
)
_CONSOLE = b"/dev/console"
_QUIET = mounts.NOSUID | mounts.NOEXEC


class Base(NamedTuple):
    """What commands that have the same grants see. Paths are absolute, without symlinks.

    Attributes:
        read: What they may read, folders before what is in them.
        write: What they may change, too.
        devices: Devices that they may use.
        links: Symlinks that lead there, and where to.
        temporary: A folder that is their `/tmp`; None if they are granted another one.
        memory: Whether each has a `/dev/shm` of its own.
    """

    read: tuple[bytes, ...]
    write: tuple[bytes, ...]
    devices: tuple[bytes, ...]
    links: tuple[tuple[bytes, bytes], ...]
    temporary: bytes | None
    memory: bool

    def build(self) -> None:
        """Have this process, in a new mount namespace, see that, and the `/proc` of before."""
        mounts.make_private()
        # Over a folder that is there everywhere; what was there can be seen again afterwards.
        mounts.mount(b"tmpfs", b"/proc", mounts.NOSUID | mounts.NODEV, b"mode=755")
        os.chdir(b"/proc")
        os.mkdir(_OLD[1:])  # noqa: PTH102 - bytes
        mounts.pivot_root(_OLD[1:])
        os.chdir(b"/")
        if self.temporary is not None:
            _show(self.temporary, _TEMPORARY, writable=True)
        for path in sorted({*self.read, *self.write, *self.devices}):  # folders come first
            _show(path, path, writable=path in self.write, devices=path in self.devices)
        for path, target in (*_STANDARD_LINKS, *self.links):
            _make_folder(os.path.dirname(path))  # noqa: PTH120 - bytes
            with contextlib.suppress(FileExistsError):
                os.symlink(target, path)  # noqa: PTH211 - bytes
        for path in (b"/proc", _PTS, _MEMORY):
            _make_folder(path)
        _make_file(_CONSOLE)
        # The kernel grants a new /proc only to who sees one whole.
        _show(b"/proc", _OLD_PROC, writable=True)
        _show(b"/dev/pts", _OLD_PTS, writable=True, devices=True)
        mounts.unmount(_OLD)
        os.rmdir(_OLD)  # noqa: PTH106 - bytes
        mounts.freeze(b"/")


class World(NamedTuple):
    """What one command sees.

    Attributes:
        base: The fields of what it shares with others.
        anchors: Folders in what it may change that must not change places.
        guarded: What it may only read, although it lies in what it may change.
        shares_network: Whether it is in our network namespace, held by the rules for ports.
        abi: Of Landlock.
        ports: Ports, and what is granted there; None if they are not held at all.
    """

    base: tuple[Any, ...]
    anchors: tuple[bytes, ...]
    guarded: tuple[bytes, ...]
    shares_network: bool
    abi: int
    ports: tuple[tuple[int, int], ...] | None

    def enter(self, folder: int, built: int | None, publish: Callable[[int], object]) -> int:
        """Have this process see nothing else; return the descriptor of its Landlock rules.

        For a process with one thread, which was forked after `leave`.

        Args:
            folder: What is to be the current folder, opened before.
            built: A mount namespace that was published, for the same base; None if there is none.
            publish: Called with one that can be given to others, if there was none.

        Raises:
            Obstacle: The kernel refused.
            OSError: With ESTALE, another folder is in the place of *folder*.
        """
        path = os.readlink(b"/proc/self/fd/%d" % folder)  # noqa: PTH115 - bytes
        terminal = _terminal()
        base = Base(*self.base)
        before = os.umask(0o022)
        # Building takes several times as long as all the rest: it is done once.
        with taking(BUILD):
            if built is None:
                unshare(CLONE_NEWNS)
                base.build()
                built = os.open(_OLD_PROC + b"/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
                publish(built)
            else:
                enter(built, CLONE_NEWNS)
        with taking(LEAVE_REST):
            apart = 0 if self.shares_network else CLONE_NEWNET
            unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | apart)
        with taking(MOUNT_PROC):
            mounts.mount(b"proc", b"/proc", _QUIET | mounts.NODEV)
        with taking(BUILD):
            self._finish(base, terminal)
            rules = self._rules(base, has_console=terminal is not None)
        os.umask(before)
        _enter_folder(path, folder)
        return rules

    def _finish(self, base: Base, terminal: bytes | None) -> None:
        """Add what is this command's alone."""
        if terminal is not None:  # its name in there, which the C library finds
            _show(terminal, _CONSOLE, writable=False, devices=True, old=b"")
        mounts.unmount(_OLD_PROC)
        mounts.unmount(_OLD_PTS)
        mounts.mount(b"devpts", _PTS, _QUIET, b"newinstance,ptmxmode=0666,mode=0600")
        if base.memory:
            mounts.mount(b"tmpfs", _MEMORY, mounts.NOSUID | mounts.NODEV, b"mode=1777")
        for path in self.anchors:
            _hold(path, writable=True)
        for path in self.guarded:
            _hold(path, writable=False)

    def _rules(self, base: Base, *, has_console: bool) -> int:
        """Return Landlock's rules: what may be changed in here, and nothing outside of it."""
        ruleset = landlock.Ruleset(self.abi, network=self.ports is not None)
        # What can be seen is what may be read. A rule for each would say so again.
        granted = {b"/": landlock.READ, _PTS: landlock.DEVICE}
        granted |= dict.fromkeys(base.devices, landlock.DEVICE)
        granted |= dict.fromkeys(base.write, landlock.WRITE)
        if base.memory:
            granted[_MEMORY] = landlock.WRITE
        if base.temporary is not None:
            granted[_TEMPORARY] = landlock.WRITE
        if has_console:
            granted[_CONSOLE] = landlock.DEVICE
        for path, access in granted.items():
            ruleset.allow_path(os.fsdecode(path), access)
        for port, access in self.ports or ():
            ruleset.allow_port(port, access)
        return ruleset.fd


def _terminal() -> bytes | None:
    """Return where the terminal of this process will be found, if it has one."""
    try:
        name = os.fsencode(os.ttyname(0))
    except OSError:
        return None
    return _OLD_PTS + name.removeprefix(_PTS) if name.startswith(_PTS + b"/") else None


def _show(
    path: bytes, place: bytes, *, writable: bool, devices: bool = False, old: bytes = _OLD
) -> None:
    """Show what was at *path* before at *place*; where nothing was, nothing is shown."""
    try:
        source = open_place(old + path)
    except OSError as error:
        if error.errno in landlock.NOTHING_THERE:
            return
        raise
    try:
        if stat.S_ISDIR(os.fstat(source).st_mode):
            _make_folder(place)
        else:
            _make_file(place)
        target = open_place(place)
        try:
            mounts.show(source, target, writable=writable, devices=devices)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _hold(path: bytes, *, writable: bool) -> None:
    """Mount what is at *path* on itself, so that it can be neither moved nor replaced."""
    try:
        place = open_place(path, os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in landlock.NOTHING_THERE:
            return
        raise
    try:
        mounts.show(place, place, writable=writable)
    finally:
        os.close(place)


def _make_file(path: bytes) -> None:
    if not os.path.lexists(path):
        _make_folder(os.path.dirname(path))  # noqa: PTH120 - bytes
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _make_folder(path: bytes) -> None:
    os.makedirs(path, exist_ok=True)  # noqa: PTH103 - bytes


def _enter_folder(path: bytes, folder: int) -> None:
    with contextlib.suppress(OSError):
        os.chdir(path)
        if os.path.samestat(os.stat(b"."), os.fstat(folder)):  # noqa: PTH116 - bytes
            return
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

"""Where the systems of a user that have a name are found: a private folder, three files for each.

For a system that is called shop:

- `shop.lock` is locked by the process that has started it, as long as that lives. So a name
  belongs to one live system, and whatever else is there is known to be stale if nobody holds it.
- `shop.sock` is the socket at which that process lets others in.
- `shop.key` is the secret that both sides prove to have (see `proof`), fresh for each system.

The lock is one of POSIX (`fcntl`), and no `flock`: a fork of the app, such as a worker, has no
part in it, so the name is free when the app is gone, whoever holds copies of its descriptors.
And the kernel says who holds it. It has one trap: a process loses it as soon as it closes any
descriptor of that file. So none opens the file of a name that is its own (`_names_here`).

Whoever can read `shop.key` can have the system do what its app can. The folder is nobody else's
to enter, a project that holds it is refused (`system/archive.py`), and a command to which it
would be open, wherever `$XDG_RUNTIME_DIR` is, is not started (`session/confinement/rules.py`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import stat
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from jidocode._host.attach.proof import SECRET_BYTES
from jidocode._host.forks import close_in_forks
from jidocode.base.text import quote
from jidocode.errors import AttachError, InvalidSettingError, SystemNameTakenError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PRIVATE = 0o700
_SECRET = 0o600
_BACKLOG = 64
_FLOCK = struct.Struct("@hhqqi4x")
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid."""
_TIMEVAL = struct.Struct("@ll")

_Key = tuple[int, int, int, str]

_names_here: dict[_Key, object] = {}
"""The names that this process has, by its pid, for a fork has none of them, and by the folder
itself, which may have many paths."""


def require_name(name: object) -> str:
    """Return *name*, if a system can be called so.

    Raises:
        InvalidSettingError: It is no such name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        wanted = "up to 64 letters, digits, '.', '_' and '-', the first a letter or digit"
        raise InvalidSettingError("name", f"must be {wanted}, got {quote(name)}")
    return name


def folder() -> Path:
    """Return where the systems of this user are found; it may not be there.

    `$XDG_RUNTIME_DIR/jidocode`; without one, as for cron and for services, the same of the
    folder that systemd makes for the user; without that, in containers, a folder in /tmp.
    """
    user = os.geteuid()
    for place in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{user}"):
        if os.path.isabs(place) and _is_own_folder(place):  # noqa: PTH117 - it may be no path
            return Path(place, "jidocode")
    return Path(f"/tmp/jidocode-{user}")  # noqa: S108 - it is checked before it is used


def _is_own_folder(place: str) -> bool:
    try:
        status = os.stat(place)  # noqa: PTH116 - as above
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


@contextmanager
def _opened(*, create: bool) -> Generator[str]:
    """Give the path of the folder by a descriptor, see `_path`.

    Raises:
        AttachError: It is not private, or cannot be used.
        FileNotFoundError: There is none, and it is not to be made.
    """
    fd = _open(create=create)
    try:
        yield _path(fd)
    finally:
        os.close(fd)


def _path(fd: int) -> str:
    """Return a path of the open folder that stays good whatever becomes of its name, and is short.

    A socket's path has 107 bytes at most.
    """
    return f"/proc/self/fd/{fd}"


def _open(*, create: bool) -> int:
    place = folder()
    try:
        if create:
            with contextlib.suppress(FileExistsError):
                place.mkdir(mode=_PRIVATE)
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENOENT and not create:
            raise
        raise AttachError(_unusable(place, error.strerror or str(error))) from error
    status = os.fstat(fd)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & ~_PRIVATE:
        os.close(fd)
        raise AttachError(_unusable(place, "others than this user may enter it"))
    return fd


def _key_of(folder_path: str, name: str) -> _Key:
    status = os.stat(folder_path)  # noqa: PTH116 - a path of the moment
    return os.getpid(), status.st_dev, status.st_ino, name


def _unusable(place: Path, problem: str) -> str:
    return f"systems cannot be found in {quote(str(place))}: {problem}"


class Claim:
    """A name that is this process's, until `release`.

    It is one of the folder that there was at first, wherever `folder` is later.

    Attributes:
        name: The name.
        secret: What whoever is to be let in has to have read.
    """

    def __init__(self, name: str) -> None:
        """Take *name*, which `require_name` has passed.

        Raises:
            SystemNameTakenError: A live system has it.
            AttachError: The folder cannot be used.
        """
        self.name = name
        self.secret = os.urandom(SECRET_BYTES)
        self._lock = -1
        self._folder = _open(create=True)
        self._key = _key_of(_path(self._folder), name)
        if _names_here.setdefault(self._key, self) is not self:
            os.close(self._folder)
            raise SystemNameTakenError(name, os.getpid())
        try:
            self._take(_path(self._folder))
        except BaseException as error:
            self.release()
            if isinstance(error, OSError):
                raise AttachError(_unusable(folder(), error.strerror or "")) from error
            raise
        close_in_forks(self, Claim._descriptors)

    def _descriptors(self) -> list[int]:
        return [self._lock, self._folder]

    def _take(self, place: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._lock = os.open(f"{place}/{self.name}.lock", flags, _SECRET)
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EAGAIN}:
                raise
            pid = _holder_of(self._lock) or 0  # it may be gone by now
            raise SystemNameTakenError(self.name, pid) from None
        self._remove_files(place)  # those of a system that was killed

    def listen(self) -> socket.socket:
        """Return the socket at which others ask to be let in; the secret is there before it is.

        Raises:
            OSError: There can be none.
        """
        place = _path(self._folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(f"{place}/{self.name}.key", flags, _SECRET)
        try:
            os.write(fd, self.secret)
        finally:
            os.close(fd)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            listener.bind(f"{place}/{self.name}.sock")
            os.chmod(f"{place}/{self.name}.sock", _SECRET)  # noqa: PTH101 - a path of the moment
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    def release(self) -> None:
        """Give the name up, and remove what others find by it; twice is fine."""
        if self._key[0] != os.getpid() or _names_here.get(self._key) is not self:
            return
        if self._lock >= 0:
            with contextlib.suppress(OSError):
                if self._holds():
                    self._remove_files(_path(self._folder))
            lock, self._lock = self._lock, -1
            os.close(lock)
        own, self._folder = self._folder, -1
        os.close(own)
        del _names_here[self._key]

    def _holds(self) -> bool:
        """Whether the lock was taken, and not only tried."""
        return _holder_of(self._lock) is None

    def _remove_files(self, place: str) -> None:
        for end in ("sock", "key"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{place}/{self.name}.{end}")  # noqa: PTH108 - a path of the moment


def _holder_of(lock: int) -> int | None:
    """Return which other process holds a lock, None if none does; 0 if it cannot be seen."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(lock, fcntl.F_GETLK, wanted))
    return None if kind == fcntl.F_UNLCK else pid


def holder(name: str) -> int | None:
    """Return which process has *name*, 0 if it cannot be seen, None if no live one has."""
    try:
        with _opened(create=False) as place:
            return _holder(place, name)
    except FileNotFoundError:
        return None


def names() -> tuple[str, ...]:
    """Return the names that live systems of this user have."""
    found: list[str] = []
    with contextlib.suppress(OSError, AttachError), _opened(create=False) as place:
        for file in os.listdir(place):  # noqa: PTH208 - a path of the moment
            name = file.removesuffix(".lock")
            if name != file and _NAME.fullmatch(name):
                with contextlib.suppress(OSError):
                    if _holder(place, name) is not None:
                        found.append(name)
    return tuple(sorted(found))


def _holder(place: str, name: str) -> int | None:
    if _key_of(place, name) in _names_here:
        return os.getpid()
    lock = os.open(f"{place}/{name}.lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return _holder_of(lock)
    finally:
        os.close(lock)


def connect(name: str, seconds: float) -> tuple[socket.socket, bytes]:
    """Return a connection to whoever listens for *name*, and the secret to prove.

    Raises:
        AttachError: The folder or the secret is not private.
        OSError: Nobody listens, or lets one in within *seconds*; there may be no files at all.
    """
    with _opened(create=False) as place:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            # With a time-out of Python's it would fail at once while too many others wait, and be
            # overtaken by who waits in the kernel.
            whole = int(seconds)
            patience = _TIMEVAL.pack(whole, int((seconds - whole) * 1e6))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
            sock.connect(f"{place}/{name}.sock")
            _require_connected(sock)
            # Not before: then it might be the one of a system that has ended since.
            secret = _read_secret(f"{place}/{name}.key")
        except BaseException:
            sock.close()
            raise
    return sock, secret


def _require_connected(sock: socket.socket) -> None:
    """Raise if a signal handler has run while *sock* waited, which Python takes for its success."""
    try:
        sock.getpeername()
    except OSError as error:
        raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR)) from error


def _read_secret(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_uid != os.geteuid()
            or stat.S_IMODE(status.st_mode) & ~_SECRET
        ):
            raise AttachError("the secret of that system is not private, so it proves nothing")
        return os.read(fd, SECRET_BYTES + 1)
    finally:
        os.close(fd)


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """Return process id and user id of whoever is at the other end of a UNIX socket."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid, uid

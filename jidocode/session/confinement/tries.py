"""What a command must not be able to do, each as a try that harms nobody if it succeeds.

A try raises the OSError that it meets, and returns if it got through. Where success would
change something for others, the arguments are such that a kernel which lets the call through
refuses them with another error than one which denies it.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable

from attrs import frozen

from jidocode.session.confinement.kernel import call, prctl
from jidocode.session.confinement.privileges import DAC_OVERRIDE, OWNERS, held_capabilities
from jidocode.session.confinement.report import Denial
from jidocode.session.confinement.seccomp import this_machine
from jidocode.session.confinement.syscalls import numbers

_DENIED = {errno.EACCES, errno.EPERM, errno.ENOSYS, errno.EXDEV}
_NOT_THERE = {errno.ENOENT, errno.ESRCH, errno.ECONNREFUSED, errno.EROFS, errno.EBUSY}
_PTRACE_SEIZE = 0x4206
_PIDFD_OPEN = 434
_GET_NO_NEW_PRIVS = 39
_TIOCSTI = 0x5412


@frozen
class Place:
    """Where the tries take place: two folders, one of which a command may use, and a process.

    Attributes:
        inside: A folder it may read and change.
        outside: One that it may not; with the files `secret` and `program`, and a socket.
        port: Where somebody listens on 127.0.0.1.
        abstract: The name of an abstract socket where somebody listens.
        pid: A process of the same user, of another program.
        namespaces: In which namespaces the app is, by kind.
    """

    inside: str
    outside: str
    port: int
    abstract: str
    pid: int
    namespaces: dict[str, str]


Try = Callable[[Place], object]
Tries = tuple[tuple[str, Try], ...]
NAMESPACES = {
    "user": "users",
    "pid": "processes",
    "mnt": "mounts",
    "net": "network",
    "ipc": "shared memory",
    "uts": "names",
}
"""The kinds of namespaces, by the kernel's name for them, and what they are about."""


def _open(name: str, flags: int) -> Try:
    return lambda place: os.close(os.open(f"{place.outside}/{name}", flags, 0o600))


def _execute(place: Place) -> None:
    pid = os.fork()
    if not pid:
        try:
            os.execv(f"{place.outside}/program", ["program"])  # noqa: S606 - a try
        except OSError as error:
            os._exit(error.errno or 1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        raise OSError(status, os.strerror(status))


def _socket(family: int, kind: int, protocol: int = 0) -> Try:
    return lambda _: socket.socket(family, kind, protocol).close()


def _connect_path(place: Place) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.connect(f"{place.outside}/socket")


def _connect_abstract(place: Place) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.connect(f"\0{place.abstract}")


def _connect_port(place: Place) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.connect(("127.0.0.1", place.port))


def _listen(_: Place) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.bind(("127.0.0.1", 0))


def _datagram_pair(_: Place) -> None:
    for one in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        one.close()


def _read_process(name: str) -> Try:
    def attempt(place: Place) -> None:
        with open(f"/proc/{place.pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - no more than that
            file.read(1)

    return attempt


def _set_its_limit(place: Place) -> None:
    now = resource.prlimit(place.pid, resource.RLIMIT_CORE)
    resource.prlimit(place.pid, resource.RLIMIT_CORE, now)


def _seize(place: Place) -> None:
    call(_number("ptrace"), _PTRACE_SEIZE, place.pid, 0, 0)


def _take_descriptor(place: Place) -> None:
    pidfd = call(_PIDFD_OPEN, place.pid, 0)
    try:
        os.close(call(_number("pidfd_getfd"), pidfd, 0, 0))
    finally:
        os.close(pidfd)


def _call(name: str, *arguments: int) -> Try:
    """Return a try of a call, with arguments that no kernel accepts."""
    return lambda _: call(_number(name), *arguments)


def _number(name: str) -> int:
    return numbers(this_machine())[name]


def _gain_privileges(_: Place) -> None:
    if prctl(_GET_NO_NEW_PRIVS):
        raise PermissionError(errno.EPERM, "no_new_privs is set")


def _use_privileges(_: Place) -> None:
    if not held_capabilities():
        raise PermissionError(errno.EPERM, "no capability, or CAP_DAC_OVERRIDE alone")


def _use_other_privileges(_: Place) -> None:
    if not held_capabilities(DAC_OVERRIDE | OWNERS):
        raise PermissionError(errno.EPERM, "no capability, or those over files alone")


def _dump_core(_: Place) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0):
        raise PermissionError(errno.EPERM, "the limit is 0")


_NO_FILE = -1
TRIES: Tries = (
    ("read a file elsewhere", _open("secret", os.O_RDONLY)),
    ("list a folder elsewhere", lambda place: os.listdir(place.outside)),  # noqa: PTH208 - a try
    ("change a file elsewhere", _open("secret", os.O_WRONLY)),
    ("cut off a file elsewhere", lambda place: os.truncate(f"{place.outside}/secret", 6)),
    ("create a file elsewhere", _open("new", os.O_WRONLY | os.O_CREAT)),
    ("delete a file elsewhere", lambda place: os.unlink(f"{place.outside}/spare")),  # noqa: PTH108 - a try
    (
        "link to a file elsewhere",
        lambda place: os.link(f"{place.outside}/secret", f"{place.inside}/link"),
    ),
    (
        "move a file elsewhere",
        lambda place: os.rename(f"{place.inside}/file", f"{place.outside}/moved"),  # noqa: PTH104 - a try
    ),
    ("execute a file elsewhere", _execute),
    ("connect to a TCP port", _connect_port),
    ("listen on a TCP port", _listen),
    ("open a UDP socket", _socket(socket.AF_INET, socket.SOCK_DGRAM)),
    ("open a TCP socket of IPv6", _socket(socket.AF_INET6, socket.SOCK_STREAM)),
    ("open a netlink socket", _socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    ("connect to a UNIX socket", _connect_path),
    ("connect to an abstract socket", _connect_abstract),
    ("open a pair of datagram sockets", _datagram_pair),
    ("signal another process", lambda place: os.kill(place.pid, 0)),
    ("set a limit of another process", _set_its_limit),
    ("read another's environment", _read_process("environ")),
    ("read another's memory map", _read_process("maps")),
    ("trace another process", _seize),
    ("read another's memory", _call("process_vm_readv", 0, 0, 0, 0, 0, 1)),
    ("take another's open file", _take_descriptor),
    ("attach shared memory", _call("shmat", _NO_FILE, 0, 0)),
    ("open a message queue", _call("mq_open", 0, 0, 0, 0)),
    ("use the kernel's keyrings", _call("keyctl", 9999, 0, 0, 0, 0)),
    ("mount", _call("mount", 0, 0, 0, 0, 0)),
    ("make a namespace", _call("unshare", 1)),
    ("enter a namespace", _call("setns", _NO_FILE, 0)),
    ("open a file by its handle", _call("open_by_handle_at", _NO_FILE, 0, 0)),
    ("load a BPF program", _call("bpf", 9999, 0, 0)),
    ("use io_uring", _call("io_uring_setup", 0, 0)),
    ("handle page faults", _call("userfaultfd", 1 | 1 << 20)),  # no such flag
    ("watch the processor's counters", _call("perf_event_open", 0, 0, _NO_FILE, _NO_FILE, 0)),
    ("type into a terminal", _call("ioctl", _NO_FILE, _TIOCSTI, 0)),
    ("gain privileges by a program", _gain_privileges),
    ("use privileges of the app", _use_privileges),
    ("dump core", _dump_core),
)


def _open_path(path: str, flags: int) -> Try:
    return lambda place: os.close(os.open(path.format(pid=place.pid), flags | os.O_CLOEXEC))


# For a process that goes on afterwards: nothing is forked, traced or left open.
_NAMES = (
    *("set a limit of another process", "signal another process", "read another's environment"),
    *("read another's memory map", "read another's memory", "take another's open file"),
    *("listen on a TCP port", "open a UDP socket", "open a TCP socket of IPv6"),
    *("open a netlink socket", "open a pair of datagram sockets", "gain privileges by a program"),
    *("attach shared memory", "open a message queue", "use the kernel's keyrings", "mount"),
    *("make a namespace", "enter a namespace", "open a file by its handle", "load a BPF program"),
    *("use io_uring", "handle page faults", "watch the processor's counters"),
)
HERE: tuple[tuple[str, Try], ...] = (
    ("list a folder elsewhere", _open_path("/", os.O_RDONLY | os.O_DIRECTORY)),
    ("read a file elsewhere", _open_path("/proc/version", os.O_RDONLY)),
    ("change a file elsewhere", _open_path("/proc/{pid}/comm", os.O_WRONLY)),
    ("execute a file", _call("execve", 0, 0, 0)),
    ("execute a file that is open", _call("execveat", _NO_FILE, 0, 0, 0, 0)),
    ("open a UNIX socket", _socket(socket.AF_UNIX, socket.SOCK_STREAM)),
    ("trace another process", _call("ptrace", _PTRACE_SEIZE, 0, 0, 0)),
    ("use privileges of the app", _use_other_privileges),
    *(each for each in TRIES if each[0] in _NAMES),
)
"""What a process that has confined itself must not be able to do, but for its peers by TCP."""


def _share(name: str) -> Try:
    def attempt(place: Place) -> None:
        if os.readlink(f"/proc/self/ns/{name}") != place.namespaces[name]:  # noqa: PTH115 - a try
            raise PermissionError(errno.EPERM, "it is in another one")

    return attempt


def _change_git(name: str) -> Try:
    return lambda place: os.close(
        os.open(f"{place.inside}/.git/{name}", os.O_WRONLY | os.O_CREAT, 0o600)
    )


NAMESPACE_TRIES: Tries = (
    *((f"share the app's namespace of {what}", _share(name)) for name, what in NAMESPACES.items()),
    ("write a git hook of the project", _change_git("hooks/post-checkout")),
    ("change git's configuration", _change_git("config")),
    (
        "put another .git there",
        lambda place: os.rename(f"{place.inside}/.git", f"{place.inside}/git"),  # noqa: PTH104 - a try
    ),
    ("change permissions elsewhere", lambda _: os.chmod("/usr", os.stat("/usr").st_mode & 0o7777)),  # noqa: PTH101, PTH116 - a try
)
"""What only namespaces, and their mounts, deny."""


def attempt(what: str, action: Try, place: Place, *, apart: bool = False) -> Denial:
    """Try *action*; return what came of it.

    In namespaces, *apart*, much is denied by not being there, or by being read-only.
    """
    denied = _DENIED | _NOT_THERE if apart else _DENIED
    try:
        action(place)
    except OSError as error:
        return Denial(what, error.errno in denied, error.strerror or str(error))
    return Denial(what, held=False, outcome="it was done")

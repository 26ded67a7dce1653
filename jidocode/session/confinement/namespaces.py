"""Namespaces: how a process gets other processes, users, names and devices to see than we do.

They are made by the processes that become a command, step by step, each where it has to be:

- once in a session, a user namespace (`make_users`);
- its runner joins that, and takes leave of our pids for what it forks (`leave`). Its first
  child is the init of the new pid namespace (`be_init`): with it, all in there end. The runner
  itself stays among our processes, so it sees, signals and reaps the command by pids of ours;
- the command's own process takes leave of the rest, and builds the root folder that it is to
  see (`world`), before it is confined: whoever is held by Landlock mounts nothing.

It is all done with the privileges of the user namespace, so nobody has to be root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

from jidocode.session.confinement.kernel import call, prctl
from jidocode.session.confinement.privileges import drop_capabilities, forbid_new_privileges
from jidocode.session.confinement.syscalls import numbers

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000
_SET_PDEATHSIG, _SET_DUMPABLE = 1, 4
_NUMBERS = numbers(os.uname().machine)

STEPS = (
    "make a user namespace and a pid namespace",
    "map users and groups",
    "make namespaces for mounts, names, IPC and the network",
    "build a root folder",
    "mount a /proc",
)
"""What can be refused, for `Obstacle`."""
LEAVE, MAP, LEAVE_REST, BUILD, MOUNT_PROC = range(len(STEPS))


class Obstacle(Exception):  # noqa: N818 - where there is one, is for others to say
    """The kernel refused a step.

    Attributes:
        step: Which, a place in `STEPS`.
        number: The error's number.
    """

    def __init__(self, step: int, number: int) -> None:
        super().__init__(step, number)
        self.step, self.number = step, number


@contextlib.contextmanager
def taking(step: int) -> Generator[None]:
    """Have an OSError that is raised in the block be an `Obstacle` at *step*."""
    try:
        yield
    except OSError as error:
        raise Obstacle(step, error.errno or errno.EIO) from error


def unshare(flags: int) -> None:
    """Take leave of namespaces.

    Raises:
        OSError: The kernel refused.
    """
    call(_NUMBERS["unshare"], flags)


def enter(descriptor: int, kind: int) -> None:
    """Enter the namespace of that *kind*, one of `CLONE_NEW...`, that is open as *descriptor*.

    Raises:
        OSError: The kernel refused.
    """
    call(_NUMBERS["setns"], descriptor, kind)


def make_users() -> int:
    """Return the descriptor of a new user namespace, in which users keep their numbers.

    For root, those of others do, too: it works on files of theirs. For who is not root, the
    kernel maps nobody else, so what belongs to others seems to be nobody's there.

    Raises:
        Obstacle: The kernel refused.
    """
    # Only who stays behind may map more than himself: so a child goes, and we map it.
    told, telling = os.pipe()
    kept, keeping = os.pipe()
    pid = os.fork()
    if not pid:
        _go_ahead(telling, kept, keeping)
    try:
        os.close(telling)
        os.close(kept)
        number = int.from_bytes(os.read(told, 4), "little")
        if number:
            raise Obstacle(LEAVE, number)
        with taking(MAP):
            process = Path(f"/proc/{pid}")
            if os.geteuid():
                (process / "setgroups").write_text("deny")
            for name, own in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
                (process / name).write_text(_identities(name, own))
            return os.open(process / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(told)
        os.close(keeping)
        os.waitpid(pid, 0)


def _go_ahead(telling: int, kept: int, keeping: int) -> NoReturn:
    """Have a user namespace; stay in it until the other end of *kept* is closed."""
    number = 0
    try:
        os.close(keeping)
        try:
            unshare(CLONE_NEWUSER)
        except OSError as error:
            number = error.errno or errno.EPERM
        os.write(telling, number.to_bytes(4, "little"))
        os.read(kept, 1)
    finally:
        os._exit(0)


def _identities(name: str, own: int) -> str:
    """Return a map of everybody whom we may map to himself; *own* is who we are."""
    if os.geteuid():
        return f"{own} {own} 1\n"
    ranges = [line.split() for line in Path("/proc/self", name).read_text().splitlines()]
    return "".join(f"{first} {first} {count}\n" for first, _, count in ranges)


def leave(users: int) -> None:
    """Be among *users*, from `make_users`, with a pid namespace for what we fork from now on.

    Raises:
        Obstacle: The kernel refused.
    """
    with taking(LEAVE):
        enter(users, CLONE_NEWUSER)
        unshare(CLONE_NEWPID)


def be_init(reading: int) -> NoReturn:
    """Be the first process of the pid namespace: adopt, reap, and end when it is time.

    Everything in the namespace ends with it. Nothing in there can end it: the kernel lets
    no signal through to it but those that it wants. It ends at once when the other end of
    *reading* is closed, or its parent is killed; after a byte it ends when nobody is left in there.
    """
    try:
        drop_capabilities()
        forbid_new_privileges()
        prctl(_SET_DUMPABLE, 0)  # nobody in there looks into it: it sees all folders
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
        prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if os.read(reading, 1):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)  # with SIGCHLD ignored it returns when there is no child
    finally:
        os._exit(0)


def explain(obstacle: Obstacle) -> str:
    """Return what is missing, and what can be done about it."""
    return (
        "tier namespaces is not possible here: the kernel does "
        f"not {STEPS[obstacle.step]} ({os.strerror(obstacle.number)}{_reason(obstacle.step)}); "
        "the setting sandbox='require:kernel' needs no namespaces"
    )


_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "0"),
    ("/proc/sys/user/max_pid_namespaces", "0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
)


def _reason(step: int) -> str:
    """Return what may be the reason, as far as it can be seen."""
    for path, value in _SWITCHES:
        with contextlib.suppress(OSError):
            if Path(path).read_text().strip() == value:
                name = path.removeprefix("/proc/sys/").replace("/", ".")
                return f"; {name} is {value}"
    if step == MOUNT_PROC:
        return "; parts of /proc are covered, as in most containers"
    return "; a container or a sandbox around the app may forbid it"

"""Which system calls a command may make: the filter, as data and as a program.

Landlock holds files, TCP ports and signals. The filter closes what Landlock does not know:
sockets of other kinds, what reaches into other processes, what asks the kernel for a new
world (namespaces, mounts), and the parts of the kernel that only those need who attack it.
It sees numbers and never what a pointer points to: no path, no address.

At least what Docker's default profile denies to a container without privileges is denied.
"""

from __future__ import annotations

import errno
import functools
import os
import sys

from jidocode.session.confinement import bpf
from jidocode.session.confinement.bpf import ALLOW, Case, Rule, Test, refuse
from jidocode.session.confinement.network import FullNetwork, Network, Peers, Ports
from jidocode.session.confinement.syscalls import LAST, numbers

AUDIT_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""By the machine's name, as the kernel tells a filter (linux/audit.h)."""

_DENIED = (
    # The machine: clock, name, modules, swap, log. They need privileges anyway.
    *("acct", "clock_adjtime", "clock_settime", "delete_module", "finit_module", "init_module"),
    *("ioperm", "iopl", "kexec_file_load", "kexec_load", "lookup_dcookie", "nfsservctl"),
    *("quotactl", "quotactl_fd", "reboot", "setdomainname", "sethostname", "settimeofday"),
    *("swapoff", "swapon", "sysfs", "syslog", "uselib", "ustat", "vhangup"),
    # Another world of files or processes: in a user namespace one is root.
    *("chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr"),
    *("move_mount", "open_tree", "pivot_root", "setns", "umount2", "unshare"),
    # Into other processes, and files by another way than their path.
    *("kcmp", "migrate_pages", "move_pages", "pidfd_getfd", "process_madvise"),
    *("process_vm_readv", "process_vm_writev", "name_to_handle_at", "open_by_handle_at"),
    *("add_key", "keyctl", "request_key"),
    # Shared by all processes of a user, with no path that Landlock could look at.
    *("mq_open", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget"),
    *("semop", "semtimedop", "shmat", "shmctl", "shmget"),
    # Much code of the kernel's, with a history.
    *("bpf", "fanotify_init", "perf_event_open", "userfaultfd"),
    *("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
)
_UNKNOWN = (
    # Whoever uses these has another way, and takes it if the kernel does not have the call.
    # The flags of clone3 lie behind a pointer, those of clone do not.
    *("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup"),
)

_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_TIOCSTI = 0x5412  # types into the terminal, as if its user had
_TIOCLINUX = 0x541C  # pastes into the console
_PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32 bit, UNAME26, "which?"
_ADDR_NO_RANDOMIZE = 0x40000  # what a debugger asks for
_PRIO_USER = 2
_IOPRIO_WHO_USER = 3
_MSG_FASTOPEN = 0x20000000  # a connect that is no call of connect: Landlock does not see it

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_STREAM, _DGRAM, _RAW, _SEQPACKET = 1, 2, 3, 5
_SOCKET_TYPE = 0xF  # the rest of that argument are flags
_ANY_PROTOCOL, _TCP, _UDP = 0, 6, 17
_NETLINK_ROUTE = 0

_NOT_PERMITTED = refuse(errno.EPERM)
_NO_ACCESS = refuse(errno.EACCES)  # what Landlock says of a port
_NO_SUCH_CALL = refuse(errno.ENOSYS)


def _never(action: int = _NOT_PERMITTED) -> Rule:
    return Rule((), action)


def _only(*alternatives: tuple[Test, ...], otherwise: int = _NOT_PERMITTED) -> Rule:
    return Rule(tuple(Case(tests, ALLOW) for tests in alternatives), otherwise)


def _socket(family: int, kind: int, protocol: int) -> tuple[Test, ...]:
    # The protocol counts: one of MPTCP or SCTP is a stream, too, to which Landlock's rules
    # for TCP do not apply.
    return Test(0, family), Test(1, kind, _SOCKET_TYPE), Test(2, protocol)


def table(
    machine: str, network: Network | Peers, *, ptrace: bool = False, execute: bool = True
) -> dict[int, Rule]:
    """Return what happens at each system call; what is not in the table is allowed.

    With *ptrace* a command may debug those that it has started itself: Landlock keeps it from
    all others. Without *execute* no program is executed.

    Raises:
        ValueError: There is no filter for *machine*.
    """
    rules = dict.fromkeys(_DENIED, _never()) | dict.fromkeys(_UNKNOWN, _never(_NO_SUCH_CALL))
    rules |= _others() | _sockets(network)
    personalities: tuple[int, ...] = _PERSONALITIES
    if ptrace:
        personalities = *personalities, _ADDR_NO_RANDOMIZE
    else:
        rules["ptrace"] = _never()
    if not execute:
        rules |= dict.fromkeys(("execve", "execveat"), _never())
    rules["personality"] = _only(*[(Test(0, value),) for value in personalities])
    known = numbers(machine)
    return {known[name]: rule for name, rule in rules.items() if name in known}


def _others() -> dict[str, Rule]:
    """Return the rules for calls that are fine with some arguments."""
    itself = _only((Test(0, 0),))
    return {
        "clone": _only((Test(0, 0, _NAMESPACES),)),
        "ioctl": Rule(
            tuple(Case((Test(1, value),), _NOT_PERMITTED) for value in (_TIOCSTI, _TIOCLINUX)),
            ALLOW,
        ),
        # Landlock's scope for signals does not hold these, and a limit kills as well as a
        # signal does: a process of the same user whose RLIMIT_CPU is set to 0 ends.
        "prlimit64": itself,
        "sched_setaffinity": itself,
        "sched_setattr": itself,
        "sched_setparam": itself,
        "sched_setscheduler": itself,
        "setpriority": Rule(
            (Case((Test(0, _PRIO_USER),), _NOT_PERMITTED), Case((Test(1, 0),), ALLOW)),
            _NOT_PERMITTED,
        ),
        "ioprio_set": Rule(
            (Case((Test(0, _IOPRIO_WHO_USER),), _NOT_PERMITTED), Case((Test(1, 0),), ALLOW)),
            _NOT_PERMITTED,
        ),
    }


def _sockets(network: Network | Peers) -> dict[str, Rule]:
    """Return the rules for sockets.

    No network grants a UNIX socket with a path: behind such paths are programs that do what
    they are told with the rights of their user (Docker, D-Bus, ssh-agent), and a filter cannot
    see which path is meant. A pair is no way there, as long as it is of a kind that stays
    connected: one of datagrams could send to any path.
    """
    pair = [(Test(0, _AF_UNIX), Test(1, kind, _SOCKET_TYPE)) for kind in (_STREAM, _SEQPACKET)]
    rules = {"socketpair": _only(*pair, otherwise=_NO_ACCESS)}
    families: tuple[int, ...] = (_AF_INET, _AF_INET6)
    sockets: list[tuple[Test, ...]] = []
    closed: tuple[str, ...] = ()
    kinds: tuple[tuple[int, int], ...] = ()
    match network:
        case FullNetwork():
            kinds = ((_STREAM, _TCP), (_DGRAM, _UDP))
            sockets += [_socket(_AF_NETLINK, kind, _NETLINK_ROUTE) for kind in (_RAW, _DGRAM)]
        case Ports():
            kinds = ((_STREAM, _TCP),)
            if not network.connect:
                closed += ("connect",)
            if not network.listen:
                closed += ("bind", "listen", "accept", "accept4")
            for call, flags in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
                rules[call] = _only((Test(flags, 0, _MSG_FASTOPEN),), otherwise=_NO_ACCESS)
        case Peers():
            families, kinds, closed = (_AF_INET,), ((_STREAM, _TCP),), ("bind", "listen")
        case _:
            closed = ("connect", "bind", "listen", "accept", "accept4")
    sockets += [
        _socket(family, kind, protocol)
        for family in families
        for kind, named in kinds
        for protocol in (_ANY_PROTOCOL, named)
    ]
    rules["socket"] = _only(*sockets, otherwise=_NO_ACCESS)
    return rules | dict.fromkeys(closed, _never(_NO_ACCESS))


@functools.lru_cache(maxsize=16)
def program(
    machine: str, network: Network | Peers, *, ptrace: bool = False, execute: bool = True
) -> bytes:
    """Return the filter as the kernel takes it.

    Raises:
        ValueError: There is no filter for *machine*.
    """
    rules = table(machine, network, ptrace=ptrace, execute=execute)
    return bpf.encode(bpf.assemble(AUDIT_ARCHES[machine], LAST, _NO_SUCH_CALL, rules))


def this_machine() -> str:
    """Return the name of the machine whose calls this process makes.

    A 32-bit Python has other numbers than the kernel under it; it gets a name that no table has.
    """
    machine = os.uname().machine
    return machine if sys.maxsize > 2**32 else f"32-bit {machine}"

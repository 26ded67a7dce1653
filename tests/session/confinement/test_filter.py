"""The filter of system calls: its assembler, its table, and what the kernel makes of it."""

from __future__ import annotations

import ctypes
import errno
import json
from typing import Any

import pytest
from bpf_machine import ALLOW, KILL, run
from confined import Place, make_place
from hypothesis import given, strategies as st

from jidocode.session.confinement import bpf, seccomp
from jidocode.session.confinement.bpf import Case, Instruction, Rule, Test as Check
from jidocode.session.confinement.network import FullNetwork, Network, NoNetwork, Peers, Ports
from jidocode.session.confinement.syscalls import LAST, MACHINES, numbers

NETWORKS: dict[str, Network | Peers] = {
    "none": NoNetwork(),
    "connect": Ports(connect=(443,)),
    "listen": Ports(listen=(8000,)),
    "both": Ports(connect=(443,), listen=(8000,)),
    "full": FullNetwork(),
    "peers": Peers(),
}

DOCKER_DENIES = frozenset(
    [
        "_sysctl",
        "acct",
        "add_key",
        "bpf",
        "chroot",
        "clock_settime",
        "clone3",
        "create_module",
        "delete_module",
        "fanotify_init",
        "finit_module",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "get_kernel_syms",
        "get_mempolicy",
        "init_module",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "ioperm",
        "iopl",
        "kcmp",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "lookup_dcookie",
        "mbind",
        "migrate_pages",
        "mount",
        "mount_setattr",
        "move_mount",
        "move_pages",
        "nfsservctl",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pidfd_getfd",
        "pivot_root",
        "process_madvise",
        "query_module",
        "quotactl",
        "quotactl_fd",
        "reboot",
        "request_key",
        "set_mempolicy",
        "set_mempolicy_home_node",
        "setdomainname",
        "sethostname",
        "setns",
        "settimeofday",
        "swapoff",
        "swapon",
        "sysfs",
        "syslog",
        "umount2",
        "unshare",
        "uselib",
        "userfaultfd",
        "ustat",
        "vhangup",
    ]
)
"""Of Docker's default profile: what a container without capabilities may not call at all."""
GONE = {"_sysctl", "create_module", "get_kernel_syms", "query_module"}
"""What no kernel that has Landlock implements any more."""


def expected(name: str, args: tuple[int, ...], network: str, *, ptrace: bool) -> str | int:
    """Return what should come of a call, in other words than the table's."""
    low = [arg & 0xFFFFFFFF for arg in args]
    kind = low[1] & 0xF
    reach = "connect" if network == "both" else network
    inet = low[0] in (2, 10)
    match name:
        case "clone3" | "io_uring_setup" | "io_uring_enter" | "io_uring_register":
            return errno.ENOSYS
        case "clone":
            fine = not low[0] & (0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x70000000)
            return ALLOW if fine else errno.EPERM
        case "ioctl":
            return errno.EPERM if low[1] in (0x5412, 0x541C) else ALLOW
        case "personality":
            fine = low[0] in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF) or (ptrace and low[0] == 0x40000)
            return ALLOW if fine else errno.EPERM
        case "ptrace":
            return ALLOW if ptrace else errno.EPERM
        case "prlimit64" | "sched_setaffinity" | "sched_setattr":
            return errno.EPERM if low[0] else ALLOW
        case "sched_setparam" | "sched_setscheduler":
            return errno.EPERM if low[0] else ALLOW
        case "setpriority":
            return errno.EPERM if low[1] or low[0] == 2 else ALLOW
        case "ioprio_set":
            return errno.EPERM if low[1] or low[0] == 3 else ALLOW
        case "socketpair":
            return ALLOW if low[0] == 1 and kind in (1, 5) else errno.EACCES
        case "socket":
            fine = reach != "none" and inet and kind == 1 and low[2] in (0, 6)
            fine &= network != "peers" or low[0] == 2
            fine |= reach == "full" and inet and kind == 2 and low[2] in (0, 17)
            fine |= reach == "full" and low[0] == 16 and kind in (2, 3) and low[2] == 0
            return ALLOW if fine else errno.EACCES
        case "connect":
            return ALLOW if network in ("connect", "both", "full", "peers") else errno.EACCES
        case "execve" | "execveat":
            return errno.EPERM if network == "peers" else ALLOW
        case "accept" | "accept4" if network == "peers":
            return ALLOW
        case "bind" | "listen" | "accept" | "accept4":
            return ALLOW if network in ("listen", "both", "full") else errno.EACCES
        case "sendto" | "sendmmsg" | "sendmsg":
            flags = low[2 if name == "sendmsg" else 3]
            fine = network in ("none", "full", "peers") or not flags & 0x20000000
            return ALLOW if fine else errno.EACCES
        case _ if name in seccomp._DENIED:
            return errno.EPERM
        case _:
            return ALLOW


INTERESTING = [
    *(0, 1, 2, 3, 5, 6, 8, 10, 16, 17, 38, 40, 132, 262, 0x5412, 0x541C, 0x20000, 0x20008),
    *(0x40000, 0x7E020000, 0x20000000, 0x10000000, 0x80801, 0x800, 0xFFFFFFFF, 2**31),
]


def argument(high: int, low: int) -> int:
    """Return a word of 64 bits; the kernel looks at the lower half of these arguments."""
    return (high << 32) | low


ARGUMENT = st.builds(
    argument,
    st.sampled_from([0, 0, 1, 0xFFFFFFFF]),
    st.sampled_from(INTERESTING) | st.integers(0, 2**32 - 1),
)
PROGRAMS = {
    (machine, network, ptrace): seccomp.program(
        machine, NETWORKS[network], ptrace=ptrace, execute=network != "peers"
    )
    for machine in MACHINES
    for network in NETWORKS
    for ptrace in (False, True)
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("network", NETWORKS)
@given(
    data=st.data(),
    ptrace=st.booleans(),
    arguments=st.tuples(*[ARGUMENT] * 6),
)
def test_the_program_answers_as_the_table_says(
    machine: str, network: str, data: st.DataObject, *, ptrace: bool, arguments: tuple[int, ...]
) -> None:
    names = {number: name for name, number in numbers(machine).items()}
    number = data.draw(st.sampled_from(sorted(names)) | st.integers(0, LAST))

    answer = run(
        PROGRAMS[machine, network, ptrace], number, seccomp.AUDIT_ARCHES[machine], arguments
    )

    assert answer == expected(names.get(number, "?"), arguments, network, ptrace=ptrace)


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(LAST + 1, 2**32 - 1))
def test_what_nobody_has_looked_at_is_no_call(machine: str, number: int) -> None:
    """New calls of later kernels; and x32, whose numbers begin at 2**30."""
    program = PROGRAMS[machine, "full", True]

    assert run(program, number, seccomp.AUDIT_ARCHES[machine], (0,) * 6) == errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, 2**32 - 1), audit_arch=st.integers(0, 2**32 - 1))
def test_a_call_by_other_numbers_ends_the_process(
    machine: str, number: int, audit_arch: int
) -> None:
    """I386 on x86_64, for one: the same numbers mean something else there."""
    if audit_arch != seccomp.AUDIT_ARCHES[machine]:
        assert run(PROGRAMS[machine, "full", True], number, audit_arch, (0,) * 6) == KILL


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", sorted(DOCKER_DENIES - GONE))
def test_what_docker_denies_is_denied(machine: str, name: str) -> None:
    number = numbers(machine).get(name)
    if number is None:
        assert resolve(machine, name) < 0, "the machine has it, and it is not in our table"
        return
    for network in NETWORKS:
        answer = run(
            PROGRAMS[machine, network, True], number, seccomp.AUDIT_ARCHES[machine], (0,) * 6
        )
        assert answer in (errno.EPERM, errno.ENOSYS)


def resolve(machine: str, name: str) -> int:
    """Return the number of the call *name* as libseccomp has it, less than 0 if there is none."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp is not installed")
    number: int = library.seccomp_syscall_resolve_name_arch(
        ctypes.c_uint32(seccomp.AUDIT_ARCHES[machine]), name.encode()
    )
    return number


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_libseccomp(machine: str) -> None:
    ours = numbers(machine)

    assert {name: resolve(machine, name) for name in ours} == ours
    missing = {name for other in MACHINES for name in numbers(other)} - set(ours)
    assert {name for name in missing if resolve(machine, name) >= 0} == set()


def test_the_assembler_writes_what_the_kernel_reads() -> None:
    """A small table by hand, instruction by instruction."""
    table = {7: Rule((), bpf.refuse(1)), 9: Rule((Case((Check(1, 5, 0xF),), ALLOW_),), KILL_)}

    assert bpf.assemble(0xC000003E, 400, bpf.refuse(38), table) == [
        Instruction(0x20, 0, 0, 4),
        Instruction(0x15, 1, 0, 0xC000003E),
        Instruction(0x06, 0, 0, KILL_),
        Instruction(0x20, 0, 0, 0),
        Instruction(0x25, 0, 1, 400),
        Instruction(0x06, 0, 0, 0x50026),
        Instruction(0x25, 8, 0, 9),
        Instruction(0x15, 0, 1, 7),
        Instruction(0x06, 0, 0, 0x50001),
        Instruction(0x15, 0, 5, 9),
        Instruction(0x20, 0, 0, 24),
        Instruction(0x54, 0, 0, 0xF),
        Instruction(0x15, 0, 1, 5),
        Instruction(0x06, 0, 0, ALLOW_),
        Instruction(0x06, 0, 0, KILL_),
        Instruction(0x06, 0, 0, ALLOW_),
    ]
    assert bpf.encode([Instruction(0x15, 1, 2, 0xC000003E)]) == bytes.fromhex("150001023e0000c0")


ALLOW_, KILL_ = bpf.ALLOW, bpf.KILL


def test_what_the_kernel_could_not_take_is_refused() -> None:
    many = Rule(tuple(Case((Check(0, value),), ALLOW_) for value in range(200)), KILL_)

    with pytest.raises(ValueError, match="jump"):
        bpf.assemble(1, 400, 0, {1: many})
    with pytest.raises(ValueError, match="more than the kernel takes"):
        bpf.assemble(1, 9999, 0, dict.fromkeys(range(3000), Rule((), KILL_)))
    with pytest.raises(ValueError, match="riscv64"):
        seccomp.program("riscv64", NoNetwork())


@pytest.fixture
def place(tmp_path: Any) -> Place:
    return make_place(tmp_path)


def test_the_kernel_answers_as_the_program_does(place: Place) -> None:
    """Each denied call is made, with arguments that harm nobody."""
    machine = seccomp.this_machine()
    calls = {
        name: number
        for name, number in numbers(machine).items()
        if expected(name, (0,) * 6, "none", ptrace=False) != ALLOW
    }
    script = """
for name, number in json.loads(argv[0]).items():
    results[name] = attempt(call, number, 0, 0, 0, 0, 0, 0)
"""
    results = place.script(script, json.dumps(calls))

    assert results == {
        name: errno.errorcode[int(expected(name, (0,) * 6, "none", ptrace=False))] for name in calls
    }
    assert len(results) > 70


def test_the_kernel_looks_at_arguments_as_the_program_does(place: Place) -> None:
    script = """
NR = json.loads(argv[0])
def clone(flags):
    pid = call(NR["clone"], flags | signal.SIGCHLD, 0, 0, 0, 0)
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
results["clone"] = attempt(clone, 0)
for name, flag in {"user": 0x10000000, "pid": 0x20000000, "net": 0x40000000, "mount": 0x20000,
                   "uts": 0x4000000, "ipc": 0x8000000, "cgroup": 0x2000000}.items():
    results[name] = attempt(clone, flag)
results["sti"] = attempt(call, NR["ioctl"], 0, 0x5412, 0)
results["sti, high bits"] = attempt(call, NR["ioctl"], 0, 0xF00005412, 0)
results["linux"] = attempt(call, NR["ioctl"], 0, 0x541C, 0)
results["another"] = attempt(call, NR["ioctl"], -1, 0x5413, 0)
results["which personality"] = attempt(call, NR["personality"], 0xFFFFFFFF)
results["no randomization"] = attempt(call, NR["personality"], 0x40000)
results["x32"] = attempt(call, 0x40000000 + 39)
results["new"] = attempt(call, 467, 0, 0, 0)
"""
    results = place.script(script, json.dumps(numbers(seccomp.this_machine())))

    assert results.pop("clone") == "done"
    assert results.pop("another") == "EBADF"
    assert results.pop("which personality") == "done"
    assert {results.pop("x32"), results.pop("new")} == {"ENOSYS"}
    assert set(results.values()) == {"EPERM"}, results

"""A Manager is held by the kernel: what it cannot do, and all that it still can."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hostile import TakenOver, Threaded

from jidocode import (
    BoundaryError,
    ChildSpec,
    ConfinementError,
    Edit,
    Session,
    SessionHandle,
    SessionSystem,
    Upkeep,
    session_children,
)
from jidocode.otp import Start
from jidocode.session.commands.limits import SandboxMode
from jidocode.session.manager.server import Manager
from jidocode.testing import kill, wait_for_restart

as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to set it up")


def with_manager(
    session: Session,
    own: Sequence[ChildSpec] = (),
    *,
    upkeep: Upkeep,
    manager: type[Manager] = TakenOver,
) -> Sequence[ChildSpec]:
    first, *others = session_children(session, own, upkeep=upkeep)
    return [evolve(first, start=Start(manager, *first.start.args)), *others]


def restart_manager(system: SessionSystem, session: SessionHandle) -> None:
    wait_for_restart(system, session, "manager", after=kill(system, session, "manager").ref)


# ----- taken over -------------------------------------------------------------------------------

OUTSIDE = """
import socket, ctypes, signal, threading
outside, project, state, app, port = argv
host = os.getppid()
def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.read(10)
results["read a key"] = attempt(read, outside + "/key")
results["by a link"] = attempt(read, project + "/link")
results["list"] = attempt(os.listdir, outside)
results["list /"] = attempt(os.listdir, "/")
results["write"] = attempt(os.open, outside + "/key", os.O_WRONLY)
results["create"] = attempt(os.open, outside + "/new", os.O_WRONLY | os.O_CREAT)
results["unnamed"] = attempt(os.open, outside, os.O_WRONLY | os.O_TMPFILE)
results["cut off"] = attempt(os.truncate, outside + "/key", 0)
results["mkdir"] = attempt(os.mkdir, outside + "/folder")
results["remove"] = attempt(os.unlink, outside + "/key")
results["move out"] = attempt(os.rename, project + "/README.md", outside + "/README.md")
results["move in"] = attempt(os.rename, outside + "/key", project + "/key")
results["link"] = attempt(os.link, outside + "/key", project + "/key")
results["journals"] = attempt(os.listdir, state)
results["owners"] = attempt(os.listdir, state + "/open")
for name in os.listdir("/proc/self/fd"):
    try:
        held = os.readlink("/proc/self/fd/" + name)
    except FileNotFoundError:
        continue
    assert not held.startswith((outside, state)), held
def execute(path):
    pid = os.fork()
    if not pid:
        try:
            os.execv(path, [path])
        except OSError as error:
            os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, "")
results["execute"] = attempt(execute, "/bin/true")
fd = os.memfd_create("x", 0)
os.write(fd, b"#!/bin/true")
results["execute memory"] = attempt(execute, f"/proc/self/fd/{fd}")
def connect(address):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(address)
results["UNIX"] = attempt(connect, outside + "/socket")
results["abstract"] = attempt(connect, b"\\0" + outside.encode())
results["UDP"] = attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
def listen():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
results["listen"] = attempt(listen)
for name, pid in (("app", app), ("host", host)):
    for what in ("environ", "maps", "mem"):
        results[f"{what} of {name}"] = attempt(read, f"/proc/{pid}/{what}")
    results[f"signal to {name}"] = attempt(os.kill, pid, 0)
    pidfd = os.pidfd_open(pid)
    results[f"signal by descriptor to {name}"] = attempt(signal.pidfd_send_signal, pidfd, 0)
    os.close(pidfd)
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    if libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, args)) < 0:
        raise OSError(ctypes.get_errno(), "")
machine = os.uname().machine
results["ptrace"] = attempt(call, {"x86_64": 101, "aarch64": 117}[machine], 0x4206, app, 0, 0)
results["unshare"] = attempt(call, {"x86_64": 272, "aarch64": 97}[machine], 0x10000000)
"""


@pytest.mark.parametrize("where", ["run", "run in a thread"])
def test_a_manager_that_is_taken_over_gets_at_nothing_outside_of_its_project(
    project: Path, tmp_path: Path, where: str
) -> None:
    """Whatever it runs, and in whatever thread."""
    outside, state = tmp_path / "home", tmp_path / "state"
    outside.mkdir()
    (outside / "key").write_text("secret")
    (project / "link").symlink_to(outside / "key")
    with (
        SessionSystem(state_dir=state, build=with_manager) as system,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        named.bind(str(outside / "socket"))
        abstract.bind(b"\0" + os.fsencode(outside))
        named.listen()
        abstract.listen()
        session = system.create_session(project)
        session.manager.write_file("a/b", "x")  # what it notes, it has noted
        paths = [str(outside), str(project), str(state)]

        results = session.call("manager", (where, OUTSIDE, *paths, os.getpid(), 0))

    refused = {"EACCES", "EPERM", "EXDEV"}
    assert {what: got for what, got in results.items() if got not in refused} == {}
    assert (outside / "key").read_text() == "secret"
    assert sorted(path.name for path in outside.iterdir()) == ["key", "socket"]


def test_the_same_is_possible_where_nothing_holds_it(project: Path, tmp_path: Path) -> None:
    """Else those tries would tell nothing."""
    (tmp_path / "key").write_text("secret")
    with SessionSystem(build=with_manager, sandbox="off") as system:
        session = system.create_session(project)
        source = "results['read'] = attempt(lambda: open(argv[0]).read())"

        assert session.call("manager", ("run", source, str(tmp_path / "key"))) == {
            "read": "'secret'"
        }
        report = session.manager.confinement()
        assert report.tier is None
        assert {"read a file elsewhere", "execute a file", "open a UNIX socket"} <= {
            *report.missing
        }


@as_root
def test_as_root_it_has_no_privileges_but_those_over_files(project: Path) -> None:
    source = """
status = open("/proc/self/status").read()
results["held"] = [line for line in status.splitlines() if line.startswith("CapPrm")][0].split()[1]
"""
    with SessionSystem(build=with_manager) as system:
        session = system.create_session(project)
        held = session.call("manager", ("run", source))["held"]

    assert int(held, 16) & ~0b1011 == 0


# ----- what is found by trying --------------------------------------------------------------------


def test_a_manager_says_what_holds_it(system: SessionSystem, session: SessionHandle) -> None:
    """In each of its lives."""
    for _ in range(2):
        report = session.manager.confinement()

        assert report.missing == ()
        assert report.tier == "kernel"
        assert "denied  execute a file" in str(report)
        restart_manager(system, session)


def test_asking_leaves_nothing_open(system: SessionSystem, session: SessionHandle) -> None:
    """Neither where it is held nor where it is not."""
    with SessionSystem(sandbox="off") as unheld:
        other = unheld.create_session(session.session.project_path)
        for manager, pid in (
            (session.manager, pid_of(system, session)),
            (other.manager, pid_of(unheld, other)),
        ):
            manager.confinement()
            before = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a number is enough
            manager.confinement()
            assert len(os.listdir(f"/proc/{pid}/fd")) == before  # noqa: PTH208 - idem


def pid_of(system: SessionSystem, session: SessionHandle) -> int:
    ref = system.whereis(("manager", session.id))
    assert ref is not None
    return ref.os_pid


LACKING = """
import errno, json, sys
from loguru import logger
from jidocode import SessionError, SessionSystem
from jidocode.session.confinement import bpf, landlock, seccomp
from jidocode.session.confinement.privileges import forbid_new_privileges
from jidocode.session.confinement.seal import Seal

project, mode, *missing = sys.argv[1:]
lines = []
logger.enable("jidocode")
logger.remove()
logger.add(lambda line: lines.append(line.record["message"]), level="WARNING")
refused = {int(number): bpf.Rule((), bpf.refuse(errno.ENOSYS)) for number in missing}
program = bpf.assemble(
    seccomp.AUDIT_ARCHES[seccomp.this_machine()], 2**30 - 1, bpf.refuse(errno.ENOSYS), refused
)
forbid_new_privileges()
Seal((), bpf.encode(program))._filter()
with SessionSystem(sandbox=mode) as system:
    try:
        session = system.create_session(project)
    except SessionError as error:
        outcome = [type(error).__name__, str(error)]
    else:
        session.manager.write_file("new", "x")
        outcome = [session.manager.read_file("new").text, session.manager.confinement().tier]
print(json.dumps([outcome, [line for line in lines if "confine" in line]]))
"""


@pytest.mark.parametrize(
    ("mode", "outcome"),
    [
        ("auto", ["x", None]),
        ("off", ["x", None]),
        ("require:kernel", None),
        ("require:namespaces", None),
    ],
)
@pytest.mark.parametrize("missing", [[444, 445, 446], [446]], ids=["no Landlock", "no rules"])
def test_a_kernel_without_landlock_is_said_or_refused(
    project: Path, missing: list[int], mode: SandboxMode, outcome: list[object] | None
) -> None:
    """As the setting says: it goes on, and says so once; or there is no session."""
    arguments = [str(project), mode, *map(str, missing)]
    got, warnings = run_app(LACKING, *arguments)

    if outcome is not None:
        assert got == outcome
        assert len(warnings) == (mode == "auto")
    else:
        assert got[0] == "ConfinementError"
        assert "Landlock" in got[1]


def run_app(source: str, *arguments: str, python: str = sys.executable) -> Any:
    done = subprocess.run(
        [python, "-c", textwrap.dedent(source), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_one_that_has_threads_already_cannot_be_held(project: Path) -> None:
    """They would go on as before; so nothing is said to be in force."""
    build = partial(with_manager, manager=Threaded)
    with SessionSystem(build=build) as system:
        manager = system.create_session(project).manager
        assert manager.read_file("README.md").text
        assert manager.confinement().tier is None
    with SessionSystem(build=build, sandbox="require:kernel") as strict:
        with pytest.raises(ConfinementError, match="threads"):
            strict.create_session(project)
        assert strict.list_sessions() == []


# ----- and all that it still can ----------------------------------------------------------------


def work(session: SessionHandle, number: int) -> None:
    """Do each thing that a Manager does, and look at what came of it."""
    manager, folder = session.manager, f"work{number}"
    manager.mkdir(f"{folder}/deep")
    manager.write_file(f"{folder}/one", "alpha\n")
    manager.write_file(f"{folder}/one", "alpha\nbeta\n")
    manager.write_bytes(f"{folder}/deep/two", b"\xff\x00", in_place=True)
    manager.append_file(f"{folder}/one", "gamma\n")
    manager.edit_file(f"{folder}/one", Edit("beta", "delta"))
    assert manager.read_text(f"{folder}/one").text == "alpha\ndelta\ngamma\n"
    assert manager.read_file(f"{folder}/one").text
    assert manager.read_bytes(f"{folder}/deep/two").data == b"\xff\x00"
    manager.copy(f"{folder}/one", f"{folder}/deep/three")
    manager.copy(f"{folder}/deep", f"{folder}/again", recursive=True)
    manager.move(f"{folder}/again/three", f"{folder}/three")
    manager.move(f"{folder}/deep", f"{folder}/again/deep")
    assert manager.stat(f"{folder}/again/deep/two").size == 2
    assert {entry.name for entry in manager.list_directory(folder).entries} == {
        *("again", "one", "three"),
    }
    assert len(manager.glob(f"{folder}/**/t*").paths) == 4
    assert len(manager.grep("d[e]lta", path=folder).matches) == 3
    assert manager.tree(folder).entries
    assert manager.validate_path(f"{folder}/one").startswith("/")
    with pytest.raises(BoundaryError):
        manager.read_text("../outside")
    manager.remove(f"{folder}/one")
    manager.remove(folder, recursive=True)
    session.state.append_message("user", folder)


def test_everything_works_in_each_of_many_lives(project: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with SessionSystem(state_dir=state, max_restarts=100) as system:
        session = system.create_session(project)
        for number in range(6):
            work(session, number)
            restart_manager(system, session)
            assert session.manager.confinement().tier == "kernel"
        assert len(session.state.messages()) == 6
        system.stop_session(session.id)
        assert sorted(path.name for path in (state / "unfinished").iterdir()) == []
        work(system.resume_session(session.id), 7)


def test_the_note_of_one_that_was_killed_goes_with_its_journal(
    project: Path, tmp_path: Path
) -> None:
    with SessionSystem(state_dir=tmp_path / "state") as system:
        session = system.create_session(project)
        session.manager.write_file("src/new", "x")
        note = tmp_path / "state" / "unfinished" / session.id
        assert note.read_bytes() == b"src\0"
        os.kill(system.host_pid, signal.SIGKILL)
    assert note.exists()
    with SessionSystem(state_dir=tmp_path / "state") as system:
        system.delete_session(session.id)
        assert not note.exists()


@pytest.mark.parametrize("place", ["default", "memory", "linked", "beside", "around", "link"])
def test_everything_works_wherever_project_and_journals_are(tmp_path: Path, place: str) -> None:
    """Journals in the default folder, nowhere, behind a link; a project beside or beneath them."""
    folder, state = tmp_path / "apps" / "shop", tmp_path / "apps" / "state"
    settings: dict[str, Any] = {"state_dir": state}
    match place:
        case "default":
            settings = {"state_dir": None}
        case "memory":
            settings = {"durability": "memory"}
        case "linked":
            (tmp_path / "disk").mkdir()
            (tmp_path / "apps").mkdir()
            state.symlink_to(tmp_path / "disk")
        case "around":
            folder = state / "shop"
        case _:
            pass
    folder.mkdir(parents=True)
    if place == "link":
        (tmp_path / "link").symlink_to(folder)
        folder = tmp_path / "link"
    with SessionSystem(**settings) as system:
        session = system.create_session(folder)
        for number in range(2):
            work(session, number)
            assert session.manager.confinement().tier == "kernel"
            restart_manager(system, session)


def test_a_project_that_is_moved_goes_on(project: Path, tmp_path: Path) -> None:
    """Rules hold the folder, and not its name; who takes the name has nothing from it."""
    with SessionSystem(build=with_manager) as system:
        session = system.create_session(project)
        moved = project.rename(tmp_path / "elsewhere")
        project.mkdir()
        (project / "README.md").write_text("another")

        work(session, 1)
        assert session.manager.read_text("README.md").text.startswith("# Shop")
        session.manager.write_file("new", "x")
        source = "results['read'] = attempt(open, argv[0])"
        taken = session.call("manager", ("run", source, str(project / "README.md")))
        assert taken == {"read": "EACCES"}
    assert (moved / "new").read_text() == "x"


@as_root
def test_a_file_of_somebody_else_stays_theirs(project: Path) -> None:
    """The Manager of root gives the new file to whom the old one belonged."""
    (project / "README.md").chmod(0o640)
    os.chown(project / "README.md", 1234, 5678)
    with SessionSystem() as system:
        system.create_session(project).manager.write_file("README.md", "new")

    status = (project / "README.md").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 5678, 0o640)


SEARCH = """
import json, sys
from jidocode import SessionSystem
sys.dont_write_bytecode = True
with SessionSystem(state_dir=sys.argv[1]) as system:
    manager = system.create_session(sys.argv[2]).manager
    found = [match.path for match in manager.grep("S[h]op").matches]
    print(json.dumps([found, manager.confinement().tier, sys.prefix]))
"""


def test_what_is_imported_late_is_found_in_a_python_anywhere(project: Path, tmp_path: Path) -> None:
    """A virtual environment in an odd place, with the library that searches in another one."""
    home = tmp_path / "odd place"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", home / "venv"], check=True, timeout=60
    )
    import re2  # noqa: PLC0415 - to see where it is

    library = Path(re2.__file__).parent
    shutil.copytree(library, home / "vendored" / "re2")
    paths = [str(home / "vendored")]
    paths += [path for path in sys.path if path and "support" not in path]
    source = f"import sys; sys.path[:0] = {paths!r}\n{SEARCH}"

    found, tier, prefix = run_app(
        source, str(tmp_path / "state"), str(project), python=str(home / "venv" / "bin" / "python")
    )

    assert (found, tier) == (["README.md"], "kernel")
    assert prefix == str(home / "venv")

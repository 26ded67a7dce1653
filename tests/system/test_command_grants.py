"""What an app grants a command beyond its project: paths, limits, a debugger."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from jidocode import (
    CommandLimits,
    InvalidRequestError,
    ProgramNotFoundError,
    SessionHandle,
    SessionSystem,
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the project, with a program and a text in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "text").write_text("told")
    (folder / "program").write_text("#!/bin/sh\necho runs\n")
    (folder / "program").chmod(0o700)
    return folder


def test_what_may_be_read_is_not_changed(session: SessionHandle, outside: Path) -> None:
    both = f"cat {outside}/text; {outside}/program; echo x > {outside}/new"
    assert session.run(both).stdout == ""
    granted = session.run(both, read=[outside])
    assert granted.stdout == "toldruns\n"
    assert not granted.ok
    assert session.run(both, write=[str(outside)]).stdout == "toldruns\n"
    assert (outside / "new").read_text() == "x\n"
    assert session.run(f"echo y > {outside}/new; cat {outside}/text").stdout == ""
    assert session.run(["cat", f"{outside}/text"], read=(outside / "text",)).stdout == "told"


def test_a_grant_is_for_what_is_there_now(session: SessionHandle, outside: Path) -> None:
    """Rules are kept for the next command; another folder of that name is not the one they hold."""
    show = ["cat", f"{outside}/text"]
    assert session.run(show, read=[outside]).ok
    outside.rename(outside.with_name("moved"))
    outside.mkdir()
    (outside / "text").write_text("anew")
    assert session.run(show, read=[outside]).stdout == "anew"
    link = outside.with_name("link")
    link.symlink_to(outside)
    assert session.run(show, read=[link]).stdout == "anew"
    link.unlink()
    link.symlink_to(outside.with_name("moved"))
    assert not session.run(show, read=[link]).ok
    assert session.run(["cat", f"{link}/text"], read=[link]).stdout == "told"


def test_more_grants_than_are_kept_ready(session: SessionHandle, outside: Path) -> None:
    for number in range(20):
        (outside / f"{number}").write_text(f"{number}")
    for number in (*range(20), 0):
        show = f"cat {outside}/*"
        assert session.run(show, read=[outside, outside / f"{number}"]).stdout.startswith("0")
        assert session.run(show, read=[outside / f"{number}"]).stdout == ""


@pytest.mark.parametrize("name", ["read", "write"])
def test_bad_paths_start_nothing(
    system: SessionSystem, session: SessionHandle, tmp_path: Path, name: str
) -> None:
    state = system.settings.state_dir
    assert state is not None
    journal = next(Path(state).glob("**/*.jsonl"))
    dangling = tmp_path / "dangling"
    dangling.symlink_to("nowhere")
    saved = tmp_path / "saved"
    bad: list[tuple[Any, str]] = [
        ("/usr", "must be a tuple"),
        (["usr"], "must be absolute"),
        ([7], "must be absolute"),
        (["/usr\0"], "NUL"),
        (["/" + "x" * 5000], "too long"),
        (["/usr"] * 1001, "there may be 1000"),
        ([tmp_path / "nowhere"], "No such file"),
        ([tmp_path / "shop" / "README.md" / "x"], "Not a directory"),
        ([dangling], "No such file"),
        (["/"], "must stay closed"),
        ([state], "must stay closed"),
        ([journal], "stays closed"),
    ]
    for value, words in bad:
        options: Any = {name: value}
        with pytest.raises(InvalidRequestError, match=words):
            session.run("true", save_output=saved, **options)
    assert session.commands.list() == []
    assert not saved.exists()


def test_what_did_not_start_leaves_no_saved_output(session: SessionHandle, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    with pytest.raises(ProgramNotFoundError):
        session.run(["no-such-program"], save_output=saved)
    assert not saved.exists()
    assert session.run("echo x", save_output=saved).saved == 2


def test_limits_hold_each_process(session: SessionHandle) -> None:
    allocate = [sys.executable, "-Ic", "bytearray(2**29); print('has it')"]
    assert session.run(allocate).ok
    assert "MemoryError" in session.run(allocate, limits=CommandLimits(data=2**28)).stderr
    write = "head -c 100000 /dev/zero > big; wc -c < big"
    assert session.run(write, limits=CommandLimits(file_size=4096)).stdout == "4096\n"
    names = "ulimit -c; ulimit -n; ulimit -t; ulimit -f"
    limits = CommandLimits(core=None, descriptors=50, cpu=7, file_size=1024)
    assert session.run(names, limits=limits).stdout.split()[1:] == ["50", "7", "2"]
    spin = [sys.executable, "-Ic", "while True: pass"]
    assert session.run(spin, limits=CommandLimits(cpu=1), timeout=30).signal == 24  # SIGXCPU
    for bad in ({"limits": 7}, {"ptrace": 1}):
        with pytest.raises(InvalidRequestError, match="must be"):
            session.run("true", **bad)  # type: ignore[arg-type] # on purpose


TRACE_ME = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, PID, None, None), ctypes.get_errno())  # PTRACE_ATTACH
"""


def test_a_debugger_reaches_what_it_has_started_and_nobody_else(
    session: SessionHandle, project: Path
) -> None:
    other = session.commands.start("sleep 100", ptrace=True)
    (project / "attach.py").write_text(TRACE_ME.replace("PID", str(other.info().pid)))
    attach = [sys.executable, "-I", "attach.py"]
    assert session.run(attach, ptrace=True).stdout == "-1 1\n"  # EPERM
    other.cancel()
    own = "sleep 100 & sed s/PID/$!/ script > own.py; %s -I own.py; kill $!" % sys.executable  # noqa: UP031 - braces
    (project / "script").write_text(TRACE_ME)
    assert session.run(own).stdout == "-1 1\n"
    assert session.run(own, ptrace=True).stdout == "0 0\n"


TRACED_BY_ITS_CHILD = """
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.prctl(0x59616D61, -1, 0, 0, 0)  # PR_SET_PTRACER, PR_SET_PTRACER_ANY: where Yama asks for it
main = os.getpid()
reading, writing = os.pipe()
if not os.fork():
    os.setsid()
    os.write(writing, b"%d" % libc.ptrace(0x4206, main, 0, 0))  # PTRACE_SEIZE
    time.sleep(100)
print(os.read(reading, 2).decode(), flush=True)
os._exit(7)
"""


def test_who_is_traced_by_what_it_has_started_ends_all_the_same(
    session: SessionHandle, project: Path
) -> None:
    """Its tracer is told of its death first, and never takes it in."""
    (project / "main.py").write_text(TRACED_BY_ITS_CHILD)
    done = session.run([sys.executable, "-I", "main.py"], ptrace=True, timeout=20)
    assert (done.exit_code, done.stdout, done.timed_out) == (7, "0\n", False)


@pytest.mark.skipif(not (shutil.which("gdb") and shutil.which("gcc")), reason="no gdb or gcc")
def test_gdb(session: SessionHandle, project: Path) -> None:
    (project / "main.c").write_text("int main(void) { return 7; }\n")
    assert session.run("gcc -g -o main main.c").ok
    words = ["-batch", "-nx", "-ex", "break main", "-ex", "run", "-ex", "bt", "-ex", "continue"]
    done = session.run(["gdb", *words, "./main"], ptrace=True)
    assert "main () at main.c:1" in done.stdout
    assert "exited with code 07" in done.stdout
    assert "exited with code 07" not in session.run(["gdb", *words, "./main"]).stdout


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_strace(session: SessionHandle) -> None:
    traced = session.run(["strace", "-f", "-e", "trace=execve", "true"], ptrace=True)
    assert 'execve("' in traced.stderr
    assert traced.ok


def test_settings_are_for_every_command_and_its_own_words_come_on_top(
    project: Path, outside: Path, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "text").write_text("more")
    with SessionSystem(
        state_dir=tmp_path / "state",
        command_read=[outside],
        command_write=[tmp_path / "more"],
        command_limits=CommandLimits(descriptors=60),
    ) as system:
        session = system.create_session(project)
        show = f"cat {outside}/text; echo x > {tmp_path}/more/new; ulimit -n"
        assert session.run(show).stdout == "told60\n"
        assert (tmp_path / "more" / "new").exists()
        own = session.run(show, limits=CommandLimits(descriptors=70), read=["/etc/hostname"])
        assert own.stdout == "told70\n"
        shutil.rmtree(outside)
        with pytest.raises(InvalidRequestError, match="No such file"):
            session.run("true")


def test_the_settings_may_not_open_the_state_directory(project: Path, tmp_path: Path) -> None:
    with SessionSystem(state_dir=tmp_path / "state", command_read=[tmp_path]) as system:
        session = system.create_session(project)
        with pytest.raises(InvalidRequestError, match="must stay closed"):
            session.run("true")


def test_without_confinement_there_is_nothing_to_grant(project: Path, tmp_path: Path) -> None:
    with SessionSystem(state_dir=tmp_path / "state", sandbox="off") as system:
        session = system.create_session(project)
        assert session.run("true", read=[tmp_path], limits=CommandLimits(cpu=1), ptrace=True).ok

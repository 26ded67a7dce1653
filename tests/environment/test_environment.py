"""Odd apps and machines: each works, or is refused at once with cause, path and setting."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from apps import BECOME_STRANGER, IMPORTS, Stranger, only_root, probe

from jidocode import HostStartError, SessionSystem

# ----- a standard error that nobody reads -----------------------------------------

PRINT = """
from odd import Printer
other = system.create_session(sys.argv[1] + "/src", children=[Printer.child_spec(id="printer")])
pid = other.call("printer", "stdout")
for where in 2 * ("stdout", "stderr", "program"):
    assert other.call("printer", where) == pid
"""
CRASH = """
from jidocode import CallError
from jidocode.testing import wait_for_restart
for what in ("raise", "segfault"):
    ref = system.get_process(session.id, "worker")
    try:
        session.call("worker", what)
    except CallError:
        pass
    wait_for_restart(system, session, "worker", after=ref)
assert session.call("worker", ("echo", 2)) == 2
"""
CLOSED_PIPE = """
reading, writing = os.pipe()
os.dup2(writing, 2)
os.close(writing)
"""
FILL = """
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 1000)
except BlockingIOError:
    pass
os.set_blocking(2, True)
"""
HANGS_UP = """
import pty
reading, writing = pty.openpty()
os.dup2(writing, 2)
os.close(writing)
"""
NO_ROOM = "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)"

STREAMS = {
    "a pipe that is closed before": (f"{CLOSED_PIPE}\nos.close(reading)", ""),
    "a pipe that is closed later": (CLOSED_PIPE, "os.close(reading)"),
    "a pipe that is full before": (f"{CLOSED_PIPE}\n{FILL}", ""),
    "a pipe that is full later": (CLOSED_PIPE, FILL),
    "a terminal that has hung up": (HANGS_UP, "os.close(reading)"),
    "a full disk": (NO_ROOM, ""),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_what_a_child_prints_cannot_end_it(project: Path, kind: str) -> None:
    """However the app's standard error has become unusable; nor is a traceback in the way."""
    before, started = STREAMS[kind]
    use = f"{PRINT}{CRASH}"
    probe(project, before=before, started=started, use=use, allow_nested=True).works()


# ----- a time-out for all sockets, set by the app or by a child ------------------------

HASTY = "import socket\nsocket.setdefaulttimeout(0.05)\n"
LISTEN = """
from loguru import logger
lines = []
logger.add(lambda message: lines.append(message.record["message"]))
"""
TALK = """
from jidocode.testing import eventually
other = system.create_session(sys.argv[1] + "/src", children=[worker("worker")])
changes, events = other.state.subscribe(from_seq=1), system.events(other.id)
for number in range(2):
    other.call("worker", ("log", f"line {number}"))
    eventually(lambda: f"line {number}" in lines, "the line")
    assert other.call("worker", ("sleep", 1.0)) == "slept"
    other.state.append_message("user", "hello")
    assert changes.get(timeout=20) is not None
other.stop()
assert events.get(timeout=20) is not None
"""


@pytest.mark.parametrize("where", ["app", "processes"])
def test_a_time_out_for_all_sockets(project: Path, tmp_path: Path, where: str) -> None:
    """It is for those of the app, and of its children: logs, calls and streams outlast it."""
    (tmp_path / "hasty.py").write_text(HASTY)
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{IMPORTS}"}
    before = LISTEN + (HASTY if where == "app" else "")
    preload = ["hasty"] if where == "processes" else []
    probe(project, before=before, use=TALK, env=path, allow_nested=True, preload=preload).works()


# ----- privileges -----------------------------------------------------------------

DROPS = {
    "for good": BECOME_STRANGER,
    "for a while": "os.setegid(54321); os.seteuid(54321)",
    "by setuid alone": "os.setuid(54321)",
}


@only_root
@pytest.mark.parametrize("kind", DROPS)
def test_privileges_may_be_dropped_after_the_start(stranger: Stranger, kind: str) -> None:
    """As servers do it once they have bound their port: calls go on, and close ends all."""
    result = stranger.probe(
        first="import os", started=DROPS[kind], state_dir=str(stranger.folder / "state")
    )

    result.works()
    assert result.ending < 5


@only_root
def test_a_system_that_is_not_closed_ends_with_an_app_that_has_dropped_privileges(
    stranger: Stranger,
) -> None:
    """Nobody has the right to kill it, and nobody has to."""
    started = f"{BECOME_STRANGER}\nos._exit(7)"
    state_dir = str(stranger.folder / "state")
    outcome = stranger.probe(first="import os", started=started, state_dir=state_dir).outcome

    assert (outcome.status, outcome.left) == (7, 0)


@only_root
def test_a_system_starts_after_privileges_were_dropped(stranger: Stranger) -> None:
    """With a home that is root's, it says which folder to choose; with another, it works."""
    stranger.probe(state_dir=str(stranger.folder / "state")).works()
    refused = stranger.probe(env={"HOME": "/root", "XDG_STATE_HOME": None})
    refused.says("/root/.local/state/jidocode", "[Pp]ermission denied", "state_dir")


# ----- limits ---------------------------------------------------------------------


@only_root
@pytest.mark.parametrize("processes", [1, 3, 4, 5, 6, 8, 10, 12, 14, 16])
def test_too_few_processes(stranger: Stranger, processes: int) -> None:
    """Threads count, too."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_NPROC, ({processes},) * 2)"
    result = stranger.probe(before=limit, state_dir=str(stranger.folder / "state"))

    result.works_or_says("process", "RLIMIT_NPROC", stages=["start", "session"])


@pytest.mark.parametrize("descriptors", [7, 9, 12, 14, 16, 18, 20, 22, 24, 28, 40])
def test_too_few_descriptors(project: Path, descriptors: int) -> None:
    """Of the app and all its children: the hard limit is as low."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors},) * 2)"
    stages = ["start", "session"]
    probe(project, before=limit).works_or_says(
        "[Tt]oo many open files", "RLIMIT_NOFILE", stages=stages
    )


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
@pytest.mark.parametrize("megabytes", [20, 40, 45, 50, 55, 60, 80])
def test_too_little_memory(project: Path, megabytes: int, name: str) -> None:
    """Whatever it is that does not get it: an import, a thread, a process."""
    limit = f"import resource; resource.setrlimit(resource.{name}, ({megabytes} << 20,) * 2)"
    probe(project, before=limit).works_or_says("memory", name, stages=["start"])


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_no_memory_at_all(project: Path, name: str) -> None:
    """Not even for a look at how much is left."""
    used_up = f"""
        import resource
        resource.setrlimit(resource.{name}, (20 << 20,) * 2)
        taken = []
        try:
            while True:
                taken.append(bytearray(4096))
        except MemoryError:
            pass
    """
    probe(project, before=used_up).says("memory", name)


@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_system_runs_in_the_memory_that_it_asks_for(project: Path, name: str) -> None:
    """As little as is not refused is enough: for the start, and for restarts."""
    limit = f"""
        import resource
        from jidocode._host.limits import MIN_MEMORY
        has = int(open("/proc/self/statm").read().split()[{0 if name == "RLIMIT_AS" else 5}])
        limit = has * resource.getpagesize() + MIN_MEMORY + (1 << 20)
        resource.setrlimit(resource.{name}, (limit, limit))
    """
    use = """
        from jidocode.testing import wait_for_restart
        ref = system.get_process(session.id, "manager")
        os.kill(ref.os_pid, 9)
        wait_for_restart(system, session, "manager", after=ref)
        assert session.manager.project_root()
    """
    probe(project, before=limit, use=use).works()


# ----- a patched library ----------------------------------------------------------

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent, sockets alone": (
        "from gevent import monkey; monkey.patch_all(thread=False, select=False, subprocess=False)"
    ),
}


@pytest.mark.parametrize("kind", PATCHES)
def test_a_library_of_coroutines_is_refused(project: Path, kind: str) -> None:
    """Before anything is started; the error says what to leave out."""
    pytest.importorskip("gevent")
    probe(project, first=PATCHES[kind]).says("patched", "socket", "socket=False")


def test_what_the_refusal_of_a_patched_library_says_works(project: Path) -> None:
    """Coroutines run beside a system whose calls are made by the hub's threads."""
    pytest.importorskip("gevent")
    first = """
        from gevent import monkey
        monkey.patch_all(select=False, socket=False, subprocess=False, thread=False)
    """
    use = """
        import gevent
        in_thread = gevent.get_hub().threadpool.apply
        jobs = [gevent.spawn(in_thread, session.call, ("worker", ("echo", n))) for n in range(9)]
        gevent.joinall(jobs, timeout=10, raise_error=True)
        assert [job.value for job in jobs] == list(range(9))
    """
    probe(project, first=first, use=use).works()


# ----- the umask ------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o777, 0o700, 0o277, 0])
def test_an_odd_umask(project: Path, umask: int) -> None:
    """Even one under which the app itself cannot open again what it makes."""
    probe(project, before=f"os.umask({umask})").works()


@only_root
@pytest.mark.parametrize("umask", [0o777, 0o700, 0o277])
def test_an_odd_umask_of_a_user_who_is_not_root(stranger: Stranger, umask: int) -> None:
    """Who may not open what its own umask has closed."""
    state_dir = str(stranger.folder / "state")

    stranger.probe(before=f"os.umask({umask})", state_dir=state_dir).works()


# ----- no loopback ----------------------------------------------------------------


def test_a_machine_without_loopback(project: Path) -> None:
    """It is there, and it is down, as in a fresh network namespace."""
    unshare = ["unshare", *([] if os.getuid() == 0 else ["--map-root-user"]), "--net"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace can be made here")

    probe(project, interpreter=[*unshare, sys.executable]).works_or_says("127.0.0.1|loopback")


# ----- folders --------------------------------------------------------------------


def _unusable(folder: Path, kind: str) -> Path:
    """Make a path under which no folder can be made, not even by root."""
    match kind:
        case "a file":
            (folder / "file").write_text("")
            return folder / "file"
        case "below a file":
            (folder / "file").write_text("")
            return folder / "file" / "state"
        case "a link to nowhere":
            (folder / "link").symlink_to(folder / "nowhere" / "there")
            return folder / "link"
        case "a loop":
            (folder / "loop").symlink_to(folder / "loop")
            return folder / "loop" / "state"
        case "too long":
            return folder / ("x" * 300)
        case _:
            return Path("/proc/sys/jidocode")


UNUSABLE = ["a file", "below a file", "a link to nowhere", "a loop", "too long", "read-only"]


def _works(project: Path, **options: Any) -> None:
    with SessionSystem(**options) as system:
        session = system.create_session(project)
        session.state.append_message("user", "hello")
        assert session.manager.project_root() == str(project)
        assert session.state.messages()[0].content == "hello"


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_state_directory_is_refused_before_any_session(
    tmp_path: Path, kind: str
) -> None:
    """With its path, the cause, and the setting."""
    path = _unusable(tmp_path, kind)
    with pytest.raises(HostStartError, match="state_dir") as refused:
        SessionSystem(state_dir=path)

    assert path.name[:20] in str(refused.value)


@pytest.mark.parametrize("variable", ["HOME", "XDG_STATE_HOME"])
@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_home_is_refused_before_any_session(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, variable: str
) -> None:
    """With the path that was tried, where it comes from, and the setting that avoids it."""
    path = _unusable(tmp_path, kind)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(HostStartError, match="state_dir") as refused:
        SessionSystem()

    assert path.name[:20] in str(refused.value)
    assert variable in str(refused.value)


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_system_that_writes_no_state_needs_no_home(
    monkeypatch: pytest.MonkeyPatch, project: Path, tmp_path: Path, kind: str
) -> None:
    """In memory, or elsewhere."""
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(_unusable(tmp_path, kind)))

    _works(project, durability="memory")
    _works(project, state_dir=tmp_path / "elsewhere")


@only_root
@pytest.mark.parametrize("mode", [0o000, 0o500, 0o600])
@pytest.mark.parametrize("below", ["", "state"])
def test_a_state_directory_without_permission(stranger: Stranger, mode: int, below: str) -> None:
    """The folder itself, or the one in which it would be made."""
    folder = stranger.folder / "locked"
    folder.mkdir(mode)
    os.chown(folder, 54321, 54321)
    folder.chmod(mode)
    result = stranger.probe(state_dir=str(folder / below))

    result.says(str(folder), "[Pp]ermission denied", "state_dir")


@only_root
@pytest.mark.parametrize("durability", ["process", "memory"])
def test_a_user_without_an_entry_in_passwd(stranger: Stranger, durability: str) -> None:
    """Has no home: it works where no state is kept, and says what to set where it is."""
    result = stranger.probe(
        env={"HOME": None, "XDG_STATE_HOME": None, "USER": None, "LOGNAME": None},
        durability=durability,
    )
    if durability == "memory":
        result.works()
    else:
        result.says("HOME", "state_dir")


@only_root
@pytest.mark.parametrize("variable", ["HOME", "XDG_STATE_HOME"])
def test_a_user_without_an_entry_in_passwd_who_has_a_folder(
    stranger: Stranger, variable: str
) -> None:
    """Is as good as any."""
    env = {"HOME": None, "XDG_STATE_HOME": None, variable: str(stranger.folder)}

    stranger.probe(env=env).works()


# ----- temporary files --------------------------------------------------------------

CLEAN = """
import shutil
for each in os.scandir(os.environ["TMPDIR"]):
    shutil.rmtree(each.path) if each.is_dir() else os.unlink(each.path)
"""


def test_a_cleaner_of_temporary_files_cannot_hurt_a_running_system(
    project: Path, tmp_path: Path
) -> None:
    """Sessions start, crash, come back and end as before."""
    use = """
        import signal
        from jidocode.testing import wait_for_restart
        for kind in ("worker", "state", "session"):
            ref = system.get_process(session.id, kind)
            os.kill(ref.os_pid, signal.SIGKILL)
            if kind != "session":
                wait_for_restart(system, session, kind, after=ref)
        again = system.create_session(sys.argv[1] + "/src")
        again.state.append_message("user", "hello")
    """
    folder = tmp_path / "temporary"
    folder.mkdir()
    env = {"TMPDIR": str(folder)}
    probe(project, env=env, started=CLEAN, use=use, allow_nested=True).works()
    assert list(folder.iterdir()) == []


def test_a_child_has_temporary_files_after_a_cleaner_came(project: Path, tmp_path: Path) -> None:
    """And the programs that it runs."""
    (tmp_path / "temporary.py").write_text(
        "import subprocess, tempfile\n"
        "from jidocode.otp import GenServer, Reply\n"
        "class Temporary(GenServer):\n"
        "    def handle_call(self, request, caller):\n"
        "        with tempfile.NamedTemporaryFile() as file:\n"
        "            name = subprocess.run(['mktemp'], capture_output=True, check=True).stdout\n"
        "            subprocess.run(['rm', name.strip()], check=True)\n"
        "            return Reply(file.name)\n"
    )
    use = """
        from temporary import Temporary
        child = Temporary.child_spec(id="other")
        other = system.create_session(sys.argv[1] + "/src", children=[child])
        other.call("other", "make one")
    """
    folder = tmp_path / "folder"
    folder.mkdir()
    probe(
        project,
        first=f"import sys; sys.path.append({str(tmp_path)!r})",
        started=CLEAN,
        use=use,
        env={"TMPDIR": str(folder)},
        allow_nested=True,
    ).works()


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_tmpdir(
    monkeypatch: pytest.MonkeyPatch, project: Path, tmp_path: Path, kind: str
) -> None:
    """Python then takes another folder, and so do we."""
    monkeypatch.setenv("TMPDIR", str(_unusable(tmp_path, kind)))
    monkeypatch.setattr("tempfile.tempdir", None)  # where it was found before

    _works(project)


def test_a_temporary_folder_that_is_gone_when_the_system_starts(
    project: Path, tmp_path: Path
) -> None:
    """Python keeps what it found at first: a cleaner or a `systemd` unit has taken it away."""
    (tmp_path / "gone").mkdir()
    before = "import tempfile; tempfile.gettempdir(); os.rmdir(os.environ['TMPDIR'])"
    result = probe(project, before=before, env={"TMPDIR": str(tmp_path / "gone")})

    result.works_or_says("gone", "TMPDIR")


def test_no_temporary_folder_at_all(project: Path) -> None:
    """It says where it looked, and what to set."""
    before = """
        import tempfile
        tempfile._candidate_tempdir_list = lambda: ["/proc/sys/nowhere"]
    """
    probe(project, before=before).works_or_says("/proc/sys/nowhere", "TMPDIR")


# ----- others -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "env",
    [
        {"PATH": None},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "no_such.locale"},
        {"PYTHONHOME": "/nowhere"},
    ],
    ids=str,
)
def test_an_odd_environment(project: Path, env: dict[str, str | None]) -> None:
    """Whatever an app can be started with, or has set later."""
    if "PYTHONHOME" in env:  # no interpreter would start with it
        probe(project, before="os.environ['PYTHONHOME'] = '/nowhere'").works()
    else:
        probe(project, env=env).works()


@pytest.mark.parametrize("namespaces", [["--ipc", "--uts"], ["--pid", "--fork", "--mount-proc"]])
def test_a_container(project: Path, namespaces: Sequence[str]) -> None:
    """Where the app is the first process, and nobody else buries."""
    unshare = ["unshare", *([] if os.getuid() == 0 else ["--map-root-user"]), *namespaces]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace can be made here")

    probe(project, interpreter=[*unshare, sys.executable]).works()

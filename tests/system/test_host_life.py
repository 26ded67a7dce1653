"""Systems beside each other, in all kinds of apps, and apps that die at any moment."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import servers
from apps import MARK, marked
from folders import new_folders
from limits import limited

import jidocode
from jidocode import HostStartError, SessionSystem
from jidocode._host.daemon.launcher import HostProcess
from jidocode._host.daemon.main import WANTED_DESCRIPTORS
from jidocode.otp import ChildSpec
from jidocode.testing import eventually, kill, wait_for_restart
from jidocode.testing.leftovers import is_running, process_state, processes_below

APP = """
import os, sys, warnings
from jidocode import SessionSystem
warnings.simplefilter("ignore")
os.write(1, b"s")
system = SessionSystem()
os.write(1, b"r")
system.create_session(sys.argv[1])
os.write(1, b"o")
sys.stdin.read()
"""


def start_app(marker: str, project: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", APP, str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, MARK: marker},
    )


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_an_app_killed_at_any_moment_leaves_nothing(project: Path) -> None:
    """From before the host is there to after the session is open."""
    for attempt in range(24):
        marker = uuid.uuid4().hex
        process = start_app(marker, project)
        assert process.stdout is not None
        stage = b"sro"[: attempt % 4]
        for expected in stage:
            assert process.stdout.read(1) == bytes([expected])
        deadline = time.monotonic() + 0.013 * (attempt % 6)
        eventually(lambda deadline=deadline: time.monotonic() > deadline)  # type: ignore[misc]
        end(process)
        eventually(lambda marker=marker: not marked(marker), "the end of all")  # type: ignore[misc]


@pytest.mark.parametrize("stopped", [[0], [1], [2], [0, 1], [0, 2], [1, 2]])
def test_an_app_that_is_killed_leaves_nothing_that_is_stopped(
    project: Path, stopped: list[int]
) -> None:
    """Whichever two of the guards and the host see nothing of it, the third one does."""
    marker = uuid.uuid4().hex
    process = start_app(marker, project)
    try:
        assert process.stdout is not None
        assert process.stdout.read(3) == b"sro"
        first = psutil.Process(process.pid).children()[0]
        second = first.children()[0]
        for number in stopped:
            (first, second, second.children()[0])[number].suspend()
    finally:
        end(process)
    eventually(lambda: not marked(marker), "the end of all")


def test_two_apps_on_one_machine_do_not_meet(tmp_path: Path) -> None:
    """When one is killed, the other goes on."""
    markers = [uuid.uuid4().hex for _ in range(2)]
    folders = new_folders(tmp_path, 2)
    apps = [start_app(*pair) for pair in zip(markers, folders, strict=True)]
    try:
        for process in apps:
            assert process.stdout is not None
            assert process.stdout.read(3) == b"sro"
        others = set(marked(markers[1]))
        end(apps[0])
        eventually(lambda: not marked(markers[0]), "the end of the first")

        assert set(marked(markers[1])) >= others
    finally:
        for process in apps:
            end(process)
    eventually(lambda: not marked(markers[1]), "the end of the second")


@pytest.mark.slow
def test_twenty_systems_started_at_once_do_not_meet(tmp_path: Path) -> None:
    """Each has ports, a key and a tree of its own."""
    systems: list[SessionSystem] = []

    def start() -> None:
        systems.append(SessionSystem(start_timeout=100))

    threads = [threading.Thread(target=start) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        for number, system in enumerate(systems):
            project = tmp_path / str(number)
            project.mkdir()
            session = system.create_session(project, name=f"number {number}")
            session.state.append_message("user", str(number))
        names = [system.list_sessions()[0].name for system in systems]
    finally:
        for system in systems:
            system.close()

    assert names == [f"number {number}" for number in range(20)]


def test_a_system_runs_in_an_asyncio_app(project: Path) -> None:
    """Started from a running loop, called off the loop."""

    async def main() -> str:
        with await asyncio.to_thread(SessionSystem) as system:
            session = await asyncio.to_thread(system.create_session, project)
            roots = [asyncio.to_thread(session.manager.project_root) for _ in range(10)]
            return {*await asyncio.gather(*roots)}.pop()

    assert asyncio.run(main()) == str(project)


def test_preforked_workers_have_a_system_each(tmp_path: Path) -> None:
    """As under gunicorn: the parent has one too, and the workers do not disturb it."""
    with SessionSystem() as system:
        workers: list[int] = []
        for number in range(3):
            folder = tmp_path / f"worker{number}"
            folder.mkdir()
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    with SessionSystem() as own:
                        own.create_session(folder).state.append_message("user", "hello")
                    status = 0
                finally:
                    os._exit(status)
            workers.append(pid)
        statuses = [os.waitpid(pid, 0)[1] for pid in workers]

        assert statuses == [0, 0, 0]
        assert system.list_sessions() == []


def test_a_worker_that_outlives_the_app_does_not_keep_the_system(project: Path) -> None:
    """It holds the app's end of the lifeline; the app's process is watched as well."""
    marker = uuid.uuid4().hex
    code = APP.replace("sys.stdin.read()", "os.fork()\nsys.stdin.read()")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: marker},
    )
    assert process.stdout is not None
    assert process.stdout.read(3) == b"sro"
    worker = eventually(
        lambda: [
            child.pid
            for child in psutil.Process(process.pid).children()
            if child.cmdline() == psutil.Process(process.pid).cmdline()
        ],
        "the worker",
    )
    process.kill()
    process.wait()
    eventually(lambda: marked(marker) == worker, "the end of the system")
    os.kill(worker[0], signal.SIGKILL)
    process.communicate()
    eventually(lambda: not marked(marker), "the end of the worker")


def test_no_descriptor_of_the_app_is_inherited(tmp_path: Path) -> None:
    """Not even one that is inheritable."""
    secret = tmp_path / "open-in-the-app"
    with secret.open("w") as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - the function's own signature
        with SessionSystem() as system:
            guard = psutil.Process(system.host_pid).parent()
            assert guard is not None
            for process in [guard, *guard.children(recursive=True)]:
                targets = [
                    str(descriptor.readlink())
                    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir()
                ]
                assert str(secret) not in targets


def test_a_system_makes_no_temporary_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So whatever cleans such folders has nothing to take away."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with SessionSystem():
        assert list(tmp_path.iterdir()) == []

    assert list(tmp_path.iterdir()) == []


def test_only_what_is_private_is_closed_to_others(project: Path, tmp_path: Path) -> None:
    """What the Manager makes in a project has the permissions that the app's umask says."""
    journals = tmp_path / "journals"
    before = os.umask(0)
    try:
        with SessionSystem(state_dir=journals) as system:
            session = system.create_session(project)
            session.state.append_message("user", "hello")
            session.manager.write_file("made/here.txt", "for all")
    finally:
        os.umask(before)
    (journal,) = journals.glob("*.jsonl")
    owned, made = journals / "open", project / "made"
    (owner,) = owned.iterdir()
    places = journals, journal, owned, owner, made, made / "here.txt"
    modes = [each.stat().st_mode & 0o777 for each in places]

    assert modes == [0o700, 0o600, 0o700, 0o600, 0o777, 0o666]


def test_signals_that_the_app_holds_back_reach_the_system() -> None:
    """Else no death is noticed, and no program that an actor starts ends by SIGTERM."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ignored = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        system = SessionSystem()
    finally:
        signal.signal(signal.SIGCHLD, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with system:
        root = system.tree().ref
        assert root is not None
        os.kill(root.os_pid, signal.SIGKILL)
        host = psutil.Process(system.host_pid)
        eventually(lambda: root.os_pid not in {each.pid for each in host.children()}, "the burial")
        guard = host.parent()
        assert guard is not None
        below = [guard, *guard.children(recursive=True)]
        statuses: list[str] = []
        for each in below:  # a standby among them may give way to another meanwhile
            with suppress(FileNotFoundError, ProcessLookupError):
                statuses.append(Path(f"/proc/{each.pid}/status").read_text())

    assert len(statuses) >= len(below) - 1
    assert all("SigBlk:\t0000000000000000" in status for status in statuses)


@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "012"])
def test_an_app_may_have_closed_its_standard_streams(project: Path, closed: str) -> None:
    """Their numbers go to nothing of the system, and what its processes print goes nowhere."""
    code = """
        import fcntl, os, sys
        from loguru import logger
        from servers import worker
        from jidocode import SessionSystem
        from jidocode.testing import eventually

        out = fcntl.fcntl(1, fcntl.F_DUPFD, 50)
        logger.remove()
        texts = []
        logger.add(lambda message: texts.append(message.record["message"]))
        logger.enable("jidocode")
        for number in sys.argv[2]:
            os.close(int(number))
        with SessionSystem() as system:
            session = system.create_session(sys.argv[1], children=[worker("talker")])
            session.call("talker", "print")
            session.call("talker", ("log", "heard"))
            eventually(lambda: "heard" in texts)
            streams = [f"/proc/{system.host_pid}/fd/{number}" for number in range(3)]
            assert all(map(os.path.exists, streams)), streams
        os.write(out, b"fine")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(project), closed],
        env={**os.environ, "PYTHONPATH": str(Path(servers.__file__).parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.endswith("fine"), done.stderr


@pytest.mark.parametrize("packed", [False, True])
def test_the_system_runs_the_same_jidocode_as_the_app(tmp_path: Path, *, packed: bool) -> None:
    """From wherever the app has it, and not whatever else is installed."""
    library = tmp_path / "lib"
    shutil.copytree(Path(jidocode.__file__).parent, library / "jidocode")
    guard = library / "jidocode" / "_host" / "daemon" / "main.py"
    guard.write_text(guard.read_text().replace("jido-guard", "another"))
    if packed:
        library = Path(shutil.make_archive(str(library), "zip", library))
    code = """
        import sys
        import psutil
        sys.path.insert(0, sys.argv[1])
        sys.path.append(None)
        from jidocode import SessionSystem
        with SessionSystem() as system:
            print(psutil.Process(system.host_pid).parent().name())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(library)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "another\n", done.stderr


def test_the_system_may_have_descriptors_for_many_sessions() -> None:
    """A low limit is made for programs that use few; the app keeps its own."""
    soft, hard = 256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with limited(resource.RLIMIT_NOFILE, soft), SessionSystem() as system:
        root = system.tree().ref
        assert root is not None
        assert psutil.Process(root.os_pid).rlimit(resource.RLIMIT_NOFILE) == (
            WANTED_DESCRIPTORS,
            hard,
        )
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


FATES = list(itertools.product(("runs", "stopped", "killed"), repeat=3))
FATES.remove(("killed", "killed", "killed"))  # what was started lives on then: see semantics.md


@pytest.mark.parametrize(("first", "second", "host"), FATES)
def test_nothing_is_left_when_close_returns(
    project: Path, first: str, second: str, host: str
) -> None:
    """Whatever has become of the guards and the host; and that is soon."""
    system = SessionSystem()
    session = system.create_session(project, children=[servers.worker("parent")])
    session.call("parent", "stray")
    innermost = psutil.Process(system.host_pid)
    chain = [innermost, *innermost.parents()[:2]][::-1]
    below = processes_below(os.getpid())
    with suppress(psutil.NoSuchProcess):  # the end of another one was faster
        for process, state in zip(chain, (first, second, host), strict=True):
            if state == "stopped":
                process.suspend()
        for process, state in zip(chain, (first, second, host), strict=True):
            if state == "killed":
                process.kill()
    begun = time.monotonic()
    system.close()

    assert [each for each in below if is_running(each)] == []
    assert time.monotonic() - begun < 5
    # Whoever is killed leaves those below it to be reaped by init; nobody else does.
    zombies = [name for each, name in below.items() if process_state(each.pid) != "X"]
    assert not zombies or first == "killed"


def test_a_start_that_is_given_up_leaves_no_host_that_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It cannot see that its guard is gone."""
    marker = uuid.uuid4().hex
    monkeypatch.setenv(MARK, marker)
    (tmp_path / "stopper.py").write_text("import os\nos.kill(os.getpid(), 19)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    host = HostProcess(preload=["stopper"])
    with pytest.raises(HostStartError, match="not ready in time"):
        host.wait_until_ready(time.monotonic() + 2)
    host.close()

    assert marked(marker) == []


def test_an_app_killed_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    """Neither does the guard say anything of it: there is nobody to ask."""
    marker = uuid.uuid4().hex
    code = """
        import os
        from jidocode import SessionSystem
        os.pidfd_open = lambda pid: os.kill(os.getpid(), 9)
        SessionSystem()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "TMPDIR": str(tmp_path), MARK: marker},
        stderr=subprocess.PIPE,
    )

    assert process.wait(60) == -signal.SIGKILL  # the guard finds not even a zombie
    assert not process.communicate(timeout=60)[1]
    eventually(lambda: marked(marker) == [], "the end of the guard")
    assert list(tmp_path.iterdir()) == []


def test_systems_run_under_pytest_xdist(tmp_path: Path) -> None:
    """In several workers at once, each of them no child of a terminal."""
    suite = tmp_path / "test_it.py"
    suite.write_text(
        "import pytest\n"
        "from jidocode import SessionSystem\n\n"
        "@pytest.mark.parametrize('number', range(4))\n"
        "def test_one(tmp_path, number):\n"
        "    with SessionSystem() as system:\n"
        "        assert system.create_session(tmp_path).manager.project_root() == str(tmp_path)\n"
    )
    options = ("-q", "-p", "xdist", "-n2", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-Im", "pytest", *options, suite],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # others' cost more than ours
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_a_preloaded_module_is_imported_once_for_all_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, project: Path
) -> None:
    """By the host: no child's process does it again, at its first start or at a later one."""
    (tmp_path / "heavy.py").write_text(
        textwrap.dedent(f"""
            import os
            from pathlib import Path
            from servers import Worker

            class Heavy(Worker):
                kind = "heavy"

            with Path({str(tmp_path / "importers")!r}).open("a") as log:
                print(os.getpid(), file=log)
        """)
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    heavy = importlib.import_module("heavy")
    child = ChildSpec(id="heavy", start=heavy.Heavy)
    with SessionSystem(preload=["heavy"]) as system:
        session = system.create_session(project, children=[child])
        down = kill(system, session, "heavy")
        wait_for_restart(system, session, "heavy", after=down.ref)
        importers = (tmp_path / "importers").read_text().split()

        assert importers == [str(os.getpid()), str(system.host_pid)]


def test_a_module_that_cannot_be_preloaded_is_a_failed_start() -> None:
    """It says which; nothing is left."""
    with pytest.raises(HostStartError, match="No module named 'no_such_module'"):
        SessionSystem(preload=["no_such_module"])

    assert psutil.Process().children() == []


def test_what_a_preloaded_module_raises_is_shown_on_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As all foreign text is."""
    (tmp_path / "talker.py").write_text(r"raise OverflowError('\x1b[2J' + 'x\n' * 100_000)")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(HostStartError, match="OverflowError") as failed:
        SessionSystem(preload=["talker"])

    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 10_000


def test_a_preloaded_module_cannot_make_the_host_deaf(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, project: Path
) -> None:
    """To the deaths of its children: whatever it did to signals is undone."""
    meddler = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_DFL)\n"
    (tmp_path / "meddler.py").write_text(meddler)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with SessionSystem(preload=["meddler"]) as system:
        session = system.create_session(project)
        down = kill(system, session, "manager")

        assert wait_for_restart(system, session, "manager", after=down.ref) != down.ref

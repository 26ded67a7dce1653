"""Servers of several workers that share a system, and the process that holds it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from apps import IMPORTS, MARK, marked
from shell import SECONDS

from jidocode import JidocodeError, SessionSystem, SystemNotFoundError
from jidocode.testing import eventually, is_alive

APP = (Path(__file__).parents[2] / "examples/workers_app.py").read_text()

OWNER = """
import os
from jidocode import SessionSystem
owner = SessionSystem(name=os.environ["SHOP"], state_dir=os.environ["STATE"])
session = owner.create_session(os.environ["PROJECT"])
print("session", session.id, flush=True)
"""


class Program:
    """A program of a test, and all that it starts.

    Attributes:
        process: Its process.
        said: Where all that it says goes.
    """

    def __init__(self, command: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        self.mark = uuid.uuid4().hex
        self.said = folder / f"{self.mark}.log"
        paths = os.pathsep.join([str(folder), IMPORTS])
        environment = {**os.environ, "PYTHONPATH": paths, MARK: self.mark, **env}
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                cwd=folder,
            )

    def await_text(self, text: str) -> str:
        """Return all that it has said, once *text* is in it."""

        def look() -> str:
            assert self.process.poll() is None, self.said.read_text()
            said = self.said.read_text()
            return said if text in said else ""

        return eventually(look, f"{text!r}", timeout=SECONDS)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, and return its exit status; fail if anything of it is left."""
        self.process.send_signal(number)
        status = self.process.wait(SECONDS)
        eventually(
            lambda: not marked(self.mark), f"the end of all: {self.said.read_text()[-2000:]}"
        )
        return status

    def kill(self) -> None:
        """Kill what is left of it."""
        for pid in marked(self.mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        sys.stdout.write(self.said.read_text())  # pytest shows it if the test has failed


@contextmanager
def program(command: Sequence[str], folder: Path, **env: str) -> Generator[Program]:
    """Start a program, and end it; what it said is shown with a failure."""
    started = Program(command, folder, env)
    try:
        yield started
    except BaseException:
        sys.stdout.write(started.said.read_text()[-5000:])
        raise
    finally:
        started.kill()


@pytest.fixture
def port() -> int:
    """A port that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        found: int = sock.getsockname()[1]
    return found


@pytest.fixture
def served(name: str, tmp_path: Path) -> Iterator[Program]:
    """`jidocode serve`."""
    with serving(name, tmp_path) as served:
        yield served


@contextmanager
def serving(name: str, folder: Path, *options: str, **env: str) -> Generator[Program]:
    """Run `jidocode serve`, until others can attach and then for the block."""
    command = [sys.executable, "-m", "jidocode", "serve", "--name", name, *options]
    with program(command, folder, JIDOCODE_STATE_DIR=str(folder / "state"), **env) as served:
        served.await_text("is ready")
        yield served


def ask(port: int, project: Path, text: str) -> list[str]:
    """Have a server append a message; return which process has, and its version."""
    url = f"http://127.0.0.1:{port}/?project={project}&text={text}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            said: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(f"{error}: {error.read()[:2000]!r}") from error
    return said.split()[1:4:2]


def try_to_ask(port: int, project: Path, text: str) -> list[str]:
    """Do as `ask`; nothing if nobody answers."""
    try:
        return ask(port, project, text)
    except OSError:
        return []


# ----- `jidocode serve` ----------------------------------------------------------------------


def test_a_served_system_outlives_its_apps_and_ends_in_order(
    name: str, served: Program, project: Path, tmp_path: Path
) -> None:
    """By SIGTERM, after which nothing is left, and what was said is there again."""
    with SessionSystem.attach(name) as first:
        session = first.create_session(project)
        session.state.append_message("user", "kept")
    with SessionSystem.attach(name) as second:
        assert second.get_session(session.id).state.statistics().messages == 1
        assert served.end() == 0
        with pytest.raises(JidocodeError):
            second.list_sessions()
    with serving(name, tmp_path) as again, SessionSystem.attach(name) as third:
        assert third.resume_session(session.id).state.messages()[0].content == "kept"
        third.close()
        assert again.end(signal.SIGKILL) == -signal.SIGKILL
    with serving(name, tmp_path) as again:
        assert again.end(signal.SIGINT) == 0


def test_a_served_system_ends_when_nobody_uses_it(name: str, tmp_path: Path) -> None:
    """Not while somebody is attached, and a while after."""
    with serving(name, tmp_path, "--idle-timeout", "1.5") as served:
        with SessionSystem.attach(name) as system:
            begun = time.monotonic()
            while time.monotonic() - begun < 2.5:
                assert system.list_sessions() == []
        assert served.process.wait(SECONDS) == 0
        said = served.said.read_text()
        assert f"system {name} ends: for 1.5 s nobody has been attached" in said
        assert said.count("Traceback") == 0


def test_a_served_system_outlives_its_terminal_below_nohup(name: str, tmp_path: Path) -> None:
    """What a process is to ignore from its start on, it ignores; SIGTERM ends it all the same."""
    command = ["nohup", sys.executable, "-m", "jidocode", "serve", "--name", name]
    with program(command, tmp_path, JIDOCODE_STATE_DIR=str(tmp_path / "state")) as served:
        served.await_text("is ready")
        served.process.send_signal(signal.SIGHUP)
        with SessionSystem.attach(name) as system:
            assert system.list_sessions() == []
        [ignored] = re.findall(
            r"^SigIgn:\s*(\w+)$",
            Path(f"/proc/{served.process.pid}/status").read_text("ascii"),
            re.MULTILINE,
        )
        assert int(ignored, 16) & 1 << signal.SIGHUP - 1
        assert served.end() == 0


def test_a_second_one_says_in_a_sentence_who_has_the_name(
    name: str, served: Program, tmp_path: Path
) -> None:
    """And its status is 1."""
    command = [sys.executable, "-m", "jidocode", "serve", "--name", name]
    with program(command, tmp_path) as second:
        assert second.process.wait(SECONDS) == 1
        assert second.said.read_text() == (
            f"Error: a system called {name} was started by process {served.process.pid} already\n"
        )


def test_a_served_system_whose_host_dies_ends_and_says_so(name: str, served: Program) -> None:
    """So that whoever looks after it starts it again."""
    with SessionSystem.attach(name) as system:
        os.kill(system.host_pid, signal.SIGKILL)
        assert served.process.wait(SECONDS) == 1
    assert "Error: the host process is gone" in served.said.read_text()


def test_systemd_is_told(name: str, tmp_path: Path) -> None:
    """That it is ready, and that it ends."""
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(place))
        notify.settimeout(SECONDS)
        with serving(name, tmp_path, NOTIFY_SOCKET=str(place)) as served:
            assert notify.recv(100) == b"READY=1"
            assert served.end() == 0
            assert notify.recv(100) == b"STOPPING=1"


def test_a_served_system_is_the_first_process_of_a_container(name: str, tmp_path: Path) -> None:
    """Which gets no signal that it does not handle, and whose end is that of all others."""
    unshare = ["unshare", *([] if os.getuid() == 0 else ["--map-root-user"]), "--pid", "--fork"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace can be made here")
    serve = ["-m", "jidocode", "serve", "--name", name]
    command = [*unshare, "--mount-proc", sys.executable, *serve]
    with program(command, tmp_path, JIDOCODE_STATE_DIR=str(tmp_path / "state")) as served:
        assert "(pid 1, " in served.await_text("is ready")
        own = served.process.pid
        [first] = Path(f"/proc/{own}/task/{own}/children").read_text("ascii").split()
        os.kill(int(first), signal.SIGTERM)
        assert served.process.wait(SECONDS) == 0, served.said.read_text()


def test_without_click_there_is_a_hint(tmp_path: Path) -> None:
    """And no traceback."""
    code = "import sys; sys.modules['click'] = None; from jidocode.__main__ import main; main()"
    with program([sys.executable, "-c", code], tmp_path) as app:
        assert app.process.wait(SECONDS) == 1
        assert "pip install 'jidocode[cli]'" in app.said.read_text()
        assert "Traceback" not in app.said.read_text()


# ----- servers -------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_two_workers_of_uvicorn_share_the_sessions(  # noqa: PLR0913 - they are fixtures
    name: str, served: Program, project: Path, tmp_path: Path, *, port: int, end: signal.Signals
) -> None:
    """None of 64 messages of 50 clients is lost, whoever gets it; and no worker's kill matters.

    Nor does that of their parent, without which they may live on.
    """
    (tmp_path / "shop_app.py").write_text(APP)
    command = [sys.executable, "-m", "uvicorn", "shop_app:asgi", "--workers", "2"]
    with (
        SessionSystem.attach(name) as system,
        program([*command, "--port", str(port)], tmp_path, SHOP=name) as server,
    ):
        eventually(lambda: try_to_ask(port, project, "first"), timeout=SECONDS)
        session = system.find_session(path=project)
        before = session.state.statistics().messages
        with ThreadPoolExecutor(50) as clients:
            asked = [clients.submit(ask, port, project, str(number)) for number in range(64)]
            workers = {each.result()[0] for each in asked}
        assert session.state.statistics().messages == before + 64
        os.kill(int(workers.pop()), signal.SIGKILL)
        eventually(lambda: try_to_ask(port, project, "after"), timeout=SECONDS)
        if end == signal.SIGTERM:
            server.end()
        else:
            os.kill(server.process.pid, end)
            server.process.wait()
            server.kill()  # all of it
        assert session.health_check().status.value == "healthy"
    assert served.end() == 0


def test_sessions_live_on_while_uvicorn_reloads(
    name: str, served: Program, project: Path, tmp_path: Path, port: int
) -> None:
    """The new worker goes on where the old one was; and when the reloader is killed."""
    app = tmp_path / "shop_app.py"
    app.write_text(APP)
    command = [sys.executable, "-m", "uvicorn", "shop_app:asgi", "--reload"]
    with (
        SessionSystem.attach(name) as system,
        program([*command, "--port", str(port)], tmp_path, SHOP=name) as server,
    ):
        worker, _ = eventually(lambda: try_to_ask(port, project, "one"), timeout=SECONDS)
        session = system.find_session(path=project)
        app.write_text(APP.replace("VERSION = 1", "VERSION = 22"))
        eventually(lambda: "22" in try_to_ask(port, project, "two"), timeout=SECONDS)
        assert not is_alive(int(worker))
        contents = {message.content for message in session.state.messages()}
        assert contents == {"one", "two"}
        server.process.kill()
        server.process.wait()  # its worker may live on, which knows nothing of that
        assert session.health_check().status.value == "healthy"
    assert served.end() == 0


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_gunicorn_forks_workers_that_attach(
    name: str, project: Path, tmp_path: Path, port: int, end: signal.Signals
) -> None:
    """To a system that its master has started while it has loaded the app beforehand.

    However that ends, nothing is left of the system, nor of the server.
    """
    (tmp_path / "shop_app.py").write_text(OWNER + APP)
    command = [
        *(sys.executable, "-m", "gunicorn", "shop_app:wsgi", "--preload", "--workers", "2"),
        *("--bind", f"127.0.0.1:{port}", "--graceful-timeout", "5", "--timeout", "5"),
    ]
    env = {"SHOP": name, "PROJECT": str(project), "STATE": str(tmp_path / "state")}
    with program(command, tmp_path, **env) as server:
        said = server.await_text("session ")
        session_id = said.partition("session ")[2].split()[0]
        eventually(lambda: try_to_ask(port, project, "first"), timeout=SECONDS)
        workers = {ask(port, project, str(number))[0] for number in range(64)}
        os.kill(int(workers.pop()), signal.SIGKILL)
        eventually(lambda: try_to_ask(port, project, "after"), timeout=SECONDS)
        with SessionSystem.attach(name, read_only=True) as look:
            assert look.get_session(session_id).state.statistics().messages >= 66
        server.end(end)
    with pytest.raises(SystemNotFoundError):
        SessionSystem.attach(name)

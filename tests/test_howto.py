"""The how-to pages: each program runs as it stands there, with the libraries it is about."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from pages import HOWTO, ask, beside, blocks, environment, port_in, program, run, write_files
from websockets.sync.client import connect

from jidocode import SessionSystem
from jidocode.testing import eventually

RUN = {"backup", "gevent", "logging", "platforms", "siblings"}
JSON = [("Content-Type", "application/json")]
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
UWSGI = Path(sys.executable).with_name("uwsgi")
REFUSED = ("", ".", "..", "../books", "books/..", "/", "books\n")
"""What is no name of a folder in the folder of projects."""
ACCOUNTED = RUN | {
    *("agent-web", "deploy", "flask", "live-updates", "notebooks", "pytest", "signals", "textual"),
    *("upgrade", "web-asyncio", "workers"),
}


def test_every_page_has_a_test() -> None:
    """And no page is missing."""
    assert {page.stem for page in HOWTO.glob("*.md")} - {"index"} == ACCOUNTED
    assert blocks("deploy", "python") == []


def test_every_link_to_another_page_leads_somewhere() -> None:
    """To a file, and to a heading in it."""
    for page in HOWTO.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]*)(?:#([\w-]+))?\)", page.read_text("utf-8")):
            target = (HOWTO / link[0]).resolve() if link[0] else page
            if target.parent.name == "examples":
                continue
            assert target.is_file(), f"{page.name}: {link}"
            heads = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert not link[1] or link[1] in slugs, f"{page.name}: {link}"


@pytest.mark.parametrize("page", sorted(RUN))
def test_the_program_of_a_page_prints_what_it_says(tmp_path: Path, page: str) -> None:
    """The last file that prints something is the program; the others are modules."""
    names = write_files(page, tmp_path)
    script = next(name for name in ("app.py", "check.py") if name in names)

    assert run(tmp_path, script) == "".join(blocks(page, "text"))


def test_lines_reach_logging(tmp_path: Path) -> None:
    """With the level and the name of the child's logger."""
    write_files("logging", tmp_path)
    (tmp_path / "script.py").write_text(
        "import logging, sys\n"
        "logging.basicConfig(stream=sys.stdout, format='%(levelname)s %(name)s: %(message)s')\n"
        "logging.getLogger('jidocode').setLevel('CRITICAL')\n"
        "import to_logging\n"
        "from shelf import Shelf\n"
        "from jidocode import ChildSpec, SessionSystem\n"
        "with SessionSystem() as system:\n"
        "    system.create_session('.', children=[ChildSpec(id='shelf', start=Shelf)])\n"
    )

    assert run(tmp_path, "script.py") == "WARNING shop.shelf: the shelf is empty\n"


def test_an_upgrade_is_looked_at_before(tmp_path: Path) -> None:
    """Where sessions were, and one is open."""
    write_files("upgrade", tmp_path)
    (tmp_path / "shop").mkdir()
    journals = beside(tmp_path) / "jidocode"
    with SessionSystem(state_dir=journals) as system:
        system.create_session(tmp_path / "shop")
        version, *rest = run(tmp_path, "before.py").splitlines()

    assert version.startswith("jidocode ")
    assert rest == ["1 sessions, 0 of them damaged", "1 are open"]


def test_sigterm_leaves_the_block(tmp_path: Path) -> None:
    """With status 0, after the system was closed."""
    write_files("signals", tmp_path)
    with program(tmp_path, "app.py", "app", ready="ready") as (pid, _):
        assert pid


def test_tests_of_the_page_pass(tmp_path: Path) -> None:
    """One with the fixture, one with coroutines."""
    names = write_files("pytest", tmp_path)
    options = ("-p", "jidocode.testing", "-p", "no:cacheprovider", "-q")

    assert "2 passed" in run(tmp_path, "-m", "pytest", *options, *names)


# ----- web -----------------------------------------------------------------------------------


def status_of(
    url: str, body: bytes | None = None, headers: Sequence[tuple[str, str]] = JSON
) -> int:
    """Return the status of what has to be refused."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(url, body, headers)
    refused.value.close()
    return refused.value.code


def test_fastapi_serves_sessions(tmp_path: Path) -> None:
    """Under uvicorn: a session, messages, and errors that are answers."""
    write_files("web-asyncio", tmp_path)
    (tmp_path / "projects/books").mkdir(parents=True)
    command = ("-m", "uvicorn", "shop:app", "--port", "0")
    with program(tmp_path, *command, ready="running on http") as (_, said):
        base = f"http://127.0.0.1:{port_in(said)}/sessions"
        session = json.loads(ask(base, b'{"name": "books"}', JSON))["id"]
        ask(f"{base}/{session}/messages", b'{"content": "hello"}', JSON)

        messages = json.loads(ask(f"{base}/{session}/messages"))
        assert messages == [{"role": "user", "content": "hello"}]
        assert status_of(f"{base}/nonsense/messages") == 422
        assert status_of(f"{base}/{uuid.uuid4()}/messages") == 404
        assert status_of(f"{base}/{session}/files/nothing.txt") == 404
        assert status_of(f"{base}/{session}/files/%2e%2e/x") == 422
        assert json.loads(ask(base, b'{"name": "books"}', JSON))["id"] == session
        for name in (*REFUSED, "nowhere"):
            assert status_of(base, json.dumps({"name": name}).encode()) == 422


@pytest.mark.parametrize(
    ("command", "ready"),
    [
        (("flask", "--app", "shop", "run", "--port", "0"), "Running on http"),
        (
            ("gunicorn", "--threads", "16", "--bind", "127.0.0.1:0", "shop:create_app()"),
            "Booting worker",
        ),
    ],
    ids=["flask", "gunicorn"],
)
def test_flask_serves_sessions(tmp_path: Path, command: tuple[str, ...], ready: str) -> None:
    """In its own server, and with the threads of gunicorn."""
    write_files("flask", tmp_path)
    (tmp_path / "projects/books").mkdir(parents=True)
    (tmp_path / "projects/books/tea.txt").touch()
    with program(tmp_path, "-m", *command, ready=ready) as (_, said):
        base = f"http://127.0.0.1:{port_in(said)}/sessions"
        session = json.loads(ask(base, b"project=books"))["id"]
        said_first = json.loads(ask(f"{base}/{session}/messages", b"content=hello"))

        assert said_first["seq"] > 0
        assert json.loads(ask(f"{base}/{session}/files")) == ["tea.txt"]
        assert json.loads(ask(base, b"project=books"))["id"] == session
        for name in REFUSED:
            assert status_of(base, urlencode({"project": name}).encode(), FORM) == 422
        assert status_of(f"{base}/{uuid.uuid4()}/files") == 404


def test_changes_arrive_live(tmp_path: Path) -> None:
    """By SSE, which goes on after the last id, and by WebSocket; and the server ends.

    What else a server does with this app is in `asynchronous/test_servers.py`.
    """
    write_files("live-updates", tmp_path)
    command = ("-m", "uvicorn", "shop:app", "--port", "0")
    with program(tmp_path, *command, ready="running on http") as (_, said):
        port = port_in(said)
        first, second = (
            json.loads(ask(f"http://127.0.0.1:{port}/say", text))["seq"]
            for text in (b"one\nline", b"two")
        )
        assert events(port, 0, 2) == [(first, "one\nline"), (second, "two")]
        assert events(port, first, 1) == [(second, "two")]
        url = f"http://127.0.0.1:{port}/listen"
        assert ask(url, headers=[("Last-Event-ID", "99")]) == b"event: gap\nid: 0\ndata:\n\n"
        with connect(f"ws://127.0.0.1:{port}/talk?after={first}") as socket:
            assert json.loads(socket.recv(60)) == {"seq": second, "content": "two"}
            socket.send("three")
            assert json.loads(socket.recv(60))["content"] == "three"


AGENT = """
import agent_app
from jidocode import ModelSpec
agent_app.MODEL = ModelSpec("scripted_models:ScriptedModel")
app = agent_app.app
"""
"""The app of the page, with a model that does what it is told."""


def test_an_agent_in_the_browser(tmp_path: Path) -> None:
    """It asks, is answered and cancelled; and goes on after a `kill -9` of the server."""
    write_files("agent-web", tmp_path)
    (tmp_path / "served.py").write_text(AGENT)
    shutil.copy(Path(__file__).parent / "support/scripted_models.py", tmp_path)
    command = ("-m", "uvicorn", "served:app", "--port", "0")
    edit = b'say I write.\ncall write_file {"path": "new.txt", "content": "hi"}'

    def outcome(url: str) -> str:
        found: str = json.loads(ask(f"{url}/turn"))["outcome"]
        return found

    with program(tmp_path, *command, ready="running on http", killed=True) as (pid, said):
        url = f"http://127.0.0.1:{port_in(said)}"
        assert outcome(url) is None
        ask(f"{url}/prompt", edit)
        called, last = next_with(url, "name", after=0)
        asked, last = next_with(url, "approval", after=last)
        assert asked["call"] == called["call"]
        assert asked["question"] == "May it write_file new.txt?"
        assert status_of(f"{url}/prompt", b"say hello") == 409
        wrong = json.dumps({"id": asked["approval"], "option": "perhaps"}).encode()
        assert status_of(f"{url}/answer", wrong) == 409
        ask(f"{url}/answer", json.dumps({"id": asked["approval"], "option": "always"}).encode())
        result, last = next_with(url, "result", after=last)
        assert (result["text"], result["error"]) == ("new.txt was written", False)
        assert eventually(lambda: outcome(url) == "end", "the turn ends")

        ask(f"{url}/prompt", b'call run_command {"command": "sleep 600"}')
        asked, last = next_with(url, "approval", after=last)
        ask(f"{url}/cancel", b"")
        assert outcome(url) == "cancelled"
        answered, last = next_with(url, "answered", after=last)
        assert answered == {"answered": asked["approval"], "option": None}

        ask(f"{url}/prompt", b'call run_command {"command": "sleep 600"}')
        asked, last = next_with(url, "approval", after=last)
        os.kill(pid, signal.SIGKILL)

    with program(tmp_path, *command, ready="running on http") as (_, said):
        url = f"http://127.0.0.1:{port_in(said)}"
        result, _ = next_with(url, "result", after=last)
        assert result["error"]
        answered, last = next_with(url, "answered", after=last)
        assert answered == {"answered": asked["approval"], "option": None}
        ask(f"{url}/prompt", b"say hello")
        answer, _ = next_with(url, "more", after=last)
        assert answer["more"] == "hello"


def next_with(url: str, key: str, *, after: int) -> tuple[dict[str, Any], int]:
    """Return the next change that has *key*, and its number."""
    request = urllib.request.Request(f"{url}/listen", headers={"Last-Event-ID": str(after)})  # noqa: S310 - http, of this test
    number = after
    with urllib.request.urlopen(request, timeout=60) as lines:  # noqa: S310
        line: bytes
        for line in lines:
            name, _, rest = line.decode().partition(": ")
            if name == "id":
                number = int(rest)
            elif name == "data" and key in (found := json.loads(rest)):
                return found, number
    raise AssertionError(key)


def test_the_output_of_a_command_arrives_live(tmp_path: Path) -> None:
    """From any offset on, to its end; and what cannot be started is a status."""
    write_files("live-updates", tmp_path)
    command = ("-m", "uvicorn", "build:app", "--port", "0")
    with program(tmp_path, *command, ready="running on http") as (_, said):
        url = f"http://127.0.0.1:{port_in(said)}"
        line = "printf 'na\\303'; sleep 0.3; printf '\\257ve\\n'; exit 3"
        started = json.loads(ask(f"{url}/start", line.encode()))["id"]
        told = ask(f"{url}/follow/{started}").decode()
        parts = re.findall(r"id: (\d+)\ndata: (.*)\n\n", told)
        assert "".join(json.loads(data) for _, data in parts) == "naïve\n"
        assert parts[-1][0] == "7"
        assert told.endswith("event: ended\ndata: 3\n\n")
        rest = ask(f"{url}/follow/{started}", headers=[("Last-Event-ID", "2")]).decode()
        assert rest.startswith('id: 7\ndata: "\\u00efve\\n"\n\n')
        assert status_of(f"{url}/follow/nothing") == 422


BUILD = """
import asyncio
from ci import build
from jidocode import AsyncSessionSystem

async def main():
    async with AsyncSessionSystem() as system:
        async for text in build(system, "shop", "echo built > out; echo done; exit 3"):
            print(text, end="")
        stream = build(system, "shop", "echo built > out; echo begun; sleep 60")
        print(await anext(stream), end="")
        await stream.aclose()

asyncio.run(main())
"""


def test_a_build_leaves_nothing_behind(tmp_path: Path) -> None:
    """Nor does one whose client goes away."""
    write_files("live-updates", tmp_path)
    (tmp_path / "shop").mkdir()
    (tmp_path / "script.py").write_text(BUILD)

    assert run(tmp_path, "script.py") == "done\nexit code 3, changed: ['out']\nbegun\n"
    assert list((tmp_path / "shop").iterdir()) == []


def events(port: int, last: int, count: int) -> list[tuple[int, str]]:
    """Return the next *count* events after the one with the id *last*."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/listen", headers={"Last-Event-ID": str(last)})
    found: list[tuple[int, str]] = []
    with connection.getresponse() as answer:
        while len(found) < count:
            number, data, _ = (answer.readline().decode() for _ in range(3))
            content = json.loads(data.removeprefix("data: "))
            found.append((int(number.removeprefix("id: ")), content))
    connection.close()
    return found


def test_workers_share_a_system_that_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of gunicorn and uvicorn, started before it; and after `kill -9` of it the next one.

    How servers end, reload and lose workers is in `environment/test_servers.py`.
    """
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(beside(tmp_path)))
    write_files("workers", tmp_path)
    (tmp_path / "books").mkdir()
    serve = ("-m", "jidocode", "serve", "--name", "shop")
    gunicorn = ("-m", "gunicorn", "shop_wsgi:app", "--threads", "8", "--bind", "127.0.0.1:0")
    uvicorn = ("-m", "uvicorn", "shop_asgi:app", "--port", "0")
    with (
        program(tmp_path, *gunicorn, ready="Booting") as (_, said),
        program(tmp_path, *uvicorn, ready="running on http") as (_, also_said),
    ):
        ports = port_in(said), port_in(also_said)
        with program(tmp_path, *serve, ready="is ready", killed=True) as (served, _):
            with SessionSystem.attach("shop") as system:
                session = system.create_session(tmp_path / "books")
            urls = [f"http://127.0.0.1:{port}/{session.id}" for port in ports]
            first, second = (json.loads(ask(url, b"one")) for url in urls)
            held = [watched_by(each["worker"]) for each in (first, second)]
            os.kill(served, signal.SIGKILL)
            for url in urls:
                await_status(url, 503)
                assert [tried(url) for _ in range(3)] == [503, 503, 503]
        with program(tmp_path, *serve, ready="is ready"):
            for url, before in zip(urls, (first, second), strict=True):
                await_status(url, 200)
                assert json.loads(ask(url, b"three"))["worker"] == before["worker"]
            assert [watched_by(each["worker"]) for each in (first, second)] == held
            assert status_of(f"http://127.0.0.1:{ports[0]}/{uuid.uuid4()}", b"") == 404
            assert status_of(f"http://127.0.0.1:{ports[1]}/{uuid.uuid4()}", b"") == 404
            with SessionSystem.attach("shop") as system:
                messages = system.get_session(session.id).state.messages()
                said_then = [each.content for each in messages]
            assert said_then[:2] == ["one", "one"]
            assert said_then.count("three") == 2

    assert first["worker"] != second["worker"]


@pytest.mark.skipif(not UWSGI.exists(), reason="pyuwsgi is not installed")
def test_workers_of_uwsgi_share_a_system_that_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the file of the page: whichever worker is killed, and none before there is a system."""
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(beside(tmp_path)))
    write_files("workers", tmp_path)
    [ini] = [block for block in blocks("deploy", "ini") if block.startswith("[uwsgi]")]
    (tmp_path / "shop.ini").write_text(ini.replace("127.0.0.1:8000", "127.0.0.1:0"))
    (tmp_path / "books").mkdir()
    with (
        program(tmp_path, str(UWSGI), "shop.ini", ready="spawned uWSGI worker 2") as (_, said),
        SessionSystem(name="shop") as system,
    ):
        session = system.create_session(tmp_path / "books")
        [port] = re.findall(r"TCP address 127\.0\.0\.1:(\d+)", said)
        url = f"http://127.0.0.1:{port}/{session.id}"

        def have_all_answered(count: int) -> bool:
            workers.add(json.loads(ask(url, b"one"))["worker"])
            return len(workers) == count

        workers = set[int]()
        eventually(lambda: have_all_answered(2), "answers of both workers", timeout=60)
        os.kill(min(workers), signal.SIGKILL)
        eventually(lambda: have_all_answered(3), "an answer of the next one", timeout=60)
        assert session.health_check().status.value == "healthy"


def watched_by(pid: int) -> int:
    """Return how many processes the one with that *pid* watches: a few of each system."""
    found = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found += "pidfd" in link.readlink().name
    return found


def await_status(url: str, status: int) -> None:
    """Ask until the answer has *status*."""
    eventually(lambda: tried(url) == status, f"an answer with {status}", timeout=60)


def tried(url: str) -> int:
    """Return the status of an answer, be it an error."""
    try:
        ask(url, b"two")
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code
    return 200


# ----- units ---------------------------------------------------------------------------------


def test_the_units_are_those_of_systemd(tmp_path: Path) -> None:
    """Whose own check finds nothing wrong with them, where it is there."""
    verify = shutil.which("systemd-analyze")
    units = [text for text in blocks("deploy", "ini") if text.startswith("# /etc/systemd/system/")]
    assert len(units) == 2
    paths: list[str] = []
    for text in units:
        place, _, unit = text.partition("\n")
        for known, there in (
            ("/opt/shop/bin/jidocode", sys.executable),
            ("User=shop", "User=root"),
        ):
            unit = unit.replace(known, there)
        unit = unit.replace("/opt/shop/bin/gunicorn", sys.executable)
        path = tmp_path / Path(place).name
        path.write_text(unit.replace("/opt/shop", "/"))
        paths.append(str(path))
    if verify:
        done = subprocess.run([verify, "verify", *paths], capture_output=True, check=False)
        assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)


# ----- others' loops -------------------------------------------------------------------------

TERMINAL = """
import asyncio
from shop import Shop
from textual.widgets import Input, RichLog
from jidocode import AsyncSessionSystem

async def main():
    async with AsyncSessionSystem() as system:
        app = Shop(await system.create_session("."))
        async with asyncio.timeout(60), app.run_test() as pilot:
            await pilot.press(*"!echo", "space", "4", "2", "enter")
            log = app.query_one(RichLog)
            while len(log.lines) < 2:
                await pilot.pause(0.02)
    print([line.text.strip() for line in log.lines])

asyncio.run(main())
"""

NOTEBOOK = """
import json, sys, warnings
warnings.simplefilter("ignore")
import nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(cell) for cell in json.load(sys.stdin)]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(json.dumps(["".join(each.get("text", "") for each in cell.outputs) for cell in cells]))
"""


def test_the_terminal_app_shows_what_is_said(tmp_path: Path) -> None:
    """And what a command writes."""
    write_files("textual", tmp_path)
    (tmp_path / "script.py").write_text(TERMINAL)

    assert run(tmp_path, "script.py") == "['user: !echo 42', 'tool: 42']\n"


def test_the_cells_of_the_notebook_run(tmp_path: Path) -> None:
    """In a kernel, and print what stands below them."""
    cells = blocks("notebooks", "python")
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        input=json.dumps(cells),
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = [text for text in json.loads(done.stdout) if text and "Writing" not in text]

    assert printed == blocks("notebooks", "text")

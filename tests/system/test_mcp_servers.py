"""MCP servers of a session, in real processes: what they do, whatever they do, and whoever dies."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from colleagues import colleagues
from scripted_models import SCRIPTED
from sessions import called, pids_of
from shell import SECONDS

from jidocode import (
    Allow,
    AsyncSessionSystem,
    Decision,
    Deny,
    McpServer,
    SessionHandle,
    SessionSystem,
    ToolKind,
    ToolRequest,
    TurnOutcome,
    allow_all,
)
from jidocode.base.stop import Stop, Stopped
from jidocode.bridges.mcp.offer import Access, Answer, Offer
from jidocode.session.idle import HowIdle
from jidocode.session.mcp.messages import Offered
from jidocode.system.logged import read_log
from jidocode.testing import eventually, is_alive, nothing_left

ODD = Path(__file__).parents[1] / "support/odd_mcp_server.py"
SECRET = "se-cret-of-these-tests"  # noqa: S105 - it is nobody's
NAME = "shop-with-servers"


def odd(
    oddity: str = "", *, script: Path = ODD, timeout: float = SECONDS, confine: bool = False
) -> McpServer:
    """Return a server that is called as its oddity."""
    return McpServer(
        name=oddity or "odd",
        command=sys.executable,
        args=[str(script), oddity],
        env={"SECRET": SECRET},
        timeout=timeout,
        confine=confine,
    )


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionSystem]:
    """A system that has the package before it forks, for all of them."""
    with (
        nothing_left(),
        SessionSystem(
            name=NAME,
            policy=allow_all,
            model=SCRIPTED,
            preload=["jidocode.session.mcp.preload"],
            state_dir=tmp_path_factory.mktemp("state"),
            call_timeout=SECONDS,
        ) as system,
    ):
        yield system


@pytest.fixture(autouse=True)
def tidy() -> None:
    """It is looked for what is left when the system has ended, which is that of all tests."""


@pytest.fixture
def session(system: SessionSystem, project: Path) -> Iterator[SessionHandle]:
    """A session with one server."""
    with opened(system, project, odd()) as session:
        yield session


@contextmanager
def opened(system: SessionSystem, project: Path, *servers: McpServer) -> Generator[SessionHandle]:
    """Open a session, and stop it."""
    session = system.create_session(project, mcp_servers=servers)
    yield session
    session.stop()


def programs(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_its_tools_are_those_of_the_session(session: SessionHandle) -> None:
    """By the same rules: a call is written down, and a server says what only reads."""
    assert "mcp:odd" not in pids_of(session)
    tools = {tool.name: tool for tool in session.tools}
    assert next(iter(tools)) == "read_file"
    assert tools["odd__ok"].kind is ToolKind.READ
    assert tools["odd__touch"].kind is ToolKind.EXECUTE
    assert tools["odd__touch"].schema == {"type": "object", "properties": {}}

    result = session.tools.call("odd__ok", "{}", call_id="one")
    assert (result.content, result.is_error) == ("fine", False)
    (written,) = session.state.tool_calls()
    assert (written.name, written.id) == ("odd__ok", "one")
    assert session.tools.call("odd__ok", "{}", call_id="one") == result  # it is not made again
    failed = session.tools.call("odd__fail", {})
    assert (failed.content, failed.is_error) == ("it is\nnot possible", True)
    unknown = session.tools.call("odd__tuch", {})
    assert (unknown.content, unknown.is_error) == (
        "there is no tool 'odd__tuch'; did you mean odd__touch?",
        True,
    )
    assert session.tools.call("odd__ok", "[]").is_error


def test_a_policy_decides_about_what_does_not_only_read(
    session: SessionHandle, tmp_path: Path
) -> None:
    """It is shown the arguments, in full."""
    asked: list[ToolRequest] = []

    def decide(request: ToolRequest) -> Decision:
        asked.append(request)
        return Deny("not here")

    tools = session.tools.under(decide)
    path = tmp_path / "touched"
    assert not tools.call("odd__ok", {}).is_error
    assert "not here" in tools.call("odd__touch", {"path": str(path)}).content
    (request,) = asked
    assert (request.tool, request.kind) == ("odd__touch", ToolKind.EXECUTE)
    assert request.arguments == {"path": str(path)}
    assert request.subject == f'{{"path": "{path}"}}'
    assert not path.exists()


def test_an_agent_has_it_called_and_cancels_the_call(session: SessionHandle, project: Path) -> None:
    """The server is told, and serves on."""
    turn = session.agent.prompt("call odd__ok {}")
    assert turn.result(SECONDS).text == "1 done"
    turn = session.agent.prompt("call odd__wait {}")
    note = project / "note"
    eventually(lambda: note.exists() and note.read_text() == "began", timeout=SECONDS)
    assert session.call("mcp:odd", HowIdle()) == 0.0
    assert turn.cancel().outcome is TurnOutcome.CANCELLED
    eventually(lambda: note.read_text() == "cancelled", timeout=SECONDS)
    assert called(session, "odd__ok") == "fine"


def test_servers_that_fail_are_errors_of_their_tools(system: SessionSystem, project: Path) -> None:
    """The others work, and so does all else."""
    gone = McpServer(name="gone", command="/nowhere/at all")
    refused = McpServer(name="refused", url="http://127.0.0.1:1/mcp")
    servers = [odd("hang", timeout=1.0), odd("die"), gone, refused, odd("garbage"), odd()]
    with opened(system, project, *servers) as session:
        found = {each.server: each for each in session.mcp.servers()}
        problems = {name: each.error.problem for name, each in found.items() if each.error}
        assert problems.pop("refused")
        assert problems == {
            "hang": "it was not ready within 1 s",
            "die": "it has ended with status 1: the token is None",
            "gone": "its program cannot be started: No such file or directory",
        }
        assert found["garbage"].tools[0] == "garbage__ok"
        assert called(session, "garbage__ok") == "fine"
        result = session.tools.call("hang__ok", {})
        assert result.content == "the MCP server hang: it was not ready within 1 s"
        assert result.is_error
        assert "odd__ok" in {tool.name for tool in session.tools}
        assert session.manager.read_file("README.md").text


def test_one_that_ends_says_how_and_its_last_words(system: SessionSystem, project: Path) -> None:
    """On one line, not too many of them, and without what it was told in secret."""
    words = "echo hello >&2; printf 'I need a \\033[1mFLAG, not %s\\n\\n' \"$SECRET\" >&2; exit 4"
    much = "for each in $(seq 1000); do printf 'word '; done >&2; exit 1"
    servers = [
        McpServer(name=name, command="sh", args=["-c", line], env={"SECRET": SECRET})
        for name, line in (("bad", words), ("killed", "kill -9 $$"), ("much", much))
    ]
    with opened(system, project, *servers, odd()) as session:
        found = {each.server: each.error for each in session.mcp.servers()}
        problems = {name: error.problem for name, error in found.items() if error is not None}
        assert 200 < len(problems["much"]) < 600
        assert problems.pop("much").startswith("it has ended with status 1: ")
        assert problems == {
            "bad": "it has ended with status 4: I need a \\x1b[1mFLAG, not ***",
            "killed": "signal 9 has ended it",
        }
        died = session.tools.call("odd__die", {})
        assert died.content == "the MCP server odd: it has ended with status 3"


def test_what_a_confined_one_would_reach_is_said_in_a_sentence(
    project: Path, tmp_path: Path
) -> None:
    """As of a command, and without the name of a class."""
    with SessionSystem(state_dir=tmp_path / "state", command_read=[tmp_path]) as system:
        session = system.create_session(project, mcp_servers=[odd("confined", confine=True)])
        [found] = session.mcp.servers()
        assert found.error is not None
        assert "must stay closed to commands" in found.error.problem
        assert "Error" not in found.error.problem


def test_a_server_may_say_anything(system: SessionSystem, project: Path) -> None:
    """Too many tools, names of all kinds, a list without an end, an answer without one."""
    with opened(system, project, odd("names"), odd("many"), odd("pages"), odd()) as session:
        found = {each.server: each.tools for each in session.mcp.servers()}
        assert (len(found["many"]), len(found["pages"])) == (128, 128)
        assert len(set(found["names"])) == 7
        assert all(called(session, name) == "fine" for name in found["names"])
        said = called(session, "odd__ask")
        assert 'roots/list: {"roots": [{"uri": "file://' in said
        assert 'sampling/createMessage: "Sampling not supported"' in said
        assert 'elicitation/create: "Elicitation not supported"' in said
        shout = session.tools.call("odd__shout", {})
        assert "a message of more than 16777216 bytes" in shout.content
        assert called(session, "odd__ok") == "fine"


def test_a_list_that_changes_is_asked_for_again(session: SessionHandle) -> None:
    """Soon, and not as often as the server says so."""
    called(session, "odd__learn")
    eventually(lambda: "odd__new" in {tool.name for tool in session.tools}, timeout=SECONDS)
    assert called(session, "odd__new") == "fine"


def test_what_is_left_out_is_logged_once(system: SessionSystem, project: Path) -> None:
    """However much that is, and however often the server says that its tools have changed."""
    with opened(system, project, odd("spoiled")) as session:
        called(session, "spoiled__learn")
        eventually(lambda: "spoiled__new" in {tool.name for tool in session.tools}, timeout=SECONDS)
    logged = [each.text for each in read_log(NAME, last=2000) if "server spoiled" in each.text]
    assert len(logged) == 1
    assert "'' is no name" in logged[0]
    assert len(logged[0]) < 2000


def test_one_that_dies_is_started_by_the_next_use(session: SessionHandle) -> None:
    """The call over which it died is not made again."""
    before = pids_of(session)
    assert "the MCP server odd" in session.tools.call("odd__die", {}).content
    assert called(session, "odd__ok") == "fine"
    after = pids_of(session)
    assert (after["manager"], after["state"]) == (before["manager"], before["state"])


@pytest.mark.parametrize("victim", ["keeper", "program", "runner", "spawner", "state"])
def test_whoever_is_killed_nothing_is_left(session: SessionHandle, victim: str) -> None:
    """What the server has started ends with it; nobody else does, and the next use works."""
    daemon, program = map(int, called(session, "odd__daemon").split())
    before = pids_of(session)
    keeper = before["mcp:odd"]
    (spawner,) = psutil.Process(keeper).children()
    (runner,) = spawner.children()
    victims = {
        "keeper": keeper,
        "program": program,
        "runner": runner.pid,
        "spawner": spawner.pid,
        "state": before["state"],
    }
    os.kill(victims[victim], signal.SIGKILL)

    eventually(lambda: not is_alive(daemon) and not is_alive(program), timeout=SECONDS)
    eventually(
        lambda: session.tools.call("odd__ok", {}).content == "fine", "the next one", timeout=SECONDS
    )
    after = pids_of(session)
    assert after["mcp:odd"] != keeper
    if victim != "state":
        assert (after["manager"], after["state"]) == (before["manager"], before["state"])


def test_a_call_ends_with_whoever_waits_for_it(session: SessionHandle, project: Path) -> None:
    """A process that has attached, and is killed; one that may only look starts nothing."""
    note = project / "note"
    with colleagues(2) as [other, watcher]:
        watcher.attach(NAME, "read_only=True")
        looked = f"system.get_session({session.id!r}).mcp.servers()[0].error.problem"
        said = watcher.do(looked)
        assert ("to look only" in said, "Error" in said) == (True, False)
        assert "mcp:odd" not in pids_of(session)
        other.attach(NAME, "policy=allow_all")
        other.begin(f"system.get_session({session.id!r}).tools.call('odd__wait', {{}})")
        eventually(lambda: note.exists() and note.read_text() == "began", timeout=SECONDS)
        other.kill()
        eventually(lambda: note.read_text() == "cancelled", timeout=SECONDS)
    assert called(session, "odd__ok") == "fine"


def test_clients_have_of_them_what_they_are_shown(session: SessionHandle, project: Path) -> None:
    """Though the session remembers that all was always allowed, for another one."""
    everything = session.tools.under(lambda _: Allow(always="*"))
    assert not everything.call("odd__touch", {"path": "note"}).is_error
    (project / "note").unlink()
    offer = Offer(session, Access.READ_ONLY)
    assert "odd__ok" in {tool.name for tool in offer.tools}
    assert "odd__touch" not in {tool.name for tool in offer.tools}
    assert offer.call("odd__ok", {}, Stop()).text == "fine"

    refused = offer.call("odd__touch", {"path": "note"}, Stop())

    assert (refused.is_error, "there is no tool" in refused.text) == (True, True)
    assert not (project / "note").exists()


def test_a_client_cancels_a_call(session: SessionHandle, project: Path) -> None:
    """The server is told, and what is written down says so in words."""
    note, stop = project / "note", Stop()
    offer, answers = Offer(session, Access.ALLOW_ALL), list[Answer]()
    calling = threading.Thread(target=lambda: answers.append(offer.call("odd__wait", {}, stop)))
    calling.start()
    eventually(lambda: note.exists() and note.read_text() == "began", timeout=SECONDS)
    stop.request()
    calling.join()
    eventually(lambda: note.read_text() == "cancelled", timeout=SECONDS)
    (written,) = session.state.tool_calls()
    assert answers == [Answer("the call was cancelled", is_error=True)]
    assert (written.result and written.result.content) == "the call was cancelled"


def test_a_call_that_waits_for_its_server_can_be_cancelled(
    system: SessionSystem, project: Path
) -> None:
    """It is not made when the server is ready at last."""
    stop, ends = Stop(), list[BaseException]()
    with opened(system, project, odd("late")) as session:

        def touch() -> None:
            servers = SessionHandle(system._system, session.id, stop).mcp
            try:
                servers._call(Offered("late", SECONDS), "late", "touch", {"path": "note"})
            except Stopped as error:
                ends.append(error)

        calling = threading.Thread(target=touch)
        calling.start()
        eventually(lambda: "mcp:late" in pids_of(session), timeout=SECONDS)
        eventually(lambda: session.call("mcp:late", HowIdle()) == 0.0, timeout=SECONDS)
        stop.request()
        calling.join()
        assert len(ends) == 1

        (project / "open").touch()

        assert called(session, "late__ok") == "fine"
        assert not (project / "note").exists()


def test_a_confined_one_reaches_what_a_command_does(
    system: SessionSystem, project: Path, tmp_path: Path
) -> None:
    """One that is not is the user's own program."""
    script = Path(shutil.copy(ODD, project / "server.py"))
    outside = tmp_path / "outside"
    confined = odd("confined", script=script, confine=True)
    with opened(system, project, odd(), confined) as session:
        said = called(session, "confined__touch", path=str(outside)).splitlines()
        assert said[0].startswith("file: ")
        assert said[1].startswith("network: ")
        assert said[1] != "network: Connection refused"
        called(session, "confined__touch", path=str(project / "inside"))
        assert (project / "inside").exists()
        assert called(session, "confined__variable", name="HOME") != os.environ["HOME"]
        assert called(session, "odd__touch", path=str(outside)) == "network: Connection refused"
        assert outside.exists()
        assert called(session, "odd__variable", name="HOME") == os.environ["HOME"]


def test_its_secrets_are_nowhere_else(system: SessionSystem, session: SessionHandle) -> None:
    """Not in the journal, in no text, nor where other users of the machine look."""
    assert called(session, "odd__ok") == "fine"
    for pid in pids_of(session).values():
        for process in [psutil.Process(pid), *programs(pid)]:
            assert SECRET not in str(process.cmdline())
    folder = Path(str(system.settings.state_dir))
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"odd__ok" in written
    assert SECRET.encode() not in written
    spec = session.get_childspec("mcp:odd")
    assert SECRET not in f"{spec!r}{session.session!r}"
    assert called(session, "odd__variable", name="SECRET") == SECRET  # which it may say itself


def test_a_resumed_session_has_those_that_it_is_given(system: SessionSystem, project: Path) -> None:
    """None, if it is given none: nothing of them is written down."""
    with opened(system, project, odd()) as session:
        assert called(session, "odd__ok") == "fine"
        session_id = session.id
    session = system.resume_session(session_id)
    assert session.mcp.servers() == []
    assert "there is no tool" in session.tools.call("odd__ok", {}).content
    session.stop()
    session = system.resume_session(session_id, mcp_servers=[odd()])
    session.rename("another")  # which makes its processes' specs anew
    assert called(session, "odd__ok") == "fine"
    session.stop()


def test_a_project_that_has_moved_is_where_it_works(session: SessionHandle, project: Path) -> None:
    """As commands do."""
    moved = project.rename(project.with_name("moved"))
    called(session, "odd__touch", path="here")
    assert (moved / "here").exists()
    assert f"file://{moved}" in called(session, "odd__ask")


def test_coroutines_have_them_too(project: Path) -> None:
    """One that is cancelled cancels its call."""

    async def main() -> None:
        preload = ["jidocode.session.mcp.preload"]
        async with AsyncSessionSystem(
            policy=allow_all, preload=preload, durability="memory", call_timeout=SECONDS
        ) as system:
            session = await system.create_session(project, mcp_servers=[odd()])
            names = [tool.name async for tool in session.tools]
            assert "odd__ok" in names
            assert (await session.tools.call("odd__ok", {})).content == "fine"
            (server,) = await session.mcp.servers()
            assert server.error is None
            note = project / "note"
            task = asyncio.ensure_future(session.tools.call("odd__wait", {}))
            await asyncio.to_thread(
                eventually, lambda: note.exists() and note.read_text() == "began", timeout=SECONDS
            )
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(
                eventually, lambda: note.read_text() == "cancelled", timeout=SECONDS
            )

    asyncio.run(asyncio.wait_for(main(), SECONDS))

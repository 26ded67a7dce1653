"""What clients of a session's tools are shown, and what comes of their calls; in one process."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from mcp import Client
from mcp_clients import Mode, text_of
from mcp_types import CallToolResult

from jidocode import Allow, SessionHandle
from jidocode.bridges.mcp.offer import Access, Offer
from jidocode.bridges.mcp.server import make_server
from jidocode.testing import eventually

MODES: tuple[Mode, ...] = ("auto", "legacy")
READING = ["read_file", "list_directory", "glob", "grep", "todo_write"]


def ask(
    session: SessionHandle,
    access: Access,
    dialogue: Callable[[Client], Awaitable[None]],
    mode: Mode = "auto",
) -> None:
    """Have a dialogue with a server of the session."""

    async def run() -> None:
        async with Client(make_server(Offer(session, access)), mode=mode) as client:
            await dialogue(client)

    anyio.run(run)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_is_shown_what_it_may_use(session: SessionHandle, mode: Mode) -> None:
    """With our schemas as they are, and hints that go with the kind."""
    known = {tool.name: tool for tool in session.tools}
    hidden = {Access.READ_ONLY: {"write_file", "edit_file", "run_command"}}
    hidden |= {Access.ACCEPT_EDITS: {"run_command"}, Access.ALLOW_ALL: set()}

    async def look(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == {*known} - hidden[access]
        for tool in tools:
            hints = tool.annotations
            assert hints is not None
            assert tool.input_schema == known[tool.name].schema
            assert tool.description == known[tool.name].description
            kind = known[tool.name].kind
            assert hints.read_only_hint is (kind in {"read", "search"})
            assert hints.destructive_hint is (kind in {"edit", "execute"})

    for access in Access:
        ask(session, access, look, mode)


def test_calls_are_made_and_written_down(session: SessionHandle, project: Path) -> None:
    """Those that fail, too; the client is told why, and the server goes on."""

    async def talk(client: Client) -> None:
        read = await client.call_tool("read_file", {"path": "README.md"})
        assert (read.is_error, "Sells things." in text_of(read)) == (False, True)
        await client.call_tool("write_file", {"path": "new.txt", "content": "one\n"})
        assert (project / "new.txt").read_text() == "one\n"
        done = await client.call_tool("run_command", {"command": "echo out; exit 3"})
        assert text_of(done) == "out\n[exit code 3]"
        for name, arguments, said in (
            ("read_file", {"path": "nothing"}, "nothing"),
            ("read_file", {"path": "../../etc/passwd"}, "passwd"),
            ("read_file", {"pth": "x"}, "did you mean path?"),
            ("read_file", {}, "path"),
            ("frobnicate", {}, "there is no tool 'frobnicate'"),
            ("x" * 5000, {}, "tool"),
        ):
            failed = await client.call_tool(name, arguments)
            assert (failed.is_error, said in text_of(failed)) == (True, True), text_of(failed)

    ask(session, Access.ALLOW_ALL, talk)
    results = [call.result for call in session.state.tool_calls()]
    assert len(results) >= 8
    assert None not in results


def test_who_reads_only_changes_nothing(session: SessionHandle, project: Path) -> None:
    """Though the session remembers that it was always allowed, for another client."""
    tools = session.tools.under(lambda _: Allow(always="*"))
    assert not tools.call("write_file", {"path": "a", "content": ""}).is_error
    assert not tools.call("run_command", {"command": "true"}).is_error
    remembered = {"write_file": [".envrc"], "run_command": ["*"]}
    session.state.update_settings({"allowed_tools": remembered})
    refused: list[CallToolResult] = []

    async def read(client: Client) -> None:
        refused.append(await client.call_tool("write_file", {"path": "b", "content": ""}))
        refused.append(await client.call_tool("run_command", {"command": "touch b"}))

    async def edit(client: Client) -> None:
        refused.append(await client.call_tool("run_command", {"command": "touch b"}))
        refused.append(await client.call_tool("write_file", {"path": ".envrc", "content": ""}))
        done = await client.call_tool("write_file", {"path": "c", "content": ""})
        assert not done.is_error

    ask(session, Access.READ_ONLY, read)
    ask(session, Access.ACCEPT_EDITS, edit)
    assert [each.is_error for each in refused] == [True] * 4
    assert not (project / "b").exists()
    assert not (project / ".envrc").exists()
    assert (project / "c").exists()


def test_who_accepts_edits_does_not_accept_hooks(session: SessionHandle, project: Path) -> None:
    """What others execute later is not edited."""

    async def edit(client: Client) -> None:
        hook = {"path": ".git/hooks/pre-commit", "content": "#!/bin/sh\n"}
        assert (await client.call_tool("write_file", hook)).is_error

    (project / ".git" / "hooks").mkdir(parents=True)
    ask(session, Access.ACCEPT_EDITS, edit)
    assert not (project / ".git/hooks/pre-commit").exists()


def test_whatever_a_tool_says_can_be_sent(session: SessionHandle, project: Path) -> None:
    """Megabytes, bytes that are no text, names that are none."""
    (project / os.fsdecode(b"\xff.txt")).write_text("")

    async def talk(client: Client) -> None:
        loud = await client.call_tool(
            "run_command", {"command": "head -c 5000000 /dev/zero | tr '\\0' x"}
        )
        assert 29_000 < len(text_of(loud)) < 31_000
        odd = await client.call_tool(
            "run_command", {"command": "printf '\\377\\000\\033[31m'; echo"}
        )
        assert not odd.is_error
        names = await client.call_tool("list_directory", {})
        assert not names.is_error
        assert ".txt" in text_of(names)

    ask(session, Access.ALLOW_ALL, talk)


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_is_cancelled_ends_its_command(session: SessionHandle, mode: Mode) -> None:
    """All of it; the call has a result, and the next one works."""
    seen: list[float] = []

    async def told(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        seen.append(progress)

    async def talk(client: Client) -> None:
        arguments = {"command": "sleep 1000 & sleep 1001"}
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                while not seen:  # noqa: ASYNC110 - the client tells
                    await anyio.sleep(0.05)
                assert [
                    each.running for each in await anyio.to_thread.run_sync(session.commands.list)
                ] == [True]
                scope.cancel()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel)
                await client.call_tool("run_command", arguments, progress_callback=told)
        assert scope.cancelled_caught
        assert (
            text_of(await client.call_tool("run_command", {"command": "echo 1"}))
            == "1\n[exit code 0]"
        )

    ask(session, Access.ALLOW_ALL, talk, mode)
    eventually(lambda: not any(each.running for each in session.commands.list()), timeout=30)
    result = eventually(lambda: session.state.tool_calls()[0].result, timeout=30)
    assert result is not None
    assert (result.is_error, result.content) == (True, "the call was cancelled")

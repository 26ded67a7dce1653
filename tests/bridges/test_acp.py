"""An editor and its agent: what is shown, what is asked, and what comes of wrong requests."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from acp import RequestError
from acp.schema import EnvVariable, McpServerStdio, SseMcpServer
from acp_clients import AGENT, Editor, editing, refused, until

NOBODY = "5b0c2f7e-4c1d-4c58-9d2b-0a7d6d1f8a11"
WRITE = 'call write_file {"path": "notes.txt", "content": "milk\\n"}'


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, 120))


def test_a_turn_is_shown_as_it_happens(project: Path) -> None:
    """Thoughts, text, calls with their diffs, places and output, todos, tokens, a title."""

    async def talk() -> None:
        async with editing() as editor:
            session = await editor.new(project)
            ended = await editor.say(
                session,
                "think it is easy",
                "say I do it.",
                'call read_file {"path": "README.md", "offset": 3}',
                WRITE,
                'call edit_file {"path": "README.md", "edits": [{"old": "Sells", "new": "Buys"}]}',
                'call run_command {"command": "echo there"}',
                'call todo_write {"todos": [{"content": "sell", "status": "in_progress"}]}',
                "call no_such_tool {}",
            )
            assert ended.stop_reason == "end_turn"
            assert ended.usage is not None
            assert (ended.usage.input_tokens, ended.usage.total_tokens) == (20, 24)
            assert editor.text(session, "agent_thought_chunk") == "it is easy"
            assert editor.text(session) == "I do it.6 done"
            calls = {each["toolCallId"]: each for each in editor.of(session, "tool_call")}
            ends = {each["toolCallId"]: each for each in editor.of(session, "tool_call_update")}
            kinds = [calls[f"call_{number}"]["kind"] for number in range(6)]
            assert kinds == ["read", "edit", "edit", "execute", "think", "other"]
            statuses = [ends[f"call_{number}"]["status"] for number in range(6)]
            assert statuses == [*["completed"] * 5, "failed"]
            readme = {"path": str(project / "README.md"), "line": 3}
            assert calls["call_0"]["locations"] == [readme]
            notes = {"type": "diff", "path": str(project / "notes.txt"), "newText": "milk\n"}
            assert calls["call_1"]["content"] == [notes]
            assert calls["call_2"]["content"][0]["oldText"] == "Sells"
            assert "there\n[exit code 0]" in ends["call_3"]["content"][0]["content"]["text"]
            todo = {"content": "sell", "priority": "medium", "status": "in_progress"}
            assert [each["entries"] for each in editor.of(session, "plan")] == [[todo]]
            used = editor.of(session, "usage_update")
            assert used[0] == {"sessionUpdate": "usage_update", "used": 12, "size": 1000}
            assert editor.of(session, "session_info_update")[0]["title"].startswith("think it is")
            assert [each["toolCallId"] for each in editor.asked] == ["call_1", "call_2", "call_3"]
            assert (project / "notes.txt").read_text() == "milk\n"

            await editor.say(session, "busy", "say on")
            assert "it is asked again" in editor.text(session, "agent_thought_chunk")

            # A file that is replaced is shown with what stood there.
            await editor.say(session, 'call write_file {"path": "notes.txt", "content": "tea"}')
            (diff,) = editor.asked[-1]["content"]
            assert (diff["oldText"], diff["newText"]) == ("milk\n", "tea")

    run(talk())


def test_who_sits_there_decides(project: Path) -> None:
    """Once, for good, not at all; and a mode decides for him, as it was chosen last."""

    async def talk() -> None:
        async with editing(answer="reject_once") as editor:
            session = await editor.new(project)
            await editor.say(session, WRITE)
            assert not (project / "notes.txt").exists()
            editor.answer = None
            await editor.say(session, WRITE)
            editor.answer = "whatever"
            await editor.say(session, WRITE)
            assert not (project / "notes.txt").exists()
            editor.answer = "allow_always"
            await editor.say(session, WRITE, 'call run_command {"command": "touch here"}')
            assert (project / "here").exists()
            asked = len(editor.asked)
            await editor.say(session, 'call run_command {"command": "touch here"}', WRITE)
            assert len(editor.asked) == asked
            editor.answer = "reject_once"
            await editor.say(session, 'call run_command {"command": "touch there"}')
            assert (len(editor.asked), (project / "there").exists()) == (asked + 1, False)

            await editor.agent.set_session_mode(session_id=session, mode_id="allow-all")
            (options,) = editor.of(session, "config_option_update")
            assert options["configOptions"][0]["currentValue"] == "allow-all"
            await editor.say(session, 'call run_command {"command": "touch there"}')
            assert (project / "there").exists()
            chosen = await editor.agent.set_config_option(
                config_id="mode", session_id=session, value="read-only"
            )
            assert chosen is not None
            assert chosen.config_options[0].current_value == "read-only"
            assert editor.of(session, "current_mode_update")[0]["currentModeId"] == "read-only"
            await editor.say(session, 'call run_command {"command": "touch elsewhere"}')
            assert not (project / "elsewhere").exists()
            assert len(editor.asked) == asked + 1
            for mode in ("accept-edits", "ask"):
                await editor.agent.set_session_mode(session_id=session, mode_id=mode)
            error = await refused(editor.agent.set_session_mode(session_id=session, mode_id="x"))
            assert "accept-edits" in str(error)

    run(talk())


def test_nothing_is_done_once_a_session_is_read_only(project: Path) -> None:
    """Whatever is answered to a question that was open then."""

    async def talk() -> None:
        async with editing(answer="allow_always") as editor:
            session = await editor.new(project)
            editor.mode_while_asked = "read-only"
            await editor.say(session, WRITE)
            assert len(editor.asked) == 1
            assert not (project / "notes.txt").exists()
            editor.answer, editor.mode_while_asked = "reject_once", None
            await editor.agent.set_session_mode(session_id=session, mode_id="ask")
            await editor.say(session, WRITE)
            assert len(editor.asked) == 2
            assert not (project / "notes.txt").exists()

    run(talk())


def test_a_model_is_chosen(project: Path) -> None:
    """By a config option of the session, which keeps it."""

    async def talk() -> None:
        async with editing(*AGENT, "small", "large") as editor:
            session = await editor.new(project)
            ask = editor.agent.set_config_option
            chosen = await ask(config_id="model", session_id=session, value="large")
            assert chosen is not None
            assert chosen.config_options[1].current_value == "large"
            await editor.say(session, "echo")
            assert "'model': 'large'" in editor.text(session)
            await refused(ask(config_id="model", session_id=session, value="huge"))
            await refused(ask(config_id="colour", session_id=session, value="red"))
            await editor.agent.close_session(session_id=session)
            resumed = await editor.agent.resume_session(session_id=session, cwd=str(project))
            assert resumed.config_options is not None
            assert resumed.config_options[1].current_value == "large"

    run(talk())


def test_a_turn_is_cancelled(project: Path) -> None:
    """While the model speaks, while a command runs, while a question is open, before it begins."""

    async def talk() -> None:
        async with editing() as editor:
            session = await editor.new(project)
            await editor.agent.cancel(session_id=session)  # there is nothing to cancel
            for script, begun in (
                (("say so", "wait"), lambda: editor.text(session).endswith("so")),
                (
                    ('call run_command {"command": "touch begun; sleep 1000"}',),
                    (project / "begun").exists,
                ),
            ):
                prompt = asyncio.create_task(editor.say(session, *script))
                await until(begun)
                error = await refused(editor.say(session, "say no"))
                assert "busy" in str(error) or "under way" in str(error)
                await editor.agent.cancel(session_id=session)
                assert (await prompt).stop_reason == "cancelled"
            editor.answer = ""
            asked = len(editor.asked)
            prompt = asyncio.create_task(editor.say(session, WRITE))
            await until(lambda: len(editor.asked) > asked)
            await editor.agent.cancel(session_id=session)
            assert (await prompt).stop_reason == "cancelled"
            assert not (project / "notes.txt").exists()
            prompt = asyncio.create_task(editor.say(session, "wait"))
            await asyncio.sleep(0)
            await editor.agent.cancel(session_id=session)
            assert (await prompt).stop_reason == "cancelled"
            last = {each["toolCallId"]: each for each in editor.of(session, "tool_call_update")}
            assert {each["status"] for each in last.values()} == {"failed"}
            assert (await editor.say(session, "say well")).stop_reason == "end_turn"

    run(talk())


def test_sessions_are_listed_replayed_copied_and_deleted(project: Path, tmp_path: Path) -> None:
    """Of a project one runs at a time: the others wait, with all that was said."""
    other = tmp_path / "market"
    other.mkdir()

    async def talk() -> None:
        async with editing(XDG_STATE_HOME=str(tmp_path / "state")) as editor:
            agent, cwd = editor.agent, str(project)
            first = await editor.new(project)
            await editor.say(first, "say one", WRITE)
            await agent.set_session_mode(session_id=first, mode_id="allow-all")
            second = await editor.new(project)
            await editor.say(second, "say two")
            third = await editor.new(other)
            error = await refused(agent.load_session(session_id=third, cwd=cwd, mcp_servers=[]))
            assert "another project" in str(error)
            listed = await agent.list_sessions(cwd=cwd)
            assert [each.session_id for each in listed.sessions] == [second, first]
            assert (listed.sessions[1].title or "").startswith("say one")
            everywhere = await agent.list_sessions()
            assert {each.session_id for each in everywhere.sessions} == {first, second, third}
            await refused(agent.list_sessions(cursor="whatever"))

            before = len(editor.shown)
            resumed = await agent.resume_session(session_id=first, cwd=cwd)
            assert len(editor.shown) == before
            assert resumed.modes is not None
            assert resumed.modes.current_mode_id == "allow-all"
            await editor.say(first, "say three")
            editor.shown.clear()
            await agent.load_session(session_id=first, cwd=cwd, mcp_servers=[])
            assert editor.text(first) == "one1 donethree"
            assert editor.text(first, "user_message_chunk") == f"say one\n{WRITE}say three"
            (call,) = editor.of(first, "tool_call")
            assert (call["title"], call["kind"]) == ("write_file notes.txt", "edit")
            assert editor.of(first, "tool_call_update")[-1]["status"] == "completed"

            busy = asyncio.create_task(editor.say(second, "wait"))
            forked = (await agent.fork_session(session_id=first, cwd=cwd)).session_id
            error = await refused(editor.say(forked, "say four"))
            assert second in str(error)
            await agent.close_session(session_id=second)
            assert (await busy).stop_reason == "cancelled"
            await editor.say(forked, "echo")
            assert "one" in editor.text(forked)

            ids = (first, second, forked, third)
            for each in ids:
                await agent_delete(editor, each)
            assert not (await agent.list_sessions()).sessions
            for work in (
                editor.say(first, "say no"),
                agent.resume_session(session_id=first, cwd=cwd),
                agent_delete(editor, first),
                agent.fork_session(session_id=first, cwd=cwd),
            ):
                assert (await refused(work)).code == -32002

    run(talk())


async def agent_delete(editor: Editor, session_id: str) -> None:
    """Delete a session, for which the client of the package has no method."""
    conn = editor.agent._conn
    await conn.send_request("session/delete", {"sessionId": session_id})


def test_wrong_requests_are_refused_in_a_sentence(project: Path, tmp_path: Path) -> None:
    """And the next one is heard."""

    async def talk() -> None:
        async with editing() as editor:
            agent = editor.agent
            server = McpServerStdio(name="x", command="x", args=[], env=[])
            old = SseMcpServer(type="sse", name="x", url="http://127.0.0.1:1/", headers=[])
            cwd = str(project)
            work: Awaitable[object]
            for work in (
                agent.new_session(cwd="shop", mcp_servers=[]),
                agent.new_session(cwd=str(tmp_path / "nowhere"), mcp_servers=[]),
                agent.new_session(cwd=str(project / "README.md"), mcp_servers=[]),
                agent.new_session(cwd=cwd, mcp_servers=[], additional_directories=["/tmp"]),  # noqa: S108 - nobody goes there
                agent.new_session(cwd=cwd, mcp_servers=[server, server]),
                agent.new_session(cwd=cwd, mcp_servers=[old]),
            ):
                assert (await refused(work)).code == -32602
            wrong: list[tuple[str, Any]] = [
                ("session/new", {"cwd": cwd, "mcpServers": [{"name": "of no kind"}]}),
                ("session/new", {"cwd": 1, "mcpServers": []}),
                ("session/prompt", ["x"]),
                ("session/prompt", None),
            ]
            for method, params in wrong:
                error = await refused(agent._conn.send_request(method, params))
                assert (error.code, "\n" in str(error)) == (-32602, False)
            for work in (
                editor.say(NOBODY, "say no"),
                agent.load_session(cwd=cwd, session_id=NOBODY, mcp_servers=[]),
                agent.close_session(session_id=NOBODY),
            ):
                assert (await refused(work)).code == -32002
            for work in (
                editor.say("nosuch", "say no"),
                agent.load_session(cwd=cwd, session_id="nosuch", mcp_servers=[]),
                agent.fork_session(cwd=cwd, session_id="nosuch", mcp_servers=[]),
                agent_delete(editor, "nosuch"),
            ):
                error = await refused(work)
                assert (error.code, str(error)) == (-32002, "no session nosuch")
            for method in ("session/nothing", "terminal/create", "authenticate"):
                error = await refused(agent._conn.send_request(method, {"methodId": "x"}))
                assert error.code == -32601
            session = await editor.new(project)
            # What stands in `_meta` is not what is asked for.
            with pytest.raises(RequestError, match="absolute"):
                await agent._conn.send_request(
                    "session/load",
                    {"sessionId": session, "cwd": "x", "mcpServers": [], "_meta": {"cwd": cwd}},
                )
            await agent._conn.send_notification("$/cancel_request", {"requestId": 1})
            sound = {"type": "audio", "data": "", "mimeType": "audio/wav"}
            params = {"sessionId": session, "prompt": [sound]}
            assert (
                await refused(agent._conn.send_request("session/prompt", params))
            ).code == -32602
            error = await refused(editor.say(session, "say half", "break"))
            assert "broke off" in str(error)
            error = await refused(editor.say(session, "crash"))
            assert "interrupted" in str(error)
            assert (await editor.say(session, "say well")).stop_reason == "end_turn"
            assert json.dumps(editor.text(session)).count("half") == 1

    run(talk())


def test_mcp_servers_of_the_editor_are_tools_of_the_agent(project: Path) -> None:
    """Whenever the session runs, and asked about."""
    here = Path(__file__).parents[1] / "support/odd_mcp_server.py"
    server = McpServerStdio(
        name="tests",
        command=sys.executable,
        args=[str(here), ""],
        env=[EnvVariable(name="SECRET", value="known")],
    )

    async def talk() -> None:
        async with editing() as editor:
            agent, cwd = editor.agent, str(project)
            new = await agent.new_session(cwd=cwd, mcp_servers=[server])
            session, script = new.session_id, 'call tests__variable {"name": "SECRET"}'
            await editor.say(session, script)
            kinds = [each["kind"] for each in editor.of(session, "tool_call")]
            assert kinds == ["execute"]
            assert [each["title"] for each in editor.asked] == ["tests__variable SECRET"]
            ended = editor.of(session, "tool_call_update")
            assert "known" in ended[-1]["content"][0]["content"]["text"]
            other = await editor.new(project)
            await editor.say(other, script)
            assert editor.of(other, "tool_call_update")[-1]["status"] == "failed"
            await editor.say(session, script)  # it runs again
            assert editor.of(session, "tool_call_update")[-1]["status"] == "completed"
            await agent.load_session(session_id=session, cwd=cwd, mcp_servers=[])
            await editor.say(session, script)
            assert editor.of(session, "tool_call_update")[-1]["status"] == "failed"

    run(talk())

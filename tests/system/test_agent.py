"""Turns of agents, in real processes: what they say, do and leave behind, whoever dies when."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from colleagues import colleagues
from scripted_models import SCRIPTED
from sessions import history_of, pids_of

from jidocode import (
    ActorExitedError,
    AgentBusyError,
    CalledTool,
    CallTimeoutError,
    Decision,
    Deny,
    HostStartError,
    InvalidModelError,
    InvalidRequestError,
    ModelInterruptedError,
    ModelRetry,
    ModelSpec,
    ReasoningBlock,
    SessionHandle,
    SessionSystem,
    Stop,
    StreamChunk,
    TextBlock,
    TextDelta,
    Todo,
    TokenUsage,
    Tool,
    ToolCallDelta,
    ToolKind,
    ToolRequest,
    ToolResult,
    TurnHandle,
    TurnOutcome,
    allow_all,
    testing,
)
from jidocode.session.idle import HowIdle
from jidocode.testing import eventually

RUN = 'call run_command {"command": "%s"}'


@pytest.fixture
def system() -> Iterator[SessionSystem]:
    with SessionSystem(policy=allow_all, model=SCRIPTED, durability="memory") as system:
        yield system


def read(turn: TurnHandle, count: int = 1) -> list[object]:
    """Return the next things that happen."""
    return [next(turn) for _ in range(count)]


def kill(session: SessionHandle, kind: str) -> None:
    (ref,) = [info.ref for info in session.which_children() if info.id == kind and info.ref]
    os.kill(ref.os_pid, signal.SIGKILL)


def test_a_prompt_is_answered_and_the_answer_kept(session: SessionHandle) -> None:
    """In pieces as it comes, and whole in the end."""
    assert "agent" not in pids_of(session), "nobody has prompted"

    turn = session.agent.prompt("think hm\nsay one\nsay two")
    pieces = list(turn)
    result = turn.result()

    assert "".join(each.text for each in pieces if isinstance(each, TextDelta)) == "onetwo"
    assert (result.outcome, result.ok, result.text) == (TurnOutcome.END, True, "onetwo")
    assert (result.usage.input_tokens, result.usage.calls) == (10, 1)
    user, answer = session.state.messages()
    assert (user.id, user.content) == (turn.id, "think hm\nsay one\nsay two")
    assert answer.blocks == (ReasoningBlock("hm", "signed"), TextBlock("onetwo"))
    assert session.state.statistics().usage.input_tokens == 10
    assert list(turn) == [], "it has ended"
    assert turn.done


def test_an_answer_that_comes_all_at_once_is_kept(session: SessionHandle) -> None:
    """Nothing else runs in the agent between its first piece and its end."""
    result = session.agent.prompt("burst one\nburst two").result()

    assert result.text == "onetwo"
    assert session.state.messages(last=1)[0].content == "onetwo"


def test_who_waits_hears_that_the_model_is_asked_again(session: SessionHandle) -> None:
    """And why, before the wait; no answer begins or ends by it."""
    turn = session.agent.prompt("busy\nsay one\nsay two")

    retry, *events = turn
    assert isinstance(retry, ModelRetry)
    assert (retry.error.status, 0 < retry.seconds < 1) == (429, True)
    assert re.fullmatch(r"the model .*slow down.*; it is asked again in 0\.\d s", retry.message)
    assert {type(each) for each in events} == {TextDelta, TokenUsage, Stop}
    assert (turn.result().text, turn.result().usage.calls) == ("onetwo", 1)


def test_calls_of_tools_are_made_and_the_model_goes_on(
    session: SessionHandle, project: Path
) -> None:
    """Under the ids that the messages have, in order, each once."""
    script = [
        'call read_file {"path": "README.md"}',
        'call write_file {"path": "new.txt", "content": "hi"}',
        'call read_file {"path": "new.txt"}',
    ]
    events = list(session.agent.prompt("\n".join(script)))

    called = [each for each in events if isinstance(each, CalledTool)]
    results = [each for each in events if isinstance(each, ToolResult)]
    assert [call.name for call in called] == ["read_file", "write_file", "read_file"]
    assert [result.call_id for result in results] == [call.id for call in called]
    assert [result.is_error for result in results] == [False] * 3
    assert "hi" in results[2].content
    assert any(isinstance(each, ToolCallDelta) for each in events)
    assert (project / "new.txt").read_text() == "hi"
    assert history_of(session)[-1]["content"] == "3 done"

    again = session.agent.prompt(script[0])
    assert again.result().text == "1 done"
    assert len({call.id for call in session.state.tool_calls()}) == 4, "ids differ"
    history_of(session)


def test_calls_that_make_no_sense_are_answered_and_not_made(session: SessionHandle) -> None:
    """So the model can say it better."""
    script = 'call read_fil {}\ncall read_file {"path": \ncall  {}\ncall read_file {"path": "no"}'
    events = list(session.agent.prompt(script))

    results = [each for each in events if isinstance(each, ToolResult)]
    assert [result.is_error for result in results] == [True] * 4
    assert "did you mean read_file" in results[0].content
    assert "no JSON" in results[1].content
    assert [each.name for each in events if isinstance(each, CalledTool)] == ["read_file"]
    assert len(history_of(session)) == 1 + 1 + 4 + 1


def test_calls_that_read_are_made_side_by_side(project: Path) -> None:
    """And those that execute are not."""
    barrier = threading.Barrier(2)
    asked = list[str]()

    def policy(request: ToolRequest) -> Decision:
        asked.append(request.subject)
        return Deny("no")

    from side_by_side import WAITS, together  # noqa: PLC0415 - its tool waits for us

    with SessionSystem(tools=[WAITS], policy=policy, model=SCRIPTED, durability="memory") as system:
        together.append(barrier)
        session = system.create_session(project)
        turn = session.agent.prompt("call meet {}\ncall meet {}\n" + RUN % "a" + "\n" + RUN % "b")
        results = [each for each in turn if isinstance(each, ToolResult)]

    assert [result.content for result in results[:2]] == ["met", "met"]
    assert asked == ["a", "b"]
    assert all("not allowed: no" in result.content for result in results[2:])


def test_one_turn_at_a_time_unless_it_waits(session: SessionHandle) -> None:
    """In the order in which they were asked for."""
    first = session.agent.prompt("say one\nwait")
    read(first)
    with pytest.raises(AgentBusyError):
        session.agent.prompt("say two")
    second = session.agent.prompt("say two", queue=True)
    third = session.agent.prompt("say three", queue=True)
    fourth = session.agent.prompt("say four", queue=True)

    with pytest.raises(CallTimeoutError):
        second.result(timeout=0.1)
    assert third.cancel().outcome is TurnOutcome.CANCELLED
    assert first.cancel().outcome is TurnOutcome.CANCELLED
    assert (second.result().text, fourth.result().text) == ("two", "four")
    said = [each["content"] for each in history_of(session)]
    assert said == ["say one\nwait", "one", "say two", "two", "say four", "four"]


def test_cancel_ends_the_models_answer(session: SessionHandle) -> None:
    """What came of it is kept."""
    turn = session.agent.prompt("say one\ncall read_file {}\nwait")
    read(turn, 2)

    result = turn.cancel()

    assert (result.outcome, result.text) == (TurnOutcome.CANCELLED, "one")
    assert session.state.messages()[1].status == "aborted"
    assert [each["role"] for each in history_of(session)] == ["user", "assistant", "tool"]
    assert turn.cancel() == result
    assert session.agent.prompt("say two").result().ok


def test_cancel_ends_commands(session: SessionHandle) -> None:
    """At once, and their calls have results."""
    turn = session.agent.prompt(RUN % "sleep 1000")
    eventually(lambda: [each for each in session.commands.list() if each.running])

    result = turn.cancel()

    assert result.outcome is TurnOutcome.CANCELLED
    (call,) = session.state.tool_calls()
    assert call.result is not None
    assert call.result.is_error
    eventually(lambda: not [each for each in session.commands.list() if each.running])
    history_of(session)


def test_what_a_policy_allows_after_the_turn_is_not_done(
    session: SessionHandle, project: Path
) -> None:
    """It may have asked a person, who answers late."""
    asked, answer = threading.Event(), threading.Event()

    def policy(request: ToolRequest) -> Decision:
        asked.set()
        answer.wait()
        return allow_all(request)

    script = 'call write_file {"path": "new.txt", "content": "hi"}'
    turn = session.agent.prompt(script, policy=policy)
    asked.wait()
    turn.cancel()
    answer.set()

    threads = [each for each in threading.enumerate() if each.name == "jidocode-call"]
    for thread in threads:
        thread.join()
    assert not (project / "new.txt").exists()
    (call,) = session.state.tool_calls()
    assert call.result is not None
    assert call.result.content == "the call was not made: the turn was cancelled"
    history_of(session)


def test_a_turn_has_its_time_and_its_number_of_answers(session: SessionHandle) -> None:
    assert session.agent.prompt("say on").result().ok  # its agent runs
    late = session.agent.prompt("say one\nwait", timeout=0.5).result()
    again = 'again\ncall read_file {"path": "README.md"}'

    assert (late.outcome, late.text) == (TurnOutcome.TIMEOUT, "one")
    assert session.agent.prompt(again, max_turns=2).result().outcome is TurnOutcome.MAX_TURNS
    assert session.agent.prompt(again).result().outcome is TurnOutcome.REPEATED
    history_of(session)


def test_a_turn_has_its_tokens(session: SessionHandle) -> None:
    """With which it makes no more calls; those that are open are answered."""
    again = 'again\ncall read_file {"path": "README.md"}'
    result = session.agent.prompt(again, max_tokens=30).result()

    assert result.outcome is TurnOutcome.MAX_TOKENS
    assert result.usage.input_tokens + result.usage.output_tokens == 36
    last = session.state.tool_calls()[-1].result
    assert last is not None
    assert "as many tokens" in last.content
    history_of(session)


def test_the_time_of_a_turn_ends_its_commands(session: SessionHandle) -> None:
    assert session.run("true").ok  # what runs it is there
    assert session.agent.prompt("say on").result().ok
    result = session.agent.prompt(RUN % "exec sleep 1000", timeout=1).result()

    assert result.outcome is TurnOutcome.TIMEOUT
    (call,) = session.state.tool_calls()
    assert call.result is not None
    assert "longer than it may" in call.result.content
    eventually(lambda: not [each for each in session.commands.list() if each.running])
    history_of(session)


def test_what_a_conversation_does_not_take_leaves_nothing_open(session: SessionHandle) -> None:
    """Such as arguments that are longer as JSON than any message is: that call is not made."""
    script = 'say one\ncall write_file {"path": "x", "content": "%s"}'
    result = session.agent.prompt(script % ("\u00e9" * 300_000)).result()

    assert result.outcome is TurnOutcome.END
    assert session.state.streams() == ()
    assert [each.content for each in session.state.messages()[1::2]] == ["one", "1 done"]
    (call,) = session.state.tool_calls()
    assert call.result is not None
    assert call.result.is_error
    history_of(session)


def test_an_answer_that_breaks_off_ends_the_turn(session: SessionHandle) -> None:
    result = session.agent.prompt("say one\nbreak").result()

    assert (result.outcome, result.text) == (TurnOutcome.INTERRUPTED, "one")
    assert isinstance(result.error, ModelInterruptedError)
    assert session.state.messages()[1].status == "interrupted"


def test_what_is_wrong_with_a_prompt_is_raised(session: SessionHandle) -> None:
    """And nothing is left of it."""
    wrong: list[dict[str, Any]] = [
        {"content": "x" * 2_000_000},
        {"content": "say one", "max_turns": 0},
        {"content": "say one", "max_tokens": 0},
        {"content": 3},
        {"content": " \n"},
        {"content": []},
        {"content": [TextBlock("")]},
    ]
    for arguments in wrong:
        with pytest.raises(InvalidRequestError):
            session.agent.prompt(**arguments)

    assert session.state.messages() == []
    assert session.agent.prompt("say one").result().ok


@pytest.mark.parametrize(
    "model",
    [
        None,
        ModelSpec("nowhere:Model"),
        ModelSpec("sys:exit"),
        ModelSpec("scripted_models:ScriptedModel", {"no": "secret"}),
    ],
)
def test_without_a_model_nobody_answers(project: Path, model: ModelSpec | None) -> None:
    with SessionSystem(durability="memory", model=model) as system:
        session = system.create_session(project)
        for _ in range(2):
            with pytest.raises(InvalidModelError) as raised:
                session.agent.prompt("say one")
            assert "secret" not in str(raised.value)


def test_where_the_sdk_is_missing_a_system_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host imports what agents need, once for all of them; it says what is missing."""
    (tmp_path / "httpx2.py").write_text("raise ImportError('there is no such SDK here')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    with pytest.raises(HostStartError, match=re.escape("pip install 'jidocode[agent]'")):
        SessionSystem(model=ModelSpec())


def test_a_session_chooses_its_model(system: SessionSystem, project: Path) -> None:
    config = {"model": "large", "temperature": 0.5, "max_tokens": 7, "top_p": 0.1}
    session = system.create_session(project, config=config)

    said = session.agent.prompt("echo", instructions="Be kind.").result().text

    assert "'model': 'large', 'temperature': 0.5, 'max_tokens': 7" in said
    assert "'top_p': 0.1" in said
    assert "Be kind." in said


def test_the_project_has_instructions(session: SessionHandle, project: Path) -> None:
    """Its beginning is told, unless it is not to be; what cannot be read is left out."""
    file = project / "AGENTS.md"
    file.write_text("Use tabs.\n" + "x\n" * 50_000)

    told = session.agent.prompt("echo").result().text
    assert "Use tabs." in told
    assert len(told) < 100_000
    session.state.clear_messages()
    assert "Use tabs." not in session.agent.prompt("echo", agents_file="no.md").result().text
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert "root:" not in session.agent.prompt("echo").result().text


def test_a_summary_stands_for_what_has_become_too_long(project: Path) -> None:
    """With the todos; between turns it leaves the question out, within one nothing."""
    with SessionSystem(
        policy=allow_all, model=SCRIPTED, durability="memory", context_tokens=13
    ) as system:
        session = system.create_session(project)
        session.state.replace_todos([Todo("mend it")])
        first = session.agent.prompt("say one\nwait")
        read(first)
        first.cancel()
        session.agent.prompt("say two").result()
        turn = session.agent.prompt('call read_file {"path": "README.md"}')
        result = turn.result()

        summary, *rest = history_of(session)
        assert "Todos:\n- mend it (pending)" in str(summary["content"])
        assert result.text, "it went on"
        assert [each["role"] for each in rest] == ["assistant"]
        assert result.usage.calls == 4
        assert len(session.state.messages()) == 8
        assert [each.name for each in turn if isinstance(each, CalledTool)] == ["read_file"]


def test_a_turn_under_way_is_use_of_its_session(session: SessionHandle) -> None:
    """The State asks, before it has an idle session stopped."""
    turn = session.agent.prompt("say one\nwait")
    read(turn)
    time.sleep(0.1)
    assert session.call("agent", HowIdle()) == 0.0

    turn.cancel()

    eventually(lambda: session.call("agent", HowIdle()) > 0.0)


def test_what_a_model_is_made_with_is_the_agents_alone(tmp_path: Path, project: Path) -> None:
    """A key may be among it: no command, journal or text has it."""
    model = ModelSpec("scripted_models:ScriptedModel", {"hint": "sk-secret"})
    with SessionSystem(policy=allow_all, model=model, state_dir=tmp_path / "state") as system:
        session = system.create_session(project)
        events = list(session.agent.prompt(RUN % "env; cat /proc/*/cmdline"))

        (result,) = [each for each in events if isinstance(each, ToolResult)]
        assert "sk-secret" not in result.content
        assert "sk-secret" not in repr(session.get_childspec("agent"))
        pids = pids_of(session).values()
        arguments = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    files = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert any(b"cmdline" in content for content in files)
    assert not any(b"sk-secret" in content for content in [*files, *arguments])


# Deaths


def test_whoever_has_prompted_dies(name: str, tmp_path: Path, project: Path) -> None:
    """A process that has attached: its turn ends, and with it what its calls have started."""
    with (
        SessionSystem(
            name=name, policy=allow_all, model=SCRIPTED, state_dir=tmp_path / "s"
        ) as system,
        colleagues() as [other],
    ):
        session = system.create_session(project)
        other.do(f"system = SessionSystem.attach({name!r}, policy=allow_all)")
        other.do(
            f"turn = system.get_session({session.id!r}).agent.prompt({RUN % 'exec sleep 1000'!r})"
        )
        eventually(lambda: [each for each in session.commands.list() if each.running])
        with pytest.raises(AgentBusyError):
            session.agent.prompt("say one")

        other.kill()

        eventually(lambda: not [each for each in session.commands.list() if each.running])
        turn = session.agent.prompt("say two", queue=True)
        assert turn.result().text == "two"
        assert [each["role"] for each in history_of(session)][:3] == ["user", "assistant", "tool"]


def test_an_agent_that_is_killed_ends_its_turn_alone(session: SessionHandle) -> None:
    """What it said is kept, nobody else is restarted, and the next prompt has all of it."""
    turn = session.agent.prompt("think hm\nsay one\nwait")
    read(turn, 2)
    eventually(
        lambda: "one" in [getattr(each, "text", "") for each in session.state.events(after_seq=0)]
    )
    before = pids_of(session)

    kill(session, "agent")

    result = turn.result()
    assert (result.outcome, result.text) == (TurnOutcome.INTERRUPTED, "one")
    assert isinstance(result.error, ActorExitedError)
    eventually(lambda: not session.state.streams())
    assert session.state.messages()[1].status == "interrupted"
    assert "one" in session.agent.prompt("echo").result().text
    after = pids_of(session)
    assert after.pop("agent") != before.pop("agent")
    assert after == before
    history_of(session)


def test_a_crash_in_a_model_is_that_of_its_agent(session: SessionHandle) -> None:
    before = pids_of(session)

    assert session.agent.prompt("say one\ncrash").result().outcome is TurnOutcome.INTERRUPTED
    assert session.agent.prompt("say two").result().ok
    assert before.items() <= pids_of(session).items()


def test_a_call_that_was_begun_is_not_made_again(session: SessionHandle, project: Path) -> None:
    """The agent dies while a tool runs: the command is ended, and its call has a result."""
    turn = session.agent.prompt(RUN % "echo x >> ran; exec sleep 1000")
    eventually((project / "ran").exists)

    kill(session, "agent")

    assert turn.result().outcome is TurnOutcome.INTERRUPTED
    eventually(lambda: not [each for each in session.commands.list() if each.running])
    (call,) = session.state.tool_calls()
    assert call.result is not None
    assert call.result.is_error
    assert session.agent.prompt("say on").result().ok
    assert (project / "ran").read_text() == "x\n"
    history_of(session)


@pytest.mark.parametrize("kind", ["state", "manager", "commands"])
def test_whoever_else_dies_the_turn_ends_and_the_next_one_works(
    tmp_path: Path, project: Path, kind: str
) -> None:
    with SessionSystem(policy=allow_all, model=SCRIPTED, state_dir=tmp_path / "state") as system:
        session = system.create_session(project)
        turn = session.agent.prompt(RUN % "exec sleep 1000")
        eventually(lambda: [each for each in session.commands.list() if each.running])

        kill(session, kind)

        ends = {
            "state": {TurnOutcome.INTERRUPTED},
            "manager": {TurnOutcome.INTERRUPTED, TurnOutcome.END},  # its command may end first
            "commands": {TurnOutcome.END},
        }
        assert turn.result().outcome in ends[kind]
        # The first ones may meet an agent that is about to be ended with the others.
        eventually(lambda: session.agent.prompt("say on").result().ok)
        roles = [each["role"] for each in history_of(session)]
        assert roles[:3] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("then", ["say two", "call read_file {}", "think hm"])
def test_an_answer_whose_state_was_restarted_beneath_it_is_interrupted(
    tmp_path: Path, project: Path, then: str
) -> None:
    """The agent outlives it, and has nothing to go on with: State has ended the message."""
    with SessionSystem(
        policy=allow_all, model=SCRIPTED, state_dir=tmp_path / "state", strategy="one_for_one"
    ) as system:
        session = system.create_session(project)
        turn = session.agent.prompt(f"say one\nuntil {tmp_path / 'go'}\n{then}")
        with session.state.subscribe(from_seq=1) as changes:
            next(change for change in changes if isinstance(change, StreamChunk))
        down = testing.kill(system, session, "state")
        testing.wait_for_restart(system, session, "state", after=down.ref)
        (tmp_path / "go").touch()

        assert turn.result().outcome is TurnOutcome.INTERRUPTED
        assert session.state.messages(last=1)[0].status == "interrupted"
        assert session.agent.prompt("say on").result().ok
        history_of(session)


def test_a_session_that_stops_ends_its_turn(session: SessionHandle) -> None:
    turn = session.agent.prompt("say one\nwait")
    read(turn)

    session.stop()

    assert turn.result().outcome is TurnOutcome.INTERRUPTED


@frozen
class Nothing:
    """Arguments of a tool that takes none."""


def test_no_thread_fails_over_a_system_that_was_closed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor prints anything: a call that comes to its end later has nobody to tell of that."""
    failures = list[str]()

    def tell(args: threading.ExceptHookArgs) -> None:
        failures.append(str(args.exc_value))

    monkeypatch.setattr(threading, "excepthook", tell)
    begun, ends = threading.Event(), threading.Event()

    def wait(_session: SessionHandle, _arguments: Nothing) -> str:
        begun.set()
        ends.wait(60)
        return "done"

    tool = Tool(name="wait", description="Waits.", kind=ToolKind.THINK, arguments=Nothing, run=wait)
    with SessionSystem(tools=[tool], model=SCRIPTED, durability="memory") as system:
        turn = system.create_session(project).agent.prompt("call wait {}")
        assert begun.wait(60)
        calls = [each for each in threading.enumerate() if each.name == "jidocode-call"]
    assert turn.result(10).outcome is TurnOutcome.INTERRUPTED
    ends.set()
    for each in calls:
        each.join(10)
    assert calls
    assert not failures

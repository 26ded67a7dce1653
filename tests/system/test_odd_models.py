"""Turns with a model, a tool or a prompter that does what none should: each has an end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from odd_models import ARGUMENTS, COUNTS, RAISES, YIELDS
from scripted_models import SCRIPTED
from sessions import history_of, pids_of

from jidocode import (
    Allow,
    Decision,
    InvalidRequestError,
    ModelSpec,
    SessionHandle,
    SessionSystem,
    Tool,
    ToolKind,
    ToolRequest,
    ToolResult,
    TurnOutcome,
    allow_all,
)
from jidocode.session.tools.toolbox import Toolbox
from jidocode.testing import eventually

SECONDS = 20.0
"""In which all of these turns end."""


@frozen
class Nothing:
    """Arguments of a tool that takes none."""


def leave(session: object, arguments: Nothing) -> str:
    sys.exit(f"{session}{arguments}")


LEAVE = Tool(name="leave", description="?", kind=ToolKind.EXECUTE, arguments=Nothing, run=leave)


@pytest.fixture
def system() -> Iterator[SessionSystem]:
    model = ModelSpec("odd_models:OddModel")
    with SessionSystem(policy=allow_all, model=model, durability="memory") as system:
        yield system


def goes_on(session: SessionHandle, pid: int) -> None:
    """See that the conversation can be continued, by the same process."""
    history_of(session)
    assert session.agent.prompt("on").result(SECONDS).text == "on"
    assert pids_of(session)["agent"] == pid


def test_an_answer_that_comes_at_once_is_kept(session: SessionHandle) -> None:
    """All of it, though nobody had the time to write any of it before its end."""
    assert session.agent.prompt("on").result(SECONDS).text == "on"

    assert session.state.messages(last=1)[0].content == "on"
    assert session.state.history()[-1] == {"role": "assistant", "content": "on"}


def test_what_is_no_answer_is_an_error(session: SessionHandle) -> None:
    """Neither the agent nor whoever has prompted breaks over it, and nobody waits for more."""
    session.agent.prompt("on").result(SECONDS)
    pid = pids_of(session)["agent"]

    for odd in (*YIELDS, *RAISES):
        result = session.agent.prompt(odd).result(SECONDS)

        assert result.outcome is TurnOutcome.FAILED, odd
        assert result.error is not None
        goes_on(session, pid)


def test_a_count_that_is_none_costs_no_answer(session: SessionHandle) -> None:
    """Nor a State, with all that it knows."""
    for count in COUNTS:
        result = session.agent.prompt(count).result(SECONDS)

        assert (result.outcome, result.text) == (TurnOutcome.END, "so")
        assert (result.usage.input_tokens, result.usage.output_tokens) == (0, 2)
        assert [each.content for each in session.state.messages(last=2)] == [count, "so"]
    assert len(session.state.messages()) == 2 * len(COUNTS)


def test_arguments_that_are_not_kept_are_an_error_of_the_call(session: SessionHandle) -> None:
    """The answer is, and the model goes on."""
    for odd in ARGUMENTS:
        result = session.agent.prompt(odd).result(SECONDS)

        assert (result.outcome, result.text) == (TurnOutcome.END, "on"), odd
        assert all(call.result is not None for call in session.state.tool_calls())
        said = [each.content for each in session.state.messages() if each.role == "assistant"]
        assert said[-2:] == ["so", "on"]
        goes_on(session, pids_of(session)["agent"])


def test_a_model_that_waits_for_nothing_can_be_cancelled(session: SessionHandle) -> None:
    turn = session.agent.prompt("for ever")
    next(turn)

    assert turn.cancel().outcome is TurnOutcome.CANCELLED


def test_a_tool_that_ends_its_thread_ends_its_call(project: Path) -> None:
    with SessionSystem(
        policy=allow_all, model=SCRIPTED, tools=[LEAVE], durability="memory"
    ) as system:
        session = system.create_session(project)

        turn = session.agent.prompt("call leave {}")
        result = turn.result(SECONDS)

        assert (result.outcome, result.text) == (TurnOutcome.END, "1 done")
        (call,) = session.state.tool_calls()
        assert call.result is not None
        assert (call.result.content[:23], call.result.is_error) == ("it raised SystemExit: <", True)
        assert [each for each in turn if isinstance(each, ToolResult)] == [call.result]


def test_whoever_reads_a_turn_is_told_of_a_call_that_was_lost(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is, too, and goes on."""

    def lose(*_args: Any, **_options: Any) -> Any:
        raise MemoryError

    with SessionSystem(policy=allow_all, model=SCRIPTED, durability="memory") as system:
        session = system.create_session(project)
        monkeypatch.setattr(Toolbox, "call", lose)
        turn = session.agent.prompt('call read_file {"path": "README.md"}')
        result = turn.result(SECONDS)

        assert (result.outcome, result.text) == (TurnOutcome.END, "1 done")
        (call,) = session.state.tool_calls()
        assert call.result is not None
        assert call.result.is_error
        assert [each for each in turn if isinstance(each, ToolResult)] == [call.result]


def test_a_policy_that_ends_its_thread_has_failed(session: SessionHandle) -> None:
    """And did not let anybody wait."""

    def decide(request: ToolRequest) -> Decision:
        sys.exit(str(request))

    content = session.tools.under(decide).call("run_command", {"command": "true"}).content
    assert content.endswith("the policy failed")


def test_a_prompt_that_nobody_waits_for_any_more_is_cancelled(project: Path) -> None:
    """By Ctrl-C, while the agent's process is being started: there is nobody yet to be told."""
    with SessionSystem(model=SCRIPTED, durability="memory") as system:
        session = system.create_session(project)
        told = threading.Event()
        start = system._system.carry_out

        def carry_out(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():  # it is that of the turn
                os.kill(os.getpid(), signal.SIGINT)
                told.wait(SECONDS)
            return start(*args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(system._system, "carry_out", carry_out)
            with pytest.raises(KeyboardInterrupt):
                session.agent.prompt("wait")
        told.set()

        eventually(lambda: [info for info in session.which_children() if info.id == "agent"])
        for _ in range(2):  # one may come before it
            assert session.agent.prompt("say on", queue=True).result(SECONDS).ok


def test_a_wrong_argument_is_refused_before_anybody_is_asked(session: SessionHandle) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"queue": "yes"},
        {"instructions": None},
        {"agents_file": 5},
        {"policy": Allow()},
        {"policy": 0},
    )
    for each in wrong:
        with pytest.raises(InvalidRequestError):
            session.agent.prompt("on", **each)

    assert session.state.messages() == []

"""Turns that are cancelled at any instant: each ends, and the conversation stays valid."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from scripted_models import SCRIPTED
from valid_history import problems

from jidocode import (
    CalledTool,
    SessionHandle,
    SessionSystem,
    TextDelta,
    ToolResult,
    TurnHandle,
    TurnOutcome,
    allow_all,
)
from jidocode.session.agent.handle import TurnProgress
from jidocode.session.conversation.changes import INTERRUPTED_CALL
from jidocode.session.conversation.history import HistoryFormat
from jidocode.testing import eventually

FORMATS: tuple[HistoryFormat, ...] = ("openai", "anthropic")
CANCELLED, END = TurnOutcome.CANCELLED, TurnOutcome.END
RUN = 'call run_command {"command": "%s"}'
LONG = RUN % "exec sleep 1000"
READ = 'call read_file {"path": "README.md"}'
QUICK = 10.0
"""Seconds, many times as long as it takes: what is right is measured in bench/prompting.py."""


@pytest.fixture
def system() -> Iterator[SessionSystem]:
    with SessionSystem(policy=allow_all, model=SCRIPTED, durability="memory") as system:
        yield system


def check(session: SessionHandle) -> None:
    """Check that nothing is open, the conversation is valid, and the next prompt works."""
    for form in FORMATS:
        assert problems(session.state.history(form), form) == []
    assert not session.state.streams()
    assert all(call.result is not None for call in session.state.tool_calls())
    eventually(lambda: not [each for each in session.commands.list() if each.running])
    assert session.agent.prompt("say on").result().outcome is END


def until(turn: TurnHandle, kind: type) -> None:
    for event in turn:
        if isinstance(event, kind):
            return


def test_nobody_takes_a_call_for_one_that_a_crash_has_ended(session: SessionHandle) -> None:
    """Though whoever is to make it may begin just when the agent says that it is not made."""
    for _ in range(60):
        turn = session.agent.prompt(f"{READ}\n{LONG}\n{READ}")
        until(turn, ToolResult)
        assert turn.cancel().outcome is CANCELLED
        said = session.state.messages(last=3)
        assert INTERRUPTED_CALL not in [each.content for each in said]
    check(session)


def test_before_the_model_has_said_anything(session: SessionHandle) -> None:
    """At once, and when it is asked already; of the answer nothing is kept."""
    for seconds in (0.0, 0.05):
        turn = session.agent.prompt("wait")
        time.sleep(seconds)
        assert turn.cancel().outcome is CANCELLED
        assert session.state.messages(last=1)[0].role == "user"
        check(session)


def test_between_the_calls_of_an_answer(session: SessionHandle) -> None:
    """Those that were made keep their results; those that were not say so."""
    turn = session.agent.prompt(f"{READ}\n{LONG}\n{READ}")
    until(turn, ToolResult)

    assert turn.cancel().outcome is CANCELLED

    contents = [call.result.content for call in session.state.tool_calls() if call.result]
    assert "Shop" in contents[0]
    assert "the turn was cancelled" in contents[1] or "the turn has ended" in contents[1]
    assert "not made" in contents[2]
    check(session)


def test_twice_at_once_and_after_the_end(session: SessionHandle) -> None:
    """All see the same end, and one that has ended is left as it is."""
    turn = session.agent.prompt(LONG)
    until(turn, CalledTool)
    threads = [threading.Thread(target=turn.cancel) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert turn.result().outcome is CANCELLED

    done = session.agent.prompt("say one")
    result = done.result()
    assert done.cancel() == result
    assert result.outcome is END
    check(session)


def test_at_any_instant(session: SessionHandle) -> None:
    """While it says something, while calls are made, when they are done."""
    script = f"say one\nthink two\n{READ}\n{READ}\n{RUN % 'true'}\n{READ}"
    for place in range(6):
        turn = session.agent.prompt(script)
        time.sleep(0.03 * place)
        assert turn.cancel().outcome in {CANCELLED, END}
        check(session)


def test_it_takes_no_time(session: SessionHandle) -> None:
    """Neither for a model that says nothing more nor for a command that goes on."""
    for script in ("say one\nwait", LONG):
        turn = session.agent.prompt(script)
        if script is LONG:
            eventually(lambda: [each for each in session.commands.list() if each.running])
        else:
            until(turn, TextDelta)
        began = time.monotonic()
        turn.cancel()
        assert time.monotonic() - began < QUICK
        check(session)


def test_ctrl_c_while_the_agent_starts(
    session: SessionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn that nobody has got does not go on."""

    def interrupt(_progress: TurnProgress) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TurnProgress, "wait_accepted", interrupt)
    with pytest.raises(KeyboardInterrupt):
        session.agent.prompt(LONG)
    monkeypatch.undo()

    eventually(session.state.messages)
    assert session.agent.prompt("say two", queue=True).result(timeout=60).text == "two"
    check(session)

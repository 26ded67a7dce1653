"""What a model is given to read: the project's instructions, and what is too long for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from context_models import SUMMARY
from valid_history import problems

from jidocode import (
    ContextOverflowError,
    ModelRetry,
    ModelSpec,
    SessionHandle,
    SessionSystem,
    TurnOutcome,
    allow_all,
)
from jidocode.testing import kill

ROOM = 3000
READ_BIG = 'call read_file {"path": "big.txt"}'


class Opened:
    """A session whose model reads little."""

    def __init__(self, system: SessionSystem, session: SessionHandle, notes: Path) -> None:
        self.system = system
        self.session = session
        self._notes = notes

    def asked(self) -> list[str]:
        """Return what the model was asked since this was asked last."""
        said = self._notes.read_text().split() if self._notes.exists() else []
        self._notes.unlink(missing_ok=True)
        return said

    def history(self) -> list[dict[str, Any]]:
        """Return the conversation, which is valid."""
        found = self.session.state.history()
        assert problems(found, "openai") == []
        return found


Open = Callable[..., Opened]


@pytest.fixture
def open_session(project: Path, tmp_path: Path) -> Iterator[Open]:
    """Open one; the options are those of the model, and `context_tokens`."""
    with ExitStack() as stack:

        def open_one(*, context_tokens: int | None = None, **options: Any) -> Opened:
            notes = tmp_path / "asked"
            given = {"room": ROOM, "notes": str(notes)} | options
            model = ModelSpec("context_models:SmallModel", given)
            system = stack.enter_context(
                SessionSystem(
                    policy=allow_all,
                    model=model,
                    state_dir=tmp_path / "state",
                    context_tokens=context_tokens,
                )
            )
            return Opened(system, system.create_session(project), notes)

        yield open_one


def test_what_the_server_finds_too_long_is_summarized_and_asked_again(
    open_session: Open,
) -> None:
    """Once, and nothing is dropped; the question is asked as it is."""
    opened = open_session()
    session = opened.session
    assert session.agent.prompt("say " + "x" * 1200).result().ok
    opened.asked()

    result = session.agent.prompt("say " + "y" * 1500).result()

    assert (result.outcome, result.text) == (TurnOutcome.END, "y" * 1500)
    assert opened.asked() == ["overflow", "summary", "ask"]
    summary, question, _ = opened.history()
    assert SUMMARY in str(summary["content"])
    assert question["content"] == "say " + "y" * 1500
    assert [message.role for message in session.state.messages()] == ["user", "assistant"] * 2
    assert (result.usage.calls, result.usage.input_tokens) == (2, 17)
    assert session.state.statistics().usage.input_tokens == 10 + 17


def test_who_waits_for_a_summary_hears_that_it_is_asked_for_again(open_session: Open) -> None:
    """As of an answer."""
    opened = open_session(summary="busy")
    opened.session.agent.prompt("say " + "x" * 1200).result()
    opened.asked()

    turn = opened.session.agent.prompt("say " + "y" * 1500)

    assert turn.result().ok
    assert opened.asked() == ["overflow", "summary", "summary", "ask"]
    first, *rest = turn
    assert isinstance(first, ModelRetry)
    assert not any(isinstance(each, ModelRetry) for each in rest)


def test_a_summary_in_the_middle_of_a_turn_keeps_the_list_valid(
    open_session: Open, project: Path
) -> None:
    """The calls and their results go with it; the model goes on."""
    (project / "big.txt").write_text("tea\n" * 900)
    opened = open_session()
    result = opened.session.agent.prompt(f"{READ_BIG}\n{READ_BIG}").result()

    assert result.outcome is TurnOutcome.END
    asked = opened.asked()
    assert asked[:2] == ["ask", "overflow"]
    assert asked[-2:] == ["summary", "ask"]
    assert [each["role"] for each in opened.history()] == ["user", "assistant"]
    roles = [message.role for message in opened.session.state.messages()]
    assert roles == ["user", "assistant", "tool", "tool", "assistant"]
    assert opened.session.agent.prompt("say on").result().text == "on"


def test_a_question_that_is_too_long_by_itself_ends_the_turn(open_session: Open) -> None:
    """There is nothing to summarize, before it or any more."""
    opened = open_session()
    for _ in range(2):
        result = opened.session.agent.prompt("say " + "x" * 4000).result()
        assert result.outcome is TurnOutcome.CONTEXT_OVERFLOW
        assert isinstance(result.error, ContextOverflowError)
        opened.session.state.clear_messages()
        assert opened.asked() == ["overflow"]
    assert opened.session.agent.prompt("say one").result().ok


@pytest.mark.parametrize("summary", ["nothing", "refusal", "error"])
def test_a_model_that_does_not_summarize(open_session: Open, project: Path, summary: str) -> None:
    """Before a bound the turn goes on without, and does not ask again and again; after it, ends."""
    (project / "big.txt").write_text("tea\n" * 900)
    (project / "small.txt").write_text("tea\n")
    opened = open_session(context_tokens=13, summary=summary)
    session = opened.session
    session.agent.prompt("say one").result()
    opened.asked()

    assert session.agent.prompt('call read_file {"path": "small.txt"}').result().ok
    assert opened.asked() == ["summary", "ask", "ask"]

    result = session.agent.prompt(f"{READ_BIG}\n{READ_BIG}").result()
    assert result.outcome is TurnOutcome.CONTEXT_OVERFLOW
    assert session.state.summary() is None
    opened.history()
    counted = session.state.statistics().usage
    assert counted.calls == 1 + 2 + 1 + (0 if summary == "error" else 3)


def test_how_full_it_is_survives_the_agent(open_session: Open) -> None:
    """The next one reads it off the last answer."""
    opened = open_session(context_tokens=13)
    assert opened.session.agent.prompt("say one").result().ok
    kill(opened.system, opened.session, "agent")
    opened.asked()

    assert opened.session.agent.prompt("say two").result().ok

    assert opened.asked() == ["summary", "ask"]
    assert SUMMARY in str(opened.history()[0]["content"])


def huge(file: Path) -> None:
    file.write_text("Use tabs.\n" + "x" * 20_000_000)


def binary(file: Path) -> None:
    file.write_bytes(b"Use tabs.\0" * 100)


def damaged(file: Path) -> None:
    file.write_bytes(b"Use tabs.\xff\xfe\n")


def link_out(file: Path) -> None:
    outside = file.parent.parent / "outside"
    outside.write_text("secret")
    file.symlink_to(outside)


def fifo(file: Path) -> None:
    os.mkfifo(file)


def folder(file: Path) -> None:
    file.mkdir()


def missing(file: Path) -> None:
    assert not file.exists()


def test_instructions_of_any_kind(open_session: Open, project: Path) -> None:
    """Their beginning is told if they are text in the project; else the turn goes on without."""
    opened = open_session(room=10**9)
    file = project / "AGENTS.md"
    told = dict[str, bool]()
    for make in (huge, damaged, binary, link_out, fifo, folder, missing):
        make(file)
        result = opened.session.agent.prompt("echo").result()
        assert result.ok, make
        assert "secret" not in result.text
        assert len(result.text) < 35_000
        told[make.__name__] = "Use tabs." in result.text
        opened.session.state.clear_messages()
        if file.is_dir():
            file.rmdir()
        else:
            file.unlink(missing_ok=True)

    assert {kind for kind, is_told in told.items() if is_told} == {"huge", "damaged"}

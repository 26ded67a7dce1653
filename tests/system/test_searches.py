"""Searches through a Manager: it answers meanwhile, and its end is theirs."""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jidocode import BoundaryError, CallError, InvalidRequestError, SessionHandle, SessionSystem
from jidocode.testing import eventually

# The engine's automaton has 2 to the power of 200 states then.
SLOW = "(?:a|b)*a(?:a|b){200}z"
MANY = 5
"""Answers that no Manager gives meanwhile which waits for what it does."""


@pytest.fixture
def project(project: Path) -> Path:
    """A project in which a slow pattern is busy for minutes."""
    chance = random.Random(1)  # noqa: S311 - repeatable
    text = "".join("".join(chance.choices("ab", k=999)) + "\n" for _ in range(500))
    for number in range(20):
        (project / f"slow{number:02}").write_text(text)
    (project / "words").write_text("one\ntwo\nthree\n")
    return project


def test_files_and_lines_are_found(session: SessionHandle) -> None:
    """And what is refused raises, and ends nothing."""
    manager = session.manager
    assert "words" in manager.glob("**").paths
    assert [match.text for match in manager.grep("^t", glob="words", context=1).matches] == [
        *("two", "three")
    ]
    assert "words" in str(manager.tree()).split("\n")
    with pytest.raises(InvalidRequestError):
        manager.grep("(")
    with pytest.raises(InvalidRequestError):
        manager.glob("[a")
    with pytest.raises(InvalidRequestError):
        manager.tree(depth=0)
    with pytest.raises(BoundaryError):
        manager.grep("x", path="../..")
    with pytest.raises(TypeError, match="missing"):
        manager.grep()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # on purpose
    assert manager.project_root()


def test_a_manager_answers_while_it_searches(session: SessionHandle) -> None:
    """Ten slow searches at once, each with what it got in its time."""
    manager = session.manager
    with ThreadPoolExecutor(10) as threads:
        searches = [threads.submit(manager.grep, SLOW, seconds=1) for _ in range(10)]
        answers = 0
        while not all(search.done() for search in searches):
            manager.project_root()
            answers += 1
    assert answers >= MANY
    assert {search.result().truncated for search in searches} == {"time"}


def test_a_page_leads_on_after_a_crash(system: SessionSystem, session: SessionHandle) -> None:
    """The token is all that there is to it."""
    first = session.manager.grep("o", glob="words", limit=1)
    os.kill(system.get_manager(session.id).os_pid, signal.SIGKILL)

    def rest() -> list[str] | None:
        try:
            page = session.manager.grep("o", glob="words", after=first.after)
        except CallError:
            return None
        return [match.text for match in page.matches]

    assert [match.text for match in first.matches] == ["one"]
    assert eventually(rest) == ["two"]


def test_a_search_does_not_outlive_its_session(
    system: SessionSystem, session: SessionHandle
) -> None:
    """It is stopped at once, in the middle of one, and whoever waits for it is told."""
    with ThreadPoolExecutor(2) as threads:
        searches = [threads.submit(session.manager.grep, SLOW, seconds=60) for _ in range(2)]
        session.manager.project_root()
        before = time.monotonic()
        system.stop_session(session.id)
        assert time.monotonic() - before < 20  # of sixty
        for search in searches:
            error = search.exception(timeout=10)
            assert error is None or isinstance(error, CallError)

"""A turn under way, as whoever has prompted holds it: what has come of it, and its end."""

from __future__ import annotations

import threading

import pytest

from jidocode.session.agent.handle import TurnHandle, TurnProgress
from jidocode.session.agent.messages import TurnResult
from jidocode.session.agent.model import TextDelta
from jidocode.session.agent.turn import TurnOutcome

END = TurnResult(outcome=TurnOutcome.END)


class EndsFirst(threading.Condition):
    """A lock that another thread has first, which says that the turn has ended."""

    def __init__(self, progress: TurnProgress) -> None:
        super().__init__()
        self._progress = progress
        self._is_first = True

    def __enter__(self) -> bool:
        if self._is_first:
            self._is_first = False
            self._progress.end(END)
        return super().__enter__()


def begun() -> TurnProgress:
    progress = TurnProgress("one", lambda: None)
    progress.accept()
    progress.wait_accepted()
    return progress


def test_what_has_not_been_read_is_kept_in_large_pieces() -> None:
    """And the end is after it."""
    progress = begun()
    told: list[object] = []
    with progress.changes.waking(lambda: told.append(progress.look_result())):
        for text in ("a", "b"):
            progress.put(TextDelta(text))
        assert progress.look() == (TextDelta("ab"),)
        assert progress.look() is None

        progress.put(TextDelta("c"))
        progress.end(END)
    assert list(TurnHandle(progress)) == [TextDelta("c")]
    assert told == [None, None, None, END]


def test_nothing_happens_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may have its result at that moment, in another thread."""
    progress = begun()
    monkeypatch.setattr(progress, "_driving", EndsFirst(progress))
    progress.put(TextDelta("late"))

    assert progress.look() == ()
    assert TurnHandle(progress).result() is END

"""Exit reasons, and the best one that the traces of a process give."""

from __future__ import annotations

import pickle

import pytest

from jidocode.base.exits import (
    NORMAL,
    SHUTDOWN,
    Crashed,
    ExitReason,
    Killed,
    NoProcess,
    Shutdown,
    best_reason,
    is_normal,
)

SAID = Crashed("ValueError: no", "Traceback ...")


@pytest.mark.parametrize(
    ("note", "status", "reason"),
    [
        (None, None, Killed()),
        (None, 0, Crashed("exited with status 0 and without a word")),
        (None, 3, Crashed("exited with status 3 and without a word")),
        (None, -9, Killed(9)),
        (None, -11, Killed(11)),
        (NORMAL, None, NORMAL),
        (NORMAL, 0, NORMAL),
        (SAID, 1, SAID),
        (SHUTDOWN, -9, Killed(9)),
    ],
)
def test_signal_beats_the_note_and_the_note_beats_the_status(
    note: ExitReason | None, status: int | None, reason: ExitReason
) -> None:
    """Without any trace it was killed; without a note no end is a normal one."""
    assert best_reason(note, status) == reason


@pytest.mark.parametrize(
    ("reason", "normal", "text"),
    [
        (NORMAL, True, "normal"),
        (SHUTDOWN, True, "shutdown"),
        (Shutdown("idle"), True, "shutdown (idle)"),
        (Killed(), False, "killed"),
        (Killed(9), False, "killed by signal 9"),
        (SAID, False, "crashed: ValueError: no"),
        (NoProcess(), False, "no process"),
    ],
)
def test_each_reason_says_what_it_is(reason: ExitReason, normal: bool, text: str) -> None:  # noqa: FBT001 - a column of the table
    """One line for logs; normal and shutdown are the normal ends; all of them pickle."""
    assert (is_normal(reason), str(reason)) == (normal, text)
    assert pickle.loads(pickle.dumps(reason)) == reason

"""Journals of sessions that are not open, while a signal handler raises: Ctrl-C at any moment."""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from jidocode import SessionNotFoundError, Settings
from jidocode.session.admission.admission import Place
from jidocode.session.journal.catalogue import add_record
from jidocode.session.journal.file import Journal
from jidocode.session.journal.place import journal_path
from jidocode.session.record import Session
from jidocode.system.archive import Archive


class RaisedByHandler(BaseException):
    """What the handler raises."""


@pytest.fixture
def raising() -> Iterator[None]:
    """A handler of SIGALRM that raises."""

    def handle(_signal: int, _frame: FrameType | None) -> None:
        raise RaisedByHandler

    before = signal.signal(signal.SIGALRM, handle)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def archive(tmp_path: Path, project: Path) -> Archive:
    """An archive with one session's journal."""
    archive = Archive(Settings(state_dir=tmp_path / "state"))
    session = Session.new(project_path=str(project))
    path = journal_path(archive.folder, session.id)
    Journal.open(path, create=True).close()
    add_record(path, session)
    return archive


def check(archive: Archive, session_id: str) -> None:
    archive.check_free(Place(session_id, (1, 2), frozenset()))


WAYS: dict[str, Callable[[Archive, str], Any]] = {
    "list": lambda archive, _: archive.find_all(),
    "load": lambda archive, session_id: archive.record(session_id),
    "check": check,
    "fork": lambda archive, session_id: archive.fork(session_id, upto_seq=None, name=None),
    "move": lambda archive, session_id: archive.move(
        session_id, archive.record(session_id).project_path
    ),
    "delete": lambda archive, session_id: archive.delete(session_id),
}


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is needed


@pytest.mark.usefixtures("raising")
@pytest.mark.parametrize("way", WAYS)
def test_a_handler_that_raises_just_after_a_file_was_opened_leaves_it_to_nobody(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Whichever file that is; the next call works, and so does another system's."""
    (found,) = archive.find_all()
    truly, before = os.open, descriptors()
    for last in itertools.count(1):
        opened = itertools.count(1)

        def opening(
            *args: Any, opened: Iterator[int] = opened, last: int = last, **more: Any
        ) -> int:
            fd = truly(*args, **more)
            if next(opened) == last:
                signal.raise_signal(signal.SIGALRM)
            return fd

        session_id = archive.fork(found.session_id, upto_seq=None, name=None).id
        monkeypatch.setattr(os, "open", opening)
        try:
            WAYS[way](archive, session_id)
        except RaisedByHandler:
            is_through = False
        else:
            is_through = True
        monkeypatch.undo()

        assert descriptors() == before
        with suppress(SessionNotFoundError):
            Archive(Settings(state_dir=archive.folder)).delete(session_id)
        if is_through:
            assert last > 1
            return


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("raising")
def test_a_handler_that_raises_at_any_moment_of_a_deletion_ends_that_call_only(
    archive: Archive,
) -> None:
    """Also in the middle of what keeps it from doing harm."""
    (found,) = archive.find_all()
    dice = random.Random(7)  # noqa: S311 - no secret
    before, interrupted = descriptors(), 0
    for _ in range(300):
        session_id = archive.fork(found.session_id, upto_seq=None, name=None).id
        try:
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(2e-6, 6e-4))
            archive.delete(session_id)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except RaisedByHandler:
            interrupted += 1
        with suppress(SessionNotFoundError):
            archive.delete(session_id)

    assert interrupted > 50
    assert descriptors() == before

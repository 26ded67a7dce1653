"""What `jidocode top` draws, without a terminal or a system."""

from __future__ import annotations

import io
import time
import uuid

import pytest
from rich.console import Console

from jidocode._host.transport.address import LoopbackAddress
from jidocode.base.exits import Killed
from jidocode.base.refs import ActorRef, Name
from jidocode.cli.drawing import Scene, draw
from jidocode.otp.supervision.management import ChildInfo, ChildStatus
from jidocode.otp.supervision.specs import ChildType
from jidocode.system.overview import ProcessOverview
from jidocode.system.watching import Key, Look, outline

ADDRESS = LoopbackAddress(1, 2)
ROOT = ActorRef("application", 1, 1, ADDRESS)
SESSIONS = ActorRef("sessions", 2, 3, ADDRESS)
Places = dict[ActorRef, tuple[ActorRef, Name | None]]


def places(sessions: int) -> Places:
    """Return what is known of a system with so many sessions."""
    found: Places = {ROOT: (ROOT, ("root", "jidocode"))}
    found[ActorRef("registry", 1, 2, ADDRESS)] = ROOT, ("system", "registry")
    found[SESSIONS] = ROOT, ("system", "sessions")
    for number in range(sessions):
        session_id = str(uuid.UUID(int=number, version=4))
        supervisor = ActorRef("session", number, 10 + number, ADDRESS)
        found[supervisor] = SESSIONS, ("session", session_id)
        for kind in ("manager", "state"):
            ref = ActorRef(kind, number, 100_000 + number, ADDRESS)
            found[ref] = supervisor, (kind, session_id)
    return found


def scene(known: Places, looks: dict[Key, Look], chosen: int = 0) -> tuple[Scene, list[slice]]:
    lines = outline(known, {})
    shown: list[slice] = []
    return Scene(
        name="shop",
        lines=lines,
        looks=looks,
        sessions=sum(line.is_session for line in lines),
        processes=len(lines),
        chosen=lines[chosen].key,
        changed={},
        commands=[],
        changes=["ChildExited  state\x1b[31m"] * 20,
        said="",
        show=shown.append,
    ), shown


def drawn(scene: Scene, width: int, height: int) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, force_terminal=False)
    console.print(draw(scene, width, height))
    return file.getvalue().splitlines()


def test_the_tree_is_read_off_what_is_known() -> None:
    """With those that have no process, and in the order that their supervisor says."""
    known = places(1)
    [session] = [ref for ref in known if ref.kind == "session"]
    said = [
        ChildInfo("state", None, ChildStatus.RUNNING, ChildType.WORKER, 0),
        ChildInfo("gone", None, ChildStatus.STOPPED, ChildType.WORKER, 3, Killed()),
        ChildInfo("manager", None, ChildStatus.RUNNING, ChildType.WORKER, 0),
    ]
    lines = outline(known, {session: said})
    session_id = str(uuid.UUID(int=0, version=4))

    assert [line.id for line in lines] == [
        *("jidocode", "registry", "sessions", session_id),
        *("state", "gone", "manager"),
    ]
    assert [line.drawn for line in lines[3:]] == ["   └─ ", *["      ├─ "] * 2, "      └─ "]
    assert [line.is_session for line in lines] == [line.id == session_id for line in lines]
    assert lines[5].ref is None
    assert outline({}, {}) == []


@pytest.mark.parametrize("size", [(80, 24), (140, 40), (200, 60), (30, 6), (10, 3), (1, 1)])
def test_it_fits_any_terminal(size: tuple[int, int]) -> None:
    """Nothing is wider or longer, nor writes what comes from elsewhere to the terminal."""
    width, height = size
    look, _ = scene(places(50), {})
    lines = drawn(look, width, height)

    assert all(len(line) <= width for line in lines)
    assert len(lines) <= max(height, 4)
    assert "\x1b" not in "".join(lines)


def test_a_name_from_elsewhere_writes_no_control_characters() -> None:
    """As everywhere."""
    known = places(1)
    lines = outline(known, {})
    process = ProcessOverview(
        id="x", kind="session", pid=1, status="healthy", restarts=0, session_name="\x1b[31m"
    )
    look = Look(process=process, cpu=0.97, call_rate=12.0)
    what, _ = scene(known, {line.key: look for line in lines})
    said = "\n".join(drawn(what, 140, 24))

    assert "\x1b" not in said
    assert "97%" in said


def test_thousands_of_sessions_are_bounded_work() -> None:
    """What is to be seen is looked at, and no more; the rest is read off and drawn quickly."""
    known = places(5000)
    begun = time.process_time()
    what, shown = scene(known, {}, chosen=9000)
    lines = drawn(what, 80, 24)
    seconds = time.process_time() - begun

    assert seconds < 1.0
    [window] = shown
    assert 10 < window.stop - window.start < 24
    assert window.start < 9000 < window.stop
    assert f"of {len(what.lines)}" in lines[0]

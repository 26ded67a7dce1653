"""What `jidocode tree` shows is there when it is needed most: while something hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jidocode import SessionHandle, SessionSystem
from jidocode.otp.naming.messages import REGISTRY
from jidocode.system.overview import overview
from jidocode.testing import pause

SECONDS = 2.0


@pytest.fixture
def system(tmp_path: Path) -> Iterator[SessionSystem]:
    """A system in which nothing that hangs is replaced while it is looked at."""
    with SessionSystem(
        state_dir=tmp_path / "state", call_timeout=SECONDS, heartbeat=None
    ) as system:
        yield system


def test_what_hangs_is_waited_for_once(system: SessionSystem, session: SessionHandle) -> None:
    """Though it would be asked for more; the others are shown with all that they say."""
    assert session.run("true").ok
    with pause(system, session, "state"), pause(system, session, "commands"):
        begun = time.monotonic()
        found = {each.id: each for _, each in overview(system).lines()}

    assert time.monotonic() - begun < 2 * SECONDS
    statuses = [found[each].status for each in ("manager", "state", "commands", session.id)]
    assert statuses == ["healthy", "unresponsive", "unresponsive", "degraded"]
    assert found[session.id].session_name == session.session.name
    assert found[session.id].usage is None
    assert found["commands"].commands is None


def test_the_tree_is_shown_while_the_registry_hangs(
    system: SessionSystem, session: SessionHandle
) -> None:
    """For it is a place to look at when nothing is found any more; names alone are missing."""
    with pause(system, REGISTRY):
        found = {each.id: each for _, each in overview(system).lines()}

    assert found["registry"].status == "unresponsive"
    assert (found[session.id].status, found[session.id].session_name) == ("healthy", None)

"""Whatever stands where an id, a name or a path belongs: a typed error, and a system unharmed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jidocode import (
    InvalidSessionError,
    InvalidSessionIdError,
    JidocodeError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.session.record import MAX_NAME_LENGTH

ANYTHING = (
    st.text(max_size=200)
    | st.text(min_size=5_000, max_size=5_000)
    | st.binary(max_size=50)
    | st.integers()
    | st.none()
    | st.floats()
    | st.lists(st.text(max_size=5), max_size=3)
    | st.builds(object)
)
PATHS = st.sampled_from(
    ["..", "../..", "/", "/etc/passwd", "a\0b", "", "~nobody-at-all", "src/../../x", "\udcff"]
)

BY_ID: list[Callable[[SessionSystem, Any], object]] = [
    SessionSystem.stop_session,
    SessionSystem.get_session,
    SessionSystem.session_record,
    SessionSystem.session_running,
    SessionSystem.get_manager,
    SessionSystem.get_state,
    SessionSystem.get_agent,
    SessionSystem.health_check,
    SessionSystem.resume_session,
    SessionSystem.export_session,
    SessionSystem.fork_session,
    SessionSystem.delete_session,
    lambda system, bad: system.events(bad),
    lambda system, bad: system.monitor(bad, "manager"),
    lambda system, bad: system.registered("manager", bad),
    lambda system, bad: system.get_process(bad, "manager"),
    lambda system, bad: system.cast("manager", bad, "hello"),
    lambda system, bad: system.caller("manager", bad),
    lambda system, bad: system.update_session(bad, lambda session: session),
    lambda system, bad: system.create_session(".", session_id=bad),
]

MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _told(error: BaseException) -> bool:
    """Whether *error* is bounded and on one line, as what a log may hold."""
    text = str(error)
    return len(text) < 400 and text.isprintable()


@MANY
@given(enter=st.sampled_from(BY_ID), bad=(ANYTHING | PATHS).filter(lambda bad: bad is not None))
def test_whatever_is_no_id_is_refused(
    system: SessionSystem, enter: Callable[[SessionSystem, Any], object], bad: object
) -> None:
    """By every function that takes one, with the same error."""
    with pytest.raises(InvalidSessionIdError) as refused:
        enter(system, bad)

    assert _told(refused.value)
    assert system.list_sessions() == []


@MANY
@given(bad=(ANYTHING | PATHS).filter(lambda bad: bad is not None))
def test_a_path_that_is_no_open_project_is_refused(system: SessionSystem, bad: Any) -> None:
    """Or nothing is open there; never another error."""
    with pytest.raises((InvalidSessionError, SessionNotFoundError)) as refused:
        system.find_session(path=bad)

    assert _told(refused.value)


@MANY
@given(bad=ANYTHING.filter(lambda bad: bad is not None))
def test_a_name_that_nothing_has_is_refused_or_not_found(system: SessionSystem, bad: Any) -> None:
    """By the rules for names first; what is no name is sent to nobody."""
    with pytest.raises((InvalidSessionError, SessionNotFoundError)) as refused:
        system.find_session(name=bad)

    assert _told(refused.value)
    if not isinstance(bad, str) or len(bad) > MAX_NAME_LENGTH:
        assert isinstance(refused.value, InvalidSessionError)


@MANY
@given(name=ANYTHING)
def test_a_name_that_breaks_a_rule_is_refused_and_a_good_one_is_kept_to_the_letter(
    session: SessionHandle, name: Any
) -> None:
    """And a refused one changes nothing."""
    before = session.session.name
    error: InvalidSessionError | None = None
    try:
        session.rename(name)
    except InvalidSessionError as refused:
        error = refused

    assert session.session.name == (name if error is None else before)
    assert error is None or _told(error)


@MANY
@given(path=ANYTHING | PATHS)
def test_whatever_path_the_manager_is_asked_for_it_lives(session: SessionHandle, path: Any) -> None:
    """It answers or refuses, in the same process."""
    manager = session.which_children()[0].ref
    with contextlib.suppress(JidocodeError, OSError, TypeError, ValueError):
        session.manager.read_file(path)

    assert session.manager.session() == session.session
    assert session.which_children()[0].ref == manager

"""Whatever stands where an id, a name or a path belongs: a typed error, and a system unharmed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from jidocode import (
    InvalidSessionError,
    InvalidSessionIdError,
    JidocodeError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.session.record import MAX_NAME_LENGTH, new_session_id

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

BAD_IDS = [
    None,
    b"",
    "",
    "\0",
    "id\nwith a newline",
    7,
    "x" * 1_000_000,
    "123E4567-E89B-42D3-A456-426614174000",
    "../../../../etc/passwd",
]

Enter = Callable[[SessionSystem, Any], object]

BY_OPEN_ID: list[Enter] = [
    SessionSystem.stop_session,
    SessionSystem.get_session,
    SessionSystem.session_record,
    SessionSystem.get_manager,
    SessionSystem.get_state,
    SessionSystem.get_agent,
    SessionSystem.health_check,
]
BY_ID: list[Enter] = [
    *BY_OPEN_ID,
    SessionSystem.session_running,
    SessionSystem.resume_session,
    SessionSystem.export_session,
    SessionSystem.fork_session,
    SessionSystem.delete_session,
    lambda system, bad: system.get_process(bad, "manager"),
    lambda system, bad: system.update_session(bad, lambda session: session),
]
BY_OPTIONAL_ID: list[Enter] = [
    SessionSystem.events,
    lambda system, bad: system.create_session(".", session_id=bad),
]

MANY = settings(max_examples=150)


def _told(error: BaseException) -> bool:
    """Whether *error* is bounded and on one line, as what a log may hold."""
    text = str(error)
    return len(text) < 400 and text.isprintable()


def test_malformed_ids_are_refused_everywhere(system: SessionSystem) -> None:
    """By type, length and characters, before anybody is asked; the system is unharmed."""
    for enter in BY_ID:
        for bad in BAD_IDS:
            with pytest.raises(InvalidSessionIdError) as refused:
                enter(system, bad)

            assert len(str(refused.value)) < 300
            assert "\n" not in str(refused.value)
    for enter in BY_OPTIONAL_ID:
        for bad in BAD_IDS[1:]:
            with pytest.raises(InvalidSessionIdError):
                enter(system, bad)
    assert system.list_sessions() == []


def test_unknown_ids_are_not_found(system: SessionSystem) -> None:
    """With the id in the error."""
    unknown = new_session_id()
    for enter in BY_OPEN_ID:
        with pytest.raises(SessionNotFoundError, match=unknown):
            enter(system, unknown)

    assert not system.session_running(unknown)
    assert system.whereis(("manager", unknown)) is None


@MANY
@given(
    enter=st.sampled_from(BY_ID + BY_OPTIONAL_ID),
    bad=(ANYTHING | PATHS).filter(lambda bad: bad is not None),
)
def test_whatever_is_no_id_is_refused(system: SessionSystem, enter: Enter, bad: object) -> None:
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

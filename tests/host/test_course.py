"""The states of a link: what may follow on what, whatever order the news come in."""

from __future__ import annotations

from hypothesis import given, strategies as st

from jidocode._host.transport.course import (
    LONGEST_PAUSE,
    MAX_ATTEMPTS,
    TABLE,
    Course,
    Event,
    State,
)

events = st.lists(st.sampled_from(Event))


def course_in(state: State) -> Course:
    course = Course()
    course.state = state
    return course


def test_every_state_has_a_row_and_every_event_a_use() -> None:
    """The table is whole."""
    assert set(TABLE) == set(State)
    assert {event for row in TABLE.values() for event in row} == set(Event)


@given(st.sampled_from(State), st.sampled_from(Event))
def test_what_is_not_in_the_table_changes_nothing(state: State, event: Event) -> None:
    """And is told from what is."""
    course = course_in(state)
    happened = course.take(event)

    assert happened == (event in TABLE[state])
    assert course.state is TABLE[state].get(event, state)
    assert course.attempts == (happened and event is Event.PAUSE)


@given(events)
def test_a_link_that_has_retired_stays_so(news: list[Event]) -> None:
    """Late news wake nothing up."""
    course = course_in(State.RETIRED)

    assert not any(course.take(event) for event in news)
    assert course.state is State.RETIRED


@given(events)
def test_a_link_retires_from_anywhere(news: list[Event]) -> None:
    """A closed messenger can always end it."""
    course = Course()
    for event in news:
        course.take(event)
    course.take(Event.RETIRE)

    assert course.state is State.RETIRED


@given(events)
def test_nothing_is_written_from_a_break_to_the_next_attempt(news: list[Event]) -> None:
    """Whatever else is reported meanwhile: a full kernel, one that takes more, the break again."""
    course = Course()
    course.take(Event.BREAK)
    others = [event for event in news if event not in (Event.PAUSE, Event.RETIRE)]
    for event in others:
        course.take(event)

    assert course.is_broken
    assert not course.writes


def test_many_reports_of_one_break_are_one() -> None:
    """Each thread that meets it reports it; the link is repaired once."""
    course = Course()
    course.take(Event.CONNECT)
    reports = [course.take(Event.BREAK) for _ in range(3)]
    course.take(Event.PAUSE)
    late = [course.take(event) for event in (Event.BREAK, Event.DRAIN, Event.PAUSE)]

    assert reports == [True, False, False]
    assert late == [False] * 3
    assert course.attempts == 1
    assert course.take(Event.REOPEN)
    assert course.writes


def test_attempts_become_rarer_and_end_unless_something_arrives() -> None:
    """From a millisecond to a second."""
    course = Course()
    pauses: list[float] = []
    while not course.is_hopeless:
        course.take(Event.BREAK)
        pauses.append(course.pause())
        course.take(Event.PAUSE)
        course.take(Event.REOPEN)
    course.succeeded()

    assert len(pauses) == MAX_ATTEMPTS
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.001
    assert pauses[-1] == LONGEST_PAUSE
    assert not course.is_hopeless

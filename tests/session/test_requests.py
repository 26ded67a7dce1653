"""Operations: declared once, typed and described for whoever asks, an allow-list for the server."""

from __future__ import annotations

import inspect
import os
import pickle
import typing
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from jidocode.base.exits import SHUTDOWN
from jidocode.errors import CallError
from jidocode.otp.server.results import Refuse, Reply
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.manager.client import ManagerClient
from jidocode.session.manager.operations import OPERATIONS as MANAGER_OPERATIONS, SEARCHES
from jidocode.session.manager.server import Manager
from jidocode.session.manager.snapshots import NAMES as SNAPSHOT_NAMES
from jidocode.session.project.files import Project
from jidocode.session.requests import SESSION_OPERATIONS, Client, Operations, Request, request
from jidocode.session.snapshots.reverting import SNAPSHOTS
from jidocode.session.state import operations as state_operations
from jidocode.session.state.client import StateClient
from jidocode.session.state.operations import OPERATIONS as STATE_OPERATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from jidocode.session.record import Session

OFFERS: list[tuple[type[Client], dict[str, Callable[..., object]]]] = [
    (
        ManagerClient,
        {
            **SESSION_OPERATIONS.by_name,
            **MANAGER_OPERATIONS.by_name,
            **SEARCHES.by_name,
            **SNAPSHOTS.by_name,
        },
    ),
    (StateClient, {**SESSION_OPERATIONS.by_name, **STATE_OPERATIONS.by_name}),
]


class Counter:
    """A holder: what it counts to is asked for, how it is made is not."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, number: int, *, times: int = 1) -> int:
        """Add, and return the count."""
        if number < 0:
            raise ValueError(number)
        self.count += number * times
        return self.count

    def reset(self) -> None:
        self.count = 0


COUNTER: Operations[Counter] = Operations(Counter.add)


# ----- answering --------------------------------------------------------------


def test_an_operation_in_the_list_is_carried_out() -> None:
    """By the name that travels, on what the server holds."""
    counter = Counter()
    sent = pickle.loads(pickle.dumps(request(Counter.add, 3, times=2)))

    assert COUNTER.answer(sent, counter) == Reply(6)
    assert counter.count == 6


@pytest.mark.parametrize(
    "asked",
    [
        request(Counter.reset),
        Request[int]("__init__"),
        Request[int]("count"),
        Request[int](""),
        Request[int](typing.cast("str", ["add"])),
        Request[int](typing.cast("str", None)),
        ("add", (1,), {}),
        "add",
        None,
    ],
)
def test_what_is_not_in_the_list_is_out_of_reach(asked: object) -> None:
    """A holder's other methods, its attributes, and what is no request at all."""
    counter = Counter()
    counter.add(1)

    assert COUNTER.answer(asked, counter) is None
    assert counter.count == 1


@pytest.mark.parametrize(
    "asked",
    [
        Request[int]("add"),
        Request[int]("add", (1, 2)),
        Request[int]("add", (1,), {"number": 1}),
        Request[int]("add", (1,), {"hidden": True}),
        Request[int]("add", (1,), typing.cast("dict[str, Any]", {1: 1})),
        Request[int]("add", typing.cast("tuple[Any]", None)),
    ],
)
def test_arguments_that_do_not_fit_are_refused(asked: Request[int]) -> None:
    """As any function refuses them; it is the caller's mistake, and no crash."""
    counter = Counter()
    answer = COUNTER.answer(asked, counter)

    assert isinstance(answer, Refuse)
    assert type(answer.error) is TypeError
    assert counter.count == 0


@pytest.mark.parametrize(("number", "error"), [("x", TypeError), (-1, ValueError)])
def test_a_bug_of_an_operation_is_a_crash(number: Any, error: type[Exception]) -> None:
    """Also a TypeError, if the arguments did fit."""
    with pytest.raises(error):
        COUNTER.answer(request(Counter.add, number), Counter())


NAMES = st.text(max_size=8) | st.sampled_from([*dir(Project), *dir(Manager)])
VALUES = st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3) | st.just("src")


@given(
    name=NAMES | st.sampled_from([*MANAGER_OPERATIONS.by_name, *SEARCHES.by_name, *SNAPSHOT_NAMES]),
    args=st.lists(VALUES, max_size=3).map(tuple),
    kwargs=st.dictionaries(st.sampled_from(["path", "offset", "content", "x"]), VALUES),
)
def test_no_request_ends_a_manager(
    wire: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Whatever is asked, it is answered or refused."""
    try:
        wire(Request(name, args, kwargs))
    except (CallError, TypeError):
        pass
    except Exception as error:  # noqa: BLE001 - the refusals of the contract
        assert isinstance(error, OSError) or type(error).__module__ == "jidocode.errors"  # noqa: PT017 - either outcome is fine

    assert wire.exit is None


@pytest.fixture
def wire(connect: Any, session: Session, folder: Path) -> Iterator[Any]:
    """The way to a Manager whose project has a folder."""
    (folder / "src").mkdir()
    wire = connect(Manager, session)
    yield wire
    wire.stop(SHUTDOWN)


# ----- asking -----------------------------------------------------------------


def test_a_request_shows_no_argument() -> None:
    """It may show up in an error or a log, and what it carries is the user's."""
    asked = request(Project.write_file, "secret.txt", content="secret")

    assert repr(asked) == "Request(operation='write_file')"


@pytest.mark.parametrize(("client", "offer"), OFFERS)
def test_a_client_asks_for_what_its_process_answers(
    client: type[Client], offer: dict[str, Callable[..., object]]
) -> None:
    """Each method made of an operation is in the list, under its name."""
    operations = [
        method.__wrapped__
        for _, method in inspect.getmembers(client)
        if hasattr(method, "__wrapped__")
    ]

    assert len(operations) > 3
    for operation in operations:
        assert offer[operation.__name__] is operation


def asked_by(client: type[Client], method: str, *args: Any, **kwargs: Any) -> Request[Any]:
    """Return what a method of *client* sends."""
    sent: list[Request[Any]] = []

    def channel(request: Request[Any], /, *, timeout: float | None = None) -> Any:
        del timeout
        sent.append(request)

    getattr(client(typing.cast("Any", channel)), method)(*args, **kwargs)
    (request,) = sent
    return request


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("append_message", ("user", "x")),
        ("begin_stream", ()),
        ("end_stream", ("id",)),
        ("add_reasoning_step", ("x",)),
        ("add_tool_call", ("run",)),
        ("add_prompt", ("x",)),
    ],
)
def test_a_method_written_by_hand_asks_for_what_its_process_answers(
    method: str, args: tuple[Any, ...]
) -> None:
    """With arguments that the operation takes."""
    sent = asked_by(StateClient, method, *args)
    operation = STATE_OPERATIONS.by_name[sent.operation]

    assert sent.operation == method
    assert operation is getattr(Conversation, method)
    inspect.signature(operation).bind(None, *sent.args, **sent.kwargs)


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("take_snapshot", ("x",)),
        ("snapshots", ()),
        ("changes_since", (1,)),
        ("diff", ("path",)),
        ("revert", (["path"],)),
    ],
)
def test_a_method_that_knows_an_operation_by_name_has_its_arguments(
    method: str, args: tuple[Any, ...]
) -> None:
    """And its defaults; and the names are those that a Manager knows."""
    sent = asked_by(ManagerClient, method, *args)
    operation = SNAPSHOTS.by_name[sent.operation]
    inspect.signature(operation).bind(None, *sent.args, **sent.kwargs)

    _, *here = inspect.signature(getattr(ManagerClient, method)).parameters.values()
    _, *there = inspect.signature(operation).parameters.values()
    assert here == there
    assert frozenset(SNAPSHOTS.by_name) == SNAPSHOT_NAMES


def test_fresh_ids_differ() -> None:
    """Two appends without an id are two messages."""
    first, second = (asked_by(StateClient, "append_message", "user", "x") for _ in range(2))

    assert first.args[0] != second.args[0]
    assert first.args[1:] == second.args[1:]


# ----- what can be read off an operation --------------------------------------


@pytest.mark.parametrize(("client", "offer"), OFFERS)
def test_an_operation_says_all_that_a_tool_or_a_page_needs(
    client: type[Client], offer: dict[str, Callable[..., object]]
) -> None:
    """Its name, its arguments with their types, what it answers, and a docstring."""
    del client
    for name, operation in offer.items():
        hints = typing.get_type_hints(operation, localns={"os": os})
        _, *parameters = inspect.signature(operation).parameters.values()

        assert operation.__name__ == name
        assert (operation.__doc__ or "").strip()
        assert "return" in hints
        assert {parameter.name for parameter in parameters} <= set(hints)


def test_a_client_shows_the_signature_and_the_docstring_of_the_operation() -> None:
    """To help() and to editors; what a server holds is none of its arguments."""
    client = StateClient(typing.cast("Any", None))

    assert str(inspect.signature(client.messages)) == (
        "(*, after_seq: 'int' = 0, limit: 'int' = 100, last: 'int | None' = None)"
        " -> 'list[Message]'"
    )
    assert client.messages.__doc__ == Conversation.messages.__doc__
    assert client.append_chunk.__doc__ == state_operations.append_chunk.__doc__
    assert "holder" not in typing.get_type_hints(StateClient.append_chunk)


def test_help_shows_what_a_client_takes() -> None:
    """Not what the server holds."""
    shown = str(inspect.signature(ManagerClient.project_root))

    assert shown == "(self, /) -> 'str'"
    assert list(inspect.signature(ManagerClient.write_file).parameters)[:3] == [
        "self",
        "path",
        "content",
    ]

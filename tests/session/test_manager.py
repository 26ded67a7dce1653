"""The Manager as a server: requests in, answers and refusals out, and it goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
from attrs import evolve

from jidocode.base.exits import SHUTDOWN, Crashed
from jidocode.errors import (
    BoundaryError,
    CallError,
    FileChangedError,
    HandlerError,
    InvalidRequestError,
    InvalidSessionError,
    JidocodeError,
)
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.manager import server as module
from jidocode.session.manager.client import ManagerClient
from jidocode.session.manager.server import Manager
from jidocode.session.project.editing import Edit
from jidocode.session.project.files import Project
from jidocode.session.record import Session, new_session_id
from jidocode.session.requests import Operations, Request, request, update_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jidocode.base.exits import ExitReason
    from jidocode.otp.server.gen_server import GenServer

Connect = Callable[["type[GenServer]", Session], Any]


@pytest.fixture
def wire(connect: Connect, session: Session) -> Iterator[Any]:
    """The way to a Manager; its folder is let go at the end."""
    before = descriptors()
    wire = connect(Manager, session)
    yield wire
    if wire.exit is None:
        wire.stop(SHUTDOWN)
    assert descriptors() == before


@pytest.fixture
def manager(wire: Any) -> ManagerClient:
    """A Manager's client."""
    return ManagerClient(wire)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number is what is wanted


def test_files_go_through_the_manager(manager: ManagerClient, folder: Path) -> None:
    """Write, read with offset and limit, list, validate: by path in the project."""
    assert manager.project_root() == str(folder)
    assert manager.write_file("src/main.py", "one\ntwo\nthree\n").path == "src/main.py"
    assert manager.read_file("src/main.py", offset=2, limit=1).text == "two\n"
    assert manager.read_text("src/main.py").text == "one\ntwo\nthree\n"
    assert manager.write_bytes("src/logo", b"\0\xff").path == "src/logo"
    assert manager.read_bytes("src/logo", offset=1).data == b"\xff"
    assert [entry.name for entry in manager.list_directory().entries] == ["src"]
    assert [entry.name for entry in manager.list_directory("src").entries] == ["logo", "main.py"]
    assert manager.append_file("src/main.py", "four\n").size == 19
    assert manager.edit_file("src/main.py", Edit("four", "4"), Edit("one", "1")).replacements == 2
    assert manager.read_file("src/main.py").text == "1\ntwo\nthree\n4\n"
    assert manager.mkdir("doc/new") == "doc/new"
    assert manager.copy("src", "doc/src", recursive=True) == "doc/src"
    assert manager.move("doc/src/logo", "logo") == "logo"
    assert (manager.stat("logo").kind, manager.stat("logo").size) == ("file", 2)
    assert manager.remove("doc", recursive=True) == 4
    assert manager.validate_path("src/new.py") == str(folder / "src" / "new.py")


# What is asked (method, arguments, keyword arguments), and what it raises.
REFUSALS: list[tuple[tuple[str, list[Any], dict[str, Any]], type[Exception]]] = [
    (("read_file", ["gone"], {}), FileNotFoundError),
    (("read_file", ["."], {}), IsADirectoryError),
    (("list_directory", ["gone"], {}), FileNotFoundError),
    (("read_file", ["../secret"], {}), BoundaryError),
    (("read_file", ["/etc/passwd"], {}), BoundaryError),
    (("list_directory", [".."], {}), BoundaryError),
    (("write_file", ["..", "x"], {}), BoundaryError),
    (("validate_path", ["../x"], {}), BoundaryError),
    (("read_file", [None], {}), BoundaryError),
    (("read_file", ["x"], {"offset": 0}), InvalidRequestError),
    (("read_text", ["x"], {"encoding": 7}), FileNotFoundError),
    (("read_text", ["../secret"], {}), BoundaryError),
    (("read_bytes", ["../secret"], {}), BoundaryError),
    (("read_bytes", ["x"], {"offset": -1}), InvalidRequestError),
    (("write_file", ["x", 7], {}), InvalidRequestError),
    (("write_file", ["x", ""], {"encoding": "hex"}), InvalidRequestError),
    (("write_file", ["x", ""], {"encoding": 7}), InvalidRequestError),
    (("write_file", ["x", ""], {"newline": []}), InvalidRequestError),
    (("write_file", ["../x", "y"], {"in_place": True}), BoundaryError),
    (("write_bytes", ["x", "y"], {}), InvalidRequestError),
    (("write_bytes", ["../x", b"y"], {}), BoundaryError),
    (("write_file", ["x", "y"], {"if_sha256": "x"}), InvalidRequestError),
    (("write_file", ["x", "y"], {"if_sha256": "0" * 64}), FileChangedError),
    (("append_file", ["../x", "y"], {}), BoundaryError),
    (("edit_file", ["x", Edit("a", "b")], {}), FileNotFoundError),
    (("edit_file", ["../secret", Edit("a", "b")], {}), BoundaryError),
    (("edit_file", ["x"], {"count": 7}), TypeError),
    (("stat", ["../secret"], {}), BoundaryError),
    (("mkdir", ["../secret"], {}), BoundaryError),
    (("remove", ["../secret"], {"recursive": True}), BoundaryError),
    (("remove", ["."], {"recursive": True}), BoundaryError),
    (("move", ["../secret", "x"], {}), BoundaryError),
    (("copy", ["../secret", "x"], {}), BoundaryError),
]


@pytest.mark.parametrize(("ask", "error"), REFUSALS)
def test_a_refusal_reaches_the_caller_and_the_manager_goes_on(
    wire: Any,
    manager: ManagerClient,
    ask: tuple[str, list[Any], dict[str, Any]],
    error: type[Exception],
) -> None:
    """Expected failures are answers, not crashes; types survive the way."""
    method, args, options = ask
    with pytest.raises(error) as caught:
        getattr(manager, method)(*args, **options)

    assert caught.type is error
    assert wire.exit is None
    assert manager.list_directory().entries == ()


def test_what_it_does_not_know_is_refused(
    wire: Any, manager: ManagerClient, session: Session
) -> None:
    """Also a State's request, and the Manager goes on."""
    alien = request(Conversation.messages)
    asked: list[object] = [None, "read_file", object, alien, Request[None]("close")]
    for question in asked:
        with pytest.raises(CallError):
            wire(question)

    assert wire.exit is None
    assert manager.session() == session


def divide(holder: Project) -> float:
    """An operation with a bug."""
    return len(holder.root) / 0


def test_an_unexpected_error_ends_the_manager(wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor decides what then; the caller gets the traceback."""
    monkeypatch.setattr(module, "OPERATIONS", Operations(divide))
    with pytest.raises(HandlerError, match="ZeroDivisionError"):
        wire(request(divide))

    assert isinstance(wire.exit, Crashed)


def test_a_later_record_is_taken_and_an_earlier_one_is_not(
    wire: Any, manager: ManagerClient, session: Session
) -> None:
    """Updates may arrive twice and out of order."""
    renamed = session.rename("market")
    again = renamed.update_config({"model": "m"})

    assert wire(request(update_session, again)) == again
    assert wire(request(update_session, renamed)) == again
    assert manager.session() == again


def test_a_record_of_another_session_or_project_is_refused(
    wire: Any, manager: ManagerClient, session: Session, tmp_path: Path
) -> None:
    """An update cannot move a session."""
    other = Session.new(project_path=tmp_path, session_id=session.id)
    alien = Session.new(project_path=session.project_path, session_id=new_session_id())
    for record in [other, alien]:
        with pytest.raises(InvalidRequestError, match="another session or project"):
            wire(request(update_session, record))

    assert manager.session() == session


@pytest.mark.parametrize("field", ["name", "config", "updated_at"])
def test_a_record_that_breaks_a_rule_is_refused(
    wire: Any, manager: ManagerClient, session: Session, field: str
) -> None:
    """A bare record is not trusted for being one."""
    nothing: dict[str, Any] = {field: None}
    broken = evolve(session, **nothing)
    with pytest.raises(InvalidSessionError) as caught:
        wire(request(update_session, broken))

    assert caught.value.codes == (f"invalid_{field}",)
    assert manager.session() == session


def test_a_record_can_be_updated_while_the_folder_is_away(
    wire: Any, session: Session, folder: Path
) -> None:
    """Otherwise Manager, State and registry would come to disagree."""
    folder.rename(folder.with_name("elsewhere"))

    assert wire(request(update_session, session.rename("market"))).name == "market"


@pytest.mark.parametrize(
    ("replaced", "code"), [(False, "cannot be used"), (True, "another directory stands")]
)
def test_a_folder_gone_or_replaced_fails_the_start(
    connect: Connect, session: Session, folder: Path, *, replaced: bool, code: str
) -> None:
    """With the typed error in the reason; no descriptor stays."""
    folder.rename(folder.with_name("elsewhere"))
    if replaced:
        folder.mkdir()
    before = descriptors()
    failure: ExitReason = connect(Manager, session).failure

    assert isinstance(failure, Crashed)
    assert "InvalidSessionError" in failure.error
    assert code in failure.error
    assert descriptors() == before


def test_a_restart_pins_the_same_folder_again(connect: Connect, session: Session) -> None:
    """The record is all a Manager needs."""
    first = connect(Manager, session)
    ManagerClient(first).write_file("file", "kept")
    first.stop(SHUTDOWN)
    second = connect(Manager, session)

    assert ManagerClient(second).read_file("file").text == "kept"
    assert first.exit == SHUTDOWN
    second.stop(SHUTDOWN)


def test_refusals_are_errors_of_ours_or_of_the_system(manager: ManagerClient) -> None:
    """Whoever catches `JidocodeError` and OSError has caught all of them."""
    for path in ["", "..", "x" * 5000, "gone", ".", "a\0b", cast("str", b"x")]:
        with pytest.raises((JidocodeError, OSError)):
            manager.read_file(path)

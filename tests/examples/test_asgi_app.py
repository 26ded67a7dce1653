"""The web app, served as a user would serve it, and asked as its page asks; see `tests/browser`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from web_app import Listener, WebApp, web_app

from jidocode.testing import eventually


def state_of(listener: Listener, restarts: int) -> dict[str, Any]:
    """Return the State once it is well and has restarted so often."""
    for kind, data in listener:
        if kind == "processes":
            (state,) = (each for each in data["children"] if each["id"] == "state")
            if (state["status"], state["restarts"]) == ("healthy", restarts):
                return dict(state)
    pytest.fail("the stream has ended")


def text_of(messages: list[dict[str, Any]]) -> str:
    return "".join(each["text"] for each in messages)


def until_ended(listener: Listener) -> list[dict[str, Any]]:
    """Return what is said until a command has ended."""
    found = listener.said(1)
    while "ended" not in found[-1]:
        found += listener.said(1)
    return found


def test_sessions_are_followed_killed_and_resumed(tmp_path: Path) -> None:
    """Two tabs, a command whose State is killed, a reload, a restart of the server by SIGTERM."""
    with web_app(tmp_path / "kept") as app:
        one, other = (app.post("/sessions")["session"] for _ in range(2))
        assert one != other
        listener = app.follow(one)
        before = state_of(listener, restarts=0)

        app.post(f"/sessions/{one}/messages", {"text": "hällo <b>"})
        (said,) = listener.said(1)
        number = listener.last_id
        assert (said["role"], said["text"]) == ("user", "hällo <b>")

        go = "echo one; until [ -e go ]; do sleep 0.05; done; echo two >&2; exit 3"
        app.post(f"/sessions/{one}/commands", {"text": go})
        command, first = listener.said(2)
        assert (command["text"], first["text"]) == (go, "one\n")
        assert first["command"] == command["command"]
        assert app.post(f"/sessions/{one}/kill")["killed"] == before["pid"]
        after = state_of(listener, restarts=1)
        assert after["pid"] != before["pid"]

        app.post(f"/sessions/{one}/commands", {"text": "touch go"})
        rest = until_ended(listener) + until_ended(listener)
        by_command = [each for each in rest if each["command"] == command["command"]]
        assert text_of(by_command) == "two\n"
        assert by_command[-1]["ended"] == "exit code 3"

        again = app.follow(one, after=number)  # as a browser does that connects again
        assert again.said(2) == [command, first]
        assert app.post("/sessions", {"session": one})["session"] == one

        children = Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()
        log = app.stop(signal.SIGTERM)  # with two streams open
        assert list(listener)[-1:] == []  # they have ended as answers do
        assert "Application shutdown complete" in log
        assert "Traceback" not in log
        assert "Cancel" not in log
        assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
        again.close()
        listener.close()

    with web_app(tmp_path / "kept") as app:
        assert app.post("/sessions", {"session": one})["session"] == one
        listener = app.follow(one)
        assert listener.said(3) == [said, command, first]
        listener.close()
        listener = app.follow(other)
        app.post(f"/sessions/{other}/commands", {"text": "echo alone; sleep 1000"})
        assert text_of(listener.said(2)[1:]) == "alone\n"
        app.stop(signal.SIGKILL)  # nothing is left then either, which every test looks for
        listener.close()


def test_whatever_clients_do_it_goes_on_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    """They ask for nonsense, kill State again and again, go away, and follow to the end."""
    with web_app(tmp_path / "kept") as app:
        session = app.post("/sessions")["session"]
        app.post(f"/sessions/{session}/messages", {"text": "kept"})
        what_is_not_in_order_is_refused(app, session)
        a_session_that_gave_up_is_opened_again_by_who_follows_it(app, session)
        clients_that_are_gone_leave_nothing(app, session)
        listener = app.follow(session)
        app.post(f"/sessions/{session}/commands", {"text": "echo here; sleep 1000"})
        listener.said(3)
        assert "Traceback" not in app.stop(signal.SIGINT)
        listener.close()


def what_is_not_in_order_is_refused(app: WebApp, session: str) -> None:
    """What another site's page would send, what is no text, sessions that are nowhere."""
    path, unknown = f"/sessions/{session}/messages", f"{session[:-8]}00000000"
    json = {"content-type": "application/json"}
    answers = [
        app.ask("POST", path, {"text": "x"}, {"content-type": "text/plain"}),
        app.ask("POST", path, {"text": "x"}, json | {"host": "evil.example"}),
        app.ask("POST", path, ["x"]),
        app.ask("POST", path, {"text": 7}),
        app.ask("POST", path, {"text": "x" * 2_000_000}),
        app.ask("POST", "/sessions/nothing/messages", {"text": "x"}),
        app.ask("GET", f"/sessions/{unknown}/live"),
    ]
    assert [status for status, _ in answers] == [415, 400, 400, 400, 400, 404, 404]
    assert app.post("/sessions", {"session": unknown})["session"] not in {session, unknown}


def a_session_that_gave_up_is_opened_again_by_who_follows_it(app: WebApp, session: str) -> None:
    """However often its State is killed."""
    for number in range(6):
        app.post(f"/sessions/{session}/kill")
        assert eventually(lambda: said_first(app, session), f"answer {number}") == "kept"


def clients_that_are_gone_leave_nothing(app: WebApp, session: str) -> None:
    """No stream, and so no descriptor."""
    folder = Path(f"/proc/{app.pid}/fd")
    before = len(list(folder.iterdir()))
    for _ in range(30):
        said_first(app, session)
    most = before + 10  # the connections to the session's processes stay
    eventually(lambda: len(list(folder.iterdir())) <= most, "the end of all streams")


def said_first(app: WebApp, session: str) -> str:
    """Return what was said first; nothing if the session ends meanwhile."""
    listener = app.follow(session)
    try:
        return text_of(listener.said(1))
    finally:
        listener.close()


def test_a_client_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    """Not what others are told, and not the end of the server."""
    with web_app(tmp_path / "kept") as app:
        session = app.post("/sessions")["session"]
        stalled = app.follow(session)
        for _ in range(10):
            app.post(f"/sessions/{session}/messages", {"text": "x" * 900_000})
        app.post(f"/sessions/{session}/commands", {"text": "yes | head -c 3000000"})
        listener = app.follow(session)
        assert len(text_of(listener.said(10))) == 9_000_000
        said = until_ended(listener)
        assert said[-1]["ended"] == "exit code 0"
        assert 1_000_000 <= len(text_of(said)) < 1_200_000
        assert said[-2]["text"] == "\n[the rest is left out]\n"
        app.stop(signal.SIGTERM)
        stalled.close()
        listener.close()

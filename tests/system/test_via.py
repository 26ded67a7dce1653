"""Who is registered under a key of a `Registry`, as a target, in real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from async_servers import Desk
from peers import Peer
from registrants import SHARED, UNIQUE, ref_of, registrant, registries
from servers import Group

from jidocode import (
    CallError,
    CallTimeoutError,
    NoProcessError,
    StartFailedError,
)
from jidocode.otp import (
    Application,
    ChildSpec,
    ChildType,
    Flags,
    Response,
    Start,
    Via,
    management,
    registry,
    start,
)
from jidocode.testing import eventually

A, PEER, ASYNC, GROUP = ("registrant", "a"), ("peer", "p"), ("async", "p"), ("group", "all")
FIRST, NOBODY = Via(UNIQUE, "first"), Via(UNIQUE, ("no", "body"))


@pytest.fixture
def app() -> Iterator[Application]:
    """A registry of each kind, who has the key `first`, and a server that does as it is told."""
    with start(
        *registries(),
        ChildSpec(
            id="group",
            start=Start(Group, Flags(max_restarts=100), [registrant("a", "first")]),
            type=ChildType.SUPERVISOR,
            name=GROUP,
        ),
        Peer.child_spec(id="peer", name=PEER),
        Desk.child_spec(id="async", name=ASYNC),
    ) as running:
        yield running


def test_an_app_reaches_who_has_a_key(app: Application) -> None:
    """By whatever can be done to a name, and by the ref of the registry as by its name."""
    a = ref_of(app, A)
    assert app.whereis(FIRST) == a
    assert app.call(FIRST, "pid") == app.begin_call(FIRST, "pid").result() == a.os_pid
    assert app.call(Via(ref_of(app, UNIQUE), "first"), "pid") == a.os_pid
    app.send(FIRST, "hello")
    assert app.call(FIRST, "heard") == ["hello"]
    monitor = app.monitor(FIRST)
    app.stop(FIRST)
    down = monitor.wait(20)
    assert down is not None
    assert down.ref == a
    again = eventually(lambda: app.whereis(FIRST), "the next life")
    assert again != a
    assert app.call(FIRST, "pid") == again.os_pid


@pytest.mark.parametrize("way", ["do", "in thread"])
def test_a_server_reaches_who_has_a_key(app: Application, way: str) -> None:
    """From its callbacks, and from its threads."""
    a = ref_of(app, A)
    for target in (FIRST, Via(ref_of(app, UNIQUE), "first")):
        assert app.call(PEER, (way, "call", target, "pid")) == a.os_pid
        assert app.call(PEER, (way, "whereis", target)) == a
    app.call(PEER, (way, "send", FIRST, "hello"))
    eventually(lambda: app.call(FIRST, "heard") == ["hello"], "what was sent")
    app.call(PEER, (way, "send_request", FIRST, "pid"))
    [response] = eventually(lambda: app.call(PEER, "seen"), "the response")
    assert (response.value, response.error) == (a.os_pid, None)


def test_an_answer_in_parts_comes_from_who_has_a_key(app: Application) -> None:
    """Nobody having it is an error of the iterator, within a server, and of the line in an app."""
    assert list(app.call_stream(FIRST, ("parts", 3))) == [0, 1, 2]
    assert app.call(PEER, ("do", "parts_of", FIRST, ("parts", 40))) == list(range(40))
    with pytest.raises(NoProcessError):
        app.call_stream(NOBODY, ("parts", 3))
    with pytest.raises(NoProcessError):
        app.call(PEER, ("do", "parts_of", NOBODY, ("parts", 3)))


def test_an_async_server_reaches_who_has_a_key(app: Application) -> None:
    """As any other does."""
    assert app.call(ASYNC, ("whereis", FIRST)) == ref_of(app, A)


@pytest.mark.parametrize("way", ["do", "in thread"])
def test_a_key_that_nobody_has_is_no_process(app: Application, way: str) -> None:
    """To a call; a cast and a message are lost in silence, as they are to a name."""
    for where in (NOBODY, Via(("registry", "none"), "first")):
        assert app.whereis(where) is None
        assert app.call(PEER, (way, "whereis", where)) is None
        with pytest.raises(NoProcessError):
            app.call(where, "pid")
        with pytest.raises(NoProcessError):
            app.monitor(where)
        with pytest.raises(NoProcessError):
            app.call(PEER, (way, "call", where, "pid"))
        app.cast(where, "hello")
        app.send(where, "hello")
        app.call(PEER, (way, "cast", where, "hello"))
        app.call(PEER, (way, "send", where, "hello"))
    with pytest.raises(NoProcessError, match=r"^no process for 'second' in registry unique$"):
        app.call(Via(UNIQUE, "second"), "pid")
    app.call(PEER, (way, "send_request", NOBODY, "pid"))
    [response] = eventually(lambda: app.call(PEER, "seen"), "the response")
    assert isinstance(response, Response)
    assert isinstance(response.error, NoProcessError)


def test_a_key_is_looked_up_each_time(app: Application) -> None:
    """So who has it now is reached, and nobody who has died under it, however lately."""
    for _ in range(5):
        monitor = app.monitor(FIRST)
        os.kill(monitor.ref.os_pid, signal.SIGKILL)
        assert monitor.wait(20)
        before = monitor.ref
        assert app.whereis(FIRST) != before
        after = eventually(lambda: app.whereis(FIRST), "the next life")
        assert app.call(PEER, ("do", "call", FIRST, "pid")) == after.os_pid
    app.call(A, ("unregister", UNIQUE, "first"))
    assert app.whereis(FIRST) is None
    with pytest.raises(NoProcessError):
        app.call(PEER, ("do", "call", FIRST, "pid"))


def test_a_child_whose_key_is_taken_does_not_start(app: Application) -> None:
    """For it registers itself in its `init`; the error says who has the key."""
    holder = ref_of(app, A)
    with pytest.raises(
        StartFailedError, match=rf"pid {holder.os_pid}\) is registered under 'first'"
    ):
        management.start_child(app, GROUP, registrant("b", "first"))


def test_a_shared_key_is_no_target(app: Application) -> None:
    """For there may be several behind it."""
    app.call(A, ("register", SHARED, "topic"))
    for target in (Via(SHARED, "topic"), Via(SHARED, "nobody")):
        with pytest.raises(TypeError, match="duplicate keys"):
            app.call(target, "pid")
        with pytest.raises(TypeError, match="duplicate keys"):
            app.call(PEER, ("do", "call", target, "pid"))
    with pytest.raises(CallError, match="does not know"):
        app.call(Via(PEER, "first"), "pid")


def test_what_cannot_be_a_key_is_said_in_the_callers_line(app: Application) -> None:
    """And harms nobody."""
    for wrong in (Via(UNIQUE, ["list"]), Via("unique", "first"), Via(FIRST, "first")):  # type: ignore[arg-type] # on purpose
        with pytest.raises(TypeError):
            app.call(wrong, "pid")
        with pytest.raises(TypeError):
            app.whereis(wrong)
    with pytest.raises(CallError, match="cannot be pickled"):
        app.call(Via(UNIQUE, lambda: None), "pid")
    assert app.call(PEER, ("in thread", "call_under_a_lambda", UNIQUE)) == "CallError"
    assert app.call(PEER, ("do", "call_under_a_lambda", UNIQUE)) == "CallError"


def test_a_registry_that_dies_or_hangs_is_named(app: Application) -> None:
    """For it is what fails, and not who has the key."""
    ref = ref_of(app, UNIQUE)
    os.kill(ref.os_pid, signal.SIGSTOP)
    for asked, request in ((FIRST, "pid"), (PEER, ("do", "call", FIRST, "pid", {"timeout": 0.2}))):
        with pytest.raises(CallTimeoutError, match=r"^registry unique did not answer"):
            app.call(asked, request, timeout=0.2 if asked == FIRST else None)
    app.call(PEER, ("do", "send_request", FIRST, "pid"))
    os.kill(ref.os_pid, signal.SIGKILL)
    [response] = eventually(lambda: app.call(PEER, "seen"), "the response")
    with pytest.raises(NoProcessError, match="registry unique"):  # the next one is asked
        raise response.error
    ref = ref_of(app, UNIQUE)
    os.kill(ref.os_pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(app.call, FIRST, "pid", timeout=20)
        eventually(lambda: app._running.client.calls, "the question")
        os.kill(ref.os_pid, signal.SIGKILL)
        with pytest.raises(NoProcessError, match="registry unique"):
            waiting.result(20)
    assert registry.lookup(app, UNIQUE, "first") == []
    with pytest.raises(NoProcessError):
        app.call(FIRST, "pid")

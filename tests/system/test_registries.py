"""Registries in an app's own tree, in real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from registrants import SHARED, UNIQUE, ref_of, registrant, registries
from servers import Group

from jidocode import (
    AlreadyRegisteredError,
    CallError,
    HostStartError,
    NotRegisteredError,
)
from jidocode.otp import (
    Application,
    ChildSpec,
    ChildType,
    Flags,
    Registry,
    Restart,
    Start,
    Strategy,
    management,
    registry,
    start,
)
from jidocode.otp.registry.messages import LookUp
from jidocode.testing import eventually, kill

A, B, GROUP = ("registrant", "a"), ("registrant", "b"), ("group", "all")


@pytest.fixture
def app() -> Iterator[Application]:
    """A registry of each kind, and two processes; the first has the key `first`."""
    with start(
        *registries(),
        ChildSpec(
            id="group",
            start=Start(
                Group, Flags(max_restarts=100), [registrant("a", "first"), registrant("b")]
            ),
            type=ChildType.SUPERVISOR,
            name=GROUP,
        ),
    ) as running:
        yield running


def test_a_unique_key_has_one_process(app: Application) -> None:
    """Which everybody finds, and which nobody else can be."""
    a, b = ref_of(app, A), ref_of(app, B)
    [entry] = registry.lookup(app, UNIQUE, "first")
    assert (entry.key, entry.ref, entry.value) == ("first", a, a.os_pid)
    for name in (B, A):
        with pytest.raises(AlreadyRegisteredError, match="'first'") as error:
            app.call(name, ("register", UNIQUE, "first"))
        assert error.value.ref == a
    app.call(B, ("register", UNIQUE, ("x", 1), "value"))
    app.call(B, ("update_value", UNIQUE, ("x", 1), "new"))

    assert registry.values(app, UNIQUE, ("x", 1), b) == ["new"]
    assert registry.keys(app, UNIQUE, a) == ["first"]
    assert [entry.ref for entry in registry.entries(app, UNIQUE)] == [a, b]
    assert registry.count(app, UNIQUE) == 2
    app.call(A, ("unregister", UNIQUE, "first"))
    app.call(A, ("unregister", UNIQUE, "first"))
    app.call(B, ("register", UNIQUE, "first"))
    assert [entry.ref for entry in registry.lookup(app, UNIQUE, "first")] == [b]
    with pytest.raises(NotRegisteredError):
        app.call(A, ("update_value", UNIQUE, "first", 1))


def test_a_shared_key_has_any_number(app: Application) -> None:
    """A process may be there more than once, and what is dispatched reaches it as often."""
    a, b = ref_of(app, A), ref_of(app, B)
    assert (registry.count(app, SHARED), registry.entries(app, SHARED)) == (0, [])
    for name, value in ((A, 1), (B, 2), (A, 3)):
        app.call(name, ("register", SHARED, "topic", value))
    assert [(e.ref, e.value) for e in registry.lookup(app, SHARED, "topic")] == [
        *((a, 1), (b, 2), (a, 3)),
    ]
    assert registry.keys(app, SHARED, a) == ["topic", "topic"]
    assert registry.dispatch(app, SHARED, "topic", "news") == 3
    assert registry.dispatch(app, SHARED, "nobody", "news") == 0

    assert eventually(lambda: app.call(A, "heard") == ["news", "news"], "the news")
    assert app.call(B, "heard") == ["news"]
    app.call(A, ("update_value", SHARED, "topic", 4))
    assert registry.values(app, SHARED, "topic", a) == [4, 4]
    app.call(A, ("unregister", SHARED, "topic"))
    assert [entry.ref for entry in registry.lookup(app, SHARED, "topic")] == [b]


def test_the_dead_hold_nothing(app: Application) -> None:
    """The next life finds its key free, however soon it comes, and so does anybody else."""
    for _ in range(5):
        before = kill(app, A).ref
        app.call(A, "pid")
        assert [entry.ref != before for entry in registry.lookup(app, UNIQUE, "first")] == [True]
    management.start_child(app, GROUP, registrant("c", "c", restart=Restart.TEMPORARY))
    kill(app, ("registrant", "c"))
    app.call(B, ("register", UNIQUE, "c"))

    assert registry.lookup(app, UNIQUE, "c")[0].ref == ref_of(app, B)


def test_nobody_registers_somebody_else(app: Application) -> None:
    """A registry believes a process about itself alone."""

    class Pretender:
        ref = ref_of(app, A)
        call = app.call

    with pytest.raises(TypeError, match="can only be registered by itself"):
        registry.register(Pretender(), UNIQUE, "stolen")
    with pytest.raises(TypeError, match="unhashable"):
        app.call(A, ("register", UNIQUE, ["no", "key"]))
    with pytest.raises(TypeError, match="unhashable"):
        registry.lookup(app, UNIQUE, ["no", "key"])  # type: ignore[arg-type] # on purpose
    with pytest.raises(CallError, match="is no Hashable"):
        app.call(UNIQUE, LookUp(["no", "key"]))  # type: ignore[arg-type] # on purpose
    with pytest.raises(CallError, match="does not know"):
        app.call(UNIQUE, "hello")
    assert registry.count(app, UNIQUE) == 1


def test_a_listener_hears_what_comes_and_goes(app: Application) -> None:
    """In order, also of the dead; until it wants no more."""
    app.call(B, ("listen", UNIQUE))
    app.call(A, ("register", UNIQUE, "second", 2))
    app.call(A, ("unregister", UNIQUE, "second"))
    before = kill(app, A).ref.os_pid
    eventually(lambda: len(app.call(B, "heard")) == 4, "what has happened")
    after = app.call(A, "pid")
    assert app.call(B, "heard") == [
        *(("+", "second", 2), ("-", "second", 2)),
        *(("-", "first", before), ("+", "first", after)),
    ]
    app.call(B, ("unlisten", UNIQUE))
    app.call(A, ("register", UNIQUE, "third"))
    assert len(app.call(B, "heard")) == 4


def test_something_can_be_kept_beside_a_registry(app: Application) -> None:
    """As long as that lives."""
    registry.put_meta(app, UNIQUE, "limit", 10)
    assert registry.get_meta(app, UNIQUE, "limit") == 10
    registry.put_meta(app, UNIQUE, "limit", None)
    assert registry.get_meta(app, UNIQUE, "limit") is None


def test_a_registry_that_restarts_is_empty() -> None:
    """Under rest_for_one those that registered in `init` come back with it."""
    with pytest.raises(HostStartError, match="'unique' or 'duplicate'"):
        start(Registry.child_spec("some"))
    children = [Registry.child_spec("unique", name=UNIQUE), registrant("a", "first")]
    group = ChildSpec(
        id="group",
        start=Start(Group, Flags(strategy=Strategy.REST_FOR_ONE), children),
        type=ChildType.SUPERVISOR,
    )
    with start(group) as app:
        old = registry.lookup(app, UNIQUE, "first")[0].ref
        kill(app, UNIQUE)
        new = eventually(lambda: registry.lookup(app, UNIQUE, "first"), "the next life")[0].ref
        assert new != old

"""Supervisors whose children come and go, and partitions."""

from __future__ import annotations

import itertools

from scenarios import Difference, scenario
from stage import HOWS, How, Stage, down, dynamic, worker

from jidocode.otp import Partitions
from jidocode.otp.management import start_child, terminate_child

PARTS = Partitions("parts", 3)


@scenario("dynamic: at most max_children")
def _(stage: Stage) -> None:
    top = stage.start(dynamic(max_children=2))
    start_child(stage.app, top, worker("a"))
    for each in "bc":
        stage.answer(f"start {each}", start_child, top, worker(each))
    stage.answer("terminate a", terminate_child, top, "a")
    stage.answer("start c", start_child, top, worker("c"))
    stage.counts(top)


@scenario("dynamic: terminate_child of one that is not there")
def _(stage: Stage) -> None:
    top = stage.start(dynamic())
    start_child(stage.app, top, worker("a"))
    for _ in range(2):
        stage.answer("terminate a", terminate_child, top, "a")
    stage.counts(top)


@scenario("dynamic, {}: {}", each=itertools.product(("permanent", "transient", "temporary"), HOWS))
def _(stage: Stage, restart: str, how: How) -> None:
    top = stage.start(dynamic())
    start_child(stage.app, top, worker("a", restart=restart))
    start_child(stage.app, top, worker("b"))
    stage.child_ends(top, "a", how)
    stage.counts(top)


@scenario("dynamic: all children stop at once")
def _(stage: Stage) -> None:
    top = stage.start(dynamic())
    for number in "123":
        start_child(stage.app, top, worker("a", terminate=3, id=number))
    monitor = stage.app.monitor(top)
    stage.stop(top)
    stage.note(f"top {down(monitor)}")


@scenario("dynamic: a start that fails, or ignores, keeps nothing")
def _(stage: Stage) -> None:
    top = stage.start(dynamic())
    for how in ("raise", "stop", "ignore"):
        stage.answer("start", start_child, top, worker(how, init={1: how}))
    stage.counts(top)


@scenario("dynamic: one restart too many")
def _(stage: Stage) -> None:
    top = stage.start(dynamic(max_restarts=1))
    start_child(stage.app, top, worker("a"))
    start_child(stage.app, top, worker("b"))
    stage.child_ends(top, "a", "kill")
    monitor = stage.app.monitor(top)
    stage.ends(stage.child(top, "b"), "kill")
    stage.note(f"top {down(monitor)}")


@scenario("dynamic: a restart that fails is tried again")
def _(stage: Stage) -> None:
    top = stage.start(dynamic())
    start_child(stage.app, top, worker("a", init={2: "raise", 3: "raise"}))
    stage.child_ends(top, "a", "crash")
    stage.counts(top)


@scenario("dynamic: a child that ignores at its restart is forgotten")
def _(stage: Stage) -> None:
    top = stage.start(dynamic())
    start_child(stage.app, top, worker("a", init={2: "ignore"}))
    stage.child_ends(top, "a", "crash")
    stage.counts(top)


@scenario(
    "dynamic: two children with one id",
    Difference(
        ["init a", "start a: started", "specs 2 active 2 supervisors 0 workers 2"],
        ["start a: already started, it lives", "specs 1 active 1 supervisors 0 workers 1"],
        "its children have ids, and ids are unique",
    ),
)
def _(stage: Stage) -> None:
    top = stage.start(dynamic())
    for _ in range(2):
        stage.answer("start a", start_child, top, worker("a"))
    stage.counts(top)


@scenario("partitions: one that dies is replaced alone")
def _(stage: Stage) -> None:
    top = stage.start(PARTS.child_spec(worker("a")))
    stage.counts(top)
    refs = [stage.app.whereis(PARTS.name_of(key)) for key in range(4)]
    same = str(refs[3] == refs[0]).lower()
    stage.note(f"key 3 is with key 0: {same}")
    stage.child_ends(top, "1", "kill")
    now = [stage.app.whereis(PARTS.name_of(key)) for key in range(3)]
    kept = ", ".join(str(one == two).lower() for one, two in zip(now, refs, strict=False))
    stage.note(f"the same: [{kept}]")
    stage.stop(top)

"""Supervisors whose children are known in advance."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from scenarios import Difference, scenario
from stage import HOWS, STAGE, How, Stage, abc, down, supervisor, try_start, worker

from jidocode.otp import BRUTAL_KILL, Application, Normal
from jidocode.otp.management import (
    delete_child,
    get_childspec,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)

GROUPS = [("one_for_all",), ("rest_for_one",)]

# Start and stop


@scenario("start in order, stop in reverse")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", abc()))
    stage.note("started")
    monitor = stage.app.monitor(top)
    stage.stop(top)
    stage.note(f"top {down(monitor)}")


@scenario("stop of a whole tree")
def _(stage: Stage) -> None:
    inner = supervisor("inner", [worker("b"), worker("c")])
    top = stage.start(supervisor("top", [worker("a"), inner, worker("d")]))
    stage.counts(top)
    monitor = stage.app.monitor(top)
    stage.app.stop(top, Normal())
    stage.note(f"top {down(monitor)}")


@scenario("stop: brutal_kill and a time-out")
def _(stage: Stage) -> None:
    middle = [worker("b", shutdown=BRUTAL_KILL), worker("c", shutdown=0.05, terminate="hang")]
    top = stage.start(supervisor("top", [worker("a"), *middle, worker("d")]))
    monitors = {each: stage.app.monitor(stage.child(top, each)) for each in "abcd"}
    stage.stop(top)
    for each, monitor in monitors.items():
        stage.note(f"{each} {down(monitor)}")


@scenario("stop: what waits in the mailbox is handled first")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", [worker("a")]))
    stage.app.cast(stage.child(top, "a"), "hold")
    stage.until("a holds")
    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(stage.answer, "terminate a", terminate_child, top, "a")
        stage.note("open")
        stopped.result()


@scenario("start: {} in the init of the middle child", each=[("raise",), ("stop",), ("ignore",)])
def _(stage: Stage, how: str) -> None:
    children = [worker("a"), worker("b", init={1: how}), worker("c")]
    stage.answer("start", try_start, supervisor("top", children))
    if how == "ignore":
        [top] = [each.ref for each in which_children(stage.app, STAGE)]
        assert top is not None
        stage.children(top)
        stage.counts(top)


@scenario("start: a temporary child that ignores is forgotten")
def _(stage: Stage) -> None:
    child = worker("a", restart="temporary", init={1: "ignore"})
    stage.children(stage.start(supervisor("top", [child])))


@scenario("start: a grandchild fails")
def _(stage: Stage) -> None:
    inner = supervisor("inner", [worker("b"), worker("c", init={1: "raise"})])
    stage.answer("start", try_start, supervisor("top", [worker("a"), inner, worker("d")]))


@scenario("start: two children with one id")
def _(stage: Stage) -> None:
    stage.answer("start", try_start, supervisor("top", [worker("a"), worker("b"), worker("a")]))


# Who is restarted


@scenario(
    "{}: {} of {}",
    each=itertools.product(
        ("one_for_one", "one_for_all", "rest_for_one"), ("crash", "kill"), ("a", "b", "c")
    ),
)
def _(stage: Stage, strategy: str, how: How, victim: str) -> None:
    top = stage.start(supervisor("top", abc(), strategy=strategy))
    stage.child_ends(top, victim, how)
    stage.children(top)


@scenario("{}: {}", each=itertools.product(("permanent", "transient", "temporary"), HOWS))
def _(stage: Stage, restart: str, how: How) -> None:
    children = [worker("a"), worker("b", restart=restart), worker("c")]
    top = stage.start(supervisor("top", children))
    stage.child_ends(top, "b", how)
    stage.children(top)
    stage.counts(top)


@scenario("{}: a temporary sibling is forgotten", each=GROUPS)
def _(stage: Stage, strategy: str) -> None:
    children = [worker("a"), worker("b", restart="temporary"), worker("c")]
    top = stage.start(supervisor("top", children, strategy=strategy))
    stage.child_ends(top, "a", "crash")
    stage.children(top)


@scenario("{}: a stopped and a finished sibling start again", each=GROUPS)
def _(stage: Stage, strategy: str) -> None:
    children = [worker("a"), worker("b"), worker("c", restart="transient")]
    top = stage.start(supervisor("top", children, strategy=strategy))
    stage.answer("terminate b", terminate_child, top, "b")
    stage.child_ends(top, "c", "normal")
    stage.children(top)
    stage.child_ends(top, "a", "kill")
    stage.children(top)


@scenario("{}: a sibling fails to start again", each=GROUPS)
def _(stage: Stage, strategy: str) -> None:
    children = [worker("a"), worker("b"), worker("c", init={2: "raise"}), worker("d")]
    top = stage.start(supervisor("top", children, strategy=strategy))
    stage.child_ends(top, "b", "crash")
    stage.children(top)


@scenario(
    "a killed supervisor: its children",
    Difference(["terminate a killed"], [], "the children of a killed supervisor are killed"),
)
def _(stage: Stage) -> None:
    inner = supervisor("inner", [worker("a")], restart="temporary")
    top = stage.start(supervisor("top", [inner]))
    ref = stage.child(top, "inner")
    monitor = stage.app.monitor(stage.child(ref, "a"))
    stage.ends(ref, "kill")
    stage.note(f"a {down(monitor)}")


# How many restarts


@scenario("one restart too many: the supervisor ends, and is started again")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", [supervisor("inner", abc(), max_restarts=1)]))
    first = stage.child(top, "inner")
    stage.child_ends(first, "a", "crash")
    stage.children(first)
    monitor = stage.app.monitor(first)
    stage.ends(stage.child(first, "b"), "kill")
    reason = down(monitor)
    stage.settled(top, first)
    stage.note(f"inner {reason}")
    stage.children(stage.child(top, "inner"))


@scenario("no restart allowed")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", abc(), max_restarts=0))
    monitor = stage.app.monitor(top)
    stage.ends(stage.child(top, "b"), "crash")
    stage.note(f"top {down(monitor)}")


@scenario("no restart allowed: none is needed for what ends well")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", [worker("a", restart="transient")], max_restarts=0))
    stage.child_ends(top, "a", "shutdown")
    stage.children(top)


@scenario("the budget is that of all children")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", abc(), max_restarts=2))
    for each in "ab":
        stage.child_ends(top, each, "kill")
    monitor = stage.app.monitor(top)
    stage.ends(stage.child(top, "c"), "kill")
    stage.note(f"top {down(monitor)}")


@scenario("a group restart counts once")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", abc(), strategy="one_for_all", max_restarts=1))
    stage.child_ends(top, "b", "kill")
    monitor = stage.app.monitor(top)
    stage.ends(stage.child(top, "b"), "kill")
    stage.note(f"top {down(monitor)}")


@scenario("it goes up level by level")
def _(stage: Stage) -> None:
    inner = supervisor("inner", [worker("a")], max_restarts=0)
    top = stage.start(supervisor("top", [inner, worker("b")], max_restarts=1))
    first = stage.child(top, "inner")
    stage.ends(stage.child(first, "a"), "crash")
    stage.settled(top, first)
    monitor = stage.app.monitor(top)
    stage.ends(stage.child(stage.child(top, "inner"), "a"), "crash")
    stage.note(f"top {down(monitor)}")


@scenario("a restart that fails is tried again")
def _(stage: Stage) -> None:
    children = [worker("a", init={2: "raise", 3: "stop"}), worker("b")]
    top = stage.start(supervisor("top", children))
    stage.child_ends(top, "a", "crash")
    stage.children(top)


@scenario("restarts that fail use up the budget")
def _(stage: Stage) -> None:
    fails = dict.fromkeys(range(2, 10), "raise")
    top = stage.start(supervisor("top", [worker("a"), worker("b", init=fails)], max_restarts=2))
    monitor = stage.app.monitor(top)
    stage.ends(stage.child(top, "b"), "kill")
    stage.note(f"top {down(monitor)}")


@scenario("a child that ignores at its restart stays down")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", [worker("a", init={2: "ignore"})]))
    stage.child_ends(top, "a", "crash")
    stage.children(top)


# Requests


@scenario("start_child")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", [worker("a"), worker("b")]))
    stage.answer("start c", start_child, top, worker("c"))
    stage.answer("start a", start_child, top, worker("a"))
    stage.answer("terminate b", terminate_child, top, "b")
    stage.answer("start b", start_child, top, worker("b"))
    stage.answer("start d", start_child, top, worker("d", init={1: "raise"}))
    stage.answer("start e", start_child, top, worker("e", init={1: "ignore"}))
    stage.children(top)
    stage.counts(top)


@scenario("restart_child and delete_child")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", [worker("a"), worker("b", init={2: "raise"})]))
    stage.answer("restart a", restart_child, top, "a")
    stage.answer("delete a", delete_child, top, "a")
    for _ in range(2):
        stage.answer("terminate a", terminate_child, top, "a")
    stage.answer("restart a", restart_child, top, "a")
    stage.answer("terminate b", terminate_child, top, "b")
    stage.answer("restart b", restart_child, top, "b")
    stage.children(top)
    stage.answer("delete b", delete_child, top, "b")
    stage.answer("restart b", restart_child, top, "b")
    stage.answer("delete b", delete_child, top, "b")
    stage.answer("terminate b", terminate_child, top, "b")
    stage.answer("get spec of b", get_childspec, top, "b")
    stage.children(top)


@scenario("a temporary child that is terminated is forgotten")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", [worker("a", restart="temporary"), worker("b")]))
    for _ in range(2):
        stage.answer("terminate a", terminate_child, top, "a")
    stage.answer("restart a", restart_child, top, "a")
    stage.answer("start a", start_child, top, worker("a"))
    stage.children(top)


@scenario("a child that is started again by hand keeps its place")
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", abc()))
    stage.answer("terminate b", terminate_child, top, "b")
    stage.answer("restart b", restart_child, top, "b")
    stage.stop(top)


@scenario(
    "which_children: its own order",
    Difference(["c, b, a"], ["a, b, c"], "`which_children` is in start order"),
)
def _(stage: Stage) -> None:
    top = stage.start(supervisor("top", abc()))
    stage.note(", ".join(child.id for child in which_children(stage.app, top)))


@scenario("count_children of what runs and what does not")
def _(stage: Stage) -> None:
    ends = worker("c", restart="transient")
    top = stage.start(supervisor("top", [supervisor("a", []), worker("b"), ends]))
    stage.child_ends(top, "c", "normal")
    terminate_child(stage.app, top, "a")
    stage.counts(top)


# Significant children


@scenario(
    "{}: {} of a {} child",
    each=[
        ("any_significant", "normal", "transient"),
        ("any_significant", "shutdown x", "transient"),
        ("any_significant", "crash", "transient"),
        ("any_significant", "kill", "temporary"),
        ("all_significant", "normal", "transient"),
        ("all_significant", "crash", "temporary"),
    ],
)
def _(stage: Stage, auto: str, how: How, restart: str) -> None:
    significant: dict[str, Any] = {"restart": restart, "significant": True}
    children = [worker("a", **significant), worker("b"), worker("c", **significant)]
    top = stage.start(supervisor("top", children, auto_shutdown=auto))
    if how == "crash" and restart == "transient":
        stage.child_ends(top, "a", how)
        stage.children(top)
        return
    monitor = stage.app.monitor(top)
    # the supervisor that ends for the first one ends both
    for each in "a" if auto == "any_significant" else "ac":
        stage.ends(stage.child(top, each), how)
    stage.note(f"top {down(monitor)}")


@scenario("significant: neither a plain child nor terminate_child ends it")
def _(stage: Stage) -> None:
    significant = worker("a", restart="transient", significant=True)
    plain = worker("b", restart="transient")
    top = stage.start(supervisor("top", [significant, plain], auto_shutdown="any_significant"))
    stage.child_ends(top, "b", "normal")
    stage.answer("terminate a", terminate_child, top, "a")
    stage.children(top)


@scenario("significant: a supervisor that ended itself ends the one above")
def _(stage: Stage) -> None:
    options: dict[str, Any] = {"restart": "transient", "significant": True}
    auto = "any_significant"
    inner = supervisor("inner", [worker("a", **options)], auto_shutdown=auto, **options)
    top = stage.start(supervisor("top", [worker("b"), inner], auto_shutdown=auto))
    monitor = stage.app.monitor(top)
    stage.ends(stage.child(stage.child(top, "inner"), "a"), "normal")
    stage.note(f"top {down(monitor)}")


@scenario("significant: refused where nothing comes of it")
def _(stage: Stage) -> None:
    significant = worker("a", restart="transient", significant=True)
    stage.answer("start", try_start, supervisor("top", [significant]))

    def start_permanent(app: Application) -> object:
        permanent = worker("a", significant=True)
        return try_start(app, supervisor("top", [permanent], auto_shutdown="any_significant"))

    stage.answer("start", start_permanent)

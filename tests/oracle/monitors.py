"""What a monitor says of each way to end."""

from __future__ import annotations

from typing import Any, ClassVar

from scenarios import scenario
from stage import HOWS, How, Noting, Stage, describe, down, supervisor, worker

from jidocode.otp import BRUTAL_KILL, Caller, Down, Reply
from jidocode.otp.management import terminate_child


class Watcher(Noting):
    """A process that watches others."""

    kind: ClassVar[str] = "watcher"

    def handle_call(self, request: Any, caller: Caller) -> Reply:
        del caller
        match request:
            case ("monitor", ref):
                return Reply(self.monitor(ref))
            case ("demonitor", token):
                self.demonitor(token)
                return Reply()
            case _:
                raise ValueError(request)

    def handle_info(self, message: Any) -> None:
        assert isinstance(message, Down)
        self.note(f"down: {describe(message.reason)}")


@scenario("monitor: {}", each=[(how,) for how in HOWS])
def _(stage: Stage, how: How) -> None:
    a = stage.start(worker("a"))
    watcher = stage.start(Watcher.child_spec())
    stage.call(watcher, ("monitor", a))
    reason = stage.ends(a, how)
    stage.until(f"down: {reason}")
    stage.note(reason)


@scenario("monitor: dead already")
def _(stage: Stage) -> None:
    a = stage.start(worker("a"))
    stage.ends(a, "shutdown")
    stage.note(down(stage.app.monitor(a)))
    stage.call(stage.start(Watcher.child_spec()), ("monitor", a))
    stage.until("down: noproc")


@scenario("monitor: each monitor tells once, and none that was taken back")
def _(stage: Stage) -> None:
    a = stage.start(worker("a"))
    watcher = stage.start(Watcher.child_spec())
    for _ in range(2):
        stage.call(watcher, ("monitor", a))
    stage.call(watcher, ("demonitor", stage.call(watcher, ("monitor", a))))
    stage.ends(a, "kill")
    stage.until("down: killed", 2)
    stage.call(watcher, ("monitor", a))
    stage.until("down: noproc")


@scenario(
    "monitor: stopped by its supervisor, {}",
    each=[
        ("in time", {}),
        ("too late", {"shutdown": 0.05, "terminate": "hang"}),
        ("brutally", {"shutdown": BRUTAL_KILL}),
        ("and its terminate raises", {"terminate": "raise"}),
    ],
)
def _(stage: Stage, _name: str, options: dict[str, Any]) -> None:
    top = stage.start(supervisor("top", [worker("a", **options)]))
    monitor = stage.app.monitor(stage.child(top, "a"))
    stage.answer("terminate a", terminate_child, top, "a")
    stage.note(down(monitor))


@scenario(
    "monitor: of a supervisor whose child cannot start again: {}", each=[("stop",), ("raise",)]
)
def _(stage: Stage, how: str) -> None:
    top = stage.start(supervisor("top", [worker("a", init=dict.fromkeys(range(2, 10), how))]))
    monitor = stage.app.monitor(top)
    stage.ends(stage.child(top, "a"), "crash")
    stage.note(down(monitor))

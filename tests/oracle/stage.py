"""What the scenarios need: `stage.exs` in Python, with jidocode's public names.

A journal of what happens, a worker that does as it is told, and one word for each answer and
reason. Each scenario is written twice, under one name; both note the same lines, but for the
differences that it declares (`scenarios.py`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Literal

from attrs import evolve

from jidocode import CallError, HandlerError, Monitor, otp, testing
from jidocode.errors import (
    ActorExitedError,
    AlreadyPresentError,
    AlreadyStartedError,
    CallTimeoutError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    MaxChildrenError,
    NoProcessError,
    StartFailedError,
    SupervisorError,
)
from jidocode.otp import (
    ActorRef,
    Application,
    Caller,
    ChildSpec,
    ChildStatus,
    Crashed,
    DynamicFlags,
    DynamicSupervisor,
    ExitReason,
    Flags,
    GenServer,
    Ignore,
    Killed,
    NoProcess,
    NoReply,
    Normal,
    Reply,
    Restart,
    Shutdown,
    Stop,
    Supervisor,
    Target,
    management,
)
from jidocode.otp.server.results import InitResult, Result

PATIENCE = 10.0
JOURNAL, STAGE = ("journal", "all"), ("stage", "all")

How = Literal["normal", "shutdown", "shutdown x", "crash", "kill"]
HOWS: tuple[How, ...] = ("normal", "shutdown", "shutdown x", "crash", "kill")
REASONS: Mapping[str, ExitReason] = {
    "normal": Normal(),
    "shutdown": Shutdown(),
    "shutdown x": Shutdown("x"),
}


class Journal(GenServer):
    """The lines that were observed, in the order in which they were."""

    kind: ClassVar[str] = "journal"

    def init(self) -> None:
        self.lines: list[str] = []
        self.waiting: list[tuple[str, int, Caller]] = []

    def handle_call(self, request: Any, caller: Caller) -> Reply | NoReply:
        match request:
            case ("note", str() as line):
                self.lines.append(line)
                count = self.lines.count(line)
                for each in [each for each in self.waiting if each[0] == line and each[1] <= count]:
                    self.waiting.remove(each)
                    self.reply(each[2], None)
                return Reply(count)
            case ("until", line, times):
                if self.lines.count(line) >= times:
                    return Reply()
                self.waiting.append((line, times, caller))
                return NoReply()
            case "take":
                lines, self.lines, self.waiting = self.lines, [], []
                return Reply(lines)
            case _:
                raise ValueError(request)


class Noting(GenServer):
    """A server that notes things."""

    def note(self, line: str) -> int:
        """Note a line; return how often it is there now, which tells a process its life."""
        count: int = self.call(JOURNAL, ("note", line), timeout=PATIENCE)
        return count

    def until(self, line: str, times: int = 1) -> None:
        """Return once the line is there so many times."""
        self.call(JOURNAL, ("until", line, times), timeout=PATIENCE)


class Worker(Noting):
    """Notes its life: *plan* says what `init` does in which one, *end* what `terminate` does."""

    kind: ClassVar[str] = "worker"

    def init(self, text: str, plan: Mapping[int, str], end: str | int) -> InitResult:
        self.text, self.end = text, end
        match plan.get(self.note(f"init {text}")):
            case "raise":
                raise RuntimeError("told to")
            case "stop":
                return Stop(Crashed("told to"))
            case "ignore":
                return Ignore()
            case _:
                return None

    def handle_cast(self, request: Any) -> Result:
        match request:
            case ("end", "crash"):
                raise RuntimeError("told to")
            case ("end", how):
                return Stop(REASONS[how])
            case "hold":  # has two messages in its mailbox when it lets itself be stopped
                for text in ("one", "two"):
                    self.cast(self.ref, ("say", text))
                self.note(f"{self.text} holds")
                self.until("open")
            case ("say", text):
                self.note(f"{self.text} {text}")
            case _:
                raise ValueError(request)
        return None

    def terminate(self, reason: ExitReason) -> None:
        self.note(f"terminate {self.text} {describe(reason)}")
        match self.end:
            case "hang":
                signal.pause()
            case "raise":
                raise RuntimeError("told to")
            case int() as number if number:  # returns only if so many are in theirs at once
                self.until(f"terminate {self.text} shutdown", number)
            case _:
                pass


class Group(Supervisor):
    """A supervisor of what it is given."""

    kind: ClassVar[str] = "group"

    def init(
        self, flags: Flags, children: Sequence[ChildSpec]
    ) -> tuple[Flags, Sequence[ChildSpec]]:
        return flags, children


class Dynamic(DynamicSupervisor):
    """A dynamic supervisor with the flags that it is given."""

    kind: ClassVar[str] = "dynamic"

    def init(self, flags: DynamicFlags) -> DynamicFlags:
        return flags


# Specs


def worker(
    text: str,
    *,
    init: Mapping[int, str] | None = None,
    terminate: str | int = "",
    **options: Any,
) -> ChildSpec:
    """Return the spec of a `Worker`."""
    options.setdefault("id", text)
    return Worker.child_spec(text, init or {}, terminate, **options)


def abc() -> list[ChildSpec]:
    """Return the specs of three workers."""
    return [worker("a"), worker("b"), worker("c")]


def supervisor(
    child_id: str,
    children: Sequence[ChildSpec],
    *,
    restart: str = "permanent",
    significant: bool = False,
    **flags: Any,
) -> ChildSpec:
    """Return the spec of a supervisor."""
    options: dict[str, Any] = {"restart": restart, "significant": significant}
    return Group.child_spec(Flags(**flags), children, id=child_id, **options)


def dynamic(max_children: int | None = None, **flags: Any) -> ChildSpec:
    """Return the spec of a dynamic supervisor."""
    return Dynamic.child_spec(DynamicFlags(flags=Flags(**flags), max_children=max_children))


class Stage:
    """The vocabulary of the scenarios."""

    def __init__(self, app: Application) -> None:
        self.app = app

    def run(self, body: Callable[[Stage], None]) -> list[str]:
        """Return the lines that are observed in one scenario, and remove what is left of it."""
        try:
            body(self)
        except Exception as error:  # noqa: BLE001 - it is shown among the lines, as the other side does
            self.note(f"failed: {error!r}")
        lines: list[str] = self.app.call(JOURNAL, "take")
        for child in management.which_children(self.app, STAGE):
            with suppress(ChildNotFoundError):  # its end was not dealt with yet, and is now
                management.terminate_child(self.app, STAGE, child.id, timeout=PATIENCE)
        self.app.call(JOURNAL, "take")
        return lines

    def note(self, line: object) -> None:
        """Note a line."""
        self.app.call(JOURNAL, ("note", str(line)), timeout=PATIENCE)

    def until(self, line: str, times: int = 1) -> None:
        """Return once the line is there so many times."""
        self.app.call(JOURNAL, ("until", line, times), timeout=PATIENCE)

    # What is done

    def start(self, spec: ChildSpec) -> ActorRef:
        """Start something on the stage."""
        ref = try_start(self.app, spec)
        assert ref is not None
        return ref

    def stop(self, ref: ActorRef) -> None:
        """Have the stage stop what it has started."""
        [child] = [each for each in management.which_children(self.app, STAGE) if each.ref == ref]
        management.terminate_child(self.app, STAGE, child.id, timeout=PATIENCE)

    def child(self, supervisor: Target, child_id: str) -> ActorRef:
        """Return the process of a child."""
        children = management.which_children(self.app, supervisor)
        [ref] = [each.ref for each in children if each.id == child_id]
        assert ref is not None
        return ref

    def ends(self, ref: ActorRef, how: How) -> str:
        """Have a process end; return its reason."""
        monitor = self.app.monitor(ref)
        if how == "kill":
            os.kill(ref.os_pid, signal.SIGKILL)
        else:
            self.app.cast(ref, ("end", how))
        return down(monitor)

    def child_ends(self, supervisor: Target, child_id: str, how: How) -> None:
        """Have a child end, and wait until its supervisor has dealt with that."""
        ref = self.child(supervisor, child_id)
        self.ends(ref, how)
        self.settled(supervisor, ref)

    def settled(self, supervisor: Target, dead: ActorRef) -> None:
        """Return once *supervisor* has dealt with the end of *dead*, and is at rest."""

        def look() -> bool:
            children = management.which_children(self.app, supervisor)
            rest = (ChildStatus.RUNNING, ChildStatus.STOPPED)
            return all(each.ref != dead and each.status in rest for each in children)

        testing.eventually(look, f"rest after the end of {dead}", timeout=PATIENCE)

    # What is noted

    def children(self, supervisor: Target) -> None:
        """Note the children of a static supervisor in start order."""
        children = management.which_children(self.app, supervisor)
        self.note(f"children: {', '.join(f'{each.id} {each.status.value}' for each in children)}")

    def counts(self, supervisor: Target) -> None:
        """Note how many children there are."""
        counts = management.count_children(self.app, supervisor)
        kinds = ("specs", "active", "supervisors", "workers")
        self.note(" ".join(f"{kind} {getattr(counts, kind)}" for kind in kinds))

    def answer(self, what: str, operation: Callable[..., object], *arguments: object) -> None:
        """Note what a supervisor answers."""
        try:
            result = operation(self.app, *arguments)
        except SupervisorError as error:
            word = _refusal(error)
        else:
            starts = operation in (management.start_child, management.restart_child, try_start)
            word = "started" if isinstance(result, ActorRef) else "ignored" if starts else "ok"
        self.note(f"{what}: {word}")

    def call(self, target: Target, request: object, timeout: float = PATIENCE) -> object:
        """Return what a caller gets, or why he gets nothing."""
        try:
            return self.app.call(target, request, timeout=timeout)
        except CallError as error:
            return why(error)


def try_start(app: Application, spec: ChildSpec) -> ActorRef | None:
    """Start something on the stage, where nothing is started again."""
    child = evolve(spec, restart=Restart.TEMPORARY)
    return management.start_child(app, STAGE, child, timeout=PATIENCE)


def down(monitor: Monitor) -> str:
    """Return why a process has ended."""
    news = monitor.wait(PATIENCE)
    assert news is not None, "no Down"
    return describe(news.reason)


def _refusal(error: SupervisorError) -> str:
    match error:
        case AlreadyStartedError():
            lives = "it lives" if testing.is_alive(error.ref.os_pid) else "it is dead"
            return f"already started, {lives}"
        case AlreadyPresentError():
            return "already present"
        case ChildRunningError():
            return "running"
        case ChildRestartingError():
            return "restarting"
        case ChildNotFoundError():
            return "not found"
        case MaxChildrenError():
            return "max children"
        case StartFailedError():
            return f"failed: {' '.join([*error.path[1:], describe(error.cause)])}"
        case _:
            return "failed: crash"


def why(error: CallError) -> str:
    """Return why a call has no answer, as OTP's caller would learn it."""
    match error:
        case NoProcessError():
            return "noproc"
        case CallTimeoutError():
            return "timeout"
        case ActorExitedError():
            return describe(error.reason)
        case HandlerError():
            return "crash"
        case _:
            return "calling self" if "itself" in str(error) else "refused"


def describe(reason: ExitReason) -> str:
    """Return a reason in one word or two."""
    match reason:
        case Normal():
            return "normal"
        case Shutdown(failed=failed) if failed is not None:
            return f"{failed.id} {describe(failed.reason)}"
        case Shutdown(detail=detail):
            # why a supervisor has given up is more than OTP says
            return (
                f"shutdown {detail}" if detail and not detail.startswith("gave up") else "shutdown"
            )
        case Killed():
            return "killed"
        case NoProcess():
            return "noproc"
        case _:
            return "crash"


def play(bodies: Mapping[str, Callable[[Stage], None]]) -> dict[str, list[str]]:
    """Return what is observed in each scenario, by its name."""
    tree = [Journal.child_spec(name=JOURNAL), Dynamic.child_spec(DynamicFlags(), name=STAGE)]
    with otp.start(*tree, preload=[__name__]) as app:
        stage = Stage(app)
        return {name: stage.run(body) for name, body in bodies.items()}

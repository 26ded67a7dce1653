"""`Application`: a supervision tree of an app's own, and the app's way to its processes.

A facade: what a method does is in the service that it names, and how it is waited
for in `RunningTree`.

Only what is needed to start the host is imported here. The host is a fresh interpreter,
and takes a third of a second to import all that its processes share; while it does so,
this process imports the rest of what it needs itself. Whatever else is imported at the
top of this file makes every start longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from attrs import evolve, fields

from jidocode._host.daemon.launcher import HostProcess
from jidocode._host.limits import explains_memory
from jidocode.base.closing import Closing
from jidocode.base.exits import NORMAL, ExitReason
from jidocode.base.text import quote
from jidocode.otp.supervision.specs import Child, ChildSpec, Flags, Start, as_spec, check_children
from jidocode.system.settings import ApplicationOverrides, ApplicationSettings, hint

if TYPE_CHECKING:
    from jidocode._host.client.monitor import Monitor
    from jidocode.base.refs import ActorRef, Name, Target, Via
    from jidocode.otp.server.streams import CallStream
    from jidocode.system.call_handle import CallHandle
    from jidocode.system.events import EventStream
    from jidocode.system.health import SystemHealth, TreeNode
    from jidocode.system.running import Connect, RunningTree

S = TypeVar("S", bound=ApplicationSettings)


def start(
    *children: Child,
    settings: ApplicationSettings | None = None,
    **overrides: Unpack[ApplicationOverrides],
) -> Application:
    """Start *children* under supervision, in processes of their own (OTP: application:start).

    Use what it returns as a context manager, or close it. The children are started in
    order below a root that is one_for_one, and restarts three times in 5 seconds; if that
    is not enough, the whole tree ends. What may fail more often belongs below a supervisor
    of its own.

    Args:
        children: Specs, or classes whose `child_spec` needs no arguments.
        settings: How the tree behaves; the defaults if not given.
        overrides: Single settings, which count more than *settings*.

    Raises:
        InvalidChildSpecError: A child breaks a rule, or cannot be pickled. Nothing was started.
        InvalidSettingError: A setting breaks a rule.
        TypeError: *settings* is no `ApplicationSettings`, or there is no such setting.
        HostStartError: The tree could not be started, with the reason; nothing is left.
    """
    return Application(children, with_overrides(settings, ApplicationSettings, overrides))


class Application(Closing):
    """A supervision tree in processes of its own, and the app's way to them.

    `start` makes one. It runs below a host process, which ends with the app. All
    methods can be called from any thread. Who is meant is said by a name, which stays
    good while the process behind it is replaced, by an `ActorRef`, which is one life, or by
    a `Via`, which is whoever has that key of a `Registry`.
    """

    @explains_memory
    def __init__(self, children: Sequence[Child], settings: ApplicationSettings) -> None:
        self._settings = settings
        specs = check_children([as_spec(child) for child in children], Flags())
        host = HostProcess(
            preload=[*self._preload, *settings.preload],
            python=settings.python,
            heartbeat=settings.heartbeat,
            grace=settings.exit_grace,
        )
        try:
            self._running = self._run(host, self._root(specs))
        except BaseException:
            host.close()
            raise

    _preload: Sequence[str] = ("jidocode.otp.supervision.root",)
    """What the host imports before it forks."""

    def _root(self, children: Sequence[ChildSpec]) -> Start:
        from jidocode.otp.supervision.root import Root  # noqa: PLC0415 - see above

        return Root.start_with(children, heartbeat=self.settings.heartbeat)

    def _run(self, host: HostProcess, root: Start) -> RunningTree:
        from jidocode.system.running import RunningTree  # noqa: PLC0415 - see above

        return RunningTree(self._starting(host, root), self.settings)

    def _starting(self, host: HostProcess, root: Start) -> Connect:
        from jidocode._host.client.owner import OwnerClient  # noqa: PLC0415 - see above

        return partial(OwnerClient, host, root, start_timeout=self.settings.start_timeout)

    def __repr__(self) -> str:
        state = repr(self._running) if hasattr(self, "_running") else "<not started>"
        return f"<{type(self).__name__} {state[1:]}"

    @property
    def settings(self) -> ApplicationSettings:
        """How it behaves."""
        return self._settings

    @property
    def host_pid(self) -> int:
        """The process id of the host process."""
        return self._running.client.host_pid

    def close(self) -> None:
        """Stop every process; closing twice is fine.

        They are stopped in order within `ApplicationSettings.shutdown` seconds, then
        killed. No process is left when this returns.
        """
        self._running.client.close(self.settings.shutdown)

    # Processes

    def whereis(self, target: Name | Via) -> ActorRef | None:
        """Return what the process registry has under a name, or a `Registry` under a key, now.

        It does not wait: None while the process, or that registry, is being restarted
        (Erlang: whereis).

        Raises:
            TypeError: *target* is neither a pair of str nor a `Via` of unique keys.
            RegistryNotRunningError: There is no process registry to ask.
        """
        return self._running.carry_out(self._running.router.look_up(target))

    def call(self, target: Target, request: object, *, timeout: float | None = None) -> Any:
        """Send *request* to the `handle_call` of *target*, and return its answer.

        While a process with that name is being restarted, this waits for it.

        Args:
            target: A name, an `ActorRef`, or a `Via`.
            request: Must pickle.
            timeout: Seconds to wait; `ApplicationSettings.call_timeout` by default.

        Raises:
            TypeError: *target* is none of these, here and below.
            NoProcessError: Nobody runs under that name, or will; that life is over; nobody
                has that key, or there is no such registry.
            ActorExitedError: It died before it answered.
            CallTimeoutError: No answer in time; a late one is dropped.
            InvalidTimeError: *timeout* is no time.
            CallError: *request* cannot be pickled.
            HostError: The whole tree is gone, or this is a fork of its app.
            Exception: Whatever the handler refused with.
        """
        return self._running.call(target, request, timeout=timeout)

    def begin_call(self, target: Target, request: object) -> CallHandle:
        """Send *request* to the `handle_call` of *target*, and return the call under way.

        While a process with that name is being restarted, this waits for it, for
        `ApplicationSettings.call_timeout` at most; for the answer, `CallHandle.result` waits.

        Raises:
            NoProcessError: Nobody runs under that name, or will; or that life is over.
            CallTimeoutError: It was not back in time.
            CallError: *request* cannot be pickled.
            HostError: The whole tree is gone, or this is a fork of its app.
        """
        return self._running.begin_call(target, request)

    def call_stream(
        self, target: Target, request: object, *, timeout: float | None = None
    ) -> CallStream:
        """Send *request* to *target*, and return an iterator of the parts of its answer.

        It sends them by `GenServer.send_part` while it is at work; its answer comes after
        them, as `CallStream.result`.

        Args:
            target: A name, or an `ActorRef`.
            request: Must pickle.
            timeout: Seconds to wait for each part; `ApplicationSettings.call_timeout` by
                default.

        Raises:
            InvalidTimeError: *timeout* is no time.
            Exception: As `begin_call`; whatever else `call` raises, the iterator raises.
        """
        return self._running.call_stream(target, request, timeout=timeout)

    def cast(self, target: Target, request: object) -> None:
        """Send *request* to the `handle_cast` of *target*, and wait for nothing.

        It is lost in silence if the process is gone, or is being restarted (OTP:
        gen_server:cast).

        Raises:
            CallError: *request* cannot be pickled.
            HostError: The whole tree is gone, or this is a fork of its app.
        """
        self._running.cast(target, request)

    def send(self, target: Target, message: object) -> None:
        """Send *message* to the `handle_info` of *target*; otherwise as `cast`."""
        self._running.send(target, message)

    def monitor(self, target: Target) -> Monitor:
        """Return a monitor of *target*, which tells when its process is gone.

        It watches one life: after a restart, monitor the new process.

        Raises:
            NoProcessError: Nobody runs under that name, or will.
            CallTimeoutError: It was not back in time.
        """
        return self._running.monitor(target)

    def stop(
        self, target: Target, reason: ExitReason = NORMAL, *, timeout: float | None = None
    ) -> None:
        """Have *target* end with *reason* in order, and wait until it has (OTP: gen_server:stop).

        Its `terminate` runs; a supervisor stops its children first. Whether it is started
        again, its supervisor decides by the reason: a permanent child is. Any number of
        threads may stop one life at once, with one reason: all return when it has ended.

        Args:
            target: A server or a supervisor.
            reason: Why it is to end.
            timeout: Seconds to wait; `ApplicationSettings.call_timeout` by default.

        Raises:
            TypeError: *reason* is no exit reason.
            NoProcessError: It is gone already.
            ActorExitedError: It ended with another reason.
            CallTimeoutError: It has not ended in time; it still will.
        """
        self._running.carry_out(self._running.stopping(target, reason, timeout))

    # Looking

    def system_health(self) -> SystemHealth:
        """Ask every process how it is, within `ApplicationSettings.call_timeout`.

        Works while the registry is down: the tree itself is asked.

        Raises:
            CallError: The root did not answer.
        """
        return self._running.carry_out(self._running.probe.system())

    def tree(self) -> TreeNode:
        """Return the live tree, asked from the supervisors themselves; `str()` draws it.

        A supervisor that ends meanwhile is left out, with all below it.

        Raises:
            CallTimeoutError: A supervisor did not answer within
                `ApplicationSettings.call_timeout`.
            ActorExitedError, NoProcessError: The root itself ended.
        """
        return self._running.carry_out(self._running.probe.tree())

    def events(self) -> EventStream:
        """Return a stream of what happens from now on, until it or the tree is closed.

        Its buffer holds `ApplicationSettings.event_buffer` events; a reader that is slower
        loses the oldest, and `EventStream.dropped` counts them.
        """
        return self._running.hub.stream(None)


def with_overrides(settings: object, cls: type[S], overrides: Mapping[str, Any]) -> S:
    """Return *settings* with *overrides*; raise TypeError if they are none of *cls*.

    None are the defaults.
    """
    if settings is None:
        settings = cls()
    if not isinstance(settings, cls):
        raise TypeError(
            f"settings must be {cls.__name__}, got {quote(settings)}; load() reads a file"
        )
    known = [each.name for each in fields(cls)]
    for name in overrides.keys() - set(known):
        raise TypeError(f"{name} is no setting{hint(name, known)}")
    return evolve(settings, **overrides)

"""`Router`: finds the process that is meant, and asks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jidocode._host.client.calls import NotSentError
from jidocode._host.client.directory import Directory
from jidocode._host.deadline import Deadline
from jidocode.base.refs import (
    ActorRef,
    Name,
    Target,
    Via,
    require_name,
    require_target,
    words_for,
)
from jidocode.errors import (
    ActorExitedError,
    CallTimeoutError,
    NoProcessError,
    RegistryNotRunningError,
)
from jidocode.otp.naming.messages import REGISTRY, ROOT, AwaitLive, Live, LookUp, WhereIs
from jidocode.system.steps import Ask, AwaitName, Begin, BeginStream, Plan

_REGISTRY = "the registry"
_ROOT = "the root of the tree"


class Router:
    """Brings requests to processes by their names, and waits while one is restarted.

    Names are usually known (`Directory`), so the registry is asked only about
    those that are not.
    """

    def __init__(
        self,
        directory: Directory,
        check: Callable[[], None],
        check_missing: Callable[[], None],
        call_timeout: float,
    ) -> None:
        """Know what *directory* knows.

        *check* raises if the tree is gone, *check_missing* also if it is going.
        Where no other time is given, an answer has *call_timeout* seconds.
        """
        self._directory = directory
        self._check = check
        self._check_missing = check_missing
        self._call_timeout = call_timeout

    def deadline(self, timeout: float | None = None) -> Deadline:
        """Return when *timeout* seconds, by default the call timeout, are over.

        Raises:
            InvalidTimeError: *timeout* is no time.
        """
        return Deadline.after(self._call_timeout if timeout is None else timeout)

    def ask(self, target: Target, request: object, timeout: float | None = None) -> Plan[Any]:
        """Send *request* to *target*, and return its answer.

        Raises:
            TypeError: *target* is none.
            NoProcessError: There is no such process.
            CallTimeoutError: No answer within *timeout* seconds, the call timeout by default.
            InvalidTimeError: *timeout* is no time.
            Exception: Whatever else `HostClient.call` raises.
        """
        return (yield from self._reach(Ask, target, request, self.deadline(timeout)))

    def begin(self, target: Target, request: object, timeout: float | None = None) -> Plan[Any]:
        """Send *request* to *target*, and return the call under way; raises as `ask`."""
        return (yield from self._reach(Begin, target, request, self.deadline(timeout)))

    def begin_stream(self, target: Target, request: object) -> Plan[Any]:
        """Do as `begin`, for a call whose answer comes in parts."""
        return (yield from self._reach(BeginStream, target, request, self.deadline()))

    def _reach(
        self, step: type[Ask | Begin], target: Target, request: object, deadline: Deadline
    ) -> Plan[Any]:
        require_target(target)
        if isinstance(target, ActorRef | Via):
            self._check()
            words = str(target) if isinstance(target, ActorRef) else words_for(target)
            life = yield from self.find(target, deadline)
            try:
                return (yield step(life, request, deadline, words))
            except NotSentError as error:
                raise NoProcessError(error.target) from None
        while True:
            ref = self._directory.find(target)
            if ref is None:
                ref = yield from self.find(target, deadline)
            try:
                return (yield step(ref, request, deadline, self.words(target)))
            except NotSentError as error:
                if not deadline.left:
                    raise NoProcessError(error.target) from None

    def find(self, target: Target, deadline: Deadline) -> Plan[ActorRef]:
        """Return the process that is meant; one that is being started is waited for.

        Raises as `ask`.
        """
        require_target(target)
        if isinstance(target, ActorRef):
            return target
        if isinstance(target, Via):
            return (yield from self._find_registered(target, deadline))
        return (yield from self._find_named(target, deadline))

    def _find_registered(self, via: Via, deadline: Deadline) -> Plan[ActorRef]:
        try:
            ref = yield from self._reach(Ask, via.registry, WhereIs(via.key), deadline)
        except ActorExitedError:
            if isinstance(via.registry, ActorRef):
                raise
            # Nothing was sent to whom it is for: the next registry can be asked the same.
            return (yield from self._find_registered(via, deadline))
        if not isinstance(ref, ActorRef) or self._directory.is_gone(ref):
            raise NoProcessError(words_for(via))
        return ref

    def _find_named(self, name: Name, deadline: Deadline) -> Plan[ActorRef]:
        self._check()
        dead: ActorRef | None = None
        while True:
            ref = self._directory.find_living(name)
            if ref is not None:
                return ref
            if not deadline.left:
                raise CallTimeoutError(self.words(name), deadline.seconds)
            dead = dead or self._directory.leaving(name)
            found = yield from self.ask_registry(
                AwaitLive(name, dead), deadline, target=self.words(name)
            )
            if isinstance(found, Live):
                if not self._directory.is_gone(found.ref):
                    return found.ref
                dead = found.ref
            elif not self._directory.is_expected(name):
                raise (yield from self.missing_error(name, deadline))
            else:  # a new registry has not been told yet
                yield AwaitName(name, deadline, lambda: not self._directory.is_expected(name))

    def look_up(
        self, target: Name | Via, deadline: Deadline | None = None
    ) -> Plan[ActorRef | None]:
        """Return what the registry has under *target* now; None while that is restarted.

        None also while the registry of a `Via` is: the next one knows nobody yet.
        """
        if isinstance(target, Via):
            require_target(target)
            return (yield from self._look_up_registered(target, deadline))
        require_name(target)
        found = yield from self.ask_registry(LookUp(target), deadline)
        return found.ref if isinstance(found, Live) else None

    def _look_up_registered(self, via: Via, deadline: Deadline | None) -> Plan[ActorRef | None]:
        registry = via.registry
        if not isinstance(registry, ActorRef):
            running = yield from self.look_up(registry, deadline)
            if running is None:
                return None
            registry = running
        try:
            return (
                yield from self._find_registered(
                    Via(registry, via.key), deadline or self.deadline()
                )
            )
        except (NoProcessError, ActorExitedError):
            return None

    def ask_registry(
        self,
        request: object,
        deadline: Deadline | None = None,
        *,
        target: str = _REGISTRY,
        again: object = None,
        repeats: bool = True,
    ) -> Plan[Any]:
        """Send *request* to the process registry, and return its answer.

        *target* is who answers in truth, for the error that tells of a time-out. If the registry
        dies over it, its successor is asked the same, or *again* instead; unless *repeats* is
        false, for a caller who has to know.

        Raises:
            RegistryNotRunningError: There is none, and none is being started.
            CallTimeoutError: It is being started, and not back in time; or no answer came.
            Exception: What the registry refuses with, and whatever `HostClient.call` raises.
        """
        deadline = self.deadline() if deadline is None else deadline
        dead: ActorRef | None = None
        while True:
            self._check()
            ref = yield from self.await_process(REGISTRY, deadline)
            if ref is None:
                self._check_missing()
                if self._is_awaited(REGISTRY):
                    raise CallTimeoutError(_REGISTRY, deadline.seconds)
                raise RegistryNotRunningError
            try:
                return (yield Ask(ref, request, deadline, _REGISTRY))
            except CallTimeoutError:
                silent = _REGISTRY if ref == dead else target
                raise CallTimeoutError(silent, deadline.seconds) from None
            except NotSentError:
                if not deadline.left:
                    raise CallTimeoutError(_REGISTRY, deadline.seconds) from None
            except ActorExitedError as error:
                # Another process that it asked may have died as well, and that is its answer.
                if error.target != _REGISTRY or not repeats:
                    raise
                if not deadline.left:  # nobody has brought it back
                    raise CallTimeoutError(_REGISTRY, deadline.seconds) from error
                dead, request = ref, request if again is None else again

    def root(self, deadline: Deadline) -> Plan[ActorRef]:
        """Return the root of the tree.

        Raises:
            NoProcessError: There is none, and none is being started.
            CallTimeoutError: It is being started, and not back in time.
        """
        self._check()
        root = yield from self.await_process(ROOT, deadline)
        if root is None and self._is_awaited(ROOT):
            raise CallTimeoutError(_ROOT, deadline.seconds)
        if root is None:
            raise NoProcessError(_ROOT)
        return root

    def await_process(self, name: Name, deadline: Deadline) -> Plan[ActorRef | None]:
        """Return the system's own process under *name*, None if it is not there by *deadline*.

        It is waited for only while it is being replaced, or the whole tree is.
        """
        ref: ActorRef | None = yield AwaitName(name, deadline, lambda: not self._is_awaited(name))
        return ref

    def _is_awaited(self, name: Name) -> bool:
        directory = self._directory
        if directory.leaving(name) is not None:  # whether another one comes is yet to be heard
            return True
        return directory.is_expected(name) or directory.is_expected(ROOT)

    def running(
        self, target: Name | Via, deadline: Deadline | None = None
    ) -> Plan[ActorRef | None]:
        """Return the process under *target* as `look_up`, which is done only if none is known."""
        ref = None if isinstance(target, Via) else self._directory.find_living(target)
        if ref is None:
            # What has just been started the registry knows, and this app may hear of it later.
            ref = yield from self.look_up(target, deadline)
        return ref

    # What a tree calls its processes

    def words(self, name: Name) -> str:
        """Return what errors call the process under *name*."""
        return words_for(name)

    def missing_error(self, name: Name, deadline: Deadline) -> Plan[Exception]:
        """Return the error for a *name* under which nobody runs, or will."""
        del deadline
        yield from ()
        return NoProcessError(self.words(name))

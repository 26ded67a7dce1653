"""What a supervisor is told: child specs and its own flags, validated.

Rules and their order are OTP's (supervisor: `check_childspec`): the first one
broken is reported, and nothing is started. Unlike OTP, an unknown field is an
error, because Python's keyword arguments already say so.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import force_setattr

from jidocode.base.records import Discreet
from jidocode.base.refs import Name, is_name
from jidocode.base.text import quote
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.supervision.strategy import Restart, Strategy


class BrutalKill(enum.Enum):
    """The one value of `BRUTAL_KILL`."""

    BRUTAL_KILL = "brutal_kill"


BRUTAL_KILL = BrutalKill.BRUTAL_KILL
"""`shutdown=BRUTAL_KILL`: kill at once, `terminate` does not run."""

INFINITY = math.inf
"""`shutdown=INFINITY`: wait for ever; right for child supervisors."""

MAX_SECONDS = 1e9
"""The longest time that is not `INFINITY`: some thirty years."""
DEFAULT_SHUTDOWN = 5.0
_BY_TYPE: Any = object()
DEFAULT_INIT_TIMEOUT = 10.0


class ChildType(enum.Enum):
    """Whether a child has children of its own."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class AutoShutdown(enum.Enum):
    """When the end of significant children ends the supervisor (OTP: auto_shutdown)."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class Start:
    """What to run: a class and the arguments of its `init`.

    `Start(Indexer, root, depth=2)` runs `Indexer().init(root, depth=2)` in the
    child's process, at the first start and at each restart. The arguments must pickle.
    """

    __slots__ = ("args", "kwargs", "target")

    def __init__(self, target: type[Any], /, *args: object, **kwargs: object) -> None:
        self.target: type[Any] = target
        self.args: tuple[object, ...] = args
        self.kwargs: Mapping[str, object] = kwargs

    def with_extra(self, extra: Sequence[object]) -> Start:
        """Return the same start with *extra* arguments put first."""
        return Start(self.target, *extra, *self.args, **self.kwargs)

    def __repr__(self) -> str:
        return f"Start({self.target.__qualname__})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Start):
            return NotImplemented
        return (self.target, self.args, self.kwargs) == (other.target, other.args, other.kwargs)

    __hash__ = None  # type: ignore[assignment] # arguments need not be hashable


_Startable = Start | type[Any]


def _check_child_id(value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidChildSpecError(f"id must be a non-empty str, got {quote(value)}")


def _check_start(value: object) -> None:
    if not isinstance(value, Start) or not isinstance(value.target, type):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise InvalidChildSpecError(f"start must be a class or a Start, got {quote(value)}")
    target = value.target
    if not callable(getattr(target, "init", None)):
        raise InvalidChildSpecError(
            f"start must name a GenServer or a Supervisor, got {target.__qualname__}"
        )
    if target.__module__ == "__main__" or "<locals>" in target.__qualname__:
        place = "__main__" if target.__module__ == "__main__" else "a function"
        raise InvalidChildSpecError(
            f"{target.__qualname__} is defined in {place}, where a child process cannot import it: "
            "move the class to the top of a module of its own and import it from there"
        )


def _check_one_of(kind: type[enum.Enum], name: str, value: object) -> None:
    if not isinstance(value, kind):
        expected = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
        raise InvalidChildSpecError(f"{name} must be one of {expected}, got {quote(value)}")


def _check_significant(value: object, restart: Restart) -> None:
    if not isinstance(value, bool):
        raise InvalidChildSpecError(f"significant must be a bool, got {quote(value)}")
    if value and restart is Restart.PERMANENT:
        raise InvalidChildSpecError(
            "a permanent child cannot be significant: it never ends for good"
        )


def _check_shutdown(value: object) -> None:
    if value is BRUTAL_KILL or _is_seconds(value):
        return
    raise InvalidChildSpecError(
        f"shutdown must be seconds >= 0, INFINITY or BRUTAL_KILL, got {quote(value)}"
    )


def _check_init_timeout(value: object) -> None:
    if not _is_seconds(value) or value == 0:
        raise InvalidChildSpecError(f"init_timeout must be seconds > 0, got {quote(value)}")


def _check_heartbeat(value: object) -> None:
    if value is not None and (not _is_seconds(value) or value in (0, INFINITY)):
        raise InvalidChildSpecError(
            f"heartbeat must be None or finite seconds > 0, got {quote(value)}"
        )


def _check_memory_limit(value: Any) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and (not whole or not 0 < value < 2**63):
        raise InvalidChildSpecError(
            f"memory_limit must be None or an int of bytes > 0 and < 2**63, got {quote(value)}"
        )


def _check_name(value: object) -> None:
    if value is not None and not is_name(value):
        raise InvalidChildSpecError(
            f"name must be None or a pair of str (kind, id), got {quote(value)}"
        )


def _is_seconds(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and (0 <= value <= MAX_SECONDS or value == INFINITY)
    )


class ChildSpec(Discreet, frozen=True, kw_only=True):
    """How a supervisor starts, restarts and stops one child.

    The fields are checked in OTP's order (id, start, restart, significant,
    type, shutdown), the first rule broken raises `InvalidChildSpecError`.

    Attributes:
        id: Unique among the children of a `Supervisor`.
        start: The class to run, or `Start(class, *args, **kwargs)`. The class
            must be importable by the child's process: not from `__main__`.
        restart: When it is started again; permanent by default.
        significant: Whether its end can end the supervisor; see `AutoShutdown`.
        type: Worker, or supervisor.
        shutdown: Seconds it has to stop before it is killed; `BRUTAL_KILL` for
            at once, `INFINITY` for no limit. 5 for workers, no limit for
            supervisors.
        init_timeout: Seconds that `init` may take before the child is killed
            and the start has failed; 10 by default.
        heartbeat: Seconds between probes of the running child, and of a supervisor
            that stops without a limit; after two in a row without an answer it
            is killed and counts as crashed. None for no probes. A handler that
            takes longer than twice this looks dead.
        memory_limit: Bytes of memory the child may have for itself (data, not
            shared libraries); beyond it Python raises MemoryError there. None
            for no limit.
        name: Registered for the child before its `init` runs; None for none.
        value: Kept in the registry beside *name*.
    """

    hidden = ("value",)

    id: str
    start: Start
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    type: ChildType = ChildType.WORKER
    shutdown: float | BrutalKill = _BY_TYPE
    init_timeout: float = DEFAULT_INIT_TIMEOUT
    heartbeat: float | None = None
    memory_limit: int | None = None
    name: Name | None = None
    value: object = None

    if TYPE_CHECKING:  # a class is made a `Start`, which a checker cannot know

        def __init__(  # noqa: PLR0913 - one each
            self,
            *,
            id: str,  # noqa: A002 - OTP's name
            start: _Startable,
            restart: Restart = ...,
            significant: bool = ...,
            type: ChildType = ...,  # noqa: A002 - idem
            shutdown: float | BrutalKill = ...,
            init_timeout: float = ...,
            heartbeat: float | None = ...,
            memory_limit: int | None = ...,
            name: Name | None = ...,
            value: object = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        given: _Startable = self.start
        if isinstance(given, type):
            force_setattr(self, "start", Start(given))
        _check_child_id(self.id)
        _check_start(self.start)
        _check_one_of(Restart, "restart", self.restart)
        _check_significant(self.significant, self.restart)
        _check_one_of(ChildType, "type", self.type)
        if self.shutdown is _BY_TYPE:
            supervises = self.type is ChildType.SUPERVISOR
            force_setattr(self, "shutdown", INFINITY if supervises else DEFAULT_SHUTDOWN)
        _check_shutdown(self.shutdown)
        _check_init_timeout(self.init_timeout)
        _check_heartbeat(self.heartbeat)
        _check_memory_limit(self.memory_limit)
        _check_name(self.name)


def check_count(name: str, value: object) -> None:
    """Raise `InvalidChildSpecError` unless *value* is an int of 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidChildSpecError(f"{name} must be an int >= 0, got {quote(value)}")


def _check_period(value: object) -> None:
    if not _is_seconds(value) or value in (0, INFINITY):
        raise InvalidChildSpecError(f"max_seconds must be finite seconds > 0, got {quote(value)}")


def _check_backoff(value: object) -> None:
    if not _is_seconds(value) or value == INFINITY:
        raise InvalidChildSpecError(f"backoff must be finite seconds >= 0, got {quote(value)}")


class Flags(Struct, frozen=True, kw_only=True):
    """What a supervisor does when children die (OTP: supervisor flags).

    Attributes:
        strategy: Who is restarted with a dead child.
        max_restarts: Restarts allowed within *max_seconds*; one more and the
            supervisor gives up with reason `shutdown`. 3 by default (Elixir's).
        max_seconds: The window of *max_restarts* in seconds; 5 by default.
        auto_shutdown: Whether the end of significant children ends it.
        backoff: Seconds before a failed restart is tried again; 0 by default,
            as in OTP, where the budget of restarts is the only brake.
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    max_restarts: int = 3
    max_seconds: float = 5.0
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    backoff: float = 0.0

    def __post_init__(self) -> None:
        _check_one_of(Strategy, "strategy", self.strategy)
        check_count("max_restarts", self.max_restarts)
        _check_period(self.max_seconds)
        _check_one_of(AutoShutdown, "auto_shutdown", self.auto_shutdown)
        _check_backoff(self.backoff)


def check_children(children: Iterable[object], flags: Flags) -> tuple[ChildSpec, ...]:
    """Return *children* as checked specs.

    Raises:
        InvalidChildSpecError: One is no `ChildSpec`, two have the same id
            (OTP: `duplicate_child_name`), or one is significant although
            *flags* never shut down for it.
    """
    checked = tuple(check_child(child, flags) for child in children)
    seen: set[str] = set()
    for spec in checked:
        if spec.id in seen:
            raise InvalidChildSpecError(f"two children have the id {quote(spec.id)}")
        seen.add(spec.id)
    return checked


def check_child(child: object, flags: Flags) -> ChildSpec:
    """Return *child* as a spec that fits *flags*, or raise `InvalidChildSpecError`."""
    if not isinstance(child, ChildSpec):
        raise InvalidChildSpecError(f"a child must be a ChildSpec, got {quote(child)}")
    if child.significant and flags.auto_shutdown is AutoShutdown.NEVER:
        raise InvalidChildSpecError(
            f"child {quote(child.id)} is significant, but auto_shutdown is NEVER"
        )
    return child

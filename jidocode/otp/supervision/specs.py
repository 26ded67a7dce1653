"""What a supervisor is told: child specs and its own flags, validated.

Rules and their order are OTP's (supervisor: `check_childspec`): the first one
broken is reported, and nothing is started. Unlike OTP, an unknown field is an
error, because Python's keyword arguments already say so.
"""

from __future__ import annotations

import enum
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeGuard, TypeVar, cast

from attrs import Factory, field, frozen

from jidocode.base.records import Record
from jidocode.base.refs import Name, is_name
from jidocode.base.text import describe, quote, word
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.seconds import INFINITY, is_seconds
from jidocode.otp.supervision.strategy import Restart, Strategy, StrategyText

if TYPE_CHECKING:
    from attrs import Attribute


E = TypeVar("E", bound=enum.Enum)


class BrutalKill(enum.Enum):
    """The one value of `BRUTAL_KILL`."""

    BRUTAL_KILL = "brutal_kill"


BRUTAL_KILL = BrutalKill.BRUTAL_KILL
"""`shutdown=BRUTAL_KILL`: kill at once, `terminate` does not run."""

LABEL_LENGTH = 255
"""Characters that an id may have, and each part of a name."""

DEFAULT_SHUTDOWN = 5.0
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


@frozen(eq=False, repr=False, init=False)
class Start(Record):
    """What to run: a class and the arguments of its `init`.

    `Start(Indexer, root, depth=2)` runs `Indexer().init(root, depth=2)` in the
    child's process, at the first start and at each restart. The arguments must
    pickle; they are not printed.

    Attributes:
        target: The class.
        args: The positional arguments of its `init`.
        kwargs: The arguments by name.
    """

    target: type[Any]
    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def __init__(self, target: type[Any], /, *args: object, **kwargs: object) -> None:
        for name, value in (("target", target), ("args", args), ("kwargs", kwargs)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"Start({self.target.__qualname__})"


def _as_start(value: Start | type[Any]) -> Start:
    return Start(value) if isinstance(value, type) else value


# An enum's member may be given as text. What is none is left for the validator to refuse.


def _member(choices: type[E], value: E | str) -> E:
    try:
        return choices(value)
    except ValueError:
        return cast("E", value)


def as_strategy(value: Strategy | StrategyText) -> Strategy:
    """Return the strategy that *value* is, or names."""
    return _member(Strategy, value)


def _as_restart(value: Restart | Literal["permanent", "transient", "temporary"]) -> Restart:
    return _member(Restart, value)


def _as_type(value: ChildType | Literal["worker", "supervisor"]) -> ChildType:
    return _member(ChildType, value)


def _as_auto_shutdown(
    value: AutoShutdown | Literal["never", "any_significant", "all_significant"],
) -> AutoShutdown:
    return _member(AutoShutdown, value)


# Validators, called by attrs with the record, the field and the value. A caller may have
# ignored the types, so each value is any object.


def _is_id(_: object, field: Attribute[Any], value: object) -> None:
    if not _is_label(value):
        raise _expected(field, f"a str of 1 to {LABEL_LENGTH} printable characters", value)


def _is_label(value: object) -> bool:
    """Whether *value* is a text that every sentence, tree and log line can show."""
    return isinstance(value, str) and 0 < len(value) <= LABEL_LENGTH and value.isprintable()


def _is_start(_: object, field: Attribute[Any], value: object) -> None:
    if not isinstance(value, Start) or not isinstance(value.target, type):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise _expected(field, "a class or a Start", value)
    target = value.target
    if not callable(getattr(target, "init", None)):
        raise InvalidChildSpecError(
            f"start must name a GenServer or a Supervisor, got {word(target.__qualname__)}"
        )
    if target.__module__ == "__main__" or "<locals>" in target.__qualname__:
        place = "__main__" if target.__module__ == "__main__" else "a function"
        raise InvalidChildSpecError(
            f"{word(target.__qualname__)} is defined in {place}, where a child process cannot "
            "import it: move the class to the top of a module of its own and import it from there"
        )
    kind = getattr(target, "kind", None)
    if not isinstance(kind, str) or word(kind) != kind:
        raise InvalidChildSpecError(
            f"the kind of {word(target.__qualname__)} must be a short printable word, "
            f"got {quote(kind)}"
        )


def _is_one_of(choices: type[enum.Enum]) -> Callable[[object, Attribute[Any], object], None]:
    def check(_: object, field: Attribute[Any], value: object) -> None:
        if not isinstance(value, choices):
            names = ", ".join(
                repr(choice.value) if choices is Strategy else str(choice) for choice in choices
            )
            raise _expected(field, f"one of {names}", value)

    return check


def _is_significant(spec: ChildSpec, field: Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise _expected(field, "a bool", value)
    if value and spec.restart is Restart.PERMANENT:
        raise InvalidChildSpecError(
            "a permanent child cannot be significant: it never ends for good"
        )


def _is_shutdown(_: object, field: Attribute[Any], value: object) -> None:
    if value is not BRUTAL_KILL and not is_seconds(value):
        raise _expected(field, "seconds >= 0, INFINITY or BRUTAL_KILL", value)


def _is_init_timeout(_: object, field: Attribute[Any], value: object) -> None:
    if not is_seconds(value) or value == 0:
        raise _expected(field, "seconds > 0", value)


def _is_heartbeat(_: object, field: Attribute[Any], value: object) -> None:
    if value is not None and (not is_seconds(value) or value in (0, INFINITY)):
        raise _expected(field, "None or finite seconds > 0", value)


def _is_memory_limit(_: object, field: Attribute[Any], value: object) -> None:
    if value is not None and not (is_count(value) and 0 < value < 2**63):
        raise _expected(field, "None or an int of bytes > 0 and < 2**63", value)


def _is_registered_name(_: object, field: Attribute[Any], value: object) -> None:
    if value is not None and not (is_name(value) and all(map(_is_label, value))):
        wanted = (
            f"None or a pair of str (kind, id), each of 1 to {LABEL_LENGTH} printable characters"
        )
        raise _expected(field, wanted, value)


def _is_max_restarts(_: object, field: Attribute[Any], value: object) -> None:
    if not is_count(value):
        raise _expected(field, "an int >= 0", value)


def _is_period(_: object, field: Attribute[Any], value: object) -> None:
    if not is_seconds(value) or value in (0, INFINITY):
        raise _expected(field, "finite seconds > 0", value)


def _is_backoff(_: object, field: Attribute[Any], value: object) -> None:
    if not is_seconds(value) or value == INFINITY:
        raise _expected(field, "finite seconds >= 0", value)


def is_count(value: object) -> TypeGuard[int]:
    """Whether *value* is an int of 0 or more, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _expected(field: Attribute[Any], wanted: str, value: object) -> InvalidChildSpecError:
    return InvalidChildSpecError(f"{field.name} must be {wanted}, got {quote(value)}")


def _shutdown_of_type(spec: ChildSpec) -> float:
    return INFINITY if spec.type is ChildType.SUPERVISOR else DEFAULT_SHUTDOWN


@frozen(eq=False, repr=False, kw_only=True)
class ChildSpec(Record):
    """How a supervisor starts, restarts and stops one child.

    The fields are checked in OTP's order, which is theirs (supervisor:
    `check_childspec`); the first rule broken raises `InvalidChildSpecError`.

    Attributes:
        id: Unique among the children of a supervisor; at most 255 printable characters.
        start: The class to run, or `Start(class, *args, **kwargs)`. The class
            must be importable by the child's process: not from `__main__`. Its
            `kind` is a short printable word.
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
        name: Registered for the child before its `init` runs, a pair of str, each
            at most 255 printable characters; None for none.
        value: Kept in the registry beside *name*; not printed.
    """

    id: str = field(validator=_is_id)
    start: Start = field(converter=_as_start, validator=_is_start)
    restart: Restart = field(
        default=Restart.PERMANENT, converter=_as_restart, validator=_is_one_of(Restart)
    )
    significant: bool = field(default=False, validator=_is_significant)
    type: ChildType = field(
        default=ChildType.WORKER, converter=_as_type, validator=_is_one_of(ChildType)
    )
    shutdown: float | BrutalKill = field(
        default=Factory(_shutdown_of_type, takes_self=True), validator=_is_shutdown
    )
    init_timeout: float = field(default=DEFAULT_INIT_TIMEOUT, validator=_is_init_timeout)
    heartbeat: float | None = field(default=None, validator=_is_heartbeat)
    memory_limit: int | None = field(default=None, validator=_is_memory_limit)
    name: Name | None = field(default=None, validator=_is_registered_name)
    value: object = field(default=None, repr=False)


class Startable(Protocol):
    """A class that knows its spec, such as a `GenServer` or a `Supervisor`."""

    @classmethod
    def child_spec(cls) -> ChildSpec:
        """Return how it is started."""
        ...


class ChildSpecOptions(TypedDict, total=False):
    """The arguments of `ChildSpec` but for its `start`, for whatever passes them on; see there."""

    id: str
    restart: Restart | Literal["permanent", "transient", "temporary"]
    significant: bool
    type: ChildType | Literal["worker", "supervisor"]
    shutdown: float | BrutalKill
    init_timeout: float
    heartbeat: float | None
    memory_limit: int | None
    name: Name | None
    value: object


Child = ChildSpec | type[Startable]
"""What can be started: a spec, or a class whose `child_spec` needs no arguments."""


@frozen(eq=False, repr=False, kw_only=True)
class Flags(Record):
    """What a supervisor does when children die (OTP: supervisor flags).

    The fields are checked in their order, like those of a `ChildSpec`.

    Attributes:
        strategy: Who is restarted with a dead child.
        max_restarts: Restarts allowed within *max_seconds*; one more and the
            supervisor gives up with reason `shutdown`. 3 by default (Elixir's).
        max_seconds: The window of *max_restarts* in seconds; 5 by default.
        auto_shutdown: Whether the end of significant children ends it.
        backoff: Seconds before a failed restart is tried again; 0 by default,
            as in OTP, where the budget of restarts is the only brake.
    """

    strategy: Strategy = field(
        default=Strategy.ONE_FOR_ONE, converter=as_strategy, validator=_is_one_of(Strategy)
    )
    max_restarts: int = field(default=3, validator=_is_max_restarts)
    max_seconds: float = field(default=5.0, validator=_is_period)
    auto_shutdown: AutoShutdown = field(
        default=AutoShutdown.NEVER, converter=_as_auto_shutdown, validator=_is_one_of(AutoShutdown)
    )
    backoff: float = field(default=0.0, validator=_is_backoff)


def as_spec(child: object) -> ChildSpec:
    """Return the spec that *child* is, or has.

    Raises:
        InvalidChildSpecError: It is neither a `ChildSpec` nor a class with a `child_spec`.
    """
    make = getattr(child, "child_spec", None) if isinstance(child, type) else None
    spec = make() if callable(make) else child
    if not isinstance(spec, ChildSpec):
        raise InvalidChildSpecError(f"a child must be a ChildSpec, got {quote(child)}")
    return spec


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


def pack_children(children: tuple[ChildSpec, ...]) -> bytes:
    """Return *children* pickled, as another process gets them, or raise `InvalidChildSpecError`."""
    try:
        return pickle.dumps(children, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        why = f"the children cannot be pickled: {describe(error)}"
        raise InvalidChildSpecError(why) from error


def check_child(child: object, flags: Flags) -> ChildSpec:
    """Return *child* as a spec that fits *flags*, or raise `InvalidChildSpecError`."""
    if not isinstance(child, ChildSpec):
        raise InvalidChildSpecError(f"a child must be a ChildSpec, got {quote(child)}")
    if child.significant and flags.auto_shutdown is AutoShutdown.NEVER:
        raise InvalidChildSpecError(
            f"child {quote(child.id)} is significant, but auto_shutdown is NEVER"
        )
    return child

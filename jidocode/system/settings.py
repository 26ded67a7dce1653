"""`Settings`: everything about a system that can be chosen, checked before anything starts.

A setting comes from a keyword argument, else from an environment variable,
else from a TOML file that the app names, else it has its default. The `_Rule`
of a field says once what its values are, whatever they come from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack, cast, get_args

from attrs import Attribute, field, fields, frozen

from jidocode.base import log
from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidSettingError
from jidocode.otp.seconds import INFINITY, is_seconds
from jidocode.otp.supervision.specs import Flags, as_strategy
from jidocode.otp.supervision.strategy import Strategy, StrategyText

PREFIX = "JIDOCODE_"
"""What the names of environment variables begin with: `JIDOCODE_MAX_SESSIONS`."""

Durability = Literal["process", "power", "memory"]
"""What the conversation survives; see `Settings.durability`."""


@frozen(eq=False, repr=False)
class _Rule:
    """What the values of a setting are: in words, as a test, and how text becomes one.

    It is the validator of its field.
    """

    expected: str
    fits: Callable[[Any], bool]
    read: Callable[[str], Any]

    def __call__(self, _settings: object, attribute: Attribute[Any], value: object) -> None:
        """Raise `InvalidSettingError` unless *value* fits (called by attrs)."""
        if not self.fits(value):
            raise self.refusal(attribute.name, value)

    def take(self, name: str, given: object, origin: str) -> Any:
        """Return the value of the setting *name* that stands as *given* in *origin*."""
        try:
            value = self.read(given) if isinstance(given, str) else given
        except ValueError:
            raise self.refusal(name, given, origin) from None
        if not self.fits(value):
            raise self.refusal(name, given, origin)
        return value

    def refusal(self, name: str, given: object, *origin: str) -> InvalidSettingError:
        """Return the error for a bad value."""
        return InvalidSettingError(name, f"must be {self.expected}, got {quote(given)}", *origin)

    def or_none(self) -> _Rule:
        """Return the rule that allows None as well, written `none`."""
        return _Rule(
            f"{self.expected}, or none",
            lambda value: value is None or self.fits(value),
            lambda text: None if text == "none" else self.read(text),
        )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(text)
    return text.lower() in ("true", "1")


def _are_module_names(value: Any) -> bool:
    if not isinstance(value, list | tuple):
        return False
    names = cast("Sequence[object]", value)
    return all(
        isinstance(name, str) and all(map(str.isidentifier, name.split("."))) for name in names
    )


def _read_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _read_rate(text: str) -> CreationRate:
    attempts, _, seconds = text.partition("/")
    return CreationRate(int(attempts), float(seconds))


def _as_tuple(names: Sequence[str]) -> Sequence[str]:
    return tuple(names) if isinstance(names, list) else names


def _as_folder(path: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """Return *path* as an absolute `Path`; as it is if it is no path, to be refused then."""
    if path is None:
        return None
    try:
        text = os.fspath(path)
        if text and "\0" not in text:
            return Path(text).expanduser().absolute()
    except (TypeError, RuntimeError):  # the latter: it begins with the `~` of nobody
        pass
    return path


def _as_program(path: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """Return *path* as a `Path`, with `~` expanded; as it is if it is none, to be refused then."""
    absolute = _as_folder(path)
    if isinstance(absolute, Path) and path is not None:
        return absolute if Path(path).expanduser().is_absolute() else path
    return absolute


def _is_program(value: object) -> bool:
    return isinstance(value, Path) and value.is_absolute()


_COUNT = _Rule("an int >= 0 and < 2**31", lambda value: _is_int(value) and 0 <= value < 2**31, int)
_POSITIVE = _Rule("an int > 0 and < 2**31", lambda value: _is_int(value) and 0 < value < 2**31, int)
_SECONDS = _Rule(
    "seconds > 0 and <= 1e9",
    lambda value: is_seconds(value) and value not in {0, INFINITY},
    float,
)
_FLAG = _Rule("true or false", lambda value: isinstance(value, bool), _read_flag)
_STRATEGY = _Rule(
    f"a Strategy (as text: {', '.join(strategy.value for strategy in Strategy)})",
    lambda value: isinstance(value, Strategy),
    Strategy,
)
_DURABILITY = _Rule(
    f"one of {', '.join(get_args(Durability))}",
    lambda value: isinstance(value, str) and value in get_args(Durability),
    str,
)
_FOLDER = _Rule("the path of a folder", lambda value: isinstance(value, Path), _as_folder)
_PROGRAM = _Rule("the absolute path of a Python interpreter", _is_program, _as_program)
_MODULES = _Rule(
    "names of modules, in a list or a tuple (as text: with commas between them)",
    _are_module_names,
    _read_names,
)
_RATE = _Rule(
    "a CreationRate (as text: attempts/seconds, such as 30/10)",
    lambda value: isinstance(value, CreationRate),
    _read_rate,
)


@frozen(eq=False, repr=False)
class CreationRate(Record):
    """How often a session may be tried to be created; a bad value raises `InvalidSettingError`.

    Attributes:
        attempts: As many at once, and on average as many per *seconds*.
        seconds: How long it takes until as many may be made again.
    """

    attempts: int = field(validator=_POSITIVE)
    seconds: float = field(validator=_SECONDS)


class SettingsOverrides(TypedDict, total=False):
    """The arguments of `Settings`, for whatever passes them on; see there."""

    max_sessions: int
    creation_rate: CreationRate | None
    allow_nested: bool
    hard_links: bool
    strategy: Strategy | StrategyText
    max_restarts: int
    max_seconds: float
    heartbeat: float | None
    event_buffer: int
    state_dir: str | os.PathLike[str] | None
    durability: Durability
    preload: Sequence[str]
    python: str | os.PathLike[str] | None
    call_timeout: float
    start_timeout: float
    shutdown: float


@frozen(eq=False, repr=False, kw_only=True)
class Settings(Record):
    """How a `SessionSystem` behaves; a bad value raises `InvalidSettingError`.

    `Settings()` takes its arguments and nothing else; `Settings.load` looks
    at a file and at the environment as well.

    Attributes:
        max_sessions: Sessions that may be open at once; one more is refused
            with `SessionLimitError`. 10 by default.
        creation_rate: How often creating a session may be tried; refused and
            failed attempts count too, one more raises `RateLimitedError`.
            None for no limit. 30 in 10 seconds by default.
        allow_nested: Whether a project may lie inside another open project;
            refused by default, for two sessions would change the same files.
        hard_links: Whether the Manager reads and writes a file of a project that has
            more than one hard link, which may be outside; allowed by default, for
            package managers and copies of repositories make such files. Otherwise it
            is a `BoundaryError`.
        strategy: Who is restarted with a dead child of a session;
            one_for_all by default. A session can be given its own.
        max_restarts: Restarts a session may need within *max_seconds*; one
            more and it gives up. 3 by default.
        max_seconds: The window of *max_restarts*, in seconds. 5 by default.
        heartbeat: Seconds between probes of each of the system's own processes;
            one that leaves two in a row unanswered, because it hangs or was
            stopped, is killed and restarted. With the host the system ends; a guard that was
            stopped goes on. Host, root and guards are given a second at least. None for no
            probes. 10 by default.
        event_buffer: Events that each stream of `events()` keeps for a slow reader; the
            oldest are dropped and counted beyond it. 1000 by default.
        state_dir: The folder that holds the journals of all sessions; sessions
            of one folder can be resumed by every later system that has the same.
            `~` is expanded; a relative path starts at the current folder. None,
            the default, for `default_state_dir()`.
        durability: What an acknowledged change survives: `process`, the
            default, the death of any process; `power` a loss of power too, for
            one `fdatasync` per change; `memory` no crash of State, and nothing
            is written to disk.
        preload: Modules that the host imports once, before there is any other
            process: those of your own children, and what they import. Each
            process has them from its start then, and shares their memory;
            otherwise a child's process imports them at each of its starts. One
            that cannot be imported is a `HostStartError`. They must not start
            threads, which no fork has. None by default.
        python: The Python that runs the host, and with it all processes: its absolute path; a
            link, such as a virtual environment has, is not followed. It must be of the app's
            version, and finds modules where the app does, then where it does itself. None, the
            default, for the app's own interpreter, `sys.executable`. An app that has none, for
            it is frozen into one program or has Python embedded (uWSGI), must set it, else
            `HostStartError`.
        call_timeout: Seconds that a call waits for its answer unless it says
            otherwise. 5 by default.
        start_timeout: Seconds that the whole system may take to start; then
            `HostStartError`. 30 by default.
        shutdown: Seconds that `close` gives the system to stop in order before
            it is killed. 10 by default.
    """

    max_sessions: int = field(default=10, validator=_POSITIVE)
    creation_rate: CreationRate | None = field(
        default=CreationRate(30, 10.0), validator=_RATE.or_none()
    )
    allow_nested: bool = field(default=False, validator=_FLAG)
    hard_links: bool = field(default=True, validator=_FLAG)
    strategy: Strategy = field(
        default=Strategy.ONE_FOR_ALL, converter=as_strategy, validator=_STRATEGY
    )
    max_restarts: int = field(default=3, validator=_COUNT)
    max_seconds: float = field(default=5.0, validator=_SECONDS)
    heartbeat: float | None = field(default=10.0, validator=_SECONDS.or_none())
    event_buffer: int = field(default=1000, validator=_POSITIVE)
    state_dir: str | os.PathLike[str] | None = field(
        default=None, converter=_as_folder, validator=_FOLDER.or_none(), repr=False
    )
    durability: Durability = field(default="process", validator=_DURABILITY)
    preload: Sequence[str] = field(default=(), converter=_as_tuple, validator=_MODULES)
    python: str | os.PathLike[str] | None = field(
        default=None, converter=_as_program, validator=_PROGRAM.or_none(), repr=False
    )
    call_timeout: float = field(default=5.0, validator=_SECONDS)
    start_timeout: float = field(default=30.0, validator=_SECONDS)
    shutdown: float = field(default=10.0, validator=_SECONDS)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **overrides: Unpack[SettingsOverrides],
    ) -> Self:
        """Return the settings of this app: *overrides*, else variables, else the file.

        Every value is checked, those that another source overrides too. A text
        means the same in a variable and as a TOML string: `"none"` is None,
        `"30/10"` a `CreationRate`, `"one_for_one"` a `Strategy`.

        Args:
            path: A TOML file of settings, at its top level. An unknown key is
                an error, for nothing else has a place in this file.
            environ: The variables, `JIDOCODE_` and the setting's name in
                capitals; None for this process's. One with another name is logged as a warning and
                ignored: the environment belongs to everybody, to newer
                versions and to the app itself too.
            overrides: Settings as `Settings` takes them.

        Raises:
            InvalidSettingError: A value breaks a rule, or the file is no TOML,
                or has an unknown key; it says which and where it stands.
            OSError: The file cannot be read.
            TypeError: There is no setting of that name in *overrides*.
        """
        values = {} if path is None else _from_file(Path(path))
        found: dict[str, Any] = values | _from_environment(_own_variables(environ))
        found.update(overrides)
        return cls(**found)

    def session_flags(self, strategy: Strategy | StrategyText | Flags | None) -> Flags:
        """Return the flags of a session's supervisor.

        A strategy alone gets its budget of restarts from here; `Flags` are taken as they are.

        Raises:
            InvalidChildSpecError: *strategy* is neither a `Strategy` nor `Flags`.
        """
        if isinstance(strategy, Flags):
            return strategy
        return Flags(
            strategy=self.strategy if strategy is None else strategy,
            max_restarts=self.max_restarts,
            max_seconds=self.max_seconds,
        )


def default_state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder for state: `$XDG_STATE_HOME/jidocode`, or `~/.local/state/jidocode`.

    A relative `$XDG_STATE_HOME` is ignored (XDG Base Directory Specification).
    """
    environ = os.environ if environ is None else environ
    state_home = Path(environ.get("XDG_STATE_HOME", ""))
    if state_home.is_absolute():
        return state_home / "jidocode"
    return Path(environ.get("HOME") or Path.home(), ".local", "state", "jidocode")


_RULES: Mapping[str, _Rule] = {
    each.name: cast("_Rule", each.validator) for each in fields(Settings)
}
"""What `Settings` says of each of its fields, for whoever reads them from text."""


def _from_file(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - few apps have a file, and every start waits for imports

    origin = quote(str(path))
    with path.open("rb") as file:
        try:
            table = tomllib.load(file)
        except ValueError as error:  # no TOML, or no UTF-8
            problem = f"cannot be read as TOML: {quote(str(error))}"
            raise InvalidSettingError("the file", problem, origin) from error
    for key in table.keys() - _RULES.keys():
        problem = f"is no setting{_hint(key, _RULES)}"
        raise InvalidSettingError(quote(key), problem, f"key in {origin}")
    return {key: _RULES[key].take(key, given, f"key in {origin}") for key, given in table.items()}


def _own_variables(environ: Mapping[str, str] | None) -> dict[str, str]:
    """Return the variables that are ours.

    The others are nobody's business here: tools that show the locals of a traceback, or
    the defaults of an argument, would print an app's secrets.
    """
    given = os.environ if environ is None else environ
    return {name: text for name, text in given.items() if name.startswith(PREFIX)}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = {f"{PREFIX}{name.upper()}": name for name in _RULES}
    for variable in environ.keys() - names.keys():
        log.warning("{} is no setting{}", quote(variable), _hint(variable, names))
    return {
        name: _RULES[name].take(name, environ[variable], f"variable {variable}")
        for variable, name in names.items()
        if variable in environ
    }


def _hint(word: str, known: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - as in `_from_file`

    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""

"""What the values of settings are: in words, as a test, and how text becomes one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

from attrs import Attribute, field, fields_dict, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError, InvalidSettingError
from jidocode.otp.seconds import INFINITY, is_seconds
from jidocode.otp.supervision.specs import is_count
from jidocode.otp.supervision.strategy import Strategy
from jidocode.session.commands.limits import MAX_OUTPUT, MIN_OUTPUT, SandboxMode
from jidocode.session.confinement.arguments import absolute_paths
from jidocode.session.confinement.limits import CommandLimits
from jidocode.session.project.protection import ProtectedChanges, is_pattern
from jidocode.session.snapshots.limits import MAX_FILE_SIZE

Durability = Literal["process", "power", "memory"]
"""What the conversation survives; see `Settings.durability`."""


@frozen(eq=False, repr=False)
class Rule:
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

    def or_none(self) -> Rule:
        """Return the rule that allows None as well, written `none`."""
        return Rule(
            f"{self.expected}, or none",
            lambda value: value is None or self.fits(value),
            lambda text: None if text == "none" else self.read(text),
        )


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


def _are_patterns(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(is_pattern, cast("Sequence[object]", value)))


def _read_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _read_rate(text: str) -> CreationRate:
    attempts, _, seconds = text.partition("/")
    return CreationRate(int(attempts), float(seconds))


def as_tuple(names: Sequence[str]) -> Sequence[str]:
    """Return *names* as a tuple; as they are if they are no list, to be refused then."""
    return tuple(names) if isinstance(names, list) else names


def as_folder(path: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
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


def as_program(path: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """Return *path* as a `Path`, with `~` expanded; as it is if it is none, to be refused then."""
    absolute = as_folder(path)
    if isinstance(absolute, Path) and path is not None:
        return absolute if Path(path).expanduser().is_absolute() else path
    return absolute


def as_paths(paths: Sequence[str | os.PathLike[str]]) -> Sequence[str | os.PathLike[str]]:
    """Return *paths* as a tuple of str, with `~` expanded; as they are to be refused then."""
    found = _paths(paths)
    return paths if found is None else found


def _paths(value: Any) -> tuple[str, ...] | None:
    """Return the absolute paths in *value*, None if it is no list or tuple of such."""
    if not isinstance(value, list | tuple):
        return None
    given = cast("Sequence[Any]", value)
    try:
        return absolute_paths([os.path.expanduser(path) for path in given])  # noqa: PTH111 - a Path drops what is wrong with one
    except (TypeError, InvalidRequestError):
        return None


def _read_limits(text: str) -> CommandLimits:
    limits: dict[str, int | None] = {}
    for part in text.split(","):
        name, _, limit = (each.strip() for each in part.partition("="))
        if name not in fields_dict(CommandLimits):
            raise ValueError(text)
        limits[name] = None if limit == "none" else int(limit)
    return CommandLimits(**limits)


def _is_program(value: object) -> bool:
    return isinstance(value, Path) and value.is_absolute()


def _one_of(words: Sequence[str]) -> Rule:
    return Rule(
        f"one of {', '.join(words)}",
        lambda value: isinstance(value, str) and value in words,
        str,
    )


COUNT = Rule("an int >= 0 and < 2**31", lambda value: is_count(value) and value < 2**31, int)
POSITIVE = Rule("an int > 0 and < 2**31", lambda value: is_count(value) and 0 < value < 2**31, int)
OUTPUT_SIZE = Rule(
    f"an int >= {MIN_OUTPUT} and <= {MAX_OUTPUT}",
    lambda value: is_count(value) and MIN_OUTPUT <= value <= MAX_OUTPUT,
    int,
)
KEPT_SIZE = Rule(
    f"an int >= 0 and <= {MAX_FILE_SIZE}",
    lambda value: is_count(value) and value <= MAX_FILE_SIZE,
    int,
)
STORE_SIZE = Rule("an int >= 0 and < 2**63", lambda value: is_count(value) and value < 2**63, int)
SECONDS = Rule(
    "seconds > 0 and <= 1e9",
    lambda value: is_seconds(value) and value not in {0, INFINITY},
    float,
)
FLAG = Rule("true or false", lambda value: isinstance(value, bool), _read_flag)
STRATEGY = Rule(
    f"a Strategy (as text: {', '.join(strategy.value for strategy in Strategy)})",
    lambda value: isinstance(value, Strategy),
    Strategy,
)
DURABILITY = _one_of(get_args(Durability))
SANDBOX = _one_of(get_args(SandboxMode))
FOLDER = Rule("the path of a folder", lambda value: isinstance(value, Path), as_folder)
PROGRAM = Rule("the absolute path of a Python interpreter", _is_program, as_program)
MODULES = Rule(
    "names of modules, in a list or a tuple (as text: with commas between them)",
    _are_module_names,
    _read_names,
)
PATHS = Rule(
    "absolute paths, in a list or a tuple (as text: with colons between them)",
    lambda value: _paths(value) is not None,
    lambda text: text.split(os.pathsep) if text else [],
)
LIMITS = Rule(
    "a CommandLimits (as text: such as cpu=60,data=none)",
    lambda value: isinstance(value, CommandLimits),
    _read_limits,
)
PATTERNS = Rule(
    "relative paths without '.', '..' and '**', in a list or a tuple (as text: with commas)",
    _are_patterns,
    _read_names,
)
PROTECTED_CHANGES = _one_of(get_args(ProtectedChanges))
RATE = Rule(
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

    attempts: int = field(validator=POSITIVE)
    seconds: float = field(validator=SECONDS)

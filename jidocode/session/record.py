"""A session as data: the validated record that all its processes are started from.

What was said and done in the session is in the room `conversation`; this record is
what the session *is*. It is immutable, and `rename` and its kin return a new one.

The rules and their short names are JidoCode's (session.ex). Deviations:

- `..` is refused as a component of the project path. JidoCode looked for the two
  dots anywhere, and so refused a folder named `foo..bar`.
- Permission is asked for, not tried with a probe file: such a file wakes every
  watcher of the project, and stays there if the process is killed.
- `new` checks the name and the config too, and reports all broken rules together.
- Keys of a config that are not known here are kept by updates as well.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Any, cast

from attrs import evolve, field, fields, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidSessionError, InvalidSessionIdError
from jidocode.session.project.locate import ProjectKey, detect_language, locate_project

MAX_NAME_LENGTH = 50
"""Characters in a session's name."""
MAX_LABEL_LENGTH = 200
"""Characters in the name of a provider, model or language."""
MAX_TOKENS = 2**31 - 1
"""Tokens that an answer may be allowed."""
MAX_EXTRA_LENGTH = 65_536
"""Characters of JSON in the further keys of a config."""
MAX_JSON_DEPTH = 64
"""Mappings and lists within each other, the outermost counted, in any JSON that is kept."""

_Container = dict[str, object] | list[object] | tuple[object, ...]

_ID_LENGTH = 36
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_session_id() -> str:
    """Return a fresh session id: a lower-case UUID4."""
    return str(uuid.uuid4())


def is_session_id(value: str) -> bool:
    """Whether *value* has the form of a session id."""
    return _ID.fullmatch(value) is not None


def validate_session_id(value: object) -> str:
    """Return *value* if it is a session id.

    Type, length and characters are checked in that order, so the cost does not
    depend on what came.

    Raises:
        InvalidSessionIdError: It is not a lower-case UUID4 in a str.
    """
    if not isinstance(value, str):
        raise InvalidSessionIdError(f"a session id must be a str, not {quote(value)}")
    if len(value) != _ID_LENGTH:
        raise InvalidSessionIdError(
            f"a session id has {_ID_LENGTH} characters, not {len(value)}: {quote(value)}"
        )
    if not is_session_id(value):
        raise InvalidSessionIdError(f"a session id is a lower-case UUID4, not {quote(value)}")
    return value


def json_object(value: object, *, max_length: int) -> str | None:
    """Return the mapping *value* as canonical JSON, None if it cannot be kept as such.

    Args:
        value: What should be a mapping of str to None, bool, finite numbers,
            str, lists and dicts, at most `MAX_JSON_DEPTH` of these within each other.
        max_length: Characters that the text may have.
    """
    if not isinstance(value, Mapping):
        return None
    given = dict(cast("Mapping[str, object]", value))
    if not all(isinstance(key, str) for key in given):  # pyright: ignore[reportUnnecessaryIsInstance] # it is only hoped
        return None
    try:
        text = json.dumps(given, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) <= max_length and not _is_too_deep(given) else None


def _is_too_deep(value: dict[str, object]) -> bool:
    """Whether there are more than `MAX_JSON_DEPTH` levels in *value*, which is JSON."""
    level: list[_Container] = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            cast("_Container", inner)
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, (dict, list, tuple))
        ]
    return bool(level)


@frozen(eq=False, repr=False, kw_only=True)
class SessionConfig(Record):
    """Which language model a session works with; None for what is not chosen.

    Attributes:
        provider: Its provider's name.
        model: Its name.
        temperature: 0 to 2.
        max_tokens: Most tokens in an answer, 1 to `MAX_TOKENS`.
        extra_json: Further keys, for a particular provider: a JSON object as
            text, because text is immutable, whatever it holds.
    """

    provider: str | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    extra_json: str = field(default="{}", repr=False)

    @property
    def extra(self) -> dict[str, Any]:
        """A fresh copy of the further keys."""
        extra: dict[str, Any] = json.loads(self.extra_json)
        return extra

    def as_dict(self) -> dict[str, Any]:
        """Return all keys, the further ones among them, in a fresh dict."""
        return self.extra | {key: getattr(self, key) for key in _KNOWN_KEYS}


_KNOWN_KEYS = tuple(each.name for each in fields(SessionConfig) if each.name != "extra_json")


@frozen(eq=False, repr=False, kw_only=True)
class Session(Record):
    """What a coding session is; made by `Session.new`.

    It can be pickled, and survives every crash: a restarted process gets the
    record that its supervisor holds. Its text shows neither name nor path.

    Attributes:
        id: Lower-case UUID4.
        name: For people; 1 to 50 characters, need not be unique.
        project_path: Absolute and expanded; symlinks in it are kept.
        project_key: Device and inode of the project directory at creation, by
            which it is recognised under every path that leads to it.
        config: The language model to use.
        language: The project's main language, None if unknown.
        created_at: In UTC.
        updated_at: In UTC; later with every change.
    """

    id: str
    name: str = field(repr=False)
    project_path: str = field(repr=False)
    project_key: ProjectKey
    config: SessionConfig
    language: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def new(
        cls,
        *,
        project_path: str | os.PathLike[str],
        name: str | None = None,
        config: SessionConfig | Mapping[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        """Return a record for the project at *project_path*; nothing is started.

        Args:
            project_path: An existing directory that may be read and written;
                `~` is expanded, a relative path counts from the current directory.
            name: The folder's name by default, cut to 50 characters; "project" if
                that is blank.
            config: Keys of `SessionConfig` or of the provider; what is not given
                has the default.
            session_id: A fresh one by default.

        Raises:
            InvalidSessionIdError: *session_id* is not a session id.
            InvalidSessionError: Rules are broken: all of them, in the order
                name, path, config.
        """
        session_id = new_session_id() if session_id is None else validate_session_id(session_id)
        merged = _merge(SessionConfig(), {} if config is None else config)
        problems = [*_config_problems(merged)]
        try:
            path, key = locate_project(project_path)
        except InvalidSessionError as error:
            path, key = "", (0, 0)
            problems = [*zip(error.codes, error.reasons, strict=True), *problems]
        chosen = _default_name(path) if name is None else name
        if name is not None:
            problems = [*_name_problems(name), *problems]
        _refuse(problems)
        now = datetime.now(UTC)
        return cls(
            id=session_id,
            name=chosen,
            project_path=path,
            project_key=key,
            config=merged,
            language=detect_language(path),
            created_at=now,
            updated_at=now,
        )

    def validate(self) -> Session:
        """Return the same record if all of it is valid, the directory included.

        Raises:
            InvalidSessionError: Rules are broken: all of them, in the order class,
                id, name, path, config, language, created_at, updated_at.
        """
        return self._check(_project_problems(self.project_path, self.project_key))

    def validate_values(self) -> Session:
        """Return the same record if all but its project is valid; the disk is not asked.

        Raises:
            InvalidSessionError: As `validate`.
        """
        return self._check(iter(()))

    def _check(self, project_problems: _Problems) -> Session:
        _refuse(
            [
                *_class_problems(self),
                *_id_problems(self.id),
                *_name_problems(self.name),
                *project_problems,
                *_config_problems(self.config),
                *_language_problems(self.language),
                *_time_problems("created_at", self.created_at),
                *_time_problems("updated_at", self.updated_at),
            ]
        )
        return self

    def rename(self, name: str) -> Session:
        """Return the record with another *name*.

        Raises:
            InvalidSessionError: With the code `invalid_name` or `name_too_long`.
        """
        return self._change(name=validate_name(name))

    def update_config(self, changes: Mapping[str, Any]) -> Session:
        """Return the record with *changes* merged into its config.

        Keys that are not in *changes* keep their values.

        Raises:
            InvalidSessionError: Rules are broken: all of them.
        """
        merged = _merge(self.config, changes)
        _refuse([*_config_problems(merged)])
        return self._change(config=merged)

    def update_language(self, language: str | None) -> Session:
        """Return the record with another *language*, None for unknown.

        Raises:
            InvalidSessionError: With the code `invalid_language`.
        """
        _refuse([*_language_problems(language)])
        return self._change(language=language)

    def move(self, project_path: str | os.PathLike[str]) -> Session:
        """Return the record with its project at *project_path*: the folder was moved, or copied.

        Raises:
            InvalidSessionError: There is no usable folder.
        """
        path, key = locate_project(project_path)
        return self._change(project_path=path, project_key=key)

    def _change(self, **changes: Any) -> Session:
        # The wall clock may stand still or go back; the order of changes may not.
        updated_at = max(datetime.now(UTC), self.updated_at + timedelta(microseconds=1))
        return evolve(self, updated_at=updated_at, **changes)


def validate_name(name: object) -> str:
    """Return *name* if it can be the name of a session.

    Raises:
        InvalidSessionError: With the code `invalid_name` or `name_too_long`.
    """
    _refuse([*_name_problems(name)])
    return str(name)


_Problems = Iterator[tuple[str, str]]
"""What is wrong: the short name of each broken rule, and a sentence."""


def _refuse(problems: list[tuple[str, str]]) -> None:
    if problems:
        raise InvalidSessionError(
            tuple(code for code, _ in problems), tuple(reason for _, reason in problems)
        )


def _project_problems(path: object, key: object) -> _Problems:
    if isinstance(path, str) and path and not path.startswith("/"):
        yield "path_not_absolute", f"project path {quote(path)} is not absolute"
        return
    try:
        _, found = locate_project(path)
    except InvalidSessionError as error:
        yield from zip(error.codes, error.reasons, strict=True)
    else:
        if found != key:
            yield (
                "project_path_changed",
                (
                    f"another directory stands at {quote(path)} now; if the project has moved, "
                    "say where to when the session is resumed"
                ),
            )


def _class_problems(session: Session) -> _Problems:
    # What a subclass adds would not come back from a journal.
    if type(session) is not Session:
        yield "invalid_record", f"a record must be just a Session, not {quote(session)}"


def _id_problems(value: object) -> _Problems:
    try:
        validate_session_id(value)
    except InvalidSessionIdError as error:
        yield "invalid_id", error.message


def _is_plain(text: str) -> bool:
    """Whether *text* is without control characters, line breaks and lone surrogates."""
    return not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text)


def _name_problems(name: object) -> _Problems:
    if isinstance(name, str) and len(name) > MAX_NAME_LENGTH:
        yield "name_too_long", f"a name has at most {MAX_NAME_LENGTH} characters, not {len(name)}"
    elif not isinstance(name, str) or not name.strip() or not _is_plain(name):
        yield "invalid_name", f"a name must be one line of text, not {quote(name)}"


def _default_name(path: str) -> str:
    name = os.fsencode(os.path.basename(path) or path).decode("utf-8", "replace")  # noqa: PTH119 - the path is text throughout
    name = "".join(char if _is_plain(char) else "\ufffd" for char in name)[:MAX_NAME_LENGTH]
    return name if name.strip() else "project"


def _is_label(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_LABEL_LENGTH
        and not value.isspace()
        and _is_plain(value)
    )


def _language_problems(language: object) -> _Problems:
    if language is not None and not _is_label(language):
        yield "invalid_language", f"a language must be a word or None, not {quote(language)}"


def _time_problems(what: str, value: object) -> _Problems:
    # The next change must find a later time.
    if not isinstance(value, datetime) or value.utcoffset() != timedelta() or value.year == MAXYEAR:
        rule = f"a datetime in UTC, before the year {MAXYEAR}"
        yield f"invalid_{what}", f"{what} must be {rule}, not {quote(value)}"


def _merge(config: SessionConfig, changes: object) -> Any:
    """Return *config* with *changes*; None if they are no mapping of str to JSON.

    Nothing else is checked yet: that is for `_config_problems`, which refuses None too.
    """
    if type(changes) is SessionConfig:
        return changes
    if not isinstance(changes, Mapping):
        return None
    values: dict[Any, Any] = {**config.as_dict(), **cast("Mapping[object, object]", changes)}
    known = {key: values.pop(key) for key in _KNOWN_KEYS}
    extra = json_object(values, max_length=MAX_EXTRA_LENGTH)
    return None if extra is None else SessionConfig(**known, extra_json=extra)


def _config_problems(config: object) -> _Problems:
    if type(config) is not SessionConfig or not _is_json_object(config.extra_json):
        limits = f"{MAX_EXTRA_LENGTH} characters and {MAX_JSON_DEPTH} levels"
        reason = f"a config must be a SessionConfig or a mapping of names to JSON, in {limits}"
        yield "invalid_config", reason
        return
    if config.provider is not None and not _is_label(config.provider):
        yield "invalid_provider", f"provider must be a name, not {quote(config.provider)}"
    if config.model is not None and not _is_label(config.model):
        yield "invalid_model", f"model must be a name, not {quote(config.model)}"
    if not _is_none_or_number(config.temperature, 0, 2):
        yield "invalid_temperature", f"temperature must be 0 to 2, not {quote(config.temperature)}"
    if not _is_none_or_number(config.max_tokens, 1, MAX_TOKENS, int):
        yield (
            "invalid_max_tokens",
            f"max_tokens must be 1 to {MAX_TOKENS}, not {quote(config.max_tokens)}",
        )


def _is_none_or_number(
    value: object, least: int, most: int, kind: type[int | float] = float
) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, kind)) and not isinstance(value, bool) and least <= value <= most


def _is_json_object(text: object) -> bool:
    if not isinstance(text, str) or len(text) > MAX_EXTRA_LENGTH:
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    # json.loads takes NaN and 1e999, which an update would refuse then.
    return json_object(value, max_length=MAX_EXTRA_LENGTH) is not None

"""Rules for what is given to the records of this room."""

from __future__ import annotations

import os
from typing import cast

from jidocode.base.text import quote
from jidocode.errors import BoundaryError, InvalidRequestError
from jidocode.session.project.paths import MAX_PATH_LENGTH, path_bytes

MAX_PATHS = 1000


def require_few(what: str, value: object, *, most: int) -> tuple[object, ...]:
    """Return *value*, called *what*, as a tuple.

    Raises:
        InvalidRequestError: It is no tuple or list of at most *most*.
    """
    if not isinstance(value, (tuple, list)):
        raise InvalidRequestError(f"{what} must be a tuple, not {quote(value)}")
    values = tuple(cast("tuple[object, ...]", value))
    if len(values) > most:
        raise InvalidRequestError(f"there may be {most} {what}, not {len(values)}")
    return values


def absolute_paths(value: object) -> tuple[str, ...]:
    """Return *value* as a tuple of paths.

    Raises:
        InvalidRequestError: It is no tuple or list of absolute paths.
    """
    return tuple(map(_path, require_few("paths", value, most=MAX_PATHS)))


def _path(value: object) -> str:
    path: object = (
        os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value
    )
    if not isinstance(path, str) or not path.startswith("/"):
        raise InvalidRequestError(f"a path must be absolute, not {quote(path)}")
    try:
        length = len(path_bytes(path))
    except BoundaryError as error:
        raise InvalidRequestError(str(error)) from error
    if length >= MAX_PATH_LENGTH:
        raise InvalidRequestError(f"path {quote(path)} is too long")
    return path

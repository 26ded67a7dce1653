"""Where a project is: its path, what identifies its folder, and its language.

A session is of one folder, whatever name leads to it: a path is only how the app says
which. So a record keeps the path as the app gave it, made absolute, and the folder's
key, by which symlinks, bind mounts and renames are seen through.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import cast

from jidocode.base.text import quote
from jidocode.errors import InvalidSessionError
from jidocode.session.project.descriptors import FolderKey, key_of
from jidocode.session.project.paths import MAX_PATH_LENGTH, os_error

ProjectKey = FolderKey
"""Which directory a project's folder is, whatever name leads to it."""


# ----- the folder -------------------------------------------------------------


def locate_project(path: object) -> tuple[str, ProjectKey]:
    """Return the absolute, expanded form of *path*, and what identifies the directory.

    Raises:
        InvalidSessionError: With one code: `invalid_project_path`,
            `missing_project_path`, `path_too_long`, `path_traversal_detected`,
            `path_not_found`, `path_not_directory`, `path_permission_denied` or
            `path_read_only` (its file system is).
    """
    text = _path_text(path)
    try:
        # abspath keeps two leading slashes, which POSIX allows to mean something else.
        absolute = "/" + os.path.abspath(os.path.expanduser(text)).lstrip("/")  # noqa: PTH100, PTH111 - Path.absolute keeps "." components
    except FileNotFoundError as error:
        reason = f"project path {quote(text)} is relative, and the current directory is gone"
        raise _invalid("path_not_found", reason) from error
    return absolute, _directory_key(absolute)


def enclosing_keys(path: str) -> list[ProjectKey]:
    """Return the keys of the directories around the one at *path*, nearest first.

    What cannot be looked at is left out: it cannot be an open project either.
    """
    keys: list[ProjectKey] = []
    here = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - all paths here are str
    while True:
        with contextlib.suppress(OSError):
            keys.append(key_of(os.stat(here)))  # noqa: PTH116 - idem
        above = os.path.dirname(here)  # noqa: PTH120 - idem
        if above == here:
            return keys
        here = above


def unusable_project(path: str, error: OSError) -> InvalidSessionError:
    """Return what to raise from *error*, which came when the project at *path* was opened."""
    code = _CODE_BY_ERRNO.get(error.errno or 0, "path_not_found")
    return _invalid(code, f"project path {quote(path)} cannot be used: {error.strerror}")


_CODE_BY_ERRNO = {
    errno.EACCES: "path_permission_denied",
    errno.EPERM: "path_permission_denied",
    errno.ENAMETOOLONG: "path_too_long",
    errno.EROFS: "path_read_only",
}


def _directory_key(path: str) -> ProjectKey:
    try:
        status = os.stat(path)  # noqa: PTH116 - the path is text throughout
    except OSError as error:
        raise unusable_project(path, error) from error
    if not stat.S_ISDIR(status.st_mode):
        raise _invalid("path_not_directory", f"project path {quote(path)} is not a directory")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            raise unusable_project(path, os_error(errno.EROFS))
        raise _invalid(
            "path_permission_denied", f"project path {quote(path)} may not be read and written"
        )
    return key_of(status)


# ----- what a path may be -----------------------------------------------------


def _path_text(path: object) -> str:
    text = os.fspath(cast("os.PathLike[str]", path)) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise _invalid(
            "invalid_project_path", f"a project path must be a str or a Path, not {quote(text)}"
        )
    for code, reason, breaks in _PATH_RULES:
        if breaks(text):
            raise _invalid(code, f"project path {quote(text)} {reason}")
    return text


def _is_too_long(path: str) -> bool:
    # The number of characters is known; only what may fit is worth encoding.
    if len(path) > MAX_PATH_LENGTH:
        return True
    return len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_LENGTH


def _is_impossible(path: str) -> bool:
    try:
        return b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        return True


_PATH_RULES: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("missing_project_path", "is empty", lambda path: not path),
    ("path_too_long", f"has more than {MAX_PATH_LENGTH} bytes", _is_too_long),
    ("invalid_project_path", "holds characters that no path can hold", _is_impossible),
    ("path_traversal_detected", "has a '..' in it", lambda path: ".." in path.split("/")),
)
"""The code of each rule, what to say of a path that breaks it, and whether one does; in order."""


def _invalid(code: str, reason: str) -> InvalidSessionError:
    return InvalidSessionError((code,), (reason,))


# ----- the language -----------------------------------------------------------

# The first one found decides.
_LANGUAGE_BY_MARKER = {
    "mix.exs": "elixir",
    "Cargo.toml": "rust",
    "go.mod": "go",
    "pyproject.toml": "python",
    "setup.py": "python",
    "requirements.txt": "python",
    "tsconfig.json": "typescript",
    "package.json": "javascript",
    "Gemfile": "ruby",
    "composer.json": "php",
    "build.gradle.kts": "kotlin",
    "build.gradle": "java",
    "pom.xml": "java",
    "CMakeLists.txt": "cpp",
}


def detect_language(path: str) -> str | None:
    """Return the main language of the project at *path* by its marker files, or None.

    Only names in the directory itself are looked at.

    Raises:
        InvalidSessionError: With the code `path_not_found` or
            `path_permission_denied`: the directory cannot be listed any more.
    """
    try:
        names = frozenset(os.listdir(path))  # noqa: PTH208 - a Path per file is not cheap
    except OSError as error:
        raise unusable_project(path, error) from error
    return next((lang for marker, lang in _LANGUAGE_BY_MARKER.items() if marker in names), None)

"""Paths as a caller gives them, before anything is opened, and what goes wrong with them.

A path is text relative to the project's root. What is wrong with a path raises
`BoundaryError`; other failures raise the OSError that `open` would, with the path
inside the project, so that no message tells where on the machine a project lies.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator, Iterator
from typing import cast

from jidocode.base.text import quote
from jidocode.errors import BoundaryError

MAX_PATH_LENGTH = 4096
"""Bytes in a path (Linux: PATH_MAX)."""
MAX_LINKS = 40
"""Symlinks in one path (Linux: MAXSYMLINKS)."""


def path_text(path: object) -> str:
    """Return *path* as text.

    Raises:
        BoundaryError: It is no path.
        OSError: It is too long (ENAMETOOLONG).
    """
    text = os.fspath(cast("os.PathLike[str]", path)) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text:
        raise BoundaryError(f"a path must be a str and not empty, not {quote(text)}")
    # The kernel counts the NUL that ends a path. Characters first: they are counted already.
    if len(text) >= MAX_PATH_LENGTH or len(path_bytes(text)) >= MAX_PATH_LENGTH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), f"{text[:40]}...")
    return text


def path_bytes(text: str) -> bytes:
    """Return *text* as the kernel gets it.

    Raises:
        BoundaryError: It holds what no path can hold.
    """
    # A C function would take a NUL for the end of the path, and open another file.
    if "\0" in text:
        raise BoundaryError(f"path {quote(text)} holds a NUL")
    try:
        return os.fsencode(text)
    except UnicodeEncodeError as error:
        raise BoundaryError(f"path {quote(text)} cannot be encoded") from error


def components(path: str) -> list[str]:
    """Return the names in *path*, `..` among them."""
    return [part for part in path.split("/") if part not in {"", "."}]


def above(path: str) -> Iterator[str]:
    """Yield the folders above *path*, which is relative to the root, nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def os_error(code: int) -> OSError:
    """Return the error with the errno *code*, as the class that Python has for it."""
    return OSError(code, os.strerror(code))


@contextlib.contextmanager
def errors_about(relative: str) -> Generator[None]:
    """Turn the kernel's refusals into `BoundaryError`, and name *relative* in all else."""
    try:
        yield
    except BoundaryError:
        raise
    except OSError as error:
        # EXDEV: a step out, in both tiers. ELOOP: a loop, or a magic link of /proc.
        if error.errno in {errno.EXDEV, errno.ELOOP}:
            raise BoundaryError(f"path {quote(relative)} leads out of the project") from error
        # What a FIFO without a reader, a socket or a device without a driver says.
        if error.errno in {errno.ENXIO, errno.ENODEV}:
            raise BoundaryError(f"{quote(relative)} is no regular file") from error
        raise OSError(error.errno, error.strerror, relative) from error

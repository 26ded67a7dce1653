"""Where the token comes from by which clients are known, and which never is an argument."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import MutableMapping
from pathlib import Path

from jidocode.errors import InvalidSettingError

VARIABLE = "JIDOCODE_MCP_TOKEN"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
_LONGEST_FILE = 1024


def take_token(file: Path | None, environ: MutableMapping[str, str]) -> str | None:
    """Return the token of *file*, or else of the environment, which has it no more; or None.

    Raises:
        InvalidSettingError: It is none, or others may read the file.
        OSError: The file cannot be read.
    """
    said = environ.pop(VARIABLE, None)  # no process that is started here shall have it
    if file is not None:
        return _checked(_read(file), str(file))
    return None if said is None else _checked(said, VARIABLE)


def make_token() -> str:
    """Return a fresh one."""
    return secrets.token_urlsafe(32)


def _read(file: Path) -> str:
    # Of a pipe, nobody may ever open the other end.
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise InvalidSettingError("token", "must be in a file of your own", str(file))
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise InvalidSettingError(
                "token", "must be in a file that is yours alone: chmod 600", str(file)
            )
        return opened.read(_LONGEST_FILE).decode("ascii", "replace").strip()


def _checked(token: str, origin: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise InvalidSettingError("token", "must be 16 to 512 letters, digits and ._~+/=-", origin)
    return token

"""`RunOptions`: the arguments of `CommandsClient.run`, for whatever passes them on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from jidocode.session.commands.confinement.network import Network


class RunOptions(TypedDict, total=False):
    """The arguments of `CommandsClient.run` but for its command; see there."""

    cwd: str | os.PathLike[str]
    env: Mapping[str, str | None] | None
    stdin: str | bytes | None
    timeout: float | None
    output_limit: int | None
    merge: bool
    tty: bool | tuple[int, int]
    save_output: str | os.PathLike[str] | None
    network: Network
    check: bool

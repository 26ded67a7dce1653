"""Being in a system that another process has started."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jidocode._host import wire
from jidocode._host.attach.place import require_name
from jidocode._host.attach.visit import HungUpError, Visit, pause_before_retry, visit
from jidocode._host.client.attached import AttachedClient, ReadOnlyClient
from jidocode._host.deadline import Deadline
from jidocode._host.limits import require_descriptors
from jidocode._host.threads import run_whole
from jidocode.errors import AttachError
from jidocode.otp.seconds import require_seconds
from jidocode.session.tree import SessionChildren, session_children
from jidocode.system.archive import Archive
from jidocode.system.running import Connect
from jidocode.system.running_sessions import About, RunningSystem, Tooling

if TYPE_CHECKING:
    from jidocode.session.tools.policy import Policy
    from jidocode.session.tools.tool import Tool


def _about(host: Visit) -> About:
    about = wire.unpack(host.about)
    if not isinstance(about, About):
        raise AttachError("what the system says of itself cannot be read here")
    return about


def attach(
    name: str,
    build: SessionChildren | None,
    tooling: tuple[Sequence[Tool], Policy | None],
    *,
    read_only: bool,
    timeout: float,
) -> RunningSystem:
    """Return the system called *name*; see `SessionSystem.attach`."""
    found = require_name(name)
    require_descriptors(found)
    require_seconds("timeout", timeout)
    deadline = Deadline.after(timeout)
    while True:
        host = run_whole(lambda: visit(found, deadline))
        try:
            about = _about(host)
            connect: Connect
            if read_only:
                from jidocode.system.looking import changes_nothing  # noqa: PLC0415 - few attach so

                connect = partial(
                    ReadOnlyClient, host, timeout=deadline.left, permits=changes_nothing
                )
            else:
                connect = partial(AttachedClient, host, timeout=deadline.left)
            archive = Archive(
                about.settings, about.system, private=Path(about.private), read_only=read_only
            )
            children = build or session_children
            tools = Tooling(*tooling, about.model)
            return RunningSystem(connect, archive, about.settings, children, tools)
        except HungUpError as error:
            host.close()
            pause_before_retry(found, deadline, str(error))
        except BaseException:
            host.close()
            raise

"""A system that belongs to no app: a process that does nothing but hold it, for others to attach.

So sessions live on while an app is reloaded, and all workers of a server share them.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from jidocode._host.client.owner import OwnerClient
from jidocode._host.descriptors import wait_for_any
from jidocode.base import log
from jidocode.base.end_signals import told_to_end
from jidocode.otp.seconds import INFINITY, require_seconds
from jidocode.system.settings import Settings
from jidocode.system.system import SessionSystem

if TYPE_CHECKING:
    from jidocode.session.agent.spec import ModelSpec

_LOOK_SECONDS = 1.0
"""How often it is looked whether the system still runs, and is still used."""


def serve(
    name: str,
    settings: Settings | None = None,
    *,
    model: ModelSpec | None = None,
    idle_timeout: float | None = None,
    on_ready: Callable[[SessionSystem], object] | None = None,
) -> None:
    """Run a system called *name* until this process is told to end, and stop it in order then.

    It is told by SIGTERM, SIGINT or SIGHUP, but by none that it ignores already, as below `nohup`;
    in the main thread alone, for no other one gets them.
    systemd, if it waits for that (`Type=notify`), is told when others can attach.

    Args:
        name: By which others attach, see `SessionSystem.attach`.
        settings: How the system behaves; the defaults if not given.
        model: What the agents of its sessions speak with; without one they do not.
        idle_timeout: Seconds after which it ends by itself if nobody is attached; sessions that are
            open then can be resumed. None for never.
        on_ready: Is told when others can attach.

    Raises:
        HostExitedError: The system has ended by itself; it says how.
        RuntimeError: This is not the main thread.
        InvalidTimeError: *idle_timeout* is no time.
        Exception: Whatever else `SessionSystem` raises.
    """
    patience = INFINITY if idle_timeout is None else idle_timeout
    require_seconds("idle_timeout", patience)
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("serve() has to be told to end, which only the main thread is")
    with told_to_end() as told, SessionSystem(settings, name=name, model=model) as system:
        client = system._running.client  # noqa: SLF001 - both are of this room
        assert isinstance(client, OwnerClient)  # noqa: S101 - this process has just started it
        if on_ready is not None:
            on_ready(system)
        _tell_systemd("READY=1")
        while not wait_for_any([told], min(_left(client, patience), _LOOK_SECONDS)):
            client.check()
            if not _left(client, patience):
                log.debug("system {} ends: for {:g} s nobody has been attached", name, patience)
                break
        _tell_systemd("STOPPING=1")


def _left(client: OwnerClient, patience: float) -> float:
    """Return how long nobody has to come until the system has been idle for too long."""
    since = client.idle_since
    return patience if since is None else max(0.0, since + patience - time.monotonic())


def _tell_systemd(state: str) -> None:
    """Tell the service manager *state*, if it has asked for that (sd_notify(3))."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), place.replace("@", "\0", 1) if place[0] == "@" else place)
        except OSError as error:
            log.warning("systemd cannot be told of {}: {}", state, error.strerror)

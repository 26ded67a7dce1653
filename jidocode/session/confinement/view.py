"""What a confinement looks like in tier namespaces: which folders, links and guards there are."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence

from jidocode.errors import ConfinementError
from jidocode.session.confinement import landlock
from jidocode.session.confinement.confinement import Confinement
from jidocode.session.confinement.guards import guards
from jidocode.session.confinement.network import NoNetwork, Ports
from jidocode.session.confinement.rules import system_names
from jidocode.session.confinement.world import Base, World

_MADE = ("/proc", "/dev/pts", "/dev/ptmx")
"""What is not shown but made anew."""
_TEMPORARY, _MEMORY = "/tmp", "/dev/shm"  # noqa: S108 - the command's own
_MAX_LINKS = 40


def view(
    confinement: Confinement, project: str, temporary: str, names: Sequence[str] = ()
) -> World:
    """Return what a command with that *confinement* sees.

    Args:
        confinement: What it may do.
        project: The session's project; what in it git takes its orders from is guarded.
        temporary: The folder that is to be its `/tmp`.
        names: Paths by which what it may reach was named; symlinks in them are there, too.

    Raises:
        ConfinementError: That cannot be shown.
    """
    anchors, guarded = guards(project)
    network = confinement.network
    return World(
        base=tuple(
            _base(confinement.read, confinement.write, confinement.devices, temporary, tuple(names))
        ),
        anchors=_encode(anchors),
        guarded=_encode(guarded),
        shares_network=not isinstance(network, NoNetwork),
        abi=landlock.find_abi(),
        ports=_ports(network) if isinstance(network, (NoNetwork, Ports)) else None,
    )


@functools.lru_cache(maxsize=16)
def _base(
    readable: tuple[str, ...],
    writable: tuple[str, ...],
    devices: tuple[str, ...],
    temporary: str,
    names: tuple[str, ...],
) -> Base:
    write = [path for path in writable if not _is_made(path)]
    if "/" in write or "/" in readable:
        raise ConfinementError("tier namespaces cannot show a command the root of all folders")
    read: list[str] = []
    for path in sorted(set(readable)):
        if not _is_made(path) and not _is_beneath(path, (*read, *write)):
            read.append(path)
    devices = tuple(path for path in devices if not _is_made(path))
    shown = (*read, *write, *devices)
    return Base(
        read=_encode(read),
        write=_encode(write),
        devices=_encode(devices),
        links=tuple(
            (os.fsencode(path), os.fsencode(target))
            for path, target in _links((*system_names(), *names)).items()
            if not _is_made(path) and not _is_beneath(path, shown)
        ),
        temporary=None if _is_beneath(_TEMPORARY, shown) else os.fsencode(temporary),
        memory=not _is_beneath(_MEMORY, shown),
    )


def _encode(paths: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(map(os.fsencode, paths))


def _ports(network: NoNetwork | Ports) -> tuple[tuple[int, int], ...]:
    if isinstance(network, NoNetwork):
        return ()
    return (
        *((port, landlock.CONNECT_TCP) for port in network.connect),
        *((port, landlock.BIND_TCP) for port in network.listen),
    )


def _is_made(path: str) -> bool:
    return _is_beneath(path, _MADE)


def _is_beneath(path: str, folders: Iterable[str]) -> bool:
    """Whether *path* is one of *folders*, or in one; both without symlinks and dots."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _links(paths: Iterable[str]) -> dict[str, str]:
    """Return the symlinks on the way to *paths*, and where each leads."""
    found: dict[str, str] = {}
    for path in paths:
        todo, at = [*reversed(path.split("/"))], ""
        for _ in range(_MAX_LINKS * 10):
            if not todo:
                break
            name = todo.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                at = at.rpartition("/")[0]
                continue
            step = f"{at}/{name}"
            target = found.get(step) or _target(step)
            if target is None:
                at = step
                continue
            found[step] = target
            todo += reversed(target.split("/"))
            at = "" if target.startswith("/") else at
    return found


def _target(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 - as it stands there
    except OSError:
        return None

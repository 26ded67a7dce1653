"""A Manager confines itself to its project, as soon as it has open what it needs.

What it works on was written by anybody: names, links, patterns, encodings, which go through
code in C as well. The boundary (`session/project/boundary.py`) holds as long as that code does
what it says. What is done here holds after that, too: by the kernel, for good, in the process
that would be taken over.

It keeps what it takes to be a process of a system: connections by TCP, threads, and Python's
own modules to read, for some are imported late.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from jidocode.base import log
from jidocode.errors import ConfinementError
from jidocode.session.commands.limits import SandboxMode
from jidocode.session.confinement.confinement import Confinement, prepare
from jidocode.session.confinement.here import try_here
from jidocode.session.confinement.limits import CommandLimits
from jidocode.session.confinement.network import Peers
from jidocode.session.confinement.rules import PROGRAMS, python_prefixes
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.descriptors import DIRECTORY

_NO_LIMITS = CommandLimits(core=None, file_size=None, data=None, descriptors=None)
"""What the app has: files are as large as they are, and memory is the app's to limit."""
_SITES = ("site-packages", "dist-packages")


def confine(boundary: Boundary, folders: Iterable[str], mode: SandboxMode) -> None:
    """Confine this process to the project of *boundary*, for good.

    Call it while the process has one thread: the kernel confines the calling one, and those
    that it starts later.

    Args:
        boundary: The project.
        folders: What it may change besides.
        mode: `off` for nothing; with `auto` it goes on where it cannot be confined, and says so.

    Raises:
        ConfinementError: It is required, and the kernel does not do all of it.
    """
    if mode == "off":
        return
    try:
        _confine(boundary, folders)
        if mode != "auto":
            _require_all()
    except ConfinementError as error:
        if mode != "auto":
            raise
        log.warning("a Manager is not confined: {}", error)


def _confine(boundary: Boundary, folders: Iterable[str]) -> None:
    # Another thread would stay as it is, and would have all the rights of this one.
    if _has_threads():
        raise ConfinementError("its process has threads already")
    with ExitStack() as stack:
        opened = [boundary.share()]
        stack.callback(os.close, opened[0])
        for folder in folders:
            with suppress(OSError):  # it is not there: who needs it says so
                opened.append(os.open(folder, DIRECTORY))
                stack.callback(os.close, opened[-1])
        itself = os.open("/proc/self", DIRECTORY)
        stack.callback(os.close, itself)
        prepared = prepare(_rights(), read=[itself], write=opened)
        stack.enter_context(prepared).apply()


def _has_threads() -> bool:
    try:
        return os.stat("/proc/self/task").st_nlink > 3  # noqa: PTH116, PLR2004 - itself, its parent, and one for each
    except OSError as error:
        raise ConfinementError(f"its threads cannot be counted: {error}") from error


def _folders_of(package: str) -> Iterable[str]:
    """Return where *package* is, which may be in any folder; it is not imported."""
    spec = importlib.util.find_spec(package)
    return (spec and spec.submodule_search_locations) or ()


@functools.cache
def _rights() -> Confinement:
    """Return what every Manager may do; making it takes longer than to use it."""
    return Confinement(
        read=modules(), network=Peers(), limits=_NO_LIMITS, execute=False, owners=True
    )


def rehearse() -> None:
    """Do once, in the host, what is the same for all Managers; nobody is confined by it."""
    with suppress(ConfinementError):  # each Manager says so
        prepare(_rights()).close()


def _require_all() -> None:
    missing = try_here().missing
    if missing:
        raise ConfinementError(f"the kernel does not hold a Manager: it could {', '.join(missing)}")


def modules() -> tuple[str, ...]:
    """Return where modules lie that a Manager may import late, and the libraries of those.

    That is Python's own library, whatever is installed for it, and this package. Not all of
    `sys.path`: for a script in the home folder that would be the whole of it.
    """
    installed = (path for path in sys.path if os.path.basename(path) in _SITES)  # noqa: PTH119 - texts
    libraries = (f"{prefix}/{name}" for prefix in python_prefixes() for name in ("lib", "lib64"))
    wanted = (
        *(*PROGRAMS, "/etc/ld.so.cache", *libraries, *installed),
        *(os.path.dirname(os.__file__), str(Path(__file__).parents[2])),  # noqa: PTH120 - idem
        *_folders_of("re2"),
    )
    found = sorted({os.path.realpath(path) for path in wanted if os.path.exists(path)})  # noqa: PTH110 - idem
    return tuple(
        path for path in found if not any(Path(path).is_relative_to(o) for o in found if o != path)
    )

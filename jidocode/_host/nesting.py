"""Where no system may be started: in a process of a system, and in what only imports an app.

Why it is refused: a child's process imports the module of its class. If that module starts a
system at its top, the natural layout of a small app, the system's processes would start
systems, whose processes would start systems, without an end. `multiprocessing` refuses the
same, for the same reason.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

MARK = "_JIDOCODE_HOST"
"""A variable that is set for what is started as a host's interpreter, until that begins.

Whoever still finds it is no interpreter, but a program that the app took for one: mostly
itself. (No setting has this name: those begin with `JIDOCODE_`.)
"""

ADVICE = (
    "Start it in a function, or below `if __name__ == '__main__':`, and keep the classes of "
    "children in modules that start none when they are imported"
)


class _Membership:
    """Whether this process is one of a system's; inherited by fork, and not by exec."""

    in_system = False


def join_system() -> None:
    """Note that this process, and whatever it forks, is a system's."""
    _Membership.in_system = True


def refuse_nested_start() -> None:
    """Raise `HostStartError` where no system may be started."""
    from jidocode.errors import HostStartError  # noqa: PLC0415 - a guard has no use for it

    if MARK in os.environ:
        raise HostStartError(
            "this program was started to be the host's interpreter, and is none: "
            "the setting python says which Python runs the host"
        )
    if _Membership.in_system:
        raise HostStartError(
            f"a SessionSystem cannot be started in a process of a running system{_importer()}. "
            f"{ADVICE}"
        )
    process = sys.modules.get("multiprocessing.process")
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        raise HostStartError(
            "a SessionSystem cannot be started while a process of multiprocessing imports "
            f"the app's main module. {ADVICE}"
        )


def _importer() -> str:
    """Say which module's import has led here, if one has."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - nothing public is as cheap to import
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            return f", which the import of {frame.f_globals.get('__name__')!r} does"
        frame = frame.f_back
    return ""

"""Which Python the host runs on, with what flags, and how it begins.

The host's interpreter is as the app's: its flags and variables hold, as they do in the
processes of `multiprocessing`. What differs is where it imports from. A project's `json.py`,
in the current folder or on PYTHONPATH, must not take the place of Python's own while the
host begins, though the app may have both: it had Python's before that folder was on its path.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jidocode._host.nesting import MARK
from jidocode.errors import HostStartError

BOOTSTRAP = """
import os, sys
home = os.environ.pop("_JIDOCODE_HOST", "")
if home:
    os.environ["PYTHONHOME"] = home
folder = os.path.dirname(os.__file__)
library = [e for e in sys.path if e in (folder, os.path.join(folder, "lib-dynload"))]
own, sys.path[:] = sys.path[:], library + sys.path
import json
with open(int(sys.argv[1]), "rb") as file:
    orders = json.load(file)
if orders["add_path"]:
    orders["path"] += [e for e in own if e not in orders["path"]]
sys.path[:] = library + orders["path"]
from jidocode._host.daemon.main import main
main(orders, library)
"""
"""What the new interpreter runs; its one argument is the descriptor of the orders.

It finds what comes with Python first. Then the orders say where the app imports from, and this
package with it. An interpreter that is not the app's own (`add_path`) may add what it has itself.
"""

_LETTERS = {
    "optimize": "O",
    "dont_write_bytecode": "B",
    "bytes_warning": "b",
    "debug": "d",
    "verbose": "v",
    "isolated": "I",
    "ignore_environment": "E",
    "no_user_site": "s",
    "no_site": "S",
}


def command(python: str | os.PathLike[str] | None, orders: int) -> list[str]:
    """Return the command that begins a host, with its orders on the descriptor *orders*.

    Args:
        python: The interpreter; None for the app's own.
        orders: Where its orders are.

    Raises:
        HostStartError: There is no interpreter that the app could be known to have.
    """
    return [os.fspath(python or _own_python()), *_flags(), "-P", "-c", BOOTSTRAP, str(orders)]


def _own_python() -> str:
    if getattr(sys, "frozen", False):
        what = f"this app is frozen, and {sys.executable} the app itself"
    elif not sys.executable:
        what = f"sys.executable is {sys.executable!r}"
    elif "py" not in Path(sys.executable).name.lower():  # uWSGI, or what has Python embedded
        what = f"sys.executable is {sys.executable}"
    else:
        return sys.executable
    raise HostStartError(f"the setting python must name the Python that runs the host: {what}")


def _flags() -> list[str]:
    """Return the options that give another interpreter the flags of this one."""
    counts = {letter: int(getattr(sys.flags, name)) for name, letter in _LETTERS.items()}
    letters = [f"-{letter * count}" for letter, count in counts.items() if count > 0]
    warnings = [f"-W{option}" for option in sys.warnoptions]
    options = [
        f"-X{name}" if value is True else f"-X{name}={value}"
        for name, value in sys._xoptions.items()  # noqa: SLF001 - documented, for all its name
    ]
    return [*letters, *warnings, *options]


def environment() -> dict[bytes, bytes]:
    """Return the variables for the new interpreter: the app's, and a mark (see `nesting`).

    PYTHONHOME waits in the mark until the interpreter has begun: the app may have set it for
    another one.
    """
    variables = dict(os.environb)
    variables[MARK.encode()] = variables.pop(b"PYTHONHOME", b"")
    return variables


def import_path() -> list[str]:
    """Return where this app imports from, in absolute paths."""
    entries: list[object] = [*sys.path]  # what an app puts there that is not text is ignored
    return [path for each in entries if isinstance(each, str) and (path := _absolute(each))]


def _absolute(entry: str) -> str | None:
    try:
        return os.path.abspath(entry)  # noqa: PTH100 - "" is the current folder
    except FileNotFoundError:  # of a current folder that is gone: nothing can be found there
        return None


def library_modules() -> list[str]:
    """Return the names of those modules that this app has from Python's own library."""
    folder = f"{os.path.dirname(os.__file__)}{os.sep}"  # noqa: PTH120 - may lie in an archive
    return [
        name
        for name in sys.stdlib_module_names & sys.modules.keys()
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folder)
    ]

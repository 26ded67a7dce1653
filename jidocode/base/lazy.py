"""Public names that are imported when they are first used (PEP 562).

A package names some eighty classes; an app uses five of them. Importing the rest
would cost every start, of the app and of the host, tens of milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module


def lazy_names(
    package: str, homes: str
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for the module *package*.

    Args:
        package: The module's `__name__`.
        homes: Dotted names of modules, each followed by the names that it defines.
    """
    home_of: dict[str, str] = {}
    home = ""
    for word in homes.split():
        if "." in word:
            home = word
        else:
            home_of[word] = home

    def get(name: str) -> object:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(home), name)
        setattr(sys.modules[package], name, value)  # found without this function from now on
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return get, names, sorted(home_of)

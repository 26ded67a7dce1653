"""Public names that are imported when they are first used (PEP 562).

A package names some eighty classes; an app uses five of them. Importing the rest
would cost every start, of the app and of the host, tens of milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module


def lazy_names(
    package: str, homes: str, *, modules: str = ""
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` for the module *package*.

    Args:
        package: The module's `__name__`.
        homes: Dotted names of modules, each followed by the names that it defines.
        modules: The public modules below *package*, likewise imported when they are used.
    """
    home_of: dict[str, str] = {}
    public_modules = modules.split()
    home = ""
    for word in homes.split():
        if "." in word:
            home = word
        else:
            home_of[word] = home

    def get(name: str) -> object:
        if name in public_modules:
            return import_module(f"{package}.{name}")  # which sets the attribute itself
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(home), name)
        setattr(sys.modules[package], name, value)  # found without this function from now on
        return value

    def names() -> list[str]:
        return sorted([*home_of, *public_modules])

    return get, names, sorted(home_of)

"""Protected paths: what in a project other programs execute later, without being asked to.

A command that may write the project may write a git hook, too, and the user's next commit runs
that, outside of every sandbox. So a change of such a path is reported, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from attrs import field, frozen

from jidocode.base.records import Record

ProtectedChanges = Literal["report", "refuse"]
"""What comes of a change of a protected path; see `Settings.protected_changes`."""

# What git, a shell or an editor executes because it stands there, and nobody named it. What is
# executed because somebody says so (a Makefile, a test, a script of package.json) is not in here:
# to change that is what a session is for.
DEFAULT_PATHS = (
    ".git/hooks",  # run by commit, checkout, merge, push
    ".git/config",  # names programs: core.fsmonitor, core.hooksPath, core.pager, filters, aliases
    ".git/config.worktree",  # the same
    ".git/commondir",  # has git take config and hooks from somewhere else
    ".git/modules/*/hooks",  # the same three of each submodule
    ".git/modules/*/config",
    ".git/modules/*/commondir",
    ".husky",  # hooks, where core.hooksPath says so
    ".envrc",  # direnv: run by the shell that enters the folder
    ".vscode",  # tasks that run when the folder is opened, and which programs its extensions start
    ".idea",  # the same
    ".devcontainer",  # what is run, on the machine too, when the folder is opened
    ".devcontainer.json",
    ".mcp.json",  # servers that coding agents start
    ".claude",  # hooks and permissions of coding agents
    ".cursor",
)
"""The default of `Settings.protected_paths`."""


@frozen(eq=False, repr=False, kw_only=True)
class ProtectionRules(Record):
    """Which paths are protected, and how; see `Settings`.

    Attributes:
        paths: Patterns.
        changes: What comes of a change.
    """

    paths: Sequence[str] = field(default=DEFAULT_PATHS, repr=False)
    changes: ProtectedChanges = "report"


@frozen(eq=False, repr=False, kw_only=True)
class ProtectedPathsChanged(Record):
    """Protected paths of a project were changed: the fact of an event.

    Its `repr` does not show the paths.

    Attributes:
        paths: Which, relative to the project; of a folder that came or went with all that
            is in it the folder alone. At most 100. None if this only tells what a process
            that was killed had set aside.
        undone: Those of them that are again as they were.
        set_aside: Where what was there instead is now, relative to the project. At most 100.
        commands: The ids of the commands that ran in the meantime; one of them has done it,
            or somebody else at the same time. None if an operation on the session's files has.
    """

    paths: tuple[str, ...] = field(repr=False)
    undone: tuple[str, ...] = field(default=(), repr=False)
    set_aside: tuple[str, ...] = field(default=(), repr=False)
    commands: tuple[str, ...] = field(default=(), repr=False)


Tell = Callable[[ProtectedPathsChanged], object]
"""Hears what was changed."""

MAX_PATHS = 100
"""Paths that one fact, or one result, names."""

_WILD = frozenset("*?[")

Tree = dict[str, "Tree"]
"""Patterns, name by name; one that has nothing below it ends there."""


class Protection:
    """Tells which paths are protected. Pure: a path is text, relative to the project.

    A pattern protects the path that it names, and all below it; a `*` or `?` stands for what
    it does in a name. It counts in every folder, for a repository may lie in another one.

    Attributes:
        tree: All patterns.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Protect what *patterns*, each of them one that `is_pattern`, name."""
        self._patterns: dict[str, list[list[str]]] = {}
        """By the first name of each; under an empty one those that begin with a wildcard."""
        for pattern in patterns:
            first, *rest = names = pattern.casefold().split("/")
            key = "" if _WILD & set(first) else first
            self._patterns.setdefault(key, []).append(names if not key else rest)
        self.tree: Tree = {}
        for pattern in sorted(patterns, key=lambda each: each.count("/")):
            here = self.tree
            for name in pattern.split("/"):
                if here.get(name) == {}:  # a shorter pattern protects all of it
                    break
                here = here.setdefault(name, {})

    def touches(self, path: str) -> bool:
        """Whether what is put at *path*, or taken away there, changes what is protected.

        It does if it is protected, and if it would be a folder on the way to what is: where git
        has a folder `.git`, a file or a symlink of that name sends it elsewhere.
        """
        # Some file systems take `.GIT` for `.git`. Where they do not, nobody needs both.
        names = path.casefold().split("/")
        wild = self._patterns.get("")
        if not wild and self._patterns.keys().isdisjoint(names):
            return False
        return any(
            all(map(fnmatchcase, rest, pattern))
            for start, name in enumerate(names)
            for patterns, rest in (
                (self._patterns.get(name, ()), names[start + 1 :]),
                (wild or (), names[start:]),
            )
            for pattern in patterns
        )


def is_pattern(value: object) -> bool:
    """Whether *value* is a pattern: a relative path without `.`, `..` and `**`."""
    return isinstance(value, str) and all(
        name not in {"", ".", "..", "**"} and "\0" not in name for name in value.split("/")
    )

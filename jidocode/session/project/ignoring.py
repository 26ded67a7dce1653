"""Which paths a project's own rules leave out of searches: `.gitignore` and its kin.

The rules are git's, as dir.c has them. A file of rules counts for the directory that it is in
and all below. For each path the deepest file that says anything decides, in it the last rule
that matches. All rules of `.ignore` come before those of `.gitignore`, as in ripgrep, and last
comes `.git/info/exclude`. What is below an ignored directory is never looked at, so no rule can
bring it back.

Not read is what lies outside of the project: the user's own rules (`core.excludesFile`), and
those of folders above. Nor is git's index: what is tracked although a rule leaves it out, is
left out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Self

from jidocode.session.project.engine import compile_paths
from jidocode.session.project.wildcards import WildcardError, to_regex

if TYPE_CHECKING:
    from re2 import _Regexp

FILES = (".ignore", ".gitignore")
"""The names of files of rules; those of the first count more."""
EXCLUDE = ".git/info/exclude"
"""What every directory's rules come before."""
MAX_BYTES = 2**20
"""Bytes of a file of rules that are read."""

_WILD = re.compile(r"[*?[\\]")

Read = Callable[[str], bytes]
"""Returns what is in the file at a path, nothing if it cannot be read."""


class _Rule(NamedTuple):
    ignores: bool
    regex: str
    for_directories: bool
    """Whether it is about directories only."""


class _Runs:
    """Rules in their order. Those in a row that say the same are one regular expression."""

    def __init__(self, rules: list[_Rule]) -> None:
        self._runs: list[tuple[bool, _Regexp]] = [
            (ignores, regex)
            for ignores, run in itertools.groupby(reversed(rules), lambda rule: rule.ignores)
            for regex in compile_paths([rule.regex for rule in run])
        ]
        # Most paths match no rule: to know that takes one look instead of one for each run.
        every = compile_paths([rule.regex for rule in rules]) if len(self._runs) > 1 else []
        self._any = every[0] if len(every) == 1 else None

    def verdict(self, path: bytes) -> bool | None:
        """Return whether *path* is ignored, None if no rule matches it."""
        if self._any is not None and self._any.fullmatch(path) is None:
            return None
        for ignores, regex in self._runs:
            if regex.fullmatch(path) is not None:
                return ignores
        return None


class _Rules:
    """What one file says."""

    def __init__(self, data: bytes) -> None:
        rules = [rule for text in _lines(data) if (rule := _rule(text)) is not None]
        self.is_empty = not rules
        self.of_directories = _Runs(rules)
        self.of_files = _Runs([rule for rule in rules if not rule.for_directories])


class Ignoring:
    """What is ignored in one directory: its own rules, and those of the ones above."""

    def __init__(self, chains: dict[str, tuple[tuple[int, _Rules], ...]]) -> None:
        self._chains = chains
        self._rules = [each for chain in chains.values() for each in chain]

    @classmethod
    def at_root(cls, read: Read) -> Self:
        """Return the rules of a project that come before those of any directory."""
        rules = _Rules(read(EXCLUDE))
        return cls({**dict.fromkeys(FILES, ()), EXCLUDE: () if rules.is_empty else ((0, rules),)})

    def below(self, folder: str, names: set[str], read: Read) -> Ignoring:
        """Return the rules that count in *folder*, which holds *names*."""
        chains = self._chains
        for name in FILES:
            if name in names:
                path = f"{folder}/{name}" if folder else name
                rules = _Rules(read(path))
                if not rules.is_empty:
                    offset = len(path.encode("utf-8", "surrogateescape")) - len(name)
                    chains = {**chains, name: ((offset, rules), *chains[name])}
        return self if chains is self._chains else Ignoring(chains)

    def ignores(self, path: str, *, is_directory: bool) -> bool:
        """Whether *path*, in that directory, is ignored."""
        if not self._rules:
            return False
        text = path.encode("utf-8", "surrogateescape")
        for offset, rules in self._rules:
            runs = rules.of_directories if is_directory else rules.of_files
            verdict = runs.verdict(text[offset:])
            if verdict is not None:
                return verdict
        return False


NO_RULES = Ignoring({})
"""For whoever wants to see everything."""


def _lines(data: bytes) -> list[bytes]:
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [text.removesuffix(b"\r").partition(b"\0")[0] for text in lines]


def _rule(text: bytes) -> _Rule | None:
    """Return the rule on a line, None if there is none, or one that matches nothing."""
    if text.startswith(b"#"):
        return None
    pattern = _without_trailing_spaces(text.decode("latin-1"))
    ignores = not pattern.startswith("!")
    pattern = pattern if ignores else pattern[1:]
    needs_directory = pattern.endswith("/")
    pattern = pattern[:-1] if needs_directory else pattern
    if not pattern:
        return None
    try:
        if "/" in pattern:
            # git compares what comes before the first wildcard by itself: so in `ab**/c` the
            # stars are the first of what is left, and stand for directories.
            pattern = pattern.removeprefix("/")
            wild = _WILD.search(pattern)
            start = len(pattern) if wild is None else wild.start()
            parts = pattern[:start], pattern[start:]
            regex = "".join(to_regex(part, braces=False) for part in parts)
        else:
            regex = f"(?:.*/)?{to_regex(pattern, braces=False)}"
    except WildcardError:
        return None
    return _Rule(ignores, regex, needs_directory)


def _without_trailing_spaces(text: str) -> str:
    """Return *text* without the spaces at its end, unless a backslash keeps them."""
    end, position = len(text), 0
    last_space: int | None = None
    while position < end:
        if text[position] == " ":
            last_space = position if last_space is None else last_space
        else:
            if text[position] == "\\":
                position += 1
                if position == end:
                    return text
            last_space = None
        position += 1
    return text if last_space is None else text[:last_space]

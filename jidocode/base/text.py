"""Foreign text, made fit to be shown: bounded, printable, on one line."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterable

QUOTE_LENGTH = 80
"""Characters of a foreign value that one line shows."""

LINE_LENGTH = 1000
"""Characters of a foreign text that are shown as part of a sentence."""

TEXT_LENGTH = 16_384
"""Characters of a longer text, a traceback, that are kept."""

NOTE_LENGTH = 60
"""Characters of a line that says how much of a text was left out, and some to spare."""

PLACES = 5
"""How many places of a traceback are shown."""


def quote(value: object, length: int = QUOTE_LENGTH) -> str:
    """Return *value* as one printable, ASCII-only line of about *length* characters at most.

    For error messages and logs: control characters, line breaks and
    overlong values cannot reach a terminal or a log file through it.
    """
    if isinstance(value, str):
        text = ascii(value[: length + 1])
    elif isinstance(value, (bytes, bytearray)):
        text = ascii(bytes(value[: length + 1]))
    elif value is None or isinstance(value, (bool, float)):
        text = repr(value)
    elif isinstance(value, int):
        # A huge int is neither short nor cheap to print.
        text = repr(value) if value.bit_length() <= 64 else f"an int of {value.bit_length()} bits"  # noqa: PLR2004 - a machine word
    else:
        return f"a value of type {type(value).__name__[:length]}"
    return text if len(text) <= length else f"{text[:length]}..."


def word(text: str) -> str:
    """Return *text* as it is if it is a short, printable word, else quoted."""
    plain = text.isascii() and text.isprintable() and " " not in text and text != ""
    return text if plain and len(text) <= QUOTE_LENGTH else quote(text)


def line(text: str) -> str:
    """Return *text* as part of a sentence: bounded, on one line, and nothing in it unprintable."""
    shown = text if len(text) <= LINE_LENGTH else f"{text[:LINE_LENGTH]}..."
    return shown if shown.isprintable() else "".join(map(_escaped, shown))


def printable(text: str) -> str:
    """Return *text* bounded, with its lines, and with nothing else in it that is unprintable."""
    return visible(clip(text))


def visible(text: str) -> str:
    """Return all of *text*, with its lines, and with nothing else in it that is unprintable."""
    return "\n".join(
        each if each.isprintable() else "".join(map(_escaped, each)) for each in text.split("\n")
    )


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return *text* with `***` in the place of each of *secrets*; to be done before it is cut."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # one may be in another
        text = text.replace(secret, "***")
    return text


def describe(error: BaseException) -> str:
    """Return the type and the message of *error*, which its class may have broken, bounded."""
    return clip("".join(traceback.format_exception_only(error)).strip())


def raised_at(error: BaseException) -> str:
    """Return the type of *error*, and where it was raised: the last places, the last one first.

    Neither its message nor what the code there says and has: what may be secret stays so.
    """
    frames = deque(traceback.walk_tb(error.__traceback__), PLACES)
    places = [
        f"{frame.f_code.co_filename}:{number} in {frame.f_code.co_name}"
        for frame, number in reversed(frames)
    ]
    return line(
        " at ".join([type(error).__name__, *places[:1]])
        + "".join(f", called at {place}" for place in places[1:])
    )


def without_middle(text: str, most: int) -> str:
    """Return *text*; if it has more than *most* characters, its beginning and its end.

    A line between them says how much was left out, and counts among the *most*.
    """
    if len(text) <= most:
        return text
    half = max(0, most - NOTE_LENGTH) // 2
    note = f"\n[{len(text) - 2 * half} characters were left out]\n"
    return f"{text[:half]}{note}{text[len(text) - half :]}"


def clip(text: str) -> str:
    """Return *text*, only its beginning and its end if it is overlong."""
    if len(text) <= TEXT_LENGTH:
        return text
    half = TEXT_LENGTH // 2
    return f"{text[:half]}... {len(text) - 2 * half} characters ...{text[-half:]}"

"""What the bytes of a file mean as text: encodings, and line ends.

Reading text and writing it again must give the same bytes, or be refused. So nothing is
guessed: a byte order mark says which encoding a file has, without one it is UTF-8, and
any other has to be named. What is decoded is encoded again, to see that it is the same.
"""

from __future__ import annotations

import codecs
from typing import Literal, NamedTuple, cast, get_args

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError, NotTextError

Newline = Literal["\n", "\r\n", "\r", "mixed", ""]
"""The line ends of a text: all the same, several kinds, or none."""

NUL_PROBE = 8192
"""Characters at the start of a file in which a NUL says that it is no text."""


class Encoding(NamedTuple):
    """How text is turned into bytes."""

    name: str
    """What Python calls it, byte order mark and all."""
    bom: bytes
    """The byte order mark that comes first."""
    codec: str
    """The codec of all that comes behind."""


UTF_8 = Encoding("utf-8", b"", "utf-8")
_MARKED = (
    Encoding("utf-8-sig", codecs.BOM_UTF8, "utf-8"),
    Encoding("utf-16", codecs.BOM_UTF16_LE, "utf-16-le"),
    Encoding("utf-16", codecs.BOM_UTF16_BE, "utf-16-be"),
)


# They are for names of hosts, and take time that grows with the square of a text: some hours
# for 16 MiB, in which nothing else would be answered.
_OF_NAMES = {"punycode", "idna"}


class Text(NamedTuple):
    """A file's text, and how it was encoded."""

    text: str
    encoding: Encoding


# ----- reading ----------------------------------------------------------------


def detect(data: bytes) -> Encoding:
    """Return the encoding that the byte order mark of *data* says, UTF-8 without one."""
    return next((marked for marked in _MARKED if data.startswith(marked.bom)), UTF_8)


def decode(path: str, data: bytes, name: str | None = None) -> Text:
    """Return the text of a file that holds *data*, in the encoding called *name*, if any.

    A byte order mark that belongs to that encoding is not part of the text. *path* is
    what errors call the file.

    Raises:
        NotTextError: It is no text in that encoding, or it would not be the same bytes
            when encoded again.
        InvalidRequestError: There is no such encoding.
    """
    encoding = detect(data) if name is None else _named(name, data)
    if not data.startswith(encoding.bom):
        raise NotTextError(quote(path), encoding.name, "it has no byte order mark")
    try:
        text = data[len(encoding.bom) :].decode(encoding.codec)
        is_same = encoding.bom + text.encode(encoding.codec) == data
    except UnicodeError as error:
        raise NotTextError(quote(path), encoding.name, _problem(error)) from error
    # Whoever names an encoding knows that it is text.
    if name is None and "\0" in text[:NUL_PROBE]:
        raise NotTextError(quote(path), encoding.name, "it holds a NUL")
    if not is_same:
        raise NotTextError(quote(path), encoding.name, "encoding it again gives other bytes")
    return Text(text, encoding)


def _named(name: str, data: bytes) -> Encoding:
    """Return the encoding called *name* as a file has it that holds *data*.

    Whatever it is called, a byte order mark stays what it is, when the file is read and
    when it is written. Otherwise it would be in the text, or lost.
    """
    wanted, found = _find(name), detect(data)
    is_same = found.name == wanted.name or found.codec == wanted.codec
    return found if found.bom and is_same else wanted


def _find(name: object) -> Encoding:
    """Return the encoding called *name*; UTF-16 is written with a mark, little end first.

    Raises:
        InvalidRequestError: There is none, or it is not one of text.
    """
    try:
        codec = codecs.lookup(cast("str", name)).name
        "".encode(codec)
    except (LookupError, ValueError, TypeError) as error:
        raise InvalidRequestError(f"there is no text encoding {quote(name)}") from error
    if codec in _OF_NAMES:
        raise InvalidRequestError(f"{codec} is no encoding of files")
    return next((marked for marked in _MARKED if marked.name == codec), Encoding(codec, b"", codec))


def _problem(error: UnicodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"{error.reason} at byte {error.start}"
    return "it cannot be decoded"


def line_ends(text: str) -> Newline:
    """Return which line ends *text* has."""
    pairs = text.count("\r\n")
    counts: list[tuple[Newline, int]] = [
        ("\r\n", pairs),
        ("\n", text.count("\n") - pairs),
        ("\r", text.count("\r") - pairs),
    ]
    kinds: list[Newline] = [newline for newline, count in counts if count]
    if not kinds:
        return ""
    return kinds[0] if len(kinds) == 1 else "mixed"


# ----- writing ----------------------------------------------------------------


def encode(content: str, encoding: Encoding) -> bytes:
    """Return *content* as bytes.

    Raises:
        InvalidRequestError: It holds what *encoding* cannot say.
    """
    try:
        return encoding.bom + content.encode(encoding.codec)
    except UnicodeError as error:
        raise InvalidRequestError(
            f"the content of a file cannot be encoded as {encoding.name}"
        ) from error


def encode_like(
    path: str, old: bytes, content: str, *, encoding: str | None, newline: str | None
) -> bytes:
    """Return *content* as the bytes of a file that held *old*, in its encoding and line ends.

    Args:
        path: What errors call the file.
        old: What it held; nothing if it is new.
        content: The text.
        encoding: The name of the encoding to write in whatever the old one was.
        newline: The line ends to write whatever the old ones were.

    Raises:
        NotTextError: The old file is no text, and no encoding is named.
        InvalidRequestError: An argument breaks a rule.
    """
    if newline is None:
        newline = _old_line_ends(path, old, encoding) if "\r" not in content else ""
    elif newline not in get_args(Newline):
        raise InvalidRequestError(f"no line end, nor 'mixed' or '': {quote(newline)}")
    like = decode(path, old).encoding if encoding is None else _named(encoding, old)
    return encode(_with_line_ends(content, newline), like)


def _old_line_ends(path: str, old: bytes, name: str | None) -> Newline:
    try:
        return line_ends(decode(path, old).text)
    except NotTextError:
        if name is None:
            raise
    try:
        return line_ends(decode(path, old, name).text)
    except NotTextError:
        return ""  # it is not text that is replaced


def in_line_ends(content: str, newline: Newline) -> str:
    r"""Return *content* with the line ends *newline*, if its own are all `\n`."""
    return content if "\r" in content else _with_line_ends(content, newline)


def _with_line_ends(content: str, newline: str) -> str:
    if newline in {"", "mixed"}:
        return content
    plain = content.replace("\r\n", "\n").replace("\r", "\n")
    return plain.replace("\n", newline)

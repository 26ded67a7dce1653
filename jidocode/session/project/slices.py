"""Some lines of a file, for a person or a model to read: cut, and numbered."""

from __future__ import annotations

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import NotTextError
from jidocode.session.project.text import NUL_PROBE, detect

MAX_LINES = 2000
"""Lines in one answer."""
MAX_LINE_LENGTH = 2000
"""Characters of a line; the rest is cut."""
_BLOCK = 65_536


@frozen(eq=False, repr=False, kw_only=True)
class FileSlice(Record):
    r"""Some lines of a text file, to be looked at. As text (`str`) it is numbered, like `cat -n`.

    It is no source for what is written back: `read_text` is.
    Its `repr` shows neither the path nor the lines.

    Attributes:
        path: Relative to the project.
        text: The lines with their line ends; what ends a line is `\n`.
        first_line: Number of the first line, counted from 1.
        total_lines: Lines in the file, None if it has more than `MAX_READ_BYTES`.
        more: Whether lines follow behind these.
        cut_lines: How many of these lines were cut after `MAX_LINE_LENGTH` characters.
        encoding: `utf-8`, `utf-8-sig` or `utf-16`, whose byte order mark is not part of the text;
            None if it is none of them: what cannot be decoded stands in these lines as U+FFFD.
        size: Bytes in the file.
        sha256: Of all bytes in the file, however few of its lines these are; in hexadecimal.
            None if it has more than `MAX_READ_BYTES`.
    """

    path: str = field(repr=False)
    text: str = field(repr=False)
    first_line: int
    total_lines: int | None
    more: bool
    cut_lines: int
    encoding: str | None
    size: int
    sha256: str | None

    def __str__(self) -> str:
        lines = self.text.removesuffix("\n").split("\n") if self.text else []
        return "\n".join(
            f"{number:6}\t{line}" for number, line in enumerate(lines, self.first_line)
        )


def cut_slice(  # noqa: PLR0913 - what the file is, and what is wanted of it
    path: str, start: bytes, sha256: str | None, *, size: int, offset: int, limit: int
) -> FileSlice:
    """Return up to *limit* lines, from number *offset* on, of the file that begins with *start*.

    *size* and *sha256* are those of the whole file.

    Raises:
        NotTextError: It is binary.
    """
    encoding = detect(start)
    complete = len(start) == size
    data = start[len(encoding.bom) :]
    is_text = True
    if encoding.codec != "utf-8":
        data, is_text = _as_utf8(data, encoding.codec)
    if b"\0" in data[:NUL_PROBE]:
        raise NotTextError(quote(path), encoding.name, "it holds a NUL")
    lines: list[str] = []
    position, cut_lines = _line_start(data, offset), 0
    while len(lines) < min(limit, MAX_LINES) and position < len(data):
        end = data.find(b"\n", position) + 1 or len(data)
        line, is_exact = _decoded(data[position:end], "utf-8")
        position, is_text = end, is_text and is_exact
        if len(line.removesuffix("\n")) > MAX_LINE_LENGTH:
            line, cut_lines = f"{line[:MAX_LINE_LENGTH]}\n", cut_lines + 1
        lines.append(line)
    return FileSlice(
        path=path,
        text="".join(lines),
        first_line=offset,
        total_lines=data.count(b"\n") + (data[-1:] not in {b"", b"\n"}) if complete else None,
        more=position < len(data) or not complete,
        cut_lines=cut_lines,
        encoding=encoding.name if is_text else None,
        size=size,
        sha256=sha256,
    )


def _as_utf8(data: bytes, codec: str) -> tuple[bytes, bool]:
    text, is_exact = _decoded(data, codec)
    return text.encode(), is_exact


def _decoded(data: bytes, codec: str) -> tuple[str, bool]:
    """Return *data* as text, and whether nothing in it had to be replaced."""
    try:
        return data.decode(codec), True
    except UnicodeDecodeError:
        return data.decode(codec, "replace"), False


def _line_start(data: bytes, number: int) -> int:
    """Return where line *number* starts, the end of *data* if there is none."""
    position, newlines = 0, number - 1
    # Whole blocks first: to count newlines is far cheaper than to find each.
    while (count := data.count(b"\n", position, position + _BLOCK)) < newlines:
        position, newlines = position + _BLOCK, newlines - count
        if position >= len(data):
            return len(data)
    for _ in range(newlines):
        position = data.find(b"\n", position) + 1
        if not position:
            return len(data)
    return position

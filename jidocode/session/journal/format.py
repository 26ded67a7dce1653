"""The format of a journal's file: what a line is, and what a file holds, good and bad.

`file` and `writing` write such files; this module only reads. One
record is one line:

    2c0a5f1e 0 {"journal":1,"records":0}
    b7e1d9c4 1 {"session_changed":{...}}

that is the CRC-32 of the rest in eight lower-case hex digits, a number, and
the payload. The first line is the header, with the version of the format. Up
to the header's own number the file holds `records` records with gaps between
them, because others were superseded; after it there are no gaps. So a missing
line is noticed as well as a damaged one.
"""

from __future__ import annotations

import json
import os
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec import Struct, field

from jidocode.errors import JournalDamagedError, JournalVersionError

VERSION = 1
"""The format that is written; a newer one is refused, an older one there is not."""
MAX_RECORD_SIZE = 2**24
"""Bytes in a payload."""
MIN_LINE = len(b"00000000 1 {}\n")
"""Bytes in a line, at least."""

_SEQ_DIGITS = 18
MAX_LINE = MAX_RECORD_SIZE + 64
"""Bytes in a line, at most."""


class JournalRecord(NamedTuple):
    """One record; a tuple, because opening a journal makes one for every line.

    Attributes:
        seq: Its number, 1 or more.
        payload: One line, not empty, without its newline.
    """

    seq: int
    payload: bytes


class Span(Struct, frozen=True):
    """Bytes of a file."""

    offset: int
    size: int


class Index:
    """Where the records of a file are, in order of their numbers; 20 bytes for each."""

    def __init__(self) -> None:
        self.seqs = array("Q")
        self._offsets = array("Q")
        self._sizes = array("I")

    def add(self, seq: int, offset: int, size: int) -> None:
        """Note a record with a number above all others."""
        self.seqs.append(seq)
        self._offsets.append(offset)
        self._sizes.append(size)

    def span(self, seq: int) -> Span:
        """Return where record *seq* is.

        Raises:
            JournalDamagedError: There is no such record.
        """
        place = bisect_left(self.seqs, seq)
        if place == len(self.seqs) or self.seqs[place] != seq:
            raise JournalDamagedError(f"the journal has no record {seq}")
        return Span(self._offsets[place], self._sizes[place])

    def after(self, seq: int) -> Iterator[int]:
        """Yield the numbers above *seq*, also such that are added meanwhile."""
        place = bisect_right(self.seqs, seq)
        while place < len(self.seqs):
            yield self.seqs[place]
            place += 1


class Scan(Struct):
    """What a file holds, good and bad.

    Attributes:
        size: Of the whole file, in bytes.
        header: Its header; None if there is none that can be read.
        index: The good records.
        bad: What is no valid record.
        torn: The incomplete record at the end.
        good_end: Where the last good record or the header ends.
    """

    size: int = 0
    header: Header | None = None
    index: Index = field(default_factory=Index)
    bad: list[Span] = field(default_factory=list[Span])
    torn: Span | None = None
    good_end: int = 0

    @property
    def last_seq(self) -> int:
        """The highest number found."""
        found = self.index.seqs[-1] if self.index.seqs else 0
        return max(found, self.header.seq if self.header else 0)

    @property
    def missing(self) -> int:
        """How many numbers should be there and are not; nobody knows without a header."""
        if self.header is None:
            return 0
        before = bisect_right(self.index.seqs, self.header.seq)
        after = len(self.index.seqs) - before
        return max(0, self.header.records - before) + self.last_seq - self.header.seq - after


class Header(Struct, frozen=True):
    """The first line: *records* numbers up to *seq* are in use, then all are."""

    seq: int
    records: int

    def line(self) -> bytes:
        """Return it as it stands in the file."""
        fields = {"journal": VERSION, "records": self.records}
        return format_line(self.seq, json.dumps(fields, separators=(",", ":")).encode())


def format_line(seq: int, payload: bytes) -> bytes:
    """Return the line of record *seq*."""
    body = b"%d %b" % (seq, payload)
    return b"%08x %b\n" % (zlib.crc32(body), body)


FIRST_LINE = Header(0, 0).line()
"""The header of a fresh file."""


def parse_line(line: bytes) -> JournalRecord | None:
    """Return the record in *line*, which ends with its newline; None if it is not one.

    The checksum is compared as text, so no other spelling of it passes.
    """
    body = line[9:-1]
    if line[:9] != b"%08x " % zlib.crc32(body) or line[-1:] != b"\n":
        return None
    seq, _, payload = body.partition(b" ")
    if not seq.isdigit() or len(seq) > _SEQ_DIGITS or not payload:
        return None
    # As `JournalRecord(...)`, in a third of the time: one is made for every line of a journal.
    return tuple.__new__(JournalRecord, (int(seq), payload))  # pyright: ignore[reportUnknownMemberType] # typeshed leaves it open


def ignore(_record: JournalRecord) -> None:
    """Do nothing."""


def scan(fd: int, each: Callable[[JournalRecord], None] = ignore) -> Scan:
    """Read a file up to its present end and return what it holds; only the index is kept.

    Args:
        fd: The file, open for reading.
        each: Gets every good record, in order.

    Raises:
        JournalVersionError: It was written by a newer version.
        OSError: It cannot be read.
    """
    found = Scan()
    last = 0
    # What is appended meanwhile is not looked at: it might be the rest of a torn line.
    end = os.fstat(fd).st_size
    offset = 0
    note = found.index.add
    with open(fd, "rb", buffering=2**20, closefd=False) as file:
        file.seek(0)
        while line := file.readline(min(MAX_LINE, end - offset)):
            size = len(line)
            record = parse_line(line)
            if offset == 0 and record and (header := header_in(record)):
                found.header = header
                found.good_end = size
            elif record is not None and record[0] > last:
                last = record[0]
                note(last, offset, size)
                each(record)
                found.good_end = offset + size
            else:
                _note_bad(found, line, offset)
            offset += size
    found.size = offset
    return found


def _note_bad(found: Scan, line: bytes, offset: int) -> None:
    span = Span(offset, len(line))
    # A whole record with another byte in the place of its newline was not torn off.
    torn = line[-1:] != b"\n" and parse_line(line[:-1] + b"\n") is None
    if torn and len(line) < MAX_LINE:
        found.torn = span
    else:
        found.bad.append(span)


def header_in(record: JournalRecord) -> Header | None:
    """Return the header in the first record of a file, None if that is none.

    Raises:
        JournalVersionError: It is of a newer version.
    """
    try:
        fields: object = json.loads(record.payload)
    except (ValueError, RecursionError):
        return None
    match fields:
        case {"journal": int(version)} if version != VERSION:
            raise JournalVersionError(f"version {version} of a journal, known is {VERSION}")
        case {"journal": int(), "records": int(records)}:
            return Header(record.seq, records)
        case _:
            return None


def read_span(fd: int, seq: int, span: Span) -> JournalRecord:
    """Return record *seq*, which was found at *span*.

    Raises:
        JournalDamagedError: It is not there any more, or cannot be read.
    """
    try:
        record = parse_line(os.pread(fd, span.size, span.offset))
    except OSError as error:
        raise JournalDamagedError(f"record {seq} cannot be read: {error.strerror}") from error
    if record is None or record.seq != seq:
        raise JournalDamagedError(f"record {seq} of the journal was damaged while it was open")
    return record

"""`Journal`: an append-only file of numbered records, each with a checksum.

It keeps bytes and does not know what they mean; `codec` does. What a file looks like
stands in `format`; `catalogue` reads files that others have open.

- A record is in the file before `append` returns: the kernel has it, so it
  survives the death of the process (`"process"`), or the disk has it, so it
  survives a loss of power (`"power"`).
- A number is never given out twice.
- What is wrong with a file is found when it is opened, kept aside, repaired
  and reported; nothing is dropped in silence. A file in which nothing is
  readable is refused and left as it is.
- One writer: the file is locked with flock(2), which ends with the process.
- A failed write leaves the journal readable, and is tried again by the next.
- A file that somebody else renames, deletes, replaces, cuts off or appends to while it is
  open takes no more records.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, cast, get_args

from attrs import evolve

from jidocode.base.text import quote
from jidocode.errors import (
    JournalDamagedError,
    JournalError,
    JournalLostError,
    JournalWriteError,
)
from jidocode.session.conversation.reports import Repair
from jidocode.session.journal.format import (
    FIRST_LINE,
    MAX_RECORD_SIZE,
    MIN_LINE,
    Header,
    Index,
    JournalRecord,
    Scan,
    Span,
    format_line,
    ignore,
    read_span,
    scan,
)
from jidocode.session.journal.opening import close_locked, lock_file, open_private, open_regular
from jidocode.session.journal.writing import (
    WriteErrors,
    make_private_folder,
    new_path,
    sync_directory,
    write_all,
    write_file,
)

RECENT = 1000
"""Records at the end of a file that a compaction keeps in any case."""

Durability = Literal["process", "power"]


class Journal:
    """One open journal, made by `Journal.open`. Not thread-safe.

    Attributes:
        path: The file.
        repair: What was found when it was opened.
    """

    _index: Index
    _end: int
    _last_seq: int
    _readable_after: int

    def __init__(
        self,
        path: Path,
        durability: Durability,
        fd: int,
        each: Callable[[JournalRecord], None],
        *,
        created: bool,
    ) -> None:
        self.path = path
        self._durability = durability
        self._fd = fd
        self._identity = os.fstat(fd)
        self._writer: int | None = None
        self._unclean = True
        self._take(scan(fd, each), created=created)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        durability: Durability = "process",
        each: Callable[[JournalRecord], None] = ignore,
        create: bool = False,
    ) -> Journal:
        """Open the journal at *path*.

        Damage is repaired if possible: see `Journal.repair`. If the disk is full
        or the file may not be written, the journal can be read nevertheless.

        Args:
            path: The file. It must not be reached by anything that is not trusted.
            durability: What an append survives: the death of the `"process"`, or
                the loss of `"power"`.
            each: Gets every record that is there, in order.
            create: Whether to create it if there is none, and its directory, with mode 0700.

        Raises:
            JournalLockedError: It is open already.
            JournalLostError: There is none.
            JournalVersionError: It was written by a newer version.
            JournalDamagedError: It holds something, but not one readable record.
            JournalError: It cannot be created or read.
            ValueError: *durability* is neither of both.
        """
        if durability not in get_args(Durability):
            raise ValueError(f"durability is process or power, not {quote(durability)}")
        try:
            if create:
                make_private_folder(path.parent)
            fd, created = lock_file(path, create=create)
        except FileNotFoundError as error:
            raise _lost(path) from error
        except OSError as error:
            raise JournalError(f"the journal cannot be opened: {error.strerror}") from error
        try:
            journal = cls(path, durability, fd, each, created=created)
        except OSError as error:
            close_locked(fd)
            raise JournalError(f"the journal cannot be read: {error.strerror}") from error
        except BaseException:
            close_locked(fd)
            raise
        try:
            journal._ready()
        except JournalWriteError as error:
            journal.repair = evolve(journal.repair, pending=error.message)
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def last_seq(self) -> int:
        """The highest number given out, 0 for none."""
        return self._last_seq

    @property
    def readable_after(self) -> int:
        """The number after which there are no gaps."""
        return self._readable_after

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._end

    # Reading

    def read(self, seq: int) -> JournalRecord:
        """Return record *seq*.

        Raises:
            JournalDamagedError: It is not there, or not as it was written.
        """
        return read_span(self._fd, seq, self._index.span(seq))

    def records(self, after_seq: int = 0) -> Iterator[JournalRecord]:
        """Yield all records with a number above *after_seq*, in order; raises as `read`."""
        for seq in self._index.after(after_seq):
            yield self.read(seq)

    def size_of(self, seq: int) -> int:
        """Return how many bytes record *seq* takes in the file."""
        return self._index.span(seq).size

    # Writing

    def append(self, payload: bytes) -> int:
        """Write *payload* down and return its number; see the module for what it survives.

        Args:
            payload: Not empty, without a newline, at most `MAX_RECORD_SIZE` bytes.

        Raises:
            JournalWriteError: It could not be written, and is not in the journal.
            ValueError: *payload* breaks a rule.
        """
        if not payload or b"\n" in payload or len(payload) > MAX_RECORD_SIZE:
            raise ValueError("a record is one line, not empty and not too long")
        writer = self._ready()
        seq = self._last_seq + 1
        line = format_line(seq, payload)
        self._unclean = True  # until it is known that the whole line is there
        with WriteErrors(self.path):
            try:
                write_all(writer, line)
                if self._durability == "power":
                    os.fdatasync(writer)
            except OSError:
                self._cut_back(writer)
                raise
        self._unclean = False
        self._index.add(seq, self._end, len(line))
        self._end += len(line)
        self._last_seq = seq
        return seq

    def compact(self, keep: Iterable[int]) -> None:
        """Replace the file by one with only the records *keep*, and the `RECENT` last ones.

        The new file is on the disk before it takes the place of the old one, so
        there is a whole one at any time. Numbers stay as they are.

        Args:
            keep: Numbers of records that are in the file.

        Raises:
            JournalWriteError: It could not be written; the old file stays.
            JournalDamagedError: A record cannot be read; the old file stays.
        """
        self._ready()
        self._rewrite(sorted({*keep, *self._index.seqs[-RECENT:]}), self._last_seq)

    def close(self) -> None:
        """Close the file and give up the lock; closing twice is fine."""
        fd, writer = self._fd, self._writer
        self._fd, self._writer = -1, None
        if writer is not None:
            os.close(writer)
        if fd >= 0:
            close_locked(fd)

    # Getting ready to write

    # A file that was renamed or deleted takes whatever is written to it, and so does one
    # in a folder that was renamed. All of it would be acknowledged, and nothing of it found by the
    # next State. So before each record it is looked whether the name still leads to the
    # file; the file itself can only say how many names it has.
    #
    # Nor may anybody else have written to it. What is appended to half a line becomes a
    # part of that, and is no record for the next State; what is appended to a file that was cut
    # off is found, and what was acknowledged before is not. So the file must be as long
    # as it was left. A longer one is put right only if the end of it may be our own:
    # after a write that failed.

    def _check_place(self) -> None:
        """Raise `JournalLostError` unless the file is where it should be, and as it was left."""
        try:
            status = os.lstat(self.path)
        except OSError as error:
            raise _lost(self.path) from error
        if not os.path.samestat(status, self._identity):
            raise _lost(self.path)
        if status.st_size < self._end or (status.st_size > self._end and not self._unclean):
            raise JournalLostError(
                f"somebody else wrote to the journal {quote(self.path.name)}, or cut it off: "
                f"it has {status.st_size} bytes and should have {self._end}"
            )

    def _ready(self) -> int:
        """Return the descriptor to write to, with the end of the file where it should be."""
        self._check_place()
        with WriteErrors(self.path):
            if self._writer is None:
                new_path(self.path).unlink(missing_ok=True)  # left by a compaction that was killed
                self._writer = open_regular(self.path, os.O_WRONLY | os.O_APPEND)
            if self._needs_repair:
                self._mend()
            if self._unclean:
                os.ftruncate(self._writer, self._end)
                self._unclean = False
        return self._writer

    def _cut_back(self, writer: int) -> None:
        try:
            os.ftruncate(writer, self._end)
        except OSError:
            return  # still unclean: the next append tries again, and fails if that fails
        self._unclean = False

    # Repair

    # `scan` says what is wrong with the file and changes nothing. It is put right by the
    # first `_ready` that can, mostly while opening; if the disk is full, the good records
    # can be read meanwhile. A crash may come at any point, hence the order: what is taken
    # out of the file is on the disk as a copy before it is taken out. At worst the
    # next opening makes a second copy.
    #
    # Bytes after the last good record may have been acknowledged records, whose numbers
    # subscribers know. To give such a number to something else would be to hide it from
    # them, so as many numbers are skipped as records could have been there.

    def _take(self, found: Scan, *, created: bool) -> None:
        self._index = found.index
        self._end = found.good_end
        self._last_seq = found.last_seq
        self._readable_after = (
            found.header.seq if found.header and not found.missing else found.last_seq
        )
        self._torn_header = self._is_torn_header(found)
        if (found.bad or not (found.header or self._torn_header)) and not found.index.seqs:
            raise JournalDamagedError(f"nothing in {quote(self.path.name)} can be read")
        self.repair = Repair(
            created=created or (found.size == len(FIRST_LINE) and found.header == Header(0, 0)),
            header_lost=found.header is None and not created,
            torn_bytes=found.torn.size if found.torn else 0,
            bad_records=len(found.bad),
            missing=found.missing,
        )
        torn = [found.torn] if found.torn else []
        self._to_keep_aside = [
            (why, spans) for why, spans in (("torn", torn), ("bad", found.bad)) if spans
        ]
        self._numbers_lost = _most_records_in(
            span for span in found.bad if span.offset >= self._end
        )
        self._needs_repair = found.header is None or not self.repair.clean

    def _is_torn_header(self, found: Scan) -> bool:
        """Whether the creation of the file was cut short."""
        if found.header or found.index.seqs or found.size >= len(FIRST_LINE):
            return False
        return FIRST_LINE.startswith(os.pread(self._fd, found.size, 0))

    def _mend(self) -> None:
        """Keep aside what is wrong with the file, and make it right."""
        while self._to_keep_aside:
            why, spans = self._to_keep_aside[-1]
            self._keep_aside(why, spans)
            self._to_keep_aside.pop()
        if self._torn_header:
            self._write_first_line()
        elif self.repair.header_lost or self.repair.bad_records or self.repair.missing:
            # Numbers of lost records may be known to somebody: they are not given out again.
            self._rewrite(list(self._index.seqs), self._last_seq + self._numbers_lost)
        self._needs_repair = False
        self.repair = evolve(self.repair, pending="")

    def _write_first_line(self) -> None:
        writer = cast("int", self._writer)
        os.ftruncate(writer, 0)
        write_all(writer, FIRST_LINE)
        self._end = len(FIRST_LINE)
        if self._durability == "power":
            os.fsync(writer)
            sync_directory(self.path.parent)
            sync_directory(self.path.parent.parent)

    def _keep_aside(self, why: str, spans: list[Span]) -> None:
        copy = self._free_name(why)
        try:
            with open(copy, "xb", opener=open_private) as file:
                file.writelines(os.pread(self._fd, span.size, span.offset) for span in spans)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            copy.unlink(missing_ok=True)
            raise
        names = (*self.repair.kept_aside, copy.name)
        self.repair = evolve(self.repair, kept_aside=names)

    def _free_name(self, why: str) -> Path:
        number = 1
        while (path := self.path.with_name(f"{self.path.name}.{why}-{number}")).exists():
            number += 1
        return path

    # Writing the file anew

    # At any moment there is a whole file under the journal's name, the old one or the new
    # one: the new one is on the disk before it is renamed, or a loss of power would leave
    # an empty file in place of the old. The lock belongs to the file and not to its
    # name, so the new one is locked before it gets the name. Otherwise another process
    # could come in between, and there would be two writers.

    def _rewrite(self, keep: list[int], last_seq: int) -> None:
        """Replace the file by one with the records *keep*; the next number is above *last_seq*."""
        new = new_path(self.path)
        with WriteErrors(self.path):
            fds: list[int] = []
            try:
                whole = write_file(new, keep, last_seq, map(self.read, keep))
                fds.append(open_regular(new))
                fcntl.flock(fds[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
                fds.append(open_regular(new, os.O_WRONLY | os.O_APPEND))
                new.replace(self.path)
            except BaseException:
                for fd in fds:
                    close_locked(fd)
                new.unlink(missing_ok=True)
                raise
            self.close()
            self._fd, self._writer = fds
            self._identity = os.fstat(self._fd)
            self._index, self._end = whole.index, whole.size
            self._last_seq, self._readable_after = last_seq, whole.readable_after
            self._unclean = False
            sync_directory(self.path.parent)


def _lost(path: Path) -> JournalLostError:
    return JournalLostError(
        f"the journal {quote(path.name)} is not in its place: it was renamed, deleted or replaced"
    )


def _most_records_in(spans: Iterable[Span]) -> int:
    return -(-sum(span.size for span in spans) // MIN_LINE)

"""The journals in a directory: list, export, fork and delete them, without a running session.

`file` is about the one journal that a session writes to; here they are read, also while
a session is writing. That needs no lock, because a journal only grows, and a compaction
puts another file in its place: what is read is what the journal held at that moment.
So an incomplete line at the end is not damage here. It may be just being written.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

from attrs import frozen
from msgspec import Struct

from jidocode.base import log
from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import (
    EventGapError,
    InvalidRequestError,
    InvalidSessionError,
    JournalDamagedError,
    JournalError,
    JournalVersionError,
    SessionNotFoundError,
)
from jidocode.session.arguments import require_int
from jidocode.session.conversation.changes import Change, SessionChanged
from jidocode.session.conversation.limits import MAX_PAGE_LENGTH
from jidocode.session.journal.codec import as_json, decode, decode_as, encode, holds
from jidocode.session.journal.file import Journal
from jidocode.session.journal.format import (
    MAX_LINE,
    Header,
    JournalRecord,
    Scan,
    header_in,
    parse_line,
    read_span,
    scan,
)
from jidocode.session.journal.opening import (
    LockHolders,
    close_locked,
    lock_file,
    lock_holders,
    open_regular,
)
from jidocode.session.journal.ownership import owned, owner_path
from jidocode.session.journal.place import journal_path, note_path, snapshots_path
from jidocode.session.journal.writing import create_file
from jidocode.session.project.locate import locate_project
from jidocode.session.record import Session, is_session_id

_HEADER_SIZE = 256
_BLOCK = 2**18
_PAGE = 10_000


@frozen(eq=False, repr=False, kw_only=True)
class Resumable(Record):
    """A session that can be resumed: what a look at its journal says.

    Attributes:
        session_id: Whose it is, by its name.
        session: The record in it; None if it cannot be read, or is not written yet.
        last_seq: The number of its last change; 0 if it cannot be read.
        size: Bytes.
        modified_at: When it was last written, in UTC.
        damaged: Whether its end, its beginning or its record is not right, or it
            cannot be read; the rest is only looked at when it is opened.
        locked_by: The process that has it open in another system; None if nobody has,
            or that cannot be seen from here.
    """

    session_id: str
    session: Session | None
    last_seq: int
    size: int
    modified_at: datetime
    damaged: bool
    locked_by: int | None = None


def list_journals(directory: str | os.PathLike[str]) -> list[Resumable]:
    """Return the sessions that have a journal in *directory*, the last one written to first.

    Of each file only the end is read, back to where the session's record stands.

    Raises:
        JournalError: The directory cannot be listed. If it does not exist, it is empty.
    """
    found: list[Resumable] = []
    holders = lock_holders()
    try:
        for path in Path(directory).iterdir():
            if path.suffix == ".jsonl" and is_session_id(path.stem):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    found.append(_resumable(path, holders))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"journals cannot be listed: {error.strerror}") from error
    return sorted(found, key=lambda each: (each.modified_at, each.session_id), reverse=True)


def of_project(found: Iterable[Resumable], project: str | os.PathLike[str]) -> list[Resumable]:
    """Return those of *found* whose project is, or was, the folder *project*."""
    try:
        path, key = locate_project(project)
    except InvalidSessionError as error:  # it was moved, or is gone: its journals are still there
        if error.codes == ("invalid_project_path",):
            raise
        path, key = os.path.abspath(os.path.expanduser(project)), None  # noqa: PTH100, PTH111 - the path is text throughout
    return [
        each
        for each in found
        if each.session is not None
        and (each.session.project_path == path or each.session.project_key == key)
    ]


def load_record(path: Path) -> Session:
    """Return the session's record in the journal at *path*, the latest one.

    Raises:
        SessionNotFoundError: There is none.
        JournalDamagedError: It holds none that can be read.
        JournalVersionError: A newer version wrote it.
        JournalError: It cannot be read.
    """
    with _reading(path) as fd:
        _header(fd)
        session = _end_of(fd, os.fstat(fd).st_size).session
    if session is None:
        raise JournalDamagedError(
            f"no session's record in {quote(path.name)} can be read: say where its project is"
        )
    return session


def add_record(path: Path, session: Session) -> None:
    """Write into the journal at *path* that the session's record is *session* now.

    Raises:
        JournalLockedError: It is open.
        SessionNotFoundError: There is none.
        JournalError: It cannot be read or written.
    """
    with owned(path):
        if not path.exists():
            raise SessionNotFoundError(path.stem)
        journal = Journal.open(path, durability="power")
        try:
            if not journal.repair.clean:
                log.warning("the journal {} was damaged: {}", quote(path.name), journal.repair)
            journal.append(encode(SessionChanged(seq=journal.last_seq + 1, session=session)))
        finally:
            journal.close()


def export_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every change in the journal at *path* as a JSON object, oldest first.

    Each has `seq` and one more key, the kind of the change. What is damaged comes
    as `{"damaged": {"bytes": n, "missing": n}}` in the end, with how many bytes are
    no record and how many numbers are not there.

    Raises:
        SessionNotFoundError: There is none.
        JournalVersionError: A newer version wrote it.
        JournalDamagedError: A record in it is whole, but no change.
        JournalError: It cannot be read.
    """
    with _reading(path) as fd:
        found = scan(fd)
        for seq in found.index.seqs:
            yield as_json(read_span(fd, seq, found.index.span(seq)))
        wrong = sum(span.size for span in found.bad)
        if wrong or found.missing or found.header is None:
            yield {"damaged": {"bytes": wrong, "missing": found.missing}}


def read_changes(path: Path, after_seq: int) -> list[Change]:
    """Return the changes that follow *after_seq* one by one in the journal at *path*, as a page.

    Fewer than there are if they are long, but one in any case: none means there are no more.

    Raises:
        SessionNotFoundError: There is no journal.
        EventGapError: The one after *after_seq* is not there any more.
        JournalVersionError: A newer version wrote it.
        JournalError: It cannot be read.
    """
    found: list[Change] = []
    with _reading(path) as fd:
        # Mostly there is nothing: most have read all, and many may read at once.
        if _last_seq(fd) <= after_seq:
            return found
        scanned = scan(fd)
        readable_after = scanned.header.seq if scanned.header else 0
        if after_seq < readable_after:
            raise EventGapError(after_seq, readable_after)
        length, expected = 0, after_seq + 1
        for seq in islice(scanned.index.after(after_seq), _PAGE):
            if seq != expected:
                if not found:
                    raise EventGapError(after_seq, seq - 1)
                break
            found.append(decode(read_span(fd, seq, scanned.index.span(seq))))
            length, expected = length + found[-1].length, seq + 1
            if length > MAX_PAGE_LENGTH:
                break
    return found


def _last_seq(fd: int) -> int:
    records = map(parse_line, _lines_backwards(fd, os.fstat(fd).st_size))
    return next((record.seq for record in records if record is not None), 0)


def fork_journal(path: Path, session: Session, *, upto_seq: int | None = None) -> Path:
    """Begin the journal of *session* with a copy of the one at *path*, and return its path.

    Args:
        path: The journal to copy; it may be open.
        session: A new record, with an id of its own.
        upto_seq: The last change that is copied; None for all. What was superseded
            and compacted away before is not copied.

    Raises:
        SessionNotFoundError: There is none.
        InvalidRequestError: *upto_seq* is no number of the journal.
        JournalDamagedError: Something is wrong with it: open it first, to repair it.
        JournalError: It cannot be read, or *session* has a journal already, or it
            cannot be written; then nothing is left of it.
    """
    target = journal_path(path.parent, session.id)
    with _reading(path) as fd:
        found = scan(fd)
        if found.bad or found.missing or found.header is None:
            raise JournalDamagedError(f"{quote(path.name)} is damaged; open it to repair it")
        last_seq = _checked_end(upto_seq, found)
        kept = [seq for seq in found.index.seqs if seq <= last_seq]
        own = SessionChanged(seq=last_seq + 1, session=session)
        copied = (read_span(fd, seq, found.index.span(seq)) for seq in kept)
        records = chain(copied, [JournalRecord(own.seq, encode(own))])
        create_file(target, [*kept, own.seq], records)
    return target


def _checked_end(upto_seq: int | None, found: Scan) -> int:
    if upto_seq is None:
        return found.last_seq
    require_int("upto_seq", upto_seq, least=1)
    if upto_seq > found.last_seq:
        raise InvalidRequestError(
            f"the journal ends with {found.last_seq}, before {quote(upto_seq)}"
        )
    return upto_seq


def delete_journal(path: Path) -> None:
    """Delete the journal at *path*, what was kept aside of it, and the session's snapshots.

    Raises:
        JournalLockedError: It is open.
        SessionNotFoundError: There is none.
        JournalError: It cannot be deleted.
    """
    try:
        with owned(path):
            fd, _ = lock_file(path, create=False)
            try:
                _remove_snapshots(path)
                for other in path.parent.glob(f"{glob.escape(path.name)}.*"):
                    other.unlink(missing_ok=True)
                note_path(path.parent, path.stem).unlink(missing_ok=True)
                path.unlink()
            finally:
                close_locked(fd)
    except FileNotFoundError as error:
        raise SessionNotFoundError(path.stem) from error
    except OSError as error:
        raise JournalError(f"the journal cannot be deleted: {error.strerror}") from error


def _remove_snapshots(path: Path) -> None:
    # Before the journal: a deletion that is cut off can be done again as long as that is there.
    import shutil  # noqa: PLC0415 - it imports what packs archives

    with suppress(FileNotFoundError):
        shutil.rmtree(snapshots_path(path.parent, path.stem))


@contextmanager
def _opened(path: Path) -> Generator[int]:
    fd = open_regular(path)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _reading(path: Path) -> Generator[int]:
    """Open a journal for reading, and turn an OSError into an error of ours.

    That there is none is no fault of the disk: somebody deletes sessions while others are at it.
    """
    try:
        with _opened(path) as fd:
            yield fd
    except FileNotFoundError as error:
        raise SessionNotFoundError(path.stem) from error
    except OSError as error:
        raise JournalError(f"the journal cannot be read: {error.strerror}") from error


def _resumable(path: Path, holders: LockHolders) -> Resumable:
    status = path.lstat()
    end = _end_at(path)
    return Resumable(
        session_id=path.stem,
        session=end.session,
        last_seq=end.last_seq,
        size=status.st_size,
        modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
        damaged=end.damaged,
        locked_by=_holder(path, status, holders),
    )


def _holder(path: Path, journal: os.stat_result, holders: LockHolders) -> int | None:
    with suppress(OSError):  # mostly there is none; it may also be that we may not look
        owner = holders.of(owner_path(path).lstat())
        if owner is not None:
            return owner
    return holders.of(journal)


class _End(Struct, frozen=True):
    """What the end of a journal says: the fields of `Resumable` that are read from it."""

    session: Session | None
    last_seq: int
    damaged: bool


def _end_at(path: Path) -> _End:
    """Return what the end of the journal at *path* says, also if that is nothing.

    Raises:
        FileNotFoundError: It is not there.
    """
    try:
        with _opened(path) as fd:
            return _end_of(fd, os.fstat(fd).st_size)
    except FileNotFoundError:
        raise
    except (OSError, JournalError):
        return _End(session=None, last_seq=0, damaged=True)


def _end_of(fd: int, size: int) -> _End:
    last_seq, damaged = 0, not _has_header(fd)
    for line in _lines_backwards(fd, size):
        record = parse_line(line)
        damaged = damaged or record is None
        last_seq = last_seq or (record.seq if record else 0)
        if record is not None and holds(record, SessionChanged):
            return _End(decode_as(SessionChanged, record).session, last_seq, damaged)
    # A journal that was just created has its first line only.
    return _End(None, last_seq, damaged or last_seq > 0)


def _header(fd: int) -> Header | None:
    line, newline, _ = os.pread(fd, _HEADER_SIZE, 0).partition(b"\n")
    record = parse_line(line + newline)
    return None if record is None else header_in(record)


def _has_header(fd: int) -> bool:
    try:
        return _header(fd) is not None
    except JournalVersionError:
        return False


def _lines_backwards(fd: int, size: int) -> Iterator[bytes]:
    """Yield the lines of a file, last one first, without an incomplete one at the end."""
    carry = b""
    while size > 0 and len(carry) <= MAX_LINE:
        start = max(0, size - _BLOCK)
        first, *lines = (os.pread(fd, size - start, start) + carry).split(b"\n")
        for line in reversed(lines[:-1]):
            yield line + b"\n"
        carry = first + b"\n" if lines else first
        size = start
    if carry.endswith(b"\n") or len(carry) > MAX_LINE:
        yield carry

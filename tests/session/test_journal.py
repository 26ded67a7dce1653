"""The journal: what was acknowledged is there, and what is damaged is said."""

from __future__ import annotations

import errno
import os
import random
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType] # hypothesis leaves it unannotated
)
from limits import limited

from jidocode.errors import (
    JournalDamagedError,
    JournalError,
    JournalLockedError,
    JournalLostError,
    JournalVersionError,
    JournalWriteError,
)
from jidocode.session.journal import file as module
from jidocode.session.journal.file import Journal
from jidocode.session.journal.format import FIRST_LINE, JournalRecord, format_line

PAYLOADS = [b"{}", b'{"a":1}', "{'ä': 'ö\u2028'}".encode(), b"x" * 40, b"0", b"7 7 7"]

pytestmark = pytest.mark.usefixtures("no_descriptor_is_left")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal will be."""
    return tmp_path / "state" / "journal.jsonl"


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk, in a test that opens thousands of files."""

    def skip(fd: int) -> None:
        del fd

    monkeypatch.setattr(os, "fsync", skip)


@contextmanager
def opened(path: Path, **options: object) -> Generator[Journal]:
    journal = Journal.open(path, create=True, **options)  # type: ignore[arg-type] # the tests know what they pass
    try:
        yield journal
    finally:
        journal.close()


def written(path: Path, payloads: list[bytes] | None = None) -> bytes:
    """Write a journal with *payloads*, and return its bytes."""
    with opened(path) as journal:
        for payload in PAYLOADS if payloads is None else payloads:
            journal.append(payload)
    return path.read_bytes()


def replaced(path: Path, data: bytes) -> None:
    """Make *data* the whole content of a journal that stands alone in its directory."""
    path.parent.mkdir(exist_ok=True)
    for other in path.parent.iterdir():
        other.unlink()
    path.write_bytes(data)


def numbered(payloads: list[bytes]) -> list[JournalRecord]:
    return [JournalRecord(seq, payload) for seq, payload in enumerate(payloads, 1)]


# ----- writing and reading ----------------------------------------------------


def test_records_are_numbered_and_read_back_in_order(path: Path) -> None:
    """By the journal that wrote them, and by the next one."""
    with opened(path) as journal:
        numbers = [journal.append(payload) for payload in PAYLOADS]
        first = list(journal.records())
    replayed: list[JournalRecord] = []
    with opened(path, each=replayed.append) as journal:
        second = list(journal.records())

        assert journal.last_seq == len(PAYLOADS)
        assert list(journal.records(after_seq=4)) == first[4:]
        assert journal.read(2) == first[1]
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert first == second == replayed == numbered(PAYLOADS)


def test_a_file_is_private_and_says_what_it_is(path: Path) -> None:
    """The directory is created for its owner alone, the file too."""
    data = written(path, [b'{"a":1}'])

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert data.splitlines(keepends=True) == [FIRST_LINE, format_line(1, b'{"a":1}')]
    assert data.splitlines()[0].endswith(b' 0 {"journal":1,"records":0}')


def test_only_a_first_opening_creates(path: Path) -> None:
    """Both are clean."""
    with opened(path) as journal:
        assert journal.repair.created
        assert journal.repair.clean
        journal.append(b"{}")
    with opened(path) as journal:
        assert not journal.repair.created
        assert journal.repair.clean


@pytest.mark.parametrize("payload", [b"", b"a\nb", b"x" * (2**24 + 1)])
def test_what_is_no_line_is_refused(path: Path, payload: bytes) -> None:
    """The journal goes on."""
    with opened(path) as journal:
        with pytest.raises(ValueError, match="one line"):
            journal.append(payload)

        assert journal.append(b"{}") == 1


def test_an_unknown_durability_is_refused(path: Path) -> None:
    """Nothing is created."""
    with pytest.raises(ValueError, match="process or power"):
        Journal.open(path, durability="hope")  # type: ignore[arg-type] # on purpose

    assert not path.exists()


def test_power_durability_waits_for_the_disk_before_it_acknowledges(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole line is in the file by then; the default asks the disk for nothing."""
    sizes: list[int] = []

    def note(fd: int) -> None:
        sizes.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fdatasync", note)
    with opened(path) as journal:
        journal.append(b"{}")
        assert sizes == []
    with opened(path, durability="power") as journal:
        journal.append(b"{}")

        assert sizes == [journal.size]


def test_a_hundred_thousand_records_open_and_each_can_be_read(path: Path) -> None:
    """By its place in the file: nothing else is read for it."""
    count = 100_000
    path.parent.mkdir()
    with path.open("wb") as file:
        file.write(FIRST_LINE)
        file.writelines(format_line(seq, b'{"n":%d}' % seq) for seq in range(1, count + 1))
    with opened(path) as journal:
        assert journal.repair.clean
        assert journal.last_seq == count
        assert journal.read(54_321).payload == b'{"n":54321}'
        assert journal.append(b"{}") == count + 1


# ----- damage -----------------------------------------------------------------


def test_power_durability_waits_for_the_directory_of_a_new_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for the directory of that, which may be as new."""
    synced: list[int] = []

    def note(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)

    monkeypatch.setattr(os, "fsync", note)
    with opened(path, durability="power"):
        pass

    assert synced == [place.stat().st_ino for place in (path, path.parent, path.parent.parent)]


@pytest.mark.usefixtures("fast")
def test_a_file_cut_at_any_byte_opens_with_the_exact_prefix(path: Path) -> None:
    """What is cut through is reported and kept aside; then all goes on as if it never was."""
    data = written(path)
    ends = [0, *(end for end in range(1, len(data) + 1) if data[end - 1 : end] == b"\n")]
    for cut in range(len(data) + 1):
        replaced(path, data[:cut])
        whole = max(end for end in ends if end <= cut)
        kept = max(0, ends.index(whole) - 1)
        with opened(path) as journal:
            found = journal.repair
            assert list(journal.records()) == numbered(PAYLOADS[:kept])
            assert journal.append(b"next") == kept + 1
        assert found.torn_bytes == cut - whole
        assert found.clean is (cut in ends[1:])
        aside = [path.with_name(name).read_bytes() for name in found.kept_aside]
        assert b"".join(aside) == data[whole:cut]
        with opened(path) as journal:
            assert journal.repair.clean
            assert list(journal.records()) == numbered([*PAYLOADS[:kept], b"next"])


@pytest.mark.usefixtures("fast")
def test_a_compacted_file_cut_at_any_byte_gives_the_prefix_or_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its header nothing of it can be read, so it is left as it is."""
    monkeypatch.setattr(module, "RECENT", 2)
    written(path)
    with opened(path) as journal:
        journal.compact([1, 3])
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    kept = [JournalRecord(seq, PAYLOADS[seq - 1]) for seq in (1, 3, 5, 6)]
    for cut in range(1, len(data) + 1):
        replaced(path, data[:cut])
        count = sum(len(b"".join(lines[:n])) <= cut for n in range(1, len(lines) + 1)) - 1
        if count < 0:
            with pytest.raises(JournalDamagedError):
                Journal.open(path, create=True)
            assert path.read_bytes() == data[:cut]
            continue
        with opened(path) as journal:
            assert list(journal.records()) == kept[:count]
            whole = cut == len(b"".join(lines[: count + 1]))
            assert journal.repair.clean is (whole and count >= 2)
            assert journal.append(b"{}") == max(4, journal.read(journal.last_seq).seq)


@pytest.mark.usefixtures("fast")
def test_any_flipped_bit_is_reported_and_costs_no_other_record(path: Path) -> None:
    """What was hit is taken out and kept aside; its number is never given out again."""
    payloads = [b'{"a":"b"}', b"{}", b'{"c":[0]}', b"{}"]
    data = written(path, payloads)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        replaced(path, bytes(flipped))
        intact = [
            record
            for record in numbered(payloads)
            if b"\n" + format_line(*record) in b"\n" + bytes(flipped)
        ]
        with opened(path) as journal:
            found = journal.repair
            records = list(journal.records())
            assert records == intact
            assert journal.append(b"next") > len(payloads)
            records = list(journal.records())
        assert not found.clean
        assert found.bad_records + found.header_lost >= 1
        aside = b"".join(path.with_name(name).read_bytes() for name in found.kept_aside)
        assert aside
        assert aside in bytes(flipped)
        with opened(path) as journal:
            assert journal.repair.clean
            assert list(journal.records()) == records


@pytest.mark.usefixtures("fast")
def test_random_damage_is_always_reported_and_never_invents_a_record(path: Path) -> None:
    """Overwritten, inserted and removed bytes, anywhere, seeded."""
    data = written(path, PAYLOADS * 5)
    good = numbered(PAYLOADS * 5)
    dice = random.Random(5)  # noqa: S311 - repeatable, not secret
    for _ in range(300):
        place, size = dice.randrange(len(data)), dice.randint(1, 60)
        noise = dice.randbytes(dice.choice([0, size, size, 2 * size]))
        damaged = data[:place] + noise + data[place + size :]
        if data.startswith(damaged):
            continue  # a cut, which has a test of its own
        replaced(path, damaged)
        with opened(path) as journal:
            found = journal.repair
            records = list(journal.records())
        assert set(records) <= set(good)
        assert len({record.seq for record in records}) == len(records)
        assert len(records) == len(good) or not found.clean


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"garbage\n",
        b"\0" * 4096,
        FIRST_LINE[:-1] + b"x",
        FIRST_LINE + b"garbage\n",
        b'{"session": 1}\n' * 3,
        b"\n",
    ],
)
def test_a_file_without_one_readable_record_is_refused_and_left_as_it_is(
    path: Path, data: bytes
) -> None:
    """An empty journal in its place would hide what was lost."""
    replaced(path, data)
    with pytest.raises(JournalDamagedError):
        Journal.open(path, create=True)

    assert [other.name for other in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == data


def test_a_line_that_is_gone_is_reported(path: Path) -> None:
    """Once: then the file says itself that a number is missing."""
    lines = written(path).splitlines(keepends=True)
    replaced(path, b"".join(lines[:2] + lines[4:]))
    with opened(path) as journal:
        assert journal.repair.missing == 2
        assert not journal.repair.clean
        assert [record.seq for record in journal.records()] == [1, 4, 5, 6]
        assert journal.append(b"{}") == 7
    with opened(path) as journal:
        assert journal.repair.clean
        assert [record.seq for record in journal.records()] == [1, 4, 5, 6, 7]


def test_a_line_that_is_there_twice_counts_once(path: Path) -> None:
    """The copy is a bad record, for all its good checksum."""
    lines = written(path).splitlines(keepends=True)
    replaced(path, b"".join([*lines, lines[2]]))
    with opened(path) as journal:
        assert journal.repair.bad_records == 1
        assert list(journal.records()) == numbered(PAYLOADS)


def test_a_file_from_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    """It may hold what this version cannot keep."""
    newer = format_line(0, b'{"journal":2,"shape":"new"}') + format_line(1, b"{}")
    replaced(path, newer)
    with pytest.raises(JournalVersionError, match="version 2"):
        Journal.open(path, create=True)

    assert path.read_bytes() == newer


def test_a_record_that_is_damaged_while_the_journal_is_open_is_not_returned(path: Path) -> None:
    """The checksum is compared at every read."""
    data = written(path)
    with opened(path) as journal:
        path.write_bytes(data.replace(b'"a"', b'"b"'))
        with pytest.raises(JournalDamagedError):
            journal.read(2)
        with pytest.raises(JournalDamagedError):
            journal.read(99)

        assert journal.read(3).payload == PAYLOADS[2]


# ----- one writer -------------------------------------------------------------


def test_a_second_writer_is_refused_until_the_first_one_closes(path: Path) -> None:
    """In the same process and in another one; also after the file was replaced."""
    program = (
        "import sys; from pathlib import Path; from jidocode.session.journal.file import Journal\n"
    )
    program += "Journal.open(Path(sys.argv[1]), create=True)"
    with opened(path) as first:
        first.append(b"{}")
        first.compact([])
        with pytest.raises(JournalLockedError):
            Journal.open(path, create=True)
        other = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
        )

        assert "JournalLockedError" in other.stderr
    with opened(path) as second:
        assert second.append(b"{}") == 2
    second.close()


def test_a_symlink_is_not_followed(path: Path, tmp_path: Path) -> None:
    """The journal is a file of its own."""
    path.parent.mkdir()
    (tmp_path / "target").write_bytes(b"")
    path.symlink_to(tmp_path / "target")
    with pytest.raises(JournalError):
        Journal.open(path, create=True)

    assert (tmp_path / "target").read_bytes() == b""


def lose(path: Path, how: str) -> None:
    """Have the file at *path* be elsewhere, or nowhere."""
    copy, away = path.with_name("copy"), path.with_name("away")
    match how:
        case "deleted":
            path.unlink()
        case "renamed":
            path.rename(away)
        case "folder renamed":
            path.parent.rename(path.parent.with_name("away"))
        case "deleted, and has another name":
            copy.hardlink_to(path)
            path.unlink()
        case "replaced by a copy":
            copy.write_bytes(path.read_bytes())
            copy.replace(path)
        case _:
            path.rename(away)
            path.symlink_to(away)


LOSSES = [
    "deleted",
    "renamed",
    "folder renamed",
    "deleted, and has another name",
    "replaced by a copy",
    "replaced by a link",
]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_file_that_is_not_in_its_place_takes_no_more_records(path: Path, loss: str) -> None:
    """They would be acknowledged and lost; what is there can be read, and is not replaced."""
    with opened(path) as journal:
        journal.append(b"{}")
        lose(path, loss)
        for change in (lambda: journal.append(b"{}"), lambda: journal.compact([1])):
            with pytest.raises(JournalLostError, match="renamed, deleted or replaced"):
                change()

        assert (journal.read(1).payload, journal.last_seq) == (b"{}", 1)


def test_a_file_that_is_put_back_takes_records_again(path: Path) -> None:
    """Nothing is missing in between."""
    with opened(path) as journal:
        journal.append(b"{}")
        path.parent.rename(path.parent.with_name("away"))
        with pytest.raises(JournalLostError):
            journal.append(b'{"lost":1}')
        path.parent.with_name("away").rename(path.parent)
        journal.append(b'{"kept":1}')
    with opened(path) as journal:
        assert [record.payload for record in journal.records()] == [b"{}", b'{"kept":1}']


def spoil(path: Path, how: str) -> None:
    """Have the file at *path* be shorter or longer."""
    size = path.stat().st_size
    match how:
        case "emptied":
            os.truncate(path, 0)
        case "cut in half":
            os.truncate(path, size // 2)
        case "cut by a byte":
            os.truncate(path, size - 1)
        case "half a line appended":
            with path.open("ab") as file:
                file.write(b"half a li")
        case _:
            with path.open("ab") as file:
                file.write(format_line(2, b'{"made":"up"}'))


SPOILS = ["emptied", "cut in half", "cut by a byte", "half a line appended", "a line appended"]


@pytest.mark.parametrize("is_new", [True, False], ids=["created", "opened"])
@pytest.mark.parametrize("how", SPOILS)
def test_a_file_that_somebody_else_writes_to_takes_no_more_records(
    path: Path, how: str, *, is_new: bool
) -> None:
    """They would be acknowledged and not found; nor is the file touched. Restored, it goes on."""
    if not is_new:
        with opened(path):
            pass
    with opened(path) as journal:
        journal.append(b"{}")
        good = path.read_bytes()
        spoil(path, how)
        spoilt = path.read_bytes()
        for change in (lambda: journal.append(b"{}"), lambda: journal.compact([1])):
            with pytest.raises(JournalLostError, match=f"{len(spoilt)} bytes .* {len(good)}"):
                change()
        assert path.read_bytes() == spoilt
        path.write_bytes(good)
        assert journal.append(b"{}") == 2
    with opened(path) as journal:
        assert journal.repair.clean
        assert journal.last_seq == 2


def test_a_file_that_is_cut_off_before_a_failed_write_could_be_is_not_filled_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed may be cut off later, by the next write; there is nothing to cut off then."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with opened(path) as journal:
        journal.append(b"first")
        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", fail)
            with (
                limited(resource.RLIMIT_FSIZE, path.stat().st_size + 100),
                pytest.raises(JournalWriteError, match="too large"),
            ):
                journal.append(b"x" * 1000)
        os.truncate(path, 30)
        with pytest.raises(JournalLostError):
            journal.append(b"second")

        assert path.stat().st_size == 30


def test_a_file_that_is_gone_is_not_begun_anew(path: Path) -> None:
    """Unless that is asked for."""
    with pytest.raises(JournalLostError):
        Journal.open(path)

    assert not path.parent.exists() or list(path.parent.iterdir()) == []


# ----- a disk that refuses ----------------------------------------------------


def test_a_full_disk_refuses_the_record_and_nothing_else(path: Path) -> None:
    """A part of the record was written; it is gone again, and the next try succeeds."""
    with opened(path) as journal:
        journal.append(b"first")
        before = path.read_bytes()
        with limited(resource.RLIMIT_FSIZE, len(before) + 100):
            for _ in range(2):
                with pytest.raises(JournalWriteError, match="too large"):
                    journal.append(b"x" * 1000)
            assert path.read_bytes() == before
            assert journal.append(b"short") == 2
            assert journal.read(1).payload == b"first"
        assert journal.append(b"x" * 1000) == 3
    with opened(path) as journal:
        assert journal.repair.clean
        assert list(journal.records()) == numbered([b"first", b"short", b"x" * 1000])


def test_a_record_that_the_disk_did_not_confirm_is_not_in_the_journal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if cutting it off fails at first."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with opened(path, durability="power") as journal:
        journal.append(b"first")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            patch.setattr(os, "ftruncate", fail)
            for _ in range(2):
                with pytest.raises(JournalWriteError, match="Input/output"):
                    journal.append(b"never")
        assert journal.append(b"second") == 2
    with opened(path) as journal:
        assert journal.repair.clean
        assert list(journal.records()) == numbered([b"first", b"second"])


def refuse_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make files read-only, for root too."""
    really = os.open

    def fail(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "Read-only file system")
        return really(path, flags, mode)

    monkeypatch.setattr(os, "open", fail)


def test_a_file_that_may_not_be_written_can_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its repair waits, and is done with the first append that may."""
    data = written(path)
    path.write_bytes(data.replace(b'"a"', b'"b"') + b"torn")
    with monkeypatch.context() as patch:
        refuse_to_write(patch)
        journal = Journal.open(path, create=True)
        for _ in range(2):
            with pytest.raises(JournalWriteError, match="Read-only"):
                journal.append(b"{}")
        assert [record.seq for record in journal.records()] == [1, 3, 4, 5, 6]
        assert "Read-only" in journal.repair.pending
        assert journal.repair.kept_aside == ()
    with_it = journal.append(b"{}")
    repair = journal.repair
    journal.close()

    assert with_it == 7
    assert (repair.torn_bytes, repair.bad_records, repair.missing) == (4, 1, 1)
    assert len(repair.kept_aside) == 2
    assert repair.pending == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_permissions_are_typed_errors(path: Path) -> None:
    """Read-only can be read; what cannot be read is refused."""
    written(path)
    path.chmod(0o400)
    with opened(path) as journal, pytest.raises(JournalWriteError, match="Permission"):
        journal.append(b"{}")
    path.chmod(0)
    with pytest.raises(JournalError, match="Permission"):
        Journal.open(path, create=True)


def test_a_full_disk_does_not_keep_a_torn_file_from_being_read(path: Path) -> None:
    """What is torn off is only cut when it could be kept aside."""
    data = written(path, [b"x" * 500])
    path.write_bytes(data + b"y" * 300)
    with limited(resource.RLIMIT_FSIZE, 100):
        journal = Journal.open(path, create=True)

        assert "too large" in journal.repair.pending
        assert list(journal.records()) == numbered([b"x" * 500])
        assert [other.name for other in path.parent.iterdir()] == [path.name]
    assert journal.append(b"{}") == 2
    assert path.with_name(f"{path.name}.torn-1").read_bytes() == b"y" * 300
    journal.close()


# ----- compaction -------------------------------------------------------------


def test_compaction_keeps_what_it_is_told_and_the_newest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers stay, and go on; the file is smaller and still locked."""
    monkeypatch.setattr(module, "RECENT", 3)
    with opened(path) as journal:
        for number in range(1, 11):
            journal.append(b"%d" % number)
        size = journal.size
        journal.compact([9, 2])
        assert journal.size == path.stat().st_size < size
        assert journal.append(b"11") == 11
        seqs = [record.seq for record in journal.records()]
        with pytest.raises(JournalLockedError):
            Journal.open(path, create=True)
    with opened(path) as journal:
        assert journal.repair.clean
        assert seqs == [record.seq for record in journal.records()] == [2, 8, 9, 10, 11]
        assert [int(record.payload) for record in journal.records()] == seqs
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_a_compaction_that_fails_leaves_everything_as_it_was(path: Path) -> None:
    """The disk is full, or a record cannot be read."""
    with opened(path) as journal:
        for _ in range(10):
            journal.append(b"x" * 100)
        before = path.read_bytes()
        with limited(resource.RLIMIT_FSIZE, 500), pytest.raises(JournalWriteError):
            journal.compact([1])
        with pytest.raises(JournalDamagedError):
            journal.compact([77])

        assert path.read_bytes() == before
        assert journal.append(b"{}") == 11
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_what_a_killed_compaction_left_is_removed(path: Path) -> None:
    """It never counted."""
    data = written(path)
    left = path.with_name(f"{path.name}.new")
    left.write_bytes(data[:50])
    with opened(path) as journal:
        assert journal.repair.clean

    assert not left.exists()


# ----- kill -9 ----------------------------------------------------------------

KILLED_WRITER = """
import os, random, signal, sys
from pathlib import Path
from jidocode.session.journal import file as module
from jidocode.session.journal.file import Journal

def write(path, acks, durability):
    journal = Journal.open(path, durability=durability, create=True)
    dice = random.Random(os.getpid())
    while True:
        payload = b"%d:" % (journal.last_seq + 1) + b"x" * dice.choice([1, 1, 1, 100, 9000])
        acks.write(b"%d\\n" % journal.append(payload))
        if journal.last_seq % 100 == 0:
            module.RECENT = 20
            journal.compact([seq for seq, _ in journal.records(journal.last_seq - 90)])

path, rounds = Path(sys.argv[1]), int(sys.argv[2])
dice = random.Random(7)
acknowledged = torn = 0
for number in range(rounds):
    read, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        write(path, open(write_end, "wb", buffering=0), ["process", "power"][number % 8 == 0])
    os.close(write_end)
    acks = open(read, "rb")
    for _ in range(dice.randint(1, 25)):
        acknowledged = int(acks.readline())
    for _ in range(dice.randint(0, 3000)):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    rest = acks.read().splitlines(keepends=True)
    acks.close()
    acknowledged = max([acknowledged, *(int(line) for line in rest if line.endswith(b"\\n"))])
    journal = Journal.open(path, create=True)
    found = journal.repair
    assert not (found.bad_records or found.missing or found.header_lost), found
    assert acknowledged <= journal.last_seq <= acknowledged + 1, (acknowledged, journal.last_seq)
    seqs = []
    for seq, payload in journal.records():
        assert int(payload.split(b":")[0]) == seq
        seqs.append(seq)
    assert seqs[-20:] == list(range(max(1, seqs[-1] - 19), seqs[-1] + 1)), seqs
    assert seqs == sorted(set(seqs))
    torn += bool(found.torn_bytes)
    journal.close()
print(acknowledged, torn)
"""


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_to_two_hundred_kills(path: Path) -> None:
    """Writers under load, with compactions, are killed at any moment; the next one goes on."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, str(path), "200"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.stderr == ""
    assert done.returncode == 0
    assert int(done.stdout.split()[0]) >= 200


# ----- against a model --------------------------------------------------------


class JournalMachine(RuleBasedStateMachine):
    """A journal next to a plain dict, with crashes and refusals in between."""

    directory: Path
    counter = 0

    @initialize()
    def start(self) -> None:
        type(self).counter += 1
        self.path = self.directory / f"{self.counter}.jsonl"
        self.journal = Journal.open(self.path, create=True)
        self.model: dict[int, bytes] = {}
        self.last_seq = 0

    @rule(payload=st.binary(min_size=1, max_size=200).filter(lambda data: b"\n" not in data))
    def append(self, payload: bytes) -> None:
        self.last_seq += 1
        assert self.journal.append(payload) == self.last_seq
        self.model[self.last_seq] = payload

    @rule(size=st.integers(1, 50))
    def fail_to_append(self, size: int) -> None:
        with (
            limited(resource.RLIMIT_FSIZE, self.journal.size + size),
            pytest.raises(JournalWriteError),
        ):
            self.journal.append(b"z" * 200)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        keep = data.draw(st.sets(st.sampled_from(sorted(self.model))))
        recent = set(sorted(self.model)[-module.RECENT :])
        self.journal.compact(keep)
        self.model = {seq: self.model[seq] for seq in sorted(keep | recent)}

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = Journal.open(self.path, create=True)
        assert self.journal.repair.clean

    @rule(cut=st.integers(1, 25))
    def crash_within_a_write(self, cut: int) -> None:
        line = format_line(self.last_seq + 1, b'{"torn":"off"}')
        self.journal.close()
        with self.path.open("ab") as file:
            file.write(line[:cut])
        self.journal = Journal.open(self.path, create=True)
        assert self.journal.repair.torn_bytes == len(line[:cut])

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def flip_a_bit(self, data: st.DataObject) -> None:
        self.journal.close()
        content = bytearray(self.path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        self.path.write_bytes(content)
        try:
            self.journal = Journal.open(self.path, create=True)
        except JournalDamagedError:
            assert len(self.model) <= 2
            self.start()
            return
        assert not self.journal.repair.clean
        kept = {record.seq: record.payload for record in self.journal.records()}
        assert kept.items() <= self.model.items()
        assert len(self.model) - len(kept) <= 2
        # A number that stood in the header alone is lost with it.
        assert self.journal.last_seq >= self.last_seq or self.journal.repair.header_lost
        self.model, self.last_seq = kept, self.journal.last_seq

    @invariant()
    def they_agree(self) -> None:
        if hasattr(self, "journal"):
            assert dict(self.journal.records()) == self.model
            assert self.journal.last_seq == self.last_seq
            assert self.journal.size == self.path.stat().st_size

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()


@pytest.mark.usefixtures("fast")
def test_a_journal_behaves_like_a_dict_that_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is done to it, in whatever order."""
    monkeypatch.setattr(module, "RECENT", 2)
    monkeypatch.setattr(JournalMachine, "directory", tmp_path, raising=False)
    run: Callable[..., None] = run_state_machine_as_test
    run(JournalMachine, settings=settings(max_examples=60, stateful_step_count=20))

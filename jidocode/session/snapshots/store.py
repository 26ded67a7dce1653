"""Where the snapshots of a session are: contents under their hashes, and an index of each.

```
snapshots/<session id>/
├── contents/3f/9a...     the bytes of a file, under their SHA-256; shared by all snapshots
├── index/00000007        what was at which path: a snapshot is there when its index is
└── new                   whatever is being written
```

It lies beside the journals, outside of the project: what runs in a session cannot reach it.
Contents come first and the index last, each whole under a name of its own in one step. So a kill
at any moment leaves whole snapshots, and perhaps contents that none needs. Those are swept away
by the first request of the next life, and from time to time as snapshots go: to know which
contents are needed takes a look at all indexes, too long for every one that goes.

One thread uses it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jidocode.base import log
from jidocode.errors import NoSnapshotError, SnapshotError
from jidocode.session.journal.opening import open_private, open_regular
from jidocode.session.journal.writing import make_private_folder, write_all
from jidocode.session.project.descriptors import closing
from jidocode.session.snapshots.index import Index, IndexWriter, open_index, unwritable
from jidocode.session.snapshots.limits import SnapshotRules

_SWEEP_AFTER = 10
"""Snapshots that go until what they alone needed goes, unless room is wanted."""
_NEARLY_FULL = 0.75
"""Of what may be kept: then each that has gone is a reason to look for what is not needed."""
_DIGITS = 8


class Store:
    """The snapshots of one session."""

    def __init__(self, folder: Path | None, rules: SnapshotRules) -> None:
        """Keep them in *folder*, which is made when it is needed.

        Args:
            folder: None if nothing is to be written to disk; then there are no snapshots.
            rules: How much they may be.
        """
        self._place = folder
        self.rules = rules
        self._used: int | None = None  # bytes of contents, known since the sweep
        self._gone = 0  # snapshots since then

    @property
    def folder(self) -> Path:
        """Where they are.

        Raises:
            SnapshotError: Nowhere: this system keeps nothing on disk.
        """
        if self._place is None:
            raise SnapshotError('there are no snapshots in memory, with durability="memory"')
        return self._place

    # ----- snapshots ----------------------------------------------------------

    def ids(self) -> list[int]:
        """Return the ids of all snapshots, oldest first.

        Raises:
            SnapshotError: They cannot be listed.
        """
        try:
            names = os.listdir(self.folder / "index")  # noqa: PTH208 - names are all that is needed
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SnapshotError(f"snapshots cannot be listed: {error.strerror}") from error
        return sorted(int(name) for name in names if name.isdecimal())

    def indexes(self) -> Iterator[Index]:
        """Yield all snapshots that can be read, latest first; raises as `ids`."""
        for number in reversed(self.ids()):
            try:
                yield open_index(self._index(number))
            except SnapshotError as error:
                log.warning("{}", error)

    def latest(self) -> Index | None:
        """Return the latest snapshot, None if there is none; raises as `ids`."""
        return next(self.indexes(), None)

    def find(self, number: int | None) -> Index:
        """Return the snapshot with the id *number*, the latest one for None.

        Raises:
            NoSnapshotError: There is none.
            SnapshotError: It is damaged.
        """
        if number is None:
            latest = self.latest()
            if latest is None:
                raise NoSnapshotError(None)
            return latest
        if number not in self.ids():
            raise NoSnapshotError(number)
        return open_index(self._index(number))

    def begin(self) -> tuple[int, IndexWriter]:
        """Return the id of a new snapshot, and what writes its index; `commit` follows.

        Raises:
            SnapshotError: It cannot be written.
        """
        with self._writing():
            make_private_folder(self.folder / "index")
            if self._is_due():
                self._sweep()
            return max(self.ids(), default=0) + 1, IndexWriter(self.folder / "new-index")

    def commit(self, number: int) -> Index:
        """Let the index that was written be that of snapshot *number*; raises as `begin`."""
        with self._writing():
            os.rename(self.folder / "new-index", self._index(number))  # noqa: PTH104 - nothing of a Path is needed
        return open_index(self._index(number))

    def prune(self, spared: Iterable[int] = ()) -> None:
        """Let the oldest snapshots go, until there are as many as may be; *spared* stay.

        Raises:
            SnapshotError: One cannot be removed.
        """
        ids = self.ids()
        old = [number for number in ids if number not in set(spared)]
        for number in old[: max(0, len(ids) - self.rules.kept)]:
            with self._writing():
                self._index(number).unlink(missing_ok=True)
            self._gone += 1

    # ----- contents -----------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes more may be kept."""
        return (self._used or 0) + size <= self.rules.size

    def keep(self, digest: bytes, data: bytes) -> bool:
        """Keep *data* under its *digest*; return False if there is no room for it.

        Raises:
            SnapshotError: It cannot be written.
        """
        path = self._content(digest)
        # A loss of power may have left another size.
        with suppress(FileNotFoundError):
            if os.stat(path).st_size == len(data):  # noqa: PTH116 - a Path for each file is not cheap
                return True
        if not self.has_room(len(data)):
            return False
        with self._writing():
            new = f"{self.folder}/new"
            with closing(open_private(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)) as fd:
                write_all(fd, data)
            try:
                os.rename(new, path)  # noqa: PTH104 - idem
            except FileNotFoundError:
                make_private_folder(Path(path).parent)
                os.rename(new, path)  # noqa: PTH104 - idem
        self._used = (self._used or 0) + len(data)
        return True

    def read(self, digest: bytes) -> bytes:
        """Return what is kept under *digest*.

        Raises:
            SnapshotError: It is gone, or is something else.
        """
        try:
            with open(self._content(digest), "rb", buffering=0, opener=open_regular) as file:
                data = file.read()
        except OSError as error:
            raise SnapshotError(f"what was kept is gone: {error.strerror}") from error
        if hashlib.sha256(data).digest() != digest:
            raise SnapshotError("what was kept is damaged")
        return data

    def give_up(self) -> None:
        """Note that a snapshot failed: the next one begins with a sweep."""
        self._used = None

    def _sweep(self) -> None:
        """Remove the contents that no snapshot needs, and count the others.

        Raises:
            OSError: They cannot be listed, or removed.
        """
        needed: set[bytes] = set()
        for index in self.indexes():
            try:
                needed.update(index.kept())
            except SnapshotError as error:
                log.warning("{}", error)
        used = 0
        with suppress(FileNotFoundError):
            (self.folder / "new").unlink()
        for path in _contents(self.folder / "contents"):
            name = os.path.basename(os.path.dirname(path)) + os.path.basename(path)  # noqa: PTH119, PTH120 - many paths
            if bytes.fromhex(name) in needed:
                used += os.stat(path).st_size  # noqa: PTH116 - idem
            else:
                os.unlink(path)  # noqa: PTH108 - idem
        self._used, self._gone = used, 0

    def _is_due(self) -> bool:
        # Never while a snapshot is being taken, whose contents no index needs yet.
        if self._used is None or self._gone >= _SWEEP_AFTER:
            return True
        return self._gone > 0 and self._used > self.rules.size * _NEARLY_FULL

    def _content(self, digest: bytes) -> str:
        text = digest.hex()
        return f"{self.folder}/contents/{text[:2]}/{text[2:]}"

    def _index(self, number: int) -> Path:
        return self.folder / "index" / f"{number:0{_DIGITS}}"

    @contextmanager
    def _writing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            self.give_up()
            raise unwritable(error) from error


def _contents(folder: Path) -> Iterator[str]:
    """Yield the paths of all contents; what has another name is none."""
    with suppress(FileNotFoundError):
        for part in os.listdir(folder):  # noqa: PTH208 - many names
            if len(part) == 2 and _is_hex(part):  # noqa: PLR2004 - as `_content` has it
                for name in os.listdir(folder / part):  # noqa: PTH208 - idem
                    if len(name) == 62 and _is_hex(name):  # noqa: PLR2004 - idem
                        yield f"{folder}/{part}/{name}"


def _is_hex(text: str) -> bool:
    return not text.strip("0123456789abcdef")

"""Who says that a promise was broken: each asks the kernel or the disk, none asks the package.

An attack hands over what it did and what it was told, and a checker finds out by itself
what is so: from `/proc`, from the bytes of a journal, from a model of what was acknowledged.
Nothing here may import the package, or a mistake of it would be believed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

MARK = "JIDOCODE_ATTACK"
"""The variable of the environment by which the processes of an attack are known."""
LOOKS = 50
"""How often it is looked for what should be gone, 20 ms apart: a second, longer if all is slow."""


class BrokenPromiseError(Exception):
    """A promise was broken; the message is one sentence."""


def settled(is_so: Callable[[], bool]) -> bool:
    """Whether *is_so* comes true within a second."""
    for _ in range(LOOKS):
        if is_so():
            return True
        time.sleep(0.02)
    return is_so()


# Processes


def census(mark: str) -> dict[int, str]:
    """Return the processes that have inherited *mark*, `NAME=value`, and what they are called."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        # Of others one may not read it; a process that has ended, a zombie too, has none.
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").strip()
                found[int(folder.name)] = title.decode(errors="replace")[:80]
    return found


def check_nothing_left(mark: str, *, but: Iterable[int] = ()) -> None:
    """Check that no process with *mark* is left after a second, except the pids in *but*."""
    spared = set(but)
    if not settled(lambda: not census(mark).keys() - spared):
        left = {pid: title for pid, title in census(mark).items() if pid not in spared}
        raise BrokenPromiseError(f"after a second these processes are left: {left}")


def listening_ports(pids: Iterable[int]) -> dict[int, str]:
    """Return the TCP ports on which any of *pids* listens, and the address of each."""
    inodes: set[str] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(str(descriptor.readlink()))
    found: dict[int, str] = {}
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                address, _, port = fields[1].partition(":")
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    found[int(port, 16)] = address
    return found


def check_on_loopback(ports: dict[int, str]) -> None:
    """Check that each of *ports* is one of 127.0.0.1, whose address the kernel writes so."""
    if others := {port: address for port, address in ports.items() if address != "0100007F"}:
        raise BrokenPromiseError(f"something listens elsewhere than on 127.0.0.1: {others}")


# Messages


class Said(NamedTuple):
    """A message."""

    seq: int
    id: str
    text: str


class Ledger:
    """What was tried, and what was acknowledged, in one session; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tried: dict[str, str] = {}
        self._known: dict[str, Said] = {}

    def __len__(self) -> int:
        """Return how many messages were acknowledged."""
        return len(self._known)

    def try_message(self, message_id: str, text: str) -> None:
        """Note a message before it is sent; it may come to be, acknowledged or not."""
        with self._lock:
            self._tried[message_id] = text

    def acknowledge(self, said: Said) -> None:
        """Note an answer, and check that it is the one and only to that message."""
        with self._lock:
            if self._tried.get(said.id) != said.text:
                raise BrokenPromiseError(f"another message was acknowledged than sent: {said}")
            if self._known.setdefault(said.id, said) != said:
                raise BrokenPromiseError(f"{said} was acknowledged as {self._known[said.id]}, too")

    def check(self, found: list[Said]) -> None:
        """Check that *found* has all that was acknowledged, once, in order, and nothing foreign."""
        with self._lock:
            self.check_part(found)
            if lost := self._known.keys() - {said.id for said in found}:
                raise BrokenPromiseError(
                    f"{len(lost)} of {len(self._known)} acknowledged messages are lost, "
                    f"{self._known[min(lost)]} among them"
                )

    def check_part(self, found: list[Said]) -> None:
        """Check that *found* has nothing twice, changed, foreign, or out of order."""
        for before, said in itertools.pairwise(found):
            if said.seq <= before.seq:
                raise BrokenPromiseError(f"{said} comes after {before}")
        if len({said.id for said in found}) != len(found):
            raise BrokenPromiseError("a message is there twice")
        for said in found:
            if self._tried.get(said.id) != said.text:
                raise BrokenPromiseError(f"nobody has said {said}")
            if self._known.get(said.id, said) != said:
                raise BrokenPromiseError(f"{self._known[said.id]} has become {said}")


# Journals


class JournalText(NamedTuple):
    """What a journal holds, read by the rules in docs/sessions.md.

    Attributes:
        messages: All that can be read.
        results: What came of each call, and whether it is an error, by the id of the call.
        damage: What is wrong with it, in words; empty if nothing is.
        torn: Whether the last line has no end, as a process leaves it that is killed in it.
    """

    messages: list[Said]
    results: dict[str, tuple[str, bool]]
    damage: str
    torn: bool


def read_journal(content: bytes) -> JournalText:
    """Read a journal; nothing in it is an error."""
    *lines, rest = content.split(b"\n")
    damage: list[str] = []
    messages: list[Said] = []
    results: dict[str, tuple[str, bool]] = {}
    in_use = base = last = count = 0
    for number, line in enumerate(lines):
        checksum, _, body = line.partition(b" ")
        seq_text, _, payload = body.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(body) or not seq_text.isdigit():
            damage.append(f"line {number + 1} is no record")
            continue
        seq, value = int(seq_text), _object(payload)
        if number == 0 and "journal" in value:
            base, in_use = seq, value["records"]
            continue
        if seq <= last:
            damage.append(f"line {number + 1} is record {seq} after {last}")
            continue
        if seq > base and seq != max(last, base) + 1:
            damage.append(f"records {max(last, base) + 1} to {seq - 1} are missing")
        last = seq
        count += seq <= base
        if "message" in value:
            messages.append(Said(seq, value["message"]["id"], value["message"]["content"]))
        if (said := value.get("tool_result")) is not None:
            results[said["call_id"]] = (said["content"], said["is_error"])
    if not lines or b'{"journal":' not in lines[0]:
        damage.append("there is no header")
    if count != in_use:
        damage.append(f"{count} of the {in_use} records up to {base} are there")
    return JournalText(messages, results, "; ".join(damage), bool(rest))


def _object(payload: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(payload.decode("utf-8", "surrogatepass"))
    return value


def check_journal(path: Path, ledger: Ledger) -> None:
    """Check that the journal at *path* is whole, and has what was acknowledged."""
    found = read_journal(path.read_bytes())
    if found.damage:
        raise BrokenPromiseError(f"a journal that nobody has damaged is damaged: {found.damage}")
    ledger.check(found.messages)


# Files


class Outside:
    """A folder beside the project, with canaries in it, of which nothing may change or get out."""

    CANARY = "canary-5b1f0a"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "deep").mkdir(parents=True)
        for name in ("file", "deep/file", f"{self.CANARY}-name"):
            (folder / name).write_text(f"{self.CANARY} {name}\n")
        self._before = self._state()

    def _state(self) -> dict[str, tuple[object, ...]]:
        return {
            str(path): (
                path.lstat().st_ino,
                path.lstat().st_mode,
                path.read_bytes() if path.is_file() else sorted(path.iterdir()),
            )
            for path in [self.folder, *sorted(self.folder.rglob("*"))]
        }

    def check_read(self, found: str, known: Iterable[str]) -> None:
        """Check that *found*, which was read from the project, is one of the texts in it."""
        if self.CANARY in found:
            raise BrokenPromiseError("a text from outside the project was read")
        if found not in known:
            raise BrokenPromiseError(f"a text was read that nobody has written: {found[:80]!r}")

    def check_unchanged(self) -> None:
        """Check that nothing is new, gone or changed outside."""
        now = self._state()
        keys = now.keys() | self._before.keys()
        if changed := sorted(key for key in keys if now.get(key) != self._before.get(key)):
            raise BrokenPromiseError(f"outside the project these have changed: {changed}")

"""The checkers of the attack suite complain of what is broken; else the suite proves nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import suite
from checkers import (
    BrokenPromiseError,
    Ledger,
    Outside,
    Said,
    census,
    check_journal,
    check_nothing_left,
    check_on_loopback,
    listening_ports,
    read_journal,
)

from jidocode import SessionSystem

SAID = [Said(2, "a", "one"), Said(3, "b", "two"), Said(5, "c", "three")]


@pytest.fixture
def ledger() -> Ledger:
    """All of them were tried, and the first two acknowledged."""
    ledger = Ledger()
    for said in SAID:
        ledger.try_message(said.id, said.text)
    for said in SAID[:2]:
        ledger.acknowledge(said)
    return ledger


def test_a_ledger_is_content_with_what_was_acknowledged_and_what_may_be(ledger: Ledger) -> None:
    """Nobody knows whether the third was taken."""
    ledger.check(SAID)
    ledger.check(SAID[:2])


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (SAID[1:], "1 of 2 acknowledged messages are lost"),
        ([*SAID, SAID[2]._replace(seq=6)], "there twice"),
        ([SAID[1], SAID[0]], "comes after"),
        ([SAID[0]._replace(text="other"), SAID[1]], "nobody has said"),
        ([*SAID, Said(9, "d", "four")], "nobody has said"),
        ([SAID[0]._replace(seq=1), SAID[1]], "has become"),
    ],
)
def test_a_ledger_complains(ledger: Ledger, found: list[Said], complaint: str) -> None:
    """Of what is lost, doubled, out of order, changed, foreign, or has another number."""
    with pytest.raises(BrokenPromiseError, match=complaint):
        ledger.check(found)


def test_a_ledger_complains_of_answers(ledger: Ledger) -> None:
    """To another message, or a second one."""
    with pytest.raises(BrokenPromiseError, match="another message"):
        ledger.acknowledge(Said(7, "a", "not this"))
    with pytest.raises(BrokenPromiseError, match="too"):
        ledger.acknowledge(Said(7, "a", "one"))


@pytest.fixture
def journal(tmp_path: Path) -> tuple[Path, Ledger]:
    """A real journal, and what was acknowledged."""
    project, ledger = tmp_path / "shop", Ledger()
    project.mkdir()
    with SessionSystem(state_dir=tmp_path / "state") as system:
        session = system.create_session(project)
        for text in ("one", "two", "three"):
            ledger.try_message(text, text)
            said = session.state.append_message("user", text, message_id=text)
            ledger.acknowledge(Said(said.seq, said.id, said.content))
    return tmp_path / "state" / f"{session.id}.jsonl", ledger


def test_the_reader_of_journals(journal: tuple[Path, Ledger]) -> None:
    """It reads a real one, and complains of a flipped bit, a missing line, and a lost end."""
    path, ledger = journal
    check_journal(path, ledger)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)

    assert read_journal(whole[:-3]).torn
    for place in range(0, len(whole) - 1, 7):
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        assert read_journal(flipped).damage, place
    for number in range(len(lines) - 1):
        assert read_journal(b"".join(lines[:number] + lines[number + 1 :])).damage, number
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(BrokenPromiseError, match="lost"):
        check_journal(path, ledger)
    path.write_bytes(whole.replace(b"two", b"owt"))
    with pytest.raises(BrokenPromiseError, match="is no record"):
        check_journal(path, ledger)


def test_the_reader_counts_what_a_header_promises() -> None:
    """Up to its own number there are gaps, but so many records."""

    def line(body: bytes) -> bytes:
        return b"%08x %b\n" % (zlib.crc32(body), body)

    header, record = line(b'9 {"journal":1,"records":1}'), line(b"4 {}")

    assert read_journal(header + record + line(b"10 {}")).damage == ""
    assert "0 of the 1 records" in read_journal(header).damage
    assert "10 to 10 are missing" in read_journal(header + record + line(b"11 {}")).damage


def test_the_census_finds_an_orphan() -> None:
    """A daemon of a dead process, in a session of its own, with the mark and nothing else."""
    code = "import os, time\nif os.fork(): os._exit(0)\nos.setsid(); time.sleep(60)"
    mark = {"ATTACK_TEST": "orphan"}
    assert census("ATTACK_TEST=orphan") == {}
    subprocess.run([sys.executable, "-Ic", code], env=os.environ | mark, check=True)
    try:
        with pytest.raises(BrokenPromiseError, match="processes are left"):
            check_nothing_left("ATTACK_TEST=orphan")
    finally:
        for pid in census("ATTACK_TEST=orphan"):
            os.kill(pid, signal.SIGKILL)
    check_nothing_left("ATTACK_TEST=orphan")


def test_the_look_at_ports() -> None:
    """It finds what listens, and where."""
    with socket.create_server(("127.0.0.1", 0)) as near:
        ports = listening_ports([os.getpid()])
        assert near.getsockname()[1] in ports
        check_on_loopback({near.getsockname()[1]: ports[near.getsockname()[1]]})
        with socket.create_server(("127.0.0.2", 0)), pytest.raises(BrokenPromiseError):
            check_on_loopback(listening_ports([os.getpid()]))


CHANGES: list[Callable[[Path], object]] = [
    lambda folder: (folder / "file").chmod(0o600),
    lambda folder: (folder / "file").unlink(),
    lambda folder: (folder / "deep" / "new").touch(),
    lambda folder: (folder / "deep" / "file").write_text("written"),
]


def test_the_look_outside(tmp_path: Path) -> None:
    """An escaped text, a foreign one, and each kind of change."""
    outside = Outside(tmp_path / "outside")
    outside.check_unchanged()
    outside.check_read("inside", {"inside"})
    with pytest.raises(BrokenPromiseError, match="from outside"):
        outside.check_read((tmp_path / "outside" / "file").read_text(), {"inside"})
    with pytest.raises(BrokenPromiseError, match="nobody has written"):
        outside.check_read("insid", {"inside"})
    for number, change in enumerate(CHANGES):
        outside = Outside(tmp_path / str(number))
        change(outside.folder)
        with pytest.raises(BrokenPromiseError, match="have changed"):
            outside.check_unchanged()


def test_the_suite_reports_a_broken_promise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a sentence, the seed and the status; also when an attack hangs."""
    attacks = {
        "fine": "return '7 rounds'",
        "broken": "from checkers import BrokenPromiseError; raise BrokenPromiseError('it broke')",
        "odd": "raise ValueError('an odd end')",
        "endless": "import time; time.sleep(60)",
    }
    for name, body in attacks.items():
        (tmp_path / f"{name}.py").write_text(f"def attack(plan, until, folder): {body}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(suite, "PATIENCE", 1.0)

    assert [suite.run_apart(name, 5, 0.1) for name in attacks] == [True, False, False, False]
    said = capfd.readouterr().out
    assert "fine: 7 rounds\n" in said
    assert "broken: BROKEN (seed 5): it broke\n" in said
    assert "odd: BROKEN (seed 5): ValueError, which nobody announced: an odd end\n" in said
    assert "endless: BROKEN (seed 5): it hangs" in said

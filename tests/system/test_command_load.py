"""Commands that write more than anybody keeps, and a disk that does not take it."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jidocode import CommandLimits, SessionHandle

GIB = 2**30


def peak(session: SessionHandle) -> int:
    """Return the most kB that the process which runs the commands had of its own."""
    status = Path(f"/proc/{session.monitor('commands').ref.os_pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_two_gigabytes_of_output_stop_nobody(session: SessionHandle) -> None:
    """Nor is any other command held up meanwhile."""
    writer = session.commands.start("head -c 2147483648 /dev/zero; echo end", output_limit=10_000)
    waits: list[float] = []
    while writer.info().running:
        before = time.monotonic()
        assert session.run("echo beside").stdout == "beside\n"
        waits.append(time.monotonic() - before)
    result = writer.wait()
    assert result.raw_stdout.size == 2 * GIB + 4
    assert result.raw_stdout.cut == 2 * GIB + 4 - 10_000
    assert result.stdout.endswith("\0end\n")
    assert peak(session) < 100_000
    assert max(waits, default=0) < 5


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB; only root can make one."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount one")
    libc = ctypes.CDLL(None, use_errno=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    if libc.mount(b"none", os.fsencode(disk), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    yield disk
    assert libc.umount2(os.fsencode(disk), 2) == 0


def test_a_full_disk_ends_what_is_saved_and_not_the_command(
    session: SessionHandle, small_disk: Path
) -> None:
    """What fits is there, the result says how much, and what is kept in memory is whole."""
    saved = small_disk / "log"
    write = "head -c 5000000 /dev/zero; echo end"
    result = session.run(write, save_output=saved, output_limit=2_000)
    assert result.ok
    assert result.raw_stdout.size == 5_000_004
    assert result.stdout.endswith("end\n")
    assert 500_000 < result.saved == saved.stat().st_size <= 2**20
    with pytest.raises(OSError, match="No space"):
        (small_disk / "other").write_bytes(bytes(100_000))
    assert session.run("echo goes on").ok


def test_a_full_disk_of_its_own_is_the_commands_affair(
    session: SessionHandle, small_disk: Path
) -> None:
    fill = f"head -c 5000000 /dev/zero > {small_disk}/big || echo full"
    assert session.run(fill, write=[small_disk], limits=CommandLimits()).stdout == "full\n"

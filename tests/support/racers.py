"""A process that swaps a directory with a symlink while others look."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

# Swaps the directory "d" with the symlink "trap", by one atomic system call each time,
# until its standard input ends or half a million swaps are done.
_RACER = """
import ctypes, os, select, sys
rename = ctypes.CDLL(None, use_errno=True).renameat2
os.chdir(sys.argv[1])
print("ready", flush=True)
for swaps in range(500_000):
    if rename(-100, b"d", -100, b"trap", 2):
        sys.exit("renameat2 failed")
    if swaps % 64 == 63 and select.select([0], [], [], 0)[0]:
        break
print(swaps, flush=True)
"""


@contextlib.contextmanager
def swapping(folder: Path) -> Generator[None]:
    """Have "d" and "trap" in *folder* swapped all the time."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _RACER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield
    swaps, _ = process.communicate()
    assert process.returncode == 0
    assert int(swaps) >= 63

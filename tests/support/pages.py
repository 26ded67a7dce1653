"""Pages of the documentation whose code is files: written out, run, served."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shell import SECONDS

from jidocode.testing import eventually

HOWTO = Path(__file__).parents[2] / "docs/howto"


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of a how-to in *language*, in order."""
    text = (HOWTO / f"{page}.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def write_files(page: str, folder: Path) -> list[str]:
    """Write the Python blocks of a how-to into *folder*, by the names in their first lines."""
    names: list[str] = []
    for block in blocks(page, "python"):
        name, _, code = block.removeprefix("# ").partition("\n")
        assert name.endswith(".py"), block
        (folder / name).write_text(code)
        names.append(name)
    return names


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a program in *folder*, with journals and systems beside it."""
    aside = beside(folder)
    here = {"PYTHONPATH": str(folder), "XDG_STATE_HOME": str(aside), "XDG_RUNTIME_DIR": str(aside)}
    return {**os.environ, **here}


def beside(folder: Path) -> Path:
    """Return a private folder that is not in *folder*, for a project holds none of a system's."""
    aside = folder.with_name(f"{folder.name}-x")
    aside.mkdir(mode=0o700, exist_ok=True)
    return aside


def run(folder: Path, *command: str) -> str:
    """Run Python with *command* in *folder*; return what it printed."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0), done.stdout + done.stderr
    return done.stdout


@contextmanager
def program(
    folder: Path, *command: str, ready: str, killed: bool = False
) -> Generator[tuple[int, str]]:
    """Run Python with *command* until the end of the block; give its pid and what it has said.

    The block begins when it has said what matches *ready*. At its end it is told to end by
    SIGTERM, and has to; unless it is *killed* in the block.
    """
    log = folder / f"{command[1].partition(':')[0]}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def look() -> str:
        assert process.poll() is None, log.read_text()
        said = log.read_text()
        return said if re.search(ready, said) else ""

    try:
        yield process.pid, eventually(look, f"{ready!r}", timeout=SECONDS)
        process.send_signal(signal.SIGTERM)
        status = process.wait(SECONDS)
        expected = (-signal.SIGKILL,) if killed else (0, -signal.SIGTERM)
        assert status in expected, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.wait()


def port_in(said: str) -> int:
    """Return the port that a server says it listens on."""
    found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
    assert found, said
    return int(found[1])


def ask(url: str, body: bytes | None = None, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Ask a server; return its answer."""
    request = urllib.request.Request(url, body, dict(headers))  # noqa: S310 - http, of this test
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        said: bytes = answer.read()
    return said

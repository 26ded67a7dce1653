"""The servers: aimock plays a model's, and xllamacpp runs a small real one; `make model`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
AIMOCK = HERE / "node_modules/@copilotkit/aimock/dist/cli.js"


@contextmanager
def serving(command: list[str], mark: str) -> Generator[str]:
    """Run a server until it prints the line with *mark* in it; yield the address in that line."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            lines = list[str]()
            for line in process.stdout:
                lines.append(line)
                if mark in line:
                    yield line[line.index("http://") :].strip()
                    return
            pytest.fail(f"{command[0]} ended: {''.join(lines)[-500:]}")
        finally:
            process.kill()


@pytest.fixture(scope="session")
def aimock() -> Iterator[str]:
    """The address of an aimock with our fixtures."""
    node = shutil.which("node")
    if node is None or not AIMOCK.exists():
        pytest.skip("aimock is not installed: make model")
    command = [node, str(AIMOCK), "-p", "0", "-f", str(HERE / "fixtures.json")]
    with serving(command, "listening on") as address:
        yield address


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """The address of a server with a real model."""
    if find_spec("xllamacpp") is None:
        pytest.skip("the real model is not installed: make model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder = HERE / ".cache"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(HERE / "llama_server.py"), str(folder), port]
    with serving(command, "http://") as address:
        yield address

"""Strangers who do nothing but connect and hang up, as fast as they can, all the time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from actors import subject
from trees import MakeTree, Tree

from jidocode._host.transport.address import LoopbackAddress
from jidocode.otp import Flags
from jidocode.testing import eventually

FLOOD = """
import socket, sys
while True:
    for port in sys.argv[1:]:
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", int(port)))
    print(end=".", flush=True)
"""
ROUNDS = 4000
RECOVERY_SECONDS = 5.0


def processor_seconds(pid: int) -> float:
    """Return how long the process has run so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ports_of(running: Tree) -> list[int]:
    """Return where the app, the host, the root and a child listen."""
    client = running.client
    addresses = [client._messenger.address, running.root.address, running.ref("a").address]
    addresses += [link.target for link in client._messenger._links.values()]
    return sorted({a.port for a in addresses if isinstance(a, LoopbackAddress)})


@pytest.mark.timeout(120)
def test_who_connects_and_hangs_up_costs_the_peers_nothing(tree: MakeTree) -> None:
    """The flooded processes hardly run for it; calls are answered, and the dead replaced."""
    running = tree(Flags(max_restarts=1000), subject("a"))
    running.call("a", "pid")
    ports, flooded = ports_of(running), running.ref("a").os_pid
    command = [sys.executable, "-c", FLOOD, *map(str, ports)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as flood:
        assert flood.stdout is not None
        try:
            before, seen = processor_seconds(flooded), 0
            while seen < ROUNDS:
                seen += len(os.read(flood.stdout.fileno(), 1000))
            spent = processor_seconds(flooded) - before
            times: list[float] = []
            for _ in range(3):
                running.kill("a")
                begin = time.monotonic()
                eventually(lambda: running.call("a", "pid"), "an answer")
                times.append(time.monotonic() - begin)
        finally:
            flood.kill()

    assert len(ports) >= 3
    assert spent < 0.05
    assert sorted(times)[1] < RECOVERY_SECONDS

"""A crowd at the door of a system, and a door that closes: who may come in does, or is told why."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from jidocode import (
    AsyncSessionSystem,
    InvalidTimeError,
    Session,
    SessionSystem,
    SystemNameTakenError,
    SystemNotFoundError,
)
from jidocode._host.attach import place
from jidocode._host.attach.door import MAX_STRANGERS, Door
from jidocode._host.attach.place import Claim
from jidocode._host.attach.visit import visit
from jidocode._host.deadline import Deadline
from jidocode.otp.seconds import INFINITY
from jidocode.system.logged import read_log

CROWD = """
import sys, threading
from jidocode import SessionSystem
name, count = sys.argv[1], int(sys.argv[2])
SessionSystem.attach(name).close()  # everything is imported
begin, said, inside = threading.Barrier(count), [], []
def enter():
    begin.wait()
    try:
        inside.append(SessionSystem.attach(name, timeout=60))
    except Exception as error:
        said.append(str(error))
threads = [threading.Thread(target=enter) for _ in range(count)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print(len(inside), said)
for each in inside:
    each.close()
"""

FLOOD = """
import os, socket, sys, threading
held = []
print("floods", flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0))).start()
while True:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(sys.argv[1])
    held.append(sock)
    if len(held) > int(sys.argv[2]):
        held.pop(0).close()
"""


@pytest.fixture
def shop(name: str) -> Iterator[SessionSystem]:
    """A system with a name."""
    with SessionSystem(name=name, durability="memory") as system:
        yield system


def socket_of(name: str) -> str:
    return str(place.folder() / f"{name}.sock")


@contextmanager
def flood(name: str) -> Generator[None]:
    """Have a process connect again and again, say nothing, and hold more than the door does."""
    program = [sys.executable, "-c", FLOOD, socket_of(name), str(MAX_STRANGERS + 6)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"floods\n"
        yield
        assert process.poll() is None
        process.communicate()


def test_a_crowd_is_let_in(name: str, shop: SessionSystem) -> None:
    """Though it is larger than what the door holds."""
    del shop
    count = 2 * MAX_STRANGERS
    program = [sys.executable, "-c", CROWD, name, str(count)]
    crowd = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)
    assert (crowd.stdout, crowd.stderr) == (f"{count} []\n", "")


def test_a_flood_of_those_who_say_nothing_keeps_nobody_out(name: str, shop: SessionSystem) -> None:
    """And it does not stop."""
    del shop
    with flood(name):
        for _ in range(5):
            with SessionSystem.attach(name) as attached:
                assert attached.list_sessions() == []


def test_who_has_proven_himself_is_put_out_for_nobody(name: str, shop: SessionSystem) -> None:
    """However long he takes to say where he hears the news."""
    del shop
    inside = visit(name, Deadline.after(20.0))
    with ExitStack() as silent:
        for _ in range(4 * MAX_STRANGERS):
            sock = silent.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            sock.connect(socket_of(name))
        with SessionSystem.attach(name):  # those before it have been seen
            inside._sock.settimeout(0)
            with pytest.raises(BlockingIOError):
                inside._sock.recv(1)  # it is not the end
    inside.close()


@pytest.mark.parametrize("step", ["_receive_stranger", "_challenge", "_admit", "_let_in"])
@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
def test_a_door_that_hangs_up_is_tried_again(
    name: str, shop: SessionSystem, monkeypatch: pytest.MonkeyPatch, step: str, *, ends: bool
) -> None:
    """At any step; and if the system has ended by then, that is what is said."""
    goes_on, hung_up = getattr(Door, step), list[object]()

    def hang_up(door: Any, someone: Any, *rest: Any) -> None:
        if hung_up:
            goes_on(door, someone, *rest)
            return
        hung_up.append(someone)
        if step == "_receive_stranger":
            someone.close()
        else:
            door._forget(someone)
        if ends:
            door.close()

    monkeypatch.setattr(Door, step, hang_up)
    if ends:
        with pytest.raises(SystemNotFoundError):
            SessionSystem.attach(name)
    else:
        with SessionSystem.attach(name) as attached:
            assert attached.list_sessions() == shop.list_sessions() == []
    assert hung_up


# ----- a runtime folder that changes ------------------------------------------------------------


def files(folder: Path) -> set[str]:
    return {each.name for each in (folder / "jidocode").iterdir()}


def test_a_name_stays_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever `$XDG_RUNTIME_DIR` is later: what another system has elsewhere is not touched."""
    first, second = tmp_path / "first", tmp_path / "second"
    claims = list[Claim]()
    for folder in (first, second):
        folder.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        claims.append(Claim("same"))
    everything = {"same.key", "same.lock", "same.sock"}
    with claims[0].listen():
        assert (files(first), files(second)) == (everything, {"same.lock"})
        with claims[1].listen():
            claims[0].release()
            assert (files(first), files(second)) == ({"same.lock"}, everything)
            claims[1].release()
            assert files(second) == {"same.lock"}


def test_a_name_is_kept_whatever_its_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look for names by another path of the folder gives up no lock."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "real"))
    claim = Claim("kept")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "link"))
    assert place.names() == ("kept",)
    assert place.holder("kept") == os.getpid()
    with pytest.raises(SystemNameTakenError):
        Claim("kept")
    child = os.fork()
    if child == 0:
        try:
            Claim("kept")
        except SystemNameTakenError as error:
            os._exit(error.pid != os.getppid())
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    claim.release()


# ----- times ------------------------------------------------------------------------------------


async def sessions_of(name: str, seconds: float) -> list[Session]:
    async with AsyncSessionSystem.attach(name, timeout=seconds) as attached:
        return await attached.list_sessions()


@pytest.mark.parametrize("timeout", [INFINITY, 1e9])
def test_there_is_time_without_end(name: str, shop: SessionSystem, timeout: float) -> None:
    """As for every other time-out."""
    del shop
    SessionSystem.attach(name, timeout=timeout).close()
    assert list(read_log(name, last=1, timeout=timeout))
    assert asyncio.run(sessions_of(name, timeout)) == []


@pytest.mark.parametrize("timeout", [None, -1.0, float("nan"), 1e10])
def test_what_is_no_time_is_refused(name: str, timeout: Any) -> None:
    """As everywhere."""
    with pytest.raises(InvalidTimeError):
        SessionSystem.attach(name, timeout=timeout)
    with pytest.raises(InvalidTimeError):
        list(read_log(name, last=1, timeout=timeout))
    with pytest.raises(InvalidTimeError):
        asyncio.run(sessions_of(name, timeout))

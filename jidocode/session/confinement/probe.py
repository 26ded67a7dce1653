"""What holds commands on this machine, found by trying it in a confined child.

Versions tell what a kernel could do; what it does depends on how it was built and started, and
on what confines us already. Only a try tells.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

from jidocode.errors import ConfinementError
from jidocode.session.confinement.apart import confine_apart, run_apart
from jidocode.session.confinement.confinement import Confinement, Prepared, prepare
from jidocode.session.confinement.descriptors import close_others
from jidocode.session.confinement.landlock import find_abi
from jidocode.session.confinement.report import IN_FORCE, ConfinementReport, Denial
from jidocode.session.confinement.rules import session_confinement
from jidocode.session.confinement.tries import (
    NAMESPACE_TRIES,
    NAMESPACES,
    TRIES,
    Place,
    Tries,
    attempt,
)

PATIENCE = 10.0
"""Seconds for all tries together; they take some 10 ms."""


def probe(folder: str | None = None, *, apart: bool = False) -> ConfinementReport:
    """Try everything a command must not be able to do; return what came of each try.

    Forks: for a process with one thread. Nothing is left behind.

    Args:
        folder: Where a folder for the tries can be made; by default where temporary ones are.
        apart: Whether to try it in namespaces, and what only they hold.

    Raises:
        ConfinementError: No command can be confined here at all, or the tries did not end.
        OSError: The folder cannot be used.
    """
    with _place(folder) as place, prepare(_rules(place)) as prepared:
        if apart:
            denials, namespaces = _run_tries_apart(place, prepared), IN_FORCE
        else:
            denials, namespaces = (
                run_tries(place, prepared.apply),
                _find_namespaces(place, prepared),
            )
    return ConfinementReport(denials, find_abi(), namespaces)


def _run_tries_apart(
    place: Place, prepared: Prepared, tries: Tries = (*TRIES, *NAMESPACE_TRIES)
) -> tuple[Denial, ...]:
    folder = os.open(place.inside, os.O_PATH | os.O_CLOEXEC)
    try:
        confine = partial(confine_apart, prepared, place.inside, place.inside, folder)
        return run_apart(partial(run_tries, place, confine, tries, apart=True))
    finally:
        os.close(folder)


def _find_namespaces(place: Place, prepared: Prepared) -> str:
    """Return, in a few words, whether commands could be in namespaces here."""
    try:
        _run_tries_apart(place, prepared, ())
    except ConfinementError as error:
        return str(error)
    return "could be had"


def _rules(place: Place) -> Confinement:
    return session_confinement(place.inside, place.inside)


@contextlib.contextmanager
def _place(folder: str | None) -> Generator[Place]:
    """Make what is tried to be reached: files, listeners, and this very process."""
    with contextlib.ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="jidocode-probe-", dir=folder)
        root = Path(stack.enter_context(made)).resolve()
        inside, outside = root / "inside", root / "outside"
        inside.mkdir(0o700)
        outside.mkdir(0o700)
        for path in (inside / "file", outside / "secret", outside / "spare"):
            path.write_text("secret")
        (inside / ".git/hooks").mkdir(parents=True)
        (inside / ".git/config").write_text("")
        program = outside / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
        tcp, named, abstract = (
            stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            for family in (socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX)
        )
        tcp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0{root.name}")
        # Its path may be longer than an address can be, 108 bytes.
        fd = os.open(outside, os.O_PATH | os.O_DIRECTORY)
        stack.callback(os.close, fd)
        named.bind(f"/proc/self/fd/{fd}/socket")
        for listener in (tcp, named, abstract):
            listener.listen()
        yield Place(
            inside=str(inside),
            outside=str(outside),
            port=tcp.getsockname()[1],
            abstract=root.name,
            pid=os.getpid(),
            namespaces={name: str(Path("/proc/self/ns", name).readlink()) for name in NAMESPACES},
        )


def run_tries(
    place: Place, confine: Callable[[], None], tries: Tries = TRIES, *, apart: bool = False
) -> tuple[Denial, ...]:
    """Fork a child that calls *confine* and tries everything; return what came of each try.

    With *apart*, what cannot be reached because it is not there is held, too.

    Raises:
        ConfinementError: *confine* raised, or the child did not come to its end in time.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if not pid:
        # Whatever happens here, it must not go on as if it were the app.
        try:
            confine()
            close_others((0, 1, 2, writing))
            for what, action in tries:
                denial = attempt(what, action, place, apart=apart)
                line = json.dumps((denial.what, denial.held, denial.outcome))
                os.write(writing, line.encode() + b"\n")
            os.write(writing, b"end\n")
        except BaseException as error:  # noqa: BLE001 - a child has nobody to raise it to
            os.write(writing, json.dumps(str(error)[:500]).encode() + b"\n")
        finally:
            os._exit(0)
    os.close(writing)
    try:
        lines = _read_lines(reading)
    finally:
        os.close(reading)
        # Killed or not, it is ours, and nobody else waits for it.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if not lines or lines[-1] != "end":
        raise ConfinementError(
            f"what holds commands here could not be tried: {lines[-1] if lines else 'no answer'}"
        )
    return tuple(Denial(*json.loads(line)) for line in lines[:-1])


def _read_lines(fd: int) -> list[str]:
    data, deadline = b"", time.monotonic() + PATIENCE
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        data += chunk
    return data.decode().splitlines()

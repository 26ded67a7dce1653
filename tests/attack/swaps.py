"""What is in a project changes places with what is outside, while the Manager works on it.

Another process swaps a file and a folder with symbolic links to the outside, thousands of
times a second. No text from there is read, and nothing changes there.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from checkers import BrokenPromiseError, Outside

from jidocode import Edit, HandlerError, JidocodeError, ManagerClient, SessionSystem

RACER = """
import ctypes, sys
libc, exchange, here = ctypes.CDLL(None, use_errno=True), 2, -100
pairs = [(a.encode(), b.encode()) for a, b in zip(sys.argv[1::2], sys.argv[2::2])]
while True:
    for one, other in pairs:
        if libc.renameat2(here, one, here, other, exchange) and ctypes.get_errno() != 2:
            sys.exit(ctypes.get_errno())
"""
"""Exchanges the pairs of paths that it is given, until it is killed."""


@contextmanager
def _racing(*paths: Path) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-Ic", RACER, *map(str, paths)]) as racer:
        try:
            yield racer
        finally:
            racer.kill()


def attack(plan: random.Random, until: float, folder: Path) -> str:
    """Do all that a Manager does, by paths that are right now, lead outside, or both in turns."""
    outside = Outside(folder / "outside")
    project = folder / "shop"
    (project / "deep").mkdir(parents=True)
    swapped = project / "swapped"  # where those are that are not in their places right now
    swapped.mkdir()
    for name in ("file", "deep/file"):
        (project / name).write_text("inside")
    (swapped / "file").symlink_to("../../outside/file")
    (swapped / "deep").symlink_to(outside.folder / "deep")
    (project / "up").symlink_to("..")
    pairs = [project / "file", swapped / "file", project / "deep", swapped / "deep"]
    calls = refused = 0
    with (
        SessionSystem(state_dir=folder / "state") as system,
        _racing(*pairs) as racer,
    ):
        manager = system.create_session(project).manager
        known = {"inside"}
        while time.monotonic() < until:
            calls += 1
            work = plan.choice(WORK)
            path = plan.choice(PATHS)
            try:
                found = work(manager, path, known)
            except HandlerError as error:
                raise BrokenPromiseError(f"a Manager ended over {path!r}: {error}") from error
            except (JidocodeError, OSError):
                refused += 1
            else:
                if found is not None:
                    outside.check_read(found, known)
            if calls % 50 == 0:
                outside.check_unchanged()
        if racer.poll() is not None:
            raise BrokenPromiseError(f"the racer ended with status {racer.returncode}")
    outside.check_unchanged()
    return (
        f"{calls} file operations, {refused} of them refused; nothing from outside read or changed"
    )


PATHS = (
    *["file", "deep/file"] * 4,
    *["deep", "./deep/../file", "up/outside/file", "../outside/file"],
)


def _read(manager: ManagerClient, path: str, _: set[str]) -> str:
    return manager.read_text(path).text


def _read_bytes(manager: ManagerClient, path: str, _: set[str]) -> str:
    return manager.read_bytes(path).data.decode()


def _show(manager: ManagerClient, path: str, _: set[str]) -> str:
    return manager.read_file(path).text


def _write(manager: ManagerClient, path: str, known: set[str]) -> None:
    text = f"written {len(known) % 100}"
    known.add(text)
    manager.write_file(path, text)


def _write_in_place(manager: ManagerClient, path: str, known: set[str]) -> None:
    known.add("i")
    manager.write_file(path, "i", in_place=True)


def _list(manager: ManagerClient, path: str, _: set[str]) -> None:
    names = {entry.name for entry in manager.list_directory(path).entries}
    if any(Outside.CANARY in name for name in names):
        raise BrokenPromiseError(f"a name from outside the project was listed: {names}")


def _edit(manager: ManagerClient, path: str, known: set[str]) -> None:
    known.add("edited")
    found = manager.read_text(path)
    manager.edit_file(path, Edit(found.text, "edited"), if_sha256=found.sha256)


def _copy(manager: ManagerClient, path: str, _: set[str]) -> str:
    with suppress(FileNotFoundError):
        manager.remove("copied")
    manager.copy(path, "copied")
    return manager.read_text("copied").text


def _copy_over(manager: ManagerClient, path: str, known: set[str]) -> None:
    known.add("kept")
    manager.write_file("kept", "kept")
    manager.copy("kept", path, overwrite=True)


def _move(manager: ManagerClient, path: str, _: set[str]) -> None:
    manager.move(path, f"{path}-moved")
    for _attempt in range(100):  # back at once, whatever is in the way just now
        with suppress(JidocodeError, OSError):
            manager.move(f"{path}-moved", path)
            return


def _remove(manager: ManagerClient, path: str, _: set[str]) -> None:
    manager.mkdir(f"{path}/made/deep")
    manager.remove(f"{path}/made", recursive=True)


WORK = (
    *[_read, _read_bytes, _show, _write, _write_in_place, _list] * 2,
    *[_edit, _copy, _copy_over, _move, _remove],
)

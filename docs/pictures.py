"""Takes the pictures in the README, of a system that runs and of a crash that it recovers from.

`python docs/pictures.py` starts a system, works in it, kills a process of it, and writes what
`jidocode top` shows meanwhile to `top.svg` and `recovery.svg` beside this file.
"""  # noqa: INP001 - a script, not a package

from __future__ import annotations

import io
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from jidocode import SessionHandle, SessionSystem
from jidocode.cli.drawing import Scene, draw
from jidocode.cli.top import Screen
from jidocode.testing import eventually, wait_for_restart

WIDTH, HEIGHT = 116, 22
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_PROJECTS = "shop", "docs", "bot"


def picture(scene: Scene, title: str, height: int = HEIGHT) -> str:
    """Return *scene* as SVG, which asks nobody for a font."""
    console = Console(record=True, width=WIDTH, height=height, file=io.StringIO(), highlight=False)
    console.print(draw(scene, WIDTH, height))
    return _FONTS.sub("", console.export_svg(title=title, unique_id=title.rsplit(maxsplit=1)[-1]))


@contextmanager
def _watched(system: SessionSystem) -> Generator[Screen]:
    screen = Screen("default", system)
    looking = threading.Thread(target=screen.look_on)
    looking.start()
    try:
        yield screen
    finally:
        screen.ended = True
        looking.join()


def _is_known(screen: Scene) -> bool:
    """Whether all that is shown was looked at twice, so that there are rates."""
    looks = [screen.looks.get(line.key) for line in screen.lines]
    return all(look is not None and look.call_rate is not None for look in looks)


def _work(session: SessionHandle, stop: threading.Event) -> None:
    number = 0
    while not stop.wait(0.01):
        session.state.append_message("user", f"message {number}")
        session.manager.list_directory(".")
        number += 1


def main(folder: Path) -> None:
    """Write the pictures to *folder*."""
    stop = threading.Event()
    with (
        tempfile.TemporaryDirectory() as place,
        SessionSystem(durability="memory") as system,
        _watched(system) as screen,
    ):
        sessions: list[SessionHandle] = []
        for name in _PROJECTS:
            project = Path(place, name)
            project.mkdir()
            sessions.append(system.create_session(project))
        shop = sessions[0]
        command = shop.commands.start(["sleep", "1000"])
        working = threading.Thread(target=_work, args=[shop, stop])
        working.start()
        try:
            eventually(lambda: _is_known(screen.scene()), timeout=30.0)
            scene = screen.scene()._replace(changes=[])
            (folder / "top.svg").write_text(picture(scene, "jidocode top"), "utf-8")
        finally:
            stop.set()
            working.join()
            command.cancel()

        victim = system.get_state(shop.id)
        os.kill(victim.os_pid, signal.SIGKILL)
        now = wait_for_restart(system, shop, "state", after=victim)
        eventually(lambda: _is_shown(screen.scene(), now.os_pid), timeout=30.0)
        scene = screen.scene()
        scene = scene._replace(
            lines=[line for line in scene.lines if line.session_id == shop.id],
            said=f"after kill -9 {victim.os_pid}",
            changes=[each for each in scene.changes if _is_of_the_crash(each)][-4:],
        )
        (folder / "recovery.svg").write_text(picture(scene, "jidocode recovery", 12), "utf-8")


def _is_shown(scene: Scene, pid: int) -> bool:
    recovered = any("recovered after" in each and f"pid {pid})" in each for each in scene.changes)
    looks = [scene.looks.get(line.key) for line in scene.lines]
    shown = [look.process for look in looks if look is not None]
    healthy = len(shown) == len(looks) and all(each.status == "healthy" for each in shown)
    return recovered and healthy and any(each.pid == pid for each in shown)


def _is_of_the_crash(change: str) -> bool:
    return "killed by signal 9" in change or "recovered after" in change


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent)

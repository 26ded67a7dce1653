"""One subject in a process of its own, as an app has it, up to its first session.

`run.py` starts it for both subjects in turn: `python bench/whole_process.py SUBJECT FOLDER`.
It prints "ready" once both children of the session have answered. The time until then
counts from the start of the interpreter, with all imports in it. Asked for it by a line, it
prints as JSON what the app and each of its processes are, and the memory of each in MB: with
its share of what several have in common (PSS), and what is its own alone (USS).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

SETTLING_SECONDS = 0.5
"""Until all is there that will be, such as the processes that stand by."""


def main(subject: str, folder: str) -> None:
    """Open the session, say so, and say what it takes."""
    project, state = Path(folder, "project"), Path(folder, "state")
    project.mkdir()
    if subject == "jidocode":
        from jidocode import SessionSystem  # noqa: PLC0415 - imports are part of the measurement

        system = SessionSystem(state_dir=state)
        session = system.create_session(project)
        session.manager.project_root()
        session.state.todos()
        close = system.close
    else:
        from stock_tree import Root, free_port  # noqa: PLC0415 - idem
        from thespian.actors import ActorSystem  # noqa: PLC0415 - idem

        stock = ActorSystem("multiprocTCPBase", {"Admin Port": free_port()})
        stock.ask(stock.createActor(Root), ("open", str(project)), 30)
        close = stock.shutdown
    print("ready", flush=True)
    sys.stdin.readline()
    time.sleep(SETTLING_SECONDS)
    print(json.dumps([(role(pid), *memory(pid)) for pid in own_processes()]), flush=True)
    close()


def own_processes() -> set[int]:
    """Return this process and all that it has started: those with its mark in their environment."""
    mark = f"FIRST_SESSION={os.environ['FIRST_SESSION']}".encode()
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                found.add(int(entry.name))
    return found


def role(pid: int) -> str:
    """Return what a process is: the app, or what its title says first, without its name."""
    if pid == os.getpid():
        return "app"
    try:
        title = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0].split()
    except OSError:
        return "gone"
    return title[1] if title[:1] == ["jidocode"] else "process"


def memory(pid: int) -> tuple[float, float]:
    """Return the memory of a process in MB: with its share of what is shared, and without."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # a zombie has none
        return 0.0, 0.0
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1000 for line in rollup.splitlines()[1:]}
    return sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


if __name__ == "__main__":
    main(*sys.argv[1:])

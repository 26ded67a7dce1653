"""One subject in a process of its own, as an app has it, up to its first session.

`run.py` starts it for both subjects in turn: `python bench/whole_process.py SUBJECT FOLDER`.
It prints "ready" once both children of the session have answered. The time until then
counts from the start of the interpreter, with all imports in it. Asked for it by a line, it
prints the memory of the app and of all its processes, in MB.
"""

from __future__ import annotations

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
    print(sum(map(proportional_memory, own_processes())), flush=True)
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


def proportional_memory(pid: int) -> float:
    """Return the memory of a process in MB, with its share of what it shares."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except OSError:  # a zombie has none
        return 0.0
    line = next((line for line in rollup.splitlines() if line.startswith(b"Pss:")), b"Pss: 0")
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main(*sys.argv[1:])

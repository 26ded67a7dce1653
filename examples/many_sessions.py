"""Ten sessions; one crashes too often and gives up, nine do not notice.

Run it as `python examples/many_sessions.py`; it makes folders of its own.
"""

import os
import signal
import tempfile
from pathlib import Path

from jidocode import SessionHandle, SessionNotFoundError, SessionSystem
from jidocode.otp import ChildExited, ChildStarted

with (
    tempfile.TemporaryDirectory() as folder,
    SessionSystem(state_dir=Path(folder) / "state") as system,
):
    sessions: list[SessionHandle] = []
    for number in range(10):
        project = Path(folder) / f"project{number}"
        project.mkdir()
        sessions.append(system.create_session(project))
    print(f"open: {system.statistics().sessions} of {system.statistics().max_sessions}")

    victim, *others = sessions
    before = {other.id: system.get_manager(other.id) for other in others}
    with victim.events() as events:
        os.kill(system.get_manager(victim.id).os_pid, signal.SIGKILL)
        kills = 1
        for event in events:
            fact = event.fact
            if isinstance(fact, ChildStarted) and fact.child_id == "state":
                os.kill(system.get_manager(victim.id).os_pid, signal.SIGKILL)
                kills += 1
            if isinstance(fact, ChildExited) and fact.ref.kind == "session":
                print(f"gave up after {kills} kills: {fact.reason}")
                break

    try:
        victim.manager.list_directory()
    except SessionNotFoundError as error:
        print("asked again:", str(error).replace(victim.id, "with that id"))
    same = sum(system.get_manager(other.id) == before[other.id] for other in others)
    print(f"untouched: {same} of {len(others)}")

    again = system.create_session(Path(folder) / "project0")
    print("its place is free:", again.health_check().status.value)

"""Look inside a running system: the tree, the health, the events.

Run it as `python examples/look_inside.py [PROJECT]`.
"""

import os
import signal
import sys
from tempfile import TemporaryDirectory

from jidocode import SessionSystem
from jidocode.otp import ChildExited, ChildStarted

project = sys.argv[1] if len(sys.argv) > 1 else "."

with (
    TemporaryDirectory() as state_dir,
    SessionSystem(state_dir=state_dir) as system,
    system.events() as events,
):
    session = system.create_session(project)
    print(system.tree(), end="\n\n")

    for child in session.health_check().children:
        print(f"{child.id}: {child.status.value}, {(child.memory or 0) / 1e6:.1f} MB of its own")

    os.kill(system.get_manager(session.id).os_pid, signal.SIGKILL)
    print()
    for event in events:
        match event.fact:
            case ChildExited(child_id=child_id, reason=reason):
                print(f"{child_id} exited: {reason}")
            case ChildStarted(child_id=child_id, recovered_after=None):
                print(f"{child_id} started")
            case ChildStarted(child_id=child_id, recovered_after=seconds):
                print(f"{child_id} is back after {1000 * (seconds or 0):.1f} ms")
                if child_id == "state":
                    break
            case _:
                pass

    whole = system.system_health()
    print(f"\nthe system is {whole.status.value}; restarts:", end=" ")
    print({child.id: child.restarts for child in whole.sessions[0].children})

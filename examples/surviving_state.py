"""A conversation that no crash loses: kill State, then the whole system, and go on.

Run it as `python examples/surviving_state.py [PROJECT]`.
"""

import os
import signal
import sys
import tempfile

from jidocode import HostExitedError, SessionSystem

project = sys.argv[1] if len(sys.argv) > 1 else "."

with tempfile.TemporaryDirectory() as state_dir:
    with SessionSystem(state_dir=state_dir) as system:
        session = system.create_session(project)
        session.state.append_message("user", "why does checkout fail?")

        state = system.get_state(session.id)
        monitor = session.monitor("state")
        os.kill(state.os_pid, signal.SIGKILL)
        monitor.wait(10)
        session.state.append_message("user", "and since when?")
        print("after kill -9 of State:")
        for message in session.state.messages():
            print(f"  {message.role}: {message.content}")

        os.kill(system.host_pid, signal.SIGKILL)
        while True:
            try:
                system.list_sessions()
            except HostExitedError as error:
                print(f"after kill -9 of everything: {error}")
                break
            except Exception:  # noqa: BLE001, S112 - the news is still under way
                continue

    with SessionSystem(state_dir=state_dir) as system:
        (found,) = system.list_resumable()
        session = system.resume_session(found.session_id)
        print("resumed in a new system:")
        for message in session.state.messages():
            print(f"  {message.role}: {message.content}")

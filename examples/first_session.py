"""The first ten lines: open a session on a project folder, read a file, keep a message.

Run it as `python examples/first_session.py [PROJECT]`.
"""

import sys
from tempfile import TemporaryDirectory

from jidocode import SessionSystem

project = sys.argv[1] if len(sys.argv) > 1 else "."

with TemporaryDirectory() as state_dir, SessionSystem(state_dir=state_dir) as system:
    session = system.create_session(project)
    session.state.append_message("user", "what is in this project?")

    listing = session.manager.list_directory()
    print(f"{session.session.name} has {len(listing.entries)} entries at its top")
    print(f"{len(session.state.messages())} message is kept")
    print(f"the session is {session.health_check().status.value}")

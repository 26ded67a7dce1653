"""Run programs in a session: to their end, side by side, and until they are cancelled.

Run it as `python examples/commands.py [PROJECT]`.
"""

import sys
from tempfile import TemporaryDirectory

from jidocode import SessionSystem

project = sys.argv[1] if len(sys.argv) > 1 else "."

with TemporaryDirectory() as state_dir, SessionSystem(state_dir=state_dir) as system:
    session = system.create_session(project)

    result = session.run("ls | wc -l")
    print("entries:", result.stdout.strip())

    result = session.run(["sh", "-c", "echo trouble >&2; exit 2"])
    print("exit code", result.exit_code, "because of", result.stderr.strip())

    result = session.run("sleep 60", timeout=0.2)
    print("timed out:", result.timed_out, "by signal", result.signal)

    watcher = session.commands.start("echo watching; while sleep 1; do :; done")
    print(watcher.read(wait=5).text.strip())
    print("running:", [info.argv[-1] for info in session.commands.list() if info.running])
    print("cancelled:", watcher.cancel().cancelled)

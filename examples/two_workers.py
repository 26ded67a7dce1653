"""Two workers, one system: what one says the other one reads, and the kill of one harms nobody.

    python examples/two_workers.py [project]

A server with several workers does the same; `docs/processes.md` says where each of them attaches.
"""

import os
import signal
import subprocess
import sys
import tempfile

from jidocode import SessionSystem

NAME = f"two-workers-{os.getpid()}"
WORKER = """
import sys
from jidocode import SessionSystem

name, session_id, text = sys.argv[1:]
with SessionSystem.attach(name) as system:
    session = system.get_session(session_id)
    session.state.append_message("user", text)
    print(len(session.state.messages()), flush=True)
    sys.stdin.readline()  # a worker has more to do
"""


def start_worker(session_id: str, text: str) -> subprocess.Popen[str]:
    """Start a worker that says *text*."""
    return subprocess.Popen(  # noqa: S603 - this interpreter, and the program above
        [sys.executable, "-c", WORKER, NAME, session_id, text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def heard(worker: subprocess.Popen[str]) -> str:
    """Return the next line that a worker says."""
    return worker.stdout.readline().strip() if worker.stdout else ""


def main() -> None:
    """Start a system, and two workers that attach to it."""
    project = sys.argv[1] if len(sys.argv) > 1 else "."
    with (
        tempfile.TemporaryDirectory() as state_dir,
        SessionSystem(name=NAME, state_dir=state_dir) as system,
    ):
        session = system.create_session(project)
        first = start_worker(session.id, "from the first worker")
        print("messages that the first one sees:", heard(first))
        second = start_worker(session.id, "from the second worker")
        print("messages that the second one sees:", heard(second))

        first.send_signal(signal.SIGKILL)
        print("first worker:", "killed" if first.wait() == -signal.SIGKILL else "not killed")
        second.communicate("\n")
        print("second worker:", "left" if second.returncode == 0 else "failed")
        print("the session is", session.health_check().status.value)
        print([message.content for message in session.state.messages()])


if __name__ == "__main__":
    main()

"""What holds commands here, found out by an interpreter of its own.

To find out, a process has to fork, and the one that runs commands has threads.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from concurrent.futures import Future

from jidocode.errors import ConfinementError
from jidocode.session.commands.limits import SandboxMode
from jidocode.session.confinement.landlock import find_abi
from jidocode.session.confinement.report import ConfinementReport

PATIENCE = 30.0
"""Seconds that it may take; on an idle machine it is about half of one."""

ANSWER_SECONDS = PATIENCE + 5.0
"""Seconds that its answer is waited for."""

_PROBE = """
import json, pickle, sys
sys.path[:] = json.loads(sys.argv[1])
from jidocode.errors import ConfinementError
from jidocode.session.confinement.probe import probe
try:
    outcome = probe(sys.argv[2], apart=sys.argv[3:] == ['apart'])
except (ConfinementError, OSError) as error:
    outcome = error
sys.stdout.buffer.write(pickle.dumps(outcome))
"""


def begin_inspection(folder: str, mode: SandboxMode) -> Future[ConfinementReport]:
    """Return a future of what holds commands; *folder* is for what is tried.

    It comes to an error as `probe` raises them.
    """
    future: Future[ConfinementReport] = Future()
    if mode == "off":
        future.set_result(ConfinementReport((), find_abi(), "not asked"))
    else:
        threading.Thread(target=_inspect, args=(folder, mode, future), daemon=True).start()
    return future


def _inspect(folder: str, mode: SandboxMode, future: Future[ConfinementReport]) -> None:
    apart = ["apart"] if mode == "require:namespaces" else []
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, and our own words
            [sys.executable, "-I", "-S", "-c", _PROBE, json.dumps(sys.path), folder, *apart],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        outcome = pickle.loads(done.stdout)
    except Exception as error:  # noqa: BLE001 - raised where it is waited for
        future.set_exception(ConfinementError(f"it could not be found out: {error}"))
        return
    if isinstance(outcome, ConfinementReport):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)

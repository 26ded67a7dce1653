"""The three strategies side by side: who is restarted when State is killed.

Run it as `python examples/restart_strategies.py [PROJECT]`.
"""

import os
import signal
import sys
from tempfile import TemporaryDirectory

from word_counter import WordCounter

from jidocode import ChildSpec, SessionSystem, Strategy
from jidocode.otp import ChildStarted

project = sys.argv[1] if len(sys.argv) > 1 else "."

with TemporaryDirectory() as state_dir, SessionSystem(state_dir=state_dir) as system:
    for strategy in Strategy:
        counter = ChildSpec(id="counter", start=WordCounter)
        session = system.create_session(project, strategy=strategy, children=[counter])
        before = {info.id: info.ref for info in session.which_children()}

        with session.events() as events:
            os.kill(system.get_state(session.id).os_pid, signal.SIGKILL)
            last = {"one_for_one": "state"}.get(strategy.value, "counter")
            for event in events:
                if isinstance(event.fact, ChildStarted) and event.fact.child_id == last:
                    break

        after = {info.id: info.ref for info in session.which_children()}
        fates = [f"{child} {'kept' if before[child] == after[child] else 'new'}" for child in after]
        print(f"{strategy.value:>12}: {', '.join(fates)}")
        session.stop()

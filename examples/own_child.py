"""Put a process of your own under a session's supervisor.

The class lives in a module of its own (`word_counter.py`), because the child's
process has to import it; one that is defined in the script itself is refused.

Run it as `python examples/own_child.py [PROJECT]`.
"""

import sys
from tempfile import TemporaryDirectory

from word_counter import WordCounter

from jidocode import InvalidChildSpecError, SessionSystem
from jidocode.otp import ChildSpec, GenServer, Restart, Start


class Homeless(GenServer):
    """Cannot be imported by a child process: the script is no module there."""


project = sys.argv[1] if len(sys.argv) > 1 else "."
counter = ChildSpec(id="counter", start=Start(WordCounter, 100), restart=Restart.TRANSIENT)

with TemporaryDirectory() as state_dir, SessionSystem(state_dir=state_dir) as system:
    session = system.create_session(project, children=[counter])
    print(system.tree())

    print("counted:", session.call("counter", "three more words"))
    try:
        session.call("counter", 42)
    except TypeError as error:
        print("refused:", error)
    print("still there:", session.call("counter", "and one more"))

    try:
        session.start_child(ChildSpec(id="homeless", start=Homeless))
    except InvalidChildSpecError as error:
        print("not started:", error)

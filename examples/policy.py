"""Let a model work on a project, and decide what it may do: here by rules, in an app by a person.

Run it as `python examples/policy.py [PROJECT]`; it writes one file, and removes it.
"""

import sys
from tempfile import TemporaryDirectory

from jidocode import (
    Allow,
    Decision,
    Deny,
    SessionSystem,
    ToolKind,
    ToolRequest,
    ask_unless_remembered,
)

project = sys.argv[1] if len(sys.argv) > 1 else "."


def decide(request: ToolRequest) -> Decision:
    """Allow notes to be written, and commands that only look; an app would ask somebody."""
    print("asked:", request.tool, request.subject)
    if request.kind is ToolKind.EDIT:
        return Allow() if request.subject.endswith(".note") else Deny("only notes, please")
    return Allow(always="ls *") if request.subject.startswith("ls ") else Deny("only ls")


# What a model might say, one call after the other, with its arguments as JSON.
CALLS = [
    ("list_directory", "{}"),
    ("write_file", '{"path": "todo.note", "content": "look around"}'),
    ("write_file", '{"path": "setup.py", "content": "import os"}'),
    ("run_command", '{"command": "ls todo.note"}'),
    ("run_command", '{"command": "ls *.note"}'),
    ("run_command", '{"command": "ls; rm todo.note"}'),
    ("read_file", '{"pth": "todo.note"}'),
]

with (
    TemporaryDirectory() as state_dir,
    SessionSystem(policy=ask_unless_remembered(decide), state_dir=state_dir) as system,
):
    session = system.create_session(project)
    for name, arguments in CALLS:
        result = session.tools.call(name, arguments)
        print("refused:" if result.is_error else "done:", result.content.splitlines()[0])
    print("written down:", len(session.state.tool_calls()), "calls")
    session.manager.remove("todo.note")

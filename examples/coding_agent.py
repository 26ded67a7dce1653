"""A coding agent for the terminal: it works on a project, asks before it changes anything, resumes.

Run it as `python examples/coding_agent.py [PROJECT]`, with a server that speaks Chat Completions:
OPENAI_BASE_URL and OPENAI_API_KEY say where, MODEL which model. `--new` begins a new conversation.
Ctrl-C ends a turn, Ctrl-D the program; the next start goes on with the conversation.
"""

import os
import sys
from glob import escape

from jidocode import (
    Allow,
    CalledTool,
    Decision,
    Deny,
    JidocodeError,
    ModelSpec,
    ReasoningDelta,
    SessionHandle,
    SessionSystem,
    TextDelta,
    ToolRequest,
    ToolResult,
    TurnHandle,
    ask_unless_remembered,
)

MODEL = ModelSpec(options={"model": os.environ.get("MODEL", "gpt-4o")})


def ask(request: ToolRequest) -> Decision:
    """Let whoever sits at the terminal decide, once or for all such calls."""
    print(f"\n  {request.tool}: {request.subject}")
    try:
        answer = input("  allow? [y]es, [a]lways, or why not: ").strip()
    except EOFError:
        answer = ""
    match answer:
        case "y" | "yes":
            return Allow()
        case "a" | "always":
            # As it stands: "rm *.pyc" is a pattern that "rm -rf src x.pyc" matches, too.
            return Allow(always=escape(request.subject))
        case _:
            return Deny(answer or "not now")


def opened(system: SessionSystem, project: str, *, fresh: bool) -> SessionHandle:
    """Go on with the latest conversation about *project*, unless a new one is wanted."""
    session = system.create_session(project) if fresh else system.open_session(project)
    for message in session.state.messages(last=4):
        if message.role in {"user", "assistant"} and message.content:
            print(f"{message.role}: {message.content}")
    return session


def show(turn: TurnHandle) -> None:
    """Print what happens in a turn; Ctrl-C cancels it."""
    try:
        for event in turn:
            match event:
                case TextDelta(text=text):
                    print(text, end="", flush=True)
                case ReasoningDelta(text=text):
                    print(f"\033[2m{text}\033[0m", end="", flush=True)
                case CalledTool(name=name):
                    print(f"\n[{name}]", end="", flush=True)
                case ToolResult(is_error=True, content=content):
                    why, _, _ = content.partition("\n")
                    print(f"\n[failed: {why}]", end="", flush=True)
                case _:
                    pass
    except KeyboardInterrupt:
        turn.cancel()
    result = turn.result()
    used = f"{result.usage.input_tokens} + {result.usage.output_tokens} tokens"
    print(f"\n[{result.outcome}, {used}]" + (f" {result.error}" if result.error else ""))


def main() -> None:
    """Talk."""
    project = next((word for word in sys.argv[1:] if word != "--new"), ".")
    with SessionSystem(model=MODEL, policy=ask_unless_remembered(ask)) as system:
        session = opened(system, project, fresh="--new" in sys.argv)
        while True:
            try:
                said = input("> ").strip()
            except (EOFError, KeyboardInterrupt):
                break
            if not said:
                continue
            try:
                show(session.agent.prompt(said))
            except JidocodeError as error:
                print(error)


if __name__ == "__main__":
    main()

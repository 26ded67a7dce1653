"""A server of the Model Context Protocol by hand, of an older version, with an oddity.

It needs nothing but Python, so it starts at once, and it does what no package would.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]
ODDITY = sys.argv[1]
SCHEMA: Message = {"type": "object", "properties": {}}


def send(message: Message) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tool(name: str, description: str = "", **more: Any) -> Message:
    return {"name": name, "description": description, "inputSchema": SCHEMA, **more}


READS: Message = {"annotations": {"readOnlyHint": True}}
tools: list[Message] = [
    tool("ok", **READS),
    *map(tool, ("ask", "shout", "learn", "wait", "daemon", "touch", "variable", "die", "fail")),
]
if ODDITY == "names":
    tools = [
        tool("a b"),
        tool("a.b"),
        tool("a_b"),
        tool("x" * 100),
        tool("x" * 101),
        tool("\x1b[31mred", "it is \x1b[31mred\u202e and\x00 rings \x07"),
        tool("titled", annotations={"title": "What it is", "readOnlyHint": True}),
        {**tool("deep"), "inputSchema": {"type": "object", "description": "y" * 100_000}},
        tool(""),
    ]
if ODDITY == "spoiled":
    tools = [*(tool("") for _ in range(1000)), tool("learn")]
if ODDITY == "many":
    tools = [tool(f"tool{number}") for number in range(20_000)]


def text(said: str) -> Message:
    return {"content": [{"type": "text", "text": said}]}


def daemon() -> Message:
    """Start a program that leaves its session; say its pid and the own one."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return text(f"{process.pid} {os.getpid()}")


def touch(path: str) -> Message:
    """Write a file, and connect to the machine itself; say what came of it."""
    said: list[str] = []
    try:
        Path(path).write_text("touched", "utf-8")
    except OSError as error:
        said.append(f"file: {error.strerror}")
    try:
        socket.create_connection(("127.0.0.1", 1), 1)
    except OSError as error:
        said.append(f"network: {error.strerror}")
    return text("\n".join(said))


def ask_all() -> Message:
    """Ask the client for everything that one may be asked for; say what it answers."""
    said: list[str] = []
    questions = {
        "sampling/createMessage": {
            "messages": [{"role": "user", "content": {"type": "text", "text": "hello"}}],
            "maxTokens": 5,
        },
        "elicitation/create": {"message": "who are you?", "requestedSchema": SCHEMA},
        "roots/list": {},
        "nothing/known": {},
    }
    for method, params in questions.items():
        send({"id": method, "method": method, "params": params})
        answer = next(each for each in read() if each.get("id") == method)
        said.append(f"{method}: {json.dumps(answer.get('result') or answer['error']['message'])}")
    return text("\n".join(said))


def shout() -> Message:
    """Answer with more than anybody reads."""
    sys.stdout.write("z" * 2**25)
    sys.stdout.flush()
    return text("")


def learn() -> Message:
    """Have one more tool, and say so all too often."""
    tools.append(tool("new"))
    for _ in range(2000):
        send({"method": "notifications/tools/list_changed"})
    return text("learned")


def wait() -> Message:
    """Note that it began, and then whether it is cancelled."""
    Path("note").write_text("began", "utf-8")
    for message in read():
        if message.get("method") == "notifications/cancelled":
            Path("note").write_text("cancelled", "utf-8")
            break
    return text("late")


def variable(name: str) -> Message:
    """Say a variable."""
    return text(str(os.environ.get(name)))


def fail() -> Message:
    """Say that it did not work out, on two lines."""
    return {**text("it is\nnot possible"), "isError": True}


CALLS: dict[str, Callable[..., Message]] = {
    "ask": ask_all,
    "daemon": daemon,
    "die": lambda: os._exit(3),
    "fail": fail,
    "touch": touch,
    "variable": variable,
    "shout": shout,
    "learn": learn,
    "wait": wait,
}


def answer(method: str, params: Message) -> Message | None:
    match method:
        case "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "odd", "version": "1"},
            }
        case "tools/list":
            if ODDITY == "pages":
                page = int(params.get("cursor", "0"))
                return {"tools": [tool(f"tool{page}")], "nextCursor": str(page + 1)}
            return {"tools": tools}
        case "tools/call":
            return CALLS.get(params["name"], lambda: text("fine"))(**params["arguments"])
        case _:
            return None


def read() -> Any:
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    if ODDITY == "hang":
        time.sleep(1000)
    while ODDITY == "late" and not Path("open").exists():
        time.sleep(0.01)
    if ODDITY == "die":
        sys.exit(f"the token is {os.environ.get('TOKEN')}")
    if ODDITY == "garbage":
        sys.stdout.write("hello\n{\n[]\n\x00\xff\n" + '{"jsonrpc": "2.0"}\n' * 1000)
        sys.stdout.flush()
    for message in read():
        if "method" not in message or "id" not in message:
            continue
        result = answer(message["method"], message.get("params") or {})
        if result is None:
            error = {"code": -32601, "message": "there is no such method"}
            send({"id": message["id"], "error": error})
        else:
            send({"id": message["id"], "result": result})


main()

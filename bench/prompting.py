"""Measures what a turn of an agent costs beside the SDK of OpenAI in one process of its own.

Run it as `python bench/prompting.py [ROUNDS]`. Both sides ask the same server, a process that
plays a model's, in turn; what counts are the ratios, and the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psutil
from openai import OpenAI

from jidocode import ModelSpec, SessionHandle, SessionSystem, TextDelta, allow_all

DELTAS = 200
CALLS = 4
"""In a turn; the same one a fifth time in a row is not made."""
TURNS = 11
"""After which memory is measured."""
GOALS = {
    "memory of an agent beside its State, MB": "<= 8",
    "cancel, ms": "<= 100",
    "cancel of a command, ms": "<= 100",
}

# ----- the server -------------------------------------------------------------


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, unless it is taken back."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await _answer(reader, writer)
    writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    messages = json.loads(await reader.readexactly(size))["messages"]
    since = next(place for place, each in enumerate(messages[::-1]) if each["role"] == "user")
    prompt, asked = str(messages[-1 - since]["content"]), (since + 1) // 2
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    if prompt == "calls" and asked < CALLS:
        function = {"name": "read_file", "arguments": '{"path": "a.txt"}'}
        call = {"index": 0, "id": f"call_{asked}", "type": "function", "function": function}
        _say(writer, {"tool_calls": [call]})
    elif prompt == "command" and not asked:
        function = {"name": "run_command", "arguments": '{"command": "exec sleep 1000"}'}
        _say(writer, {"tool_calls": [{"index": 0, "id": "c", "function": function}]})
    else:
        for _ in range(DELTAS):
            _say(writer, {"content": "word "})
    await writer.drain()
    if prompt == "wait":
        await reader.read(1)
    _say(writer, {}, finish_reason="stop")
    writer.write(b"data: [DONE]\n\n")
    await writer.drain()


def _say(writer: asyncio.StreamWriter, delta: dict[str, Any], **more: str) -> None:
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    event = {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}
    writer.write(b"data: " + json.dumps(event).encode() + b"\n\n")


async def serve() -> None:
    """Serve, and say where."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def serving() -> Generator[str]:
    """Have a process serve; yield its base_url."""
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - this file
        assert server.stdout is not None  # noqa: S101 - it is a pipe
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        finally:
            server.kill()


# ----- both sides -------------------------------------------------------------


class Bare:
    """The SDK, in this process, and a loop that makes the calls."""

    def __init__(self, url: str, file: Path) -> None:
        self._client, self._file = OpenAI(base_url=url, api_key="none", max_retries=0), file
        self._messages: list[Any] = []

    def turn(self, prompt: str) -> float:
        """Have a turn; return the seconds until its first piece."""
        begun = time.perf_counter()
        first = 0.0
        self._messages.append({"role": "user", "content": prompt})
        while True:
            text, calls = "", list[Any]()
            with self._client.chat.completions.create(
                model="m", messages=self._messages, stream=True
            ) as chunks:
                for chunk in chunks:
                    delta = chunk.choices[0].delta
                    first = first or time.perf_counter() - begun
                    text += delta.content or ""
                    calls += [call.model_dump() for call in delta.tool_calls or ()]
            said = {"role": "assistant", "content": text, "tool_calls": calls}
            self._messages.append(said if calls else {"role": "assistant", "content": text})
            for call in calls:
                result = self._file.read_text()
                self._messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "content": result}
                )
            if not calls:
                return first


class Agent:
    """A session's agent."""

    def __init__(self, session: SessionHandle) -> None:
        self.session = session

    def turn(self, prompt: str) -> float:
        """Have a turn; return the seconds until its first piece."""
        begun = time.perf_counter()
        first = 0.0
        turn = self.session.agent.prompt(prompt)
        for _ in turn:
            first = first or time.perf_counter() - begun
        assert turn.result().ok, turn.result()  # noqa: S101 - a failure has no figures
        return first

    def cancel(self, prompt: str) -> float:
        """Return the seconds that it takes to cancel a turn that waits."""
        turn = self.session.agent.prompt(prompt)
        if prompt == "command":
            while not [each for each in self.session.commands.list() if each.running]:
                time.sleep(0.01)
        else:
            next(event for event in turn if isinstance(event, TextDelta))
        begun = time.perf_counter()
        turn.cancel()
        return time.perf_counter() - begun

    def megabytes(self) -> float:
        """Return what its process has of its own, more than that of the State has."""
        own = {
            each.id: float(psutil.Process(each.ref.os_pid).memory_full_info().uss) / 1e6
            for each in self.session.which_children()
            if each.ref is not None
        }
        return own["agent"] - own["state"]


def measure(bare: Bare, agent: Agent, rounds: int) -> dict[str, tuple[float, float | None]]:
    """Return milliseconds, of the agent and of the bare SDK; and megabytes."""
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def timed(turn: Callable[[str], float], prompt: str) -> tuple[float, float]:
        begun = time.perf_counter()
        first = turn(prompt)
        return time.perf_counter() - begun, first

    for number in range(max(TURNS, rounds) + 1):
        ours, theirs = timed(agent.turn, "words"), timed(bare.turn, "words")
        if number:  # the first one imports and connects
            times[f"a turn of {DELTAS} deltas, ms"].append((ours[0], theirs[0]))
            times["its first delta, ms"].append((ours[1], theirs[1]))
    megabytes = agent.megabytes()
    for _ in range(rounds):
        ours, theirs = timed(agent.turn, "calls"), timed(bare.turn, "calls")
        times["a call of a tool, ms"].append((ours[0] / CALLS, theirs[0] / CALLS))
    found: dict[str, tuple[float, float | None]] = {
        name: (1000 * statistics.median(a), 1000 * statistics.median(b))
        for name, (a, b) in ((name, zip(*pairs, strict=True)) for name, pairs in times.items())
    }
    for prompt, name in (("wait", "cancel, ms"), ("command", "cancel of a command, ms")):
        found[name] = (
            1000 * statistics.median(agent.cancel(prompt) for _ in range(rounds)),
            None,
        )
    found["memory of an agent beside its State, MB"] = (megabytes, None)
    return found


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    with serving() as url, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        project, state_dir = Path(folder) / "project", Path(folder) / "state"
        project.mkdir()
        (project / "a.txt").write_text("text\n")
        model = ModelSpec(options={"model": "m", "base_url": url, "api_key": "none"})
        with SessionSystem(
            model=model,
            policy=allow_all,
            state_dir=state_dir,
        ) as system:
            agent = Agent(system.create_session(project))
            found = measure(Bare(url, project / "a.txt"), agent, rounds)
    print("# Turns, medians\n\n| | agent | SDK alone | ratio | goal |\n|---|---|---|---|---|")
    for name, (ours, theirs) in found.items():
        other = ("", "") if theirs is None else (f"{theirs:.1f}", f"{ours / theirs:.1f}")
        print(f"| {name} | {ours:.1f} | {other[0]} | {other[1]} | {GOALS.get(name, '')} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        main()

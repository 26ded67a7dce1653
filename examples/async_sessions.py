"""Many sessions from one asyncio loop: commands, tools, changes and events, all at once.

A process of each is killed meanwhile. Run it as `python examples/async_sessions.py [SESSIONS]`.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from jidocode import (
    Allow,
    AsyncChangeStream,
    AsyncSessionHandle,
    AsyncSessionSystem,
    Decision,
    Deny,
    Message,
    Tool,
    ToolKind,
    ToolRequest,
)
from jidocode.otp import ChildStarted

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 5


@frozen
class NoArguments:
    """The tool takes none."""


async def biggest(session: AsyncSessionHandle, _arguments: NoArguments) -> str:
    """Do what the tool does: a coroutine function, that gets the session."""
    lines = (await session.manager.read_text("numbers.txt")).text.split()
    return str(max(map(int, lines)))


BIGGEST = Tool(
    name="biggest",
    description="Find the biggest number.",
    kind=ToolKind.READ,
    arguments=NoArguments,
    run=biggest,
)


async def policy(request: ToolRequest) -> Decision:
    """Allow what a user has allowed; it takes her a moment."""
    await asyncio.sleep(0.01)
    return Allow() if request.tool == "write_file" else Deny("not today")


async def next_message(changes: AsyncChangeStream) -> str:
    """Return what is said next."""
    async for change in changes:
        if isinstance(change, Message):
            return change.content
    return ""


async def work(system: AsyncSessionSystem, folder: Path) -> list[str]:
    """Open a session, let a command run in it, and follow what is said."""
    session = await system.create_session(folder)
    async with session.state.subscribe(from_seq=1) as changes:
        result = await session.run("seq 1 1000 > numbers.txt; grep -c 7 numbers.txt")
        await session.state.append_message("tool", result.stdout.strip())
        said = await next_message(changes)
    found = await session.manager.grep("77")
    return [
        f"{folder.name}: {said} lines with a 7, {len(found.matches)} with two",
        f"{folder.name}: tools say {await use_tools(session)}",
        f"{folder.name}: {await give_up(session)} commands run after a time-out",
        f"{folder.name}: {await crash(session)} came back, with {await remembered(session)}",
    ]


async def use_tools(session: AsyncSessionHandle) -> str:
    """Ask for tools as a model does."""
    results = await asyncio.gather(
        session.tools.call("biggest", "{}"),
        session.tools.call("write_file", {"path": "note.txt", "content": "seven"}),
        session.tools.call("run_command", {"command": "rm numbers.txt"}),
    )
    return "; ".join(result.content for result in results)


async def give_up(session: AsyncSessionHandle) -> int:
    """Cancel a command, which ends it; return how many still run."""
    command = await session.commands.start("echo ready; exec sleep 1000")
    async for chunk in command.output():
        if b"ready" in chunk:
            break
    await command.cancel()
    try:
        async with asyncio.timeout(0.1):
            await session.run("sleep 1000")
    except TimeoutError:
        pass
    return sum(info.running for info in await session.commands.list())


async def crash(session: AsyncSessionHandle) -> str:
    """Kill the process that has the conversation, and hear of the next one."""
    async with session.events() as events:
        monitor = await session.monitor("state")
        os.kill(monitor.ref.os_pid, signal.SIGKILL)
        await monitor.wait()
        async for event in events:
            if isinstance(event.fact, ChildStarted) and event.fact.child_id == "state":
                return event.fact.child_id
    return "nothing"


async def remembered(session: AsyncSessionHandle) -> str:
    """Return what no crash loses."""
    return f"{len(await session.state.messages())} message"


async def watch(gaps: list[float]) -> None:
    """Note for how long the loop did nothing else, until it is cancelled."""
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        gaps.append(now - last - 0.001)
        last = now


async def main(home: Path, folders: list[Path]) -> None:
    """Do it for all sessions at once."""
    gaps: list[float] = []
    watcher = asyncio.create_task(watch(gaps))
    async with AsyncSessionSystem(
        max_sessions=COUNT, state_dir=home / "state", tools=[BIGGEST], policy=policy
    ) as system:
        for lines in await asyncio.gather(*(work(system, folder) for folder in folders)):
            print(*lines, sep="\n")
    watcher.cancel()
    print(f"meanwhile the loop was never held for more than {1e3 * max(gaps):.0f} ms")


with TemporaryDirectory() as name:
    projects = [Path(name) / f"project {number}" for number in range(1, COUNT + 1)]
    for project in projects:
        project.mkdir()
    asyncio.run(main(Path(name), projects))

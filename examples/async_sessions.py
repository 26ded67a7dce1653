"""Many sessions from one asyncio loop: each runs a command, is followed and searched at once.

Run it as `python examples/async_sessions.py [SESSIONS]`.
"""

import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from jidocode import AsyncChangeStream, AsyncSessionSystem, Message

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 5


async def next_message(changes: AsyncChangeStream) -> str:
    """Return what is said next."""
    async for change in changes:
        if isinstance(change, Message):
            return change.content
    return ""


async def work(system: AsyncSessionSystem, folder: Path) -> str:
    """Open a session, let a command run in it, and follow what is said."""
    session = await system.create_session(folder)
    async with session.state.subscribe(from_seq=1) as changes:
        result = await session.run("seq 1 1000 > numbers.txt; grep -c 7 numbers.txt")
        await session.state.append_message("tool", result.stdout.strip())
        said = await next_message(changes)
    found = await session.manager.grep("77")
    return f"{folder.name}: {said} lines with a 7, {len(found.matches)} with two"


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
    async with AsyncSessionSystem(max_sessions=COUNT, state_dir=home / "state") as system:
        for line in await asyncio.gather(*(work(system, folder) for folder in folders)):
            print(line)
    watcher.cancel()
    print(f"meanwhile the loop was never held for more than {1e3 * max(gaps):.0f} ms")


with TemporaryDirectory() as name:
    projects = [Path(name) / f"project {number}" for number in range(1, COUNT + 1)]
    for project in projects:
        project.mkdir()
    asyncio.run(main(Path(name), projects))

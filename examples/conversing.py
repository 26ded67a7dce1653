"""What `asgi_app.py` and `textual_app.py` share: what is said and run in a session is kept in it.

A command and its output become messages, so whoever follows the conversation sees them live, and
whoever comes later sees them again. Their metadata have the number of the command under
`command`, and the last one how it ended, under `ended`.
"""

from __future__ import annotations

import codecs
import uuid
from collections.abc import Mapping
from typing import Any

from jidocode import (
    ActorExitedError,
    AsyncCommandHandle,
    AsyncSessionHandle,
    JidocodeError,
    Message,
    Role,
    SessionNotFoundError,
)

READ_SECONDS = 5.0
"""How long one question waits for output."""
OUTPUT_LIMIT = 1_000_000
"""Characters of a command's output that are kept, about; what comes later is not."""
COMMAND_SECONDS = 600.0
"""How long a command may run."""


async def say(
    session: AsyncSessionHandle,
    role: Role,
    text: str,
    metadata: Mapping[str, Any] | None = None,
) -> Message:
    """Append a message; again if State dies meanwhile, with its id, so that it is there once."""
    message_id = str(uuid.uuid4())
    while True:
        try:
            return await session.state.append_message(
                role, text, message_id=message_id, metadata=metadata
            )
        except ActorExitedError:
            continue  # the next call waits for the next State


async def start_command(
    session: AsyncSessionHandle, command: str
) -> tuple[AsyncCommandHandle, str] | None:
    """Start *command*; return it and its number, for `keep_output`, or None if it has not begun."""
    number = str(uuid.uuid4())
    await say(session, "user", command, {"command": number})
    try:
        handle = await session.commands.start(command, merge=True, timeout=COMMAND_SECONDS)
    except JidocodeError as error:
        await say(session, "tool", f"{error}\n", {"command": number, "ended": "not started"})
        return None
    return handle, number


async def keep_output(session: AsyncSessionHandle, handle: AsyncCommandHandle, number: str) -> None:
    """Append what a command writes to the conversation, as it comes, and how it ended.

    It returns when the command, or its session, has ended: run it in a task of its own.
    """
    try:
        ended = await _keep_output(session, handle, number)
        await say(session, "tool", "", {"command": number, "ended": ended})
    except JidocodeError:
        pass  # the session has ended, and its commands with it: there is nowhere to write to


async def _keep_output(session: AsyncSessionHandle, handle: AsyncCommandHandle, number: str) -> str:
    """Append the output, and return how the command ended."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a chunk may end in a character
    length = 0
    try:
        chunk = await handle.read(wait=READ_SECONDS)
        while not chunk.ended or chunk.data:
            if text := decoder.decode(chunk.data):
                await say(session, "tool", text, {"command": number})
            length += len(text)
            if length >= OUTPUT_LIMIT:
                await say(session, "tool", "\n[the rest is left out]\n", {"command": number})
                break
            # Unlike `output`, it lets the command go on, and misses what is cut out meanwhile.
            chunk = await handle.read(chunk.next_offset, wait=READ_SECONDS)
        if text := decoder.decode(b"", final=True):
            await say(session, "tool", text, {"command": number})
        result = await handle.wait()
    except SessionNotFoundError:
        raise
    except JidocodeError as error:  # what runs commands was killed
        return str(error)
    if result.timed_out:
        return f"ended after {COMMAND_SECONDS:.0f} seconds"
    if result.exit_code is None:
        return f"ended by signal {result.signal}"
    return f"exit code {result.exit_code}"

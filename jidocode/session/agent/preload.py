"""What a host imports and does before it forks, so that an agent costs little.

That of a system whose model is `OpenAIModel` does. The SDK is then imported once, in the host,
which all processes share; so are the certificates, and all that is worked out at the first turn
and kept, for a whole turn is played here, against nobody.
"""

from __future__ import annotations

import asyncio
import tempfile

from jidocode.session.agent import server
from jidocode.session.agent.asking import ask_model
from jidocode.session.agent.message import MessageBuilder
from jidocode.session.agent.model import ModelRequest, ToolDescription
from jidocode.session.agent.openai_model import OpenAIModel, shared_ssl_context
from jidocode.session.agent.retrying import RetryRules

__all__ = ["server"]

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    b'data: {"choices":[{"delta":{"content":"yes","reasoning_content":"so"}}]}\n\n'
    b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"1","function":'
    b'{"name":"look","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
    b"data: [DONE]\n\n"
)


def rehearse() -> None:
    """Play a turn, with both ends of it in this thread, over a socket in a folder of its own."""
    loop = asyncio.new_event_loop()
    try:
        with tempfile.TemporaryDirectory(prefix="jidocode-") as folder:
            loop.run_until_complete(_turn(f"{folder}/model"))
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _turn(path: str) -> None:
    import httpx2  # noqa: PLC0415 - where it is missing, the model's module says so better

    transport = httpx2.AsyncHTTPTransport(uds=path, verify=shared_ssl_context())
    model = OpenAIModel(
        "nobody", base_url="http://nobody.invalid/v1", api_key="nothing", transport=transport
    )
    tools = [ToolDescription("look", "Looks.", {"type": "object"})]
    request = ModelRequest(messages=[{"role": "user", "content": "?"}], tools=tools)
    builder = MessageBuilder(str)
    try:
        async with await asyncio.start_unix_server(_answer, path):
            async for delta in ask_model(model, request, RetryRules(attempts=1)):
                builder.add(delta)
            builder.message()
    finally:
        await model.aclose()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_ANSWER)
    writer.close()


rehearse()

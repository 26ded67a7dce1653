"""Processes to be weighed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from jidocode.otp import Caller, GenServer, Reply
from jidocode.otp.server.results import CallResult


def own_megabytes() -> float:
    """Return what this process shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000


class Weighed(GenServer):
    """Asks the model at an address several times, if it is told one; says what it weighs."""

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del caller
        if request is not None:
            assert "openai" in sys.modules, "the host has imported it"
            asyncio.run(_ask(request))
        return Reply(own_megabytes())


async def _ask(address: str) -> None:
    from jidocode.session.agent.asking import ask_model  # noqa: PLC0415 - as an agent does
    from jidocode.session.agent.model import ModelRequest  # noqa: PLC0415
    from jidocode.session.agent.openai_model import OpenAIModel  # noqa: PLC0415
    from jidocode.session.agent.retrying import RetryRules  # noqa: PLC0415

    model = OpenAIModel("m", base_url=address, api_key="none")
    request = ModelRequest(messages=[{"role": "user", "content": "x" * 1000}] * 20)
    for _ in range(11):
        async for _ in ask_model(model, request, RetryRules()):
            pass
    await model.aclose()

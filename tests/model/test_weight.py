"""What a model costs a process whose host has it preloaded."""

from __future__ import annotations

import asyncio

from agents import Weighed
from model_servers import ModelServer, event, said

from jidocode import otp
from jidocode.otp import Application, ChildSpec

MOST = 8.0
"""Megabytes."""


def test_a_process_with_a_model_weighs_little_more_than_one_without() -> None:
    """After eleven answers of two hundred pieces each."""
    idle, asking = [
        ChildSpec(id=name, start=Weighed, name=("agents", name)) for name in ("idle", "asking")
    ]

    async def weigh(app: Application) -> tuple[float, float]:
        async with ModelServer([said(*[event(content="word ")] * 200)]) as server:
            heavy = await asyncio.to_thread(app.call, ("agents", "asking"), server.url, timeout=90)
        return await asyncio.to_thread(app.call, ("agents", "idle"), None), heavy

    modules = ["agents", "jidocode.session.agent.preload"]
    with otp.start(idle, asking, preload=modules, start_timeout=120) as app:
        light, heavy = asyncio.run(weigh(app))

    print(f"idle {light:.1f} MB, with a model {heavy:.1f} MB")  # noqa: T201 - the figure
    assert heavy - light < MOST

"""What ends a bridge, beside the end of its client, and a signal: its system is gone."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from jidocode._host.client.client import HostClient

_LOOK_SECONDS = 1.0
"""How often it is looked whether the system has ended: who asks it nothing is not told."""


async def until_lost(client: HostClient) -> NoReturn:
    """Wait for the end of a system.

    Raises:
        HostExitedError: It has ended, a second ago at most.
    """
    while True:
        client.check()
        await asyncio.sleep(_LOOK_SECONDS)

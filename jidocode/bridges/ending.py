"""What ends a bridge, beside the end of its client: it is told to end, or its system is gone."""

from __future__ import annotations

import asyncio
import signal
from typing import NoReturn

from jidocode._host.client.client import HostClient

TOLD_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""By these signals."""
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

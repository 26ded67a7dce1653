"""`jidocode acp` with a model that follows a script, in the place of one behind a server."""

from __future__ import annotations

import sys

from scripted_models import SCRIPTED

from jidocode import AsyncSessionSystem
from jidocode.bridges.acp.serving import run
from jidocode.bridges.pipes import Pipes


def main() -> None:
    pipes = Pipes.claim()
    system = AsyncSessionSystem(model=SCRIPTED, context_tokens=1000)
    run(system, sys.argv[1:], pipes)


if __name__ == "__main__":
    main()

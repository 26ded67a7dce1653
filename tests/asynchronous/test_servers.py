"""Under a real web server, with asyncio's own loop and with uvloop."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from jidocode.testing import eventually

PAGE = Path(__file__).parents[2] / "docs/howto/live-updates.md"
HEALTH = """
async def health(request: Request) -> JSONResponse:
    loop = type(__import__("asyncio").get_running_loop()).__module__
    statistics = await request.app.state.system.statistics()
    return JSONResponse({"loop": loop, "calls": statistics.calls})


routes.append(Route("/health", health))
app = Starlette(routes=routes, lifespan=lifespan)
"""


def ask(port: int, method: str, path: str, body: str | None = None) -> dict[str, object]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
        answer: dict[str, object] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return answer


def port_of(log: Path) -> int | None:
    words = log.read_text().split("running on http://127.0.0.1:")
    return int(words[1].split()[0]) if len(words) > 1 else None


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_app_of_the_page_is_served(tmp_path: Path, loop: str) -> None:
    """Requests, live changes, a client that goes away, and an end by SIGTERM."""
    app, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "app.py").write_text(app + HEALTH)
    log = tmp_path / "log"
    command = ["-m", "uvicorn", "app:app", "--port", "0", "--loop", loop, "--app-dir", "."]
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, *command], cwd=tmp_path, stdout=output, stderr=output
        )
    try:
        port = eventually(lambda: port_of(log), "the start of the server", timeout=60)
        assert str(ask(port, "GET", "/health")["loop"]).startswith(loop)

        listener = HTTPConnection("127.0.0.1", port, timeout=60)
        listener.request("GET", "/listen")
        stream = listener.getresponse()
        for number in range(3):
            ask(port, "POST", "/say", f"hello {number}")
            lines = [stream.readline() for _ in range(3)]
            assert lines[1:] == [f'data: "hello {number}"\n'.encode(), b"\n"]
        stream.close()
        listener.close()
        eventually(
            lambda: ask(port, "GET", "/health")["calls"] == 0 or None,
            "the end of the call of a client that is gone",
        )
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(60)

    assert status in (0, -signal.SIGTERM), log.read_text()[-3000:]
    assert "Application shutdown complete" in log.read_text()

"""`examples/asgi_app.py`, served as a user would serve it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from shell import SECONDS

from jidocode.testing import eventually

APP = Path(__file__).parents[2] / "examples/asgi_app.py"


class WebApp:
    """The app in a process of its own.

    Attributes:
        folder: What it keeps.
        port: Where it is.
        log: What it has written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self.port = 0
        self.start()

    def start(self) -> None:
        """Serve; again where it was."""
        with self.log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(APP), str(self.folder), "--port", str(self.port)],
                stdout=output,
                stderr=output,
            )
        try:
            self.port = eventually(self._port, "the start of the server", timeout=SECONDS)
        except BaseException:
            self.kill()
            raise

    def _port(self) -> int | None:
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        words = self.log.read_text().split("running on http://127.0.0.1:")
        return int(words[1].split()[0]) if len(words) > 1 else None

    @property
    def pid(self) -> int:
        """The server's."""
        return self._process.pid

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Send it a signal, wait for its end, and return its log."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        assert self._process.wait(SECONDS) in (0, -number), self.log.read_text()[-3000:]
        return self.log.read_text()

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.wait()

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return the status and what the answer says."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, headers or {"content-type": "application/json"})
            response = connection.getresponse()
            said = response.read().decode()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(said) if is_json else said
        finally:
            connection.close()

    def post(self, path: str, body: object = None) -> Any:
        """Return the answer to a request that is in order."""
        status, answer = self.ask("POST", path, {} if body is None else body)
        assert status == 200, answer
        return answer

    def follow(self, session: str, after: int | None = None) -> Listener:
        """Follow a session."""
        return Listener(self.port, session, after)


class Listener:
    """One who follows a session, as an `EventSource` does."""

    def __init__(self, port: int, session: str, after: int | None) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        self._connection.request("GET", f"/sessions/{session}/live", headers=headers)
        self._response: HTTPResponse = self._connection.getresponse()
        assert self._response.status == 200
        assert self._response.headers.get_content_type() == "text/event-stream"
        self.last_id = 0

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield the kind of each event, and what it says."""
        fields: dict[str, str] = {}
        for line in self._response:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
                continue
            self.last_id = int(fields.get("id", self.last_id))
            yield fields["event"], json.loads(fields["data"])
            fields = {}

    def said(self, count: int) -> list[dict[str, Any]]:
        """Return the next *count* messages."""
        found: list[dict[str, Any]] = []
        for kind, data in self:
            found += [data] if kind == "said" else []
            if len(found) == count:
                break
        return found

    def close(self) -> None:
        """Go away."""
        self._response.close()
        self._connection.close()


@contextmanager
def web_app(folder: Path) -> Generator[WebApp]:
    """Serve the app; at the end it is gone, whatever has happened."""
    app = WebApp(folder)
    try:
        yield app
    finally:
        app.kill()

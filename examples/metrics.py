"""Have Prometheus read a system: a page on 127.0.0.1, scraped after a crash.

    pip install 'jidocode[metrics]'
    python examples/metrics.py [PROJECT]

`docs/metrics.md` says what the figures are, and how to have spans of OpenTelemetry.
"""

import os
import signal
import sys
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from prometheus_client import CollectorRegistry, start_http_server

from jidocode import SessionSystem
from jidocode.metrics.prometheus import SystemCollector
from jidocode.otp import ChildStarted

SHOWN = ("up ", "sessions", "processes", "calls_total", "commands_total", "exits", "restarts")

project = sys.argv[1] if len(sys.argv) > 1 else "."

with (
    TemporaryDirectory() as state_dir,
    SessionSystem(state_dir=state_dir) as system,
    SystemCollector(system) as collector,
    system.events() as events,
):
    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)

    session = system.create_session(project)
    session.manager.list_directory()
    session.run("exit 3")
    os.kill(system.get_state(session.id).os_pid, signal.SIGKILL)
    for event in events:  # until all that was restarted is back
        match event.fact:
            case ChildStarted(child_id="state", recovered_after=float()):
                break
            case _:
                pass

    with urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as page:
        for line in page.read().decode().splitlines():
            if (
                line.startswith(tuple(f"jidocode_{name}" for name in SHOWN))
                and "_created" not in line
            ):
                print(line)

    server.shutdown()
    server.server_close()
    thread.join()

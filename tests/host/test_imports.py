"""What an app pays for at its start: nothing that only the processes of a system need."""

from __future__ import annotations

import subprocess
import sys

import pytest

NEEDLESS = (
    *("thespian", "loguru", "asyncio", "logging", "multiprocessing", "ssl"),
    *("_hashlib", "difflib", "secrets", "tempfile"),
)
ON_REQUEST = ("prometheus_client", "opentelemetry", "jidocode.metrics")

IMPORTED = """
import sys
import jidocode
jidocode.SessionSystem
print(*sys.modules)
"""
RUN = """
import sys
from jidocode import SessionSystem
with SessionSystem() as system:
    system.tree()
print(*sys.modules)
"""


@pytest.mark.parametrize("code", [IMPORTED, RUN], ids=["imported", "run"])
def test_an_app_imports_nothing_that_it_does_not_need(code: str) -> None:
    """Neither at first nor while it runs a system: Thespian's messages do not reach it."""
    app = subprocess.run([sys.executable, "-Ic", code], capture_output=True, text=True, check=True)
    needless = {*NEEDLESS, *ON_REQUEST} & set(app.stdout.split())

    assert needless == set()

"""`jidocode demo`."""

from __future__ import annotations

from pathlib import Path

from shell import jidocode


def test_the_demo_kills_every_process_and_each_comes_back(project: Path) -> None:
    """With nothing changed in the project."""
    before = sorted(project.rglob("*"))
    lines = jidocode("demo", str(project)).splitlines()

    kills = [line for line in lines if line.startswith("kill -9")]
    assert {line.split("(")[1].split(")")[0] for line in kills} == {"manager", "state"}
    assert all("is back as pid" in line for line in kills)
    assert lines.count("the session is healthy") == 2
    assert lines[-1] == "the system is stopped"
    assert sorted(project.rglob("*")) == before

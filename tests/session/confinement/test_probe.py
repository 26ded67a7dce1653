"""What is found by trying, and what follows from it."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jidocode import ConfinementError, ConfinementReport, Denial
from jidocode.session.confinement import landlock, probe as probing
from jidocode.session.confinement.landlock import find_abi
from jidocode.session.confinement.probe import probe, run_tries
from jidocode.session.confinement.tries import TRIES


def test_everything_is_denied_here(tmp_path: Path) -> None:
    report = probe(str(tmp_path))

    assert report.missing == ()
    assert report.tier == "kernel"
    report.require("kernel")
    assert [denial.what for denial in report.denials] == [what for what, _ in TRIES]
    assert report.landlock_abi == find_abi()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_confined_gets_through(tmp_path: Path) -> None:
    """Else a try would tell nothing. What a user may not do anyway is another matter."""
    with probing._place(str(tmp_path)) as place:
        denials = run_tries(place, lambda: None)

    root_only = {"handle page faults", "watch the processor's counters", "load a BPF program"}
    root_only |= {"use privileges of the app", "open a file by its handle", "mount"}
    root_only |= {"trace another process", "take another's open file"}  # Yama's rule, where it is
    if not resource.getrlimit(resource.RLIMIT_CORE)[1]:  # as whoever runs this has it
        root_only.add("dump core")
    closed = {denial.what for denial in denials if denial.held}
    assert closed - (root_only if os.getuid() else root_only & {"dump core"}) == set()


def test_an_older_kernel_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what gets through, right by right."""
    monkeypatch.setattr(landlock, "find_abi", lambda: 2)

    report = probe(str(tmp_path))

    assert report.tier is None
    assert report.missing == ("cut off a file elsewhere", "signal another process")
    with pytest.raises(ConfinementError) as caught:
        report.require("kernel")
    assert str(caught.value) == (
        "tier kernel is not in force here: a command could cut off a file elsewhere, "
        "signal another process"
    )
    assert "OPEN    signal another process" in str(report)


def test_a_tier_that_is_not_there_is_refused() -> None:
    held, gap = (Denial("x", held=held, outcome="y") for held in (True, False))
    report = ConfinementReport((held,), 7, "no such luck")

    assert report.tier == "kernel"
    with pytest.raises(ConfinementError, match="namespaces is not in force: no such luck"):
        report.require("namespaces")
    with pytest.raises(ConfinementError, match="no tier 'best', only kernel and namespaces"):
        report.require("best")
    for denials in ((), (held, gap)):
        report = ConfinementReport(denials, 7, "in force")
        assert report.tier is None
        for tier in ("kernel", "namespaces"):
            with pytest.raises(ConfinementError, match=f"tier {tier} is not in force here: "):
                report.require(tier)


def test_the_text_is_a_table(tmp_path: Path) -> None:
    lines = str(probe(str(tmp_path))).splitlines()

    assert re.fullmatch(r"tier kernel, Landlock ABI \d+, namespaces: .+", lines[0])
    assert len(lines) == 1 + len(TRIES)
    assert all(len(line) < 100 for line in lines[1:])


def test_a_child_that_cannot_be_confined_or_does_not_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise ConfinementError("no")

    def hang() -> None:
        time.sleep(100)

    monkeypatch.setattr(probing, "PATIENCE", 0.2)
    with probing._place(str(tmp_path)) as place:
        for confine, why in (
            (refuse, "no"),
            (hang, "no answer"),
            (lambda: os._exit(3), "no answer"),
        ):
            with pytest.raises(ConfinementError, match=f"could not be tried: .*{why}"):
                run_tries(place, confine)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_everything_is_denied_to_who_has_no_privileges() -> None:
    """It needs none: an app that is not root can confine its commands."""
    code = """
import os
from jidocode.session.confinement.probe import probe
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
os.chdir("/")
report = probe("/tmp")
print(report.tier, report.missing, flush=True)
os._exit(0)  # nobody's exit handlers, which could write nothing now
"""
    done = subprocess.run(
        [sys.executable, "-Ic", code], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("kernel ()\n", "")

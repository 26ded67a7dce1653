"""What `jidocode doctor` makes of kernels that this one is not."""

from __future__ import annotations

import errno
import os

import pytest

from jidocode import ConfinementError
from jidocode.session.commands.limits import SandboxMode
from jidocode.session.confinement.report import ConfinementReport, Denial
from jidocode.system import diagnosis
from jidocode.system.settings import Settings

TRIED = (
    Denial("open /etc/shadow", held=True, outcome="EACCES"),
    Denial("signal others", held=False, outcome="sent"),
)
OLDER = ConfinementReport(TRIED, landlock_abi=5, namespaces="no")


@pytest.mark.parametrize(
    ("sandbox", "statuses"),
    [
        ("auto", ["note", "note"]),
        ("require:kernel", ["missing", "note"]),
        ("require:namespaces", ["missing", "missing"]),
        ("off", ["note", "note"]),
    ],
)
def test_a_kernel_that_confines_in_part_is_missing_only_if_all_is_required(
    monkeypatch: pytest.MonkeyPatch, sandbox: SandboxMode, statuses: list[str]
) -> None:
    """With `auto` commands run there; and it is said that they are not held wholly."""

    def older(**_: object) -> ConfinementReport:
        return OLDER

    monkeypatch.setattr(diagnosis, "probe", older)
    found = list(diagnosis._tiers(Settings.load(sandbox=sandbox)))

    assert [each.status for each in found] == statuses
    assert "signal others" in found[0].found
    assert ("Commands run" in found[0].advice) == (sandbox == "auto")


@pytest.mark.parametrize(
    ("sandbox", "statuses"), [("auto", ["missing", "note"]), ("off", ["note", "note"])]
)
def test_a_kernel_that_confines_nothing_is_missing_unless_nothing_is_to_be(
    monkeypatch: pytest.MonkeyPatch, sandbox: SandboxMode, statuses: list[str]
) -> None:
    """With `auto` commands are refused there."""

    def probe(**_: object) -> ConfinementReport:
        raise ConfinementError("the kernel has no Landlock")

    monkeypatch.setattr(diagnosis, "probe", probe)
    found = list(diagnosis._tiers(Settings.load(sandbox=sandbox)))

    assert [each.status for each in found] == statuses


def test_a_kernel_without_pidfds_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """For nothing runs there."""

    def pidfd_open(_pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    found = diagnosis._pidfds()

    assert (found.status, "Linux 5.3" in found.advice) == ("missing", True)

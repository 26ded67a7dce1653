"""Values of arguments that are none: a usage error, in the words of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from shell import jidocode

ADDRESS = "must be an address such as http://127.0.0.1:8080/v1"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("line", "argument", "why"),
    [
        ("serve --name a/c", "'--name'", "must be up to 64 letters, digits"),
        ("serve --idle-timeout nan", "'--idle-timeout'", "must be seconds, 1e9 at most"),
        ("serve --idle-timeout 1e300", "'--idle-timeout'", "must be seconds, 1e9 at most"),
        ("serve --model m --base-url http://", "'--base-url'", ADDRESS),
        ("chat --model m --base-url nonsense", "'--base-url'", ADDRESS),
        ("acp --model m --base-url ftp://x", "'--base-url'", ADDRESS),
        ("sessions create . --name=", "'--name'", "must be one line of text"),
        (f"sessions create . --name {'x' * 51}", "'--name'", "at most 50 characters"),
        ("sessions fork x --name=", "'--name'", "must be one line of text"),
        ("sessions create /proc/self", "'PROJECT'", "may not be read and written"),
        ("sessions resume x --project /proc/self", "'--project'", "may not be read and written"),
        ("sessions list --project nosuch", "'--project'", "there is no folder nosuch"),
        ("chat /proc/self", "'[PROJECT]'", "may not be read and written"),
        ("mcp /proc/self", "'[PROJECT]'", "may not be read and written"),
        ("demo /proc/self", "'[PROJECT]'", "may not be read and written"),
    ],
)
def test_a_wrong_value_is_a_usage_error(line: str, argument: str, why: str) -> None:
    """Which names the argument, and says what is expected of it, before anything is done."""
    said = jidocode(*line.split(), status=2)
    assert f"Error: Invalid value for {argument}" in said
    assert why in said
    assert not any(each in said for each in ("keyword", "INFINITY", "idle_timeout", "base_url"))


@pytest.mark.usefixtures("home")
def test_a_wrong_address_is_not_shown() -> None:
    """For a password may stand in it; a variable is named as the argument is."""
    said = jidocode("acp", "--model", "m", status=2, JIDOCODE_BASE_URL="me:a-password@nowhere")
    assert "JIDOCODE_BASE_URL" in said
    assert "a-password" not in said


def test_a_folder_may_be_named_as_a_shell_does(
    served: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From within another one of it."""
    (project / "src").mkdir(exist_ok=True)
    monkeypatch.chdir(project / "src")
    session = jidocode("sessions", "create", "..", "--system", served).strip()
    shown = jidocode("sessions", "show", session)
    assert f"project     {project}" in shown.splitlines()
    jidocode("sessions", "stop", session, "--system", served)

"""What a command's environment is made of."""

from __future__ import annotations

from hypothesis import given, strategies as st

from jidocode.session.commands.environment import (
    FOLDERS,
    TAKEN_OVER,
    base_environment,
    with_changes,
)

FIXED = {"TERM", "GIT_TERMINAL_PROMPT", *TAKEN_OVER, *FOLDERS}


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_nothing_is_taken_over_but_what_is_listed(apps: dict[str, str]) -> None:
    environment = base_environment(apps, "/scratch")
    assert set(environment) <= FIXED
    assert all(environment[name].startswith("/scratch/") for name in FOLDERS)


def test_keys_and_what_the_interpreter_was_told_stay_out() -> None:
    apps = {
        "PATH": "/apps/bin",
        "LANG": "de_DE.UTF-8",
        "OPENAI_API_KEY": "secret",
        "PYTHONPATH": "/apps",
        "LD_PRELOAD": "/apps/x.so",
        "HOME": "/home/me",
        "TERM": "xterm",
    }
    environment = base_environment(apps, "/scratch")
    assert environment["PATH"] == "/apps/bin"
    assert environment["LANG"] == "de_DE.UTF-8"
    assert environment["HOME"] == "/scratch/home"
    assert environment["TERM"] == "dumb"
    assert not {"OPENAI_API_KEY", "PYTHONPATH", "LD_PRELOAD"} & set(environment)


def test_changes_add_replace_and_leave_out() -> None:
    changed = with_changes({"A": "1", "B": "2"}, {"A": None, "B": "3", "C": "4"})
    assert changed == {"B": "3", "C": "4"}

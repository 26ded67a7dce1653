"""The environment of a command, made from nothing: what an app has in its own is not in it.

An app's variables hold its keys and tokens, and what its interpreter was told (PYTHONPATH,
LD_PRELOAD). So nothing is taken from them but what says where programs are and which
language and time zone people have; homes and caches are folders of the session's own.
"""

from __future__ import annotations

from collections.abc import Mapping

TAKEN_OVER = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""What a command has of the app's variables."""
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
DEFAULT_LANG = "C.UTF-8"

FOLDERS = {
    "HOME": "home",
    "TMPDIR": "tmp",
    "XDG_RUNTIME_DIR": "run",
    "XDG_CONFIG_HOME": "home/.config",
    "XDG_DATA_HOME": "home/.local/share",
    "XDG_STATE_HOME": "home/.local/state",
    "XDG_CACHE_HOME": "cache",
    "PIP_CACHE_DIR": "cache/pip",
    "UV_CACHE_DIR": "cache/uv",
    "npm_config_cache": "cache/npm",
    "CARGO_HOME": "cache/cargo",
}
"""Variables that name a folder, and where it is in the scratch folder of a session."""


def base_environment(apps: Mapping[str, str], scratch: str) -> dict[str, str]:
    """Return what every command of a session has.

    Args:
        apps: The app's variables.
        scratch: The scratch folder of the session, which has `FOLDERS` in it.
    """
    taken = {name: apps[name] for name in TAKEN_OVER if apps.get(name)}
    return {
        "PATH": DEFAULT_PATH,
        "LANG": DEFAULT_LANG,
        "TERM": "dumb",
        "GIT_TERMINAL_PROMPT": "0",  # git would wait for a password that nobody types
        **taken,
        **{name: f"{scratch}/{folder}" for name, folder in FOLDERS.items()},
    }


def with_changes(
    environment: Mapping[str, str], changes: Mapping[str, str | None]
) -> dict[str, str]:
    """Return *environment* with *changes*: a value for each name, or None to leave it out."""
    changed: dict[str, str | None] = {**environment, **changes}
    return {name: value for name, value in changed.items() if value is not None}

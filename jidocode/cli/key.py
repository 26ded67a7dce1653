"""The key for the server of a model, found by the process that needs it."""

from __future__ import annotations

import os

KEY_VARIABLE = "JIDOCODE_API_KEY"


def given_key() -> str:
    """Return the key for the server that `--base-url` names; the options of a model name this."""
    return os.environ[KEY_VARIABLE]

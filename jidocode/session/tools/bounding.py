"""How long a result may be that a model is given."""

from __future__ import annotations

MAX_RESULT_LENGTH = 30_000
"""Characters of a result; of a longer one, its beginning and its end are given."""


def bounded(content: str) -> str:
    """Return *content*, of a longer one its beginning and its end."""
    if len(content) <= MAX_RESULT_LENGTH:
        return content
    half = MAX_RESULT_LENGTH // 2
    left_out = len(content) - 2 * half
    return f"{content[:half]}\n[{left_out} characters were left out]\n{content[-half:]}"

"""How long a result may be that a model is given."""

from __future__ import annotations

from jidocode.base.text import without_middle

MAX_RESULT_LENGTH = 30_000
"""Characters of a result; of a longer one, its beginning and its end are given."""


def bounded(content: str) -> str:
    """Return *content*, of a longer one its beginning and its end."""
    return without_middle(content, MAX_RESULT_LENGTH)

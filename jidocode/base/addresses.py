"""What the address of a server on the web is."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_web_address(url: object) -> bool:
    """Whether *url* is the address of a host, by http or https."""
    if not isinstance(url, str) or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)

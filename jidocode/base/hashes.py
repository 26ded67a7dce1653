"""Hashes, without OpenSSL in an app that needs none of it.

`hashlib` and `hmac` load it: a megabyte of memory, and milliseconds of every start. What frames,
proofs and knocks are signed by is Python's own BLAKE2 there, too. SHA-256, which is faster by
OpenSSL, is for whoever reads files: there the host has loaded it (`session/preload.py`).
"""

from __future__ import annotations

from _operator import _compare_digest as compare_digest

try:
    from _blake2 import blake2b
except ImportError:  # a Python may be built without it
    from hashlib import blake2b

__all__ = ["blake2b", "compare_digest", "sha256_of"]


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of *data*, in hexadecimal."""
    import hashlib  # noqa: PLC0415 - see above

    return hashlib.sha256(data).hexdigest()

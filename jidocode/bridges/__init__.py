"""Protocols by which other programs work with a session: each an extra, in a process of its own."""

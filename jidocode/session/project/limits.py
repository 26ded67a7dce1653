"""How much of a project one request takes: what is more is refused, or left out and said so."""

MAX_READ_BYTES = 16 * 2**20
"""Bytes of a file that are read at once."""
MAX_COPY_BYTES = 256 * 2**20
"""Bytes that are copied at once."""
MAX_FOLDER = 10_000
"""Files and folders in a folder that is removed or copied at once, by default."""
MOST_FOLDER = 100_000
"""Files and folders in one, whatever is asked for."""
MAX_EDIT_SEARCH = 2**30
"""Characters in which one request's edits are looked for: those of the file, for each edit."""
MAX_REPLACEMENTS = 100_000
"""Replacements by one request."""

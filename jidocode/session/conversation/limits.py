"""How much of a conversation is kept, in memory and in a journal."""

MAX_MESSAGES = 1000
"""Messages in memory; of older ones only the numbers are known."""
MAX_STORED_MESSAGES = 200_000
"""Messages in a journal; the oldest are dropped when it is compacted."""
MAX_STORED_SIZE = 2**29
"""Bytes of messages in a journal; the oldest are dropped when it is compacted."""
MAX_TOOL_CALLS = 500
"""Tool calls kept; the oldest is dropped for a new one."""
MAX_REASONING_STEPS = 100
"""Reasoning steps kept; the oldest is dropped for a new one."""
MAX_PROMPTS = 100
"""Prompts kept; the oldest is dropped for a new one."""
MAX_FILE_ACCESSES = 2000
"""File accesses kept, one reading and one writing per file; the oldest is dropped."""
MAX_STREAMS = 10
"""Messages that may be streamed at once."""
MAX_KEPT_LENGTH = 2**25
"""Characters in memory of each sort of record, such as messages or tool calls."""
MAX_EVENTS = 1000
"""Changes that a log in memory keeps."""
MAX_EVENTS_LENGTH = 2**24
"""Characters in the changes that a log in memory keeps."""
MAX_PAGE = 1000
"""Records in one page."""
MAX_PAGE_LENGTH = 4 * 2**20
"""Characters in one page that holds more than one record."""
MAX_APPROVALS = 100
"""Approvals kept; the oldest is dropped for a new one."""
MAX_OPEN_APPROVALS = 50
"""Approvals that may wait for an answer at once."""
MAX_HISTORY_LENGTH = 2**25
"""Characters of messages that a history is built from."""
MAX_IMPORTED = 10_000
"""Messages in a history that is imported."""
MAX_IMPORTED_LENGTH = 2**24
"""Characters in a history that is imported."""

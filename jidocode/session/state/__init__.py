"""The process that keeps the conversation, its client, and who hears of changes."""

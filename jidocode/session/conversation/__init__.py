"""What was said and done in a session, as changes and what they add up to.

Nothing in this room knows of files: the room `journal` keeps a conversation on the
disk, and imports this one. From the ground up:

- `changes`: the records of what can happen. `checks` refuses what may not.
- `blocks`: the parts of a message that is more than text.
- `fold`: what the changes add up to, with `messages` and `bounded` for its parts.
- `change_log`: where changes are kept; `MemoryLog` is the one without a file.
- `ledger`: writes a change to the log, then folds it.
- `streams`: messages that come in chunks.
- `owners`: whose it is what has begun and not ended.
- `conversation`: what a State is asked, and `approvals`, `summaries` and `importing`.
- `history`: a conversation as the list of messages that a model's server takes.
"""

"""The file that keeps a conversation: its format, its repair, and all of a folder's journals.

This room imports `conversation`, never the other way round. From the ground up:

- `format`: what a line is, and what a file holds. `opening` opens and
  locks files, `writing` puts whole ones on the disk.
- `file`: one open `Journal`. Up to here all is bytes.
- `ownership`: which session is open, and in which system.
- `codec`: how a change is written in bytes, and read again.
- `change_log`: a journal as the log of a conversation.
- `recovery`: rebuilds a conversation from its journal.
- `catalogue`: lists, exports, forks and deletes journals, without a session. `place` says
  where they are.
"""

"""The file that keeps a conversation: its format, its repair, and all of a folder's journals."""

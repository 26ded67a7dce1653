"""What a command may do, as data, and how the kernel is told to hold it to that.

Knows nothing of servers or sessions. `rules` says what a session's command may do, `prepare`
turns that into what the kernel takes, before the fork; `Prepared.apply` confines the child,
which then executes the command. `probe` finds out by trying whether that holds here. A Manager
is held by the same means; `here` finds out what holds the process that asks.
"""

"""Supervised, process-isolated coding sessions for Python apps.

General layout (imports go from left to right only, which CI checks):

    system -> session | _host -> otp -> errors

system    what an app uses: `SessionSystem` and the handles it gives out
session   WHAT is supervised: the record, the boundary, Manager, State, the tree
_host     WHERE it runs: processes, sockets, signals; the only Thespian code
otp       HOW supervision works: pure machines, no process, clock or socket
errors    every error, in one tree
"""

from loguru import logger

logger.disable("jidocode")  # a library is quiet until its app says `logger.enable("jidocode")`

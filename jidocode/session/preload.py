"""What every host imports before it forks: the tree, and what its processes would all work out.

How a class is read from JSON follows from its annotations, is worked out at its first
reading, and kept. Done here, each process that the host forks has it; else each State would
do it again while its session waits. So it is with what a Manager is confined by, and with
modules that it needs and an app does not.
"""

import difflib
import hashlib

import msgspec

from jidocode.base import rehearsals
from jidocode.session import tree
from jidocode.session.conversation.changes import JournalOpened, Message, SessionChanged
from jidocode.session.manager import confining

__all__ = ["difflib", "hashlib", "tree"]

# No more than what is in nearly every journal: the host itself is waited for, too.
for _change in (SessionChanged, JournalOpened, Message):
    msgspec.json.Decoder(_change)

confining.rehearse()
rehearsals.add(confining.rehearse)

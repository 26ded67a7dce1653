"""What every host imports before it forks: the tree, and what its processes would all work out.

How a class is read from JSON follows from its annotations, is worked out at its first
reading, and kept. Done here, each process that the host forks has it; else each State would
do it again while its session waits.
"""

import msgspec

from jidocode.session import tree
from jidocode.session.conversation.changes import JournalOpened, Message, SessionChanged

__all__ = ["tree"]

# No more than what is in nearly every journal: the host itself is waited for, too.
for _change in (SessionChanged, JournalOpened, Message):
    msgspec.json.Decoder(_change)

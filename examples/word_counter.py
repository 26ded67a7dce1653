"""A process of one's own: counts words, one call at a time (used by `own_child.py`)."""

from typing import Any, ClassVar

from jidocode.otp import Caller, GenServer, Refuse, Reply


class WordCounter(GenServer):
    """Counts the words of the texts that it is given.

    Its state is lost when it crashes: a restarted one begins with `init` again.
    """

    kind: ClassVar[str] = "word_counter"

    def init(self, start_at: int = 0) -> None:
        """Begin to count at *start_at*."""
        self.words = start_at

    def handle_call(self, request: Any, caller: Caller) -> Reply | Refuse:
        """Count the words of *request* and answer with the sum so far."""
        del caller
        if not isinstance(request, str):
            return Refuse(TypeError("a text was expected"))
        self.words += len(request.split())
        return Reply(self.words)

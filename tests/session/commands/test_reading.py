"""The output of a command as its app reads it, without the command."""

from __future__ import annotations

from jidocode import CallTimeoutError, CommandOutput
from jidocode.session.commands.reading import Place
from jidocode.session.commands.result import OutputChunk


class Written:
    """What a command writes, a byte at a time; it knows who has left."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left: list[int] = []

    def read(self, place: Place, wait: float) -> OutputChunk:
        del wait
        following = min(place.offset + 1, self.size)
        data = b"x" * (following - place.offset)
        return OutputChunk(
            offset=place.offset, data=data, next_offset=following, ended=following == self.size
        )

    def leave(self, place: Place) -> None:
        self.left.append(place.reader)
        raise CallTimeoutError("commands", 5.0)  # whatever comes of it


def test_who_breaks_off_says_so_once() -> None:
    """If he closes it, and reads nothing any more then; whoever has read all has nothing to say."""
    written = Written(3)
    output = CommandOutput(written.read, written.leave, "stdout")
    with output:
        for chunk in output:
            assert chunk == b"x"
            break
    output.close()
    assert list(output) == []
    assert len(written.left) == 1
    with CommandOutput(written.read, written.leave, "stdout") as whole:
        assert b"".join(whole) == b"xxx"
    assert len(written.left) == 1


def test_one_that_is_closed_while_it_is_read_has_ended() -> None:
    """By another thread: what that has asked for is still given."""
    written = Written(3)

    def read(place: Place, wait: float) -> OutputChunk:
        output.close()
        return written.read(place, wait)

    output = CommandOutput(read, written.leave, "stdout")
    assert list(output) == [b"x"]

"""`Chat`: the conversation on a terminal.

The main thread draws, and reads what is typed. What happens comes to it through one queue: the
events of the turn, which another thread reads, the questions of the policy, which is asked in
threads of its own, and Ctrl-C, which is a signal. So nothing is drawn in the midst of a drawing,
and a question can be withdrawn while nobody has answered it.
"""

from __future__ import annotations

import os
import queue
import re
import select
import signal
import sys
import termios
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

from attrs import define
from rich.console import Console
from rich.text import Text
from rich.theme import Theme

from jidocode.base.text import clip
from jidocode.cli.chat.asking import Proposal, Question, policy_of
from jidocode.cli.chat.ending import leave, request_cancel
from jidocode.cli.chat.safe import Safe, markdown
from jidocode.cli.chat.screen import Screen
from jidocode.cli.chat.text import fit
from jidocode.cli.ending import SIGNALLED
from jidocode.errors import HostError, JidocodeError, SessionError
from jidocode.session.conversation.changes import ToolResult
from jidocode.session.tools.policy import Deny

if TYPE_CHECKING:
    from jidocode.session.agent.handle import TurnHandle
    from jidocode.session.agent.messages import TurnEvent, TurnResult
    from jidocode.session.conversation.changes import Message
    from jidocode.system.handle import SessionHandle

_TICK = 0.5
"""Seconds after which the time is drawn, if nothing else has happened."""
_LOOK_SECONDS = 0.1
"""How often it is looked, while something is asked, whether it is still to be asked."""
_MAX_LINE = 4096
_INTERRUPTED = SIGNALLED + signal.SIGINT
_SHOWN = 4
"""Messages of a conversation that goes on which are shown."""
_HISTORY = 200
_WORD = re.compile(r"/[a-z]+")
_HELP = """\
Type what is to be done, and Enter. Up and down bring back what was said;
pasted lines stay together.
Ctrl-C cancels what is going on; at an empty line, twice, it ends the chat, as Ctrl-D and /quit do.
You are asked what has to be allowed: y is once, a is this whenever it comes again, n is no, and any
other words are what the model is told instead."""


class Interrupt:
    """Ctrl-C was pressed."""


@define(eq=False)
class Ended:
    """The turn has ended: with a result, or before it has begun."""

    result: TurnResult | None = None
    error: BaseException | None = None


class Chat:
    """A conversation in one session."""

    def __init__(self, session: SessionHandle, policy: str, name: str | None = None) -> None:
        """Talk in *session* under the policy of that name; the model is called *name*."""
        self._session = session
        self._policy = policy
        self._name = name
        self._console = Console(highlight=False, theme=Theme({"markdown.code": "cyan"}))
        self._screen = Screen(self._console)

    def run(self) -> None:
        """Talk, until it is enough."""
        # While a line is read, Ctrl-C clears that, and is not the end: see `_read`.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._greet()
        while (said := self._read()) is not None:
            if not said.strip():
                continue
            if _WORD.fullmatch(said.strip()):
                if said.strip() == "/quit":
                    return
                self._say(_HELP if said.strip() == "/help" else "there is only /help, and /quit")
                continue
            _Turn(self._session, self._policy, self._screen).run(said)

    def _say(self, text: str) -> None:
        self._console.print(Safe(Text(text, style="dim")))

    # ----- what was said before

    def _greet(self) -> None:
        record = self._session.session
        model = record.config.model or self._name
        parts = [record.name, f"session {record.id[:8]}", model, "/help"]
        self._say(fit(" · ".join(part for part in parts if part)))
        said = self._session.state.messages(last=_HISTORY)
        before = [message.content for message in said if message.role == "user"]
        _edit_lines(before, pastes=not self._console.is_dumb_terminal)
        shown = [message for message in said if message.content or message.status != "complete"]
        for message in [each for each in shown if each.role in {"user", "assistant"}][-_SHOWN:]:
            self._show(message)

    def _show(self, message: Message) -> None:
        content = clip(message.content).strip()
        self._console.print()
        if message.role == "user":
            self._console.print(Safe(Text(f"> {fit(content)}", style="bold")))
        elif content:
            self._console.print(Safe(markdown(content)))
        if message.status != "complete":
            self._say(f"({message.status})")

    # ----- what is typed

    def _read(self) -> str | None:
        """Return a line; None if it is enough."""
        interrupted = False
        while True:
            self._console.print()
            try:
                return _as_text(input("> "))
            except EOFError:
                self._console.print()
                return None
            except KeyboardInterrupt:
                self._console.print()
                if interrupted and not _is_typing():
                    return None
                interrupted = True
                self._say("Ctrl-C again, or Ctrl-D, ends the chat")


class _Turn:
    """One turn."""

    def __init__(self, session: SessionHandle, policy: str, screen: Screen) -> None:
        self._session = session
        self._screen = screen
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._policy = policy_of(policy, session.manager, self._inbox.put)
        self._waiting: deque[object] = deque()
        self._turn: TurnHandle | None = None
        self._cancelled = False

    def run(self, said: str) -> None:
        """Carry it out, and show what happens in it."""
        threading.Thread(target=self._follow, args=[said], daemon=True).start()
        with _echo(on=False), self._interruptible():
            self._screen.start()
            try:
                ended = self._watch()
            except BaseException:
                self._cancel()
                if self._turn is not None:
                    leave(self._turn)
                self._screen.end(None)
                raise
            self._screen.end(ended.result)
        problem = ended.error if ended.result is None else ended.result.error
        if isinstance(problem, HostError):
            raise problem
        if ended.error is None:
            return
        if isinstance(ended.error, SessionError) or not isinstance(ended.error, JidocodeError):
            raise ended.error
        self._screen.say(ended.error.message, style="red")

    def _watch(self) -> Ended:
        """Show what happens until the end."""
        ended = None
        while ended is None:
            ended = self._take(self._next())
            self._screen.refresh()
        return ended

    def _follow(self, said: str) -> None:
        """Read the turn, in a thread of its own."""
        try:
            turn = self._session.agent.prompt(said, policy=self._policy)
            self._turn = turn
            if self._cancelled:
                request_cancel(turn)
            for event in turn:
                self._inbox.put(event)
            self._inbox.put(Ended(turn.result()))
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._inbox.put(Ended(error=error))

    def _next(self) -> object:
        if self._waiting:
            return self._waiting.popleft()
        try:
            return self._inbox.get(timeout=_TICK)
        except queue.Empty:
            return None

    def _take(self, item: object) -> Ended | None:
        match item:
            case Ended():
                return item
            case None:
                pass
            case Interrupt() if self._cancelled:
                sys.exit(_INTERRUPTED)  # it does not end, and the person does not wait for it
            case Interrupt():
                self._cancel()
            case Proposal():
                self._screen.propose(item)
            case Question() if self._cancelled:
                item.decide(Deny("the turn was cancelled"))
            case Question():
                self._ask(item)
            case _:
                self._screen.take(cast("TurnEvent", item))
        return None

    @contextmanager
    def _interruptible(self) -> Generator[None]:
        def tell(_number: int, _frame: object) -> None:
            self._inbox.put(Interrupt())

        before = signal.signal(signal.SIGINT, tell)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _cancel(self) -> None:
        self._cancelled = True
        self._screen.status = "cancelling"
        if self._turn is not None:
            request_cancel(self._turn)

    # ----- questions

    def _ask(self, question: Question) -> None:
        """Let the person decide, unless the call has its result before that."""
        self._screen.pause()
        with _echo(on=True, when=termios.TCSAFLUSH):  # what was typed before is no answer
            print(question.text, end="", flush=True)  # noqa: T201 - it is typed behind that
            typed = self._typed(question)
            if typed is None:
                print()  # noqa: T201 - idem
        if typed is None:
            question.decide(Deny("the turn was cancelled"))
            self._screen.say("  it is not asked any more", style="dim")
        else:
            question.take(typed)
        self._screen.go_on()

    def _typed(self, question: Question) -> str | None:
        stdin = sys.stdin.fileno()
        while True:
            if select.select([stdin], [], [], _LOOK_SECONDS)[0]:
                return _as_text(os.read(stdin, _MAX_LINE).decode("utf-8", "surrogateescape"))
            with suppress(queue.Empty):
                while True:
                    item = self._inbox.get_nowait()
                    self._waiting.append(item)
                    if isinstance(item, Interrupt | Ended) or _settles(item, question):
                        return None


def _settles(item: object, question: Question) -> bool:
    """Whether *item* is the result of the call in question."""
    return isinstance(item, ToolResult) and item.call_id == question.request.call_id


@contextmanager
def _echo(*, on: bool, when: int = termios.TCSADRAIN) -> Generator[None]:
    """Have the terminal show what is typed, or not."""
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    flags = before[3] | termios.ECHO if on else before[3] & ~termios.ECHO
    termios.tcsetattr(stdin, when, [*before[:3], flags, *before[4:]])
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _as_text(typed: str) -> str:
    """Return *typed* without the halves of characters that a terminal may send."""
    return typed.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _edit_lines(said: Sequence[str], *, pastes: bool) -> None:
    """Have lines edited, and the keys up and down bring back what was said; *pastes* as one."""
    try:
        import readline
    except ImportError:  # a Python without it: the terminal's own editing is left
        return
    readline.parse_and_bind(f"set enable-bracketed-paste {'on' if pastes else 'off'}")
    for each in said:
        readline.add_history(fit(each))


def _is_typing() -> bool:
    """Whether there is something on the line that Ctrl-C has cleared."""
    readline = sys.modules.get("readline")
    return readline is not None and bool(readline.get_line_buffer())

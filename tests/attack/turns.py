"""Whatever takes part in a turn of an agent is killed in the midst of it.

That is the agent, State, Manager, Commands, a command, and whoever has prompted. After each kill
the conversation can be sent to a model, what was acknowledged is in it, no tool has run twice,
the next prompt works, and no command goes on.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from checkers import MARK, BrokenPromiseError, census, read_journal, settled
from deeds import MODEL, TOOLS, Line, prompt_and_tell
from valid_history import problems

from jidocode import (
    HostError,
    JidocodeError,
    Message,
    SessionHandle,
    SessionSystem,
    ToolResultBlock,
    TurnHandle,
    allow_all,
)

DEADLINE = 30.0
"""Seconds in which a turn ends, and a session comes back."""
LONGEST = 0.25
"""Seconds until the next kill, at most."""
ROUNDS = 8
"""Turns with kills, in one session."""
VICTIMS = ("agent", "state", "manager", "commands")
T = TypeVar("T")


class Asker(Protocol):
    """Who prompts: a thread, or a process of its own.

    Attributes:
        pid: That of the process, which may be killed.
    """

    pid: int | None

    def prompt(self, session: SessionHandle, name: str, prompt: str) -> None:
        """Prompt in *session*, which is in the system called *name*."""
        ...

    def cancel(self) -> None:
        """Have the turn end."""
        ...

    def finish(self) -> list[Line]:
        """Return what was told, when the turn has ended."""
        ...


class Here:
    """A thread."""

    pid: int | None = None

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._turns: list[TurnHandle] = []
        self._failures: list[Exception] = []

    def prompt(self, session: SessionHandle, name: str, prompt: str) -> None:
        """Prompt."""
        del name
        self._thread = threading.Thread(target=self._run, args=(session, prompt), daemon=True)
        self._thread.start()

    def _run(self, session: SessionHandle, prompt: str) -> None:
        try:
            prompt_and_tell(session, prompt, self._lines.append, self._turns.append)
        except Exception as error:  # noqa: BLE001 - raised again by `finish`
            self._failures.append(error)

    def cancel(self) -> None:
        """Cancel the turn."""
        for turn in self._turns:
            turn.cancel()

    def finish(self) -> list[Line]:
        """Wait for the thread."""
        self._thread.join(DEADLINE)
        if self._thread.is_alive():
            raise BrokenPromiseError(f"a turn has not ended after {DEADLINE:.0f} s")
        for failure in self._failures:
            raise failure
        return self._lines


class There:
    """A process that has attached; its turn ends with it."""

    def __init__(self) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - `finish` closes it
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("deeds.py"))],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.pid: int | None = self._process.pid

    def prompt(self, session: SessionHandle, name: str, prompt: str) -> None:
        """Have it prompt, and wait until it does: it has to attach before."""
        assert self._process.stdin is not None
        line = json.dumps([name, session.id, prompt]).encode() + b"\n"
        with self._process.stdin as pipe:
            pipe.write(line)
        end = time.monotonic() + DEADLINE
        while not self._told() and self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)

    def _told(self) -> list[Line]:
        size = os.fstat(self._output.fileno()).st_size
        whole, _, _ = os.pread(self._output.fileno(), size, 0).rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    def cancel(self) -> None:
        """Kill it."""
        self._process.kill()

    def finish(self) -> list[Line]:
        """Kill it, and close what it has."""
        self._process.kill()
        self._process.wait()
        with self._output:
            return self._told()


class Talk:
    """One session, and what was acknowledged in it.

    Attributes:
        kills: How often whom.
    """

    def __init__(
        self,
        system: SessionSystem,
        name: str,
        folder: Path,
        plan: random.Random,
        kills: Counter[str],
    ) -> None:
        self._system, self._name, self._plan, self._kills = system, name, plan, kills
        self.id = str(uuid.uuid4())
        self._project = folder / self.id
        self._project.mkdir()
        self._deeds = self._project / "deeds"
        self._tag = str(plan.randrange(10**11, 10**12))
        self._marks = 0
        self._prompts: dict[str, str] = {}
        self._results: dict[str, tuple[str, bool]] = {}
        self._answers: list[str] = []

    def _session(self) -> SessionHandle:
        if not self._system.session_running(self.id):
            self._system.create_session(self._project, session_id=self.id)
        return self._system.get_session(self.id)

    def _patiently(self, work: Callable[[SessionHandle], T]) -> T:
        """Do something with the session; patient with what is still being restarted."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                return work(self._session())
            except HostError:
                raise
            except JidocodeError as error:
                if time.monotonic() > deadline:
                    raise BrokenPromiseError(f"a session does not come back: {error}") from error
                time.sleep(0.05)

    # What is prompted

    def _mark(self) -> str:
        self._marks += 1
        return f"{self._tag}{self._marks:06d}"

    def _prompt(self) -> str:
        """Return a prompt of a few answers, each with calls, but for the last one."""
        steps: list[list[Line]] = []
        for _ in range(self._plan.randint(1, 3)):
            step: list[Line] = [["think", "hm"], ["say", f"first {self._mark()}"]]
            for _ in range(self._plan.randint(1, 4)):
                step += [["pause", self._plan.choice([0, 0.01])], self._call()]
            steps.append(step)
        return json.dumps([*steps, [["say", f"done {self._mark()}"]]])

    def _call(self) -> Line:
        mark = self._mark()
        match self._plan.choice(["do", "look", "run", "run", "wrong"]):
            case "run":
                # By the number the processes are known that run it.
                seconds = self._plan.choice(["0.0", "0.0", "0.3", "9."]) + mark
                command = f"echo {mark} >> deeds; sleep {seconds}"
                return ["call", "run_command", {"command": command}]
            case "wrong":
                return ["call", self._plan.choice(["lock", "do"]), {"no": mark}]
            case name:
                return ["call", name, {"mark": mark, "file": str(self._deeds)}]

    # What is killed

    def round(self, asker: Asker) -> None:
        """Have *asker* prompt, kill, and check."""
        prompt = self._prompt()
        asker.prompt(self._patiently(lambda session: session), self._name, prompt)
        for _ in range(self._plan.choice([1, 1, 2])):
            time.sleep(self._plan.uniform(0, LONGEST))
            self._kill(asker)
            with suppress(JidocodeError):  # it may be that the State is not back
                self._check_valid(self._session())
        time.sleep(self._plan.choice([0, 0, LONGEST]))
        if "sleep 9" in prompt or self._plan.random() < 0.3:
            asker.cancel()
        for line in asker.finish():
            self._note(line)
        self._check_next_prompt()
        self.check()

    def _kill(self, asker: Asker) -> None:
        found: dict[str, list[int]] = {}
        for pid, title in census(f"{MARK}={os.environ[MARK]}").items():
            for kind in VICTIMS:
                if title == f"jidocode {kind} {self.id}":
                    found[kind] = [pid]
        if asker.pid is not None:
            found["prompter"] = [asker.pid]
        if commands := self._command_pids():
            found["command"] = commands
        if found:
            kind = self._plan.choice(sorted(found))
            with suppress(ProcessLookupError):
                os.kill(self._plan.choice(found[kind]), signal.SIGKILL)
                self._kills[kind] += 1

    def _command_pids(self) -> list[int]:
        found: list[int] = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if self._tag.encode() in file.read_bytes():
                    found.append(int(file.parent.name))
        return found

    # What has to hold

    def _note(self, line: Line) -> None:
        match line:
            case ["user", turn_id, prompt]:
                self._prompts[turn_id] = prompt
            case ["result", call_id, content, is_error]:
                self._results[call_id] = (content, is_error)
            case ["end", "end", text]:
                self._answers.append(text)
            case _:
                pass

    def _check_next_prompt(self) -> None:
        """Check that the next prompt works, at the latest when all is restarted."""
        prompt = json.dumps([[["say", f"next {self._mark()}"]]])
        lines: list[Line] = []

        def works(session: SessionHandle) -> bool:
            lines.clear()
            prompt_and_tell(session, prompt, lines.append)
            for line in lines:
                self._note(line)
            return lines[-1][:2] == ["end", "end"]

        deadline = time.monotonic() + DEADLINE
        while not self._patiently(works):
            if time.monotonic() > deadline:
                raise BrokenPromiseError(f"the next prompt does not work: {lines}")
            time.sleep(0.05)

    @staticmethod
    def _check_valid(session: SessionHandle) -> None:
        for form in ("openai", "anthropic"):
            if wrong := problems(session.state.history(form), form):
                raise BrokenPromiseError(f"a server would refuse the conversation: {wrong[:3]}")

    def check(self) -> None:
        """Check the conversation, and what was done."""
        self._patiently(self._check_valid)
        if not settled(lambda: not self._command_pids()):
            raise BrokenPromiseError("a command goes on after its turn")
        if not settled(lambda: self._patiently(_is_quiet)):
            raise BrokenPromiseError("a call, an answer or a command is left open")
        messages = self._patiently(_messages)
        self._check_acknowledged(
            {message.id: message.content for message in messages if message.role == "user"},
            {
                block.call_id: (block.content, block.is_error)
                for message in messages
                for block in message.blocks
                if isinstance(block, ToolResultBlock)
            },
        )
        said = {message.content for message in messages if message.status == "complete"}
        if lost := [text for text in self._answers if text not in said]:
            raise BrokenPromiseError(f"answers are lost that had ended: {lost}")
        self._check_deeds(messages)

    def _check_acknowledged(
        self, prompts: dict[str, str], results: dict[str, tuple[str, bool]]
    ) -> None:
        if not self._prompts.items() <= prompts.items():
            raise BrokenPromiseError("a prompt is lost that was acknowledged")
        if not self._results.items() <= results.items():
            raise BrokenPromiseError("a result is lost, or has changed, that was acknowledged")

    def _check_deeds(self, messages: list[Message]) -> None:
        """Check that each was done once, at most, and not without a call with a result."""
        done = Counter(self._deeds.read_text().split()) if self._deeds.exists() else Counter[str]()
        if twice := [mark for mark, times in done.items() if times > 1]:
            raise BrokenPromiseError(f"a tool has run twice: {twice}")
        results = {message.id: message.content for message in messages if message.role == "tool"}
        for message in messages:
            for use in message.tool_uses:
                for mark in re.findall(self._tag + r"\d{6}", str(use.arguments))[:1]:
                    times = done.pop(mark, 0)
                    if times and use.id not in results:
                        raise BrokenPromiseError(f"a tool has run whose call has no result: {mark}")
                    if not times and results.get(use.id) == f"did {mark}":
                        raise BrokenPromiseError(f"a tool has a result and has not run: {mark}")
        if done:
            raise BrokenPromiseError(f"a tool has run that nobody has called: {list(done)}")

    def end(self, journal: Path) -> None:
        """Stop the session; check its journal, and that it comes back from that."""
        self._patiently(lambda session: session.stop())
        found = read_journal(journal.read_bytes())
        if found.damage:
            raise BrokenPromiseError(f"a journal that nobody has damaged is: {found.damage}")
        self._check_acknowledged({said.id: said.text for said in found.messages}, found.results)
        self._system.resume_session(self.id)
        self.check()
        self._patiently(lambda session: session.stop())


def _is_quiet(session: SessionHandle) -> bool:
    state = session.state
    calls = [call for call in _pages(state.tool_calls) if call.result is None]
    running = [each for each in session.commands.list() if each.running]
    return not (calls or running or state.streams())


def _messages(session: SessionHandle) -> list[Message]:
    return list(_pages(session.state.messages))


class _Numbered(Protocol):
    @property
    def seq(self) -> int: ...


N = TypeVar("N", bound=_Numbered)


def _pages(read: Callable[..., list[N]]) -> Iterator[N]:
    last = 0
    while page := read(after_seq=last):
        yield from page
        last = page[-1].seq


class Turns:
    """A system in whose turns somebody is killed.

    Attributes:
        kills: How often whom.
    """

    def __init__(self, plan: random.Random, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self.kills: Counter[str] = Counter()

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Have turns, as long as it *goes_on*."""
        name = f"turns-{uuid.uuid4().hex[:12]}"
        with SessionSystem(
            name=name,
            policy=allow_all,
            tools=TOOLS,
            model=MODEL,
            state_dir=self._folder / "state",
            creation_rate=None,
            max_restarts=1000,
            preload=["deeds"],
        ) as system:
            while goes_on():
                talk = Talk(system, name, self._folder, self._plan, self.kills)
                for number in range(ROUNDS):
                    talk.round(There() if number == ROUNDS - 2 else Here())
                    if not goes_on():
                        break
                talk.end(self._folder / "state" / f"{talk.id}.jsonl")


def attack(plan: random.Random, until: float, folder: Path) -> str:
    """Have turns, and kill somebody in each of them."""
    turns = Turns(plan, folder)
    turns.run(lambda: time.monotonic() < until)
    killed = ", ".join(f"{kind} {number}" for kind, number in sorted(turns.kills.items()))
    return (
        f"{turns.kills.total()} kills in turns ({killed}): each conversation valid, nothing twice"
    )

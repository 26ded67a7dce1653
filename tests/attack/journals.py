"""The bytes of a closed journal are changed, cut, doubled, moved.

Opening it refuses, or says what was wrong; and what it returns was acknowledged.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from checkers import BrokenPromiseError, JournalText, Ledger, Said, read_journal

from jidocode import JournalError, SessionSystem, StartFailedError

MESSAGES = 40


def attack(plan: random.Random, until: float, folder: Path) -> str:
    """Damage the same journal anew in each round, and open it."""
    project, state_dir = folder / "shop", folder / "state"
    project.mkdir()
    session_id, ledger = str(uuid.uuid4()), Ledger()
    journal = state_dir / f"{session_id}.jsonl"
    rounds = refused = 0
    with SessionSystem(state_dir=state_dir, creation_rate=None) as system:
        session = system.create_session(project, session_id=session_id)
        for number in range(MESSAGES):
            ledger.try_message(str(number), f"text {number}")
            said = session.state.append_message("user", f"text {number}", message_id=str(number))
            ledger.acknowledge(Said(said.seq, said.id, said.content))
        session.stop()
        whole = journal.read_bytes()
        while time.monotonic() < until:
            rounds += 1
            damage = plan.choice(DAMAGES)
            content = damage(plan, whole)
            for path in state_dir.glob(f"{session_id}*"):
                path.unlink()
            journal.write_bytes(content)
            try:
                session = system.resume_session(session_id)
            except (JournalError, StartFailedError):
                refused += 1
                continue
            found = [Said(m.seq, m.id, m.content) for m in session.state.messages()]
            clean = session.state.repair().clean
            session.stop()
            _check(damage.__name__, read_journal(content), found, ledger, clean=clean)
            if (repaired := read_journal(journal.read_bytes())).damage or repaired.torn:
                raise BrokenPromiseError(f"the repaired journal is damaged: {repaired.damage}")
            if repaired.messages != found:
                raise BrokenPromiseError("the repaired journal has other messages than its State")
    return f"{rounds} damaged journals, {refused} refused; none was wrong in silence"


def _check(
    damage: str, there: JournalText, found: list[Said], ledger: Ledger, *, clean: bool
) -> None:
    ledger.check_part(found)
    if lost := set(there.messages) - set(found):
        raise BrokenPromiseError(f"{damage}: {len(lost)} messages that can be read are not there")
    if clean and (there.damage or there.torn):
        raise BrokenPromiseError(
            f"{damage}: a damaged journal is said to be clean: {there.damage or 'torn'}"
        )


def flip(plan: random.Random, content: bytes) -> bytes:
    """Change one bit."""
    place = plan.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << plan.randrange(8)]) + content[place + 1 :]


def cut(plan: random.Random, content: bytes) -> bytes:
    """Take the end away."""
    return content[: plan.randrange(len(content))]


def cut_out(plan: random.Random, content: bytes) -> bytes:
    """Take some bytes out of the middle."""
    start = plan.randrange(len(content))
    return content[:start] + content[start + plan.randint(1, 300) :]


def append(plan: random.Random, content: bytes) -> bytes:
    """Add noise."""
    return content + plan.randbytes(plan.randint(1, 300))


def zero(plan: random.Random, content: bytes) -> bytes:
    """Have zeros in the place of a block, as some file systems leave it after a loss of power."""
    start = plan.randrange(len(content))
    size = min(plan.randint(1, 512), len(content) - start)
    return content[:start] + b"\0" * size + content[start + size :]


def shuffle(plan: random.Random, content: bytes) -> bytes:
    """Exchange two lines, or repeat one in the place of another."""
    lines = content.splitlines(keepends=True)
    one, other = plan.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], plan.choice([lines[one], lines[other]])
    return b"".join(lines)


DAMAGES: list[Callable[[random.Random, bytes], bytes]] = [
    flip,
    cut,
    cut_out,
    append,
    zero,
    shuffle,
]

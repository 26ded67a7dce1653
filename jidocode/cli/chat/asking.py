"""Who allows what a model wants done: a policy whose questions are put to the terminal."""

from __future__ import annotations

import queue
from collections.abc import Callable
from glob import escape
from typing import TYPE_CHECKING

from attrs import define, field

from jidocode.cli.chat.calls import planned
from jidocode.session.tools.policy import (
    Allow,
    Decision,
    Deny,
    Policy,
    ToolRequest,
    accept_edits,
    allow_all,
    ask_unless_remembered,
    read_only,
)

if TYPE_CHECKING:
    from jidocode.session.manager.client import ManagerClient


@define(eq=False)
class Proposal:
    """A call that a policy decides about.

    Attributes:
        request: The call.
        diff: What it would change.
    """

    request: ToolRequest
    diff: str


@define(eq=False)
class Question:
    """A proposal that a person decides about."""

    request: ToolRequest
    _answers: queue.SimpleQueue[Decision] = field(factory=queue.SimpleQueue[Decision])

    @property
    def remembered(self) -> str | None:
        """The pattern of all calls that are like this one, and no others; None if there is none."""
        subject = self.request.subject
        return subject if escape(subject) == subject else None

    @property
    def text(self) -> str:
        """What is asked."""
        always = "[a]lways this, " if self.remembered else ""
        return f"  allow? [y]es, {always}[n]o, or say what to do instead: "

    def take(self, typed: str) -> None:
        """Decide as *typed* says: anything but a plain yes is none."""
        match typed.strip().lower():
            case "y" | "yes":
                self.decide(Allow())
            case "a" | "always" if self.remembered:
                self.decide(Allow(always=self.remembered))
            case "" | "a" | "always" | "n" | "no":
                self.decide(Deny("the user has rejected it"))
            case _:
                self.decide(Deny(f"the user says: {typed.strip()}"))

    def decide(self, decision: Decision) -> None:
        """Tell the policy, which waits."""
        self._answers.put(decision)

    def wait(self) -> Decision:
        """Return the decision."""
        return self._answers.get()


def policy_of(
    choice: str, manager: ManagerClient, tell: Callable[[Proposal | Question], object]
) -> Policy:
    """Return the policy of that name, which tells of each proposal and each question."""

    def ask(request: ToolRequest) -> Decision:
        question = Question(request)
        tell(question)
        return question.wait()

    decides = _policy(choice, ask)

    def decide(request: ToolRequest) -> Decision:
        tell(Proposal(request, planned(request, manager)))
        return decides(request)

    return decide


def unasked(choice: str) -> Policy:
    """Return the policy of that name where there is nobody to ask."""
    return _policy(choice, read_only)


def _policy(choice: str, ask: Policy) -> Policy:
    """Return the policy of that name; it has *ask* decide about what a person would."""
    policies: dict[str, Policy] = {
        "ask": ask_unless_remembered(ask),
        "read-only": read_only,
        "accept-edits": accept_edits(ask),
        "allow-all": allow_all,
    }
    return policies[choice]

"""The children that a supervisor keeps: specs in start order, each with its present life."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef, Name
from jidocode.base.text import quote
from jidocode.errors import AlreadyPresentError, ChildNotFoundError
from jidocode.otp.supervision.life import Life, LifeState
from jidocode.otp.supervision.management import ChildCounts, ChildInfo, ChildStatus
from jidocode.otp.supervision.specs import ChildSpec, ChildType
from jidocode.otp.supervision.strategy import Verdict


class Child(Struct):
    """A spec that a supervisor keeps, with its present life if it has one."""

    spec: ChildSpec
    life: Life | None = None
    has_claim: bool = False
    """Whether its name is ours, or was asked for."""
    restarts: int = 0
    last_exit: ExitReason | None = None
    pending: Life | None = None
    """Its last life, if nothing was done about the end of that yet."""
    died_at: float | None = None
    """When its last process was known to be dead, while it is being replaced."""

    @property
    def id(self) -> str:
        """The id of the spec."""
        return self.spec.id

    @property
    def ref(self) -> ActorRef | None:
        """The process, once its `init` is done and until it is known to be dead."""
        if self.life is None or self.life.is_dead:
            return None
        return self.life.ref

    @property
    def is_running(self) -> bool:
        """Whether it is ready, was not told to stop, and is not known to be dead."""
        life = self.life
        return life is not None and life.state is LifeState.RUNNING and not life.is_dead

    @property
    def is_at_rest(self) -> bool:
        """Whether it has no process, and will not have one unless somebody asks for it."""
        return self.life is None and self.pending is None and self.died_at is None

    @property
    def is_in_between(self) -> bool:
        """Whether it starts, ends or is to come back, so that nobody knows what becomes of it."""
        return not (self.is_running or self.is_at_rest)

    def wants(self, name: Name | None) -> bool:
        """Whether it has *name*, or is to have it."""
        return name is not None and self.spec.name == name and not self.is_at_rest

    @property
    def status(self) -> ChildStatus:
        """How it stands, for those who ask: what ends is stopping only if it is wanted to end."""
        life = self.life
        if life is None:
            return ChildStatus.STOPPED if self.died_at is None else ChildStatus.RESTARTING
        if self.is_running:
            return ChildStatus.RUNNING
        if life.on_request:
            return ChildStatus.STOPPING
        if life.ref is None:
            # Also one whose `init` has failed, and whose end is awaited.
            return ChildStatus.STARTING if self.died_at is None else ChildStatus.RESTARTING
        if life.verdict is Verdict.RESTART:
            return ChildStatus.RESTARTING
        return ChildStatus.STOPPED if life.is_dead else ChildStatus.STOPPING


class Children(dict[str, Child]):
    """The children of one supervisor by their ids, in start order."""

    @classmethod
    def of(cls, specs: Iterable[ChildSpec]) -> Children:
        """Return children for *specs*, none of them started."""
        return cls({spec.id: Child(spec) for spec in specs})

    def add(self, spec: ChildSpec) -> Child:
        """Keep *spec* as the last one.

        Raises:
            AlreadyPresentError: A child has its id (OTP: `already_present`).
        """
        self.check_free(spec.id)
        child = self[spec.id] = Child(spec)
        return child

    def check_free(self, child_id: str) -> None:
        """Raise `AlreadyPresentError` if a child has that id."""
        if child_id in self:
            raise AlreadyPresentError(child_id)

    def holder_of(self, spec: ChildSpec) -> Child | None:
        """Return the child that runs with the id of *spec*, or else with its name."""
        present = self.get(spec.id)
        if present is not None and present.is_running:
            return present
        if spec.name is None:
            return None
        named = (each for each in self.values() if each.is_running and each.wants(spec.name))
        return next(named, None)

    def is_open(self, spec: ChildSpec) -> bool:
        """Whether a child has the id or the name of *spec*, and is neither running nor at rest.

        Then nobody can say yet who has it in the end.
        """
        present = self.get(spec.id)
        if present is not None and present.is_in_between:
            return True
        if spec.name is None:
            return False
        return any(child.wants(spec.name) and child.is_in_between for child in self.values())

    def find(self, child_id: object) -> Child:
        """Return the child with that id, which is whatever a caller sent.

        Raises:
            ChildNotFoundError: There is none.
        """
        child = self.get(child_id) if isinstance(child_id, str) else None
        if child is None:
            raise ChildNotFoundError(quote(child_id))
        return child

    def rival_of(self, child: Child) -> Child | None:
        """Return another child that has the name; the registry tells owners apart, not children."""
        name = child.spec.name
        if name is None:
            return None
        return next(
            (each for each in self.values() if each is not child and each.wants(name)), None
        )

    def infos(self) -> tuple[ChildInfo, ...]:
        """Return how each child stands (OTP: which_children)."""
        return tuple(
            ChildInfo(
                id=child.id,
                ref=child.ref,
                status=child.status,
                type=child.spec.type,
                restarts=child.restarts,
                last_exit=child.last_exit,
            )
            for child in self.values()
        )

    def counts(self) -> ChildCounts:
        """Count the children (OTP: count_children)."""
        supervisors = sum(child.spec.type is ChildType.SUPERVISOR for child in self.values())
        return ChildCounts(
            specs=len(self),
            active=sum(child.is_running for child in self.values()),
            supervisors=supervisors,
            workers=len(self) - supervisors,
        )

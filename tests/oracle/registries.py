"""Registries: keys, and who registered under them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar

from attrs import frozen
from scenarios import Difference, scenario
from stage import Noting, Stage

from jidocode import AlreadyRegisteredError, NotRegisteredError
from jidocode.otp import ActorRef, Caller, ChildSpec, Refuse, Registry, Reply, registry
from jidocode.otp.registry import Registered, Unregistered

KEYS = ("registry", "keys")


class Registrant(Noting):
    """Registers itself, and notes what reaches it."""

    kind: ClassVar[str] = "registrant"

    def handle_call(self, request: Any, caller: Caller) -> Reply | Refuse:
        del caller
        operations: dict[str, Callable[..., None]] = {
            "register": registry.register,
            "unregister": registry.unregister,
            "update": registry.update_value,
            "listen": registry.listen,
        }
        operation, *arguments = request
        try:
            operations[operation](self, KEYS, *arguments)
        except (AlreadyRegisteredError, NotRegisteredError) as error:
            return Refuse(error)
        return Reply()

    def handle_info(self, message: Any) -> None:
        match message:
            case Registered(entry=entry):
                self.note(f"register {entry.key}")
            case Unregistered(entry=entry):
                self.note(f"unregister {entry.key}")
            case text:
                self.note(f"hears {text}")


def registrant(text: str) -> ChildSpec:
    """Return the spec of a `Registrant`."""
    return Registrant.child_spec(id=text)


@frozen
class People:
    """A registry, and three processes by their ids."""

    stage: Stage
    refs: dict[str, ActorRef]

    @classmethod
    def gather(cls, stage: Stage, kind: str) -> People:
        """Start them all."""
        stage.start(Registry.child_spec(kind, name=KEYS))
        return cls(stage, {each: stage.start(registrant(each)) for each in "abc"})

    def name(self, ref: ActorRef) -> str:
        """Return who that is."""
        return next(name for name, each in self.refs.items() if each == ref)

    def register(self, who: str, key: Hashable, value: object) -> None:
        """Have one of them register, and note what comes of it."""
        try:
            self.stage.app.call(self.refs[who], ("register", key, value))
        except AlreadyRegisteredError as error:
            self.stage.note(f"{who} registers {key}: {self.name(error.ref)} has it")
        else:
            self.stage.note(f"{who} registers {key}: ok")

    def lookup(self, key: Hashable) -> None:
        """Note who is under *key*."""
        found = registry.lookup(self.stage.app, KEYS, key)
        entries = (f"{self.name(each.ref)} {each.value}" for each in found)
        self.stage.note(f"{key}: {', '.join(entries)}")


@scenario("registry: a unique key that is taken")
def _(stage: Stage) -> None:
    people = People.gather(stage, "unique")
    for each in "aba":
        people.register(each, "k", 1)
    people.register("b", "other", 2)
    people.lookup("k")
    people.lookup("other")
    stage.note(f"count {registry.count(stage.app, KEYS)}")


@scenario("registry: a key is free when its process ends")
def _(stage: Stage) -> None:
    people = People.gather(stage, "unique")
    people.register("a", "k", 1)
    stage.ends(people.refs["a"], "kill")
    people.register("b", "k", 2)
    people.lookup("k")


@scenario("registry: a key is free when its process gives it back")
def _(stage: Stage) -> None:
    people = People.gather(stage, "unique")
    people.register("a", "k", 1)
    for each in "baa":  # of others it is not taken
        stage.app.call(people.refs[each], ("unregister", "k"))
        stage.note(f"{each} unregisters: ok")
    people.register("b", "k", 2)
    people.lookup("k")


@scenario("registry: only its process changes a value")
def _(stage: Stage) -> None:
    people = People.gather(stage, "unique")
    people.register("a", "k", 1)
    for each in "ba":
        try:
            stage.app.call(people.refs[each], ("update", "k", 2))
        except NotRegisteredError:
            stage.note(f"{each} updates: not registered")
        else:
            stage.note(f"{each} updates: ok")
    people.lookup("k")


@scenario("registry: a duplicate key has any number, in order")
def _(stage: Stage) -> None:
    people = People.gather(stage, "duplicate")
    for value, each in enumerate("baca", start=1):
        people.register(each, "k", value)
    people.lookup("k")
    keys = registry.keys(stage.app, KEYS, people.refs["a"])
    stage.note(f"keys of a: {', '.join(map(str, keys))}")
    stage.app.call(people.refs["a"], ("unregister", "k"))
    people.lookup("k")
    stage.note(f"count {registry.count(stage.app, KEYS)}")


@scenario("registry: dispatch reaches each as often as it is there")
def _(stage: Stage) -> None:
    people = People.gather(stage, "duplicate")
    for each in "aba":
        people.register(each, "k", 1)
    registry.dispatch(stage.app, KEYS, "k", "news")
    registry.dispatch(stage.app, KEYS, "other", "nothing")
    stage.until("hears news", 3)
    # would come after what was sent to it
    stage.app.call(people.refs["c"], ("unregister", "k"))


@scenario(
    "registry: listeners",
    Difference([], ["unregister two"], "who listens to a `Registry` is told of deaths"),
)
def _(stage: Stage) -> None:
    people = People.gather(stage, "unique")
    a, b = people.refs["a"], people.refs["b"]
    stage.app.call(stage.start(registrant("listener")), ("listen",))
    stage.app.call(a, ("register", "one", 1))
    stage.until("register one")
    stage.app.call(a, ("unregister", "one"))
    stage.until("unregister one")
    stage.app.call(a, ("register", "two", 1))
    stage.until("register two")
    stage.ends(a, "kill")
    # the next news comes after all that is said of the death
    stage.app.call(b, ("register", "two", 1))
    stage.until("register two", 2)

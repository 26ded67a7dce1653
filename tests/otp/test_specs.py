"""Child specs and flags: what is refused, in which order, and what the defaults are."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from attrs import evolve

from jidocode.base.refs import ActorRef
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.seconds import INFINITY
from jidocode.otp.supervision.dynamic_supervisor import DynamicFlags
from jidocode.otp.supervision.specs import (
    BRUTAL_KILL,
    AutoShutdown,
    ChildSpec,
    ChildType,
    Flags,
    Start,
    check_child,
    check_children,
    pack_children,
)
from jidocode.otp.supervision.strategy import Restart, Strategy
from tests.otp.machines import Pool, Tree, Worker, worker

HUGE = 10**400

BAD: dict[str, list[Any]] = {
    "id": ["", None, 7, b"a", ("a",)],
    "start": [None, "Worker", 7, int, Worker.init, Start(int), Start("Worker")],  # type: ignore[arg-type] # bad on purpose
    "restart": [None, "Permanent", True, []],
    "significant": [None, 1, "yes"],
    "type": [None, "Worker", Restart.PERMANENT],
    "shutdown": [None, -1, -0.5, math.nan, -math.inf, "5", True, HUGE, 1e10],
    "init_timeout": [None, 0, 0.0, -1, math.nan, "5", True, HUGE, 1e10],
    "name": ["ab", 7, ("a",), ("a", 1), ["a", "b"], ("a", "b", "c"), (b"a", b"b")],
}
ORDER = ["id", "start", "restart", "significant", "type", "shutdown", "init_timeout", "name"]


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in BAD.items() for value in values],
    ids=[f"{field} {number}" for field, values in BAD.items() for number in range(len(values))],
)
def test_bad_value_of_a_field_is_refused_by_name(field: str, value: Any) -> None:
    """A2: the error says which field, what was expected, and what came, in one short line."""
    fields: dict[str, Any] = {"id": "a", "start": Worker, field: value}

    with pytest.raises(InvalidChildSpecError, match=f"^{field} must |__main__") as caught:
        ChildSpec(**fields)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_first_broken_rule_in_otps_order_is_reported(first: int) -> None:
    """A2: id, start, restart, significant, type, shutdown; then our own fields."""
    fields: dict[str, Any] = {"id": "a", "start": Worker}
    fields |= {field: BAD[field][0] for field in ORDER[first:]}

    with pytest.raises(InvalidChildSpecError, match=f"^{ORDER[first]} must "):
        ChildSpec(**fields)


@pytest.mark.parametrize("missing", ["id", "start"])
def test_missing_and_unknown_fields_are_type_errors(missing: str) -> None:
    """A2: Python says it already, also for unknown ones, which OTP ignores."""
    fields: dict[str, Any] = {"id": "a", "start": Worker}

    with pytest.raises(TypeError, match=missing):
        ChildSpec(**{key: value for key, value in fields.items() if key != missing})
    fields["modules"] = ()
    with pytest.raises(TypeError, match="modules"):
        ChildSpec(**fields)


def test_defaults_are_otps() -> None:
    """A1: permanent worker, 5 s to stop; a supervisor has no limit."""
    spec = worker("a")
    supervisor = worker("b", type=ChildType.SUPERVISOR)

    assert (spec.restart, spec.type, spec.shutdown) == (Restart.PERMANENT, ChildType.WORKER, 5.0)
    assert (spec.significant, spec.init_timeout, spec.name) == (False, 10.0, None)
    assert supervisor.shutdown == INFINITY


@pytest.mark.parametrize("shutdown", [0, 0.0, 1, 2.5, 1e9, INFINITY, BRUTAL_KILL])
def test_good_shutdown_values(shutdown: Any) -> None:
    """A1: seconds, no limit, or at once."""
    assert worker("a", shutdown=shutdown).shutdown == shutdown


def test_class_of_a_user_gives_a_spec_of_its_own_kind() -> None:
    """A9: `child_spec` of the class, with overrides."""
    assert Worker.child_spec(1) == ChildSpec(id="worker", start=Start(Worker, 1))
    assert Worker.child_spec(id="x", restart=Restart.TEMPORARY).id == "x"
    for supervisor in (Tree, Pool):
        spec = supervisor.child_spec(1)
        assert (spec.id, spec.type) == (supervisor.kind, ChildType.SUPERVISOR)
        assert spec.start == Start(supervisor, 1)


def test_class_that_a_child_process_cannot_import_is_refused() -> None:
    """The error says what to do about a class of `__main__`, or of a function."""

    class Local(Worker):
        pass

    main = type("Mine", (Worker,), {"__module__": "__main__"})

    with pytest.raises(InvalidChildSpecError, match=r"Mine is defined in __main__.*move the class"):
        ChildSpec(id="a", start=main)
    with pytest.raises(InvalidChildSpecError, match=r"Local is defined in a function.*move"):
        ChildSpec(id="a", start=Local)


def test_permanent_child_cannot_be_significant() -> None:
    """A3: it never ends for good."""
    with pytest.raises(InvalidChildSpecError, match="a permanent child cannot be significant"):
        worker("a", significant=True)


def test_significant_child_needs_auto_shutdown() -> None:
    """A3: otherwise its significance would be lost in silence."""
    spec = worker("a", significant=True, restart=Restart.TRANSIENT)
    flags = Flags(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)

    assert check_child(spec, flags) is spec
    with pytest.raises(InvalidChildSpecError, match="child 'a' is significant"):
        check_children([spec], Flags())


def test_two_children_with_one_id_are_refused() -> None:
    """A4: nothing is started."""
    with pytest.raises(InvalidChildSpecError, match="two children have the id 'a'"):
        check_children([worker("a"), worker("b"), worker("a")], Flags())


@pytest.mark.parametrize("child", [None, "a", Worker, {"id": "a"}])
def test_child_that_is_no_spec_is_refused(child: object) -> None:
    """A2: a dict is no spec either."""
    with pytest.raises(InvalidChildSpecError, match="a child must be a ChildSpec"):
        check_children([child], Flags())


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("strategy", [None, "one for all", Restart.PERMANENT]),
        ("max_restarts", [None, -1, 1.0, True, "3"]),
        ("max_seconds", [None, 0, -1, math.nan, INFINITY, True, "5", HUGE]),
        ("auto_shutdown", [None, "Never", True]),
        ("backoff", [None, -1, math.nan, INFINITY, True, "0"]),
    ],
)
def test_bad_flags_are_refused_by_name(field: str, values: list[Any]) -> None:
    """A6: each flag with its own rule."""
    for value in values:
        with pytest.raises(InvalidChildSpecError, match=f"^{field} must be"):
            Flags(**{field: value})


def test_flags_default_to_three_restarts_in_five_seconds() -> None:
    """A6: Elixir's defaults, not OTP's."""
    flags = Flags()

    assert (flags.max_restarts, flags.max_seconds, flags.backoff) == (3, 5.0, 0.0)
    assert (flags.strategy, flags.auto_shutdown) == (Strategy.ONE_FOR_ONE, AutoShutdown.NEVER)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flags": None}, "flags must be Flags"),
        ({"flags": Flags(strategy=Strategy.ONE_FOR_ALL)}, "strategy is always ONE_FOR_ONE"),
        (
            {"flags": Flags(auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)},
            "auto_shutdown is always NEVER",
        ),
        ({"max_children": -1}, "max_children must be"),
        ({"max_children": True}, "max_children must be"),
        ({"max_children": 1.0}, "max_children must be"),
    ],
)
def test_bad_options_of_a_dynamic_supervisor_are_refused(
    fields: dict[str, Any], message: str
) -> None:
    """I1, G5: one_for_one only, and it never shuts down for a child."""
    with pytest.raises(InvalidChildSpecError, match=message):
        DynamicFlags(**fields)


def test_start_compares_by_what_it_runs() -> None:
    """Two starts of the same class with equal arguments are equal, also after a pickle."""
    start = Start(Worker, 1, depth=[2])

    assert start == pickle.loads(pickle.dumps(start))
    assert start != Start(Worker, 1)
    assert start != Worker
    assert repr(start) == "Start(Worker)"


def test_spec_crosses_a_process_boundary_unharmed() -> None:
    """A spec pickles with all its fields, `BRUTAL_KILL` and `INFINITY` included."""
    spec = worker("a", shutdown=BRUTAL_KILL, name=("k", "1"), value=ActorRef("k", 1, 2))
    copy = pickle.loads(pickle.dumps(spec))

    assert copy == spec
    assert copy.shutdown is BRUTAL_KILL
    assert evolve(copy, shutdown=INFINITY).shutdown == INFINITY


def test_members_of_enums_may_be_given_as_text() -> None:
    """Their own values, as they are in a file."""
    flags = Flags(strategy="rest_for_one", auto_shutdown="any_significant")
    spec = ChildSpec(id="a", start=Worker, restart="transient", type="supervisor")

    assert (flags.strategy, flags.auto_shutdown) == (
        Strategy.REST_FOR_ONE,
        AutoShutdown.ANY_SIGNIFICANT,
    )
    assert (spec.restart, spec.type) == (Restart.TRANSIENT, ChildType.SUPERVISOR)
    assert spec.shutdown == INFINITY


class Unpicklable:
    """Says so at length."""

    def __reduce__(self) -> str:
        raise ValueError("x" * 1_000_000)


def test_children_that_cannot_be_pickled_are_refused_in_bounded_words() -> None:
    """With the type of what was raised, and bounded, whatever it says."""
    spec = ChildSpec(id="a", start=Start(Worker, Unpicklable()))
    with pytest.raises(InvalidChildSpecError, match="cannot be pickled: ValueError: xxx") as bad:
        pack_children((spec,))

    assert len(str(bad.value)) < 20_000

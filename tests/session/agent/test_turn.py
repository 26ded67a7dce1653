"""A turn, step by step, and in every order of events."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jidocode.errors import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelError,
    ModelInterruptedError,
    ModelRequestError,
    ModelUnavailableError,
)
from jidocode.session.agent.message import CalledTool
from jidocode.session.agent.model import (
    Delta,
    ReasoningDelta,
    Stop,
    StopReason,
    TextDelta,
    TokenUsage,
    ToolCallDelta,
)
from jidocode.session.agent.turn import (
    Action,
    AnswerCall,
    AskModel,
    Came,
    Cancel,
    EndTurn,
    KeepMessage,
    ModelEnded,
    ModelFailed,
    RunTools,
    StopModel,
    StopTools,
    TimeUp,
    ToolEnded,
    ToolLost,
    Turn,
    TurnLimits,
    TurnOutcome,
)

TOOLS = {"read": True, "grep": True, "write": False, "run": False}


def begun(limits: TurnLimits | None = None) -> Turn:
    numbers = itertools.count(1)
    turn = Turn(TOOLS, limits or TurnLimits(), lambda: f"ours-{next(numbers)}", {"old"})
    assert turn.start() == [AskModel()]
    return turn


def answer(turn: Turn, *deltas: Delta, stop: StopReason | None = StopReason.END) -> list[Action]:
    """Have the model answer so."""
    for delta in deltas:
        assert turn.handle(Came(delta)) == []
    if stop is not None:
        turn.handle(Came(Stop(stop)))
    return turn.handle(ModelEnded())


def call(index: int, name: str, arguments: str = "{}", call_id: str = "") -> ToolCallDelta:
    return ToolCallDelta(index, call_id or f"c{index}", name, arguments)


def ran(actions: list[Action]) -> list[str]:
    return [each.id for action in actions if isinstance(action, RunTools) for each in action.calls]


def outcome(actions: list[Action]) -> TurnOutcome | None:
    return next((each.outcome for each in actions if isinstance(each, EndTurn)), None)


def test_a_turn_without_tools() -> None:
    """What the model said is kept, and the turn is over."""
    turn = begun()
    kept, end = answer(turn, ReasoningDelta("hm"), TextDelta("yes"), TokenUsage(output_tokens=3))

    assert isinstance(kept, KeepMessage)
    assert (kept.message.text, kept.message.reasoning, kept.is_whole) == ("yes", "hm", True)
    assert end == EndTurn(TurnOutcome.END)
    assert (turn.outcome, turn.tokens) == (TurnOutcome.END, 3)
    assert turn.handle(Cancel()) == []


def test_tools_that_only_read_run_side_by_side() -> None:
    """The others one after the other, all in the model's order."""
    turn = begun()
    names = ["read", "grep", "write", "run", "read"]
    actions = answer(turn, *[call(i, name) for i, name in enumerate(names)])
    batches = [ran(actions)]
    while batches[-1]:
        done = [turn.handle(ToolEnded(each)) for each in reversed(batches[-1])]
        assert all(each == [] for each in done[:-1])
        actions = done[-1]
        batches.append(ran(actions))

    assert batches == [["c0", "c1"], ["c2"], ["c3"], ["c4"], []]
    assert actions == [AskModel()]


def test_a_call_that_was_lost_is_answered() -> None:
    """By whoever has asked for it; the turn goes on when all have a result."""
    turn = begun()
    answer(turn, call(0, "read"), call(1, "read"))
    (lost,) = turn.handle(ToolLost("c0"))

    assert isinstance(lost, AnswerCall)
    assert (lost.call.id, "may be done" in lost.content) == ("c0", True)
    assert turn.handle(ToolLost("c0")) == []
    assert turn.handle(ToolEnded("c1")) == [AskModel()]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (call(0, "raed"), "there is no tool 'raed'; did you mean read?"),
        (call(0, ""), "there is no tool ''; there are read, grep, write, run"),
        (call(0, "read", "{"), "the arguments are no JSON: json.decoder.JSONDecodeError: E"),
        (call(0, "read", "[1]"), "the arguments must be a JSON object, not a value of type list"),
        (call(0, "x" * 1_000_000), "there is no tool"),
        (call(0, "read", "[" * 1_000_000), "the arguments are no JSON"),
    ],
)
def test_what_makes_no_sense_is_told_to_the_model(wrong: ToolCallDelta, said: str) -> None:
    """It is asked again; calls beside it are made."""
    turn = begun()
    _, answered, running = answer(turn, wrong, call(1, "read"))

    assert isinstance(answered, AnswerCall)
    assert answered.content.startswith(said)
    assert len(answered.content) < 500
    assert ran([running]) == ["c1"]
    assert turn.handle(ToolEnded("c1")) == [AskModel()]

    _, answered, again = answer(turn, wrong)
    assert (type(answered), again) == (AnswerCall, AskModel())


def test_calls_of_an_answer_that_was_cut_off_are_made_if_they_are_whole() -> None:
    """The other one is told why it was not."""
    turn = begun()
    whole, cut = call(0, "read", '{"path": "a"}'), call(1, "write", '{"path": "b')
    actions = answer(turn, whole, cut, stop=StopReason.LENGTH)

    (told,) = [each for each in actions if isinstance(each, AnswerCall)]
    assert "cut off" in told.content
    assert ran(actions) == ["c0"]


def test_nothing_as_arguments_is_an_empty_object() -> None:
    """As some servers send for a tool that takes none."""
    assert ran(answer(begun(), call(0, "read", ""))) == ["c0"]


@pytest.mark.parametrize(
    ("stop", "deltas", "expected"),
    [
        (StopReason.END, [], TurnOutcome.EMPTY),
        (StopReason.END, [ReasoningDelta("hm")], TurnOutcome.EMPTY),
        (StopReason.TOOL_CALLS, [TextDelta("x")], TurnOutcome.END),
        (None, [TextDelta("x")], TurnOutcome.END),
        (StopReason.LENGTH, [TextDelta("x")], TurnOutcome.LENGTH),
        (StopReason.CONTENT_FILTER, [], TurnOutcome.CONTENT_FILTER),
        (StopReason.REFUSAL, [TextDelta("no")], TurnOutcome.REFUSAL),
        (StopReason.CONTENT_FILTER, [call(0, "write")], TurnOutcome.CONTENT_FILTER),
    ],
)
def test_how_answers_end_turns(
    stop: StopReason | None, deltas: list[Delta], expected: TurnOutcome
) -> None:
    """And no call is made of an answer that its server did not want."""
    actions = answer(begun(), *deltas, stop=stop)

    assert outcome(actions) == expected
    assert ran(actions) == []


@pytest.mark.parametrize("stop", [StopReason.END, StopReason.TOOL_CALLS, None])
def test_calls_are_made_whatever_the_server_says_of_the_end(stop: StopReason | None) -> None:
    """Some say that it has just ended, or nothing."""
    assert ran(answer(begun(), call(0, "read"), stop=stop)) == ["c0"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelInterruptedError("cut"), TurnOutcome.INTERRUPTED),
        (ContextOverflowError("long", 400), TurnOutcome.CONTEXT_OVERFLOW),
        (ModelAuthenticationError("key", 401), TurnOutcome.AUTHENTICATION),
        (ModelRequestError("no", 400), TurnOutcome.BAD_REQUEST),
        (ModelUnavailableError("busy", 429), TurnOutcome.UNAVAILABLE),
        (ModelError("?"), TurnOutcome.FAILED),
    ],
)
def test_how_failures_end_turns(error: ModelError, expected: TurnOutcome) -> None:
    """Nothing is kept of an answer that never began."""
    assert begun().handle(ModelFailed(error)) == [EndTurn(expected, error)]


def test_what_came_of_an_answer_that_broke_off_is_kept() -> None:
    """Its calls are answered, and not made."""
    turn = begun()
    turn.handle(Came(TextDelta("I will")))
    turn.handle(Came(call(0, "write", '{"pa')))
    kept, told, end = turn.handle(ModelFailed(ModelInterruptedError("cut")))

    assert isinstance(kept, KeepMessage)
    assert (kept.message.text, kept.is_whole) == ("I will", False)
    assert isinstance(told, AnswerCall)
    assert (told.call.id, outcome([end])) == ("c0", TurnOutcome.INTERRUPTED)


@pytest.mark.parametrize(
    ("event", "expected"),
    [(Cancel(), TurnOutcome.CANCELLED), (TimeUp(), TurnOutcome.TIMEOUT)],
)
def test_a_turn_is_broken_off_in_the_middle_of_an_answer(
    event: Cancel | TimeUp, expected: TurnOutcome
) -> None:
    """The request is ended first."""
    turn = begun()
    turn.handle(Came(TextDelta("I")))
    stopped, kept, end = turn.handle(event)

    assert (stopped, type(kept), outcome([end])) == (StopModel(), KeepMessage, expected)
    assert turn.handle(ModelFailed(ModelInterruptedError("cancelled"))) == []
    assert turn.handle(Came(TextDelta("late"))) == []


def test_a_turn_is_broken_off_while_tools_run() -> None:
    """Every call has its result, made or not; a late one does nothing."""
    turn = begun()
    answer(turn, call(0, "read"), call(1, "read"), call(2, "write"))
    turn.handle(ToolEnded("c0"))
    actions = turn.handle(Cancel())

    told = [each for each in actions if isinstance(each, AnswerCall)]
    assert actions[0] == StopTools(("c1",))
    assert [(each.call.id, each.content) for each in told] == [
        ("c1", "the turn was cancelled: the call was not finished"),
        ("c2", "the call was not made: the turn was cancelled"),
    ]
    assert turn.handle(ToolEnded("c1")) == []


@pytest.mark.parametrize("event", [Cancel(), TimeUp()])
def test_a_call_that_waits_for_permission_was_not_made(event: Cancel | TimeUp) -> None:
    """One that has got it may be done in part; after the end of the turn none gets it."""
    why = {Cancel(): "the turn was cancelled", TimeUp(): "the turn took longer than it may"}[event]
    waits, runs = begun(), begun()
    for turn in (waits, runs):
        answer(turn, call(0, "write"))
        turn.await_permission("c0")
    assert runs.may_start("c0")

    told = [
        each.content
        for turn in (waits, runs)
        for each in turn.handle(event)
        if isinstance(each, AnswerCall)
    ]
    assert told == [f"the call was not made: {why}", f"{why}: the call may be done in part"]
    assert not any(turn.may_start("c0") for turn in (waits, runs))


def test_a_model_is_asked_no_more_than_it_may() -> None:
    """Its last calls are made."""
    turn = begun(TurnLimits(max_turns=2))
    answer(turn, call(0, "read"))
    assert turn.handle(ToolEnded("c0")) == [AskModel()]
    assert ran(answer(turn, call(0, "read", call_id="d"))) == ["d"]
    assert turn.handle(ToolEnded("d")) == [EndTurn(TurnOutcome.MAX_TURNS)]


def test_tokens_are_bounded() -> None:
    """Whatever more the model wants is not done."""
    turn = begun(TurnLimits(max_tokens=100))
    usage = TokenUsage(input_tokens=40, output_tokens=10)
    answer(turn, call(0, "read"), usage)
    turn.handle(ToolEnded("c0"))
    actions = answer(turn, call(0, "read", call_id="d"), usage)

    assert (outcome(actions), ran(actions)) == (TurnOutcome.MAX_TOKENS, [])
    assert turn.tokens == 100


def test_the_same_again_and_again_ends_the_turn() -> None:
    """In whatever spelling; something else in between begins anew."""
    turn = begun(TurnLimits(max_repeats=2))

    def want(arguments: str) -> TurnOutcome | None:
        actions = answer(turn, call(0, "read", arguments, f"id{len(ids)}"))
        ids.extend(ran(actions))
        if ran(actions):
            assert turn.handle(ToolEnded(ids[-1])) == [AskModel()]
        return outcome(actions)

    ids: list[str] = []
    said = ['{"a":1,"b":2}', '{"b": 2, "a": 1}', '{"a":2}', '{"a":2}', '{"a": 2}']
    outcomes = [want(arguments) for arguments in said]
    assert outcomes == [None, None, None, None, TurnOutcome.REPEATED]


def test_ids_that_come_again_are_replaced() -> None:
    """Some servers count the calls of each answer from 1."""
    turn = begun()
    first = ran(answer(turn, call(0, "read", call_id="call_1"), call(1, "read", call_id="old")))
    for each in first:
        turn.handle(ToolEnded(each))
    second = ran(answer(turn, call(0, "write", call_id="call_1")))

    assert (first, second) == (["call_1", "ours-1"], ["ours-2"])


class Turns(RuleBasedStateMachine):
    """Any events in any order: what was said to be done is checked as the one who does it would."""

    def __init__(self) -> None:
        super().__init__()
        limits = TurnLimits(max_turns=4, max_tokens=500, max_repeats=2)
        numbers = itertools.count(1)
        self.turn = Turn(TOOLS, limits, lambda: f"ours-{next(numbers)}")
        self.asking = False
        self.running = set[str]()
        self.ended = False
        self.wanted = dict[str, CalledTool]()
        self.results = Counter[str]()
        self.asked = 0
        self.do(self.turn.start())

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            assert not self.ended, "nothing is done after the end"
            match action:
                case AskModel():
                    assert not self.running
                    assert not self.asking
                    self.all_answered()
                    self.asking, self.asked = True, self.asked + 1
                case StopModel():
                    assert self.asking
                    self.asking = False
                case KeepMessage(message):
                    for each in message.tool_calls:
                        assert each.id not in self.wanted
                        self.wanted[each.id] = each
                case RunTools(calls):
                    assert calls
                    assert not self.running
                    assert len(calls) == 1 or all(TOOLS[each.name] for each in calls)
                    assert all(self.results[each.id] == 0 for each in calls)
                    self.running = {each.id for each in calls}
                case StopTools(call_ids):
                    assert self.running == set(call_ids)
                    self.running = set[str]()
                case AnswerCall(called):
                    self.results[called.id] += 1
                case EndTurn():
                    assert not self.running
                    assert not self.asking
                    self.all_answered()
                    self.ended = True

    def all_answered(self) -> None:
        assert self.results == Counter(self.wanted.keys())

    @rule(
        index=st.integers(0, 3),
        call_id=st.sampled_from(["", "a", "b"]),
        name=st.sampled_from(["read", "grep", "write", "run", "walk", ""]),
        arguments=st.sampled_from(["{}", "", "{", '{"a":1}', "[]"]),
    )
    def tool_call_comes(self, index: int, call_id: str, name: str, arguments: str) -> None:
        self.do(self.turn.handle(Came(ToolCallDelta(index, call_id, name, arguments))))

    @rule(text=st.sampled_from(["", "yes"]), tokens=st.integers(0, 200))
    def text_comes(self, text: str, tokens: int) -> None:
        self.do(self.turn.handle(Came(TextDelta(text))))
        self.do(self.turn.handle(Came(TokenUsage(output_tokens=tokens))))

    @rule(stop=st.none() | st.sampled_from(StopReason))
    def model_ends(self, stop: StopReason | None) -> None:
        if stop is not None:
            self.do(self.turn.handle(Came(Stop(stop))))
        self.asking = False
        self.do(self.turn.handle(ModelEnded()))

    @rule(cut=st.booleans())
    def model_fails(self, *, cut: bool) -> None:
        error = ModelInterruptedError("cut") if cut else ModelUnavailableError("busy", 429)
        self.asking = False
        self.do(self.turn.handle(ModelFailed(error)))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def tool_ends(self, data: st.DataObject) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(call_id)
        self.results[call_id] += 1
        self.do(self.turn.handle(ToolEnded(call_id)))

    @rule(call_id=st.sampled_from(["a", "nobody"]))
    def tool_that_does_not_run_ends(self, call_id: str) -> None:
        if call_id not in self.running:
            self.do(self.turn.handle(ToolEnded(call_id)))

    @rule(too_late=st.booleans())
    def it_is_broken_off(self, *, too_late: bool) -> None:
        self.do(self.turn.handle(TimeUp() if too_late else Cancel()))

    @invariant()
    def something_is_under_way_until_the_end(self) -> None:
        assert self.ended == (self.turn.outcome is not None)
        assert self.ended or self.asking or self.running, "a turn never waits for nothing"
        assert self.asked <= 4


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=60, stateful_step_count=25)

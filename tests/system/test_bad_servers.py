"""A server that answers as nobody should: each turn ends and says why, and its agent goes on."""

from __future__ import annotations

from pathlib import Path

from model_servers import HEAD, Answer, Step, event, said, serving, status
from sessions import history_of, pids_of

from jidocode import ModelSpec, SessionSystem, TurnOutcome, allow_all

LETTER = event(content="a")
DRIBBLE: Answer = [step for _ in range(300) for step in (b"x", Step.PAUSE)]
BAD: list[tuple[str, Answer, TurnOutcome]] = [
    ("half an event", [HEAD, LETTER, b'data: {"choices": [{"ind'], TurnOutcome.INTERRUPTED),
    ("garbage", [HEAD, LETTER, b"data: {\xff\xfe\x00}\n\n"], TurnOutcome.INTERRUPTED),
    ("a stall", [HEAD, LETTER, Step.STALL], TurnOutcome.INTERRUPTED),
    ("no end", [HEAD, LETTER], TurnOutcome.INTERRUPTED),
    ("a reset", [HEAD, LETTER, Step.RESET], TurnOutcome.INTERRUPTED),
    ("one byte at a time", [HEAD, LETTER, b"data: ", *DRIBBLE], TurnOutcome.INTERRUPTED),
    ("no answer", status(400), TurnOutcome.BAD_REQUEST),
    ("no key", status(401), TurnOutcome.AUTHENTICATION),
    ("nothing said", said(), TurnOutcome.EMPTY),
]


def test_each_has_an_outcome_and_none_ends_the_agent(project: Path) -> None:
    """What came is kept, and can be sent again; after all of them the next answer is whole."""
    with serving([*[answer for _, answer, _ in BAD], said(event(content="well"))]) as server:
        options = {"model": "m", "base_url": server.url, "api_key": "none"}
        times = {"idle_timeout": 1.0, "total_timeout": 2.0}
        with SessionSystem(
            model=ModelSpec(options={**options, **times}), policy=allow_all, durability="memory"
        ) as system:
            session = system.create_session(project)
            pids = set[int]()
            for what, _, outcome in BAD:
                result = session.agent.prompt("say it").result()
                assert result.outcome is outcome, what
                assert result.text == ("a" if outcome is TurnOutcome.INTERRUPTED else ""), what
                history_of(session)
                pids.add(pids_of(session)["agent"])
            assert session.agent.prompt("say it").result().text == "well"
            assert pids == {pids_of(session)["agent"]}

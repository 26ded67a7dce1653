"""Who logs what, and that it arrives: of the app's own children, and of supervision."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from apps import run_app
from loguru import logger
from odd import Keeper, Teller
from servers import worker

from jidocode import SessionHandle, SessionSystem, Strategy
from jidocode.otp import ChildSpec, Flags, Restart, Start
from jidocode.testing import eventually, kill, wait_for_restart

Records = list[dict[str, Any]]
NO_EXTRA: dict[str, object] = {}


@contextmanager
def sink(**options: Any) -> Generator[Records]:
    """Collect what the app's loguru gets while the block runs; jidocode is as it was."""
    records: Records = []
    options = {"level": 0, "catch": False, **options}
    number = logger.add(lambda message: records.append(dict(message.record)), **options)
    try:
        yield records
    finally:
        logger.remove(number)


@pytest.fixture
def records() -> Iterator[Records]:
    """What arrives in an app that has said nothing about jidocode."""
    with sink() as records:
        yield records


@pytest.fixture
def enabled() -> Iterator[Records]:
    """What arrives in an app that has enabled jidocode."""
    logger.enable("jidocode")
    with sink() as records:
        yield records
    logger.disable("jidocode")


@pytest.fixture
def teller(system: SessionSystem, project: Path) -> SessionHandle:
    """A session with a child that logs what it is told."""
    return system.create_session(project, children=[Teller.child_spec(id="teller")])


def _find(records: Records, text: str) -> Callable[[], dict[str, Any] | None]:
    return lambda: next((each for each in list(records) if text in each["message"]), None)


# ----- children ---------------------------------------------------------------------


def test_a_record_of_a_child_arrives_whatever_was_said_of_jidocode(
    teller: SessionHandle, records: Records
) -> None:
    """It is the app's own: with its level, its module and what was bound to it."""
    for level in ("DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR"):
        teller.call("teller", ("loguru", level, f"{level}: sold out", {"order": "7"}))
        record = eventually(_find(records, f"{level}: sold out"), "the record")

        assert record["level"].name == level
        assert record["name"] == "odd"
        assert record["function"] == "handle_call"
        assert record["extra"]["order"] == "7"


def test_what_is_bound_to_a_record_keeps_its_type(teller: SessionHandle, records: Records) -> None:
    """As far as JSON has it; what is too long for a line arrives as its beginning."""
    extra = {"n": 7, "x": 0.5, "yes": True, "no": None, "huge": 10**30, "path": Path("/shop")}
    teller.call("teller", ("loguru", "INFO", "sold out", extra))
    record = eventually(_find(records, "sold out"), "the record")

    expected = extra | {"huge": str(10**30), "path": "/shop"}
    assert {key: record["extra"][key] for key in expected} == expected


def test_a_record_says_where_it_was_written(teller: SessionHandle, records: Records) -> None:
    """In which file and line of the child's."""
    teller.call("teller", ("loguru", "INFO", "sold out", NO_EXTRA))
    teller.call("teller", ("logging", "shop.stock", 20, "come back", NO_EXTRA))
    places = [eventually(_find(records, text), text) for text in ("sold out", "come back")]
    source = Path(places[0]["file"].path).read_text(encoding="utf-8").splitlines()

    assert [each["file"].name for each in places] == ["odd.py", "odd.py"]
    assert "logger.bind(**extra).log(level, text)" in source[places[0]["line"] - 1]
    assert "logging.getLogger(name).log(level" in source[places[1]["line"] - 1]


def test_a_level_that_a_child_sets_stays(teller: SessionHandle, records: Records) -> None:
    """For one of its loggers, up or down; for all others it is INFO."""
    teller.call("teller", ("level", "shop.stock", 10))
    teller.call("teller", ("level", "shop.noise", 40))
    for name, number in (("shop.stock", 10), ("shop.noise", 30), ("shop", 10), ("shop", 20)):
        teller.call("teller", ("logging", name, number, f"{name} {number}", NO_EXTRA))
    eventually(_find(records, "shop 20"), "the last record")

    assert [each["message"] for each in records] == ["shop.stock 10", "shop 20"]


def test_a_record_of_a_childs_standard_logger_arrives(
    teller: SessionHandle, records: Records
) -> None:
    """With its own name and level, and its extras."""
    levels = {20: "INFO", 25: "Level 25", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
    for number, level in levels.items():
        text = f"{number}: sold out"
        teller.call("teller", ("logging", "shop.stock", number, text, {"order": "7"}))
        record = eventually(_find(records, text), "the record")

        assert (record["level"].no, record["level"].name) == (number, level)
        assert record["name"] == "shop.stock"
        assert record["function"] == "handle_call"
        assert record["extra"]["order"] == "7"


def test_a_traceback_of_a_childs_standard_logger_arrives(
    teller: SessionHandle, records: Records
) -> None:
    """As part of the text."""
    teller.call("teller", ("logging error", "shop.stock"))
    record = eventually(_find(records, "no luck"), "the record")

    assert "KeyError: 'OUT OF STOCK'" in record["message"]
    assert record["name"] == "shop.stock"


def test_records_of_both_kinds_arrive_in_order(teller: SessionHandle, records: Records) -> None:
    """From one process."""
    teller.call("teller", ("both", 40))
    eventually(_find(records, "line 39"), "the last record")
    texts = [each["message"] for each in records if each["message"].startswith("line")]

    assert texts == [f"line {number}" for number in range(40)]


@pytest.mark.parametrize("kind", ["loguru", "logging"])
def test_an_app_silences_a_childs_module_by_its_own_name(
    teller: SessionHandle, records: Records, kind: str
) -> None:
    """And no other with it."""
    name = "odd" if kind == "loguru" else "shop.stock"
    level: object = "INFO" if kind == "loguru" else 20
    first = (kind, level) if kind == "loguru" else (kind, name, level)
    logger.disable(name)
    try:
        teller.call("teller", (*first, "unheard", NO_EXTRA))
        teller.call("teller", ("logging", "another", 40, "heard", NO_EXTRA))
        eventually(_find(records, "heard"), "the other record")
    finally:
        logger.enable(name)

    assert "unheard" not in [each["message"] for each in records]


def test_a_sinks_filter_sees_a_childs_own_name(teller: SessionHandle) -> None:
    """Not the name of what brings it here."""
    for only, expected in (("shop", True), ("odd", False), ("jidocode", False)):
        with sink(filter=only) as filtered, sink() as everything:
            teller.call("teller", ("logging", "shop.stock", 40, "sold out", NO_EXTRA))
            eventually(_find(everything, "sold out"), "the record")

        assert bool(_find(filtered, "sold out")()) is expected, only


def test_nothing_of_jidocode_is_heard_unasked(
    system: SessionSystem, project: Path, records: Records
) -> None:
    """Not a word, whatever happens."""
    session = system.create_session(project, children=[Teller.child_spec(id="teller")])
    down = kill(system, session, "manager")
    wait_for_restart(system, session, "manager", after=down.ref)
    session.call("teller", ("logging", "another", 40, "heard", NO_EXTRA))
    eventually(_find(records, "heard"), "the other record")

    assert [each["message"] for each in records if each["name"].startswith("jidocode")] == []


# ----- enabling ------------------------------------------------------------------------

ENABLE = {
    "before": "logger.enable('jidocode'); import jidocode",
    "after": "import jidocode; logger.enable('jidocode')",
    "before a part of it": "logger.enable('jidocode'); import jidocode.system.settings",
    "before, all": "logger.enable(''); import jidocode",
    "before, a part": "logger.enable('jidocode.system'); import jidocode",
    "after, a part": "import jidocode; logger.enable('jidocode.system')",
    "before, another part": "logger.enable('jidocode.otp'); import jidocode",
    "before, all but a part": (
        "logger.enable('jidocode'); logger.disable('jidocode.system'); import jidocode"
    ),
    "never": "import jidocode",
    "and undone": "logger.enable('jidocode'); import jidocode; logger.disable('jidocode')",
    "late": "import jidocode; jidocode.Settings(); logger.enable('jidocode')",
}


@pytest.mark.parametrize("when", ENABLE)
@pytest.mark.parametrize("order", ["loguru first", "jidocode first"])
def test_enabling_holds_whenever_it_is_said(when: str, order: str) -> None:
    """Before the import as after it."""
    code = f"""
        {"import jidocode" if order == "jidocode first" else ""}
        import sys
        from loguru import logger
        logger.remove()
        logger.add(sys.stdout, format="{{name}}: {{message}}")
        {ENABLE[when]}
        import os
        os.environ["JIDOCODE_NO_SETTING"] = "1"
        jidocode.Settings.load()
        jidocode.Settings.load()
    """
    outcome = run_app(code, env={"JIDOCODE_MAX_SESSIONS": "1"})
    quiet = when in {
        "before, all",  # loguru does not keep that it was said
        "before, all but a part",
        "before, another part",
        "never",
        "and undone",
    }

    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout.count("JIDOCODE_NO_SETTING") == (0 if quiet else 2)


# ----- supervision -----------------------------------------------------------------------


def _crash(system: SessionSystem, session: SessionHandle, kind: str) -> None:
    down = kill(system, session, kind)
    wait_for_restart(system, session, kind, after=down.ref)


def _about(records: Records, level: str, *words: str) -> Callable[[], dict[str, Any] | None]:
    def look() -> dict[str, Any] | None:
        for each in list(records):
            text = f"{each['message']} {each['extra']}"
            ours = each["name"].startswith("jidocode") and each["level"].name == level
            if ours and all(word in text for word in words):
                return each
        return None

    return look


def test_a_crash_is_reported(system: SessionSystem, project: Path, enabled: Records) -> None:
    """At error, with the reason, and which restart it is (OTP: supervisor report)."""
    session = system.create_session(project, strategy=Strategy.ONE_FOR_ONE)
    for count in ("1", "2", "3"):
        _crash(system, session, "manager")
        eventually(
            _about(enabled, "ERROR", session.id, "manager", "killed by signal 9", count, "3"),
            f"report {count}",
        )

    reports = [each for each in enabled if each["level"].name == "ERROR"]
    assert len(reports) == 3


def test_giving_up_is_reported(system: SessionSystem, project: Path, enabled: Records) -> None:
    """With the reason, and how many restarts in how many seconds were too many."""
    flags = Flags(max_restarts=1, max_seconds=5)
    session = system.create_session(project, strategy=flags)
    _crash(system, session, "manager")
    os.kill(system.get_process(session.id, "state").os_pid, signal.SIGKILL)
    report = eventually(_about(enabled, "ERROR", session.id, "gave up"), "the report")

    text = f"{report['message']} {report['extra']}"
    for word in ("state", "killed by signal 9", "1", "5"):
        assert word in text
    eventually(lambda: session.id not in [each.id for each in system.list_sessions()], "its end")


def test_progress_is_reported_at_debug(
    system: SessionSystem, project: Path, enabled: Records
) -> None:
    """Of every child, with its process (OTP: progress report)."""
    session = system.create_session(project)
    for kind in ("manager", "state"):
        pid = system.get_process(session.id, kind).os_pid
        eventually(_about(enabled, "DEBUG", session.id, kind, str(pid)), f"progress of {kind}")


def test_a_crash_with_an_exception_is_reported_with_it(
    system: SessionSystem, project: Path, enabled: Records
) -> None:
    """Once, and with its traceback, which is not part of the line: a user's text may be in it."""
    session = system.create_session(project, children=[worker("worker")])
    ref = system.get_process(session.id, "worker")
    with pytest.raises(Exception, match="told to raise"):
        session.call("worker", "raise")
    wait_for_restart(system, session, "worker", after=ref)
    eventually(_about(enabled, "ERROR", "worker", "told to raise"), "the report")

    (report,) = [each for each in enabled if each["level"].no >= 30]
    assert "told to raise" in report["message"]
    assert "Traceback" in report["extra"]["traceback"]
    assert "Traceback" not in report["message"]


@pytest.mark.parametrize("fails", ["init", "root", "registry"])
def test_other_ends_are_reported(
    system: SessionSystem, project: Path, enabled: Records, fails: str
) -> None:
    """A start that failed, and ends outside of any session."""
    session = system.create_session(project)
    if fails == "init":
        with pytest.raises(Exception, match="told to fail"):
            session.start_child(ChildSpec(id="odd one", start=Start(Keeper, "", fails=True)))
        words = ["odd one", "told to fail"]
    else:
        tree = system.tree()
        node = tree if fails == "root" else next(n for n in tree.children if n.id == "registry")
        assert node.ref is not None
        os.kill(node.ref.os_pid, signal.SIGKILL)
        words = ["killed by signal 9"]

    eventually(_about(enabled, "ERROR", *words), "the report")


def test_what_ends_in_order_is_no_error(
    system: SessionSystem, project: Path, enabled: Records
) -> None:
    """A session that is stopped, a child that is, and one that was to run once."""
    once = ChildSpec(id="once", start=worker("x").start, restart=Restart.TEMPORARY)
    session = system.create_session(project, children=[worker("worker"), once])
    session.call("once", "stop")
    session.terminate_child("worker")
    session.stop()
    system.close()

    assert [each["message"] for each in enabled if each["level"].no >= 30] == []

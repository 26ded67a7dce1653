"""What Prometheus reads of a real system, by its own client library."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from colleagues import colleagues
from loops import OnAsyncio, OnTrio, Runner
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from servers import GATE, READ, Gated, worker

from jidocode import (
    AsyncSessionSystem,
    Completion,
    FileTooLargeError,
    HostError,
    SessionHandle,
    SessionLimitError,
    SessionSystem,
    Usage,
)
from jidocode.metrics.labels import OTHER, Bounded
from jidocode.metrics.prometheus import SystemCollector
from jidocode.testing import eventually, kill, wait_for_restart


class Page:
    """What a registry shows.

    Attributes:
        registry: It, with one collector.
    """

    def __init__(self, collector: SystemCollector) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(collector)

    def __call__(self, name: str, **labels: str) -> float | None:
        """Return one sample, if there is one."""
        return self.registry.get_sample_value(f"jidocode_{name}", labels)

    def labels(self) -> set[tuple[str, str]]:
        """Return all labels and their values."""
        return {
            label
            for family in self.registry.collect()
            for sample in family.samples
            for label in sample.labels.items()
        }


@pytest.fixture
def page(system: SessionSystem) -> Iterator[Page]:
    """A page about the system."""
    with SystemCollector(system) as collector:
        yield Page(collector)


def test_a_page_is_scraped_over_http(page: Page, session: SessionHandle) -> None:
    """It parses, each name once, and has the figures of the system."""
    session.manager.list_directory()
    server, thread = start_http_server(0, addr="127.0.0.1", registry=page.registry)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation.endswith(".") for family in families)
    samples = {sample.name: sample.value for family in families for sample in family.samples}
    assert samples["jidocode_up"] == 1.0
    assert samples["jidocode_sessions"] == 1.0
    assert samples["jidocode_processes"] >= 5
    assert session.id not in text


def test_the_names_on_the_page_are_those_that_are_scraped(page: Page) -> None:
    """Each of them; and they end as Prometheus wants it, by what is counted or by the unit."""
    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text("utf-8")
    told = set(re.findall(r"`((?:jidocode|gen_ai_client)_\w+)`", text))
    found = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in page.registry.collect()
    }

    assert set(found) == told
    for name, kind in found.items():
        assert name.endswith("_total") is (kind == "counter")
        is_measured = kind == "histogram" and name != "gen_ai_client_token_usage"
        assert name.endswith("_seconds") is is_measured
        assert name.endswith("_bytes") is ("memory" in name)


def test_calls_are_counted_by_target_operation_and_outcome(
    page: Page, session: SessionHandle, project: Path
) -> None:
    """Also those that are refused; and timed."""
    (project / "big").write_bytes(bytes(20_000_000))
    for _ in range(3):
        session.state.append_message("user", "x")
    with pytest.raises(FileTooLargeError):
        session.manager.read_bytes("big")

    asked = {"target": "state", "operation": "append_message"}
    assert page("calls_total", **asked, outcome="ok") == 3
    assert page("call_duration_seconds_count", **asked) == 3
    assert 0 < (page("call_duration_seconds_sum", **asked) or 0) < 30
    refused = {"target": "manager", "operation": "read_bytes", "outcome": "FileTooLargeError"}
    assert page("calls_total", **refused) == 1


def test_a_restart_is_counted_with_its_reason_and_the_time_it_took(
    page: Page, system: SessionSystem, session: SessionHandle
) -> None:
    """That of a sibling, which was stopped for it, too."""
    wait_for_restart(system, session, "manager", after=kill(system, session, "manager").ref)

    eventually(lambda: page("restarts_total", kind="state") == 1)
    assert page("restarts_total", kind="manager") == 1
    assert page("exits_total", kind="manager", reason="SIGKILL") == 1
    assert page("exits_total", kind="state", reason="shutdown") == 1
    assert page("restart_duration_seconds_count", kind="manager") == 1
    assert page("starts_total", kind="session") == 1
    assert page("sessions_by_status", status="healthy") == 1
    assert (page("process_memory_bytes", kind="manager") or 0) > 100_000


def test_commands_are_counted_once_by_how_they_end(page: Page, session: SessionHandle) -> None:
    """However often their result is asked for."""
    session.run("true")
    session.run("exit 3")
    session.run("sleep 60", timeout=0.05)
    handle = session.commands.start(["sleep", "60"])
    handle.cancel()
    handle.wait()
    handle.wait()

    found = {end: page("commands_total", outcome=end) for end in ("ok", "failed", "timed_out")}
    assert found == {"ok": 1, "failed": 1, "timed_out": 1}
    assert page("commands_total", outcome="cancelled") == 1
    assert page("command_duration_seconds_count") == 4


def test_what_models_take_is_counted_by_model_and_type(page: Page, session: SessionHandle) -> None:
    """By the names of OpenTelemetry's conventions; what nobody has counted is not counted."""
    usage = Usage(input_tokens=40, cached_tokens=30, output_tokens=2, seconds=1.5)
    for model in ("large", "large", ""):
        session.state.add_usage(Completion(model=model, usage=usage))
    session.state.add_usage(Completion(model="large", usage=Usage()))

    def sample(name: str, of: str | None = None, model: str = "large") -> float | None:
        labels = {"gen_ai_operation_name": "chat", "gen_ai_request_model": model}
        if of is not None:
            labels["gen_ai_token_type"] = of
        return page.registry.get_sample_value(f"gen_ai_client_{name}", labels)

    eventually(lambda: sample("operation_duration_seconds_count") == 3)
    assert sample("operation_duration_seconds_sum") == 3.0
    assert sample("token_usage_sum", "input") == 80
    assert sample("token_usage_count", "output") == 2
    assert sample("token_usage_sum", "input", "unknown") == 40
    assert page("model_cached_tokens_total", model="large") == 60


def test_a_session_that_is_not_let_in_is_counted(project: Path, tmp_path: Path) -> None:
    """And that there may be no more is a figure, too."""
    with SessionSystem(max_sessions=1) as system, SystemCollector(system) as collector:
        page = Page(collector)
        system.create_session(project)
        with pytest.raises(SessionLimitError):
            system.create_session(tmp_path)

        eventually(lambda: page("sessions_refused_total", limit="number") == 1)
        assert page("session_limit") == 1


def test_no_label_is_an_id_of_a_session(
    page: Page, system: SessionSystem, session: SessionHandle
) -> None:
    """Whatever has happened: there would be a time series for each."""
    session.state.messages()
    session.run("true")
    wait_for_restart(system, session, "state", after=kill(system, session, "state").ref)
    session.stop()
    eventually(lambda: page("exits_total", kind="session", reason="shutdown") == 1)

    labels = page.labels()
    assert ("target", "state") in labels
    assert not [value for _, value in labels if session.id in value or len(value) > 40]


def test_labels_are_few_whatever_an_app_asks() -> None:
    """What comes after too many others has one label."""
    bounded = Bounded(2)

    assert [bounded("a", "x"), bounded("a", "y"), bounded("b", "x")] == [
        ("a", "x"),
        ("a", "y"),
        (OTHER, OTHER),
    ]
    assert bounded("a", "x") == ("a", "x")


def test_of_a_system_that_is_closed_it_says_so(project: Path) -> None:
    """What was counted is still there."""
    with SessionSystem() as system:
        page = Page(SystemCollector(system))
        system.create_session(project).state.messages()
        assert page("up") == 1
    assert page("up") == 0
    assert page("sessions") is None
    assert page("calls_total", target="state", operation="messages", outcome="ok") == 1


def test_a_closed_collector_counts_no_more(system: SessionSystem, session: SessionHandle) -> None:
    """And then a call pays nothing again."""
    collector = SystemCollector(system)
    page = Page(collector)
    collector.close()
    collector.close()
    session.state.messages()

    assert page("calls_total", target="state", operation="messages", outcome="ok") is None
    assert page("up") == 1
    assert not system._running.observers.active


def test_a_scrape_is_not_counted(page: Page) -> None:
    """The page of a system that nobody uses does not change."""
    before = page.labels()

    assert page("up") == 1
    assert page.labels() == before
    assert ("operation", "WhichChildren") not in before


def test_all_calls_are_counted_though_nobody_scrapes(
    system: SessionSystem, session: SessionHandle
) -> None:
    """By whoever calls, now and then; and what is not counted yet is bounded."""
    with SystemCollector(system) as collector:
        for _ in range(2500):
            session.state.todos()
        assert len(collector._counts._ended) < 1000

        page = Page(collector)
        assert page("calls_total", target="state", operation="todos", outcome="ok") == 2500


def test_a_signal_handler_makes_calls_too(page: Page, session: SessionHandle) -> None:
    """While its own thread counts: it waits for no lock of that.

    Those that it makes within a scrape of its thread are taken for the scrape's.
    """
    made = 0

    def call(*_: object) -> None:
        nonlocal made
        session.state.todos()
        made += 1

    before = signal.signal(signal.SIGALRM, call)
    try:
        for _ in range(100):
            # Once each: on a slow machine the next would come before the last is done, and so on.
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            session.state.messages()
            page.registry.get_sample_value("jidocode_up")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    asked = {"target": "state", "outcome": "ok"}
    assert 0 < (page("calls_total", operation="todos", **asked) or 0) <= made
    assert page("calls_total", operation="messages", **asked) == 100


def test_what_children_announce_is_not_read(
    page: Page, system: SessionSystem, project: Path
) -> None:
    """It may be anything, and reading it runs code of theirs."""
    READ.clear()
    GATE.set()
    session = system.create_session(project, children=[worker("talker")])
    session.call("talker", ("announce", Gated(os.getpid())))
    wait_for_restart(system, session, "state", after=kill(system, session, "state").ref)

    eventually(lambda: page("restarts_total", kind="worker") == 1)
    assert READ == []


def test_a_process_that_hangs_holds_up_a_scrape_only_for_a_while(project: Path) -> None:
    """It is told of as what it is."""
    with SessionSystem(call_timeout=2.0) as system, SystemCollector(system) as collector:
        page = Page(collector)
        session = system.create_session(project)
        pid = system.get_manager(session.id).os_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            assert page("sessions_by_status", status="degraded") == 1
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_system_that_nobody_closes_is_still_closed(project: Path) -> None:
    """Who listens to it does not keep it."""
    system = SessionSystem()
    host = system.host_pid
    collector = SystemCollector(system)
    system.create_session(project)
    with pytest.warns(ResourceWarning, match="not closed"):  # noqa: PT031 - both are needed for it
        del system, collector
        gc.collect()

    assert not Path(f"/proc/{host}").exists()


def test_in_a_fork_there_is_no_system(page: Page) -> None:
    """A worker that was forked off says so, and waits for nobody."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if page("up") == 0 else 1
        finally:
            os._exit(status)

    assert os.waitpid(pid, 0)[1] == 0


def test_who_observes_does_no_harm(system: SessionSystem, session: SessionHandle) -> None:
    """A call has its answer, whatever an observer raises."""

    def broken(*_: object) -> Any:
        raise RuntimeError

    system._running.observers.add(broken)
    system._running.observers.add(lambda _: broken)

    assert session.state.messages() == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_system_of_another_process_is_measured(
    name: str, project: Path, tmp_path: Path, *, read_only: bool
) -> None:
    """What happens there is counted here; calls are those of this process."""
    with colleagues() as [other]:
        other.do(f"system = SessionSystem(name={name!r}, state_dir={str(tmp_path / 'state')!r})")
        other.do(f"shop = system.create_session({str(project)!r})")
        with (
            SessionSystem.attach(name, read_only=read_only) as system,
            SystemCollector(system) as collector,
        ):
            page = Page(collector)
            session = system.list_sessions()[0]
            other.do("shop.state.append_message('user', 'x')")
            system.get_session(session.id).state.messages()
            other.do("import os")
            other.do("os.kill(system.get_manager(shop.id).os_pid, 9)")
            eventually(lambda: page("restarts_total", kind="manager") == 1)

            assert page("sessions") == 1
            asked = {"target": "state", "outcome": "ok"}
            assert page("calls_total", operation="messages", **asked) == 1
            assert page("calls_total", operation="append_message", **asked) is None
        other.do("system.close()")


@pytest.mark.parametrize("runner", [OnAsyncio(), OnTrio()], ids=lambda runner: runner.name)
def test_what_is_awaited_is_counted(runner: Runner, project: Path) -> None:
    """On asyncio and on trio; a call that is cancelled, too."""

    async def main() -> Page:
        async with AsyncSessionSystem() as system:
            page = Page(SystemCollector(system))
            session = await system.create_session(project)
            await session.state.append_message("user", "x")
            await session.run("exit 3")
            assert not await runner.within(0.2, lambda: session.run("sleep 60"))
            return page

    page = runner.run(main)
    asked = {"target": "state", "operation": "append_message", "outcome": "ok"}
    assert page("calls_total", **asked) == 1
    assert page("commands_total", outcome="failed") == 1
    run = {"target": "commands", "operation": "run_command"}
    assert page("calls_total", **run, outcome="cancelled") == 1


def test_a_scrape_beside_a_loop(project: Path) -> None:
    """In a thread, for it waits."""

    async def main() -> bytes:
        async with AsyncSessionSystem() as system:
            page = Page(SystemCollector(system))
            await system.create_session(project)
            return await asyncio.to_thread(generate_latest, page.registry)

    assert b"jidocode_sessions 1.0" in asyncio.run(main())


@pytest.mark.parametrize("module", ["prometheus", "opentelemetry"])
def test_where_the_extra_is_missing_it_is_named(module: str) -> None:
    """In one sentence."""
    missing = "sys.modules['prometheus_client'] = sys.modules['opentelemetry'] = None"
    code = f"import sys; {missing}; import jidocode.metrics.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.endswith("pip install 'jidocode[metrics]'\n")


def test_what_was_not_started_cannot_be_measured() -> None:
    """It says so."""
    with pytest.raises(HostError, match="not started"):
        SystemCollector(AsyncSessionSystem())


@pytest.mark.parametrize("wrong", [None, "shop", AsyncSessionSystem])
def test_what_is_no_system_is_refused(wrong: Any) -> None:
    """By name, before anything is counted."""
    with pytest.raises(TypeError, match="system must be a SessionSystem"):
        SystemCollector(wrong)

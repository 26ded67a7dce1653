"""Spans of a real system, by OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from jidocode import (
    AsyncSessionSystem,
    Completion,
    FileTooLargeError,
    SessionHandle,
    SessionSystem,
    Usage,
)
from jidocode.metrics.opentelemetry import SystemMeter, SystemTracer
from jidocode.testing import eventually, kill, wait_for_restart


class Spans:
    """What has been traced.

    Attributes:
        provider: By which it is.
    """

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans called so that have ended."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def texts(self) -> str:
        """Return all that is in all of them."""
        return "".join(span.to_json() for span in self._exporter.get_finished_spans())


@pytest.fixture
def spans() -> Spans:
    """A place for spans."""
    return Spans()


@pytest.fixture
def tracer(system: SessionSystem, spans: Spans) -> Iterator[SystemTracer]:
    """It traces the system."""
    with SystemTracer(system, spans.provider) as tracer:
        yield tracer


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def attribute(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {}).get(name)


@pytest.mark.usefixtures("tracer")
def test_a_call_is_a_span_below_that_of_the_app(session: SessionHandle, spans: Spans) -> None:
    """It says who was asked for what."""
    tracer = spans.provider.get_tracer("app")
    with tracer.start_as_current_span("turn") as turn:
        session.manager.list_directory()

    (call,) = spans.named("manager/list_directory")
    assert call.kind is SpanKind.CLIENT
    assert call.status.status_code is StatusCode.UNSET
    assert call.parent is not None
    assert call.parent.span_id == turn.get_span_context().span_id
    assert attribute(call, "rpc.system.name") == "jidocode"
    assert attribute(call, "rpc.method") == "manager/list_directory"
    assert 0 < seconds(call) < 30


@pytest.mark.usefixtures("tracer")
def test_a_call_that_fails_says_with_what(
    session: SessionHandle, spans: Spans, project: Path
) -> None:
    """The class of the error, and not its message."""
    (project / "secret-name").write_bytes(bytes(20_000_000))
    with pytest.raises(FileTooLargeError):
        session.manager.read_bytes("secret-name")

    (call,) = spans.named("manager/read_bytes")
    assert call.status.status_code is StatusCode.ERROR
    assert attribute(call, "error.type") == "FileTooLargeError"
    assert "secret-name" not in spans.texts()


@pytest.mark.usefixtures("tracer")
def test_a_command_is_a_span_from_its_start_to_its_end(
    session: SessionHandle, spans: Spans
) -> None:
    """It links to the call that brought its result; what was run is not in it."""
    session.run("sleep 0.1; exit 3 # secret")
    handle = session.commands.start(["true"])
    handle.wait()
    handle.wait()

    failed, fine = spans.named("command")
    (call,) = spans.named("commands/run_command")
    assert call.context is not None
    assert [link.context.span_id for link in failed.links] == [call.context.span_id]
    assert attribute(failed, "process.exit.code") == 3
    assert attribute(failed, "error.type") == "failed"
    assert seconds(failed) >= 0.1
    assert (attribute(fine, "process.exit.code"), fine.status.status_code) == (0, StatusCode.UNSET)
    assert attribute(fine, "jidocode.command.id") == handle.id
    assert "secret" not in spans.texts()


@pytest.mark.usefixtures("tracer")
def test_a_restart_is_a_span_with_the_reason(
    system: SessionSystem, session: SessionHandle, spans: Spans
) -> None:
    """As long as the process was away."""
    wait_for_restart(system, session, "manager", after=kill(system, session, "manager").ref)

    eventually(lambda: bool(spans.named("restart state")))
    (restart,) = spans.named("restart manager")
    assert restart.parent is None
    assert attribute(restart, "jidocode.exit.reason") == "SIGKILL"
    assert attribute(restart, "jidocode.session.id") == session.id
    assert attribute(restart, "jidocode.process.pid") == system.get_manager(session.id).os_pid
    assert 0 < seconds(restart) < 30


def test_a_closed_tracer_makes_no_spans(
    tracer: SystemTracer, session: SessionHandle, spans: Spans
) -> None:
    """Closing twice is fine."""
    tracer.close()
    tracer.close()
    session.state.messages()

    assert spans.named("state/messages") == []


def test_each_task_has_its_own_trace(spans: Spans, project: Path) -> None:
    """What is awaited is below the span of its task."""

    async def turn(system: AsyncSessionSystem, session_id: str, name: str) -> None:
        session = await system.get_session(session_id)
        with spans.provider.get_tracer("app").start_as_current_span(name):
            for _ in range(5):
                await session.state.messages()

    async def main() -> None:
        async with AsyncSessionSystem() as system:
            session = await system.create_session(project)
            with SystemTracer(system, spans.provider):
                async with asyncio.TaskGroup() as tasks:
                    for name in ("one", "two"):
                        tasks.create_task(turn(system, session.id, name))

    asyncio.run(main())
    parents = [call.parent.span_id for call in spans.named("state/messages") if call.parent]
    turns = [
        span.context.span_id
        for name in ("one", "two")
        for span in spans.named(name)
        if span.context
    ]
    assert sorted(parents) == sorted(turns * 5)


@pytest.mark.usefixtures("tracer")
def test_an_answer_of_a_model_is_a_span_and_measured(
    system: SessionSystem, session: SessionHandle, spans: Spans
) -> None:
    """By the names of the conventions for generative AI."""
    reader = InMemoryMetricReader()
    usage = Usage(input_tokens=40, cached_tokens=30, output_tokens=2, seconds=1.5)
    with SystemMeter(system, MeterProvider([reader], shutdown_on_exit=False)):
        session.state.add_usage(Completion(model="large", stop_reason="end", usage=usage))
        found = eventually(lambda: measured(reader))

    assert found["gen_ai.client.operation.duration"] == [(1.5, None)]
    assert found["gen_ai.client.token.usage"] == [(40, "input"), (2, "output")]
    (span,) = eventually(lambda: spans.named("chat large"))
    assert span.parent is None
    assert seconds(span) == pytest.approx(1.5)
    said = dict(span.attributes or {})
    assert said["gen_ai.request.model"] == "large"
    assert said["gen_ai.conversation.id"] == session.id
    assert said["gen_ai.response.finish_reasons"] == ("end",)
    assert said["gen_ai.usage.input_tokens"] == 40
    assert said["gen_ai.usage.output_tokens"] == 2
    assert said["gen_ai.usage.cache_read.input_tokens"] == 30


def measured(reader: InMemoryMetricReader) -> dict[str, list[tuple[float, object]]]:
    """Return the sums of what was measured, by name, each with its type of tokens."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: sorted(
            ((point.sum, (point.attributes or {}).get("gen_ai.token.type")) for point in points),
            reverse=True,
            key=lambda each: each[0],
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if (
            points := [
                each for each in metric.data.data_points if isinstance(each, HistogramDataPoint)
            ]
        )
    }

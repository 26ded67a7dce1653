"""For OpenTelemetry: spans of what happens in a system, and measures of what models took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version

try:
    from opentelemetry import metrics, trace
except ImportError as error:  # pragma: no cover - where the extra is missing
    raise ImportError("tracing needs OpenTelemetry: pip install 'jidocode[metrics]'") from error

from jidocode.base.closing import Closing
from jidocode.base.text import word
from jidocode.metrics.labels import (
    ANSWER_BUCKETS,
    ANSWER_TEXT,
    CHAT,
    MOST_MODELS,
    TOKEN_BUCKETS,
    TOKENS_TEXT,
    Bounded,
    ending_of,
    operation_of,
    outcome_of,
    reason_of,
    tokens_of,
)
from jidocode.metrics.listening import CommandsSeen, Listening, Recent, running
from jidocode.otp.supervision.events import ChildExited, ChildStarted
from jidocode.session.commands.result import CommandResult
from jidocode.session.conversation.reports import ModelAnswered
from jidocode.system.asynchronous.system import AsyncSessionSystem
from jidocode.system.events import Event
from jidocode.system.observing import End
from jidocode.system.steps import Ask
from jidocode.system.system import SessionSystem

_Value = str | int | float | bool


class SystemTracer(Closing):
    """Has spans made of what happens in a system, until it is closed.

        with SystemTracer(system):
            session.manager.read_file("README.md")  # a span "manager/read_file"

    A call and a command are spans below that which is current where the call is made; they are
    those of this process. A restart, and an answer of a model, of any process of the system, is a
    trace of its own. No argument, answer, output or message of an error is in any of them.
    """

    def __init__(
        self,
        system: SessionSystem | AsyncSessionSystem,
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        """Trace *system*, by *tracer_provider*, that of the app by default.

        Raises:
            TypeError: *system* is no system.
            HostError: It was not started, or this is a fork of the app.
            OSError: There is no thread to hear events in.
        """
        spans = _Spans(trace.get_tracer("jidocode", version("jidocode"), tracer_provider))
        self._listening = Listening(running(system), spans.observe, spans.take)

    def close(self) -> None:
        """Make no more spans."""
        self._listening.close()


class SystemMeter(Closing):
    """Has measured what models take in a system, until it is closed.

        with SystemMeter(system):
            session.agent.prompt("Mend it").result()

    It is measured in the whole system, by the names of OpenTelemetry's conventions for generative
    AI: `gen_ai.client.token.usage` and `gen_ai.client.operation.duration`.
    """

    def __init__(
        self,
        system: SessionSystem | AsyncSessionSystem,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        """Measure *system*, by *meter_provider*, that of the app by default.

        Raises:
            TypeError: *system* is no system.
            HostError: It was not started, or this is a fork of the app.
            OSError: There is no thread to hear events in.
        """
        measures = _Measures(
            metrics.get_meter("jidocode", version("jidocode"), meter_provider=meter_provider)
        )
        self._listening = Listening(running(system), None, measures.take)

    def close(self) -> None:
        """Measure no more."""
        self._listening.close()


class _Measures:
    def __init__(self, meter: metrics.Meter) -> None:
        self._models = Bounded(MOST_MODELS)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            TOKENS_TEXT,
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            ANSWER_TEXT,
            explicit_bucket_boundaries_advisory=ANSWER_BUCKETS,
        )

    def take(self, event: Event) -> None:
        """Measure an answer of a model; in one thread."""
        match event.fact:
            case ModelAnswered(model=model, usage=usage):
                attributes = _attributes_of(self._models(model)[0] if model else "")
                self._seconds.record(usage.seconds, attributes)
                for token_type, count in tokens_of(usage):
                    self._tokens.record(count, attributes | {"gen_ai.token.type": token_type})
            case _:
                pass


def _attributes_of(model: str) -> dict[str, _Value]:
    """Return what the conventions want said of each answer of *model*."""
    attributes: dict[str, _Value] = {
        "gen_ai.operation.name": CHAT,
        "gen_ai.provider.name": "_OTHER",  # a server does not say whose it is
    }
    return attributes | {"gen_ai.request.model": model} if model else attributes


class _Spans:
    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._seen = CommandsSeen()
        self._away = Recent[str]()

    def observe(self, step: Ask) -> End:
        """Make a span of a call; see `Observer`."""
        now = time.time_ns()
        self._seen.begun(step.request, now)
        method = f"{step.ref.kind}/{operation_of(step.request)}"
        attributes: dict[str, _Value] = {
            "rpc.system.name": "jidocode",
            "rpc.method": method,
            "jidocode.process.pid": step.ref.os_pid,
            "jidocode.process.incarnation": step.ref.incarnation,
        }
        span = self._tracer.start_span(
            method, kind=trace.SpanKind.CLIENT, attributes=attributes, start_time=now
        )

        def end(answer: object, error: BaseException | None) -> None:
            if error is not None:
                _fail(span, outcome_of(error))
            span.end()
            ended = self._seen.ended(answer, time.time_ns())
            if ended is not None:
                self._trace_command(*ended, trace.Link(span.get_span_context()))

        return end

    def _trace_command(self, result: CommandResult, begun: int, call: trace.Link) -> None:
        """Make a span of a command; *call* is the one that brought its result."""
        attributes: dict[str, _Value] = {"jidocode.command.id": result.id}
        if result.exit_code is not None:
            attributes["process.exit.code"] = result.exit_code
        if result.signal is not None:
            attributes["jidocode.command.signal"] = result.signal
        span = self._tracer.start_span(
            "command", attributes=attributes, links=[call], start_time=begun
        )
        if not result.ok:
            _fail(span, ending_of(result))
        span.end(begun + int(result.seconds * 1e9))

    def take(self, event: Event) -> None:
        """Make a span of a restart that is over; in one thread."""
        match event.fact:
            case ChildExited(restarting=True, reason=reason) as fact:
                self._away.take((fact.supervisor, fact.child_id))
                self._away.put((fact.supervisor, fact.child_id), reason_of(reason))
            case ChildExited() as fact:
                self._away.take((fact.supervisor, fact.child_id))
            case ChildStarted(recovered_after=float(seconds)) as fact:
                self._trace_restart(event, fact, seconds)
            case ModelAnswered() as fact:
                self._trace_answer(event, fact)
            case _:
                pass

    def _trace_answer(self, event: Event, fact: ModelAnswered) -> None:
        model = word(fact.model) if fact.model else ""
        attributes: dict[str, _Value | Sequence[str]] = {**_attributes_of(model)}
        if fact.stop_reason:
            attributes["gen_ai.response.finish_reasons"] = [fact.stop_reason]
        for token_type, count in tokens_of(fact.usage):
            attributes[f"gen_ai.usage.{token_type}_tokens"] = count
        attributes["gen_ai.usage.cache_read.input_tokens"] = fact.usage.cached_tokens
        if event.session_id is not None:
            attributes["gen_ai.conversation.id"] = event.session_id
        end = int(event.at.timestamp() * 1e9)
        span = self._tracer.start_span(
            f"{CHAT} {model}".strip(),
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            start_time=end - int(fact.usage.seconds * 1e9),
        )
        span.end(end)

    def _trace_restart(self, event: Event, fact: ChildStarted, seconds: float) -> None:
        attributes: dict[str, _Value] = {
            "jidocode.process.pid": fact.ref.os_pid,
            "jidocode.process.incarnation": fact.ref.incarnation,
        }
        reason = self._away.take((fact.supervisor, fact.child_id))
        if reason is not None:
            attributes["jidocode.exit.reason"] = reason
        if event.session_id is not None:
            attributes["jidocode.session.id"] = event.session_id
        end = int(event.at.timestamp() * 1e9)
        span = self._tracer.start_span(
            f"restart {fact.ref.kind}", attributes=attributes, start_time=end - int(seconds * 1e9)
        )
        span.end(end)


def _fail(span: trace.Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(trace.StatusCode.ERROR)

"""`SystemTracer`: spans of calls, commands and restarts, for OpenTelemetry."""

from __future__ import annotations

import time
from importlib.metadata import version

try:
    from opentelemetry import trace
except ImportError as error:  # pragma: no cover - where the extra is missing
    raise ImportError("tracing needs OpenTelemetry: pip install 'jidocode[metrics]'") from error

from jidocode.base.closing import Closing
from jidocode.metrics.labels import ending_of, operation_of, outcome_of, reason_of
from jidocode.metrics.listening import CommandsSeen, Listening, Recent, running
from jidocode.otp.supervision.events import ChildExited, ChildStarted
from jidocode.session.commands.result import CommandResult
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
    those of this process. A restart, of any process of the system, is a trace of its own. No
    argument, answer, output or message of an error is in any of them.
    """

    def __init__(
        self,
        system: SessionSystem | AsyncSessionSystem,
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        """Trace *system*, by *tracer_provider*, that of the app by default.

        Raises:
            HostError: It was not started, or this is a fork of the app.
            NoThreadError: There is no thread to hear events in.
        """
        spans = _Spans(trace.get_tracer("jidocode", version("jidocode"), tracer_provider))
        self._listening = Listening(running(system), spans.observe, spans.take)

    def close(self) -> None:
        """Make no more spans."""
        self._listening.close()


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
            case _:
                pass

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

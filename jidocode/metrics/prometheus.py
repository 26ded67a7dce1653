"""`SystemCollector`: what Prometheus reads of a system."""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally, deque
from collections.abc import Iterator, Mapping

try:
    from prometheus_client import Counter, Histogram, Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:  # pragma: no cover - where the extra is missing
    raise ImportError("Prometheus needs its client: pip install 'jidocode[metrics]'") from error

from msgspec import Struct

from jidocode.base import log
from jidocode.base.closing import Closing
from jidocode.base.text import describe
from jidocode.errors import JidocodeError, RateLimitedError
from jidocode.metrics.labels import (
    ANSWER_BUCKETS,
    ANSWER_TEXT,
    CHAT,
    MOST_MODELS,
    TOKEN_BUCKETS,
    TOKENS_TEXT,
    UNKNOWN,
    Bounded,
    ending_of,
    operation_of,
    outcome_of,
    reason_of,
    tokens_of,
)
from jidocode.metrics.listening import CommandsSeen, Listening, running, unobserved
from jidocode.otp.supervision.events import (
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    GaveUp,
    HeartbeatMissed,
)
from jidocode.session.admission.messages import SessionRefused
from jidocode.session.commands.result import CommandResult
from jidocode.session.conversation.reports import ModelAnswered
from jidocode.system.asynchronous.system import AsyncSessionSystem
from jidocode.system.events import Event
from jidocode.system.health import HealthStatus, Statistics, SystemHealth
from jidocode.system.observing import End
from jidocode.system.running_sessions import RunningSystem
from jidocode.system.steps import Ask
from jidocode.system.system import SessionSystem

_MOST_KINDS = 50
_MOST_OPERATIONS = 200
_MOST_OUTCOMES = 400
_AT_ONCE = 1000
"""Calls that are counted at once, if no scrape comes before."""
_SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)


class SystemCollector(Collector, Closing):
    """What there is to know of a system, for a registry of `prometheus_client`.

        from prometheus_client import REGISTRY, start_http_server

        collector = SystemCollector(system)
        REGISTRY.register(collector)
        start_http_server(9100, addr="127.0.0.1")

    How many sessions and processes there are, and how they are, is asked at each scrape, which
    waits twice `Settings.call_timeout` at most. What happens is counted from now on: starts, exits
    and restarts, and what models took, in the whole system; calls and commands of this process.
    Closing it ends the counting. If the system is closed, or does not answer, `jidocode_up` is 0.

    Two systems need two registries.
    """

    def __init__(self, system: SessionSystem | AsyncSessionSystem) -> None:
        """Count what happens in *system* from now on; it may be one that this process attaches to.

        Raises:
            TypeError: *system* is no system.
            HostError: It was not started, or this is a fork of the app.
            OSError: There is no thread to hear events in.
        """
        self._running = running(system)
        self._counts = _Counts()
        self._listening = Listening(self._running, self._counts.observe, self._counts.take)

    def close(self) -> None:
        """Count no more; what was counted stays."""
        self._listening.close()

    def describe(self) -> Iterator[Metric]:
        """Yield all metrics without a figure, for the registry: it asks for their names."""
        yield from _gauges(None, None, {}, 0)
        yield from self._counts.collect()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; for the registry, in any thread."""
        statistics, health = _ask(self._running)
        memory: Mapping[str, int] = self._counts.memory(health) if health else {}
        yield from _gauges(statistics, health, memory, self._listening.events.dropped)
        yield from self._counts.collect()


def _ask(system: RunningSystem) -> tuple[Statistics | None, SystemHealth | None]:
    with unobserved():
        try:
            statistics = system.carry_out(system.counting())
            return statistics, system.carry_out(system.probe.system())
        except JidocodeError as error:
            log.debug("a scrape finds no system: {}", describe(error))
            return None, None


class _Ended(Struct, frozen=True):
    """A call that has ended; *command* is one whose result it has brought."""

    target: str
    operation: str
    outcome: str
    seconds: float
    command: CommandResult | None


class _Counts:
    """What is counted as it happens."""

    def __init__(self) -> None:
        kind = ["kind"]
        call = ["target", "operation"]
        self._calls = _counter(
            "calls", "Calls of this process that have ended.", [*call, "outcome"]
        )
        self._call_seconds = _histogram(
            "call_duration_seconds", "How long calls of this process took.", call, _SHORT
        )
        self._commands = _counter(
            "commands", "Commands whose result this process has seen.", ["outcome"]
        )
        self._command_seconds = _histogram(
            "command_duration_seconds", "How long these commands ran.", [], _LONG
        )
        self._starts = _counter(
            "starts", "First starts of processes, a session's among them.", kind
        )
        self._exits = _counter("exits", "Ends of processes, by reason.", [*kind, "reason"])
        self._restarts = _counter("restarts", "Processes that were started again.", kind)
        self._restart_seconds = _histogram(
            "restart_duration_seconds",
            "From the death of a process until it is back.",
            kind,
            _SHORT,
        )
        self._failures = _counter("start_failures", "Starts that have failed.", kind)
        self._missed = _counter("heartbeats_missed", "Probes that were not answered.", kind)
        self._given_up = _counter(
            "supervisors_given_up", "Supervisors that have ended for too many restarts.", kind
        )
        self._refused = _counter(
            "sessions_refused", "Sessions of this process that were not let in.", ["limit"]
        )
        # By the names that an exporter of OpenTelemetry's makes of its conventions, so that a
        # dashboard made for those finds them.
        asked = ["gen_ai_operation_name", "gen_ai_request_model"]
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            TOKENS_TEXT,
            [*asked, "gen_ai_token_type"],
            registry=None,
            buckets=TOKEN_BUCKETS,
        )
        self._answer_seconds = Histogram(
            "gen_ai_client_operation_duration_seconds",
            ANSWER_TEXT,
            asked,
            registry=None,
            buckets=ANSWER_BUCKETS,
        )
        self._cached = _counter(
            "model_cached_tokens", "Tokens that a model's server had read before.", ["model"]
        )
        self._models = Bounded(MOST_MODELS)
        self._operations = Bounded(_MOST_OPERATIONS)
        self._outcomes = Bounded(_MOST_OUTCOMES)
        self._kinds = Bounded(_MOST_KINDS)
        self._seen = CommandsSeen()
        # Counting takes locks of `prometheus_client`. A signal handler that makes a call, while its
        # thread holds one of them, would wait for ever: so a call that has ended is only noted, and
        # counted later, by one thread at a time and never by a handler that has interrupted that.
        self._ended = deque[_Ended]()
        self._counting = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Yield all of it."""
        with self._counting:
            self._count_calls()
        for value in vars(self).values():
            if isinstance(value, Counter | Histogram):
                yield from value.collect()

    def memory(self, health: SystemHealth) -> Mapping[str, int]:
        """Return the bytes of the processes of each kind that have told theirs."""
        sizes = Tally[str]()
        in_sessions = (child for session in health.sessions for child in session.children)
        for child in (*health.processes, *in_sessions):
            if child.ref is not None and child.memory is not None:
                sizes[self._kinds(child.ref.kind)[0]] += child.memory
        return sizes

    def observe(self, step: Ask) -> End:
        """Count a call; see `Observer`."""
        self._seen.begun(step.request, time.time_ns())
        began = time.perf_counter()

        def end(answer: object, error: BaseException | None) -> None:
            seconds = time.perf_counter() - began
            seen = self._seen.ended(answer, time.time_ns())
            command = None if seen is None else seen[0]
            call = _Ended(
                step.ref.kind, operation_of(step.request), outcome_of(error), seconds, command
            )
            self._ended.append(call)
            if len(self._ended) >= _AT_ONCE and self._counting.acquire(blocking=False):
                try:
                    self._count_calls()
                finally:
                    self._counting.release()

        return end

    def _count_calls(self) -> None:
        while self._ended:
            call = self._ended.popleft()
            asked = call.target, call.operation
            self._calls.labels(*self._outcomes(*asked, call.outcome)).inc()
            self._call_seconds.labels(*self._operations(*asked)).observe(call.seconds)
            if call.command is not None:
                self._commands.labels(ending_of(call.command)).inc()
                self._command_seconds.observe(call.command.seconds)

    def take(self, event: Event) -> None:
        """Count an event; in one thread."""
        match event.fact:
            case ChildStarted(ref=ref, recovered_after=None):
                self._starts.labels(*self._kinds(ref.kind)).inc()
            case ChildStarted(ref=ref, recovered_after=float(seconds)):
                kind = self._kinds(ref.kind)
                self._restarts.labels(*kind).inc()
                self._restart_seconds.labels(*kind).observe(seconds)
            case ChildExited(ref=ref, reason=reason):
                self._exits.labels(*self._kinds(ref.kind), reason_of(reason)).inc()
            case ChildStartFailed(name=name):  # there is no ref, and the id may be anything
                self._failures.labels(*self._kinds(name[0] if name else "unnamed")).inc()
            case HeartbeatMissed(ref=ref):
                self._missed.labels(*self._kinds(ref.kind)).inc()
            case GaveUp(supervisor=ref):
                self._given_up.labels(*self._kinds(ref.kind)).inc()
            case SessionRefused(error=error):
                limit = "rate" if isinstance(error, RateLimitedError) else "number"
                self._refused.labels(limit).inc()
            case ModelAnswered(model=model, usage=usage):
                (shown,) = self._models(model or UNKNOWN)
                self._answer_seconds.labels(CHAT, shown).observe(usage.seconds)
                self._cached.labels(shown).inc(usage.cached_tokens)
                for token_type, count in tokens_of(usage):
                    self._tokens.labels(CHAT, shown, token_type).observe(count)
            case _:
                pass


def _counter(name: str, text: str, labels: list[str]) -> Counter:
    return Counter(name, text, labels, namespace="jidocode", registry=None)


def _histogram(name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
    return Histogram(name, text, labels, namespace="jidocode", registry=None, buckets=buckets)


def _gauges(
    statistics: Statistics | None,
    health: SystemHealth | None,
    sizes: Mapping[str, int],
    dropped: int,
) -> Iterator[Metric]:
    up = statistics is not None and health is not None
    yield _gauge("up", "Whether the system runs and answers.", float(up))
    yield CounterMetricFamily(
        "jidocode_events_missed", "Events that were not counted: there were too many.", dropped
    )
    yield _gauge("sessions", "Open sessions.", statistics.sessions if statistics else None)
    yield _gauge(
        "session_limit",
        "How many sessions may be open.",
        statistics.max_sessions if statistics else None,
    )
    yield _gauge(
        "processes", "Supervised processes that run.", statistics.processes if statistics else None
    )
    yield _gauge(
        "calls_in_progress",
        "Calls of this process under way.",
        statistics.calls if statistics else None,
    )
    statuses = _gauge("sessions_by_status", "Open sessions, by how they are.", labels=["status"])
    memory = _gauge(
        "process_memory_bytes", "Memory of their own of all processes of a kind.", labels=["kind"]
    )
    if health is not None:
        found = Tally(session.status for session in health.sessions)
        for status in HealthStatus:
            statuses.add_metric([status.value], found[status])
    for kind, size in sizes.items():
        memory.add_metric([kind], size)
    yield from (statuses, memory)


def _gauge(
    name: str, text: str, value: float | None = None, labels: list[str] | None = None
) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"jidocode_{name}", text, value, labels)

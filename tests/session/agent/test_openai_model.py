"""A model behind a server that does what none should; proper ones are in tests/model."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import logging
import pickle
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from attrs import define, field
from model_servers import (
    DONE,
    HEAD,
    Answer,
    ModelServer,
    Step,
    chunk,
    end,
    event,
    said,
    status,
)

from jidocode.errors import (
    ContextOverflowError,
    InvalidModelError,
    InvalidTimeError,
    ModelAuthenticationError,
    ModelError,
    ModelInterruptedError,
    ModelRequestError,
    ModelUnavailableError,
)
from jidocode.session.agent import preload
from jidocode.session.agent.asking import ask_model
from jidocode.session.agent.message import MessageBuilder, ModelMessage
from jidocode.session.agent.model import (
    Delta,
    Model,
    ModelRequest,
    ReasoningDelta,
    StopReason,
    TextDelta,
    TokenUsage,
    ToolCallDelta,
)
from jidocode.session.agent.openai_model import MOST_KEYS, OpenAIModel, shared_ssl_context
from jidocode.session.agent.retrying import RetryRules

SECRET = "sk-a-secret-of-mine"  # noqa: S105 - nobody's
REQUEST = ModelRequest(messages=[{"role": "user", "content": "hello"}])
QUICK = RetryRules(attempts=3, seconds=20, first_wait=0.01, longest_wait=0.02)
HALF = b'data: {"choices":[{"delta":{"conte'
USAGE = chunk(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2})


@define
class Told:
    """What came of one answer."""

    message: ModelMessage = field(factory=ModelMessage)
    error: ModelError | None = None
    asked: int = 0
    seconds: float = 0.0


async def told_by(model: Model, rules: RetryRules = QUICK) -> Told:
    builder, told, began = MessageBuilder(lambda: "ours"), Told(), time.monotonic()
    try:
        async for delta in ask_model(model, REQUEST, rules):
            builder.add(delta)
    except ModelError as error:
        told.error = error
    told.message, told.seconds = builder.message(), time.monotonic() - began
    return told


def ask(answers: Sequence[Answer], rules: RetryRules = QUICK, **options: Any) -> Told:
    """Ask a server that answers so, in an event loop of its own, with which everything ends."""

    async def run() -> Told:
        async with ModelServer(answers) as server:
            model = OpenAIModel("m", base_url=server.url, **options)
            told = await told_by(model, rules)
            told.asked = len(server.asked)
            await model.aclose()
            return told

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_a_whole_answer() -> None:
    """However it arrives."""
    answer = b"".join(said(event(content="he"), event(content="llo\u2028"), USAGE))  # type: ignore[arg-type]
    pieces: list[bytes | Step] = []
    for start in range(0, len(answer), 50):
        pieces += [answer[start : start + 50], Step.PAUSE]
    told = ask([pieces])

    assert told.error is None
    assert (told.message.text, told.message.stop) == ("hello\u2028", StopReason.END)
    assert told.message.usage == TokenUsage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param([Step.RESET], id="a reset"),
        pytest.param([], id="no end"),
        pytest.param([HALF], id="half an event"),
        pytest.param([HALF, Step.RESET], id="a reset in an event"),
        pytest.param([b"data: {\xff\xfe\x00}\n\n"], id="garbage"),
        pytest.param([b"data: <html>\n\n", DONE], id="a page"),
        pytest.param([chunk(error={"message": "we fell over"})], id="an error"),
        pytest.param([chunk(error="we fell over")], id="an error in a word"),
        pytest.param([Step.STALL], id="a stall"),
        pytest.param([b": still here\n\n", Step.STALL], id="a stall after a sign of life"),
    ],
)
def test_an_answer_that_breaks_off_is_interrupted(broken: Answer) -> None:
    """What came is kept, and it is not asked for again."""
    told = ask([[HEAD, event(content="hel"), event(content="lo"), *broken]], idle_timeout=0.3)

    assert type(told.error) is ModelInterruptedError
    assert (told.message.text, told.message.stop, told.asked) == ("hello", None, 1)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param([Step.RESET], id="a reset before the first byte"),
        pytest.param([], id="nothing"),
        pytest.param([b"HTTP/1.1 200"], id="half a head"),
        pytest.param([HEAD], id="no event"),
        pytest.param([HEAD, HALF], id="half an event"),
        pytest.param([HEAD, event(role="assistant", content=""), Step.RESET], id="no piece"),
        pytest.param([HEAD, chunk(error={"code": 502, "message": "bad"})], id="an error"),
        pytest.param([Step.STALL], id="a stall"),
        pytest.param(status(429), id="busy"),
        pytest.param(status(529), id="busier"),
    ],
)
def test_what_has_not_begun_is_asked_for_again(broken: Answer) -> None:
    """The next answer is as good as any."""
    told = ask([broken, broken, said(event(content="hello"))], idle_timeout=0.3)

    assert told.error is None
    assert (told.message.text, told.asked) == ("hello", 3)


def test_asking_again_ends() -> None:
    """With what was wrong last."""
    told = ask([status(503, {"error": {"message": "we are moving"}})])

    assert type(told.error) is ModelUnavailableError
    assert (told.error.status, told.asked) == (503, 3)
    assert "503: we are moving" in str(told.error)


def test_a_server_says_when_to_ask_again() -> None:
    """It is believed, if that is not too late."""
    told = ask([status(429, Retry_After="0.4"), said(event(content="hello"))])
    assert (told.message.text, told.asked) == ("hello", 2)
    assert told.seconds >= 0.4

    told = ask([status(429, Retry_After="3600")])
    assert isinstance(told.error, ModelUnavailableError)
    assert (told.error.retry_after, told.asked) == (3600.0, 1)


def test_a_server_that_nobody_is_at_is_asked_again() -> None:
    """And the error says where, and not with which key."""

    async def run() -> Told:
        async with ModelServer([]) as server:
            url = server.url.replace("http://", f"http://me:{SECRET}@")
        model = OpenAIModel("m", base_url=url, api_key=SECRET)
        told = await told_by(model)
        await model.aclose()
        return told

    told = asyncio.run(run())
    assert type(told.error) is ModelUnavailableError
    assert "127.0.0.1 cannot be reached" in str(told.error)
    assert SECRET not in str(told.error)


def test_what_stands_in_the_address_is_not_quoted() -> None:
    """As the header that it is sent in, either."""
    basic = b64encode(f"me:{SECRET}".encode()).decode()

    async def run() -> tuple[Told, str]:
        answer = status(401, {"error": {"message": f"who is {basic}, or {SECRET}?"}})
        async with ModelServer([answer]) as server:
            url = server.url.replace("http://", f"http://me:{SECRET}@")
            model = OpenAIModel("m", base_url=url, api_key="of nobody")
            told = await told_by(model)
            await model.aclose()
            return told, server.asked[0].headers["authorization"]

    told, sent = asyncio.run(run())
    assert sent == f"Basic {basic}"
    assert "who is" in str(told.error)
    assert basic not in str(told.error)
    assert SECRET not in str(told.error)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (status(401, {"error": {"message": f"who is {SECRET}?"}}), ModelAuthenticationError),
        (status(404), ModelRequestError),
        (status(400, {"error": {"code": "context_length_exceeded"}}), ContextOverflowError),
        ([HEAD.replace(b"text/event-stream", b"text/html"), b"<html>"], ModelInterruptedError),
        ([HEAD, b"data: <html>\n\n"], ModelInterruptedError),
        ([HEAD, b"data: \xff\xff\n\n"], ModelInterruptedError),
        ([HEAD, chunk(error={"code": 401, "message": "who?"})], ModelAuthenticationError),
    ],
)
def test_what_asking_again_does_not_help_is_not_asked_again(
    answer: Answer, expected: type[ModelError]
) -> None:
    """It is an error of its own."""
    told = ask([answer], api_key=SECRET)

    assert type(told.error) is expected
    assert told.asked == 1
    assert SECRET not in str(told.error)


def test_nobody_else_is_sent_the_conversation() -> None:
    """A server that knows another place has to be given with that address."""
    told = ask([status(307, Location="/v1/elsewhere"), said(event(content="hello"))])

    assert type(told.error) is ModelRequestError
    assert (told.error.status, told.asked) == (307, 1)


def test_a_request_that_a_filter_does_not_let_through_has_an_end() -> None:
    """As an answer has that it cuts off."""
    told = ask([status(400, {"error": {"code": "content_filter", "message": "no"}})])

    assert (told.error, told.message.stop) == (None, StopReason.CONTENT_FILTER)


@pytest.mark.parametrize(
    "tail",
    [
        [DONE, Step.STALL],
        [Step.STALL],
        [Step.RESET],
        [HALF],
        [b"data: <html>\n\n"],
        [chunk(error={"code": 429})],
        [],
    ],
)
def test_an_answer_that_has_ended_is_whole_whatever_follows(
    tail: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not hang up is not waited for long."""
    monkeypatch.setattr("jidocode.session.agent.openai_model.LAST_WORDS", 0.2)
    told = ask([[HEAD, event(content="hello"), end(), *tail]])

    assert told.error is None
    assert told.message.text == "hello"
    assert told.seconds < 4


def test_a_server_may_leave_out_why_the_answer_ended() -> None:
    """As long as it says that it has."""
    told = ask([[HEAD, event(content="hello"), DONE]])

    assert told.error is None
    assert (told.message.text, told.message.stop) == ("hello", StopReason.END)


def test_an_answer_takes_no_longer_than_it_may() -> None:
    """Also if there is always a sign of life."""
    drip: list[bytes | Step] = [HEAD]
    drip += [b": wait\n\n", Step.PAUSE] * 500
    told = ask([drip], RetryRules(attempts=1), idle_timeout=2, total_timeout=0.5)

    assert isinstance(told.error, ModelUnavailableError)
    assert told.seconds < 8  # of ten


def test_an_event_without_end_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are events without end."""
    monkeypatch.setattr("jidocode.session.agent.openai_model.MOST_EVENT_CHARACTERS", 10_000)
    one = ask([[HEAD, b"data: " + b"x" * 20_000]], RetryRules(attempts=1))
    many = ask([[HEAD, *[event(content="x" * 900)] * 20]])

    assert type(one.error) is ModelInterruptedError
    assert type(many.error) is ModelInterruptedError
    assert "more than 10000 characters" in str(many.error)


@pytest.mark.parametrize(
    ("code", "error"),
    [(400, ModelRequestError), (401, ModelAuthenticationError), (503, ModelUnavailableError)],
)
def test_an_error_without_end_is_its_beginning(code: int, error: type[ModelError]) -> None:
    """The server goes on as fast as it can; what it is stays known."""
    head = f"HTTP/1.1 {code} Whatever\r\nConnection: close\r\n\r\nIt is "
    told = ask(
        [[head.encode(), b"too late. " * 6000, Step.FLOOD]],
        RetryRules(attempts=1),
        total_timeout=50,
    )

    assert type(told.error) is error
    assert "It is too late." in str(told.error)
    assert len(str(told.error)) < 1000
    assert told.seconds < 20


def test_an_error_that_breaks_off_is_one_all_the_same() -> None:
    head = b"HTTP/1.1 429 No\r\nContent-Length: 100\r\nRetry-After: 99\r\n\r\nwait"
    told = ask([[head, Step.PAUSE, Step.RESET]])

    assert isinstance(told.error, ModelUnavailableError)
    assert (told.error.status, told.error.retry_after) == (429, 99.0)


@pytest.mark.parametrize("more", [b": wait\n\n", b"\n", b"event: ping\n", b"id: 1\n"])
def test_what_is_no_event_has_an_end_too(monkeypatch: pytest.MonkeyPatch, more: bytes) -> None:
    """Such as comments as fast as they are taken; what came before is kept."""
    monkeypatch.setattr("jidocode.session.agent.bounding.MOST_BYTES", 1_000_000)
    told = ask([[HEAD, event(content="one"), Step.PAUSE, more * 1000, Step.FLOOD]])

    assert type(told.error) is ModelInterruptedError
    assert "more than 1000000 bytes" in str(told.error)
    assert (told.message.text, told.asked) == ("one", 1)


@pytest.mark.parametrize(
    ("delta", "limit"),
    [
        (TextDelta("x" * 100), "MOST_CHARACTERS"),
        (ReasoningDelta("", "x" * 100), "MOST_CHARACTERS"),
        (ToolCallDelta(0, arguments="x" * 100), "MOST_CHARACTERS"),
        (TokenUsage(), "MOST_DELTAS"),
    ],
)
def test_an_answer_of_any_model_has_an_end(
    monkeypatch: pytest.MonkeyPatch, delta: Delta, limit: str
) -> None:
    """One of somebody else's, too."""
    monkeypatch.setattr(f"jidocode.session.agent.asking.{limit}", 1000)

    class Endless:
        async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
            del request
            while True:
                yield delta

        async def aclose(self) -> None:
            pass

    told = asyncio.run(told_by(Endless()))

    assert type(told.error) is ModelInterruptedError
    assert "more than 1000 " in str(told.error)


# Cancelling


def test_to_close_the_answer_hangs_up() -> None:
    """The server sees it at once."""
    check_hanging_up(lambda model: close_it(model))  # noqa: PLW0108 - it stands below


def test_to_cancel_the_task_hangs_up() -> None:
    """The same in the middle of waiting."""
    check_hanging_up(lambda model: cancel_it(model))  # noqa: PLW0108 - it stands below


def check_hanging_up(break_off: Callable[[OpenAIModel], Awaitable[None]]) -> None:
    async def run() -> None:
        async with ModelServer([[HEAD, event(content="hello"), Step.STALL]]) as server:
            model = OpenAIModel("m", base_url=server.url)
            await break_off(model)
            await asyncio.wait_for(server.hung_up.wait(), 10)
            assert [
                each.get_coro()
                for each in asyncio.all_tasks()
                if "openai_model" in str(each.get_coro())
            ] == []
            # And it can be asked again.
            builder = MessageBuilder(str)
            async for delta in ask_model(model, REQUEST, QUICK):
                builder.add(delta)
                break
            assert builder.message().text == "hello"
            await model.aclose()

    asyncio.run(asyncio.wait_for(run(), 60))


async def close_it(model: OpenAIModel) -> None:
    deltas = ask_model(model, REQUEST, QUICK)
    assert await anext(deltas) == TextDelta("hello")
    await deltas.aclose()


async def cancel_it(model: OpenAIModel) -> None:
    come = asyncio.Event()

    async def listen() -> None:
        async for _ in ask_model(model, REQUEST, QUICK):
            come.set()

    task = asyncio.create_task(listen())
    await asyncio.wait_for(come.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# What is sent


def sent(request: ModelRequest = REQUEST, **options: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the headers and the body of a request."""

    async def run() -> tuple[dict[str, str], dict[str, Any]]:
        async with ModelServer([said(event(content="hello"))]) as server:
            given: dict[str, Any] = {"base_url": server.url, **options}
            model = OpenAIModel("m", **given)
            async for _ in ask_model(model, request, QUICK):
                pass
            await model.aclose()
            return server.asked[0].headers, server.asked[0].body

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_parameters_are_sent_as_they_are() -> None:
    """Those of a request count more than those of the model."""
    request = ModelRequest(messages=REQUEST.messages, parameters={"seed": 2, "new": {"x": 1}})
    headers, body = sent(request, parameters={"seed": 1, "temperature": 0}, headers={"X-A": "b"})

    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 2,
        "new": {"x": 1},
        "temperature": 0,
    }
    assert headers["x-a"] == "b"


def test_no_key_is_sent_that_was_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Least of all OpenAI's to another server."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    headers, _ = sent()

    assert "authorization" not in headers
    assert SECRET not in str(headers)


async def fetched() -> str:
    await asyncio.sleep(0)
    return SECRET


@pytest.mark.parametrize("key", [SECRET, lambda: SECRET, fetched])
def test_a_key_is_a_text_or_a_function(key: Any) -> None:
    """Which may have to be awaited."""
    assert sent(api_key=key)[0]["authorization"] == f"Bearer {SECRET}"


def test_a_header_of_ones_own_counts_more_than_the_key() -> None:
    """For servers that want another kind."""
    assert sent(api_key=SECRET, headers={"authorization": "Basic x"})[0]["authorization"] == (
        "Basic x"
    )


def failing() -> str:
    raise LookupError(SECRET)


@pytest.mark.parametrize("key", [failing, "", f"{SECRET}\n", dict, "\u00e9"])
def test_a_key_that_is_none_is_an_error(key: Any) -> None:
    """In words that do not tell it; nothing is sent."""
    told = ask([said(event(content="hello"))], api_key=key)

    assert type(told.error) is ModelAuthenticationError
    assert told.asked == 0
    assert SECRET not in str(told.error)


def test_old_keys_are_forgotten() -> None:
    """A function may return another one each time, for as long as a process lives."""
    keys = map("key-{:06}".format, itertools.count())
    model = OpenAIModel("m", base_url="http://127.0.0.1:1/v1", api_key=lambda: next(keys))

    async def ask_often() -> None:
        for _ in range(3 * MOST_KEYS):
            await model._authorization()
        await model.aclose()

    asyncio.run(ask_often())
    hidden = [each for each in model._secrets if each]
    assert len(hidden) == MOST_KEYS
    assert hidden[-1] == f"key-{3 * MOST_KEYS - 1:06}"


def test_a_request_that_cannot_be_made_is_an_error_of_its_own() -> None:
    """And it is not quoted."""

    async def run() -> None:
        model = OpenAIModel("m", base_url="http://127.0.0.1:1/v1")
        request = ModelRequest(messages=[{"role": "user", "content": {SECRET}}])
        with pytest.raises(ModelError, match="could not be made") as caught:
            async for _ in ask_model(model, request, QUICK):
                pass
        assert SECRET not in str(caught.value)
        await model.aclose()

    asyncio.run(run())


# What is not told


def test_a_secret_is_nowhere(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in a text, a log line or an error, nor in what hangs on an error."""
    other = "another-secret"
    for name in ("httpx2", "httpcore2", "openai"):
        caplog.set_level(logging.DEBUG, logger=name)
    caplog.set_level(logging.DEBUG)
    told = ask(
        [status(500, {"error": f"{SECRET} {other}"}), status(400, f"{other}{SECRET}")],
        api_key=SECRET,
        headers={"X-Token": other},
    )
    model = OpenAIModel("m", base_url=f"http://me:{other}@127.0.0.1:1/v1", api_key=SECRET)
    printed = capsys.readouterr()

    assert told.error is not None
    assert (told.error.__cause__, told.error.__context__) == (None, None)
    for text in (caplog.text, str(told.error), repr(model), printed.out, printed.err):
        assert SECRET not in text
        assert other not in text
    with pytest.raises(TypeError):
        pickle.dumps(model)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "127.0.0.1"},
        {"base_url": "http://[::1"},
        {"base_url": 7},
        {"headers": {"X A": "b"}},
        {"headers": {"X-A": "b\n"}},
        {"headers": {"X-A": f"{SECRET}\u00e9"}},
        {"model": ""},
    ],
)
def test_options_that_are_none_are_refused(options: dict[str, Any]) -> None:
    """When the model is made."""
    given: dict[str, Any] = {"model": "m", "base_url": "http://127.0.0.1/v1", **options}
    with pytest.raises(InvalidModelError) as caught:
        OpenAIModel(**given)
    assert SECRET not in str(caught.value)


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_ssl_context.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/no.pem")
    with pytest.raises(InvalidModelError, match=r"SSL_CERT_FILE='/nowhere/no\.pem'"):
        OpenAIModel("m", base_url="http://127.0.0.1:9/v1")


def test_times_are_times() -> None:
    """Whatever they are for."""
    with pytest.raises(InvalidTimeError, match="idle_timeout"):
        OpenAIModel("m", base_url="http://127.0.0.1/v1", idle_timeout=-1)


class Broken:
    """A model of somebody's that raises what it likes."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        del request
        yield TextDelta("hel")
        raise RuntimeError(SECRET)

    async def aclose(self) -> None: ...


def test_whatever_a_model_raises_is_an_error_of_a_model() -> None:
    """Nothing ends the process of an agent."""
    told = asyncio.run(told_by(Broken()))

    assert type(told.error) is ModelError
    assert told.message.text == "hel"
    assert "RuntimeError" in str(told.error)
    assert SECRET not in str(told.error)


def test_a_host_can_play_a_turn_beforehand() -> None:
    """It does so when it imports the module; nothing is left of it."""
    preload.rehearse()


@pytest.mark.parametrize("code", [200, 400])
def test_what_is_compressed_is_not_read(code: int) -> None:
    """A few bytes of it may be as many as fill the memory."""
    head = HEAD.replace(b"200 OK", b"%d X" % code).replace(
        b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"
    )
    told = ask([[head, gzip.compress(event(content="hi") + end() + DONE)]])

    assert isinstance(told.error, ModelInterruptedError if code == 200 else ModelRequestError)
    assert told.message.text == ""


def test_a_server_on_this_machine_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy, which is another machine, can reach none here, and would get the key."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask([said(event(content="hi"))], api_key=SECRET).message.text == "hi"


def test_what_the_environment_has_for_one_server_no_other_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", SECRET)
    monkeypatch.setenv("OPENAI_PROJECT_ID", SECRET)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"x-one: {SECRET}\nauthorization: {SECRET}\nodd")

    async def run() -> dict[str, str]:
        async with ModelServer([said(event(content="hi"))]) as server:
            model = OpenAIModel("m", base_url=server.url)
            assert (await told_by(model)).message.text == "hi"
            await model.aclose()
            return server.asked[0].headers

    assert SECRET not in repr(asyncio.run(run()))

"""`OpenAIModel`: any server that speaks Chat Completions, by the openai SDK.

The SDK makes the request; what comes back is read from its response directly. For the SDK's own
stream does not say whether an answer ended or was cut, and to make objects of its events
takes more time than all the rest. Its retries are off: there is one rule (`retrying.py`).

The host imports this before it forks, if it is told to (`preload.py`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, cast

try:
    import httpx2
    import openai
except ImportError as error:
    raise ImportError("OpenAIModel needs the openai SDK: pip install 'jidocode[agent]'") from error

from jidocode.base.text import describe, quote, word
from jidocode.errors import (
    InvalidModelError,
    ModelAuthenticationError,
    ModelError,
    ModelInterruptedError,
    ModelRequestError,
    ModelUnavailableError,
)
from jidocode.otp.seconds import require_seconds
from jidocode.session.agent.bounding import ErrorAnswerError, bound
from jidocode.session.agent.chunks import ChunkReader, read_chunk
from jidocode.session.agent.failures import error_of, refusal_of, seconds_of, shown
from jidocode.session.agent.model import Delta, ModelRequest, Stop, StopReason
from jidocode.session.proxies import HERE

# Each request would be a line in the app's log, with its address, in which a key may stand.
for _name in ("httpx2", "httpcore2", "openai"):
    logging.getLogger(_name).setLevel(logging.WARNING)

ApiKey = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A key, or a function that returns the one that is valid now; it may be awaited for."""

SHORTEST_SECRET = 6
"""Characters of a header's value that is taken for a secret: shorter ones are words."""
MOST_KEYS = 100
"""Keys of a function that are known at once: those of requests under way are among them."""
LAST_WORDS = 5.0
"""Seconds for what may follow when an answer has ended: the count of its tokens."""
HANGING_UP = 0.1
"""Seconds for the server to end a response after its last event, so that its connection is kept."""
_STATUSES = range(400, 600)
"""What counts as an HTTP status where a server has it in a stream."""
_PLACES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""What may say where certificates are."""
MOST_EVENT_CHARACTERS = 64_000_000
"""Of the events of one answer: what sends more does not end."""


@lru_cache
def shared_ssl_context() -> ssl.SSLContext:
    """Return the one of this process: to read the certificates takes 20 ms and a megabyte.

    Raises:
        InvalidModelError: They are not where the environment says.
    """
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        where = [f"{name}={quote(os.environ[name])}" for name in _PLACES if name in os.environ]
        raise InvalidModelError(
            "the certificates by which servers are known cannot be read "
            f"({', '.join([*where, describe(error)])})"
        ) from error


class OpenAIModel:
    """A model behind Chat Completions: OpenAI's, or that of any compatible server.

    Neither the key nor a header is in its text, in a log line, or in an error.
    """

    def __init__(  # noqa: PLR0913 - all that a server may want
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: ApiKey | None = None,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        connect_timeout: float = 10.0,
        idle_timeout: float = 120.0,
        total_timeout: float = 900.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Know the server; nothing is sent yet.

        Args:
            model: Its name, as the server knows it.
            base_url: Where the server is, such as `http://127.0.0.1:8080/v1`; by default what
                OPENAI_BASE_URL says, else OpenAI's.
            api_key: The key, or a function that returns it, asked before each request. By
                default what OPENAI_API_KEY says, but with a *base_url* none: no server is sent
                the key of another one.
            headers: Sent with every request.
            parameters: Put into every request, by the server's own names; those of a
                `ModelRequest` count more.
            connect_timeout: Seconds to connect.
            idle_timeout: Seconds in which nothing at all comes, not even a sign of life.
            total_timeout: Seconds for one answer, from the request to its end.
            transport: What carries HTTP, in the place of a socket; for tests.

        Raises:
            InvalidModelError: One of these is none, or there are no certificates.
            InvalidTimeError: A time is none.
        """
        for name, seconds in (
            ("connect_timeout", connect_timeout),
            ("idle_timeout", idle_timeout),
            ("total_timeout", total_timeout),
        ):
            require_seconds(name, seconds)
        if not isinstance(cast("object", model), str) or not model:
            raise InvalidModelError(f"the name of a model is a text, not {quote(model)}")
        self._model = model
        self._headers = _checked_headers(headers or {})
        self._parameters = dict(parameters or {})
        self._total_timeout = total_timeout
        self._api_key: ApiKey | None = api_key
        if api_key is None and base_url is None:
            self._api_key = os.environ.get("OPENAI_API_KEY")
        self._keys: deque[str] = deque(maxlen=MOST_KEYS)
        timeout = httpx2.Timeout(idle_timeout, connect=connect_timeout)
        certificates = shared_ssl_context()
        try:
            # The SDK gets no key: it is sent with each request, from here.
            self._client = openai.AsyncOpenAI(
                api_key="none",
                base_url=base_url,
                max_retries=0,
                timeout=timeout,
                default_headers=_left_out() if base_url is not None else None,
                http_client=openai.DefaultAsyncHttpxClient(
                    verify=certificates,
                    timeout=timeout,
                    transport=transport,
                    mounts=dict.fromkeys(HERE),
                    # It would send the conversation, and the headers, to whomever it is told to.
                    follow_redirects=False,
                    event_hooks={"response": [bound]},
                ),
            )
            address = self._client.base_url
            self._host = address.host if address.scheme in {"http", "https"} else ""
        except (openai.OpenAIError, httpx2.InvalidURL, ValueError, TypeError, AttributeError):
            self._host = ""
        if not self._host:
            # Out here, and not quoted: a password may stand in it.
            problem = "the base_url of a model is an address such as http://127.0.0.1:8080/v1"
            raise InvalidModelError(problem)

    def __repr__(self) -> str:
        return f"OpenAIModel({self._model!r}, host={self._host!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an OpenAIModel holds a key and connections: pass on a ModelSpec instead")

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        """Ask once, and yield the deltas of the answer; see `Model.stream`."""
        begun = False
        failure: ModelError | Stop | None = None
        try:
            async with aclosing(self._answer(request)) as deltas:
                async for delta in deltas:
                    begun = True
                    yield delta
        except ModelError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever SDK and transport raise is sorted
            failure = self._sorted(error)
        # Raised out here, it has no context: that of the SDK holds the request, and so the key.
        if isinstance(failure, Stop):
            yield failure
        elif failure is not None:
            if begun and isinstance(failure, ModelUnavailableError):
                failure = ModelInterruptedError(failure.problem, failure.status)
            raise failure

    async def _answer(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._total_timeout
        reader, ended, characters = ChunkReader(), False, 0
        async with AsyncExitStack() as stack:
            async with asyncio.timeout_at(deadline):
                authorization = await self._authorization()
                response = await stack.enter_async_context(self._post(request, authorization))
            source = httpx2.EventSource(response.http_response, MOST_EVENT_CHARACTERS)
            events = cast("AsyncGenerator[httpx2.ServerSentEvent, None]", aiter(source))
            await stack.enter_async_context(aclosing(events))
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        event = await anext(events, None)
                except (TimeoutError, httpx2.TransportError):
                    if ended:
                        return
                    raise
                if event is None:
                    if ended:
                        return
                    raise ModelUnavailableError("the stream ended before the answer did")
                if event.data.startswith("[DONE]"):
                    for delta in reader.finish():
                        yield delta
                    ended, deadline = True, min(deadline, clock() + HANGING_UP)
                    continue
                characters += len(event.data)
                if characters > MOST_EVENT_CHARACTERS:
                    raise ModelInterruptedError(
                        f"more than {MOST_EVENT_CHARACTERS} characters came"
                    )
                try:
                    chunk = read_chunk(event.data)
                    if chunk.error:
                        raise self._refused_within(chunk.error)
                except ModelError:
                    if ended:
                        return
                    raise
                for delta in reader.read(chunk):
                    yield delta
                if reader.has_stopped and not ended:
                    ended, deadline = True, min(deadline, clock() + LAST_WORDS)

    def _post(self, request: ModelRequest, authorization: str | None) -> Any:
        """Return the request, to be entered; the response is open as long as that is."""
        # As the extra body all of it is sent as it is. As arguments the SDK would look for
        # files and aliases in each message of the conversation, half a millisecond each.
        body: dict[str, Any] = {
            "stream_options": {"include_usage": True},
            **self._parameters,
            **request.parameters,
            "messages": list(request.messages),
        }
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": tool.schema,
                    },
                }
                for tool in request.tools
            ]
        # Compressed, little that comes may be as much as fills the memory, or keeps the processor
        # busy for hours.
        headers: dict[str, Any] = {"Accept-Encoding": "identity", **self._headers}
        if not any(name.lower() == "authorization" for name in headers):
            headers["Authorization"] = authorization or openai.Omit()
        stream: Literal[True] = True
        return self._client.chat.completions.with_streaming_response.create(
            model=self._model, messages=(), stream=stream, extra_headers=headers, extra_body=body
        )

    async def _authorization(self) -> str | None:
        key: object = self._api_key
        if callable(key):
            problem = ""
            try:
                # In a thread: a function may ask somebody, and would hold up all the rest.
                key = key() if inspect.iscoroutinefunction(key) else await asyncio.to_thread(key)
                if inspect.isawaitable(key):
                    key = await key
            except Exception as error:  # noqa: BLE001 - it is the app's, and may quote the key
                problem = f"the function for the key raised {type(error).__name__}"
            if problem:
                raise ModelAuthenticationError(problem)
        if key is None:
            return None
        if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable():
            raise ModelAuthenticationError("the key is no text that can be sent")
        if key not in self._keys:
            self._keys.append(key)
        return f"Bearer {key}"

    # What goes wrong

    @property
    def _secrets(self) -> list[str]:
        """What no error may quote."""
        headers = [each for each in self._headers.values() if len(each) >= SHORTEST_SECRET]
        url = self._client.base_url
        basic = b64encode(f"{url.username}:{url.password}".encode()).decode("ascii")
        return [*headers, url.password, *([basic] if url.password else []), *self._keys]

    def _sorted(self, error: Exception) -> ModelError | Stop:
        cause: BaseException = error
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
        if isinstance(cause, ErrorAnswerError):
            refusal = refusal_of(cause.status, cause.body)
            if refusal.is_filter:
                return Stop(StopReason.CONTENT_FILTER)
            retry_after = seconds_of(cause.retry_after, datetime.now(UTC))
            return error_of(refusal, retry_after, self._secrets)
        if isinstance(cause, ModelError):
            return cause
        said = shown(f"{type(cause).__name__}: {cause}", self._secrets)
        if isinstance(cause, (TimeoutError, httpx2.TimeoutException)):
            return ModelUnavailableError(f"nothing came in time ({type(cause).__name__})")
        if isinstance(cause, httpx2.SSEError):
            return ModelInterruptedError(f"the answer is no stream of events ({said})")
        if isinstance(cause, (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)):
            return ModelRequestError(f"it cannot be sent ({type(cause).__name__})")
        if isinstance(cause, (httpx2.RequestError, httpx2.StreamError, OSError)):
            reached = not isinstance(cause, httpx2.ConnectError)
            lost = "the connection broke" if reached else f"{word(self._host)} cannot be reached"
            return ModelUnavailableError(f"{lost} ({said})")
        # Such as what cannot be made JSON; its message quotes the conversation.
        return ModelError(f"the request could not be made ({type(cause).__name__})")

    def _refused_within(self, said: object) -> ModelError:
        """Return the error that stands in the stream, in the place of the rest of the answer."""
        status = 500
        if isinstance(said, dict):
            fields = cast("dict[str, object]", said)
            for name in ("code", "status", "status_code"):
                number = fields.get(name)
                if isinstance(number, int) and number in _STATUSES:
                    status = number
        return error_of(refusal_of(status, cast("object", {"error": said})), None, self._secrets)


def _left_out() -> dict[str, Any]:
    """Return the headers that the SDK takes from the environment: they are meant for OpenAI."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    names = [line.partition(":")[0].strip() for line in lines if ":" in line]
    return dict.fromkeys([*names, "OpenAI-Organization", "OpenAI-Project"], openai.Omit())


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in cast("Mapping[object, object]", headers).items():
        if not isinstance(name, str) or not name.isascii() or not name.replace("-", "").isalnum():
            raise InvalidModelError(f"the name of a header is letters and -, not {quote(name)}")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise InvalidModelError(f"the value of the header {name} is no text that can be sent")
    return dict(headers)

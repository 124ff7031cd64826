"""What stands before every endpoint: who may come in, how many at once, and how much they may bring."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from conjoin.serving.limits import Limits
from conjoin.serving.metrics import Metrics
from conjoin.serving.refusals import Refusal

__all__ = ["FREE", "Gate", "answer_to"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
NONE: Mapping[str, str] = MappingProxyType({})
FREE = "/health"  # is answered to everybody, and always
CLOSING = (408, 413, 500)  # after the first two the rest of the body is not read, after the last uvicorn closes


class Gate:
    """An ASGI application around another. A body is read whole before the application sees the request."""

    def __init__(self, app: Any, limits: Limits, metrics: Metrics, keys: Sequence[str] = ()) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self.keys = [key.encode() for key in keys]
        self.draining = False
        self.inside = 0  # requests that are being answered
        self.paths: frozenset[str] = frozenset()  # that the application answers
        self.connections: Callable[[], int] = lambda: 0  # that the server has open
        self.check_room: Callable[[Any], None] = lambda scope: None  # raises a Refusal, before a body is parsed
        self.hang_up: Callable[[Any], None] = lambda client: None  # on a client, by its address

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Lets a request in, or refuses it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        if scope["method"] == "HEAD":  # GET, of whose answer uvicorn leaves out the body
            scope = {**scope, "method": "GET"}

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            try:
                async with asyncio.timeout(self.limits.seconds):
                    await send(message)
            except TimeoutError:  # a client that reads nothing
                self.hang_up(scope["client"])

        try:
            if scope["path"] != FREE:
                self.check(scope)
                receive = await self.read(scope, receive)
                self.check_room(scope)
            self.inside += 1
            try:
                await self.app(scope, receive, noted)
            finally:
                self.inside -= 1
        except Refusal as refusal:
            self.metrics.refusals.labels(refusal.name).inc()
            await answer_to(refusal)(scope, receive, noted)
        finally:
            route = scope["path"] if scope["path"] in self.paths else "other"  # no endless labels
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.latency.labels(route).observe(time.perf_counter() - started)

    def check(self, scope: Any) -> None:
        """Raises a Refusal for who may not come in now."""
        if self.connections() > self.limits.connections:
            sentence = f"{self.limits.connections} connections are open already; try again later."
            raise Refusal(503, "connections", sentence, retry_after=1)
        if self.keys and not self.known(dict(scope["headers"]).get(b"authorization", b"")):
            raise Refusal(401, "api_key", "a key was expected: Authorization: Bearer KEY.")
        if self.draining:
            raise Refusal(503, "draining", "the server is about to stop; try again later.", retry_after=5)

    def known(self, header: bytes) -> bool:
        """Whether a header has one of the keys, in a time that says nothing about them."""
        scheme, _, came = header.partition(b" ")
        if scheme.lower() == b"basic":  # what browsers ask people for: any name, and the key as password
            try:
                came = base64.b64decode(came, validate=True).partition(b":")[2]
            except ValueError:
                return False
        right = [hmac.compare_digest(came.strip(), key) for key in self.keys]
        return scheme.lower() in (b"bearer", b"basic") and any(right)

    async def read(self, scope: Any, receive: Receive) -> Receive:
        """A `receive` that has the whole body. Raises a Refusal for one that is too large or too slow."""
        told = dict(scope["headers"]).get(b"content-length", b"0")
        self.check_size(int(told) if told.isdigit() else 0)
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self.limits.queue_seconds):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        break
                    body += message.get("body", b"")
                    self.check_size(len(body))
                    more = message.get("more_body", False)
        except TimeoutError:
            sentence = f"the request's body took more than {self.limits.queue_seconds:g} seconds to come."
            raise Refusal(408, "queue_seconds", sentence) from None
        first: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again() -> Message:
            return first.pop() if first else await receive()

        return again

    def check_size(self, size: int) -> None:
        """Raises a Refusal for a body that is too large."""
        self.limits.refuse("body_bytes", size, "bytes of a body", status=413)


def answer_to(refusal: Refusal, headers: Mapping[str, str] = NONE) -> Response:
    """The answer that a refusal is, with further headers. What it quotes may be no character, so it is written in ASCII."""
    headers = dict(headers)
    if refusal.retry_after is not None:
        headers["retry-after"] = str(max(1, round(refusal.retry_after)))
    if refusal.status == 401:
        headers["www-authenticate"] = 'Basic realm="conjoin", charset="UTF-8"'
    if refusal.status in CLOSING:
        headers["connection"] = "close"
    return Response(json.dumps(refusal.body()), refusal.status, headers, "application/json")

"""The HTTP application: endpoints of ours, how requests are checked, and what an answer looks like."""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from conjoin import __version__
from conjoin.errors import InputError, nearest
from conjoin.serving import completions
from conjoin.serving.answers import (
    ASKED,
    POSTED,
    WRITTEN,
    Alive,
    Attention,
    Information,
    Readiness,
    Refused,
    Written,
    answers,
)
from conjoin.serving.bodies import Completion, Generate, Looking
from conjoin.serving.gate import FREE, Gate, answer_to
from conjoin.serving.jobs import Answer
from conjoin.serving.limits import Limits
from conjoin.serving.looking import looked_at
from conjoin.serving.metrics import Metrics
from conjoin.serving.mistakes import invalid, quoted, unknown
from conjoin.serving.refusals import Refusal
from conjoin.serving.requests import Exchange
from conjoin.serving.served import Served

__all__ = ["App", "Stream", "event", "until_gone"]

logger = logging.getLogger("conjoin.serving")
T = TypeVar("T")
PAGE = Path(__file__).with_name("page.html")
POLICY = "default-src 'none'; connect-src 'self'; img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
BODIES: dict[str, Any] = {
    "/generate": Generate,
    "/generate/stream": Generate,
    "/v1/completions": Completion,
    "/attention": Looking,
}
WRITING = ("/generate", "/generate/stream", "/v1/completions")


class App:
    """Models behind endpoints; `asgi` is what a server runs."""

    def __init__(
        self,
        models: Sequence[Served],
        limits: Limits,
        metrics: Metrics,
        *,
        keys: Sequence[str] = (),
        origins: Sequence[str] = (),
        log_texts: bool = False,
    ) -> None:
        self.models = {served.name: served for served in models}
        self.limits, self.metrics, self.log_texts = limits, metrics, log_texts
        self.warm: set[str] = set()
        self.when_warm: Callable[[], None] = lambda: None  # is done once all models are
        self.looking = asyncio.Lock()  # one pass at a time beside those who write
        self.api = FastAPI(
            title="conjoin",
            version=__version__,
            lifespan=self.lifespan,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,  # a redirect would trust the Host header
        )
        self.routes()
        self.gate = Gate(self.api, limits, metrics, keys)
        self.gate.check_room = self.check_room
        self.gate.paths = frozenset({"/", *self.api.openapi()["paths"]})
        self.asgi: Any = self.gate
        if origins:
            self.asgi = CORSMiddleware(self.gate, list(origins), allow_methods=["*"], allow_headers=["*"])

    @asynccontextmanager
    async def lifespan(self, api: FastAPI) -> AsyncIterator[None]:
        """The schedulers' threads run as long as the server does; models are warmed beside what is served already."""
        for served in self.models.values():
            served.scheduler.start()
        warming = asyncio.create_task(self.warm_up())
        yield
        warming.cancel()
        for served in self.models.values():
            await asyncio.to_thread(served.scheduler.stop)

    async def warm_up(self) -> None:
        """Lets each model write something."""
        for served in self.models.values():
            try:
                await asyncio.to_thread(served.warm)
            except InputError as error:
                logger.error("never ready: %s", error)
                return
            self.warm.add(served.name)
        self.when_warm()
        logger.info("ready: %s", ", ".join(self.models))

    @property
    def ready(self) -> bool:
        """Whether requests are answered at full speed, and will be."""
        alive = all(served.scheduler.alive for served in self.models.values())
        return alive and len(self.warm) == len(self.models) and not self.gate.draining

    def check_room(self, scope: Any) -> None:
        """Raises a Refusal for a request that writes where no queue has room for a text.

        Nothing of it is parsed then: where hundreds come at once, most of the time would go into those that are refused.
        """
        first, *others = (served.scheduler for served in self.models.values())
        if scope["path"] in WRITING and scope["method"] == "POST" and not any(one.has_room(1) for one in others):
            first.check_room(1)

    def chosen(self, name: str | None) -> Served:
        """The model of a name; the only one where none is given. Raises a Refusal."""
        known = ", ".join(f'"{one}"' for one in self.models)
        if name is None and len(self.models) > 1:
            raise Refusal(422, "model", f'several models are here; "model" chooses one of {known}.', field="model")
        if name is not None and name not in self.models:
            sentence = f"there is no model {quoted(name)}{nearest(name, self.models)}; one of {known}."
            raise Refusal(404, "model", sentence, field="model")
        return next(iter(self.models.values())) if name is None else self.models[name]

    def routes(self) -> None:
        """The endpoints."""
        api = self.api
        for kind in (Refusal, RequestValidationError, HTTPException):
            api.exception_handler(kind)(self.refused)
        api.exception_handler(Exception)(self.failed)
        posted = (*ASKED, *POSTED)
        written = (*posted, *WRITTEN)
        ready = answers(Readiness)
        ready["responses"][503] = {"model": Readiness | Refused}
        events = answers(other="text/event-stream", statuses=written)
        api.get(FREE, **answers(Alive, statuses=()))(health)
        api.get("/ready", **ready)(self.readiness)
        api.get("/info", **answers(Information))(self.info)
        api.get("/metrics", response_class=Response, **answers(other="text/plain"))(self.prometheus)
        api.post("/generate", **answers(Written, statuses=written))(self.generate)
        api.post("/generate/stream", response_class=StreamingResponse, **events)(self.stream)
        api.post("/attention", **answers(Attention, statuses=posted))(self.attention)
        api.get("/", response_class=HTMLResponse, include_in_schema=False)(page)
        completions.routes(self)

    async def refused(self, request: Request, error: Exception) -> Response:
        """The answer to what cannot be, in one form."""
        headers = {}
        if isinstance(error, RequestValidationError):
            error = invalid(request, error, BODIES[request.url.path].model_fields)
        elif isinstance(error, HTTPException):
            headers, error = dict(error.headers or {}), unknown(request, error)
        assert isinstance(error, Refusal)
        self.metrics.refusals.labels(error.name).inc()
        return answer_to(error, headers)

    async def failed(self, request: Request, error: Exception) -> Response:
        """The answer where we have made a mistake, which the log then has."""
        return answer_to(Refusal(500, "internal", "the server failed at this request; the log says why."))

    # Endpoints.

    async def readiness(self) -> JSONResponse:
        """200 once every model is loaded and warmed, until the server is about to stop."""
        return JSONResponse({"ready": self.ready, "models": sorted(self.warm)}, 200 if self.ready else 503)

    async def prometheus(self) -> Response:
        """Metrics, for Prometheus."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def info(self) -> dict[str, Any]:
        """What is served, and within which limits."""
        return {
            "conjoin": __version__,
            "limits": vars(self.limits),
            "models": {
                served.name: {
                    "encoder": served.model.config.encoder.model_type,
                    "decoder": served.model.config.decoder.model_type,
                    "source_tokens": served.source_limit({}),
                    "new_tokens": served.new_tokens,
                    "memory": served.memory,
                    "settings": served.model.config.generation.to_dict(),
                }
                for served in self.models.values()
            },
        }

    async def generate(self, body: Generate, request: Request) -> dict[str, Any]:
        """What the model writes of a text, or of each of several."""
        served, texts = self.chosen(body.model), texts_of(body)
        with Exchange(served) as exchange:
            await exchange.send(texts, body.settings(), body.truncation, streams=False)
            answers = await until_gone(request, exchange.answers())
        self.log("/generate", texts, answers)
        return {"model": served.name, "results": [result(exchange, one) for one in answers]}

    async def stream(self, body: Generate) -> StreamingResponse:
        """The same in pieces, as server-sent events: {"index", "text"} many times, then {"index", "result"} for each text."""
        served, texts = self.chosen(body.model), texts_of(body)
        exchange = Exchange(served)
        await exchange.send(texts, body.settings(), body.truncation, streams=True)

        async def events() -> AsyncIterator[str]:
            answers = []
            try:
                async for index, told in exchange.events():
                    if isinstance(told, str):
                        yield event({"index": index, "text": told})
                    else:
                        answers.append(told)
                        yield event({"index": index, "result": result(exchange, told)})
                yield event("[DONE]")
            except Refusal as refusal:
                self.metrics.refusals.labels(refusal.name).inc()
                yield event(refusal.body())
            self.log("/generate/stream", texts, answers)

        return Stream(exchange, events())

    async def attention(self, body: Looking) -> dict[str, Any]:
        """What each token of a text was read from: cross-attention weights over the source, and where tokens stand."""
        served = self.chosen(body.model)
        most = self.limits.queue_seconds
        try:
            async with asyncio.timeout(most):
                await self.looking.acquire()
        except TimeoutError:
            sentence = f"the text waited more than {most:g} seconds; try again later."
            raise Refusal(503, "queue_seconds", sentence, retry_after=1) from None
        try:
            return await asyncio.to_thread(looked_at, served, body.source, body.text)
        finally:
            self.looking.release()

    def log(self, endpoint: str, texts: Sequence[str], answers: Sequence[Answer]) -> None:
        """A line in the log for a request; its texts only where that was asked for."""
        made = sum(one.tokens for answer in answers for one in answer.sequences)
        read = sum(answer.source_tokens for answer in answers)
        seconds = max((answer.seconds for answer in answers), default=0.0)
        told = f" of {json.dumps(list(texts))}" if self.log_texts else ""
        logger.info(
            "%s: %d texts, %d tokens read, %d written, %.3f s%s", endpoint, len(texts), read, made, seconds, told
        )


async def page() -> HTMLResponse:
    """The page to play with, which asks nobody but this server."""
    return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"content-security-policy": POLICY})


class Stream(StreamingResponse):
    """Events of an exchange, which is over with the response: also where the client has gone before the first."""

    def __init__(self, exchange: Exchange, events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self.exchange = exchange

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Sends them."""
        with self.exchange:
            await super().__call__(scope, receive, send)


async def health() -> dict[str, str]:
    """That the server is alive."""
    return {"status": "alive"}


def texts_of(body: Any) -> list[str]:
    """The texts of a request, of which there must be some. Raises a Refusal."""
    if (body.text is None) == (body.texts is None):
        came = "neither" if body.text is None else "both"
        raise Refusal(422, "text", f'"text" or "texts" was expected, and {came} came.', field="text")
    return [body.text] if body.texts is None else list(body.texts)


def result(exchange: Exchange, answer: Answer) -> dict[str, Any]:
    """An answer as JSON."""
    texts = exchange.texts_of(answer)
    sequences = [
        {
            "text": text,
            "score": None if one.score is None or not math.isfinite(one.score) else one.score,  # which JSON cannot say
            "tokens": one.tokens,
            "finish_reason": "stop" if one.ended else "length",
        }
        for text, one in zip(texts, answer.sequences, strict=True)
    ]
    return {
        "text": texts[0],
        "sequences": sequences,
        "source_tokens": answer.source_tokens,
        "seconds": round(answer.seconds, 4),
        "queue_seconds": round(answer.queued, 4),
    }


def event(data: Any) -> str:
    """A server-sent event."""
    return f"data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}\n\n"


async def until_gone(request: Request, work: Awaitable[T]) -> T:
    """What the work gives. Where the client goes away first, the work is given up: raises a Refusal that nobody reads."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(left(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Refusal(499, "client", "the client went away.")
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


async def left(request: Request) -> None:
    """Returns when the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""OpenAI's interface of completions, for programs that speak it: the same work, other names."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from conjoin.serving.answers import ASKED, POSTED, WRITTEN, Completed, Model, Models, answers
from conjoin.serving.bodies import Completion
from conjoin.serving.endings import Ending, ended_before
from conjoin.serving.jobs import Answer
from conjoin.serving.refusals import Refusal
from conjoin.serving.requests import Exchange

__all__ = ["routes"]


def routes(app: Any) -> None:
    """Adds the endpoints to an App."""
    from conjoin.serving.app import Stream, event, until_gone

    async def completions(body: Completion, request: Request) -> Any:
        """OpenAI's completions, streaming too; any generation parameter may stand beside its fields."""
        if (name := body.meaningless()) is not None:
            raise Refusal(422, "unsupported", f'"{name}" has no meaning for this server; leave it out.', field=name)
        if body.stream and (body.n or 1) > 1:
            raise Refusal(422, "unsupported", '"stream" is of one text for each prompt; leave "n" out.', field="n")
        served = app.chosen(body.model)
        texts = [body.prompt] if isinstance(body.prompt, str) else list(body.prompt)
        exchange = Exchange(served)
        await exchange.send(texts, body.settings(), body.truncation, streams=bool(body.stream))
        head = {"id": f"cmpl-{secrets.token_hex(12)}", "object": "text_completion", "created": int(time.time())}
        head |= {"model": served.name}
        if body.stream:
            wants_usage = bool((body.stream_options or {}).get("include_usage"))
            return Stream(exchange, chunks(app, exchange, head, wants_usage, texts, body.stops))
        with exchange:
            answers = await until_gone(request, exchange.answers())
        app.log("/v1/completions", texts, answers)
        choices = [
            choice(ended_before(text, body.stops), i, finish(one.ended))
            for i, (text, one) in enumerate(
                (text, one)
                for answer in answers
                for text, one in zip(exchange.texts_of(answer), answer.sequences, strict=True)
            )
        ]
        return JSONResponse({**head, "choices": choices, "usage": usage(answers)})

    async def chunks(
        app: Any,
        exchange: Exchange,
        head: dict[str, Any],
        wants_usage: bool,
        texts: Sequence[str],
        stops: Sequence[str],
    ) -> AsyncIterator[str]:
        answers: list[Answer] = []
        endings = [Ending(stops) for _ in texts]
        try:
            async for index, told in exchange.events():
                if isinstance(told, Answer):
                    answers.append(told)
                    last = choice(endings[index].rest(), index, finish(told.sequences[0].ended))
                    yield event({**head, "choices": [last]})
                elif piece := endings[index].after(told):
                    yield event({**head, "choices": [choice(piece, index, None)]})
            if wants_usage:
                yield event({**head, "choices": [], "usage": usage(answers)})
            yield event("[DONE]")
        except Refusal as refusal:
            app.metrics.refusals.labels(refusal.name).inc()
            yield event(refusal.body())
        app.log("/v1/completions", texts, answers)

    async def models() -> dict[str, Any]:
        """The models, in OpenAI's form."""
        return {"object": "list", "data": [described(name) for name in app.models]}

    async def model(name: str) -> dict[str, Any]:
        """A model, in OpenAI's form."""
        return described(app.chosen(name).name)

    told = answers(Completed, statuses=(*ASKED, *POSTED, *WRITTEN), other="text/event-stream")
    app.api.post("/v1/completions", **told)(completions)
    app.api.get("/v1/models", **answers(Models))(models)
    app.api.get("/v1/models/{name:path}", **answers(Model, statuses=(*ASKED, 404)))(model)


def described(name: str) -> dict[str, Any]:
    """A model, in OpenAI's form."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "conjoin"}


def choice(text: str, index: int, reason: str | None) -> dict[str, Any]:
    """One of the texts, or a piece of it."""
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}


def finish(ended: bool) -> str:
    """Why a text ended."""
    return "stop" if ended else "length"


def usage(answers: Sequence[Answer]) -> dict[str, int]:
    """How many tokens were read and written."""
    read = sum(answer.source_tokens for answer in answers)
    made = sum(one.tokens for answer in answers for one in answer.sequences)
    return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}

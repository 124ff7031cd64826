"""What the endpoints answer, and the one form of every refusal, as the OpenAPI document says it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "ASKED",
    "POSTED",
    "WRITTEN",
    "Alive",
    "Attention",
    "Completed",
    "Information",
    "Model",
    "Models",
    "Readiness",
    "Refused",
    "Written",
    "answers",
]

PROSE = {
    400: "The body is no JSON.",
    401: "A key was expected.",
    404: "There is no such model.",
    408: "The body took too long to come.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "A field is not what was expected, or asks for more than this server's limits.",
    429: "The queue is full.",
    500: "The model failed; the log says why.",
    503: "Not now: too many connections, too long a wait, or the server is about to stop.",
}
ASKED = (401, 408, 413, 503)  # of every endpoint but /health: what stands before all of them says so
POSTED = (400, 404, 415, 422)  # where a body is read
WRITTEN = (429, 500)  # where the model writes


Place = Annotated[list[int], Field(min_length=2, max_length=2)]


class Exactly(BaseModel):
    """An object of these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Problem(Exactly):
    """What is refused: a name for programs, a sentence for people, the field at fault."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str


class Refused(Exactly):
    """A refusal."""

    error: Problem


class Alive(Exactly):
    """The process is."""

    status: Literal["alive"]


class Readiness(Exactly):
    """Whether requests are answered at full speed, and the models that are warm."""

    ready: bool
    models: list[str]


class Served(Exactly):
    """A model."""

    encoder: str
    decoder: str
    source_tokens: int
    new_tokens: int
    memory: int
    settings: dict[str, Any]


class Information(Exactly):
    """What is served, within which limits."""

    conjoin: str
    limits: dict[str, float]
    models: dict[str, Served]


class Sequence(Exactly):
    """One of the sequences that were written of a text; the score is of beams."""

    text: str
    score: float | None
    tokens: int
    finish_reason: Literal["stop", "length"]


class Result(Exactly):
    """What was written of a text, the best first."""

    text: str
    sequences: list[Sequence]
    source_tokens: int
    seconds: float
    queue_seconds: float


class Written(Exactly):
    """A result for each text."""

    model: str
    results: list[Result]


class Attention(Exactly):
    """Where tokens stand in source and text, [from, to] in characters, and each of the text's weights over the source."""

    source: list[Place]
    text: list[Place]
    weights: list[list[float]]


class Choice(Exactly):
    """A text, in OpenAI's form."""

    text: str
    index: int
    logprobs: None
    finish_reason: Literal["stop", "length"]


class Usage(Exactly):
    """Tokens that were read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completed(Exactly):
    """The choices, in OpenAI's form."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Model(Exactly):
    """A model, in OpenAI's form."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["conjoin"]


class Models(Exactly):
    """The models, in OpenAI's form."""

    object: Literal["list"]
    data: list[Model]


def answers(model: Any = None, *, statuses: tuple[int, ...] = ASKED, other: str | None = None) -> dict[str, Any]:
    """How an endpoint is declared: 200 with a model, another type of content, or both; at each other status a refusal."""
    found: dict[int, Any] = {status: {"model": Refused, "description": PROSE[status]} for status in statuses}
    found[200] = {} if model is None else {"model": model}
    if other is not None:
        found[200]["content"] = {other: {}}
    return {"responses": found, "response_model": None}

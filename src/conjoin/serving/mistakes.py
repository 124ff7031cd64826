"""What the framework refuses by itself, as the server says it: bodies that are none, fields, paths, methods."""

import json
import re
from collections.abc import Iterable
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from conjoin.errors import json_kind, nearest
from conjoin.serving.refusals import Refusal

__all__ = ["invalid", "quoted", "unknown"]

NAMES = {400: "body", 404: "path", 405: "method"}
LONGEST = 200  # characters of what somebody sent that are said again
KIND = re.compile(r"str|int|float|bool|constrained-\w+|(list|tuple)\[.*\]")  # as pydantic names one of several


def invalid(request: Request, error: RequestValidationError, known: Iterable[str]) -> Refusal:
    """A body that is not what was expected: names the field and, where it is unknown, the nearest of those that are known."""
    errors = error.errors()
    first = errors[0]
    if first["type"] == "json_invalid":
        at, why = first["loc"][-1], first["ctx"]["error"]
        return Refusal(400, "body", f"the body is not JSON: {why} at character {at}.")
    if len(first["loc"]) == 1:
        return no_object(request, first["input"])
    told = most_telling([one for one in errors if one["loc"][1] == first["loc"][1]])
    where = places(told)
    field = ".".join(where)[:LONGEST]
    if told["type"] == "extra_forbidden":
        sentence = f"there is no field {quoted(field)}{nearest(where[-1], known)}."
        return Refusal(422, "unknown_field", sentence, field=field)
    said = field if field.isprintable() else quoted(field)
    return Refusal(422, "invalid_value", f"{said}: {told['msg']}.", field=field)


def no_object(request: Request, body: Any) -> Refusal:
    """A body that is empty, is not said to be JSON, or is JSON of another kind."""
    if body is None and request.headers.get("content-length", "0") == "0":
        return Refusal(400, "body", "the body is empty; a JSON object was expected.")
    if isinstance(body, bytes):
        came = request.headers.get("content-type")
        said = f"content-type is {quoted(came)}" if came else "no content-type came"
        return Refusal(415, "content_type", f'{said}; "application/json" was expected.')
    return Refusal(422, "invalid_value", f"the body is {json_kind(body)}; a JSON object was expected.", field="body")


def most_telling(errors: list[Any]) -> Any:
    """Of what each kind that a field may be says of it, what the kind says that came nearest."""
    return max(errors, key=lambda one: (not one["type"].endswith("_type"), len(one["loc"])))


def places(error: Any) -> list[str]:
    """The field, and where in its value: without the names of the kinds that it may be."""
    _, field, *within = error["loc"]
    return [str(field), *(str(one) for one in within if not KIND.fullmatch(str(one)))]


def quoted(name: str) -> str:
    """A name that somebody sent, within one line."""
    return json.dumps(name, ensure_ascii=False)


def unknown(request: Request, error: HTTPException) -> Refusal:
    """A path, a method, or a body that the framework cannot read."""
    sentence = f"{request.method} {request.url.path[:LONGEST]}: {error.detail}."
    if error.status_code == 400:
        sentence = "the body cannot be read as JSON: it is not UTF-8, or too deep, or has too long a number."
    return Refusal(error.status_code, NAMES.get(error.status_code, "http"), sentence)

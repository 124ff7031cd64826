"""Every endpoint from its own OpenAPI document: nothing that comes makes the server fail, and every answer is as documented.

SERVING_CASES=1000 pytest tests/test_serving_fuzzing.py tries as many of each kind.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import tiny
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from test_serving_http import Running

from conjoin.pipelines import pipeline
from conjoin.serving.bodies import Completion, Generate, Looking

CASES = int(os.environ.get("SERVING_CASES", "20"))
cases = settings(
    max_examples=CASES,
    deadline=None,
    derandomize="SERVING_CASES" not in os.environ,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
POSTS = {"/generate": Generate, "/generate/stream": Generate, "/v1/completions": Completion, "/attention": Looking}
GETS = ("/health", "/ready", "/info", "/metrics", "/v1/models")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    patch = pytest.MonkeyPatch()
    patch.setenv("CONJOIN_ENGINE", "torch")
    running = Running({"tiny": pipeline(tiny.join(tmp_path_factory.mktemp("fuzzed") / "bert", "bert"))})
    yield running
    running.stop()
    patch.undo()


@pytest.mark.parametrize(
    ("path", "mode"),
    [*((path, mode) for path in POSTS for mode in GenerationMode), *((path, GenerationMode.POSITIVE) for path in GETS)],
    ids=lambda x: getattr(x, "value", x),
)
def test_answers_are_as_the_document_says(server: Running, path: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(server.app.api.openapi())
    operation = schema[path]["POST" if path in POSTS else "GET"]

    @cases
    @given(case=operation.as_strategy(generation_mode=mode))
    def tried(case: Any) -> None:
        answer = case.call(base_url=server.url)
        checks = CHECKS[:-1] if answer.status_code == 413 else CHECKS  # too large, whatever it says
        case.validate_response(answer, checks=checks)

    tried()


ODD: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 9, 255, 10**9, 2**31, 2**63, 10**40, -0.5, 0.3, 1.0, 1.7, 1e-300, 1e308),
    *("", "cat", "\x00", "\ud800", "x" * 999, "early", [], {}, [[]], [7], [7, 7, 8], [-1], [10**6], ["cat", "."]),
    *([[7]], [[7, 8], [9]], [[[7, 8], [9]]], [[[7], 1.5]], [[[7, 8], -2.0], [[9], 1e308]], [[[], 1.0]], [1, 2.0]),
    *({"a": 1}, {"7": 3.0}, {"7": -100, "x": 1}, {"greenlist_ratio": 0.3}, {"context_width": 1, "bias": 1e308}),
]


@pytest.mark.parametrize("path", ["/generate", "/generate/stream", "/v1/completions"])
def test_settings_of_any_kind_are_taken_or_refused(server: Running, path: str) -> None:
    """A text that can be read, so that what is taken is written with."""
    fields = st.sampled_from([*sorted(set(POSTS[path].model_fields) - {"text", "texts", "prompt"}), "\ud800", "\n"])
    name = "prompt" if path == "/v1/completions" else "text"
    base = {name: tiny.TEXTS[0], "model": "tiny"}

    @settings(cases, max_examples=5 * CASES)
    @given(st.dictionaries(fields, st.sampled_from(ODD), min_size=1, max_size=4), st.booleans(), st.integers(1, 4))
    def tried(asked: dict[str, Any], sampled: bool, beams: int) -> None:
        body = json.dumps({**base, "max_new_tokens": 6, "do_sample": sampled, "num_beams": beams, **asked})
        answer = server.client.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400, 404, 422), (body, answer.text)
        assert '"code"' not in answer.text or answer.status_code != 200, (body, answer.text)
        if answer.status_code != 200:
            said = answer.json()["error"]
            assert said["code"]
            assert "\n" not in said["message"]

    tried()


WHOLE = json.dumps({"text": tiny.TEXTS[0], "max_new_tokens": 3}).encode()
PIECES = [
    b"NaN",
    b"-1e999",
    b"9" * 5000,
    b"[" * 9000,
    b'{"a":' * 3000,
    b"\xff\xfe",
    b"\x00",
    b"\\ud800",
    b'"',
    b"}",
    b" " * 9000,
]


@pytest.mark.parametrize("path", POSTS)
def test_bodies_that_are_none_are_refused(server: Running, path: str) -> None:
    spliced = st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 12), st.sampled_from(PIECES)).map(
        lambda x: WHOLE[: x[0]] + x[2] + WHOLE[x[0] + x[1] :]
    )
    kinds = st.sampled_from(["application/json", "text/plain", "", "application/x-www-form-urlencoded", "\xe9"])

    @cases
    @given(st.binary(max_size=200) | spliced, kinds)
    def tried(body: bytes, kind: str) -> None:
        answer = server.client.post(path, content=body, headers={"content-type": kind.encode("latin-1")})
        assert answer.status_code in (200, 400, 413, 415, 422), (body, answer.text)

    tried()

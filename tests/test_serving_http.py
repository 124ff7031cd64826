"""The server over HTTP, a real one on this machine: endpoints, refusals, keys, streams, OpenAI's client, draining."""

import asyncio
import gc
import json
import logging
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from conjoin.errors import InputError
from conjoin.pipelines import Writer, pipeline
from conjoin.serving.app import App
from conjoin.serving.endings import Ending, ended_before
from conjoin.serving.limits import Limits
from conjoin.serving.metrics import Metrics
from conjoin.serving.running import Server, bound, configured, run
from conjoin.serving.served import Served

TEXT = "the cat sat on the mat ."
TEXTS = [TEXT, "a dog ran .", "it was here !"]
SMALL = {"new_tokens": 20, "body_bytes": 20_000, "texts": 8, "connections": 40}


class Running:
    """A server in a thread, and clients for it."""

    def __init__(self, models: dict[str, Writer], keys: list[str] | None = None, **others: Any) -> None:
        self.limits, self.metrics = Limits(**{**SMALL, **others.pop("limits", {})}), Metrics()
        served = [Served(name, write, self.limits, self.metrics.of(name)) for name, write in models.items()]
        self.app = App(served, self.limits, self.metrics, keys=keys or [], **others)
        self.listening = bound("127.0.0.1", 0, 100)
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.server = Server(self.app, configured(self.app))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]})
        self.thread.start()
        self.client = httpx.Client(base_url=self.url, timeout=60)
        deadline = time.monotonic() + 60
        while not self.app.ready and time.monotonic() < deadline:
            time.sleep(0.02)

    def stop(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join()
        self.listening.close()


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    patch = pytest.MonkeyPatch()
    patch.setenv("CONJOIN_ENGINE", "torch")
    yield pipeline(tiny.join(tmp_path_factory.mktemp("http") / "bert", "bert"))
    patch.undo()


@pytest.fixture(scope="module")
def server(write: Writer) -> Iterator[Running]:
    running = Running({"tiny": write})
    yield running
    running.stop()


def events(answer: httpx.Response) -> list[Any]:
    """The data of a stream's events."""
    data = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def error(answer: httpx.Response) -> tuple[int, str]:
    """An answer's status and the name of what it refuses."""
    return answer.status_code, answer.json()["error"]["code"]


# Ours.


def test_a_text_and_several_are_what_the_pipeline_writes(server: Running, write: Writer) -> None:
    one = server.client.post("/generate", json={"text": TEXT, "max_new_tokens": 9}).json()
    assert one["model"] == "tiny"
    assert one["results"][0]["text"] == write(TEXT, max_new_tokens=9)
    asked = {"num_beams": 4, "num_return_sequences": 2, "max_new_tokens": 12, "length_penalty": 1.5}
    several = server.client.post("/generate", json={"texts": TEXTS, **asked}).json()["results"]
    assert [[s["text"] for s in r["sequences"]] for r in several] == write.candidates(TEXTS, **asked)
    for result in several:
        scores = [one["score"] for one in result["sequences"]]
        assert scores == sorted(scores, reverse=True)
        assert {one["finish_reason"] for one in result["sequences"]} <= {"stop", "length"}
        assert all(1 <= one["tokens"] <= 12 for one in result["sequences"])


def test_a_sample_is_the_same_again_with_its_seed(server: Running, write: Writer) -> None:
    asked = {"do_sample": True, "seed": 7, "max_new_tokens": 15, "top_k": 0, "temperature": 2.0}
    first, second = (server.client.post("/generate", json={"text": TEXT, **asked}).json() for _ in range(2))
    assert first["results"][0]["text"] == second["results"][0]["text"] == write(TEXT, **asked)


def test_a_stream_joins_to_the_answer(server: Running, write: Writer) -> None:
    for asked in ({"max_new_tokens": 12}, {"max_new_tokens": 12, "num_beams": 3}):
        answer = server.client.post("/generate/stream", json={"texts": TEXTS, **asked})
        assert answer.headers["content-type"].startswith("text/event-stream")
        found = events(answer)
        assert found[-1] == "[DONE]"
        for i, expected in enumerate(write(TEXTS, **asked)):
            assert "".join(e["text"] for e in found[:-1] if e["index"] == i and "text" in e) == expected
            assert [e["result"]["text"] for e in found[:-1] if e["index"] == i and "result" in e] == [expected]


def test_a_client_that_goes_away_frees_its_rows(server: Running) -> None:
    scheduler = server.app.models["tiny"].scheduler
    gone = server.app.metrics.cancelled.labels("tiny")
    before, step = gone._value.get(), scheduler.step

    def slow(jobs: Any) -> None:
        time.sleep(0.02)
        step(jobs)

    scheduler.step = slow  # type: ignore[method-assign]
    asked = {"text": TEXT, "max_new_tokens": 20, "min_new_tokens": 20}
    try:
        for path in ("/generate/stream", "/generate"):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(server.url + path, json=asked, timeout=httpx.Timeout(5, read=0.015))
        deadline = time.monotonic() + 5
        while gone._value.get() < before + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        del scheduler.step
    assert gone._value.get() == before + 2
    assert not scheduler.running


MISTAKES: list[tuple[dict[str, Any], int, str, str]] = [
    ({}, 422, "text", '"text" or "texts" was expected, and neither came'),
    ({"text": TEXT, "texts": TEXTS}, 422, "text", "both came"),
    ({"text": 3}, 422, "invalid_value", "text: "),
    ({"texts": []}, 422, "invalid_value", "texts: "),
    (
        {"text": TEXT, "num_beam": 2},
        422,
        "unknown_field",
        'there is no field "num_beam"; the nearest known is "num_beams"',
    ),
    ({"text": TEXT, "num_beams": "2"}, 422, "invalid_value", "num_beams: "),
    ({"text": TEXT, "num_beams": -1}, 422, "invalid_value", "num_beams is -1; a whole number from 1 on was expected"),
    ({"text": TEXT, "num_beams": 9}, 422, "beams", "num_beams: 9 came and this server takes at most 8"),
    ({"text": TEXT, "max_new_tokens": 21}, 422, "new_tokens", "21 came and this server takes at most 20"),
    ({"texts": [TEXT] * 9}, 422, "texts", "9 came"),
    ({"text": TEXT * 9}, 422, "source_tokens", "positions for 24"),
    ({"text": TEXT, "model": "tini"}, 404, "model", 'there is no model "tini"; the nearest known is "tiny"'),
    ({"text": "x" * 30_000}, 413, "body_bytes", "this server takes at most 20000"),
    ({"text": TEXT, "stop_strings": ["x" * 65]}, 422, "invalid_value", "stop_strings"),
    ({"text": TEXT, "decoder_start_token_id": 10**30}, 422, "invalid_value", "decoder_start_token_id"),
    ({"text": TEXT, "num_beams": 2, "length_penalty": 1e300}, 422, "invalid_value", "length_penalty"),
    ({"text": TEXT, "watermarking_config": {"hashing_key": 2**31}}, 422, "invalid_value", "watermarking_config"),
    ({"text": TEXT, "seed": -1}, 422, "invalid_value", "seed"),
    ({"text": TEXT, "stop_strings": "x" * 65}, 422, "invalid_value", "stop_strings: String should have at most 64"),
    ({"text": TEXT, "stop_strings": ["x"] * 9}, 422, "invalid_value", "stop_strings: List should have at most 8"),
    ({"text": TEXT, "sequence_bias": [[[7] * 257, 1.0]]}, 422, "invalid_value", "at most 256"),
    ({"text": TEXT, "eos_token_id": [7] * 257}, 422, "invalid_value", "at most 256"),
    ({"text": TEXT, "force_words_ids": [[7] * 257], "num_beams": 2}, 422, "invalid_value", "at most 256"),
    ({"text": TEXT, "max_new_tokens": 10_000}, 422, "new_tokens", "10000 came"),
    ({"text": TEXT, "x" * 10_000: 1}, 422, "unknown_field", "xxx"),
]


@pytest.mark.parametrize(("body", "status", "name", "said"), MISTAKES, ids=lambda x: str(x)[:20])
def test_mistakes_are_refused_by_name(server: Running, body: Any, status: int, name: str, said: str) -> None:
    answer = server.client.post("/generate", json=body)
    assert error(answer) == (status, name)
    assert said in answer.json()["error"]["message"]


def test_what_is_no_json_no_path_and_no_number(server: Running) -> None:
    def sent(body: bytes) -> tuple[int, str]:
        return error(server.client.post("/generate", content=body, headers={"content-type": "application/json"}))

    assert sent(b"{") == (400, "body")
    assert sent(b"") == (400, "body")
    assert sent(b"[]") == (422, "invalid_value")
    assert sent(b'{"text": "\xff"}') == (400, "body")
    assert sent(b"[" * 10_000) in ((400, "body"), (422, "invalid_value"))
    assert sent(b'{"text": "a", "temperature": NaN, "do_sample": true}') == (422, "invalid_value")
    assert error(server.client.get("/nothing")) == (404, "path")
    assert error(server.client.get("/generate")) == (405, "method")
    assert error(
        server.client.post("/generate/stream", json={"text": TEXT, "num_return_sequences": 2, "do_sample": True})
    ) == (
        422,
        "invalid_value",
    )


@pytest.mark.parametrize("body", [{"source": "\ud800", "text": "a"}, {"source": "a", "text": "\ud800"}])
def test_half_of_a_character_has_been_read_nowhere(server: Running, body: dict[str, str]) -> None:
    answer = server.client.post("/attention", content=json.dumps(body), headers={"content-type": "application/json"})
    assert error(answer) == (422, "invalid_value")
    assert error(server.client.post("/attention", json={"source": " ", "text": "a"})) == (422, "text")


def test_what_is_not_said_to_be_json_is_told_so(server: Running) -> None:
    for kind in ("application/x-www-form-urlencoded", ""):  # the first is what curl says by itself
        answer = server.client.post("/generate", content=b'{"text": "a"}', headers={"content-type": kind})
        assert error(answer) == (415, "content_type")
        assert '"application/json" was expected' in answer.json()["error"]["message"]


def test_a_path_says_which_methods_it_has_and_answers_who_asks_for_the_head_alone(server: Running) -> None:
    head = server.client.head("/health")
    assert (head.status_code, head.content) == (200, b"")
    assert server.client.put("/generate").headers["allow"] == "POST"


def test_settings_that_are_pairs_are_taken_as_lists(server: Running, write: Writer) -> None:
    for setting in ({"sequence_bias": [[[7], 9.0]]}, {"exponential_decay_length_penalty": [2, 1.5]}):
        asked = {"max_new_tokens": 8, **setting}
        found = server.client.post("/generate", json={"text": TEXT, **asked}).json()["results"][0]["text"]
        assert found == write(TEXT, **asked)


def test_a_score_that_is_no_number_is_null(server: Running) -> None:
    asked = {"num_beams": 4, "num_beam_groups": 2, "num_return_sequences": 4, "diversity_penalty": 1e300}
    answer = server.client.post("/generate", json={"text": TEXT, "max_new_tokens": 9, **asked})
    assert answer.status_code == 200
    assert None in [one["score"] for one in answer.json()["results"][0]["sequences"]]


def test_a_mistake_of_ours_is_answered_in_the_one_form_of_refusals(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str | None) -> Any:
        raise KeyError(name)

    monkeypatch.setattr(server.app, "chosen", broken)
    assert error(httpx.post(server.url + "/generate", json={"text": TEXT})) == (500, "internal")


def test_a_body_without_a_length_is_counted_as_it_comes(server: Running) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 1000

    assert error(server.client.post("/generate", content=pieces())) == (413, "body_bytes")


def test_health_readiness_information_metrics_and_the_document(server: Running) -> None:
    assert server.client.get("/health").json() == {"status": "alive"}
    assert server.client.get("/ready").json() == {"ready": True, "models": ["tiny"]}
    told = server.client.get("/info").json()
    assert told["models"]["tiny"]["source_tokens"] == 24
    assert told["limits"]["new_tokens"] == 20
    server.client.post("/generate", json={"text": TEXT, "max_new_tokens": 4})
    text = server.client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {"conjoin_requests", "conjoin_refusals", "conjoin_batch_rows", "conjoin_waiting_texts"} <= families.keys()
    written = [s.value for s in families["conjoin_tokens"].samples if s.labels.get("kind") == "new"]
    assert sum(written) >= 4
    assert TEXT not in text
    paths = server.client.get("/openapi.json").json()["paths"]
    assert {
        "/generate",
        "/generate/stream",
        "/v1/completions",
        "/health",
        "/ready",
        "/metrics",
        "/info",
    } <= paths.keys()


# OpenAI's client, which knows nothing of ours.


def test_openais_client_works(server: Running, write: Writer) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["tiny"]
        made = client.completions.create(model="tiny", prompt=TEXT, max_tokens=9)
        assert made.choices[0].text == write(TEXT, max_new_tokens=9)
        assert made.usage is not None
        assert made.usage.completion_tokens <= 9
        several = client.completions.create(model="tiny", prompt=TEXTS, max_tokens=9, temperature=0)
        assert [choice.text for choice in several.choices] == write(TEXTS, max_new_tokens=9)
        beams = client.completions.create(model="tiny", prompt=TEXT, max_tokens=9, n=2, extra_body={"num_beams": 3})
        assert [c.text for c in beams.choices] == write.candidates(
            [TEXT], max_new_tokens=9, num_beams=3, num_return_sequences=2
        )[0]
        drawn = client.completions.create(model="tiny", prompt=TEXT, max_tokens=9, temperature=1.5, seed=4, top_p=0.9)
        assert drawn.choices[0].text == write(
            TEXT, max_new_tokens=9, do_sample=True, temperature=1.5, seed=4, top_p=0.9
        )
        with pytest.raises(openai.NotFoundError, match='no model "gpt"'):
            client.completions.create(model="gpt", prompt=TEXT)
        with pytest.raises(openai.UnprocessableEntityError, match='"echo" has no meaning'):
            client.completions.create(model="tiny", prompt=TEXT, echo=True)


def test_openais_client_is_told_what_there_is_not_and_what_is_wrong(server: Running, write: Writer) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        assert client.models.retrieve("tiny").id == "tiny"
        with pytest.raises(openai.NotFoundError, match='no model "gpt"'):
            client.models.retrieve("gpt")
        biased = client.completions.create(model="tiny", prompt=TEXT, max_tokens=9, logit_bias={"7": 9})
        assert biased.choices[0].text == write(TEXT, max_new_tokens=9, sequence_bias=[([7], 9.0)])
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"logit_bias": {"abc": 1}}, "logit_bias"),
            ({"logprobs": 0}, '"logprobs" has no meaning'),
            ({"prompt": [5, 6]}, "prompt.0: Input should be a valid string"),
            ({"prompt": []}, "prompt: List should have at least 1 item"),
            ({"stop": "x" * 65}, "stop: String should have at most 64 characters"),
        ]
        for asked, said in wrong:
            with pytest.raises(openai.UnprocessableEntityError, match=said):
                client.completions.create(**{"model": "tiny", "prompt": TEXT, **asked})
        asked = {"truncation": True, "stream": None}
        cut = client.completions.create(model="tiny", prompt=TEXT * 9, max_tokens=9, extra_body=asked)
        assert cut.choices[0].text == write(TEXT * 9, max_new_tokens=9, truncation=True)


def test_openais_client_streams(server: Running, write: Writer) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        coming = client.completions.create(
            model="tiny", prompt=TEXT, max_tokens=12, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(coming)
        assert "".join(c.choices[0].text for c in chunks if c.choices) == write(TEXT, max_new_tokens=12)
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] in ("stop", "length")
        assert chunks[-1].usage is not None


def test_openais_texts_end_before_a_stop_string(server: Running, write: Writer) -> None:
    whole = write(TEXT, max_new_tokens=12)
    middle = len(whole) // 2
    asked: dict[str, Any] = {"model": "tiny", "prompt": TEXT, "max_tokens": 12}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        for stop in (whole[middle : middle + 3], [whole[middle : middle + 3], "\x00never"]):
            expected = whole[: whole.index(whole[middle : middle + 3])]
            made = client.completions.create(**asked, stop=stop).choices[0]
            assert made.text == expected
            assert made.finish_reason == "stop"
            coming = list(client.completions.create(**asked, stop=stop, stream=True))
            assert "".join(chunk.choices[0].text for chunk in coming) == expected
        one_more = [whole[-1] + "\x00", "\x00"]  # the end might have been the beginning of a stop string
        assert client.completions.create(**asked, stop=one_more).choices[0].text == whole
        coming = list(client.completions.create(**asked, stop=one_more, stream=True))
        assert "".join(chunk.choices[0].text for chunk in coming) == whole


@given(st.lists(st.text("ab", max_size=4), max_size=6), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
def test_pieces_end_where_the_whole_text_does(pieces: list[str], stops: list[str]) -> None:
    ending = Ending(stops)
    told = "".join([*map(ending.after, pieces), ending.rest()])
    assert told == ended_before("".join(pieces), stops)


def test_what_a_text_was_read_from_is_the_models_own_attention(server: Running, write: Writer) -> None:
    told = server.client.post("/attention", json={"source": TEXT, "text": "a red dog"}).json()
    assert [TEXT[a:b] for a, b in told["source"]] == ["", "the", "cat", "sat", "on", "the", "mat", ".", ""]
    assert ["a red dog"[a:b] for a, b in told["text"]] == ["a", "red", "dog"]
    source, target = write.tokenizers.source, write.tokenizers.target
    ids = [write.model.start_token(), *target("a red dog", add_special_tokens=False)["input_ids"][:-1]]
    given = source(TEXT, return_tensors="pt")
    out = write.model(**given, decoder_input_ids=torch.tensor([ids]), output_attentions=True)
    expected = torch.stack(out.cross_attentions).mean((0, 2))[0]
    assert torch.allclose(torch.tensor(told["weights"]), expected, atol=1e-4)
    assert error(server.client.post("/attention", json={"source": TEXT, "text": ""})) == (422, "text")
    assert error(server.client.post("/attention", json={"source": TEXT, "text": "a " * 30})) == (422, "new_tokens")


# Who may come in.


def test_who_waits_too_long_to_look_or_asks_for_too_much_is_refused(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running({"tiny": write}, limits={"queue_seconds": 0.3})
    asked = {"source": TEXT, "text": "cat"}
    going = threading.Event()

    def slow(*_: Any) -> dict[str, Any]:
        going.set()
        time.sleep(1)
        return {"source": [], "text": [], "weights": []}

    try:
        with monkeypatch.context() as patch:
            patch.setattr("conjoin.serving.app.looked_at", slow)
            first = threading.Thread(target=httpx.post, args=(running.url + "/attention",), kwargs={"json": asked})
            first.start()
            assert going.wait(30)
            assert error(httpx.post(running.url + "/attention", json=asked)) == (503, "queue_seconds")
            first.join()
        assert httpx.post(running.url + "/attention", json=asked).status_code == 200
        running.app.models["tiny"].memory = 100
        assert error(httpx.post(running.url + "/attention", json=asked)) == (422, "memory")
    finally:
        running.stop()


def test_a_key_covers_every_endpoint_but_health(write: Writer) -> None:
    running = Running({"a": write, "b": write}, keys=["right", "second"])
    try:
        for path in ("/ready", "/info", "/metrics", "/openapi.json", "/", "/v1/models", "/nothing"):
            assert error(running.client.get(path)) == (401, "api_key")
            assert error(running.client.get(path, headers={"authorization": "Bearer wrong"})) == (401, "api_key")
        for path in ("/generate", "/generate/stream", "/v1/completions"):
            assert error(running.client.post(path, content=b"{")) == (401, "api_key")
        assert running.client.get("/health").status_code == 200
        for key in ("right", "second"):
            assert running.client.get("/info", headers={"authorization": f"Bearer {key}"}).status_code == 200
        asked = {"headers": {"authorization": "Bearer right"}, "json": {"text": TEXT, "max_new_tokens": 2}}
        assert error(running.client.post("/generate", **asked)) == (422, "model")
        asked["json"]["model"] = "b"  # type: ignore[index]
        assert running.client.post("/generate", **asked).json()["model"] == "b"  # type: ignore[arg-type]
    finally:
        running.stop()


def test_no_page_of_elsewhere_may_call_unless_told(server: Running, write: Writer) -> None:
    headers = {"origin": "https://page.example", "access-control-request-method": "POST"}
    answer = server.client.options("/generate", headers=headers)
    assert "access-control-allow-origin" not in answer.headers
    running = Running({"tiny": write}, origins=["https://page.example"])
    try:
        answer = running.client.options("/generate", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
    finally:
        running.stop()


def test_texts_are_in_the_log_only_where_that_was_asked_for(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        server.client.post("/generate", json={"text": TEXT, "max_new_tokens": 3})
        assert "/generate: 1 texts" in caplog.text
        assert "cat" not in caplog.text
        server.app.log_texts = True
        server.client.post("/generate", json={"text": TEXT, "max_new_tokens": 3})
        server.app.log_texts = False
    assert TEXT in caplog.text


def test_more_connections_than_there_may_be_are_refused_by_name_and_health_is_not(server: Running) -> None:
    many = [socket.create_connection(server.listening.getsockname()) for _ in range(41)]
    try:
        time.sleep(0.2)
        answer = httpx.get(server.url + "/info")
        assert error(answer) == (503, "connections")
        assert answer.headers["retry-after"] == "1"
        assert httpx.get(server.url + "/health").status_code == 200
    finally:
        for one in many:
            one.close()


def test_who_asks_nothing_or_reads_nothing_is_hung_up_on(write: Writer) -> None:
    """A connection that sends half a request, and one whose client never reads its stream."""
    running = Running({"tiny": write}, limits={"queue_seconds": 0.5, "seconds": 1.0})
    try:
        half, deaf = (socket.create_connection(running.listening.getsockname()) for _ in range(2))
        half.sendall(b"GET /info HTTP/1.1\r\nHost: x\r\n")
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        body = json.dumps({"texts": [TEXT] * 8, "max_new_tokens": 20}).encode()
        head = "POST /generate/stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        connections = running.server.server_state.connections
        seen: list[Any] = []
        own = running.app.gate.hang_up
        running.app.gate.hang_up = lambda client: (seen.append(client), own(client))  # type: ignore[func-returns-value]
        deaf.sendall(head.encode() + body)
        while not any(c.client == deaf.getsockname() for c in connections):
            time.sleep(0.01)
        for one in connections:
            if one.client == deaf.getsockname():
                one.flow.pause_writing()  # as when the system's buffers are full
        half.settimeout(10)
        assert half.recv(100) == b""
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            time.sleep(0.05)
        assert seen == [deaf.getsockname()]
        half.close()
        deaf.close()
    finally:
        running.stop()


def test_who_asks_now_and_then_is_not_hung_up_on(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though each look finds the connection idle, since every answer is there before the next."""
    limits = Limits(**SMALL)  # type: ignore[arg-type]
    app, gone = App([Served("tiny", write, limits, Metrics().of("tiny"))], limits, Metrics()), []
    server = Server(app, configured(app))

    class Connection:
        cycle: Any = None
        transport = SimpleNamespace(abort=lambda: gone.append(server))

    one = Connection()
    monkeypatch.setattr(server, "open", lambda: [one])
    for second in range(100):
        one.cycle = SimpleNamespace(response_complete=True)
        server.close_idle(second)
    assert not gone
    server.close_idle(99 + limits.queue_seconds)
    assert not gone
    server.close_idle(100 + limits.queue_seconds)
    assert gone


def test_a_signal_drains(write: Writer) -> None:
    """Who is being answered gets all of it; who comes meanwhile is refused by name; then the server ends."""
    running = Running({"tiny": write})
    scheduler = running.app.models["tiny"].scheduler
    step, held = scheduler.step, threading.Event()

    def waits(jobs: Any) -> None:
        held.wait(10)
        step(jobs)

    scheduler.step = waits  # type: ignore[method-assign]
    answers: list[httpx.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(httpx.post(running.url + "/generate", json={"text": TEXT}, timeout=60))
    )
    asking.start()
    while not scheduler.running:
        time.sleep(0.01)
    running.server.handle_exit(signal.SIGTERM, None)
    assert error(running.client.post("/generate", json={"text": TEXT})) == (503, "draining")
    assert running.client.get("/health").status_code == 200
    held.set()
    asking.join()
    running.thread.join(10)
    assert not running.thread.is_alive()
    assert answers[0].json()["results"][0]["text"] == write(TEXT, max_new_tokens=20)
    running.stop()


def test_where_every_queue_is_full_a_request_is_refused_before_it_is_parsed(write: Writer) -> None:
    running = Running({"one": write, "two": write})
    one, two = (running.app.models[name].scheduler for name in ("one", "two"))
    try:
        for scheduler in (one, two):
            assert running.client.post("/generate", content="{").status_code == 415
            scheduler.coming = running.limits.queue
        for path in ("/generate", "/generate/stream", "/v1/completions"):
            assert error(running.client.post(path, content="{")) == (429, "queue")
        assert running.client.get("/generate").status_code == 405
        assert running.client.get("/health").status_code == 200
        assert 'conjoin_refusals_total{name="queue"} 3.0' in running.client.get("/metrics").text
    finally:
        running.stop()


def test_limits_that_memory_cannot_hold_are_refused_before_serving(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write.model.ops, "free_memory", lambda model: 100_000)
    with pytest.raises(InputError, match=r"one text within the limits may need .*; lower --max-new-tokens"):
        Served("tiny", write, Limits(), Metrics().of("tiny"))
    with pytest.raises(InputError, match="the limit queue"):
        Limits(queue=0)
    with pytest.raises(InputError, match="raise rows"):
        Limits(rows=4)


def test_what_is_loaded_is_not_looked_through_for_garbage_while_it_serves(
    write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, interval, usual, limits = [], sys.getswitchinterval(), gc.get_threshold(), Limits(**SMALL)  # type: ignore[arg-type]
    app = App([Served("tiny", write, limits, Metrics().of("tiny"))], limits, Metrics())
    listening = bound("127.0.0.1", 0, 5)

    def serves(server: Server, sockets: list[socket.socket]) -> None:
        frozen.append(gc.get_freeze_count())
        app.models["tiny"].scheduler.start()
        asyncio.run(app.warm_up())
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(Server, "run", serves)
    try:
        run(app, listening)
    finally:
        app.models["tiny"].scheduler.stop()
        listening.close()
        gc.unfreeze()
        sys.setswitchinterval(interval)
        seldom = gc.get_threshold()
        gc.set_threshold(*usual)
    assert seldom > usual
    assert frozen[1] > frozen[0] > 100_000


def test_a_taken_port_is_one_sentence(server: Running) -> None:
    with pytest.raises(InputError, match="cannot be listened on"):
        bound("127.0.0.1", server.listening.getsockname()[1], 5)


# The page of the documentation.


def test_the_commands_of_the_page_work(server: Running) -> None:
    """Every curl of docs/serving.md, sent to the server of these tests."""
    page = (Path(__file__).parents[1] / "docs" / "serving.md").read_text(encoding="utf-8")
    commands = re.findall(r"^curl [^\n]*(?:\n  [^\n]*)*", page, re.MULTILINE)
    assert len(commands) >= 5
    import subprocess

    for command in commands:
        command = command.replace("localhost:8000", server.url.removeprefix("http://")).replace("my-model", "tiny")
        done = subprocess.run(["bash", "-c", f"curl --fail -s{command[4:]}"], capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert done.stdout

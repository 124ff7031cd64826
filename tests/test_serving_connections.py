"""A thousand connections; clients that are slow, that close half, that never read: none is lost, and nothing is left of them."""

import json
import resource
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import tiny
from test_serving_http import Running

from conjoin.pipelines import pipeline

MANY = 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * MANY)), hard))  # both ends are in this process
    patch = pytest.MonkeyPatch()
    patch.setenv("CONJOIN_ENGINE", "torch")
    write = pipeline(tiny.join(tmp_path_factory.mktemp("many") / "bert", "bert"))
    running = Running({"tiny": write}, limits={"connections": MANY + 50, "queue": 300, "queue_seconds": 60})
    yield running
    running.stop()
    patch.undo()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connected(server: Running) -> socket.socket:
    return socket.create_connection(server.listening.getsockname(), timeout=30)


def request(path: str = "/generate", **asked: Any) -> bytes:
    body = json.dumps({"text": tiny.TEXTS[1], "max_new_tokens": 2, **asked}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def told(answer: bytes) -> tuple[int, str]:
    """A whole answer's status, and the name of what it refuses."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body).get("error", {}).get("code", "")


def is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None)
    return bool(found) and length is not None and len(body) >= int(length.split(b":")[1])


def answers(clients: list[socket.socket]) -> list[bytes]:
    """What comes on each connection, until every answer is whole."""
    found = dict.fromkeys(clients, b"")
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(30)
            assert ready, "nothing came for half a minute"
            for key, _ in ready:
                piece = key.fileobj.recv(65536)  # type: ignore[union-attr]
                assert piece, "hung up on"
                found[key.fileobj] += piece  # type: ignore[index]
                if is_whole(found[key.fileobj]):  # type: ignore[index]
                    selector.unregister(key.fileobj)
    return list(found.values())


def test_a_thousand_connections_are_answered_or_refused_by_name_and_none_is_lost(server: Running) -> None:
    clients = [connected(server) for _ in range(MANY)]
    try:
        until(lambda: len(server.server.server_state.connections) >= MANY)
        for client in clients:
            client.sendall(request())
        assert httpx.get(server.url + "/health", timeout=30).status_code == 200
        found = Counter(map(told, answers(clients)))
        assert found.keys() <= {(200, ""), (429, "queue")}
        assert found[200, ""] >= server.limits.queue
        # All of them are still open, and who asks again is answered.
        clients[0].sendall(request())
        assert told(answers(clients[:1])[0]) == (200, "")
    finally:
        for client in clients:
            client.close()
    until(lambda: len(server.server.server_state.connections) < 50)
    assert not server.app.gate.inside


def test_a_body_that_comes_byte_by_byte_is_answered_and_keeps_nobody_waiting(server: Running) -> None:
    with connected(server) as slow:
        whole = request()
        for i in range(len(whole)):
            slow.sendall(whole[i : i + 1])
            if i % 40 == 0:
                assert (
                    server.client.post("/generate", json={"text": tiny.TEXTS[1], "max_new_tokens": 1}).status_code
                    == 200
                )
        assert told(answers([slow])[0])[0] == 200


@pytest.mark.parametrize("sent", [request()[:60], request()[:-9], request("/generate/stream", max_new_tokens=20)])
def test_of_a_client_that_closes_its_half_nothing_is_left(server: Running, sent: bytes) -> None:
    with connected(server) as half:
        half.sendall(sent)
        half.shutdown(socket.SHUT_WR)
        while half.recv(65536):
            pass
    until(lambda: not server.app.gate.inside and not server.app.models["tiny"].scheduler.running)


def test_clients_that_never_read_their_streams_hold_up_nobody(server: Running) -> None:
    deaf = [connected(server) for _ in range(4)]
    try:
        for one in deaf:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            one.sendall(request("/generate/stream", text=None, texts=[tiny.TEXTS[1]] * 8, max_new_tokens=20))
        answer = server.client.post("/generate", json={"text": tiny.TEXTS[1], "max_new_tokens": 2})
        assert answer.status_code == 200
    finally:
        for one in deaf:
            one.close()
    until(lambda: not server.app.gate.inside and not server.app.models["tiny"].scheduler.running)

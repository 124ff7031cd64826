"""Folders and hub ids: against a small hub of our own on this machine, never a real one."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tiny
import torch
import transformers

from conjoin import AutoTokenizer, EncoderDecoderModel
from conjoin.errors import CheckpointError
from conjoin.hub import resolve

COMMITS = {"main": "a" * 40, "v1": "b" * 40}
FILES = {
    "a" * 40: {"config.json": b'{"model_type": "bert"}', "vocab.txt": b"new\n", "sub/vocab.txt": b"deep\n"},
    "b" * 40: {"config.json": b'{"model_type": "gpt2"}', "vocab.txt": b"old\n"},
}
PATTERNS = ("config.json", "vocab.txt")


@dataclass
class Hub:
    """What the little hub was asked, and how it shall answer."""

    url: str = ""
    token: str | None = None
    error: tuple[int, str] | None = None
    asked: list[str] = field(default_factory=list)


def _answer(hub: Hub, path: str, sent_token: str | None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a path, as huggingface.co answers it."""
    if hub.error is not None:
        return hub.error[0], {"X-Error-Code": hub.error[1]}, b""
    if not path.removeprefix("/api/models").startswith("/owner/name/"):
        return 404, {"X-Error-Code": "RepoNotFound"}, b""
    if hub.token is not None and sent_token != f"Bearer {hub.token}":
        return 401, {"X-Error-Code": "RepoNotFound"}, b""
    kind, revision, *rest = path.removeprefix("/api/models").removeprefix("/owner/name/").split("?")[0].split("/")
    commit = COMMITS.get(revision, revision)
    if commit not in FILES:
        return 404, {"X-Error-Code": "RevisionNotFound"}, b""
    headers = {"X-Repo-Commit": commit}
    if kind == "revision":
        siblings = [{"rfilename": name} for name in FILES[commit]]
        return 200, headers, json.dumps({"id": "owner/name", "sha": commit, "siblings": siblings}).encode()
    if kind == "tree":
        tree = [
            {"type": "file", "path": name, "size": len(body), "oid": sha1(body).hexdigest()}
            for name, body in FILES[commit].items()
        ]
        return 200, headers, json.dumps(tree).encode()
    body = FILES[commit]["/".join(rest)]
    return 200, headers | {"ETag": f'"{sha1(body).hexdigest()}"'}, body


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(f"{self.command} {self.path}")
            status, headers, body = _answer(state, self.path, self.headers.get("Authorization"))
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: pytest's output is for pytest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", state.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    # The tests run offline; this hub is on this machine.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield state
    server.shutdown()
    server.server_close()


def test_an_existing_folder_is_itself(tmp_path: Path, hub: Hub) -> None:
    assert resolve(tmp_path, files=PATTERNS) == tmp_path
    assert resolve(str(tmp_path), files=PATTERNS) == tmp_path
    assert hub.asked == []


@pytest.mark.parametrize("name", ["/no/where", "./nowhere", "~/no-such-folder", "a/b/c", "../x", Path("owner/name")])
def test_a_missing_path_never_reaches_the_hub(name: str | Path, hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        resolve(name, files=PATTERNS)
    assert hub.asked == []


def test_a_file_is_not_a_folder(tmp_path: Path, hub: Hub) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("a\n")
    with pytest.raises(CheckpointError, match="is a file, and a folder was expected"):
        resolve(str(path), files=PATTERNS)


def test_only_the_files_asked_for_are_downloaded(tmp_path: Path, hub: Hub) -> None:
    folder = resolve("owner/name", files=PATTERNS, cache_dir=tmp_path)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(PATTERNS)
    assert (folder / "vocab.txt").read_text() == "new\n"
    assert not any("sub/vocab.txt" in line for line in hub.asked)


def test_patterns_reach_subfolders(tmp_path: Path, hub: Hub) -> None:
    folder = resolve("owner/name", files=["sub/*"], cache_dir=tmp_path)
    assert (folder / "sub" / "vocab.txt").read_text() == "deep\n"
    assert not (folder / "vocab.txt").exists()


def test_a_revision_is_a_branch_a_tag_or_a_commit(tmp_path: Path, hub: Hub) -> None:
    for revision in ("v1", "b" * 40):
        folder = resolve("owner/name", files=PATTERNS, revision=revision, cache_dir=tmp_path)
        assert (folder / "vocab.txt").read_text() == "old\n"
    with pytest.raises(CheckpointError, match='has no revision "v9"'):
        resolve("owner/name", files=PATTERNS, revision="v9", cache_dir=tmp_path)


def test_the_token_is_sent(tmp_path: Path, hub: Hub) -> None:
    hub.token = "hf_right"
    with pytest.raises(CheckpointError, match="neither a folder nor a hub repository"):
        resolve("owner/name", files=PATTERNS, token="hf_wrong", cache_dir=tmp_path)
    assert (resolve("owner/name", files=PATTERNS, token="hf_right", cache_dir=tmp_path) / "vocab.txt").is_file()


def test_local_files_only_asks_nothing(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="not complete in the local cache"):
        resolve("owner/name", files=PATTERNS, local_files_only=True, cache_dir=tmp_path)
    assert hub.asked == []
    first = resolve("owner/name", files=["config.json"], cache_dir=tmp_path)
    hub.asked.clear()
    assert resolve("owner/name", files=["config.json"], local_files_only=True, cache_dir=tmp_path) == first
    # A snapshot that was downloaded for something else is not taken for a whole one.
    with pytest.raises(CheckpointError, match="not complete in the local cache"):
        resolve("owner/name", files=PATTERNS, local_files_only=True, cache_dir=tmp_path)
    assert hub.asked == []


def test_the_cache_serves_while_the_hub_is_away(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve("owner/name", files=PATTERNS, cache_dir=tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens at the discard port
    assert resolve("owner/name", files=PATTERNS, cache_dir=tmp_path) == first
    with pytest.raises(CheckpointError, match="did not answer"):
        resolve("owner/other", files=PATTERNS, cache_dir=tmp_path)


def test_a_repository_that_is_not_there(tmp_path: Path, hub: Hub) -> None:
    for name in ("owner/nothing", "nothing"):
        with pytest.raises(CheckpointError, match="neither a folder nor a hub repository"):
            resolve(name, files=PATTERNS, cache_dir=tmp_path)


def test_a_repository_without_such_files(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=r"holds none of the files looked for: model\.safetensors"):
        resolve("owner/name", files=["model.safetensors"], cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("error", "words"),
    [((403, "GatedRepo"), "is gated"), ((403, ""), "answered 403"), ((400, ""), "answered 400")],
)
def test_refusals(error: tuple[int, str], words: str, tmp_path: Path, hub: Hub) -> None:
    hub.error = error
    with pytest.raises(CheckpointError, match=words):
        resolve("owner/name", files=PATTERNS, cache_dir=tmp_path)


def test_offline(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve("owner/name", files=PATTERNS, cache_dir=tmp_path)
    hub.asked.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve("owner/name", files=PATTERNS, cache_dir=tmp_path) == first
    with pytest.raises(CheckpointError, match="the hub was not asked"):
        resolve("owner/other", files=PATTERNS, cache_dir=tmp_path)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["owner name", "", "a--b", "owner/na:me"])
def test_what_cannot_be_a_hub_id(name: str, tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(CheckpointError, match='"owner/name"'):
        resolve(name, files=PATTERNS, cache_dir=tmp_path)
    assert hub.asked == []


def put_on_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch, revision: str = "main") -> None:
    """Makes a folder's files what "owner/name" holds at a revision."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setitem(FILES, COMMITS[revision], files)


def test_a_joined_model_loads_from_a_hub_with_its_tokenizers(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.join(tmp_path / "joined", "gpt2")
    put_on_the_hub(folder, monkeypatch)
    here = EncoderDecoderModel.from_pretrained(folder)
    there = EncoderDecoderModel.from_pretrained("owner/name", cache_dir=tmp_path / "cache")
    assert all(torch.equal(t, there.state_dict()[n]) for n, t in here.state_dict().items())
    assert there.config == here.config
    assert there.tokenizers is not None
    assert there.tokenizers.target.get_vocab() == tiny_vocab(folder)
    asked = len(hub.asked)
    again = EncoderDecoderModel.from_pretrained("owner/name", cache_dir=tmp_path / "cache", local_files_only=True)
    assert again.config == here.config
    assert len(hub.asked) == asked


def tiny_vocab(folder: Path) -> dict[str, int]:
    """The target tokenizer's vocabulary, as it lies in the folder."""
    found: dict[str, int] = AutoTokenizer.from_pretrained(folder / "target_tokenizer").get_vocab()
    return found


def test_parts_are_joined_from_a_hub_at_a_revision(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_the_hub(tiny.bert(tmp_path / "bert"), monkeypatch, "v1")
    local = tiny.gpt2(tmp_path / "gpt2")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        "owner/name", local, encoder_revision="v1", encoder_cache_dir=tmp_path / "cache"
    )
    alone = transformers.AutoModel.from_pretrained(tmp_path / "bert")
    assert torch.equal(model.encoder.embed.token.weight, alone.get_input_embeddings().weight)
    assert any("/v1" in line for line in hub.asked)
    with pytest.raises(CheckpointError, match="v2"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(
            "owner/name", local, encoder_revision="v2", encoder_cache_dir=tmp_path / "cache"
        )


def test_a_stranger_s_weights_outside_the_folder_are_not_asked_for(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.join(tmp_path / "joined", "bert")
    (folder / "modeling_custom.py").write_text("raise SystemExit")
    (folder / "training.pt").write_bytes(b"pickle")
    put_on_the_hub(folder, monkeypatch)
    EncoderDecoderModel.from_pretrained("owner/name", cache_dir=tmp_path / "cache")
    assert not any(".py" in line.split("/resolve/")[-1] or ".pt" in line for line in hub.asked if "/resolve/" in line)


def test_a_bin_is_fetched_only_where_there_is_no_safetensors_file(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.join(tmp_path / "joined", "bert")
    (folder / "pytorch_model.bin").write_bytes(b"not to be fetched")
    put_on_the_hub(folder, monkeypatch)
    EncoderDecoderModel.from_pretrained("owner/name", cache_dir=tmp_path / "cache")
    assert not any("pytorch_model.bin" in line for line in hub.asked)
    whole = EncoderDecoderModel.from_pretrained(folder)
    peer = transformers.EncoderDecoderModel.from_pretrained(folder)
    torch.save(peer.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    put_on_the_hub(folder, monkeypatch, "v1")
    found = EncoderDecoderModel.from_pretrained("owner/name", revision="v1", cache_dir=tmp_path / "cache")
    assert all(torch.equal(t, found.state_dict()[n]) for n, t in whole.state_dict().items())

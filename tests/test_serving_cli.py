"""`conjoin serve` as a process: it serves, drains and ends with 0; and its mistakes, one sentence each."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import tiny

import conjoin
from conjoin.cli import main
from conjoin.cli.serve import keys_of, named, say_where
from conjoin.errors import DataError, InputError
from conjoin.serving.running import bound


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.join(tmp_path_factory.mktemp("cli") / "bert", "bert")


def test_the_command_serves_writes_nothing_and_ends_with_0_when_told_to(folder: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    command = [sys.executable, "-m", "conjoin", "serve", str(folder), f"again={folder}", "--port", "0"]
    own = str(Path(conjoin.__file__).parents[1])
    environment = {**os.environ, "CONJOIN_API_KEY": "secret", "CONJOIN_ENGINE": "torch", "PYTHONPATH": own}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        try:
            assert process.stderr is not None
            url = next(found[0] for line in process.stderr if (found := re.search(r"http://127.0.0.1:\d+", line)))
            asks_and_is_answered(url)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert "secret" not in process.stderr.read()
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def asks_and_is_answered(url: str) -> None:
    """Both models write, for who has the key."""
    with httpx.Client(base_url=url, headers={"authorization": "Bearer secret"}, timeout=60) as client:
        while client.get("/ready").status_code != 200:
            time.sleep(0.05)
        for name in ("bert", "again"):
            body = {"text": "the cat sat .", "model": name, "max_new_tokens": 3}
            assert client.post("/generate", json=body).json()["model"] == name
        assert httpx.get(url + "/info").status_code == 401


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a wrong call says, in one line."""
    assert main(["serve", *arguments]) == 2
    told = capsys.readouterr().err.strip()
    assert "\n" not in told
    return told


def test_mistakes_are_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere" in said(capsys, str(tmp_path / "nowhere"))
    assert "the limit queue (--max-queue) is 0" in said(capsys, str(folder), "--max-queue", "0")
    assert "raise rows" in said(capsys, str(folder), "--max-rows", "3")
    assert "cannot be read" in said(capsys, str(folder), "--api-key-file", str(tmp_path / "none"))
    (tmp_path / "empty").write_text("\n \n")
    assert "holds none" in said(capsys, str(folder), "--api-key-file", str(tmp_path / "empty"))
    assert "two models are called" in said(capsys, str(folder), str(folder))
    assert "cannot be listened on" in said(capsys, str(folder), "--host", "192.0.2.1")
    assert "cannot be listened on" in said(capsys, str(folder), "--host", "a" * 70 + ".b")
    assert "the host is empty" in said(capsys, str(folder), "--host", "")
    assert "--max-queue-seconds) is inf" in said(capsys, str(folder), "--max-queue-seconds", "inf")
    assert "is nan" in said(capsys, str(folder), "--max-seconds", "nan")


def test_names_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(["a=x/y", "x/z"]) == {"a": "x/y", "z": "x/z"}
    with pytest.raises(InputError, match="two models"):
        named(["x/z", "y/z"])
    monkeypatch.delenv("CONJOIN_API_KEY", raising=False)
    assert keys_of(None) == []
    monkeypatch.setenv("CONJOIN_API_KEY", "one\n")
    assert keys_of(None) == ["one"]
    monkeypatch.setenv("CONJOIN_API_KEY", " ")
    with pytest.raises(DataError, match="set and empty"):
        keys_of(None)
    (tmp_path / "windows").write_bytes(b"\xef\xbb\xbffour\r\n")
    assert keys_of(str(tmp_path / "windows")) == ["four"]
    (tmp_path / "keys").write_text("two\n\nthree \n")
    assert keys_of(str(tmp_path / "keys")) == ["two", "three"]


@pytest.mark.parametrize(
    ("host", "open_to_all", "url", "warned"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:", False),
        ("::1", True, "http://[::1]:", False),
        ("0.0.0.0", True, "http://0.0.0.0:", True),
        ("0.0.0.0", False, "http://0.0.0.0:", False),
    ],
)
def test_who_may_come_from_elsewhere_without_a_key_is_warned_of(
    host: str, open_to_all: bool, url: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "conjoin.serving")
    with bound(host, 0, 1) as listening:
        say_where(listening, open_to_all=open_to_all)
    assert caplog.messages[0].startswith(url)
    assert any("no key is set" in one for one in caplog.messages) == warned

"""`conjoin serve` as a process: it serves, drains and ends with 0; and its mistakes, one sentence each."""

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
from conjoin.cli.serve import keys_of, named
from conjoin.errors import InputError


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
    assert "the limit queue is 0" in said(capsys, str(folder), "--max-queue", "0")
    assert "raise rows" in said(capsys, str(folder), "--max-rows", "3")
    assert "cannot be read" in said(capsys, str(folder), "--api-key-file", str(tmp_path / "none"))
    (tmp_path / "empty").write_text("\n \n")
    assert "holds none" in said(capsys, str(folder), "--api-key-file", str(tmp_path / "empty"))
    assert "two models are called" in said(capsys, str(folder), str(folder))
    assert "cannot be listened on" in said(capsys, str(folder), "--host", "192.0.2.1")


def test_names_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(["a=x/y", "x/z"]) == {"a": "x/y", "z": "x/z"}
    with pytest.raises(InputError, match="two models"):
        named(["x/z", "y/z"])
    monkeypatch.delenv("CONJOIN_API_KEY", raising=False)
    assert keys_of(None) == []
    monkeypatch.setenv("CONJOIN_API_KEY", "one")
    assert keys_of(None) == ["one"]
    (tmp_path / "keys").write_text("two\n\nthree \n")
    assert keys_of(str(tmp_path / "keys")) == ["two", "three"]

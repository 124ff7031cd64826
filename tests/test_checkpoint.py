"""Folders on disk: they appear whole, can be read by others, and keep nothing of an earlier save that would mislead."""

import os
from pathlib import Path

import pytest

from conjoin.checkpoint import atomic_folder
from conjoin.errors import CheckpointError


def test_files_have_the_modes_that_the_umask_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_folder(tmp_path / "model") as made:
            (made / "sub").mkdir()
            (made / "sub" / "file").write_text("x")
            (made / "sub" / "file").chmod(0o600)
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "model", tmp_path / "model" / "sub" / "file")]
    assert modes == [0o750, 0o640]


def test_an_existing_folder_keeps_strangers_and_loses_what_is_stale(tmp_path: Path) -> None:
    target = tmp_path / "model"
    (target / "target_tokenizer").mkdir(parents=True)
    for name in ("notes.txt", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin"):
        (target / name).write_text("old")
    with atomic_folder(target) as made:
        (made / "model.safetensors").write_text("new")
        (made / "config.json").write_text("{}")
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "model.safetensors", "notes.txt"]


def test_the_config_goes_first_and_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, seen = tmp_path / "model", []
    target.mkdir()
    (target / "config.json").write_text("old")
    replace = os.replace

    def watched(source: Path, aim: Path) -> None:
        seen.append((Path(aim).name, (target / "config.json").exists()))
        replace(source, aim)

    monkeypatch.setattr(os, "replace", watched)
    with atomic_folder(target) as made:
        for name in ("a.json", "config.json", "model.safetensors"):
            (made / name).write_text("new")
    assert seen == [("a.json", False), ("model.safetensors", False), ("config.json", False)]
    assert (target / "config.json").read_text() == "new"


def fail_halfway(target: Path) -> None:
    with atomic_folder(target) as made:
        (made / "model.safetensors").write_text("x")
        raise RuntimeError("halfway")


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("x")
    with (
        pytest.raises(CheckpointError, match="is a file; a folder to save in was expected"),
        atomic_folder(tmp_path / "model"),
    ):
        pass

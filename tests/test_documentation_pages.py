"""The Python of docs/encoders.md runs from top to bottom, its names replaced by tiny folders."""

import re
from pathlib import Path

import pytest
import tiny
import torch

PAGE = Path(__file__).parent.parent / "docs" / "encoders.md"


def blocks() -> list[str]:
    """The page's Python, block by block."""
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) > 5
    return found


def test_the_page_on_encoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.join(tmp_path / "my-model", "gpt2")
    tiny.gpt2(tmp_path / "gpt2")
    tiny.bert(tmp_path / "bert-base-uncased")
    long_text = " ".join(["the cat sat on the mat and the big red dog ran under the tree ."] * 4)
    names = {"long_text": long_text, "labels": torch.tensor([[5, 6, 7], [8, 9, -100]])}
    for block in blocks():
        exec(compile(block, str(PAGE), "exec"), names)
    written = capsys.readouterr().out
    assert len(written.strip().splitlines()) >= 2
    assert names["out"].last_hidden_state.shape[:2] == names["out"].attention_mask.shape
    assert names["ids"].shape[0] == 2
    assert names["loss"].item() > 0
    assert type(names["model"].encoder.module) is names["Listener"]

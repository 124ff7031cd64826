"""The Python of docs/encoders.md and docs/moving.md runs from top to bottom, its names replaced by tiny folders."""

import re
from pathlib import Path

import pytest
import tiny
import torch

from conjoin import EncoderDecoderModel

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: str) -> list[str]:
    """A page's Python, block by block."""
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_on_moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.bert(tmp_path / "bert-base-uncased")
    (block,) = blocks("moving.md")
    names: dict[str, object] = {}
    exec(compile(block, "moving.md", "exec"), names)
    assert torch.isfinite(names["loss"])
    model, batch = EncoderDecoderModel.from_pretrained("bert2bert"), names["batch"]
    assert torch.equal(model.generate(**batch, num_beams=2, max_new_tokens=5), names["ids"])


def test_the_page_on_encoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.join(tmp_path / "my-model", "gpt2")
    tiny.gpt2(tmp_path / "gpt2")
    tiny.bert(tmp_path / "bert-base-uncased")
    long_text = " ".join(["the cat sat on the mat and the big red dog ran under the tree ."] * 4)
    names = {"long_text": long_text, "labels": torch.tensor([[5, 6, 7], [8, 9, -100]])}
    found = blocks("encoders.md")
    assert len(found) > 5
    for block in found:
        exec(compile(block, "encoders.md", "exec"), names)
    written = capsys.readouterr().out
    assert len(written.strip().splitlines()) >= 2
    assert names["out"].last_hidden_state.shape[:2] == names["out"].attention_mask.shape
    assert names["ids"].shape[0] == 2
    assert names["loss"].item() > 0
    assert type(names["model"].encoder.module) is names["Listener"]

"""Token ids are kept by content: made once, made anew where anything differs or the file is broken."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_training_runs import WORDS, tiny_model, tiny_pairs, tiny_tokenizer

from conjoin.tokens import TokenizerPair
from conjoin.training import token_cache
from conjoin.training.token_cache import remembered
from conjoin.training.tokenise import Limits, tokenise


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs were read at each reading."""
    found: list[int] = []

    def counted(model: Any, pairs: Any, limits: Limits) -> Any:
        found.append(len(pairs))
        return tokenise(model, pairs, limits)

    monkeypatch.setattr(token_cache, "tokenise", counted)
    monkeypatch.setattr(token_cache, "WORTH", 1)
    monkeypatch.setenv("CONJOIN_CACHE", str(tmp_path / "cache"))
    return found


def test_the_same_is_read_once_and_anything_else_anew(tmp_path: Path, calls: list[int]) -> None:
    model, pairs, limits = tiny_model(tmp_path / "a"), tiny_pairs(20), Limits(8, 3)
    made, again = (remembered(model, pairs, limits) for _ in range(2))
    assert calls == [20]
    assert made.fingerprint() == again.fingerprint() == tokenise(model, pairs, limits).fingerprint()
    assert (again.cut_sources, again.cut_labels, again.limits) == (made.cut_sources, made.cut_labels, limits)
    assert again.cut_sources > 0 < again.cut_labels
    assert (
        remembered(tiny_model(tmp_path / "a"), replace(pairs, name="others"), limits).fingerprint()
        == made.fingerprint()
    )
    assert calls == [20]
    remembered(model, pairs, Limits(9, 3))
    remembered(model, replace(pairs, targets=["w1", *pairs.targets[1:]]), limits)
    remembered(model, replace(pairs, sources=[f"{pairs.sources[0]}{pairs.targets[0]}", *pairs.sources[1:]]), limits)
    model.config.eos_token_id = 4
    remembered(model, pairs, limits)
    model.config.eos_token_id = 3
    model.tokenizers = TokenizerPair(*[tiny_tokenizer(tmp_path / "b", WORDS[::-1])] * 2)
    assert remembered(model, pairs, limits).fingerprint() != made.fingerprint()
    assert len(calls) == 6


@pytest.mark.parametrize("broken", ["cut", "empty", "changed", "another"])
def test_a_broken_file_is_made_anew(tmp_path: Path, calls: list[int], broken: str) -> None:
    model, pairs, limits = tiny_model(tmp_path / "a"), tiny_pairs(20), Limits(8, 3)
    expected = remembered(model, pairs, limits).fingerprint()
    (file,) = (tmp_path / "cache" / "tokens").iterdir()
    data = bytearray(file.read_bytes())
    data[data.index(b"sources.npy") + 200] ^= 1
    contents = {"cut": bytes(data[: len(data) // 2]), "empty": b"", "changed": bytes(data), "another": b"no archive"}
    file.write_bytes(contents[broken])
    assert remembered(model, pairs, limits).fingerprint() == expected
    assert calls == [20, 20]
    assert remembered(model, pairs, limits).fingerprint() == expected
    assert calls == [20, 20]


def test_few_pairs_and_a_folder_that_cannot_be_written(
    tmp_path: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs, limits = tiny_model(tmp_path / "a"), tiny_pairs(20), Limits(8, 3)
    (tmp_path / "cache").write_text("a file")
    for _ in range(2):
        remembered(model, pairs, limits)
    assert calls == [20, 20]
    (tmp_path / "cache").unlink()
    monkeypatch.setattr(token_cache, "WORTH", 21)
    remembered(model, pairs, limits)
    assert not (tmp_path / "cache").exists()


def test_old_files_are_removed(tmp_path: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "KEPT", 2)
    model, limits = tiny_model(tmp_path / "a"), Limits(8, 3)
    for seed in (0, 1, 0, 2, 0):
        remembered(model, tiny_pairs(20, seed), limits)
    assert len(calls) == 3  # seed 0 was used in between, so that it stayed
    assert len(list((tmp_path / "cache" / "tokens").iterdir())) == 2

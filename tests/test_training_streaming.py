"""Pairs that are streamed: the same portions whenever they are read, exact resumption, and memory that does not grow."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_training_runs import tiny_model, tiny_pairs

from conjoin.errors import ConfigError, DataError
from conjoin.training import Pairs, PairStream, Recipe, Result, stream_pairs, train
from conjoin.training.streaming import Feed


def written(path: Path, pairs: Pairs) -> Path:
    """A file of JSON lines."""
    rows = zip(pairs.sources, pairs.targets, strict=True)
    path.write_text("".join(json.dumps({"document": s, "summary": t}) + "\n" for s, t in rows))
    return path


def test_portions_are_the_same_in_whatever_order_they_are_passed_over(tmp_path: Path) -> None:
    pairs = tiny_pairs(23)
    stream = stream_pairs(written(tmp_path / "a.jsonl", pairs), buffer=5)
    feed = Feed(stream)
    read = [feed.portion(number).sources for number in range(13)]
    assert sum(read[:5], []) == pairs.sources  # noqa: RUF017
    assert [len(sources) for sources in read[:5]] == [5, 5, 5, 5, 3]
    assert read[5:10] == read[:5]
    assert read[10:] == read[:3]
    for number in (0, 4, 5, 12):
        late = Feed(stream)
        late.portion(0)
        assert late.portion(number).sources == read[number]
    assert feed.portion(12).name.endswith('a.jsonl", pairs 11 to 15')


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (400, 6400):
        stream = stream_pairs(written(tmp_path / f"{count}.jsonl", tiny_pairs(count)), buffer=100)
        tracemalloc.start()
        assert sum(len(portion) for portion in stream.portions()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0], peaks


def run(folder: Path, output: Path, pairs: Any, **settings: Any) -> Result:
    recipe = Recipe(
        batch_size=4, precision="float32", device="cpu", schedule="constant", warmup_ratio=0.0, save_every=1, **settings
    )
    return train(tiny_model(folder), pairs, tiny_pairs(5, 1), recipe, output, quiet=True)


def test_streamed_run_is_resumed_exactly(tmp_path: Path) -> None:
    stream = stream_pairs(written(tmp_path / "a.jsonl", tiny_pairs(40)), buffer=16)
    whole = run(tmp_path / "model", tmp_path / "whole", stream, max_steps=17)  # ten steps a pass
    assert [evaluation["step"] for evaluation in whole.evaluations] == [4, 8, 10, 14, 17]  # after each portion
    for steps in (2, 7, 8, 13, 17):
        result = run(tmp_path / "model", tmp_path / "parts", stream, max_steps=steps)
    assert result.losses == whole.losses
    with pytest.raises(ConfigError, match="other data"):
        run(tmp_path / "model", tmp_path / "parts", stream_pairs(tmp_path / "a.jsonl", buffer=15), max_steps=20)


def test_streams_that_cannot_be_are_refused(tmp_path: Path) -> None:
    stream = stream_pairs(written(tmp_path / "a.jsonl", tiny_pairs(9)), buffer=4)
    with pytest.raises(ConfigError, match="set max_steps or minutes, not epochs"):
        run(tmp_path / "model", tmp_path / "out", stream, epochs=1)
    with pytest.raises(DataError, match="buffer is 0"):
        stream_pairs(tmp_path / "a.jsonl", buffer=0)
    with pytest.raises(DataError, match="is not there"):
        stream_pairs(tmp_path / "b.jsonl")

    def nothing() -> Iterator[tuple[str, str]]:
        return iter(())

    with pytest.raises(DataError, match="no pairs"):
        run(tmp_path / "model", tmp_path / "out", PairStream(nothing, "nothing"), max_steps=1)
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(DataError, match=r'a.jsonl", line 10 is not JSON'):
        run(tmp_path / "model", tmp_path / "out", stream, max_steps=9)
    assert len(run(tmp_path / "model", tmp_path / "out", stream, max_steps=2).losses) == 2  # the checkpoints are there


def test_data_set_of_the_hub_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load(*args: Any, **options: Any) -> Any:
        asked.append(options)
        return datasets.Dataset.from_list([{"document": "a", "summary": "b"}] * 3).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load)
    stream = stream_pairs("owner/name", buffer=2)
    assert [len(portion) for portion in stream.portions()] == [2, 1]
    assert asked == [{"split": "train", "streaming": True}]

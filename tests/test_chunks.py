"""Long sources on the way from training to use: trained in windows, saved so, generated so; on the command line too."""

import json
import logging
from pathlib import Path

import pytest
import tiny
import torch
import transformers
from test_training_runs import WORDS, tiny_model, tiny_pairs

from conjoin import EncoderDecoderModel, pipeline
from conjoin.cli import main
from conjoin.errors import ConfigError, InputError
from conjoin.training import Pairs, Recipe, array_batches, train

RECIPE = {
    "batch_size": 8,
    "max_steps": 4,
    "precision": "float32",
    "device": "cpu",
    "start": "plain",
    "learning_rate": 0.01,
}
LONG = " ".join(["the big red dog ran under the tree and the small blue cat sat on the mat ."] * 4)
SHORT = ["--max-new-tokens", "6"]


def long_pairs() -> Pairs:
    """Sources of up to 122 tokens, where the encoder has 32 positions."""
    sources = [" ".join(WORDS[i:] * (1 + i % 2)) for i in range(8)]
    return Pairs(sources, [" ".join(source.split()[-3:]) for source in sources])


def test_training_reads_all_of_a_source_and_the_model_goes_on_to(tmp_path: Path, caplog) -> None:
    model, pairs = tiny_model(tmp_path / "words", dropout=0.0), long_pairs()
    batch = next(array_batches_in_chunks(model, pairs))
    with torch.no_grad():
        out = model.encode_in_chunks(batch["input_ids"], batch["attention_mask"])
        first = model(encoder_outputs=out, attention_mask=out.attention_mask, labels=batch["labels"]).loss
    before = model.encoder.embed.token.weight.detach().clone()
    with caplog.at_level(logging.WARNING, "conjoin"):
        result = train(model, pairs, None, Recipe(encode_in_chunks=True, **RECIPE), tmp_path / "out", quiet=True)
    assert not [record for record in caplog.records if "cut" in record.getMessage()]
    assert result.losses[0] == pytest.approx(float(first), abs=1e-5)
    assert result.losses[-1] < result.losses[0] - 0.1
    last_word = model.tokenizers.source.convert_tokens_to_ids(WORDS[-1])  # of long sources in the last windows alone
    assert not torch.equal(before[last_word], model.encoder.embed.token.weight[last_word])
    assert Recipe.from_pretrained(tmp_path / "out").encode_in_chunks
    saved = EncoderDecoderModel.from_pretrained(tmp_path / "out")
    assert saved.config.encode_in_chunks is True
    write = pipeline(saved, max_new_tokens=5)
    assert write(pairs.sources) == pipeline(model, max_new_tokens=5, encode_in_chunks=True)(pairs.sources)


def array_batches_in_chunks(model, pairs):
    """All pairs as one batch of tensors, sources uncut."""
    model.config.encode_in_chunks = True
    for batch in array_batches(model, pairs, batch_size=8):
        yield {name: torch.from_numpy(x) for name, x in batch.items()}
    model.config.encode_in_chunks = None


def test_the_start_that_copies_reads_long_sources_too(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "words", dropout=0.0)
    recipe = Recipe(encode_in_chunks=True, **{**RECIPE, "start": "copy"})
    assert train(model, long_pairs(), tiny_pairs(4), recipe, tmp_path / "out", quiet=True).steps == 4


def test_a_longest_source_still_cuts_and_what_cannot_be_is_said(tmp_path: Path, caplog) -> None:
    model = tiny_model(tmp_path / "words")
    recipe = Recipe(encode_in_chunks=True, max_source_length=50, **{**RECIPE, "max_steps": 1})
    with caplog.at_level(logging.WARNING, "conjoin"):
        train(model, long_pairs(), None, recipe, tmp_path / "out", quiet=True)
    assert "cut to 50 tokens" in caplog.text
    with pytest.raises(ConfigError, match="encode_in_chunks is 1; True or False"):
        Recipe(encode_in_chunks=1)
    plain = tiny_model(tmp_path / "words")
    with pytest.raises(ConfigError, match="positions for 32 tokens; lower it, or set encode_in_chunks"):
        train(plain, long_pairs(), None, Recipe(max_source_length=50, **RECIPE), tmp_path / "no", quiet=True)
    plain.config.chunk_window = 33
    with pytest.raises(InputError, match="chunk_window is 33; a whole number from 4 to 32"):
        train(plain, long_pairs(), None, Recipe(encode_in_chunks=True, **RECIPE), tmp_path / "no", quiet=True)
    assert not (tmp_path / "no").exists()


def test_transformers_loads_a_model_that_reads_in_chunks(tmp_path: Path) -> None:
    folder = tiny.join(tmp_path / "model", "bert")
    model = EncoderDecoderModel.from_pretrained(folder, encode_in_chunks=True, chunk_window=20)
    model.save_pretrained(folder)
    assert json.loads((folder / "generation_config.json").read_text())["chunk_window"] == 20
    theirs = transformers.EncoderDecoderModel.from_pretrained(folder).eval()
    ids = model.encoder.tokenizer("the cat sat .", return_tensors="pt")["input_ids"]
    settings = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 6, "decoder_start_token_id": 2}
    assert theirs.generate(ids, **settings).tolist() == model.generate(ids, **settings).tolist()


def test_the_commands(tmp_path: Path, capfd) -> None:
    folder = tiny.join(tmp_path / "model", "bert")
    source = tmp_path / "texts.txt"
    source.write_text(LONG + "\n")
    assert main(["generate", str(folder), str(source), *SHORT]) == 2
    assert "--encode-in-chunks" in capfd.readouterr().err
    assert main(["generate", str(folder), str(source), *SHORT, "--encode-in-chunks"]) == 0
    expected = pipeline(folder)(LONG, max_new_tokens=6, encode_in_chunks=True)
    assert capfd.readouterr().out == expected + "\n"
    data = tmp_path / "pairs.jsonl"
    data.write_text(json.dumps({"document": LONG, "summary": "the cat"}) + "\n")
    assert main(["evaluate", str(folder), "--data", str(data), *SHORT]) == 2
    assert "--encode-in-chunks" in capfd.readouterr().err
    assert main(["evaluate", str(folder), "--data", str(data), *SHORT, "--encode-in-chunks", "--json", "-"]) == 0
    assert json.loads(capfd.readouterr().out)["settings"] == {"max_new_tokens": 6, "encode_in_chunks": True}
    trained = tmp_path / "trained"
    command = [
        "train",
        "--model",
        folder,
        "--train",
        data,
        "--output",
        trained,
        "--max-steps",
        1,
        "--device",
        "cpu",
        "-q",
    ]
    assert main([str(word) for word in [*command, "--encode-in-chunks"]]) == 0
    assert EncoderDecoderModel.from_pretrained(trained).config.encode_in_chunks is True
    assert main(["generate", str(trained), str(source), *SHORT]) == 0
    assert main(["generate", str(trained), str(source), *SHORT, "--no-encode-in-chunks"]) == 2

"""Training in one process: data, labels, batches, the mean over tokens, groups, resuming, and what is refused."""

import gzip
import itertools
import json
import logging
import math
import random
import shutil
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from test_training_runs import WORDS, loads_or_is_absent, tiny_model, tiny_pairs, tiny_run, tiny_tokenizer

import conjoin.cli
from conjoin import (
    BertConfig,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    GPT2Config,
    GPT2Tokenizer,
    RobertaConfig,
    RobertaTokenizer,
)
from conjoin.errors import CheckpointError, ConfigError, ConjoinError, DataError
from conjoin.tokens import TokenizerPair
from conjoin.torch import Decoder, Encoder
from conjoin.training import Pairs, Recipe, loop, read_pairs, train
from conjoin.training.batches import Batches, collate, share_of
from conjoin.training.distributing import one_accelerator
from conjoin.training.evaluate import improves
from conjoin.training.optimiser import adamw, parameter_groups
from conjoin.training.precision import cpu_has_bfloat16
from conjoin.training.randomness import seed_batch
from conjoin.training.schedule import Moment, factor, progress
from conjoin.training.stepping import Stepper
from conjoin.training.tokenise import Limits, end_token, limits_of, tokenise, warn_of_cuts

ROWS = [{"document": "a long text", "summary": "text"}, {"document": 'two "lines"\nof it, é', "summary": "it"}]
ACCELERATOR = one_accelerator(Recipe(device="cpu"))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


# Data.


def written(path: Path, content: str) -> Path:
    """A file, packed where its name ends in .gz."""
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        file.write(content)
    return path


def as_csv(delimiter: str) -> str:
    quoted = [[r["summary"], r["document"].replace('"', '""')] for r in ROWS]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in quoted]
    return "\r\n".join([f"summary{delimiter}document", *lines]) + "\r\n"


JSON_LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
GOOD = {
    "a.jsonl": JSON_LINES,
    "a.jsonl.gz": JSON_LINES + "\n",
    "a.json": JSON_LINES,
    "list.json": "\n " + json.dumps(ROWS),
    "bom.jsonl": "\ufeff" + JSON_LINES,
    "a.csv": as_csv(","),
    "a.csv.gz": as_csv(","),
    "a.tsv": as_csv("\t"),
}


@pytest.mark.parametrize("name", GOOD)
def test_reads_pairs(tmp_path: Path, name: str) -> None:
    pairs = read_pairs(written(tmp_path / name, GOOD[name]))
    assert pairs.sources == [row["document"] for row in ROWS]
    assert pairs.targets == [row["summary"] for row in ROWS]


def test_reads_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert read_pairs(tmp_path / "a.parquet").sources == [row["document"] for row in ROWS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([*ROWS, {"document": "x"}]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r'b.parquet", row 3: "summary" is null; a text'):
        read_pairs(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_pairs(tmp_path / "c.parquet")


def test_reads_a_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load)
    pairs = read_pairs("owner/name:3.0.0", split="validation")
    assert (pairs.targets, asked) == (
        ["text", "it"],
        [(("owner/name", "3.0.0"), {"split": "validation", "streaming": False})],
    )

    def missing(*args: Any, **options: Any) -> Any:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'x' doesn't exist on the Hub\nor cannot be accessed.")

    monkeypatch.setattr(datasets, "load_dataset", missing)
    with pytest.raises(DataError, match=r'"owner/name" \(train\) could not be fetched: Dataset'):
        read_pairs("owner/name")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", JSON_LINES + "{broken\n", r'a.jsonl", line 3 is not JSON'),
        ("a.jsonl", JSON_LINES + "[1]\n", r"line 3 holds a list \(\[1\]\); an object"),
        ("a.jsonl", '{"document": "x", "sumary": "y"}', 'no column "summary"; the nearest known is "sumary"'),
        ("a.jsonl", '\n{"document": " \\n", "summary": "y"}', 'line 2: "document" is empty'),
        ("a.jsonl", '{"document": "x", "summary": 3}', r'line 1: "summary" is a int \(3\); a text was expected'),
        ("a.jsonl", '{"document": "x", "summary": null}', 'line 1: "summary" is null'),
        ("a.jsonl", "", "has no pairs"),
        ("a.jsonl", "\n\n", "has no pairs"),
        ("a.json", "[1]", "item 1 is a int"),
        ("a.json", '[{"document"', "is not JSON"),
        ("a.csv", "document,summary\n", "has no pairs"),
        ("a.csv", "document,summary\nx\n", "line 2 has fewer cells"),
        ("a.csv", "document,summary\nx,y,z\n", "line 2 has more cells"),
        ("a.csv", 'document,summary\nx,"y\n', "line 2 is malformed"),
        ("a.csv", "text,summary\nx,y\n", 'there is no column "document"; it has text, summary'),
        ("a.txt", "x", "is neither a file that can be read nor the name of a data set"),
        ("a.CSV", "document,summary\n", "has no pairs"),
        ("a.csv", "document,summary,document\nx,y,z\n", 'line 2: there are several columns "document"'),
        ("a.jsonl", '{"document": "a \\ud800", "summary": "y"}', 'line 1: "document" has half a surrogate pair at 2'),
    ],
)  # fmt: skip
def test_refuses_bad_data(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_pairs(written(tmp_path / name, content))
    assert str(caught.value).count("\n") == 0


def test_refuses_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'none.jsonl" is not there'):
        read_pairs(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes('{"document": "é", "summary": "y"}'.encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        read_pairs(tmp_path / "latin.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(JSON_LINES.encode())[:-12])
    with pytest.raises(DataError, match="cannot be read"):
        read_pairs(tmp_path / "cut.jsonl.gz")
    with pytest.raises(DataError, match="2 sources and 1 targets"):
        Pairs(["a", "b"], ["c"])


def test_reads_long_cells_and_leaves_csv_as_it_was(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit(131072)  # Python's own; other libraries change it
    try:
        pairs = read_pairs(written(tmp_path / "a.csv", "document,summary\n" + "x" * 200_000 + ",y\n"))
        assert len(pairs.sources[0]) == 200_000
        assert csv.field_size_limit() == 131072
    finally:
        csv.field_size_limit(before)


def test_repeated_pairs_and_validation_pairs_that_are_trained_on_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = tiny_pairs(8)
    twice = Pairs([*once.sources, *once.sources[:3]], [*once.targets, *once.targets[:3]], "train.csv")
    held_out = Pairs([*tiny_pairs(4, 1).sources, once.sources[0]], [*tiny_pairs(4, 1).targets, "w1"], "validation.csv")
    recipe = Recipe(max_steps=1, precision="float32", device="cpu")
    with caplog.at_level(logging.WARNING, "conjoin"):
        train(tiny_model(tmp_path), twice, held_out, recipe, tmp_path / "out", quiet=True)
        train(tiny_model(tmp_path), once, tiny_pairs(4, 1), recipe, tmp_path / "clean", quiet=True)
    assert [record.getMessage() for record in caplog.records] == [
        "train.csv: 3 of 11 pairs repeat an earlier one; each counts as often as it is there.",
        "validation.csv: 1 of 5 sources are also in train.csv; what is measured on them says little about new texts: "
        "take them out.",
    ]


# Labels.


def byte_level(folder: Path, special: list[str]) -> None:
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(["the cat sat on the mat", "words"], 300, special_tokens=special, show_progress=False)
    folder.mkdir()
    trained.save_model(str(folder))


@pytest.mark.parametrize("family", ["bert", "roberta", "bart", "gpt2"])
def test_labels_end_once_and_do_not_start(tmp_path: Path, family: str) -> None:
    size: dict[str, Any] = {"vocab_size": 300, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    target: Any
    config: Any
    if family == "bert":
        target, config = tiny_tokenizer(tmp_path / "target"), BertConfig(**size, max_position_embeddings=32)
        text, start, end = "w1 w2 w3 [SEP]", 2, 3
    elif family in ("roberta", "bart"):
        byte_level(tmp_path / "target", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
        target, config = (
            RobertaTokenizer.from_pretrained(tmp_path / "target"),
            RobertaConfig(**size, max_position_embeddings=34),
        )
        text, start, end = "<s>the cat sat", 0 if family == "roberta" else 2, 2  # BART starts with </s>
    else:
        byte_level(tmp_path / "target", ["<|endoftext|>"])
        target, config = GPT2Tokenizer.from_pretrained(tmp_path / "target"), GPT2Config(**size, n_positions=32)
        text, start, end = "the cat sat", 0, 0
    source = tiny_tokenizer(tmp_path / "source")
    encoder, decoder = BertConfig(**size), config
    first = [0] if family == "bart" else []
    forced = {"forced_bos_token_id": 0} if first else {}
    tokens: dict[str, Any] = {
        **forced,
        "decoder_start_token_id": start,
        "eos_token_id": end,
        "pad_token_id": end if family == "gpt2" else 1,
    }
    model = EncoderDecoderModel(config=EncoderDecoderConfig(encoder=encoder, decoder=decoder, **tokens))
    model.tokenizers = TokenizerPair(source, target)
    plain = text.replace(" [SEP]", "").replace("<s>", "")
    body = target(plain, add_special_tokens=False)["input_ids"]
    long = " ".join([plain] * 40)
    examples = tokenise(model, Pairs(["w1 w2", "w3", "w4"], [text, plain, long]), Limits(8, 20))
    for labels in examples.labels[:2]:
        assert labels.tolist() == [*first, *body, end]
        inputs = model.prepare_decoder_input_ids_from_labels(torch.from_numpy(labels)[None].long())[0].tolist()
        assert inputs == [start, *first, *body]
    assert len(examples.labels[2]) == 20
    assert examples.labels[2][-1] == end
    assert end not in examples.labels[2][:-1]
    assert examples.cut_labels == 1
    assert limits_of(model, None, None).target == 32


def test_sources_are_cut_with_their_last_token_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model(tmp_path)
    pairs = Pairs(["w1 w2", " ".join(WORDS), " ".join(WORDS[::-1])], ["w1", "w2", "w3"])
    with caplog.at_level(logging.WARNING, "conjoin"):
        examples = tokenise(model, pairs, Limits(6, 32))
        warn_of_cuts(pairs, examples, Limits(6, 32))
    assert [x.tolist() for x in examples.sources] == [[2, 6, 7, 3], [2, 5, 6, 7, 8, 3], [2, 64, 63, 62, 61, 3]]
    assert [record.getMessage() for record in caplog.records] == ["the pairs: 2 of 3 sources were cut to 6 tokens."]
    with pytest.raises(ConfigError, match="max_source_length is 33 and the encoder has positions for 32"):
        limits_of(model, 33, None)
    model.config.eos_token_id = None
    with pytest.raises(ConfigError, match="no end token"):
        end_token(model)


def test_model_without_tokenizers_is_refused(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    model.encoder.tokenizer = None
    with pytest.raises(ConfigError, match="no tokenizers"):
        tokenise(model, tiny_pairs(2), Limits(8, 8))


# Batches.


def some_batches(count: int = 1003, **changes: Any) -> Batches:
    draw = np.random.default_rng(0)
    settings = {"batch_size": 8, "batch_tokens": None, "batches_a_step": 3, "seed": 1, **changes}
    return Batches(draw.integers(3, 200, count), draw.integers(1, 30, count), **settings)


@pytest.mark.parametrize("tokens", [None, 900])
def test_every_example_once_an_epoch_in_an_order_of_its_own(tokens: int | None) -> None:
    batches = some_batches(batch_tokens=tokens)
    epochs = [batches.epoch(n) for n in range(2)]
    for steps in epochs:
        assert sorted(np.concatenate([rows for step in steps for rows in step])) == list(range(1003))
        assert [len(step) for step in steps[:-1]] == [3] * (len(steps) - 1)
    first = [rows.tolist() for step in epochs[0] for rows in step]
    assert first == [rows.tolist() for step in some_batches(batch_tokens=tokens).epoch(0) for rows in step]
    assert sorted(first) != sorted(rows.tolist() for step in epochs[1] for rows in step)
    assert first != [rows.tolist() for step in some_batches(batch_tokens=tokens, seed=2).epoch(0) for rows in step]
    if tokens is not None:
        for rows in first:
            assert len(rows) * (batches.source_lengths[rows].max() + batches.label_lengths[rows].max()) <= tokens


def test_padding_is_a_third_of_that_of_a_random_order() -> None:
    batches = some_batches()
    length = batches.source_lengths

    def padding(groups: list[Any]) -> int:
        return sum(int(len(rows) * length[rows].max() - length[rows].sum()) for rows in groups)

    random = np.random.default_rng(3).permutation(1003)
    assert padding([rows for step in batches.epoch(0) for rows in step]) < padding(np.array_split(random, 126)) / 3


def test_shares_are_of_one_length_and_lose_nothing() -> None:
    steps = some_batches(count=100, batches_a_step=4).epoch(0)
    assert len(steps[-1]) == 1
    for step in steps:
        shares = [share_of(step, process, 2) for process in range(2)]
        assert len({len(share) for share in shares}) == 1
        rows = [rows.tolist() for share in shares for rows in share if rows is not None]
        assert sorted(rows) == sorted(rows.tolist() for rows in step)


def test_collate(tmp_path: Path) -> None:
    examples = tokenise(tiny_model(tmp_path), Pairs(["w0", "w1 w2"], ["w3 w4", "w5"]), Limits(8, 8))
    batch = collate(examples, np.array([0, 1]), 0)
    assert batch["input_ids"].tolist() == [[2, 5, 3, 0], [2, 6, 7, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[8, 9, 3], [10, 3, -100]]
    assert collate(examples, None, 0)["labels"].tolist() == [[-100, -100, -100]]


# One step.


def gradients(model: EncoderDecoderModel, share: list[Any], recipe: Recipe, examples: Any) -> tuple[float, Any]:
    stepper = Stepper(model, recipe, examples, ACCELERATOR)
    stepper.wait(False)
    loss = stepper.gradients(share, stepper.tokens(share))
    return float(loss), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_accumulated_gradients_are_those_of_one_batch(tmp_path: Path, smoothing: float) -> None:
    """transformers' EncoderDecoderModel takes a mean of means instead: wrong where batches differ in tokens."""
    recipe = Recipe(precision="float32", device="cpu", label_smoothing=smoothing)
    model = tiny_model(tmp_path, 0.0)
    pairs = Pairs(["w1 w2"] * 8, [" ".join(WORDS[: 1 + 3 * i]) for i in range(8)])
    examples = tokenise(model, pairs, Limits(32, 32))
    whole, expected = gradients(model, [np.arange(8)], recipe, examples)
    model.zero_grad()
    parts, found = gradients(model, [*np.arange(8).reshape(4, 2), None], recipe, examples)
    assert abs(whole - parts) < 1e-6
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    model.zero_grad()
    means = [gradients(tiny_model(tmp_path, 0.0), [rows], recipe, examples)[0] for rows in np.arange(8).reshape(4, 2)]
    assert abs(sum(means) / 4 - whole) > 1e-4  # the mistake would be seen
    if smoothing == 0:
        batch = collate(examples, np.arange(8), 0)
        assert abs(float(model(**batch).loss.detach()) - whole) < 1e-6


def test_weight_decay_and_rates_go_by_group(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    names = {id(p): name for name, p in model.named_parameters()}
    model.new_parameters = tuple(name for name in names.values() if ".cross" in name)
    model.freeze("embeddings")
    recipe = Recipe(learning_rate=1e-4, new_learning_rate=2e-4, weight_decay=0.1, freeze=("embeddings",))
    seen = []
    for group in parameter_groups(model, recipe):
        found: Any = group["params"]
        for name in (names[id(p)] for p in found):
            seen.append(name)
            plain = name.endswith("bias") or "norm" in name
            assert (group["weight_decay"], group["base_rate"]) == (
                0 if plain else 0.1,
                2e-4 if ".cross" in name else 1e-4,
            )
    assert sorted(seen) == sorted(name for name in names.values() if ".embed." not in name)
    model.freeze("encoder", "decoder")
    with pytest.raises(ConfigError, match="leaves nothing to train"):
        parameter_groups(model, recipe)


def test_the_fused_optimiser_is_the_plain_one_and_their_states_are_exchanged(tmp_path: Path) -> None:
    models = [tiny_model(tmp_path) for _ in range(2)]
    recipe = Recipe(learning_rate=1e-2, weight_decay=0.1)
    ours = adamw(parameter_groups(models[0], recipe), recipe, models[0].device)
    assert all(group["fused"] for group in ours.param_groups)
    settings = {"betas": (recipe.adam_beta1, recipe.adam_beta2), "eps": recipe.adam_epsilon, "foreach": False}
    plain = torch.optim.AdamW(parameter_groups(models[1], recipe), lr=recipe.learning_rate, **settings)
    for step in range(10):
        if step == 5:  # each goes on from the other's state, as another machine or version would
            kinds = [{"fused": True}, {"fused": None, "foreach": False}]
            states = plain.state_dict(), ours.state_dict()
            for optimiser, state, kind in zip((ours, plain), states, kinds, strict=True):
                state["param_groups"] = [{**group, **kind} for group in state["param_groups"]]
                optimiser.load_state_dict(state)
        for one, other in zip(*(model.parameters() for model in models), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        ours.step(), plain.step()
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=0, atol=1e-6)
    before = tiny_model(tmp_path).encoder.embed.token.weight
    assert (models[0].encoder.embed.token.weight - before).abs().mean() > 0.01  # they have gone somewhere


def test_new_gates_learn_faster_than_other_new_parameters(tmp_path: Path) -> None:
    part = tiny_model(tmp_path).decoder
    model = EncoderDecoderModel(
        config=EncoderDecoderConfig(encoder=part.config, decoder=part.config.copy(cross_attention_gate=True))
    )
    model.new_parameters = tuple(n for n, _ in model.named_parameters() if ".cross" in n)
    names = {id(p): name for name, p in model.named_parameters()}
    recipe = Recipe(learning_rate=1e-4, new_learning_rate=2e-4)
    rates = {names[id(p)]: group["base_rate"] for group in parameter_groups(model, recipe) for p in group["params"]}  # type: ignore[attr-defined]
    assert rates["decoder.layers.0.cross_gate"] == pytest.approx(50 * 2e-4)
    assert rates["decoder.layers.0.cross.q.weight"] == 2e-4


def test_schedule_rises_and_falls() -> None:
    recipe = Recipe(max_steps=10, warmup_ratio=0.2)
    moments = [Moment(n, progress(recipe, 0, n, 0), progress(recipe, 0, n + 1, 0)) for n in range(10)]
    rates = [factor(recipe, "encoder", False, moment) for moment in moments]
    np.testing.assert_allclose(rates, [0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    constant = recipe.changed(schedule="constant", warmup_steps=4)
    assert [factor(constant, "new", False, moments[n]) for n in (0, 3, 9)] == [0.25, 1.0, 1.0]
    assert factor(recipe.changed(schedule="cosine"), "new", False, moments[6]) == pytest.approx(0.5)
    timed = Recipe(minutes=1, epochs=10, max_steps=100)
    assert progress(timed, 1, 5, 30) == 0.5  # half the time is over, whatever else


def test_loss_that_is_no_number_stops_with_weights_as_they_were(tmp_path: Path) -> None:
    model, recipe = tiny_model(tmp_path), Recipe(precision="float32", device="cpu")
    examples = tokenise(model, tiny_pairs(8), Limits(32, 32))
    stepper = Stepper(model, recipe, examples, ACCELERATOR)
    with torch.no_grad():
        model.decoder.head.bias[5] = math.inf
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ConjoinError, match=r"training stopped at step 9: the loss is (nan|inf)"):
        stepper.step([np.arange(8)], 20, Moment(8, 0.8, 0.9))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


# Runs.


def test_resumed_run_is_the_undisturbed_one(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"save_every": 7, "evaluate_every": 100, "schedule": "constant", "warmup_ratio": 0.0}
    whole = tiny_run(tmp_path / "model", tmp_path / "whole", max_steps=12, **settings)
    half = tiny_run(tmp_path / "model", tmp_path / "half", max_steps=7, **settings)
    assert (half.steps, half.losses) == (7, whole.losses[:7])
    both = tiny_run(tmp_path / "model", tmp_path / "half", max_steps=12, **settings)
    torch.testing.assert_close(both.losses, whole.losses, rtol=0, atol=1e-6)
    models = [EncoderDecoderModel.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "half")]
    torch.testing.assert_close(*models, rtol=0, atol=1e-6)
    assert whole.evaluations[-1]["loss"] == pytest.approx(both.evaluations[-1]["loss"], abs=1e-6)
    fresh = tiny_run(tmp_path / "model", tmp_path / "half", max_steps=2, resume=False, **settings)
    assert fresh.losses == whole.losses[:2]
    assert [path.name for path in (tmp_path / "half" / "checkpoints").iterdir()] == ["step-2"]


def test_training_learns_and_saves_what_was_best(tmp_path: Path) -> None:
    model, recipe = (
        tiny_model(tmp_path, 0.0),
        Recipe(batch_size=8, epochs=4, learning_rate=0.02, precision="float32", device="cpu"),
    )
    scores = itertools.chain([1.0, 3.0, 2.0, 3.0])

    def score(model: EncoderDecoderModel, pairs: Pairs) -> dict[str, float]:
        assert not model.training
        torch.rand(3)  # what an evaluation draws changes nothing
        return {"rougeL": next(scores)}

    result = train(
        model,
        tiny_pairs(50),
        tiny_pairs(10, 1),
        recipe,
        tmp_path / "out",
        evaluate_generation=score,
        quiet=True,
    )
    assert result.losses[-1] < result.losses[0] - 0.1
    assert [e["rougeL"] for e in result.evaluations] == [1.0, 3.0, 2.0, 3.0]
    best = min((e for e in result.evaluations if e["rougeL"] == 3.0), key=lambda e: e["loss"])
    assert result.best is not None
    assert result.best["step"] == best["step"]
    assert not model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    saved, last = (
        EncoderDecoderModel.from_pretrained(p)
        for p in (tmp_path / "out", tmp_path / f"out/checkpoints/step-{best['step']}")
    )
    torch.testing.assert_close(saved.state_dict(), last.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(saved.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert saved.config.generation.max_new_tokens == 4  # three words and the end
    assert Recipe.from_pretrained(tmp_path / "out") == recipe.changed(max_source_length=32, max_target_length=32)


def test_checkpoints_are_pruned_and_the_best_stays(tmp_path: Path) -> None:
    values = iter([5.0, 1, 2, 3, 4])
    model, recipe = (
        tiny_model(tmp_path),
        Recipe(max_steps=5, evaluate_every=1, precision="float32", device="cpu", batch_size=8),
    )

    def score(model: EncoderDecoderModel, pairs: Pairs) -> dict[str, float]:
        return {"rougeL": next(values)}

    train(model, tiny_pairs(50), tiny_pairs(4), recipe, tmp_path / "out", evaluate_generation=score, quiet=True)
    folder = tmp_path / "out" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-1", "step-4", "step-5"]
    assert not (folder / "step-1" / "optimiser.pt").exists()  # only the model of an old best one


def test_training_with_shared_weights_frozen_parts_and_bfloat16(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, share="embeddings")
    before = {name: p.clone() for name, p in model.named_parameters()}
    rates = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    recipe = Recipe(max_steps=2, batch_size=8, freeze=("embeddings",), precision="bfloat16", device="cpu", dropout=0.0)
    train(model, tiny_pairs(20), None, recipe, tmp_path / "out", quiet=True)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (".embed." in name), name
        assert parameter.dtype == torch.float32
    assert [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)] == rates
    assert model.encoder.embed.token.weight is model.decoder.embed.token.weight


def test_run_by_the_clock_ends_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    rates: list[float] = []

    def noted(steps: int, before: float, after: float) -> Moment:
        moment = Moment(steps, before, after)
        rates.append(factor(Recipe(minutes=0.5), "new", False, moment))
        return moment

    monkeypatch.setattr(loop, "Moment", noted)
    result = tiny_run(tmp_path / "model", tmp_path / "out", minutes=0.5)
    assert 5 < result.steps < 30
    assert 30 <= result.seconds < 45
    assert rates[0] < max(rates) > 0.9
    assert 0 < rates[-1] < 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 4}, "batch_size 8 .and now it is 4"),
        ({"seed": 1}, "seed 42 .and now it is 1"),
        ({"gradient_accumulation_steps": 2}, "batches_a_step"),
        ({"max_target_length": 2}, "other data or tokenizers"),
        ({"start": "plain"}, "start 'copy' .and now it is 'plain'"),
    ],
)
def test_another_run_is_not_resumed(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    tiny_run(tmp_path / "model", tmp_path / "out", max_steps=1)
    with pytest.raises(ConfigError, match=message):
        tiny_run(tmp_path / "model", tmp_path / "out", max_steps=2, **changes)


def test_a_run_that_began_with_other_weights_is_not_resumed(tmp_path: Path) -> None:
    recipe = Recipe(batch_size=8, max_steps=2, save_every=1, precision="float32", device="cpu")

    def run(model: EncoderDecoderModel, steps: int) -> list[float]:
        found = train(model, tiny_pairs(20), None, recipe.changed(max_steps=steps), tmp_path / "out", quiet=True)
        return found.losses

    model, new = tiny_model(tmp_path), ("decoder.layers.0.cross.o.weight",)
    model.new_parameters = new
    losses = run(model, 2)
    assert run(model, 3)[:2] == losses  # what a run left goes on
    again = tiny_model(tmp_path).to(torch.bfloat16)
    again.new_parameters = new
    again.get_parameter(new[0]).data.normal_()  # new, and drawn anew
    assert run(again, 4)[:2] == losses
    other = tiny_model(tmp_path)
    other.get_parameter("encoder.layers.0.attention.q.weight").data += 0.01
    with pytest.raises(ConfigError, match=r"began with other weights than the model has now; .*step-4"):
        run(other, 5)
    newest = EncoderDecoderModel.from_pretrained(tmp_path / "out/checkpoints/step-4")
    assert run(newest, 5)[:2] == losses
    run(tiny_model(tmp_path), 6)  # those that it began with are still known
    state = tmp_path / "out/checkpoints/step-6/state.json"
    state.write_text(
        json.dumps({k: v for k, v in json.loads(state.read_text()).items() if k not in ("origin", "about")})
    )
    assert run(other, 7)[:2] == losses  # a version that kept no hash


def test_full_disk_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    with pytest.raises(CheckpointError, match="has 1 MB free; nothing was written"):
        tiny_run(tmp_path / "model", tmp_path / "out", max_steps=1)
    assert not (tmp_path / "out").exists()


def test_disk_that_fills_up_leaves_the_checkpoints_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = torch.save, []

    def full(*args: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        save(*args, **options)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"step-3.*could not be written.*No space left"):
        tiny_run(tmp_path / "model", tmp_path / "out", max_steps=5, save_every=1)
    assert sorted(path.name for path in (tmp_path / "out/checkpoints").iterdir()) == ["step-1", "step-2"]
    loads_or_is_absent(tmp_path / "out")
    assert len(tiny_run(tmp_path / "model", tmp_path / "out", max_steps=5, save_every=1).losses) == 5


def test_a_disk_without_room_for_the_next_model_is_told_of_with_what_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, second = namedtuple("usage", "total used free"), tmp_path / "out/checkpoints/step-2"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, 0 if second.exists() else 10**12))
    with pytest.raises(
        CheckpointError, match=r"0 MB free; nothing was written\. The checkpoints are unchanged: make room"
    ):
        tiny_run(tmp_path / "model", tmp_path / "out", max_steps=5, save_every=1)
    assert sorted(path.name for path in (tmp_path / "out/checkpoints").iterdir()) == ["step-1", "step-2"]


def test_arguments_of_another_kind_are_refused(tmp_path: Path) -> None:
    pairs, recipe = tiny_pairs(2), Recipe()
    for given, message in (
        (([("a", "b")], None, recipe), r"train_pairs is a list; Pairs\(sources, targets\) were expected"),
        ((pairs, {"document": "a"}, recipe), "validation_pairs is a dict; Pairs"),
        ((pairs, None, {"epochs": 1}), "recipe is a dict; a Recipe was expected"),
    ):
        with pytest.raises(ConjoinError, match=message):
            train(tiny_model(tmp_path), *given, tmp_path / "out")  # type: ignore[arg-type]


def test_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(CheckpointError, match="is a file; a folder"):
        tiny_run(tmp_path / "model", tmp_path / "out", max_steps=1)


# Recipes.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate is -1.0; a number from 0 to 10 was expected"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"batch_size": 0}, "batch_size is 0; a whole number from 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"epochs": True}, "epochs is True; a whole number .* or None"),
        ({"schedule": "linaer"}, 'schedule is .linaer.; one of .*the nearest known is "linear"'),
        ({"precision": 16}, "precision is 16"),
        ({"freeze": ["encoder"]}, "a list of parts"),
        ({"freeze": ("encodr",)}, 'the nearest known is "encoder"'),
    ],
)
def test_recipe_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe(**settings)


def test_recipe_is_kept_as_json() -> None:
    recipe = Recipe(freeze=("embeddings",), minutes=2.5)
    assert Recipe.from_dict(json.loads(recipe.to_json_string())) == recipe
    assert (recipe.epochs, Recipe().epochs) == (None, 3)
    with pytest.raises(ConfigError, match='no setting "learning_rates"; the nearest known is "learning_rate"'):
        Recipe.from_dict({"learning_rates": 1})


def test_small_parts(tmp_path: Path) -> None:
    facts = tmp_path / "cpuinfo"
    assert not cpu_has_bfloat16(facts)
    facts.write_text("processor: 0\nflags\t\t: fpu avx512_bf16 sse\n")
    assert cpu_has_bfloat16(facts)
    facts.write_text("flags\t\t: fpu avx512_bf16x sse\n")
    assert not cpu_has_bfloat16(facts)
    assert improves({"loss": 1.0}, {"loss": 2.0})
    assert not improves({"loss": math.nan}, {"loss": 2.0})
    assert improves({"loss": 1.0}, {"loss": math.nan})
    assert improves({"loss": 9.0, "rougeL": 2.0}, {"loss": 1.0, "rougeL": 1.0})
    assert improves({"loss": 1.0, "rougeL": 1.0}, {"loss": 2.0, "rougeL": 1.0})
    drawn = []
    for step, batch in ((1, 0), (1, 1), (2, 0), (1, 0)):
        seed_batch(3, step, batch)
        drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert drawn[0] == drawn[3]
    assert len(set(drawn)) == 3


# The command.


def test_command_trains_resumes_and_continues(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "vocabulary")
    for part in (model.encoder, model.decoder):
        assert isinstance(part, Encoder | Decoder)
        part.save_pretrained(tmp_path / part.role)
    pairs = tiny_pairs(20)
    rows = [{"text": s, "title": t} for s, t in zip(pairs.sources, pairs.targets, strict=True)]
    data = written(tmp_path / "pairs.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    common = ["--train", str(data), "--validation", str(data), "--source-column", "text", "--target-column", "title"]
    common += [
        "--batch-size",
        "8",
        "--precision",
        "float32",
        "--device",
        "cpu",
        "--generation-examples",
        "2",
        "--quiet",
    ]
    join = ["train", "--encoder", str(tmp_path / "encoder"), "--decoder", str(tmp_path / "decoder")]
    assert conjoin.cli.main([*join, *common, "--output", str(tmp_path / "out"), "--epochs", "1"]) == 0
    assert conjoin.cli.main([*join, *common, "--output", str(tmp_path / "out"), "--epochs", "2"]) == 0
    found = json.loads((tmp_path / "out" / "training.json").read_text())
    assert found["steps"] == 6
    assert set(found["evaluations"][0]) >= {"loss", "rougeL"}
    again = ["train", "--model", str(tmp_path / "out"), *common, "--output"]
    assert conjoin.cli.main([*again, str(tmp_path / "more"), "--max-steps", "1"]) == 0
    assert conjoin.cli.main([*again, str(tmp_path / "out")]) == 2


def test_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(written(tmp_path / "pairs.jsonl", JSON_LINES))
    for arguments, message in (
        ([], "name --encoder and --decoder, or --model"),
        (["--encoder", "x"], "--decoder is missing"),
        (["--model", "x", "--learning-rate", "-1"], "learning_rate is -1.0"),
        (["--model", str(tmp_path / "none")], "none"),
        (["--encoder", "x", "--decoder", str(tmp_path / "out")], "--output is the folder of --decoder"),
        (["--model", "x", "--share", "all"], "--share says how parts are joined"),
        (["--model", "x", "--cross-attention-layers", "0"], "--cross-attention-layers says how"),
    ):
        assert conjoin.cli.main(["train", "--train", data, "--output", str(tmp_path / "out"), *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""Extraction: the oracle, how documents are read, the model against its parts, training, folders, joins, commands."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from rouge_score.rouge_scorer import RougeScorer
from test_training_runs import WORDS, tiny_tokenizer
from tiny import bert

import conjoin.cli
from conjoin import EncoderDecoderModel
from conjoin.errors import CheckpointError, ConfigError, ConjoinError, DataError, InputError
from conjoin.extraction import (
    Documents,
    Extractor,
    Settings,
    evaluate_extractor,
    extractor_for,
    oracle,
    read_documents,
    train_extractor,
)
from conjoin.extraction.encoding import Encoded, encoded
from conjoin.extraction.lessons import lessons_of
from conjoin.extraction.oracle import words
from conjoin.extraction.selecting import best_sentences
from conjoin.extraction.sentences import split_sentences
from conjoin.torch import Encoder
from conjoin.training import Recipe

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
GOOD = "w1 w2 w3"  # what a summary always begins with


def tiny_encoder(folder: Path, positions: int = 48, types: int = 2) -> Encoder:
    """A BERT of one layer over the words w0 to w59, from a folder."""
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=65, max_position_embeddings=positions, type_vocab_size=types, **SIZES)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tiny_tokenizer(folder).save_pretrained(folder)
    return Encoder.from_pretrained(folder)


def tiny_documents(count: int, seed: int = 0) -> Documents:
    """Documents of three to five sentences, one of which the summary begins as."""
    draw = np.random.default_rng(seed)
    documents, summaries = [], []
    for _ in range(count):
        sentences = [" ".join(draw.choice(WORDS[10:], 5)) + "." for _ in range(draw.integers(3, 6))]
        at = int(draw.integers(len(sentences)))
        sentences[at] = f"{GOOD} {WORDS[int(draw.integers(10, 60))]}."
        documents.append(sentences)
        summaries.append(f"{GOOD} w5")
    return Documents(documents, summaries)


# The oracle and the choice.


def test_oracle_is_greedy_by_rouge() -> None:
    scorer = RougeScorer(["rouge1", "rouge2"])
    draw = np.random.default_rng(3)
    for _ in range(20):
        sentences = [" ".join(draw.choice(WORDS[:8], 4)) for _ in range(6)]
        summary = " ".join(draw.choice(WORDS[:8], 7))

        def worth(numbers: list[int], sentences: list[str] = sentences, summary: str = summary) -> float:
            found = scorer.score(summary, " ".join(sentences[i] for i in numbers))
            return float(found["rouge1"].fmeasure + found["rouge2"].fmeasure)

        best: list[int] = []
        for _ in range(3):
            more = max(([*best, i] for i in range(6) if i not in best), key=lambda numbers: worth(sorted(numbers)))
            if worth(sorted(more)) <= worth(best) + 1e-12:
                break
            best = sorted(more)
        assert oracle(sentences, summary) == best


def test_oracle_of_other_scripts_and_of_nothing() -> None:
    assert words("Où est l'ÉTÉ? 今日は2回") == ["où", "est", "l", "été", "今", "日", "は", "2", "回"]
    assert oracle(["犬がいる。", "今日は晴れ。"], "今日の天気") == [1]
    assert oracle(["Привет мир.", "Как дела?"], "дела хорошо") == [1]
    assert oracle(["a b c", "d e"], "x y") == []
    assert oracle([], "x") == []
    assert oracle(["a b", "c d", "e f", "g h"], "a b c d e f g h", 2) == [0, 1]


def test_trigrams_are_blocked() -> None:
    sentences = ["a b c d", "x a b c", "e f g", "h i"]
    assert best_sentences(sentences, [0.9, 0.8, 0.7, 0.1], 2) == [0, 2]
    assert best_sentences(sentences, [0.9, 0.8, 0.7, 0.1], 2, block=False) == [0, 1]
    assert best_sentences(sentences, [0.1, 0.8], 3) == [1]  # the first repeats it, and the others have no score
    assert best_sentences(sentences, [0.1, 0.2, 0.3, 0.4], 9) == [1, 2, 3]


def test_sentences_of_several_languages() -> None:
    assert split_sentences("Mr. Smith came. He left!  And?\n\nThe end") == [
        "Mr. Smith came.",
        "He left!",
        "And?",
        "The end",
    ]
    assert split_sentences("今日は。元気です。", "ja") == ["今日は。", "元気です。"]


# Documents.


def test_documents_are_texts_or_lists_of_sentences(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    lines = [
        {"document": "One here. Two there.", "summary": "one"},
        {"document": ["a b.", " ", "c d."], "summary": "c"},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_documents(file)
    assert found.sentences == [["One here.", "Two there."], ["a b.", "c d."]]
    assert (found.summaries, found.first(1).summaries, len(found)) == (["one", "c"], ["one"], 2)
    for document, said in (
        ([], "line 1: the document is empty"),
        (["a", 3], "a text, or a list of sentences"),
        ("", "is empty"),
        (3, "a text was expected"),
    ):
        file.write_text(json.dumps({"document": document, "summary": "x"}))
        with pytest.raises(DataError, match=said):
            read_documents(file)
    file.write_text("")
    with pytest.raises(DataError, match="has no documents"):
        read_documents(file)


def test_each_sentence_is_marked_and_types_go_by_turns(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path)
    assert encoded(tokenizer, ["w0 w1", "w2", "w3"], 48) == Encoded(
        ids=[2, 5, 6, 3, 2, 7, 3, 2, 8, 3], types=[0] * 4 + [1] * 3 + [0] * 3, places=[0, 4, 7]
    )
    # The sentence that does not fit is cut, and what is behind it is left out.
    assert encoded(tokenizer, ["w0 w1", "w2 w3 w4", "w3"], 8) == Encoded(
        ids=[2, 5, 6, 3, 2, 7, 8, 3], types=[0] * 4 + [1] * 4, places=[0, 4], cut=True
    )
    assert encoded(tokenizer, ["w0 w1", "w2 w3 w4"], 6).places == [0]


# The model.


@torch.no_grad()
def test_scores_are_those_of_the_parts(tmp_path: Path) -> None:
    model = Extractor(tiny_encoder(tmp_path)).eval()
    documents = [["w0 w1", "w2", "w3 w4 w5"], ["w9"]]
    alone = [torch.tensor(model.scores([one])[0]) for one in documents]
    together = model.scores(documents)
    assert [len(row) for row in together] == [3, 1]
    for one, row in zip(alone, together, strict=True):  # padding changes nothing
        torch.testing.assert_close(torch.tensor(row), one, rtol=0, atol=1e-6)

    read = model.encoded(documents[0])
    given = (torch.tensor([ids]) for ids in (read.ids, [1] * len(read.ids), read.types))
    states = model.encoder(*given).last_hidden_state[:, read.places]
    x = states + torch.tensor(
        [[f(n / 10000 ** (2 * i / 16)) for i in range(8) for f in (np.sin, np.cos)] for n in range(3)]
    )
    for layer in model.head.layers:
        x = layer(x.float())
    expected = torch.sigmoid(model.head.score(model.head.norm(x)))[0, :, 0]
    torch.testing.assert_close(alone[0], expected, rtol=0, atol=1e-6)


def test_types_are_left_out_where_the_encoder_has_none(tmp_path: Path) -> None:
    model = Extractor(tiny_encoder(tmp_path, types=1), Settings(layers=0)).eval()
    assert "token_type_ids" not in model.batch([model.encoded(["w0", "w1"])])
    assert len(model.scores([["w0", "w1"]])[0]) == 2


def test_what_cannot_be_an_extractor_is_refused(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "bert")
    for settings, said in (
        ({"heads": 3}, "no multiple"),
        ({"heads": 2, "max_source_length": 49}, "the encoder's 48"),
    ):
        with pytest.raises(ConfigError, match=said):
            Extractor(encoder, Settings(**settings))
    with pytest.raises(ConfigError, match="sentences is 0; a whole number from 1 on"):
        Settings(sentences=0)
    encoder.tokenizer = None
    with pytest.raises(ConfigError, match="no tokenizer"):
        Extractor(encoder)
    with pytest.raises(CheckpointError, match=r"has no extractor\.json"):
        Extractor.from_pretrained(tmp_path / "bert")


# Training, folders, joins and commands: one run for all of them.


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an extractor that was trained through the command, beside its data."""
    folder = tmp_path_factory.mktemp("extraction")
    tiny_encoder(folder / "encoder")
    for name, count, seed in (("train", 200, 1), ("validation", 30, 2)):
        made = tiny_documents(count, seed)
        rows = zip(made.sentences, made.summaries, strict=True)
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps({"document": d, "summary": s}) + "\n" for d, s in rows)
        )
    files = ["--train", str(folder / "train.jsonl"), "--validation", str(folder / "validation.jsonl")]
    rates = ["--learning-rate", "0.003", "--epochs", "6", "--batch-size", "16", "--device", "cpu", "-q", "--no-report"]
    command = ["train", "--extractive", "--encoder", str(folder / "encoder"), "--output", str(folder / "out")]
    assert conjoin.cli.main([*command, *files, *rates]) == 0
    return folder


def test_it_learns_to_choose(trained: Path) -> None:
    model, held_out = Extractor.from_pretrained(trained / "out"), read_documents(trained / "validation.jsonl")
    assert model.settings.sentences == 1  # what the summaries were made of
    found = evaluate_extractor(model, held_out, resamples=10)
    assert found["model"].rouge2.value > 0.95 * found["oracle"].rouge2.value > found["lead"].rouge2.value + 20
    assert model.extract(held_out.sentences[0])[0].startswith(GOOD)
    assert len(model.extract(held_out.sentences[0], sentences=2)) == 2
    with pytest.raises(InputError, match="at least 1"):
        model.chosen(held_out.sentences, 0)
    with pytest.raises(DataError, match="is empty"):
        model.extract(" ")
    facts = json.loads((trained / "out" / "training.json").read_text())
    assert facts["evaluations"][-1]["loss"] < 0.5 * facts["evaluations"][0]["loss"]


def test_its_folder_is_an_encoder_for_a_join(trained: Path, tmp_path: Path) -> None:
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(trained / "out", bert(tmp_path / "bert"))
    extractor = Extractor.from_pretrained(trained / "out")
    for name, value in extractor.encoder.state_dict().items():
        torch.testing.assert_close(model.encoder.state_dict()[name], value, rtol=0, atol=0)
    assert not torch.equal(
        extractor.encoder.layers[0].ffn.up.weight, Encoder.from_pretrained(trained / "encoder").layers[0].ffn.up.weight
    )
    extractor.save_pretrained(tmp_path / "again")
    again = Extractor.from_pretrained(tmp_path / "again")
    assert again.scores([["w1 w2", "w3"]]) == extractor.scores([["w1 w2", "w3"]])


def test_a_broken_head_is_refused(trained: Path, tmp_path: Path) -> None:
    Extractor.from_pretrained(trained / "out").save_pretrained(tmp_path / "a")
    settings = json.loads((tmp_path / "a" / "extractor.json").read_text())
    (tmp_path / "a" / "extractor.json").write_text(json.dumps({**settings, "layers": 1}))
    with pytest.raises(CheckpointError, match="do not fit"):
        Extractor.from_pretrained(tmp_path / "a")
    (tmp_path / "a" / "extractor.json").write_text(json.dumps({**settings, "sentance": 1}))
    with pytest.raises(ConfigError, match="no setting sentance"):
        Extractor.from_pretrained(tmp_path / "a")
    (tmp_path / "a" / "extractor.json").write_text(json.dumps(settings))
    (tmp_path / "a" / "extractor.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        Extractor.from_pretrained(tmp_path / "a")


def test_documents_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to learn"):
        extractor_for(tiny_encoder(tmp_path), Documents([["w1", "w2"]], ["nothing"]))


def test_labels_are_of_the_sentences_that_fit(tmp_path: Path) -> None:
    documents = Documents([["w9 w9", "w1 w2", "w3 w4"]], ["w1 w2 w3 w4"])
    model = Extractor(tiny_encoder(tmp_path), Settings(max_source_length=8))
    assert lessons_of(model, documents).labels(np.asarray([0])).tolist() == [[0, 1]]
    whole = Extractor(tiny_encoder(tmp_path), Settings())
    assert lessons_of(whole, documents).labels(np.asarray([0])).tolist() == [[0, 1, 1]]


def test_the_loss_is_the_mean_over_sentences(tmp_path: Path) -> None:
    model = Extractor(tiny_encoder(tmp_path)).eval()
    batch, labels = model.batch([model.encoded(["w1", "w2"]), model.encoded(["w3"])]), torch.tensor([[1, 0], [0, 0]])
    p = model(**batch).sigmoid()
    expected = -(p[0, 0].log() + (1 - p[0, 1]).log() + (1 - p[1, 0]).log()) / 3
    torch.testing.assert_close(model(**batch, labels=labels), expected)


def test_a_run_without_validation_keeps_the_last(tmp_path: Path) -> None:
    model = Extractor(tiny_encoder(tmp_path / "e"), Settings())
    recipe = Recipe(max_steps=3, batch_size=4, device="cpu", precision="float32", dropout=0.0)
    facts = train_extractor(model, tiny_documents(8), None, recipe, tmp_path / "out", quiet=True)
    assert (facts["steps"], len(facts["losses"]), facts["evaluations"]) == (3, 3, [])
    last = Extractor.from_pretrained(tmp_path / "out")
    assert last.scores([["w1 w2", "w3"]]) == model.scores([["w1 w2", "w3"]])


def test_extract_on_the_command_line(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(f"w11 w12 w13 w14 w15. {GOOD} w20. w13 w14 w30 w31 w32.\n{GOOD} w21.\n")
    assert conjoin.cli.main(["extract", str(trained / "out"), str(tmp_path / "a.txt")]) == 0
    assert capfd.readouterr().out == f"{GOOD} w20.\n{GOOD} w21.\n"
    row = {"id": 7, "document": ["w11 w12 w13 w14 w15.", f"{GOOD} w20.", "w13 w14 w30 w31 w32."]}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((json.dumps(row) + "\n").encode())))
    assert conjoin.cli.main(["extract", str(trained / "out"), "--sentences", "2", "--output-column", "best"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["id"], len(found["best"]), f"{GOOD} w20." in found["best"]) == (7, 2, True)
    for content, said in (
        ('{"document": []}\n', 'line 1 of "{file}": the document is empty'),
        ('{"extracted": 1, "document": "x"}\n', "--output-column"),
        ('{"text": "x"}\n', "--source-column"),
    ):
        file = tmp_path / "b.jsonl"
        file.write_text(content)
        assert conjoin.cli.main(["extract", str(trained / "out"), str(file)]) == 2
        assert said.format(file=file) in capfd.readouterr().err


def test_evaluate_on_the_command_line(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(trained / "out"), "--data", str(trained / "validation.jsonl"), "--limit", "20"]
    assert conjoin.cli.main([*command, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["oracle"]["rouge1"]["value"] >= found["model"]["rouge1"]["value"] > found["lead"]["rouge1"]["value"]
    assert conjoin.cli.main(command) == 0
    out = capsys.readouterr().out
    assert "oracle" in out
    assert "20 documents, 1 sentence each" in out
    assert conjoin.cli.main([*command, "--num-beams", "2"]) == 2
    assert "chooses sentences and writes nothing; leave out num_beams" in capsys.readouterr().err


def test_wrong_calls(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "--extractive", "--train", str(trained / "train.jsonl"), "--output", str(trained / "encoder")]
    for wrong, said in (
        ([], "--encoder, and neither"),
        (["--encoder", "a", "--decoder", "b"], "--encoder, and neither"),
        (["--encoder", str(trained / "encoder")], "choose another"),
        (
            ["--encoder", "a", "--freeze", "encoder", "--accumulate", "2"],
            "not heed gradient_accumulation_steps, freeze; leave",
        ),
        (["--encoder", "a", "--set", "encoder.freeze=true"], "does not heed encoder.freeze; leave out"),
        (["--encoder", "a", "--cross-attention-layers", "0"], "does not heed cross_attention_layers; leave out"),
    ):
        assert conjoin.cli.main([*train, *wrong]) == 2
        assert said in capsys.readouterr().err


def test_what_stops_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Extractor(tiny_encoder(tmp_path / "e"), Settings(layers=0))
    recipe = Recipe(max_steps=2, batch_size=4, device="cpu", precision="float32")
    given = tiny_documents(8), None, recipe, tmp_path / "out"
    with torch.no_grad():
        model.head.score.bias.fill_(float("inf"))
    with pytest.raises(
        ConjoinError, match=r"training stopped at step 1: the loss is (inf|nan); lower the learning rates"
    ):
        train_extractor(model, *given, quiet=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were started; an extractor is"):
        train_extractor(model, *given, quiet=True)
    assert not (tmp_path / "out").exists()


def test_the_python_of_the_page_on_training(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-extractor").symlink_to(trained / "out")
    tiny_encoder(tmp_path / "bert-base-uncased")
    page = (Path(__file__).parent.parent / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "training.md", "exec"), {})
    assert capsys.readouterr().out.startswith("['")
    longer = Extractor(Encoder.from_pretrained("bert-800"))  # documents of 800 tokens, as in the paper
    documents = Documents([["w1 w2"] * 300], ["w1"])
    assert (longer.limit, len(longer.encoded(documents.sentences[0]).ids)) == (800, 800)
    assert len(longer.eval().scores(documents.sentences)[0]) == 200

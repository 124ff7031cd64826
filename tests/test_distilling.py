"""Distillation: which layers a student keeps, that it computes what they do, and the teacher's texts, written once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from test_training_runs import tiny_model, tiny_pairs, tiny_tokenizer
from tiny import SIZES, bert

import conjoin.cli
from conjoin import BertConfig, EncoderDecoderConfig, EncoderDecoderModel
from conjoin.errors import ConfigError, DataError
from conjoin.tokens import TokenizerPair
from conjoin.training.distilling import taught, teacher_texts
from conjoin.training.shrinking import shrunk, spread

PART: dict[str, Any] = {**SIZES, "vocab_size": 65, "max_position_embeddings": 32}


def test_layers_are_spread() -> None:
    assert [spread(n, 6) for n in (1, 2, 3, 6)] == [(5,), (0, 5), (0, 2, 5), (0, 1, 2, 3, 4, 5)]
    assert (spread(3, 12), spread(6, 12), spread(4, 16)) == ((0, 6, 11), (0, 2, 4, 7, 9, 11), (0, 5, 10, 15))
    for count in (0, 7):
        with pytest.raises(ConfigError, match="1 to 6 was expected"):
            spread(count, 6)


def deep_model(**settings: Any) -> EncoderDecoderModel:
    """A BERT of two layers to one of four."""
    tokens = {"decoder_start_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    decoder = BertConfig(**{**PART, "num_hidden_layers": 4}, **settings.pop("decoder", {}))
    return EncoderDecoderModel(
        config=EncoderDecoderConfig(encoder=BertConfig(**PART), decoder=decoder, **tokens, **settings)
    )


@torch.no_grad()
def test_a_student_has_the_layers_that_it_keeps() -> None:
    """It computes what the teacher does when the other layers add nothing."""
    teacher = deep_model(share="embeddings").eval()
    student = shrunk(teacher, [0, 2])
    for name, ours in student.decoder.state_dict().items():
        theirs = name.replace("layers.1.", "layers.2.")
        torch.testing.assert_close(ours, teacher.decoder.state_dict()[theirs], rtol=0, atol=0)
    ids, labels = torch.randint(5, 65, (2, 9)), torch.randint(5, 65, (2, 5))
    expected = teacher(input_ids=ids, labels=labels).logits
    assert not torch.equal(student(input_ids=ids, labels=labels).logits, expected)
    teacher.decoder.layers = torch.nn.ModuleList([teacher.decoder.layers[i] for i in (0, 2)])
    torch.testing.assert_close(
        student(input_ids=ids, labels=labels).logits, teacher(input_ids=ids, labels=labels).logits
    )
    # A copy, of which training changes nothing in the teacher; shared embeddings are shared in it too.
    assert student.encoder.embed.token.weight is student.decoder.embed.token.weight
    student.encoder.embed.token.weight.zero_()
    assert float(teacher.encoder.embed.token.weight.abs().sum()) > 0
    assert student.new_parameters == ()


def test_cross_attention_goes_along_with_its_layers() -> None:
    teacher = deep_model(decoder={"cross_attention_layers": "every_2"})  # layers 1 and 3
    student = shrunk(teacher, [0, 1, 3])
    assert student.decoder.spec.cross_layers == (1, 2)
    torch.testing.assert_close(student.decoder.layers[2].cross.q.weight, teacher.decoder.layers[3].cross.q.weight)
    with pytest.raises(ConfigError, match="none of the decoder's layers \\[0, 2\\] has cross-attention"):
        shrunk(teacher, [0, 2])
    with pytest.raises(ConfigError, match="layers 0 to 3"):
        shrunk(teacher, [0, 4])


def test_a_decoder_with_a_table_of_distances_and_one_that_shared_all(tmp_path: Path) -> None:
    config = transformers.T5Config(
        vocab_size=65, d_model=16, d_kv=8, num_heads=2, d_ff=24, num_layers=3, decoder_start_token_id=0
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    torch.manual_seed(1)
    t5 = EncoderDecoderModel.from_encoder_decoder_pretrained(bert(tmp_path / "bert"), tmp_path / "t5")
    student = shrunk(t5, spread(2, 3))
    torch.testing.assert_close(student.decoder.layers[1].ffn.down.weight, t5.decoder.layers[2].ffn.down.weight)
    student.save_pretrained(tmp_path / "student")
    assert EncoderDecoderModel.from_pretrained(tmp_path / "student").decoder.spec.layers == 2

    shared = shrunk(
        EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "bert", tmp_path / "bert", share="all"), [0]
    )
    assert shared.config.share == "embeddings"


def test_an_int8_teacher_is_refused(tmp_path: Path) -> None:
    tiny_model(tmp_path / "t").save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match="int8 model, which cannot be trained"):
        shrunk(EncoderDecoderModel.from_pretrained(tmp_path / "model", dtype="int8"), [0])


def test_what_the_teacher_writes_is_kept_and_taken_up(tmp_path: Path) -> None:
    model, pairs = tiny_model(tmp_path / "t"), tiny_pairs(70)
    for name, parameter in model.named_parameters():  # sources that are unlike get texts that are
        if "norm" not in name and ".embed." not in name:
            parameter.data.mul_(6)
    seen: list[int] = []
    texts = teacher_texts(model, pairs, tmp_path / "out", batch_size=2, progress=seen.append, max_new_tokens=5)
    assert seen == [0, 32, 32, 6]
    (file,) = (tmp_path / "out").iterdir()
    whole = file.read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["document"] for row in rows] == pairs.sources
    assert [row["summary"] for row in rows] == texts
    assert len(set(texts)) > 1

    # Stopped in the middle of a line.
    cut = whole[: len(b"\n".join(whole.split(b"\n")[:40])) + 9]
    file.write_bytes(cut)
    seen.clear()
    assert teacher_texts(model, pairs, tmp_path / "out", batch_size=2, progress=seen.append, max_new_tokens=5) == texts
    assert seen == [40, 30]
    assert file.read_bytes() == whole

    # Another teacher, and other settings, have files of their own; one that was tampered with is refused.
    teacher_texts(model, pairs, tmp_path / "out", batch_size=64, max_new_tokens=6)
    with torch.no_grad():
        model.decoder.layers[0].ffn.down.bias += 1.0
    teacher_texts(model, pairs, tmp_path / "out", batch_size=64, max_new_tokens=6)
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 3
    for one in files:
        one.write_text('{"document": "x", "summary": "y"}\n')
    with pytest.raises(DataError, match="is of other sources"):
        teacher_texts(model, pairs, tmp_path / "out", max_new_tokens=6)
    for one in files:
        one.write_text('{"document": \n')
    with pytest.raises(DataError, match="is broken"):
        teacher_texts(model, pairs, tmp_path / "out", max_new_tokens=6)


def test_lessons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = tiny_model(tmp_path / "t"), tiny_pairs(9)
    assert taught(model, pairs, "pairs", tmp_path / "none") is pairs
    assert not (tmp_path / "none").exists()
    own = taught(model, pairs, "teacher", tmp_path / "out", max_new_tokens=4)
    both = taught(model, pairs, "both", tmp_path / "out", max_new_tokens=4)
    assert both.targets == own.targets + pairs.targets
    assert set(own.sources) <= set(pairs.sources)
    monkeypatch.setattr("conjoin.training.distilling.teacher_texts", lambda *given, **settings: [" "] * 9)
    with pytest.raises(DataError, match=r"the teacher writes nothing of any source of the pairs; .* --targets pairs"):
        taught(model, pairs, "teacher", tmp_path / "out")
    assert taught(model, pairs, "both", tmp_path / "out").targets == pairs.targets
    with pytest.raises(ConfigError, match="one of teacher, pairs, both"):
        taught(model, pairs, "all", tmp_path / "out")  # type: ignore[arg-type]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = deep_model()
    teacher.tokenizers = TokenizerPair(tokenizer := tiny_tokenizer(tmp_path / "t"), tokenizer)
    teacher.config.max_new_tokens = 6
    teacher.save_pretrained(tmp_path / "teacher")
    data, pairs = tmp_path / "pairs.jsonl", tiny_pairs(40)
    rows = zip(pairs.sources, pairs.targets, strict=True)
    data.write_text("".join(json.dumps({"document": s, "summary": t}) + "\n" for s, t in rows))
    command = ["distill", str(tmp_path / "teacher"), "--train", str(data), "--output", str(tmp_path / "student")]
    assert conjoin.cli.main([*command, "--decoder-layers", "2", "--max-steps", "3", "--device", "cpu", "-q"]) == 0
    student = EncoderDecoderModel.from_pretrained(tmp_path / "student")
    assert (student.decoder.spec.layers, student.encoder.spec.layers) == (2, 2)
    assert len(list((tmp_path / "student").glob("teacher-*.jsonl"))) == 1
    assert (tmp_path / "student" / "report.html").is_file()
    capsys.readouterr()

    for wrong, said in (
        (["--keep-layers", "0,1", "--max-steps", "3", "-q"], "layers of the teacher '0,3' (and now it is '0,1')"),
        ([], "name --decoder-layers, or --keep-layers"),
        (["--decoder-layers", "5"], "1 to 4 was expected"),
        (["--keep-layers", "0;2"], "parted by commas"),
        (["--decoder-layers", "1", "--targets", "all"], "teacher"),
    ):
        assert conjoin.cli.main([*command, *wrong]) == 2
        assert said in capsys.readouterr().err
    same = ["distill", str(tmp_path / "teacher"), "--train", str(data), "--output", str(tmp_path / "teacher")]
    assert conjoin.cli.main([*same, "--decoder-layers", "1"]) == 2
    assert "is the folder of the teacher" in capsys.readouterr().err

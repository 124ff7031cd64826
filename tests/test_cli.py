"""The command line: what each command prints and writes, exit codes, and one sentence for each mistake."""

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import transformers
from typer.testing import CliRunner

import conjoin
from conjoin import EncoderDecoderModel, pipeline
from conjoin.cli import COMMANDS, app, main
from conjoin.cli.inspect import describe, new_counts
from conjoin.composite import part_config
from conjoin.families import FAMILIES
from conjoin.torch import Decoder

TEXTS = ["the cat sat on the mat .", "a dog ran .", "the big red dog ran under the small tree .", "it was here !"]
SHORT = ["--max-new-tokens", "6"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.join(tmp_path_factory.mktemp("cli") / "model", "bert")


@pytest.fixture(scope="module")
def to_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.join(tmp_path_factory.mktemp("cli") / "model", "gpt2")


@pytest.fixture
def expected(model: Path) -> list[str]:
    return pipeline(model)(TEXTS, max_new_tokens=6)


def typed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))


def lines_file(path: Path, rows: list[object]) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def refused(capfd: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one sentence of a mistake."""
    assert main([str(one) for one in argv]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("conjoin: ")
    assert "Traceback" not in err
    return err


# The program.


def test_help_lists_the_commands_that_are_there_and_version(capfd):
    assert main([]) == main(["--help"]) == 0
    out = capfd.readouterr().out
    for name in ("evaluate", "generate", "inspect"):
        assert f"  {name} " in out
        assert COMMANDS[name] in " ".join(out.split())
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"conjoin {conjoin.__version__}\n"
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Commands" in result.output


def test_help_imports_no_framework_and_no_command():
    code = (
        "import sys; from conjoin.cli import main; main(['--help']);"
        "heavy = {'torch', 'numpy', 'transformers', 'tokenizers', 'huggingface_hub', 'conjoin.cli.generate'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


def test_help_is_there_at_once():
    took = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "conjoin", "--help"], capture_output=True, check=True)
        took.append(time.monotonic() - began)
    assert min(took) < 0.5


@pytest.mark.parametrize("command", ["generate", "evaluate", "inspect"])
def test_each_command_has_help(command, capfd):
    assert main([command, "--help"]) == 0
    out = capfd.readouterr().out
    assert f"conjoin {command}" in out
    assert max(map(len, out.splitlines())) <= 110


def test_calls_that_cannot_be(capfd, model):
    assert 'no command "genrate"; the nearest known is "generate"' in refused(capfd, "genrate")
    assert "--num-beam" in refused(capfd, "generate", model, "--num-beam", "2")
    assert "See: conjoin generate --help" in refused(capfd, "generate")
    assert "'--num-beams'" in refused(capfd, "generate", model, "--num-beams", "many")


def test_a_defect_of_ours_is_no_mistake_of_the_users(model, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise TypeError("len() of nothing")

    monkeypatch.setattr("conjoin.cli.inspect.describe", broken)
    with pytest.raises(TypeError, match="len"):
        main(["inspect", str(model)])


def test_a_missing_extra_and_a_misspelt_name_are_sentences(model, monkeypatch, capfd):
    def missing(*_: object, **__: object) -> None:
        raise ImportError('ROUGE needs rouge-score; run: pip install "conjoin[evaluate]".')

    monkeypatch.setattr("conjoin.cli.inspect.describe", missing)
    assert "pip install" in refused(capfd, "inspect", model)
    monkeypatch.setattr("conjoin.cli.inspect.describe", lambda *_, **__: pipeline(model, num_beam=2))
    assert 'nearest known is "num_beams"' in refused(capfd, "inspect", model)


def test_an_interruption_exits_130(model, monkeypatch, capfd):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("conjoin.cli.inspect.describe", interrupted)
    assert main(["inspect", str(model)]) == 130
    assert capfd.readouterr().out == ""


# generate.


def test_generate_answers_each_line_in_order(model, tmp_path, capfd, expected):
    source = lines_file(tmp_path / "texts.txt", TEXTS)
    assert main(["generate", str(model), str(source), *SHORT, "--batch-size", "2"]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == expected
    assert err == ""  # no progress where nobody looks


def test_generate_reads_standard_input_and_settings(model, monkeypatch, capfd):
    write = pipeline(model)
    typed(monkeypatch, ("\ufeff" + "\r\n".join(TEXTS)).encode())
    assert main(["generate", str(model), "--num-beams", "3", "--length-penalty", "0.5", *SHORT]) == 0
    assert capfd.readouterr().out.splitlines() == write(TEXTS, num_beams=3, length_penalty=0.5, max_new_tokens=6)
    typed(monkeypatch, TEXTS[0].encode())
    sampling = ["--do-sample", "--seed", "7", "--temperature", "2", "--top-k", "0", "--top-p", "0.9"]
    assert main(["generate", str(model), "-", *sampling, *SHORT]) == 0
    settings = {"do_sample": True, "seed": 7, "temperature": 2.0, "top_k": 0, "top_p": 0.9}
    assert capfd.readouterr().out == write(TEXTS[0], max_new_tokens=6, **settings) + "\n"


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_generate_keeps_the_fields_of_json_lines(model, tmp_path, expected, name):
    rows = [{"id": i, "document": text, "é": None} for i, text in enumerate(TEXTS)]
    source, output = lines_file(tmp_path / name, rows), tmp_path / f"out_{name}"
    assert main(["generate", str(model), str(source), "-o", str(output), *SHORT]) == 0
    found = gzip.decompress(output.read_bytes()) if name.endswith(".gz") else output.read_bytes()
    assert [json.loads(line) for line in found.splitlines()] == [
        {**row, "generated": text} for row, text in zip(rows, expected, strict=True)
    ]
    assert "é".encode() in found
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"out_{name}"])


def test_generate_finds_json_lines_on_standard_input(model, monkeypatch, capfd, expected):
    typed(monkeypatch, json.dumps({"text": TEXTS[0]}).encode())
    columns = ["--source-column", "text", "--output-column", "title"]
    assert main(["generate", str(model), *columns, *SHORT]) == 0
    assert json.loads(capfd.readouterr().out) == {"text": TEXTS[0], "title": expected[0]}
    typed(monkeypatch, b"{ the cat }")
    assert main(["generate", str(model), "--format", "text", *SHORT]) == 0


def test_generate_reads_no_more_than_a_few_batches_ahead(model, tmp_path, monkeypatch):
    source = lines_file(tmp_path / "texts.txt", TEXTS * 50)
    sizes = []
    monkeypatch.setattr("conjoin.pipelines.Writer.__call__", lambda self, texts: sizes.append(len(texts)) or texts)
    assert main(["generate", str(model), str(source), "--batch-size", "2"]) == 0
    assert max(sizes) == 16
    assert sum(sizes) == 200


def test_generate_writes_one_line_for_a_text_of_several(model, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("conjoin.pipelines.Writer.__call__", lambda self, texts: [f"a \r\n b\n{t}" for t in texts])
    assert main(["generate", str(model), str(lines_file(tmp_path / "texts.txt", ["x", "y"]))]) == 0
    assert capfd.readouterr().out == "a b x\na b y\n"


def test_generate_skips_empty_lines_only_when_told(model, tmp_path, capfd, expected):
    source = lines_file(tmp_path / "texts.txt", [TEXTS[0], "  ", TEXTS[1]])
    assert f'line 2 of "{source}" is empty' in refused_after_output(capfd, "generate", model, source)
    assert main(["generate", str(model), str(source), "--skip-empty", *SHORT]) == 0
    assert capfd.readouterr().out.splitlines() == [expected[0], "", expected[1]]
    rows = lines_file(tmp_path / "rows.jsonl", [{"document": ""}, "", {"document": TEXTS[0]}])
    assert main(["generate", str(model), str(rows), "--skip-empty", *SHORT]) == 0
    assert capfd.readouterr().out.splitlines() == [
        '{"document": "", "generated": ""}',
        "",
        json.dumps({"document": TEXTS[0], "generated": expected[0]}),
    ]


def refused_after_output(capfd: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(one) for one in argv]) == 2
    return capfd.readouterr().err


def test_generate_leaves_no_half_written_file(model, tmp_path, capfd):
    source = lines_file(tmp_path / "texts.txt", [*TEXTS * 5, ""])
    output = tmp_path / "out.txt"
    output.write_text("as it was")
    refused(capfd, "generate", model, source, "--output", output, "--batch-size", "1", *SHORT)
    assert output.read_text() == "as it was"  # and what was answered is kept beside it
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.txt", "out.txt.part", "texts.txt"]
    one = lines_file(tmp_path / "one.txt", ["cat", ""])
    refused(capfd, "generate", model, one, "--output", tmp_path / "none.txt", *SHORT)
    assert not list(tmp_path.glob("none*"))


def test_generate_writes_to_a_device_as_it_is(model, tmp_path):
    if not Path("/dev/null").is_char_device():
        pytest.skip("no /dev/null here")
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE, text=True)
    assert main(["generate", str(model), str(lines_file(tmp_path / "t.txt", TEXTS)), "-o", str(fifo), *SHORT]) == 0
    assert len(reader.communicate()[0].splitlines()) == 4
    assert fifo.is_fifo()


def test_generate_says_what_is_wrong_with_a_file(model, tmp_path, capfd):
    def said(rows: list[object], *more: str, name: str = "rows.jsonl") -> str:
        return refused(capfd, "generate", model, lines_file(tmp_path / name, rows), *more)

    assert 'no field "document"; it has "documents", "id"; the nearest known is "documents"' in said(
        [{"documents": "x", "id": 1}]
    )
    assert "--source-column" in said([{"documents": "x"}])
    assert "line 1 of" in said(["no json"])
    assert "is a list; an object" in said([[1]])
    assert "is a list; an object" in said([[{"document": "x"}]], name="rows.json")
    assert "is a table" in said(["document,summary", "x,y"], name="rows.csv")
    assert "is a table" in refused(capfd, "extract", model, tmp_path / "rows.csv")
    assert main(["generate", str(model), str(tmp_path / "rows.csv"), "--format", "text", *SHORT]) == 0
    assert capfd.readouterr().out.count("\n") == 2
    assert 'field "document" is a number' in said([{"document": 3}])
    assert "--output-column" in said([{"document": "x", "generated": "y"}])
    assert "has 42 tokens and the encoder has positions for 24" in said([" ".join(["cat"] * 40)], name="long.txt")
    assert "line 2 of" in said(["cat", " ".join(["cat"] * 40)], name="long.txt")
    assert main(["generate", str(model), str(tmp_path / "long.txt"), "--truncate", *SHORT]) == 0
    capfd.readouterr()
    assert "add --do-sample" in said(["cat"], "--top-p", "0.9", name="short.txt")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    assert "line 1" in refused(capfd, "generate", model, tmp_path / "latin.txt")
    (tmp_path / "no.jsonl.gz").write_bytes(b"not gzip")
    assert "cannot be read" in refused(capfd, "generate", model, tmp_path / "no.jsonl.gz")
    assert "there is no file" in refused(capfd, "generate", model, tmp_path / "gone.txt")
    assert "is a folder" in refused(capfd, "generate", model, tmp_path)
    source = lines_file(tmp_path / "short.txt", ["cat"])
    assert "cannot be written" in refused(capfd, "generate", model, source, "-o", tmp_path / "gone" / "out.txt")
    assert "is a folder" in refused(capfd, "generate", model, source, "-o", tmp_path)
    for command in ("generate", "extract"):
        assert "the source itself" in refused(capfd, command, model, source, "-o", source)
    assert source.read_text() == "cat\n"


def test_generate_of_an_empty_file_is_empty(model, tmp_path, capfd):
    assert main(["generate", str(model), str(lines_file(tmp_path / "none.txt", []))]) == 0
    assert capfd.readouterr().out == ""


def test_generate_checks_settings_before_any_text(model, tmp_path, capfd):
    empty = lines_file(tmp_path / "none.txt", [])
    assert "num_beams is 0" in refused(capfd, "generate", model, empty, "--num-beams", "0")
    assert "add --ray" in refused(capfd, "generate", model, empty, "--workers", "2")


def test_folders_that_are_no_joined_model(tmp_path, capfd):
    source = lines_file(tmp_path / "t.txt", ["cat"])
    assert "does not exist" in refused(capfd, "generate", tmp_path / "gone", source)
    (tmp_path / "empty").mkdir()
    assert "has no config.json" in refused(capfd, "generate", tmp_path / "empty", source)
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "brt"}')
    assert 'nearest known is "bert"' in refused(capfd, "inspect", tmp_path / "empty")
    assert "Join single" in refused(capfd, "generate", tiny.bert(tmp_path / "single"), source)


# evaluate.

TWO_PAIRS = [{"document": "cat", "summary": "x"}, {"document": "dog", "summary": "y"}]


def test_evaluate_prints_a_table_or_json(model, tmp_path, capfd):
    rows = [{"document": text, "summary": "the cat"} for text in TEXTS]
    data = lines_file(tmp_path / "test.jsonl.gz", rows)
    assert main(["evaluate", str(model), "--data", str(data), *SHORT]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert [line.split()[0] for line in out.splitlines()[1:7]] == [
        "ROUGE-1",
        "ROUGE-2",
        "ROUGE-L",
        "BLEU",
        "chrF",
        "words",
    ]
    assert "4 pairs, max_new_tokens=6" in out
    assert max(map(len, out.splitlines())) <= 80
    wrote = tmp_path / "wrote.jsonl"
    options = ["--json", "-", "--limit", "3", "--seed", "5", "--num-beams", "2", "--outputs", str(wrote)]
    assert main(["evaluate", str(model), "--data", str(data), *options, *SHORT]) == 0
    found = json.loads(capfd.readouterr().out)
    from conjoin.evaluation import evaluate, lead_baseline

    pairs = [(text, "the cat") for text in TEXTS[:3]]
    scores = evaluate(pipeline(model), pairs, max_new_tokens=6, num_beams=2, seed=5)
    assert found["models"] == [{"model": str(model), "scores": scores.to_dict()}]
    assert found["lead"] == lead_baseline(pairs, seed=5).to_dict()
    assert found["settings"] == {"num_beams": 2, "max_new_tokens": 6}
    assert (found["references"]["length"], found["references"]["repeated1"]) == (2, 0)
    rows = [json.loads(line) for line in wrote.read_text().splitlines()]
    assert tuple(row["output"] for row in rows) == scores.predictions
    assert rows[2] == {
        "system": str(model),
        "source": TEXTS[2],
        "reference": "the cat",
        "output": scores.predictions[2],
    }


def test_evaluate_compares_models_and_outputs_of_others(model, tmp_path, capfd):
    data = lines_file(tmp_path / "test.jsonl", [{"document": text, "summary": text} for text in TEXTS])
    right = lines_file(tmp_path / "right.jsonl", [{"output": text} for text in TEXTS])
    two = [{"output": "cat", "system": name, "source": text} for name in ("one", "two") for text in TEXTS]
    others = lines_file(tmp_path / "others.jsonl", two)
    report = tmp_path / "report.json"
    command = ["evaluate", str(right), str(model), str(others), "--data", str(data), "--json", str(report), *SHORT]
    assert main(command) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert f"A is {right}, B {model}." in out.replace("\n", "")
    assert max(map(len, (line for line in out.splitlines() if not line.startswith("A is")))) <= 120
    found = json.loads(report.read_text())
    assert [one["model"] for one in found["models"]] == [str(right), str(model), "one", "two"]
    assert [one["model"] for one in found["compared_to_first"]] == [str(model), "one", "two"]
    for one, scores in zip(found["compared_to_first"], found["models"][1:], strict=True):
        assert one["differences"]["rougeL"]["value"] == pytest.approx(scores["scores"]["rougeL"]["value"] - 100)
        assert 0 < one["differences"]["rougeL"]["p"] < 0.2  # four pairs: at best 2 of 16 exchanges


def test_evaluate_tells_one_model_written_twice_apart_by_its_files(tmp_path, capfd):
    data = lines_file(tmp_path / "test.jsonl", [{"document": text, "summary": text} for text in TEXTS])
    rows = [{"output": text, "system": "model"} for text in TEXTS]
    files = [str(lines_file(tmp_path / name, rows)) for name in ("a.jsonl", "b.jsonl")]
    report = tmp_path / "report.json"
    assert main(["evaluate", *files, "--data", str(data), "--json", str(report)]) == 0
    assert [one["model"] for one in json.loads(report.read_text())["models"]] == [f"{file}: model" for file in files]


def test_evaluate_says_what_is_wrong(model, tmp_path, capfd):
    data = lines_file(tmp_path / "test.jsonl", [{"document": "cat", "title": "x"}])
    assert '"summary"' in refused(capfd, "evaluate", model, "--data", data)
    assert "is not there" in refused(capfd, "evaluate", model, "--data", tmp_path / "gone.jsonl")
    long = lines_file(tmp_path / "long.jsonl", [{"document": " ".join(["cat"] * 40), "summary": "x"}])
    assert "--truncate" in refused(capfd, "evaluate", model, "--data", long)
    assert main(["evaluate", str(model), "--data", str(data), "--target-column", "title", *SHORT]) == 0
    capfd.readouterr()
    assert "'--limit'" in refused(capfd, "evaluate", model, "--data", data, "--limit", "0")
    assert "'--seed'" in refused(capfd, "evaluate", model, "--data", data, "--seed", "-1")
    assert "there is no folder" in refused(capfd, "evaluate", model, "--data", long, "--json", tmp_path / "no" / "x")
    named = [*("--data", data, "--target-column", "title")]
    assert "comes 2 times" in refused(capfd, "evaluate", model, model, *named)
    for rows, message in (
        ([], "has no outputs"),
        ([{"text": "x"}], 'has no field "output"'),
        ([{"output": "x", "source": "dog"}], "line 1 of .* is of another source than pair 1"),
        ([{"output": "x", "system": "a"}, {"output": "x", "system": 3}], '"system" is a number'),
    ):
        message_said = refused(capfd, "evaluate", lines_file(tmp_path / "outputs.jsonl", rows), *named)
        assert re.search(message, message_said)
    short = lines_file(tmp_path / "short.jsonl", [{"output": "x"}])
    assert "has 1 outputs" in refused(capfd, "evaluate", short, "--data", lines_file(tmp_path / "t.jsonl", TWO_PAIRS))


# inspect.


def test_inspect_describes_a_joined_model_without_its_weights(to_gpt2, capfd, monkeypatch):
    def read(*_: object) -> None:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr("conjoin.checkpoint.TensorFolder.read", read)
    assert main(["inspect", str(to_gpt2)]) == 0
    out = capfd.readouterr().out
    assert "a joined model: bert to gpt2" in out
    for said in (
        "cross-attention",
        "<|endoftext|>",
        "BertTokenizer",
        "GPT2Tokenizer",
        "share nothing",
        "model.safetensors",
    ):
        assert said in out
    assert max(map(len, out.splitlines())) <= max(80, len(str(to_gpt2)))


def test_inspect_imports_no_framework(to_gpt2):
    code = (
        f"import sys; from conjoin.cli import main; main(['inspect', {str(to_gpt2)!r}]);"
        "print(sorted({'torch', 'transformers', 'jax', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize("share", ["none", "embeddings", "all"])
@pytest.mark.parametrize("decoder", ["bert", "gpt2"])
def test_inspect_counts_the_parameters_that_the_model_has(tmp_path, decoder, share, capfd):
    if decoder == "gpt2" and share != "none":
        pytest.skip("two vocabularies")
    source = tiny.bert(tmp_path / "encoder")
    target = source if decoder == "bert" else tiny.gpt2(tmp_path / "decoder")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(source, target, share=share)
    for duplicate in (False, True):
        folder = tmp_path / f"model_{duplicate}"
        model.save_pretrained(folder, duplicate_shared=duplicate)
        found = describe(folder)
        assert found["parameters"]["total"] == model.num_parameters()
        assert found["parameters"]["decoder"] == model.decoder.num_parameters()
        cross = sum(p.numel() for n, p in model.named_parameters() if ".cross" in n)
        assert found["parameters"]["cross_attention"] == cross > 0
        assert found["share"] == share
        assert found["dtypes"] == {"float32": sum(found["dtypes"].values())}
        assert found["special_tokens"]["eos_token_id"]["tokens"] == ["[SEP]" if decoder == "bert" else "<|endoftext|>"]
        assert found["files"]["config.json"] == (folder / "config.json").stat().st_size
        assert main(["inspect", str(folder), "--json"]) == 0
        assert json.loads(capfd.readouterr().out) == found


def test_inspect_says_what_would_be_new_in_a_join(tmp_path, capfd):
    bert, gpt2 = tiny.bert(tmp_path / "bert"), tiny.gpt2(tmp_path / "gpt2")
    for folder in (bert, gpt2):
        found = describe(folder)
        decoder = Decoder.from_pretrained(folder)
        named = dict(decoder.named_parameters())
        assert sum(found["decoder"]["new"].values()) == sum(named[n].numel() for n in decoder.new_parameters) > 0
    assert describe(bert)["encoder"]["new"] == {}
    assert describe(gpt2)["encoder"]["new"] == {}
    config = conjoin.DistilBertConfig(dim=8, n_layers=1, n_heads=2, hidden_dim=8, vocab_size=9)
    EncoderDecoderModel.encoder_class(config).save_pretrained(tmp_path / "distilbert")
    assert "cannot be the decoder" in describe(tmp_path / "distilbert")["decoder"]["cannot"]
    assert main(["inspect", str(tmp_path / "distilbert")]) == 0
    assert "it cannot be one" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["bart", "bert", "gpt2", "roberta"])
@pytest.mark.parametrize("tied", [True, False])
def test_what_would_be_new_has_the_sizes_that_the_framework_gives_it(name, tied):
    config = part_config(FAMILIES[name].config(tie_word_embeddings=tied), "decoder")
    named = dict(Decoder(small(config)).named_parameters())
    new = {n: p.numel() for n, p in named.items() if ".cross" in n or n.startswith(("head.", "output."))}
    assert sum(new_counts(small(config), "decoder", {"nothing": ()}).values()) == sum(new.values())


def small(config):
    sizes = (
        {"n_embd": 8, "n_layer": 2, "n_head": 2}
        if config.model_type == "gpt2"
        else {"d_model": 8, "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 9}
        if config.model_type == "bart"
        else {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 9}
    )
    return part_config(config.copy(vocab_size=11, **sizes), "decoder")


def test_inspect_reads_old_files_of_weights_too(tmp_path):
    import torch

    folder = tiny.bert(tmp_path / "bert")
    whole = describe(folder)
    state = transformers.BertModel.from_pretrained(folder).state_dict()
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert describe(folder)["parameters"] == whole["parameters"]
    (folder / "pytorch_model.bin").unlink()
    assert describe(folder)["parameters"] == {"total": 0}
    assert main(["inspect", str(folder)]) == 0


def test_inspect_of_a_hub_id_fetches_headers_only(to_gpt2, monkeypatch, tmp_path):
    from types import SimpleNamespace

    whole = describe(to_gpt2)
    local = tmp_path / "snapshot"
    local.mkdir()
    for path in to_gpt2.iterdir():
        if path.suffix != ".safetensors":
            (local / path.name).symlink_to(path)
    asked = []
    monkeypatch.setattr("conjoin.cli.inspect.resolve", lambda name, *, files, revision: asked.extend(files) or local)
    from safetensors import safe_open

    with safe_open(to_gpt2 / "model.safetensors", "np") as weights:
        tensors = {n: SimpleNamespace(shape=weights.get_slice(n).get_shape(), dtype="F32") for n in weights.keys()}  # noqa: SIM118
    metadata = SimpleNamespace(files_metadata={"model.safetensors": SimpleNamespace(tensors=tensors)})
    monkeypatch.setattr("huggingface_hub.get_safetensors_metadata", lambda name, revision: metadata)
    found = describe("owner/name")
    assert not any("safetensors" in pattern or ".bin" in pattern for pattern in asked)
    assert found == {**whole, "name": "owner/name", "files": {}}


# The real program.


def run(*argv: object, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "conjoin", *map(str, argv)], capture_output=True, text=True, **options)


def test_the_program_generates_from_a_pipe(model, expected):
    done = run("generate", model, *SHORT, input="\n".join(TEXTS))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == expected


def test_the_program_says_a_mistake_in_one_sentence(tmp_path):
    done = run("inspect", tmp_path / "gone")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f'conjoin: The folder "{tmp_path}/gone" does not exist: pass an existing folder')
    assert done.stderr.count("\n") == 1


def test_the_program_can_be_interrupted(model):
    # Where tests run in the background, a shell has them ignore interrupts, and so would the program.
    heard = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from conjoin.cli import main; "
    )
    started = subprocess.Popen(
        [sys.executable, "-c", f"{heard}sys.exit(main(['generate', {str(model)!r}]))"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1.5)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=30)
    assert started.returncode == 130
    assert "Traceback" not in err

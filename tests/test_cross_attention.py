"""Where cross-attention sits, in which layers, and how it is born: in each framework."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from frameworks import Framework, every_framework

import conjoin
from conjoin import ConfigError

PLACES = ("after_self_attention", "after_feed_forward", "before_self_attention")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny BERT and a tiny GPT-2 of four layers."""
    import transformers

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("parts")
    config = transformers.GPT2Config(
        vocab_size=40, n_positions=40, n_embd=16, n_layer=4, n_head=2, bos_token_id=2, eos_token_id=1
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder / "gpt2")
    return tiny.bert(folder / "bert"), folder / "gpt2"


def join(framework: Framework, parts: tuple[Path, Path], **options: Any) -> Any:
    return framework.model_class.from_encoder_decoder_pretrained(*parts, pad_token_id=0, eos_token_id=1, **options)


def inputs(framework: Framework, seed: int = 0) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    source = torch.randint(5, len(tiny.TOKENS), (2, 6), generator=draw)
    target = torch.randint(5, 40, (2, 5), generator=torch.Generator().manual_seed(9))
    return framework.arrays({"input_ids": source, "decoder_input_ids": target})


@every_framework
@pytest.mark.parametrize(
    ("layers", "expected"), [("all", [0, 1, 2, 3]), ("every_2", [1, 3]), ([0, 3], [0, 3]), ("every_3", [2])]
)
def test_only_the_layers_asked_for_have_it(
    framework: Framework, parts: tuple[Path, Path], tmp_path: Path, layers: Any, expected: list[int]
) -> None:
    model = join(framework, parts, cross_attention_layers=layers)
    found = {int(n.split(".")[2]) for n in model.ops.shapes(model) if ".cross" in n}
    assert sorted(found) == expected
    logits = [framework.number(model(**inputs(framework, seed)).logits) for seed in (0, 1)]
    assert np.abs(logits[0] - logits[1]).max() > 1e-4  # the source is read
    model.save_pretrained(tmp_path / "saved")
    again = framework.load(tmp_path / "saved")
    np.testing.assert_array_equal(framework.number(again(**inputs(framework)).logits), logits[0])
    ids = inputs(framework)["input_ids"]
    chosen = framework.tokens(again.generate(ids, num_beams=2, max_new_tokens=6))
    assert chosen == framework.tokens(model.generate(ids, num_beams=2, max_new_tokens=6))


@every_framework
@pytest.mark.parametrize("place", PLACES)
def test_places(framework: Framework, parts: tuple[Path, Path], tmp_path: Path, place: str) -> None:
    """Three places give three models, each as it was after saving; behind a closed gate all are the language model."""
    torch.manual_seed(1)
    reference = join_of_torch(parts, place, "self_attention")
    reference.save_pretrained(tmp_path / "saved")
    logits = framework.number(framework.load(tmp_path / "saved")(**inputs(framework)).logits)
    np.testing.assert_allclose(logits, by_hand(reference, place), rtol=1e-5, atol=1e-5)
    gated = join_of_torch(parts, place, "zero_gate")
    gated.save_pretrained(tmp_path / "gated")
    closed = framework.number(framework.load(tmp_path / "gated")(**inputs(framework)).logits)
    alone = conjoin.EncoderDecoderModel.decoder_class.from_pretrained(parts[1])
    given = torch.randint(5, 40, (2, 5), generator=torch.Generator().manual_seed(9))
    np.testing.assert_allclose(closed, alone(given).logits.detach().numpy(), rtol=1e-5, atol=1e-5)


def join_of_torch(parts: tuple[Path, Path], place: str, init: str) -> Any:
    return conjoin.EncoderDecoderModel.from_encoder_decoder_pretrained(
        *parts, cross_attention_place=place, cross_attention_init=init, pad_token_id=0, eos_token_id=1
    )


@torch.no_grad()
def by_hand(model: Any, place: str) -> np.ndarray:
    """The same logits, block by block from the parts of each."""
    import frameworks

    from conjoin.blocks import Sight

    given = inputs(frameworks.ALL["torch"])
    memory = model.memory(model.encoder(given["input_ids"]).last_hidden_state)
    ids = given["decoder_input_ids"]
    mask = torch.ones(5, 5).tril().bool()[None, None]
    x = model.decoder.embed(ids, torch.arange(5)[None])
    for block in model.decoder.layers:
        steps = {
            "self": lambda x, b=block: x + b.attention(b.attention_norm(x), Sight(mask))[0],
            "cross": lambda x, b=block: x + b.cross(b.cross_norm(x), Sight(None), memory)[0],
            "ffn": lambda x, b=block: x + b.ffn(b.ffn_norm(x)),
        }
        order = {
            "after_self_attention": ("self", "cross", "ffn"),
            "after_feed_forward": ("self", "ffn", "cross"),
            "before_self_attention": ("cross", "self", "ffn"),
        }
        for name in order[place]:
            x = steps[name](x)
    found: np.ndarray = model.decoder.logits(model.decoder.norm(x)).numpy()
    return found


@every_framework
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cross_attention_layers": "every_9"}, "every_9"),
        ({"cross_attention_layers": [0, 4]}, "[0, 4]"),
        ({"cross_attention_layers": []}, "[]"),
        ({"cross_attention_layers": "some"}, "some"),
        ({"cross_attention_place": "between"}, "between"),
        ({"cross_attention_init": "zeros"}, "zeros"),
    ],
)
def test_what_cannot_be_is_refused(
    framework: Framework, parts: tuple[Path, Path], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        join(framework, parts, **options)
    assert words in str(error.value)

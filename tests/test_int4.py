"""int4: rounding whose errors make up for one another, on texts of the package and of the model's own; and what is left plain."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from test_engine import narrowed, pair_of
from test_families import DECODERS, ENCODERS, by_name, made  # noqa: F401
from torch import Tensor

from conjoin import BertConfig, EncoderDecoderConfig, EncoderDecoderModel
from conjoin.cli import main
from conjoin.engine import calibrating
from conjoin.engine.calibrating import Rounding, inputs_of, read_and_written
from conjoin.engine.compensated import Inputs
from conjoin.engine.kernels.layout import Mode
from conjoin.engine.narrow import narrow_modules
from conjoin.engine.quantised import quantised, widened

PART = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def rounded(weight: Tensor, inputs: Inputs | None) -> Tensor:
    """What a weight in int4 stands for."""
    kind = Mode.INT4_WEIGHTS
    return torch.from_numpy(widened(*quantised(weight.numpy(), kind, inputs), kind, weight.shape[1]))


def alike(rows: int, width: int) -> Tensor:
    """Inputs (rows, width) that go together."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(rows, width // 4, generator=draw) @ torch.randn(width // 4, width, generator=draw)


@pytest.mark.parametrize("width", [96, 40])
def test_errors_make_up_for_one_another(width: int) -> None:
    """On inputs that go together a product is wrong by far less than with each number rounded to the nearest."""
    x, weight = alike(2000, width), torch.randn(70, width)
    wrong = [(x @ (rounded(weight, one) - weight).t()).square().mean() for one in (None, inputs_of(x, x))]
    assert wrong[1] < 0.3 * wrong[0]


def test_half_of_what_layers_before_are_wrong_by_is_made_up_for() -> None:
    """Inputs that came out a tenth too small, which the weight could grow by."""
    x, weight = alike(2000, 96), torch.randn(64, 96)
    near = 0.9 * x
    made_ = [near @ rounded(weight, inputs_of(exact, near)).t() for exact in (near, x)]
    grown = [float((one * (x @ weight.t())).sum() / (x @ weight.t()).square().sum()) for one in made_]
    np.testing.assert_allclose(grown, [0.9, 0.95], atol=0.01)


@pytest.mark.parametrize("rows", [3, 500])
def test_inputs_that_say_little(rows: int) -> None:
    """Fewer rows than inputs, and inputs that are always 0."""
    x = alike(rows, 96)
    x[:, 5:40] = 0
    weight = torch.randn(33, 96)
    made_ = rounded(weight, inputs_of(x, x))
    assert made_.isfinite().all()
    assert (x @ (made_ - weight).t()).norm() < (x @ (rounded(weight, None) - weight).t()).norm()
    assert rounded(weight, inputs_of(torch.zeros(9, 96), torch.zeros(9, 96))).isfinite().all()


@torch.no_grad()
def moved(model: EncoderDecoderModel, near: EncoderDecoderModel) -> float:
    """How far a model lies from another, on ids of random length."""
    vocab = min(model.encoder.spec.vocab, model.decoder.spec.vocab)
    ids = torch.randint(5, vocab, (16, 9), generator=torch.Generator().manual_seed(1))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": ids[:, :6]}
    exact, found = (one(**given).logits for one in (model, near))
    return float((found - exact).norm() / exact.norm())


def test_layers_alone_are_int4_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearer to float32 than without, and no random state is touched."""
    model, before = pair_of(width=128), torch.get_rng_state()
    first, second = (narrowed("int4_weight_only", model) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.config.generation == model.config.generation
    kinds = {name: module.panels.mode for name, module in narrow_modules(first)}
    assert {name for name, kind in kinds.items() if kind is Mode.INT8_WEIGHTS} == {
        "encoder.embed.token",
        "decoder.embed.token",
        "decoder.head.dense",
        *(f"encoder.layers.{i}.ffn.up" for i in range(2)),
    }
    assert moved(first, second) == 0
    monkeypatch.setattr(first.ops, "calibrate", lambda *given: None)
    assert moved(model, first) < 0.8 * moved(model, narrowed("int4_weight_only", model))


def test_texts_are_the_packages_and_the_models_own(tmp_path: Path) -> None:
    model = EncoderDecoderModel.from_pretrained(tiny.join(tmp_path / "joined", "bert"))
    given = read_and_written(model)
    ids, mask = given["input_ids"], given["attention_mask"]
    assert len(ids) == len(given["decoder_input_ids"]) == calibrating.DOCUMENTS + calibrating.MADE_UP
    assert ids.shape[1] == tiny.POSITIONS  # fewer than are asked for
    own = [model.tokenizers.source.decode(row) for row in ids[calibrating.DOCUMENTS :]]
    assert len(set(own)) >= calibrating.MADE_UP / calibrating.TOGETHER  # so small a model hardly looks at its source
    assert (ids[mask == 0] == 0).all()
    read = calibrating.documents()
    assert len(read) == calibrating.DOCUMENTS
    assert all(len(text) > 20 for text in read)


@pytest.mark.parametrize("share", ["none", "all"])
def test_each_layer_is_rounded_once(share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part = BertConfig(vocab_size=200, **PART)
    model = EncoderDecoderModel(EncoderDecoderConfig.from_encoder_decoder_configs(part, part.copy(), share=share))
    seen = rounded_layers(monkeypatch)
    near = narrowed("int4_weight_only", model)
    assert len(seen[0]) == {"none": 10 + 20, "all": 12 + 8}[share]  # shared layers are the decoder's
    assert moved(model.eval(), near) < 0.2


def rounded_layers(monkeypatch: pytest.MonkeyPatch) -> list[dict[Any, Any]]:
    """Where each model puts what it rounds."""
    seen: list[dict[Any, Any]] = []
    born = Rounding.__init__

    def noted(self: Rounding, mask: Tensor) -> None:
        born(self, mask)
        seen.append(self.made)

    monkeypatch.setattr(Rounding, "__init__", noted)
    return seen


def test_what_is_left_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What was only just joined, and what is int4 already; a model that is rounded says so."""
    seen = rounded_layers(monkeypatch)
    model = pair_of()
    for role in ("encoder", "decoder"):
        getattr(model, role).save_pretrained(tmp_path / role)
    EncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "encoder", tmp_path / "decoder", dtype="int4_weight_only"
    )
    EncoderDecoderModel.encoder_class.from_pretrained(tmp_path / "encoder", dtype="int4_weight_only")
    assert not seen
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "conjoin"):
        narrowed("int4_weight_only", model).save_pretrained(tmp_path / "int4")
    assert len(seen) == 1
    assert "conjoin export" in caplog.text
    EncoderDecoderModel.from_pretrained(tmp_path / "int4")
    assert len(seen) == 1


def test_export_writes_another_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.join(tmp_path / "joined", "bert")
    asked = ["export", str(folder), "--to", "conjoin", "--output"]
    for kind in ("int4_weight_only", "int8", "bfloat16"):
        assert main([*asked, str(tmp_path / kind), "--dtype", kind]) == 0
        assert json.loads((tmp_path / kind / "config.json").read_text())["dtype"] == kind
        assert EncoderDecoderModel.from_pretrained(tmp_path / kind).tokenizers is not None
    for wrong in (["--dtype", "int4"], []):
        assert main([*asked, str(tmp_path / "out"), *wrong]) == 2
        assert "int4_weight_only" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.extensive
@by_name(ENCODERS)
def test_every_encoder(case: Any, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    other = EncoderDecoderModel.decoder_class(
        BertConfig(vocab_size=120, is_decoder=True, add_cross_attention=True, **PART)
    )
    other.save_pretrained(tmp_path / "other")
    check_family(made(case, "encoder")[1], tmp_path / "other", "encoder", tmp_path / "joined", monkeypatch)


@pytest.mark.extensive
@by_name(DECODERS)
def test_every_decoder(case: Any, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    EncoderDecoderModel.encoder_class(BertConfig(vocab_size=120, **PART)).save_pretrained(tmp_path / "other")
    check_family(tmp_path / "other", made(case, "decoder")[1], "decoder", tmp_path / "joined", monkeypatch)


def check_family(encoder: Path, decoder: Path, role: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family's layers are rounded for what they read, and the model is still near what it was."""
    monkeypatch.setattr(calibrating, "MADE_UP", 16)
    seen = rounded_layers(monkeypatch)
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(encoder, decoder)
    model.config.decoder_start_token_id, model.config.pad_token_id, model.config.eos_token_id = 1, 0, 2
    near = narrowed("int4_weight_only", model, folder)
    layers = {id(part) for _, part in narrow_modules(near) if part.panels.mode is Mode.INT4_WEIGHTS}
    assert len(seen[0]) > 0.8 * len(layers)  # not what looks at everything, or at distances
    assert moved(model.eval(), near) < 0.8  # so narrow a model is coarse in int4: each number to the nearest, up to 0.5

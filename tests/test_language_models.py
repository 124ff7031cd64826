"""What only some language models have: layers of several kinds, files within files, old keys, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from families.case import VOCAB, Case, logits_of
from families.language_models import CASES, GATED
from frameworks import ALL, Framework, every_framework
from peers import randomise

from conjoin import BertConfig, ConfigError, EncoderDecoderModel
from conjoin.composite import any_config, part_config
from conjoin.families import spec_of

BY_NAME = {case.name: case for case in CASES}
FULL, SLIDING = "full_attention", "sliding_attention"
Decoder = EncoderDecoderModel.decoder_class
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def tokens(rows: int = 3, length: int = 9) -> torch.Tensor:
    return torch.randint(6, VOCAB, (rows, length), generator=torch.Generator().manual_seed(2))


def spec(model_type: str, role: str = "decoder", **keys: Any) -> Any:
    """The stack that a config.json of these keys describes."""
    return spec_of(part_config(any_config({"model_type": model_type, **keys}), role), role)


@torch.no_grad()
def test_kept_layers_keep_their_kind(tmp_path: Path) -> None:
    """Layers 1 and 3 of a Gemma 2 see everything; as layers 0 and 1 they still do."""
    config = transformers.Gemma2Config(**{**GATED, "num_hidden_layers": 4, "head_dim": 16, "sliding_window": 3})
    theirs = Case("gemma2", config, decoder=transformers.Gemma2ForCausalLM).make("decoder", tmp_path / "four")
    ours = Decoder.from_pretrained(tmp_path / "four", keep_layers=[1, 3])
    ours.save_pretrained(tmp_path / "two")
    theirs.model.layers = torch.nn.ModuleList([theirs.model.layers[1], theirs.model.layers[3]])
    theirs.config.layer_types, theirs.config.num_hidden_layers = [FULL, FULL], 2
    expected = logits_of(theirs, tokens(), None, None).numpy()
    for model in (ours, Decoder.from_pretrained(tmp_path / "two")):
        np.testing.assert_allclose(model(input_ids=tokens()).logits.numpy(), expected, **CLOSE)


@torch.no_grad()
def test_an_odd_number_of_turning_numbers_is_one_more(tmp_path: Path) -> None:
    """A quarter of 12 is 3, so two pairs of a GPT-NeoX's heads turn, as in transformers; five of five cannot."""
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    config = transformers.GPTNeoXConfig(vocab_size=VOCAB, max_position_embeddings=40, hidden_act="gelu", **sizes)
    theirs = Case("gpt_neox", config, decoder=transformers.GPTNeoXForCausalLM).make("decoder", tmp_path)
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, :4] = mask[2, 7:] = 0
    ours = Decoder.from_pretrained(tmp_path)(input_ids=tokens(), attention_mask=mask).logits
    expected = theirs(input_ids=tokens(), attention_mask=mask).logits
    torch.testing.assert_close(ours[mask > 0], expected[mask > 0], **CLOSE)
    with pytest.raises(ConfigError, match="heads have 5 numbers, of which 5 should turn in pairs"):
        spec("gpt_neox", hidden_size=20, num_attention_heads=4, rotary_pct=1.0)


def test_what_is_listed_by_layer_follows_the_layers() -> None:
    smol = any_config({"model_type": "smollm3", "num_hidden_layers": 4, "no_rope_layers": [1, 0, 1, 0]})
    assert smol.of_layers([1, 2]) == {"layer_types": [FULL, FULL], "no_rope_layers": [0, 1]}
    neo = any_config({"model_type": "gpt_neo", "num_layers": 4})
    assert neo.of_layers([1, 3]) == {"attention_types": [[["local", "local"], 1]]}
    qwen = {"use_sliding_window": True, "sliding_window": 3, "num_hidden_layers": 4, "max_window_layers": 2}
    assert any_config({"model_type": "qwen2", **qwen}).of_layers([1, 2]) == {"layer_types": [FULL, SLIDING]}


@torch.no_grad()
def test_text_of_a_model_that_sees_images(tmp_path: Path) -> None:
    """The text model of a Gemma 3 is read out of the whole, and saved as a text model."""
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.Gemma3Config(
        text_config={**GATED, "head_dim": 16, "sliding_window": 3, "rope_parameters": None},
        vision_config={**vision, "image_size": 8, "patch_size": 4},
        mm_tokens_per_image=4,
        eos_token_id=[1, 7],
    )
    theirs = transformers.Gemma3ForConditionalGeneration(config).eval()
    randomise(theirs, 0)
    theirs.tie_weights()
    theirs.save_pretrained(tmp_path / "whole")
    expected = theirs(input_ids=tokens()).logits.numpy()
    ours = Decoder.from_pretrained(tmp_path / "whole")
    np.testing.assert_allclose(ours(input_ids=tokens()).logits.numpy(), expected, **CLOSE)
    assert (ours.config.model_type, ours.config.eos_token_id) == ("gemma3_text", [1, 7])
    ours.save_pretrained(tmp_path / "text")
    again = Decoder.from_pretrained(tmp_path / "text")
    np.testing.assert_allclose(again(input_ids=tokens()).logits.numpy(), expected, **CLOSE)


@pytest.mark.parametrize("name", ["opt", "biogpt", "bloom", "mistral", "gpt_neo"])
@torch.no_grad()
def test_targets_padded_on_the_right(name: str, tmp_path: Path) -> None:
    """Where transformers counts positions by the mask, it makes no difference to tokens that are seen."""
    theirs = BY_NAME[name].make("decoder", tmp_path)
    mask = torch.ones_like(tokens())
    mask[1, 6:], mask[2, 2:] = 0, 0
    expected = theirs(input_ids=tokens(), attention_mask=mask, use_cache=False).logits
    found = Decoder.from_pretrained(tmp_path)(input_ids=tokens(), attention_mask=mask).logits
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], **CLOSE)


@every_framework
@torch.no_grad()
def test_small_weights_of_a_norm_with_an_offset_count_in_half_precision(framework: Framework, tmp_path: Path) -> None:
    """1 + 0.003 is 1 in bfloat16, so Gemma adds in float32. All that is not the last norm is made to do nothing."""
    config = transformers.GemmaConfig(**{**GATED, "hidden_size": 36, "head_dim": 16})
    theirs = transformers.GemmaModel(config).eval()
    for name, weight in theirs.named_parameters():
        weight.fill_(0.003) if name == "norm.weight" else weight.fill_(0.0)
    theirs.embed_tokens.weight.copy_(torch.randn(VOCAB, 36, generator=torch.Generator().manual_seed(1)))
    theirs.bfloat16().save_pretrained(tmp_path)
    ours = framework.parts[0].from_pretrained(tmp_path, dtype="bfloat16")
    ids = tokens()
    found = ours(**framework.arrays({"input_ids": ids, "attention_mask": torch.ones_like(ids)})).last_hidden_state
    found = found.float() if isinstance(found, torch.Tensor) else found
    expected = theirs(input_ids=ids).last_hidden_state.float().numpy()
    assert (np.asarray(found, np.float32) == expected).mean() > 0.99


OLD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "gpt_neox",
        {"rotary_pct": 0.5, "rotary_emb_base": 500},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500, "partial_rotary_factor": 0.5}},
    ),
    (
        "phi",
        {"partial_rotary_factor": 0.4, "rope_theta": 500.0, "rope_scaling": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.4}},
    ),
    (
        "gemma3_text",
        {
            "rope_theta": 5000.0,
            "rope_local_base_freq": 300.0,
            "rope_scaling": {"rope_type": "linear", "factor": 4.0},
            "sliding_window_pattern": 2,
            "num_hidden_layers": 2,
        },
        {
            "layer_types": [SLIDING, FULL],
            "rope_parameters": {
                FULL: {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0},
                SLIDING: {"rope_type": "default", "rope_theta": 300.0},
            },
            "num_hidden_layers": 2,
        },
    ),
    ("smollm3", {}, {"rope_parameters": {"rope_type": "default", "rope_theta": 2_000_000.0}}),
    ("bloom", {"n_embed": 48, "num_attention_heads": 6, "seq_length": 2048}, {"hidden_size": 48, "n_head": 6}),
    ("gemma", {"hidden_act": "gelu", "hidden_activation": None}, {"hidden_act": "gelu_pytorch_tanh"}),
    ("gemma2", {"hidden_act": "gelu_pytorch_tanh", "cache_implementation": "hybrid", "sliding_window_size": 4096}, {}),
]


@pytest.mark.parametrize(("model_type", "old", "new"), OLD, ids=[one[0] for one in OLD])
def test_old_keys_mean_what_new_ones_do(model_type: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    assert spec(model_type, **old) == spec(model_type, **new)


LONG = {"type": "su", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("stablelm", {"qk_layernorm": True}, "qk_layernorm"),
    ("stablelm", {"hidden_dropout": 0.1}, "hidden_dropout"),
    ("phi3", {"rope_scaling": LONG | {"short_factor": [1.0]}}, "short_factor.*48 numbers"),
    ("phi3", {"rope_scaling": {"type": "yarn", "factor": 2.0}}, "short_factor.*48 numbers"),
    ("phi3", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type.*linear"),
    ("gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ("gemma3", {}, "text_config"),
    ("opt", {"_remove_final_layer_norm": True}, "_remove_final_layer_norm"),
    ("opt", {"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine"),
    ("opt", {"layerdrop": 0.1}, "layerdrop"),
    ("bloom", {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm"),
    ("gptj", {"rotary": False}, "rotary"),
    ("qwen2", {"num_hidden_layers": 1, "layer_types": ["chunked_attention"]}, "layer_types.*chunked_attention"),
    ("qwen2", {"num_hidden_layers": 2, "layer_types": [FULL]}, "layer_types.*2 layers"),
    ("qwen2", {"num_hidden_layers": 1, "layer_types": [SLIDING], "sliding_window": None}, "sliding_window.*not set"),
    ("mistral", {"sliding_window": 0}, "window is 0"),
    ("gpt_neo", {"num_layers": 1, "attention_types": [[["other"], 1]]}, "attention_types.*other"),
    ("smollm3", {"num_hidden_layers": 2, "no_rope_layers": [1]}, "no_rope_layers.*2 layers"),
]


def test_the_longest_text_of_a_phi_3_for_long_texts_is_the_original_one() -> None:
    sizes = {"max_position_embeddings": 131072, "original_max_position_embeddings": 4096}
    assert spec("phi3", rope_scaling=LONG, **sizes).max_length == 4096
    assert spec("phi3", **sizes).max_length == 131072


@pytest.mark.parametrize(("model_type", "keys", "says"), REFUSED)
def test_what_is_not_implemented_is_refused(model_type: str, keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        spec(model_type, **keys)


@pytest.mark.parametrize(
    ("framework", "engine"),
    [(one, "native") for one in ALL.values()]
    + [
        pytest.param(one, "framework", marks=() if name == "torch" else pytest.mark.extensive)
        for name, one in ALL.items()
    ],
    ids=[f"{name}-{engine}" for engine in ("native", "framework") for name in ALL],
)
@torch.no_grad()
def test_padding_before_a_prompt_is_not_counted_by_an_opt(
    framework: Framework, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a gate that is shut it writes what transformers' writes after the same prompts, padded on the left."""
    monkeypatch.setenv("CONJOIN_ENGINE", engine)
    theirs = BY_NAME["opt"].make("decoder", tmp_path / "opt")
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    EncoderDecoderModel.encoder_class(BertConfig(vocab_size=VOCAB, **sizes)).save_pretrained(tmp_path / "bert")
    parts = (tmp_path / "bert", tmp_path / "opt")
    model = framework.model_class.from_encoder_decoder_pretrained(*parts, cross_attention_init="zero_gate")
    ids, mask = tokens(length=5), torch.ones(3, 5, dtype=torch.long)
    mask[1, :3] = mask[2, :1] = 0
    ids = ids.masked_fill(mask == 0, 0)
    prompt = {"decoder_input_ids": ids, "decoder_attention_mask": mask}
    given = framework.arrays({"input_ids": tokens(), **prompt})
    settings = {"max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0, "do_sample": False}
    drafts = [{"num_beams": 3}, {"prompt_lookup_num_tokens": 2}] if framework.name == "torch" else []
    for more in ({}, *drafts):
        expected = theirs.generate(ids, attention_mask=mask, **settings, num_beams=more.get("num_beams", 1)).tolist()
        found = model.generate(**given, **settings, **more, decoder_start_token_id=int(ids[0, 0]))
        assert framework.tokens(found) == expected
    if framework.name == "torch":
        expected = theirs(ids, attention_mask=mask).logits[mask > 0]
        torch.testing.assert_close(model(**given).logits[mask > 0], expected, **CLOSE)

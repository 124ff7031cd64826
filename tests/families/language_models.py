"""Language models that never had cross-attention: sliding windows, norms of queries and keys, alibi, parallel blocks."""

from typing import Any

import torch
import transformers

from families.case import FFN, HEADS, LAYERS, POSITIONS, SIZES, TOKENS, VOCAB, WIDTH, Case

GATED: dict[str, Any] = {**SIZES, **TOKENS, "num_key_value_heads": 2}
PLAIN: dict[str, Any] = {**SIZES, **TOKENS}
STILL: dict[str, Any] = {
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # few steps of training are no place for noise
NEO: dict[str, Any] = {
    **{
        name: value
        for name, value in PLAIN.items()
        if name not in ("num_hidden_layers", "num_attention_heads", "intermediate_size")
    },
    "num_layers": LAYERS,
    "num_heads": HEADS,
    "attention_types": [[["global", "local"], 1]],
    "window_size": 3,
}
GPTJ: dict[str, Any] = {
    **TOKENS,
    "vocab_size": VOCAB,
    "n_embd": WIDTH,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_positions": POSITIONS,
    "rotary_dim": 4,
    "initializer_range": 0.2,  # so that cross-attention without biases is born to say something
}
WINDOW = 3  # fewer than the tokens of a target or a source


@torch.no_grad()
def around_zero(model: Any) -> None:
    """Norm weights as Gemma keeps them, less one; about one they would double every state, and scores fourfold."""
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight -= 1


def case(name: str, kind: str, sizes: dict[str, Any] | None = None, **more: Any) -> Case:
    """A causal stack as encoder and as decoder: transformers' config, with changes, and its two classes."""
    config = getattr(transformers, f"{kind}Config")(**{**(GATED if sizes is None else sizes), **more})
    causal = getattr(transformers, f"{kind.removesuffix('Text')}ForCausalLM")
    prepare = around_zero if kind.startswith("Gemma") else lambda model: None
    return Case(name, config, getattr(transformers, f"{kind}Model"), causal, prepare=prepare)


def opt(**more: Any) -> Any:
    sizes = {name: value for name, value in PLAIN.items() if name != "intermediate_size"}
    return transformers.OPTConfig(**{**sizes, "ffn_dim": FFN, "dropout": 0.0, **more})


CASES = [
    case("mistral", "Mistral", sliding_window=WINDOW),
    case("mistral-everywhere", "Mistral", sliding_window=None, head_dim=16, tie_word_embeddings=True),
    case("qwen2", "Qwen2"),
    case("qwen2-windows", "Qwen2", use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    case(
        "qwen2-types",
        "Qwen2",
        use_sliding_window=True,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"],
    ),
    case("qwen3", "Qwen3", head_dim=16),
    case(
        "qwen3-biased-windows",
        "Qwen3",
        head_dim=16,
        attention_bias=True,
        use_sliding_window=True,
        sliding_window=WINDOW,
        max_window_layers=0,
        tie_word_embeddings=True,
    ),
    case("gemma", "Gemma", head_dim=16),
    case(
        "gemma2",
        "Gemma2",
        head_dim=16,
        sliding_window=WINDOW,
        query_pre_attn_scalar=24,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=5.0,
    ),
    case(
        "gemma2-uncapped",
        "Gemma2",
        head_dim=16,
        sliding_window=WINDOW,
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        attention_bias=True,
    ),
    case(
        "gemma3_text",
        "Gemma3Text",
        head_dim=16,
        sliding_window=WINDOW,
        sliding_window_pattern=2,
        final_logit_softcapping=5.0,
    ),
    Case(
        "gemma3_text-both-ways",
        transformers.Gemma3TextConfig(
            **{
                **GATED,
                "head_dim": 16,
                "sliding_window": 5,
                "sliding_window_pattern": 2,
                "use_bidirectional_attention": True,
            }
        ),
        transformers.Gemma3TextModel,
        prepare=around_zero,
    ),
    case(
        "gemma3_text-scaled",
        "Gemma3Text",
        head_dim=16,
        sliding_window=WINDOW,
        layer_types=["full_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 700.0},
        },
    ),
    case("smollm3", "SmolLM3", no_rope_layers=[1, 0]),
    case(
        "smollm3-windows",
        "SmolLM3",
        no_rope_layer_interval=2,
        use_sliding_window=True,
        sliding_window=WINDOW,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=False,
    ),
    case(
        "granite",
        "Granite",
        embedding_multiplier=3.0,
        attention_multiplier=0.2,
        residual_multiplier=0.4,
        logits_scaling=2.0,
    ),
    case("granite-biased", "Granite", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    case("gpt_neox", "GPTNeoX", PLAIN),
    case(
        "gpt_neox-serial",
        "GPTNeoX",
        PLAIN,
        use_parallel_residual=False,
        attention_bias=False,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5},
    ),
    case("phi", "Phi", GATED),
    case("phi-normed", "Phi", GATED, qk_layernorm=True),
    case(
        "phi-linear",
        "Phi",
        GATED,
        rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0, "partial_rotary_factor": 0.75},
    ),
    Case("opt", opt(), decoder=transformers.OPTForCausalLM),
    Case(
        "opt-350m",
        opt(do_layer_norm_before=False, word_embed_proj_dim=12, activation_function="gelu"),
        decoder=transformers.OPTForCausalLM,
    ),
    Case(
        "opt-unbiased-untied",
        opt(word_embed_proj_dim=12, enable_bias=False, tie_word_embeddings=False),
        decoder=transformers.OPTForCausalLM,
    ),
    case("bloom", "Bloom", {**TOKENS, "vocab_size": VOCAB, "hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS}),
    case(
        "bloom-six-heads", "Bloom", {**TOKENS, "vocab_size": VOCAB, "hidden_size": 36, "n_layer": LAYERS, "n_head": 6}
    ),
    case("gpt_neo", "GPTNeo", NEO),
    case("gpt_neo-local", "GPTNeo", NEO, attention_types=[[["local"], 1], [["global"], 1]], intermediate_size=FFN),
    case("biogpt", "BioGpt", {**PLAIN, **STILL}),
    case(
        "biogpt-unscaled",
        "BioGpt",
        {**PLAIN, **STILL},
        scale_embedding=False,
        tie_word_embeddings=False,
        hidden_act="relu",
    ),
    case("phi3", "Phi3", GATED),
    case(
        "phi3-window",
        "Phi3",
        GATED,
        sliding_window=WINDOW,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.75},
    ),
    case(
        "phi3-long",
        "Phi3",
        GATED,
        max_position_embeddings=4 * POSITIONS,
        original_max_position_embeddings=POSITIONS,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 500.0,
            "partial_rotary_factor": 0.75,
            "short_factor": [1.0, 1.3, 2.5],
            "long_factor": [2.0, 5.0, 9.0],
        },
    ),
    case("gptj", "GPTJ", GPTJ),
    case("gptj-all", "GPTJ", GPTJ, rotary_dim=8, n_inner=FFN),
    case("olmo2", "Olmo2"),
    case("olmo2-biased", "Olmo2", attention_bias=True, tie_word_embeddings=True),
    case("stablelm", "StableLm"),
    case("stablelm-parallel", "StableLm", use_qkv_bias=True, use_parallel_residual=True),
]

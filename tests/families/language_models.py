"""Language models that never had cross-attention: sliding windows, norms of queries and keys, alibi, parallel blocks."""

from typing import Any

import transformers

from families.case import SIZES, TOKENS, Case

GATED: dict[str, Any] = {**SIZES, **TOKENS, "num_key_value_heads": 2}
WINDOW = 3  # fewer than the tokens of a target or a source


def case(name: str, kind: str, sizes: dict[str, Any] | None = None, **more: Any) -> Case:
    """A causal stack as encoder and as decoder: transformers' config, with changes, and its two classes."""
    config = getattr(transformers, f"{kind}Config")(**{**(GATED if sizes is None else sizes), **more})
    causal = getattr(transformers, f"{kind.removesuffix('Text')}ForCausalLM")
    return Case(name, config, getattr(transformers, f"{kind}Model"), causal)


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
]

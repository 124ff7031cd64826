"""BLOOM (https://arxiv.org/abs/2211.05100): no positions but attention that falls with distance; a norm of embeddings."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families.shared.by_head import layer_rows
from conjoin.families.shared.causal import causal_family, causal_stack, cross_rows
from conjoin.spec import StackSpec, table

__all__ = ["BLOOM", "FAMILIES", "BloomConfig"]


@config_class
@dataclass(kw_only=True)
class BloomConfig(ModelConfig):
    """Sizes and settings of a BLOOM, with transformers' names and defaults."""

    model_type: ClassVar[str] = "bloom"
    attribute_map: ClassVar[dict[str, str]] = {
        "n_embed": "hidden_size",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "attention_softmax_in_fp32 bias_dropout_fusion masked_softmax_fusion n_inner offset_alibi pretraining_tp "
        "seq_length skip_bias_add skip_bias_add_qkv slow_but_exact unk_token_id".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"apply_residual_connection_post_layernorm": (False,)}

    vocab_size: int = 250880
    hidden_size: int = 64
    n_layer: int = 2
    n_head: int = 8
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2


def read(config: BloomConfig) -> StackSpec:
    """BLOOM's facts; causal on either side."""
    return causal_stack(
        config,
        ffn=4 * config.hidden_size,
        alibi=True,
        embed_norm=True,
        activation="gelu_new",
        norm_eps=config.layer_norm_epsilon,
        dropout=config.hidden_dropout,
        attention_dropout=config.attention_dropout,
    )


LAYER = "h.{}."
BODY = (
    *table("", "", "embed.token=word_embeddings embed.norm=word_embeddings_layernorm norm=ln_f"),
    *layer_rows(LAYER, "self_attention"),
)

BLOOM = causal_family(BloomConfig, "Bloom", read, BODY, cross=cross_rows(LAYER), prefix="transformer.")
FAMILIES = (BLOOM,)

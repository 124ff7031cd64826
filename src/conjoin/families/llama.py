"""Llama (https://arxiv.org/abs/2302.13971): a causal stack of RMS norms, rotary positions and gated feed-forwards."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.families.causal import causal_family, cross_rows
from conjoin.families.rope import RopeConfig, rotary
from conjoin.spec import BIASES, Family, StackSpec, stack, table

__all__ = ["FAMILIES", "LLAMA", "LlamaConfig"]


@dataclass(kw_only=True)
class GatedConfig(RopeConfig):
    """What the configs of Llama and its many relatives have in common, with Llama's defaults."""

    unless_none: ClassVar[tuple[str, ...]] = (*RopeConfig.unless_none, "head_dim")
    irrelevant: ClassVar[frozenset[str]] = frozenset({"pretraining_tp", "bos_token", "eos_token"})

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2


@config_class
@dataclass(kw_only=True)
class LlamaConfig(GatedConfig):
    """Sizes and settings of a Llama, with transformers' names and defaults."""

    model_type: ClassVar[str] = "llama"

    hidden_act: str = "silu"
    attention_bias: bool = False
    mlp_bias: bool = False


def gated_stack(config: Any, biases: str = "", **facts: Any) -> StackSpec:
    """What Llama and its many relatives have in common, with further facts."""
    size = config.head_dim or config.hidden_size // config.num_attention_heads
    common: dict[str, Any] = {
        "limit": config.max_position_embeddings,
        "kv_heads": config.num_key_value_heads or config.num_attention_heads,
        "head_size": size,
        "activation": config.hidden_act,
        "norm_eps": config.rms_norm_eps,
        "attention_dropout": config.attention_dropout,
        "biases": BIASES & frozenset(biases.split()),
        "head": "plain" if config.is_decoder else "none",
    }
    fixed = {"causal": True, "gated": True, "norm": "rms", "norms": "pre", "final_norm": True}
    if "rotary" not in facts:
        facts["rotary"] = (rotary(config, size),) * config.num_hidden_layers
    return stack(config, **{**common, **fixed, **facts})


def biases(config: Any) -> str:
    """The layers that have a bias, where the config says it of attention and of the feed-forward."""
    names: str = "q k v o " * config.attention_bias + "up gate down" * config.mlp_bias
    return names


def read(config: LlamaConfig) -> StackSpec:
    """Llama's facts; causal on either side."""
    return gated_stack(config, biases(config))


PRODUCTS = table(
    "layers.{}.",
    "layers.{}.",
    "attention.q=self_attn.q_proj attention.k=self_attn.k_proj attention.v=self_attn.v_proj attention.o=self_attn.o_proj "
    "ffn.gate=mlp.gate_proj ffn.up=mlp.up_proj ffn.down=mlp.down_proj",
)
NORMS = table("layers.{}.", "layers.{}.", "attention_norm=input_layernorm ffn_norm=post_attention_layernorm")
LAYER = (*PRODUCTS, *NORMS)
OUTER = table("", "", "embed.token=embed_tokens norm=norm")
BODY = (*OUTER, *LAYER)


def gated_family(config: type[Any], name: str, read: Any, body: Any = BODY) -> Family:
    """A family of this kind, transformers' classes of which begin with `name`."""
    return causal_family(config, name, read, body, cross=cross_rows())


LLAMA = gated_family(LlamaConfig, "Llama", read)
FAMILIES = (LLAMA,)

"""What Llama and its many relatives have in common: RMS norms first, rotary positions and gated feed-forwards."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.families.shared.causal import causal_stack
from conjoin.families.shared.rope import RopeConfig, rotary
from conjoin.spec import BIASES, StackSpec

__all__ = ["GatedConfig", "biases", "gated_stack"]


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
        "gated": True,
        "norm": "rms",
    }
    if "rotary" not in facts:
        facts["rotary"] = (rotary(config, size),) * config.num_hidden_layers
    return causal_stack(config, **{**common, **facts})


def biases(config: Any) -> str:
    """The layers that have a bias, where the config says it of attention and of the feed-forward."""
    names: str = "q k v o " * config.attention_bias + "up gate down" * config.mlp_bias
    return names

"""StableLM (https://arxiv.org/abs/2402.17834): Llama with layer norms, and positions in a part of each head."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.llama import BODY, gated_family
from conjoin.families.rope import PartialRopeConfig, rotary
from conjoin.spec import StackSpec, stack

__all__ = ["FAMILIES", "STABLELM", "StableLmConfig"]


@config_class
@dataclass(kw_only=True)
class StableLmConfig(PartialRopeConfig):
    """Sizes and settings of a StableLM, with transformers' names and defaults."""

    model_type: ClassVar[str] = "stablelm"
    only: ClassVar[dict[str, tuple[object, ...]]] = {"qk_layernorm": (False,), "hidden_dropout": (0, 0.0)}

    vocab_size: int = 50304
    hidden_size: int = 2560
    intermediate_size: int = 6912
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = 32
    hidden_act: str = "silu"
    max_position_embeddings: int = 4096
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    partial_rotary_factor: float = 0.25
    use_qkv_bias: bool = False
    use_parallel_residual: bool = False
    attention_dropout: float = 0.0
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 0


def read(config: StableLmConfig) -> StackSpec:
    """StableLM's facts; causal on either side."""
    turn = rotary(config, config.hidden_size // config.num_attention_heads)
    return stack(
        config,
        limit=config.max_position_embeddings,
        kv_heads=config.num_key_value_heads or config.num_attention_heads,
        rotary=(turn,) * config.num_hidden_layers,
        activation=config.hidden_act,
        gated=True,
        norm_eps=config.layer_norm_eps,
        norms="pre",
        parallel="one_norm" if config.use_parallel_residual else "",
        final_norm=True,
        biases=frozenset("qkv" if config.use_qkv_bias else ""),
        causal=True,
        attention_dropout=config.attention_dropout,
        head="plain" if config.is_decoder else "none",
    )


STABLELM = gated_family(StableLmConfig, "StableLm", read, BODY)
FAMILIES = (STABLELM,)

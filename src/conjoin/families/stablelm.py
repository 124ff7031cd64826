"""StableLM (https://arxiv.org/abs/2402.17834): Llama with layer norms, and positions in a part of each head."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.llama_rows import gated_family
from conjoin.families.shared.partial_rope import PartialConfig, partial_stack
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "STABLELM", "StableLmConfig"]


@config_class
@dataclass(kw_only=True)
class StableLmConfig(PartialConfig):
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
    partial_rotary_factor: float = 0.25
    use_qkv_bias: bool = False
    use_parallel_residual: bool = False
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 0


def read(config: StableLmConfig) -> StackSpec:
    """StableLM's facts; causal on either side."""
    return partial_stack(
        config,
        kv_heads=config.num_key_value_heads or config.num_attention_heads,
        gated=True,
        parallel="one_norm" if config.use_parallel_residual else "",
        biases=frozenset("qkv" if config.use_qkv_bias else ""),
    )


STABLELM = gated_family(StableLmConfig, "StableLm", read)
FAMILIES = (STABLELM,)

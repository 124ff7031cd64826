"""OLMo 2 (https://arxiv.org/abs/2501.00656): Llama with norms of what sublayers add, and of all queries and all keys."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.qwen3 import HEAD_NORMS
from conjoin.families.shared.gated import GatedConfig, gated_stack
from conjoin.families.shared.llama_rows import OUTER, PRODUCTS, gated_family
from conjoin.spec import StackSpec, table

__all__ = ["FAMILIES", "OLMO2", "Olmo2Config"]


@config_class
@dataclass(kw_only=True)
class Olmo2Config(GatedConfig):
    """Sizes and settings of an OLMo 2, with transformers' names and defaults."""

    model_type: ClassVar[str] = "olmo2"

    vocab_size: int = 50304
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-5
    attention_bias: bool = False
    pad_token_id: int | None = 1
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 50279


def read(config: Olmo2Config) -> StackSpec:
    """Llama's facts, with the norms elsewhere."""
    biases = "q k v o" * config.attention_bias
    return gated_stack(config, biases, norms="out", query_key_norm=True, query_key_norm_wide=True)


NORMS = table(
    "layers.{}.",
    "layers.{}.",
    "attention_out_norm=post_attention_layernorm ffn_out_norm=post_feedforward_layernorm",
)

OLMO2 = gated_family(Olmo2Config, "Olmo2", read, (*OUTER, *PRODUCTS, *NORMS, *HEAD_NORMS))
FAMILIES = (OLMO2,)

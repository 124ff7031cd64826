"""Qwen 3 (https://arxiv.org/abs/2505.09388): Llama with a norm over each head's queries and keys, and Qwen 2's windows."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.qwen2 import Qwen2Config
from conjoin.families.shared.gated import gated_stack
from conjoin.families.shared.llama_rows import BODY, gated_family
from conjoin.spec import StackSpec, table

__all__ = ["FAMILIES", "HEAD_NORMS", "QWEN3", "Qwen3Config"]


@config_class
@dataclass(kw_only=True)
class Qwen3Config(Qwen2Config):
    """Sizes and settings of a Qwen 3, with transformers' names and defaults."""

    model_type: ClassVar[str] = "qwen3"

    head_dim: int | None = 128
    attention_bias: bool = False


def read(config: Qwen3Config) -> StackSpec:
    """Llama's facts, with norms of queries and keys."""
    biases = "q k v o" * config.attention_bias
    return gated_stack(config, biases, reaches=config.reaches(), query_key_norm=True)


HEAD_NORMS = table("layers.{}.attention.", "layers.{}.self_attn.", "q_norm=q_norm k_norm=k_norm")

QWEN3 = gated_family(Qwen3Config, "Qwen3", read, (*BODY, *HEAD_NORMS))
FAMILIES = (QWEN3,)

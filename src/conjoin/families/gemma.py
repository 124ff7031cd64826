"""Gemma (https://arxiv.org/abs/2403.08295): Llama with scaled embeddings, and norm weights that are kept less one."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.families.shared.gated import GatedConfig, gated_stack
from conjoin.families.shared.llama_rows import gated_family
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "GEMMA", "GemmaConfig", "gemma_stack"]


@config_class
@dataclass(kw_only=True)
class GemmaConfig(GatedConfig):
    """Sizes and settings of a Gemma, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gemma"
    only: ClassVar[dict[str, tuple[object, ...]]] = {
        "use_bidirectional_attention": (False, None),
        "hidden_activation": ("gelu_pytorch_tanh", None),
    }

    vocab_size: int = 256000
    hidden_size: int = 3072
    intermediate_size: int = 24576
    num_hidden_layers: int = 28
    num_attention_heads: int = 16
    num_key_value_heads: int | None = 16
    head_dim: int | None = 256
    hidden_act: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 8192
    attention_bias: bool = False
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 1


def gemma_stack(config: Any, **facts: Any) -> StackSpec:
    """What the Gemmas have in common, with further facts."""
    biases = "q k v o" * config.attention_bias
    return gated_stack(config, biases, embed_scale=config.hidden_size**0.5, norm_offset=1.0, **facts)


def read(config: GemmaConfig) -> StackSpec:
    """The facts of a Gemma; the first files say "gelu" and mean the approximation."""
    return gemma_stack(config, activation="gelu_pytorch_tanh" if config.hidden_act == "gelu" else config.hidden_act)


GEMMA = gated_family(GemmaConfig, "Gemma", read)
FAMILIES = (GEMMA,)

"""Gemma 2 (https://arxiv.org/abs/2408.00118): norms on both sides of each sublayer, capped scores, windows in turn."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.llama_rows import gated_family
from conjoin.families.shared.sandwich import BODY, sandwich_stack
from conjoin.families.shared.windowed import WindowedConfig
from conjoin.families.shared.windows import FULL, SLIDING
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "GEMMA2", "Gemma2Config"]


@config_class
@dataclass(kw_only=True)
class Gemma2Config(WindowedConfig):
    """Sizes and settings of a Gemma 2, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gemma2"
    attribute_map: ClassVar[dict[str, str]] = {"hidden_act": "hidden_activation"}
    # An early name, beside the one that counts.
    irrelevant: ClassVar[frozenset[str]] = frozenset({"sliding_window_size"})
    only: ClassVar[dict[str, tuple[object, ...]]] = {"use_bidirectional_attention": (False, None)}

    vocab_size: int = 256000
    hidden_size: int = 2304
    intermediate_size: int = 9216
    num_hidden_layers: int = 26
    num_attention_heads: int = 8
    num_key_value_heads: int | None = 4
    head_dim: int | None = 256
    hidden_activation: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 8192
    attention_bias: bool = False
    query_pre_attn_scalar: float = 256
    sliding_window: int | None = 4096
    attn_logit_softcapping: float | None = 50.0
    final_logit_softcapping: float | None = 30.0
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 1

    def usual_type(self, layer: int) -> str:
        """Every other layer has a window, the first one too."""
        return FULL if layer % 2 else SLIDING


def read(config: Gemma2Config) -> StackSpec:
    """The facts of a Gemma 2."""
    return sandwich_stack(config, score_cap=config.attn_logit_softcapping or 0.0)


GEMMA2 = gated_family(Gemma2Config, "Gemma2", read, BODY)
FAMILIES = (GEMMA2,)

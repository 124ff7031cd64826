"""Phi 3 and 4 (https://arxiv.org/abs/2404.14219): Llama with joined products, and attention to a window where asked."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families.shared.gated import GatedConfig, gated_stack
from conjoin.families.shared.llama_rows import NORMS, OUTER, gated_family
from conjoin.families.shared.partial_rope import PartialRopeConfig
from conjoin.families.shared.windows import reach
from conjoin.spec import StackSpec, table

__all__ = ["FAMILIES", "PHI3", "Phi3Config"]


@config_class
@dataclass(kw_only=True)
class Phi3Config(PartialRopeConfig, GatedConfig):
    """Sizes and settings of a Phi 3 or 4, with transformers' names and defaults."""

    model_type: ClassVar[str] = "phi3"
    unless_none: ClassVar[tuple[str, ...]] = GatedConfig.unless_none
    # No layer has the one dropout, only scaled positions need the other, and attention has biases nowhere.
    irrelevant: ClassVar[frozenset[str]] = frozenset({"embd_pdrop", "original_max_position_embeddings"})
    only: ClassVar[dict[str, tuple[object, ...]]] = {"attention_bias": (False,), "mlp_bias": (False,)}

    vocab_size: int = 32064
    hidden_size: int = 3072
    intermediate_size: int = 8192
    hidden_act: str = "silu"
    max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-5
    resid_pdrop: float = 0.0
    sliding_window: int | None = None
    tie_word_embeddings: bool = False
    pad_token_id: int | None = 32000
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 32000


def read(config: Phi3Config) -> StackSpec:
    """Llama's facts, and the window. Raises ConfigError for positions scaled for long texts."""
    rope = config.rope()
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ConfigError(f'phi3: "rope_type" is {kind!r}; only "default" is implemented.')
    reaches = (reach(config.sliding_window),) * config.num_hidden_layers
    return gated_stack(config, reaches=reaches, dropout=config.resid_pdrop)


PRODUCTS = table(
    "layers.{}.",
    "layers.{}.",
    "attention.q+k+v=self_attn.qkv_proj attention.o=self_attn.o_proj ffn.gate+up=mlp.gate_up_proj "
    "ffn.down=mlp.down_proj",
)

PHI3 = gated_family(Phi3Config, "Phi3", read, (*OUTER, *PRODUCTS, *NORMS))
FAMILIES = (PHI3,)

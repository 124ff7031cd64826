"""Phi 3 and 4 (https://arxiv.org/abs/2404.14219): Llama with joined products, and attention to a window where asked."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families.shared.gated import GatedConfig, gated_stack
from conjoin.families.shared.llama_rows import NORMS, OUTER, gated_family
from conjoin.families.shared.long_rope import LONG, long_rope
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
    # No layer has this dropout, and attention has biases nowhere.
    irrelevant: ClassVar[frozenset[str]] = frozenset({"embd_pdrop"})
    only: ClassVar[dict[str, tuple[object, ...]]] = {"attention_bias": (False,), "mlp_bias": (False,)}

    vocab_size: int = 32064
    hidden_size: int = 3072
    intermediate_size: int = 8192
    hidden_act: str = "silu"
    max_position_embeddings: int = 4096
    original_max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-5
    resid_pdrop: float = 0.0
    sliding_window: int | None = None
    tie_word_embeddings: bool = False
    pad_token_id: int | None = 32000
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 32000


def read(config: Phi3Config) -> StackSpec:
    """Llama's facts, and the window; with LongRoPE the original length is the longest, since beyond it other factors count.

    Raises ConfigError for positions of a kind that Phi 3 has not.
    """
    rope = config.rope()
    kind = rope.get("rope_type", rope.get("type", "default"))
    facts: dict[str, Any] = {"reaches": (reach(config.sliding_window),) * config.num_hidden_layers}
    if kind in LONG:
        turn = long_rope(config, config.hidden_size // config.num_attention_heads)
        facts |= {"rotary": (turn,) * config.num_hidden_layers, "limit": config.original_max_position_embeddings}
    elif kind != "default":
        raise ConfigError(f'phi3: "rope_type" is {kind!r}; only "default" and "longrope" are implemented.')
    return gated_stack(config, dropout=config.resid_pdrop, **facts)


PRODUCTS = table(
    "layers.{}.",
    "layers.{}.",
    "attention.q+k+v=self_attn.qkv_proj attention.o=self_attn.o_proj ffn.gate+up=mlp.gate_up_proj "
    "ffn.down=mlp.down_proj",
)

PHI3 = gated_family(Phi3Config, "Phi3", read, (*OUTER, *PRODUCTS, *NORMS))
FAMILIES = (PHI3,)

"""GPT-J (https://github.com/kingoflolz/mesh-transformer-jax): side by side after one norm; neighbours turn in pairs."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.phi import BIASED_HEAD
from conjoin.families.shared.causal import causal_family, cross_rows
from conjoin.families.shared.gpt import GPTConfig, gpt_stack
from conjoin.spec import Rotary, StackSpec, table

__all__ = ["FAMILIES", "GPTJ", "GPTJConfig"]


@config_class
@dataclass(kw_only=True)
class GPTJConfig(GPTConfig):
    """Sizes and settings of a GPT-J, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gptj"
    irrelevant: ClassVar[frozenset[str]] = GPTConfig.irrelevant | {"scale_attn_weights"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {"rotary": (True,)}

    vocab_size: int = 50400
    n_positions: int = 2048
    n_embd: int = 4096
    n_layer: int = 28
    n_head: int = 16
    rotary_dim: int = 64  # of each head's numbers, how many turn
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0
    tie_word_embeddings: bool = False


def read(config: GPTJConfig) -> StackSpec:
    """GPT-J's facts; causal on either side."""
    pairs = config.rotary_dim // 2
    turn = Rotary(tuple(10000.0 ** (-i / pairs) for i in range(pairs)), interleaved=True)
    return gpt_stack(
        config,
        limit=config.n_positions,
        rotary=(turn,) * config.n_layer,
        parallel="one_norm",
        biases=frozenset({"up", "down"}),
        head_bias="trained" if config.is_decoder else "none",
    )


LAYER = "h.{}."
BODY = (
    *table("", "", "embed.token=wte norm=ln_f"),
    *table("layers.{}.attention.", LAYER + "attn.", "q=q_proj k=k_proj v=v_proj o=out_proj"),
    *table("layers.{}.", LAYER, "attention_norm=ln_1 ffn.up=mlp.fc_in ffn.down=mlp.fc_out"),
)
BUFFERS = (r"\.attn\.(bias|masked_bias)$",)

GPTJ = causal_family(
    GPTJConfig, "GPTJ", read, BODY, cross=cross_rows(LAYER), head=BIASED_HEAD, prefix="transformer.", buffers=BUFFERS
)
FAMILIES = (GPTJ,)

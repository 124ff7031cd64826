"""GPT-NeoX (https://arxiv.org/abs/2204.06745), Pythia too: attention and feed-forward side by side, each with its norm."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.families.shared.by_head import layer_rows
from conjoin.families.shared.causal import causal_family, cross_rows
from conjoin.families.shared.partial_rope import PartialConfig, partial_stack
from conjoin.spec import BIASES, StackSpec, row, table

__all__ = ["FAMILIES", "GPT_NEOX", "GPTNeoXConfig"]


@config_class
@dataclass(kw_only=True)
class GPTNeoXConfig(PartialConfig):
    """Sizes and settings of a GPT-NeoX, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gpt_neox"
    attribute_map: ClassVar[dict[str, str]] = {"rotary_pct": "partial_rotary_factor", "rotary_emb_base": "rope_theta"}
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "classifier_dropout attention_probs_dropout_prob hidden_dropout_prob".split()
    )

    vocab_size: int = 50432
    hidden_size: int = 6144
    num_hidden_layers: int = 44
    num_attention_heads: int = 64
    intermediate_size: int = 24576
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.0
    partial_rotary_factor: float = 0.25
    use_parallel_residual: bool = True
    attention_bias: bool = True
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2

    def to_dict(self) -> dict[str, Any]:
        """Both ways, so that transformers 4 and 5 read the same."""
        rope = self.rope()
        old = {"rotary_pct": rope["partial_rotary_factor"], "rotary_emb_base": rope.get("rope_theta", 10000)}
        return {**super().to_dict(), **old}


def read(config: GPTNeoXConfig) -> StackSpec:
    """GPT-NeoX's facts; causal on either side."""
    return partial_stack(
        config,
        parallel="two_norms" if config.use_parallel_residual else "",
        biases=BIASES if config.attention_bias else BIASES - frozenset("qkvo"),
        dropout=config.hidden_dropout,
        embed_dropout=config.hidden_dropout,
    )


BODY = (*table("", "", "embed.token=embed_in norm=final_layer_norm"), *layer_rows("layers.{}.", "attention"))
HEAD = (row("output.weight", "embed_out.weight", rooted=True, also=("lm_head.weight",)),)
BUFFERS = (r"\.attention\.(bias|masked_bias)$", r"^lm_head\.weight$")

GPT_NEOX = causal_family(
    GPTNeoXConfig, "GPTNeoX", read, BODY, cross=cross_rows(), head=HEAD, prefix="gpt_neox.", buffers=BUFFERS
)
FAMILIES = (GPT_NEOX,)

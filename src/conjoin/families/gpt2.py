"""GPT-2: a pre-norm causal decoder whose files join q, k and v and store weights (in, out)."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.causal import TASKS
from conjoin.families.shared.gpt import GPTConfig, gpt_stack
from conjoin.spec import Family, Role, StackSpec, row, table

__all__ = ["FAMILIES", "GPT2", "GPT2Config"]


@config_class
@dataclass(kw_only=True)
class GPT2Config(GPTConfig):
    """Sizes and settings of a GPT-2, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gpt2"
    irrelevant: ClassVar[frozenset[str]] = GPTConfig.irrelevant | frozenset(
        "n_special predict_special_tokens reorder_and_upcast_attn summary_last_dropout".split()
    )

    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False


def read(config: GPT2Config) -> StackSpec:
    """GPT-2's facts; causal on either side."""
    return gpt_stack(
        config,
        positions=config.n_positions,
        score_scale=None if config.scale_attn_weights else 1.0,
        scale_scores_by_layer=config.scale_attn_by_inverse_layer_idx,
        scaled_residual_init=True,
    )


BODY = (
    *table("", "", "embed.token=wte embed.position=wpe norm=ln_f"),
    *table("layers.{}.", "h.{}.", "attention_norm=ln_1 ffn_norm=ln_2"),
    *table(
        "layers.{}.",
        "h.{}.",
        "attention.q+k+v=attn.c_attn attention.o=attn.c_proj ffn.up=mlp.c_fc ffn.down=mlp.c_proj",
        flip=True,
    ),
)
CROSS = (
    *table("layers.{}.cross", "h.{}.crossattention.", ".q=q_attn .k+v=c_attn .o=c_proj", flip=True),
    *table("layers.{}.cross", "h.{}.", "_norm=ln_cross_attn _gate:=crossattention.gate"),
)
HEAD = row("output.weight", "lm_head.weight", rooted=True)
BUFFERS = (r"\.(attn|crossattention)\.(bias|masked_bias)$", r"^lm_head\.weight$", TASKS)

GPT2 = Family(
    config=GPT2Config,
    encoder=Role("GPT2Model", read, BODY, ("", "transformer."), (*BUFFERS, r"\.(crossattention|ln_cross_attn)\.")),
    decoder=Role("GPT2LMHeadModel", read, (*BODY, *CROSS, HEAD), ("transformer.", ""), BUFFERS),
)
FAMILIES = (GPT2,)

"""GPT-2: a pre-norm causal decoder whose files join q, k and v and store weights (in, out)."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.spec import Family, Role, StackSpec, row, stack, table

__all__ = ["FAMILIES", "GPT2", "GPT2Config"]


@config_class
@dataclass(kw_only=True)
class GPT2Config(ModelConfig):
    """Sizes and settings of a GPT-2, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gpt2"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
        "intermediate_size": "n_inner",
    }
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "n_ctx n_special predict_special_tokens summary_type summary_use_proj summary_activation "
        "summary_proj_to_labels summary_first_dropout summary_last_dropout reorder_and_upcast_attn".split()
    )

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256


def read(config: GPT2Config) -> StackSpec:
    """GPT-2's facts; causal on either side."""
    return stack(
        config,
        ffn=config.n_inner or 4 * config.n_embd,
        positions=config.n_positions,
        activation=config.activation_function,
        norm_eps=config.layer_norm_epsilon,
        norms="pre",
        final_norm=True,
        causal=True,
        score_scale=None if config.scale_attn_weights else 1.0,
        scale_scores_by_layer=config.scale_attn_by_inverse_layer_idx,
        dropout=config.resid_pdrop,
        embed_dropout=config.embd_pdrop,
        attention_dropout=config.attn_pdrop,
        head="plain" if config.is_decoder else "none",
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
BUFFERS = (r"\.(attn|crossattention)\.(bias|masked_bias)$", r"^lm_head\.weight$")

GPT2 = Family(
    config=GPT2Config,
    encoder=Role("GPT2Model", read, BODY, ("", "transformer."), (*BUFFERS, r"\.(crossattention|ln_cross_attn)\.")),
    decoder=Role("GPT2LMHeadModel", read, (*BODY, *CROSS, HEAD), ("transformer.", ""), BUFFERS),
)
FAMILIES = (GPT2,)

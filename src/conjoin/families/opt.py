"""OPT (https://arxiv.org/abs/2205.01068): BART's decoder without cross-attention, norms first.

Positions count from the first token of what comes. transformers counts from the first that the mask shows, so a prompt
padded on the left would differ; a join pads targets on the right, which is the same in both.
"""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families import bart
from conjoin.families.causal import HEAD
from conjoin.spec import BIASES, Family, Role, StackSpec, stack, table

__all__ = ["FAMILIES", "LAYER", "OPT", "OPTConfig"]


@config_class
@dataclass(kw_only=True)
class OPTConfig(ModelConfig):
    """Sizes and settings of an OPT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "opt"
    attribute_map: ClassVar[dict[str, str]] = {"intermediate_size": "ffn_dim", "initializer_range": "init_std"}
    irrelevant: ClassVar[frozenset[str]] = frozenset({"activation_dropout"})  # no layer of an OPT has it
    unless_none: ClassVar[tuple[str, ...]] = ("word_embed_proj_dim",)
    only: ClassVar[dict[str, tuple[object, ...]]] = {
        "_remove_final_layer_norm": (False,),
        "layer_norm_elementwise_affine": (True,),
        "layerdrop": (0, 0.0),
    }

    vocab_size: int = 50272
    hidden_size: int = 768
    num_hidden_layers: int = 12
    ffn_dim: int = 3072
    max_position_embeddings: int = 2048
    do_layer_norm_before: bool = True
    word_embed_proj_dim: int | None = None  # None: hidden_size
    dropout: float = 0.1
    attention_dropout: float = 0.0
    num_attention_heads: int = 12
    activation_function: str = "relu"
    init_std: float = 0.02
    enable_bias: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 2


def read(config: OPTConfig) -> StackSpec:
    """OPT's facts; embeddings of another width (opt-350m) are projected before positions, and back before the head."""
    narrow = config.word_embed_proj_dim not in (None, config.hidden_size)
    return stack(
        config,
        positions=config.max_position_embeddings + 2,
        position_offset=2,
        embed_width=config.word_embed_proj_dim if narrow else 0,
        embed_project="tokens",
        activation=config.activation_function,
        norm_eps=1e-5,
        norms="pre" if config.do_layer_norm_before else "post",
        final_norm=config.do_layer_norm_before,
        biases=BIASES - {"embed", "head"} if config.enable_bias else frozenset(),
        causal=True,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        head="project" if narrow else "plain",
        head_width=config.word_embed_proj_dim if narrow else 0,
    )


LAYER = tuple(one for one in bart.BODY if one.theirs.startswith("layers."))
BODY = (
    *table("", "", "embed.token=embed_tokens embed.position=embed_positions norm=final_layer_norm"),
    *table("", "", "embed.project=project_in head.dense=project_out"),
    *LAYER,
)

OPT = Family(
    config=OPTConfig,
    decoder=Role(
        "OPTForCausalLM",
        read,
        (*BODY, *bart.CROSS, *HEAD),
        ("model.decoder.", "decoder."),
        (r"^lm_head\.weight$",),
    ),
)
FAMILIES = (OPT,)

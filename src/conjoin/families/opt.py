"""OPT (https://arxiv.org/abs/2205.01068): BART's decoder without cross-attention, norms first."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.bart_decoder import bart_decoder_stack
from conjoin.families.shared.bart_fields import BartFieldsConfig
from conjoin.families.shared.bart_rows import CROSS, LAYERS
from conjoin.families.shared.causal import HEAD
from conjoin.spec import BIASES, Family, Role, StackSpec, table

__all__ = ["FAMILIES", "OPT", "OPTConfig"]


@config_class
@dataclass(kw_only=True)
class OPTConfig(BartFieldsConfig):
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
    num_attention_heads: int = 12
    activation_function: str = "relu"
    enable_bias: bool = True
    bos_token_id: int | None = 2


def read(config: OPTConfig) -> StackSpec:
    """OPT's facts; embeddings of another width (opt-350m) are projected before positions, and back before the head."""
    narrow = config.word_embed_proj_dim not in (None, config.hidden_size)
    return bart_decoder_stack(
        config,
        embed_width=config.word_embed_proj_dim if narrow else 0,
        embed_project="tokens",
        position_seen=True,
        activation=config.activation_function,
        norms="pre" if config.do_layer_norm_before else "post",
        final_norm=config.do_layer_norm_before,
        biases=BIASES - {"embed", "head"} if config.enable_bias else frozenset(),
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        head="project" if narrow else "plain",
        head_width=config.word_embed_proj_dim if narrow else 0,
    )


OUTER = table("", "", "embed.token=embed_tokens embed.position=embed_positions norm=final_layer_norm")
PROJECT = table("", "", "embed.project=project_in head.dense=project_out")
ROWS = (*OUTER, *PROJECT, *LAYERS, *CROSS, *HEAD)
DECODER = Role("OPTForCausalLM", read, ROWS, ("model.decoder.", "decoder."), (r"^lm_head\.weight$",))

OPT = Family(config=OPTConfig, decoder=DECODER)
FAMILIES = (OPT,)

"""BioGPT (https://arxiv.org/abs/2210.10341): BART's decoder without cross-attention, norms first.

Positions count from the first token of what comes, as in transformers 5; transformers 4 counted from the first that the
mask shows, which differs where a text is padded on the left.
"""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families import bart
from conjoin.families.causal import causal_family
from conjoin.families.opt import LAYER
from conjoin.spec import StackSpec, row, stack, table

__all__ = ["BIOGPT", "FAMILIES", "BioGptConfig"]


@config_class
@dataclass(kw_only=True)
class BioGptConfig(ModelConfig):
    """Sizes and settings of a BioGPT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "biogpt"
    irrelevant: ClassVar[frozenset[str]] = frozenset({"layer_norm_eps"})  # norms have 1e-5, whatever it says
    only: ClassVar[dict[str, tuple[object, ...]]] = {"layerdrop": (0, 0.0)}

    vocab_size: int = 42384
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    activation_dropout: float = 0.0
    max_position_embeddings: int = 1024
    initializer_range: float = 0.02
    scale_embedding: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


def read(config: BioGptConfig) -> StackSpec:
    """BioGPT's facts; causal on either side."""
    return stack(
        config,
        positions=config.max_position_embeddings + 2,
        position_offset=2,
        embed_scale=config.hidden_size**0.5 if config.scale_embedding else 1.0,
        activation=config.hidden_act,
        norm_eps=1e-5,
        norms="pre",
        final_norm=True,
        causal=True,
        dropout=config.hidden_dropout_prob,
        embed_dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        activation_dropout=config.activation_dropout,
        head="plain" if config.is_decoder else "none",
    )


BODY = (*table("", "", "embed.token=embed_tokens embed.position=embed_positions norm=layer_norm"), *LAYER)
HEAD = (row("output.weight", "output_projection.weight", rooted=True),)

BIOGPT = causal_family(
    BioGptConfig,
    "BioGpt",
    read,
    BODY,
    cross=bart.CROSS,
    head=HEAD,
    prefix="biogpt.",
)
FAMILIES = (BIOGPT,)

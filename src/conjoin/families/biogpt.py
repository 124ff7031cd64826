"""BioGPT (https://arxiv.org/abs/2210.10341): BART's decoder without cross-attention, norms first."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families.shared.bart_decoder import bart_decoder_stack
from conjoin.families.shared.bart_rows import CROSS, LAYERS
from conjoin.families.shared.causal import causal_family
from conjoin.spec import StackSpec, row, table

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
    return bart_decoder_stack(
        config,
        embed_scale=config.hidden_size**0.5 if config.scale_embedding else 1.0,
        activation=config.hidden_act,
        dropout=config.hidden_dropout_prob,
        embed_dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        activation_dropout=config.activation_dropout,
    )


BODY = (*table("", "", "embed.token=embed_tokens embed.position=embed_positions norm=layer_norm"), *LAYERS)
HEAD = (row("output.weight", "output_projection.weight", rooted=True),)

BIOGPT = causal_family(BioGptConfig, "BioGpt", read, BODY, cross=CROSS, head=HEAD, prefix="biogpt.")
FAMILIES = (BIOGPT,)

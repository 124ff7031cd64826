"""PLBART (https://arxiv.org/abs/2103.06333): BART of programming languages."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bart
from conjoin.families.shared.bart_like import sided_family

__all__ = ["FAMILIES", "PLBART", "PLBartConfig"]
# What transformers 3 asked of a config where 4 and later know it by the model type: of no meaning for later families.
RELICS = bart.BartConfig.irrelevant | {key for key in bart.BartConfig.only if not key.endswith("_layerdrop")}
NO_LAYER_DROP: dict[str, tuple[object, ...]] = {"encoder_layerdrop": (0, 0.0), "decoder_layerdrop": (0, 0.0)}


@config_class
@dataclass(kw_only=True)
class PLBartConfig(bart.BartConfig):
    """Sizes and settings of a PLBART, with transformers' names and defaults."""

    model_type: ClassVar[str] = "plbart"
    attribute_map: ClassVar[dict[str, str]] = {"hidden_size": "d_model", "initializer_range": "init_std"}
    irrelevant: ClassVar[frozenset[str]] = RELICS
    only: ClassVar[dict[str, tuple[object, ...]]] = NO_LAYER_DROP

    vocab_size: int = 50005
    encoder_layers: int = 6
    encoder_ffn_dim: int = 3072
    encoder_attention_heads: int = 12
    decoder_layers: int = 6
    decoder_ffn_dim: int = 3072
    decoder_attention_heads: int = 12
    d_model: int = 768
    attention_dropout: float = 0.1
    scale_embedding: bool = True
    decoder_start_token_id: int | None = None


PLBART = sided_family(PLBartConfig, "PLBart", bart.read)
FAMILIES = (PLBART,)

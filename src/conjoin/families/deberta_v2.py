"""DeBERTa-v2 and v3 (https://arxiv.org/abs/2111.09543): DeBERTa with shared far distances, and a convolution where asked."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families.deberta import DebertaConfig
from conjoin.families.shared.bert_like import bert_encoder
from conjoin.families.shared.bert_rows import LAYER
from conjoin.families.shared.deberta_rows import EMBEDDINGS, LAYERS, OTHERS
from conjoin.families.shared.disentangled import disentangled, disentangled_stack
from conjoin.spec import Convolution, StackSpec, table

__all__ = ["DEBERTA_V2", "FAMILIES", "DebertaV2Config"]


@config_class
@dataclass(kw_only=True)
class DebertaV2Config(DebertaConfig):
    """Sizes and settings of a DeBERTa-v2 or v3, with transformers' names and defaults."""

    model_type: ClassVar[str] = "deberta-v2"
    only: ClassVar[dict[str, tuple[object, ...]]] = {"conv_groups": (1,), "talking_head": (False,)}
    unless_none: ClassVar[tuple[str, ...]] = ("attention_head_size", "conv_kernel_size", "embedding_size")

    vocab_size: int = 128100
    hidden_size: int = 1536
    num_hidden_layers: int = 24
    num_attention_heads: int = 24
    intermediate_size: int = 6144
    position_buckets: int | None = -1
    share_att_key: bool = False
    norm_rel_ebd: str = "none"
    attention_head_size: int | None = None
    conv_kernel_size: int | None = None
    conv_act: str = "tanh"


def read(config: DebertaV2Config) -> StackSpec:
    """The facts of an encoder. Raises ConfigError for heads that are not the width, and for an even kernel."""
    size = config.hidden_size // config.num_attention_heads
    if config.attention_head_size not in (None, size):
        raise ConfigError(f'deberta-v2: "attention_head_size" is {config.attention_head_size}; {size} was expected.')
    kernel = config.conv_kernel_size or 0
    if kernel > 0 and kernel % 2 == 0:
        raise ConfigError(f'deberta-v2: "conv_kernel_size" is {kernel}; 0 or an odd number was expected.')
    norms = [one.strip().lower() for one in config.norm_rel_ebd.split("|")]
    normed, shared = "layer_norm" in norms, config.share_att_key
    return disentangled_stack(
        config,
        attention=disentangled(config, config.position_buckets or -1, shared=shared, norm=normed),
        convolution=Convolution(kernel, config.conv_act) if kernel > 0 else None,
    )


BODY = (
    *EMBEDDINGS,
    *LAYERS,
    *table(
        "layers.{}.attention.",
        LAYER + "attention.self.",
        "q=query_proj k=key_proj v=value_proj c2p=pos_key_proj p2c=pos_query_proj",
    ),
    *table("shared.", "encoder.", "table=rel_embeddings norm=LayerNorm"),
    *table("layers.0.", "encoder.", "convolution=conv.conv convolution.norm=conv.LayerNorm"),
)

DEBERTA_V2 = bert_encoder(DebertaV2Config, "DebertaV2Model", "deberta.", read, BODY, OTHERS)
FAMILIES = (DEBERTA_V2,)

"""ModernBERT (https://arxiv.org/abs/2412.13663): an encoder of gated feed-forwards, most layers of which see what is near."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.modernbert_layers import AlternatingConfig
from conjoin.families.shared.modernbert_like import BODY, HEADS, modernbert_stack
from conjoin.spec import Family, Role, table

__all__ = ["FAMILIES", "MODERNBERT", "ModernBertConfig"]


@config_class
@dataclass(kw_only=True)
class ModernBertConfig(AlternatingConfig):
    """Sizes and settings of a ModernBERT, with the names and defaults of transformers 4 and 5."""

    model_type: ClassVar[str] = "modernbert"
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "classifier_dropout classifier_pooling cls_token_id deterministic_flash_attn initializer_cutoff_factor "
        "layer_norm_eps reference_compile repad_logits_with_grad sparse_pred_ignore_index sparse_prediction".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"position_embedding_type": ("absolute", "rope", "sans_pos", None)}

    vocab_size: int = 50368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_attention_heads: int = 12
    hidden_activation: str = "gelu"
    max_position_embeddings: int = 8192
    initializer_range: float = 0.02
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    attention_dropout: float = 0.0
    embedding_dropout: float = 0.0
    mlp_bias: bool = False
    mlp_dropout: float = 0.0
    decoder_bias: bool = True
    classifier_bias: bool = False
    classifier_activation: str = "gelu"
    pad_token_id: int | None = 50283
    bos_token_id: int | None = 50281
    eos_token_id: int | list[int] | None = 50282


FUSED = table("layers.{}.attention.", "layers.{}.attn.", "q+k+v=Wqkv")

MODERNBERT = Family(
    config=ModernBertConfig,
    encoder=Role("ModernBertModel", modernbert_stack, (*BODY, *FUSED), ("", "model."), HEADS),
)
FAMILIES = (MODERNBERT,)

"""The config of an encoder-decoder of BART's kind: sizes of either side."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.families.shared.bart_fields import BartFieldsConfig
from conjoin.spec import RoleName

__all__ = ["SidedConfig"]


@dataclass(kw_only=True)
class SidedConfig(BartFieldsConfig):
    """What the configs of BART, its relatives and LED have in common, with BART's defaults."""

    attribute_map: ClassVar[dict[str, str]] = {"hidden_size": "d_model"}
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "classifier_dropout classif_dropout num_hidden_layers extra_pos_embeddings force_bos_token_to_be_generated "
        "output_past replacing_rate save_step student_decoder_layers student_encoder_layers".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {
        "add_bias_logits": (False,),
        "add_final_layer_norm": (False,),
        "decoder_layerdrop": (0, 0.0),
        "encoder_layerdrop": (0, 0.0),
        "normalize_before": (False,),
        "normalize_embedding": (True,),
        "static_position_embeddings": (False,),
    }

    vocab_size: int = 50265
    encoder_layers: int = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    decoder_layers: int = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    d_model: int = 1024
    activation_dropout: float = 0.0
    is_encoder_decoder: bool = True
    decoder_start_token_id: int | None = 2

    def by_role(self, role: RoleName, name: str) -> str:
        """`num_hidden_layers` and `num_attention_heads` mean those of the side that is used."""
        sided = {"num_hidden_layers": "layers", "num_attention_heads": "attention_heads"}
        return f"{role}_{sided[name]}" if name in sided else name

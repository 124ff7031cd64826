"""ProphetNet (https://arxiv.org/abs/2001.04063): its encoder, or its decoder, whose first predicting stream makes logits.

Logits are those of transformers' generation, token by token. Its pass over several tokens at once differs: there it reads
what predicting streams make of distances in another order than it wrote. Joins are trained on the next token alone.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.bart_fields import BartFieldsConfig
from conjoin.families.shared.prophet_rows import ANOTHER, BODY, CROSS, HEAD, PREFIXES, STREAMS
from conjoin.families.shared.prophet_stack import read
from conjoin.spec import Family, Role, RoleName

__all__ = ["FAMILIES", "PROPHETNET", "ProphetNetConfig"]


@config_class
@dataclass(kw_only=True)
class ProphetNetConfig(BartFieldsConfig):
    """Sizes and settings of a ProphetNet, with transformers' names and defaults."""

    model_type: ClassVar[str] = "prophetnet"
    irrelevant: ClassVar[frozenset[str]] = frozenset("disable_ngram_loss eps num_hidden_layers".split())

    vocab_size: int = 30522
    hidden_size: int = 1024
    encoder_ffn_dim: int = 4096
    num_encoder_layers: int = 12
    num_encoder_attention_heads: int = 16
    decoder_ffn_dim: int = 4096
    num_decoder_layers: int = 12
    num_decoder_attention_heads: int = 16
    max_position_embeddings: int = 512
    ngram: int = 2
    num_buckets: int = 32
    relative_max_distance: int = 128
    attention_dropout: float = 0.1
    activation_dropout: float = 0.1
    is_encoder_decoder: bool = True
    add_cross_attention: bool = True
    decoder_start_token_id: int | None = 0
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1

    def by_role(self, role: RoleName, name: str) -> str:
        """`num_hidden_layers` and `num_attention_heads` mean those of the side that is used."""
        sided = {"num_hidden_layers": "layers", "num_attention_heads": "attention_heads"}
        return f"num_{role}_{sided[name]}" if name in sided else name


PROPHETNET = Family(
    config=ProphetNetConfig,
    encoder=Role("ProphetNetEncoder", partial(read, role="encoder"), BODY, PREFIXES, ANOTHER["encoder"]),
    decoder=Role(
        "ProphetNetForCausalLM",
        partial(read, role="decoder"),
        (*BODY, *STREAMS, *CROSS, HEAD),
        ("prophetnet.decoder.", "decoder.", ""),
        ANOTHER["decoder"],
        "trained",
    ),
)
FAMILIES = (PROPHETNET,)

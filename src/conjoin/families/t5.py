"""T5 (https://arxiv.org/abs/1910.10683): each half of it, with relative positions and RMS norms."""

from dataclasses import dataclass
from typing import ClassVar, Self

from conjoin.config import config_class
from conjoin.families.shared.t5_keys import T5KeysConfig
from conjoin.families.shared.t5_like import t5_family, t5_stack
from conjoin.spec import RoleName

__all__ = ["FAMILIES", "T5", "T5Config"]


@config_class
@dataclass(kw_only=True)
class T5Config(T5KeysConfig):
    """Sizes and settings of a T5, with transformers' names and defaults.

    `tie_word_embeddings` tells T5 1.0, which scales its logits, from 1.1, which has an output embedding of its own.
    """

    model_type: ClassVar[str] = "t5"
    whole: ClassVar[bool] = True

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "relu"
    dense_act_fn: str | None = None  # these two: what feed_forward_proj says, unless they are given
    is_gated_act: bool | None = None
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    is_encoder_decoder: bool = True
    decoder_start_token_id: int | None = 0

    def by_role(self, role: RoleName, name: str) -> str:
        """`num_hidden_layers` means those of the side that is used."""
        return "num_decoder_layers" if (role, name) == ("decoder", "num_hidden_layers") else name

    def of_side(self, role: RoleName) -> Self:
        """A decoder that does not say how many layers it has, has as many as the encoder."""
        return self.copy(num_decoder_layers=self.num_decoder_layers or self.num_layers)


T5 = t5_family(T5Config, "T5", t5_stack)
FAMILIES = (T5,)

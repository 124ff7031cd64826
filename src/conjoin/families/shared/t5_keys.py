"""The keys of a T5's config: other names, those of no meaning, and what transformers 5 calls differently."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from conjoin.config import ModelConfig

__all__ = ["T5KeysConfig"]


@dataclass(kw_only=True)
class T5KeysConfig(ModelConfig):
    """A config that reads these keys."""

    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "head_dim": "d_kv",
        "intermediate_size": "d_ff",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
    }
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "classifier_dropout n_positions output_past scalable_attention".split()
    )
    unless_none: ClassVar[tuple[str, ...]] = ("dense_act_fn", "is_gated_act")

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """As of any config; transformers 5 calls T5 1.1 tied, and tells it by `scale_decoder_outputs`."""
        fields = dict(found)
        if fields.pop("scale_decoder_outputs", True) is False:
            fields["tie_word_embeddings"] = False
        return super().from_dict(fields)

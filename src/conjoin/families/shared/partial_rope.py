"""What Phi, StableLM and GPT-NeoX have in common: layer norms, and rotary positions in the first part of each head."""

from dataclasses import dataclass
from typing import Any

from conjoin.families.shared.causal import causal_stack
from conjoin.families.shared.rope import RopeConfig, rotary
from conjoin.spec import StackSpec

__all__ = ["PartialConfig", "PartialRopeConfig", "partial_stack"]


@dataclass(kw_only=True)
class PartialRopeConfig(RopeConfig):
    """A config of which only the first part of each head turns; the share may stand in `rope_parameters`, too."""

    partial_rotary_factor: float = 1.0

    def rope(self, layer_type: str | None = None) -> dict[str, Any]:
        """The parameters, with the share."""
        return {"partial_rotary_factor": self.partial_rotary_factor, **super().rope(layer_type)}

    def to_dict(self) -> dict[str, Any]:
        """Both ways, so that transformers 4 and 5 read the same."""
        return {**super().to_dict(), "partial_rotary_factor": self.rope()["partial_rotary_factor"]}


@dataclass(kw_only=True)
class PartialConfig(PartialRopeConfig):
    """What the configs of Phi, StableLM and GPT-NeoX have in common."""

    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    tie_word_embeddings: bool = False


def partial_stack(config: Any, **facts: Any) -> StackSpec:
    """The facts in common, with further ones."""
    turn = rotary(config, config.hidden_size // config.num_attention_heads)
    return causal_stack(
        config,
        limit=config.max_position_embeddings,
        rotary=(turn,) * config.num_hidden_layers,
        activation=config.hidden_act,
        norm_eps=config.layer_norm_eps,
        attention_dropout=config.attention_dropout,
        **facts,
    )

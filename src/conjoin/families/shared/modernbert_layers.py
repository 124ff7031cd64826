"""ModernBERT's layers: one in so many sees all tokens, the others what is near, and positions turn at a speed for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.errors import ConfigError
from conjoin.families.shared.rope import RopeConfig
from conjoin.families.shared.windows import FULL, SLIDING, layer_types

__all__ = ["AlternatingConfig"]


def every(step: int, layers: int) -> list[str]:
    """The kinds of layers where one in so many, the first included, sees all tokens."""
    return [SLIDING if i % step else FULL for i in range(layers)]


@dataclass(kw_only=True)
class AlternatingConfig(RopeConfig):
    """What the config of a ModernBERT says of its layers, with the names and defaults of transformers 4 and 5."""

    num_hidden_layers: int = 22
    local_attention: int = 128
    layer_types: list[str] | None = None
    global_attn_every_n_layers: int = 3
    global_rope_theta: float = 160000.0
    local_rope_theta: float = 10000.0

    def kinds(self) -> list[str]:
        """What each layer sees. Raises ConfigError where the config does not say it of every layer."""
        return layer_types(self, every(self.global_attn_every_n_layers, self.num_hidden_layers))

    def of_layers(self, layers: Sequence[int]) -> dict[str, Any]:
        """The kinds of the layers that are kept. Raises ConfigError where the first, which has no norm, is another."""
        if layers[0] != 0:
            raise ConfigError(f"{self.model_type}: layers {list(layers)} were to be kept; the first must be layer 0.")
        kinds = self.kinds()
        return {"layer_types": [kinds[i] for i in layers]}

    def rope(self, layer_type: str | None = None) -> dict[str, Any]:
        """The parameters of a kind of layer; transformers 4 has a key of its own for how fast each turns."""
        if layer_type is None:
            return dict(self.rope_parameters or {})
        theta = self.global_rope_theta if layer_type == FULL else self.local_rope_theta
        own = (self.rope_parameters or {}).get(layer_type) or {}
        return {"rope_theta": theta, **own, **(self.rope_scaling or {})}

    def to_dict(self) -> dict[str, Any]:
        """Both ways, so that transformers 4 and 5 read the same; 4 knows layers that see all only at equal steps."""
        found, kinds = super().to_dict(), self.kinds()
        steps = [n for n in range(1, len(kinds) + 1) if every(n, len(kinds)) == kinds]
        found["global_attn_every_n_layers"] = steps[0] if steps else self.global_attn_every_n_layers
        found["layer_types"] = kinds
        found["rope_parameters"] = {kind: {"rope_type": "default", **self.rope(kind)} for kind in (FULL, SLIDING)}
        found["global_rope_theta"], found["local_rope_theta"] = (
            self.rope(kind)["rope_theta"] for kind in (FULL, SLIDING)
        )
        return found

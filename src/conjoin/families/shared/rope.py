"""Rotary positions as configs describe them: `rope_parameters` (transformers 5), `rope_theta` and `rope_scaling` (4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import ModelConfig
from conjoin.errors import ConfigError
from conjoin.families.shared.rope_scaling import slowed, yarn
from conjoin.spec import Rotary

__all__ = ["RopeConfig", "rotary"]

KEYS = frozenset(
    "rope_type type rope_theta partial_rotary_factor factor low_freq_factor high_freq_factor "
    "original_max_position_embeddings attention_factor beta_fast beta_slow mscale mscale_all_dim truncate".split()
)


@dataclass(kw_only=True)
class RopeConfig(ModelConfig):
    """A config with rotary positions; either of transformers' two ways to say how fast they turn."""

    unless_none: ClassVar[tuple[str, ...]] = ("rope_theta", "rope_scaling", "rope_parameters")

    rope_theta: float | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None

    def rope(self, layer_type: str | None = None) -> dict[str, Any]:
        """The parameters of a kind of layer, or of all."""
        found = dict(self.rope_parameters or self.rope_scaling or {})
        if layer_type is not None and isinstance(found.get(layer_type), Mapping):
            found = dict(found[layer_type])
        if self.rope_theta is not None:
            found.setdefault("rope_theta", self.rope_theta)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Both ways, so that transformers 4 and 5 read the same."""
        found, rope = super().to_dict(), self.rope()
        if self.rope_parameters and not any(isinstance(one, Mapping) for one in rope.values()):
            found["rope_theta"] = rope.get("rope_theta", 10000.0)
            scaling = {k: v for k, v in rope.items() if k not in ("rope_theta", "partial_rotary_factor")}
            if scaling.get("rope_type", "default") != "default":
                found["rope_scaling"] = scaling
        return found


def rotary(config: RopeConfig, size: int, layer_type: str | None = None, theta: float = 10000.0) -> Rotary:
    """The positions of heads of `size` numbers. Raises ConfigError, by the key, for a kind that is not implemented."""
    rope = config.rope(layer_type)
    for key in rope.keys() - KEYS:
        raise ConfigError(f'{config.model_type}: "{key}" in rope_parameters (value {rope[key]!r}) is not known.')
    kind = rope.get("rope_type", rope.get("type", "default"))
    turning = int(size * float(rope.get("partial_rotary_factor", 1.0)))
    base = float(rope.get("rope_theta", theta))
    plain = [base ** (-i / turning) for i in range(0, turning, 2)]
    if 2 * len(plain) > size:
        raise ConfigError(f"{config.model_type}: heads have {size} numbers, of which {turning} should turn in pairs.")
    if kind in ("default", "linear"):
        return Rotary(tuple(one / (rope["factor"] if kind == "linear" else 1.0) for one in plain))
    if kind == "llama3":
        return Rotary(tuple(slowed(one, rope) for one in plain))
    if kind == "yarn":
        mixed, scale = yarn(rope, plain, base, turning, config.max_position_embeddings)
        return Rotary(mixed, scale=scale)
    known = '"default", "linear", "llama3" or "yarn"'
    raise ConfigError(f'{config.model_type}: "rope_type" is {kind!r}; {known} is implemented.')

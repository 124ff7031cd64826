"""Rotary positions as configs describe them: `rope_parameters` (transformers 5), `rope_theta` and `rope_scaling` (4)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import ModelConfig
from conjoin.errors import ConfigError
from conjoin.spec import Rotary

__all__ = ["PartialRopeConfig", "RopeConfig", "rotary"]

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


def rotary(config: RopeConfig, size: int, layer_type: str | None = None, theta: float = 10000.0) -> Rotary:
    """The positions of heads of `size` numbers. Raises ConfigError, by the key, for a kind that is not implemented."""
    rope = config.rope(layer_type)
    for key in rope.keys() - KEYS:
        raise ConfigError(f'{config.model_type}: "{key}" in rope_parameters (value {rope[key]!r}) is not known.')
    kind = rope.get("rope_type", rope.get("type", "default"))
    turning = int(size * float(rope.get("partial_rotary_factor", 1.0)))
    base = float(rope.get("rope_theta", theta))
    plain = [base ** (-2 * i / turning) for i in range(turning // 2)]
    if kind == "default":
        return Rotary(tuple(plain))
    if kind == "linear":
        return Rotary(tuple(one / rope["factor"] for one in plain))
    if kind == "llama3":
        return Rotary(tuple(slowed(one, rope) for one in plain))
    if kind == "yarn":
        return yarn(config, rope, plain, base, turning)
    raise ConfigError(
        f'{config.model_type}: "rope_type" is {kind!r}; "default", "linear", "llama3" or "yarn" is implemented.'
    )


def slowed(frequency: float, rope: Mapping[str, Any]) -> float:
    """Llama 3.1's scaling: long waves are slowed by the factor, short ones stay, those between are mixed."""
    wave = 2 * math.pi / frequency
    original, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
    if wave < original / high:
        return frequency
    if wave > original / low:
        return float(frequency / rope["factor"])
    share = (original / wave - low) / (high - low)
    return float((1 - share) * frequency / rope["factor"] + share * frequency)


def yarn(config: RopeConfig, rope: Mapping[str, Any], plain: list[float], base: float, turning: int) -> Rotary:
    """YaRN (https://arxiv.org/abs/2309.00071): slow pairs are interpolated, fast ones stay, and scores are sharpened."""
    original = rope.get("original_max_position_embeddings") or config.max_position_embeddings
    factor = float(rope["factor"])

    def pair(turns: float) -> float:
        return turning * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair(rope.get("beta_fast") or 32.0), pair(rope.get("beta_slow") or 1.0)
    if rope.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, turning - 1)
    ramp = [min(max((i - first) / (max(last - first, 0.001)), 0.0), 1.0) for i in range(len(plain))]
    mixed = tuple(one / factor * share + one * (1 - share) for one, share in zip(plain, ramp, strict=True))
    return Rotary(mixed, scale=yarn_scale(rope, factor))


def yarn_scale(rope: Mapping[str, Any], factor: float) -> float:
    """What YaRN multiplies sines and cosines by."""
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])

    def sharpened(by: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return sharpened(rope["mscale"]) / sharpened(rope["mscale_all_dim"])
    return sharpened(1.0)

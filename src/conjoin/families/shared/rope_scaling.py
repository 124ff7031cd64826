"""How rotary positions are slowed for longer texts than a model was first trained on: Llama 3.1's way, and YaRN."""

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["slowed", "yarn"]


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


def yarn(
    rope: Mapping[str, Any], plain: list[float], base: float, turning: int, longest: int
) -> tuple[tuple[float, ...], float]:
    """YaRN (https://arxiv.org/abs/2309.00071): slow pairs are interpolated, fast ones stay, and scores are sharpened.

    Frequencies, and what sines and cosines are multiplied by. `turning` is how many numbers of a head turn, `longest` the
    length in tokens that stands for the original one where there is none.
    """
    original = rope.get("original_max_position_embeddings") or longest
    factor = float(rope["factor"])

    def pair(turns: float) -> float:
        return turning * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair(rope.get("beta_fast") or 32.0), pair(rope.get("beta_slow") or 1.0)
    if rope.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, turning - 1)
    ramp = [min(max((i - first) / (max(last - first, 0.001)), 0.0), 1.0) for i in range(len(plain))]
    mixed = tuple(one / factor * share + one * (1 - share) for one, share in zip(plain, ramp, strict=True))
    return mixed, yarn_scale(rope, factor)


def yarn_scale(rope: Mapping[str, Any], factor: float) -> float:
    """What YaRN multiplies sines and cosines by."""
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])

    def sharpened(by: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return sharpened(rope["mscale"]) / sharpened(rope["mscale_all_dim"])
    return sharpened(1.0)

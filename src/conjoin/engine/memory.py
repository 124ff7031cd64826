"""What the engine keeps of a source, as every other decoder keeps it."""

from dataclasses import replace
from typing import Any

from conjoin.seq2seq.cache import DecoderCache

__all__ = ["unpacked"]

Array = Any  # of NumPy or PyTorch


def unpacked(cache: DecoderCache) -> DecoderCache:
    """A cache whose keys and values of the source are (B, H, S, D), also where the engine kept them in panels."""
    if not cache.cross or cache.cross[0][0].ndim == 4:
        return cache
    size = cache.own[0][0].shape[-1]
    return replace(cache, cross=[(keys_of(k, v.shape[3]), values_of(v, size)) for k, v in cache.cross])


def keys_of(panels: Array, tokens: int) -> Array:
    """(B, H, S / 32, D, 32) -> (B, H, S, D)."""
    batch, heads, _, size, _ = panels.shape
    return panels.swapaxes(3, 4).reshape(batch, heads, -1, size)[:, :, :tokens]


def values_of(panels: Array, size: int) -> Array:
    """(B, H, D / 32, S, 32) -> (B, H, S, D)."""
    batch, heads, _, tokens, _ = panels.shape
    return panels.swapaxes(2, 3).reshape(batch, heads, tokens, -1)[..., :size]

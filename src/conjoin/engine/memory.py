"""What the engine keeps of a source, as every other decoder keeps it."""

from dataclasses import replace

from torch import Tensor

from conjoin.seq2seq.cache import DecoderCache

__all__ = ["unpacked"]


def unpacked(cache: DecoderCache) -> DecoderCache:
    """A cache whose keys and values of the source are (B, H, S, D), also where the engine kept them in panels."""
    if not cache.cross or cache.cross[0][0].ndim == 4:
        return cache
    size = cache.own[0][0].shape[-1]
    return replace(cache, cross=[(keys_of(k, v.shape[3]), values_of(v, size)) for k, v in cache.cross])


def keys_of(panels: Tensor, tokens: int) -> Tensor:
    """(B, H, S / 32, D, 32) -> (B, H, S, D)."""
    return panels.transpose(3, 4).flatten(2, 3)[:, :, :tokens]


def values_of(panels: Tensor, size: int) -> Tensor:
    """(B, H, D / 32, S, 32) -> (B, H, S, D)."""
    return panels.transpose(2, 3).flatten(3)[..., :size]

"""What a decoder keeps between calls."""

from dataclasses import dataclass
from typing import Any

from conjoin.blocks import Cache

__all__ = ["DecoderCache"]

Array = Any


@dataclass
class DecoderCache:
    """The past of a decoder: keys and values of its own tokens, and of the source, by layer.

    `own` has slots for `own[0][0].shape[2]` tokens, of which `length` are filled. `cross` and `memory_mask` are the
    source's, computed once.
    """

    own: list[Cache]
    length: Any  # a whole number, or an array of one within a traced call
    cross: list[Cache] | None = None
    memory_mask: Array | None = None

    def get_seq_length(self) -> Any:
        """How many tokens it holds."""
        return self.length

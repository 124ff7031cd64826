"""Which sources are generated together: those of like lengths, as many as a number of texts or of tokens allows."""

from collections.abc import Sequence
from dataclasses import dataclass

from conjoin.errors import InputError

__all__ = ["BatchLimit"]

MAX_BATCH_TOKENS = 2048  # measured: docs/decisions.md
FEW = 8  # sources that stay together whatever runs beside them
LEAST = 32  # tokens that a source counts as at least: what is written of it takes room too


@dataclass(frozen=True)
class BatchLimit:
    """How much is generated at once: so many texts, or where that is None, so many tokens."""

    texts: int | None = None
    tokens: int = MAX_BATCH_TOKENS

    def or_asked(self, batch_size: object, max_batch_tokens: object) -> "BatchLimit":
        """What a caller asked for; this where nothing. Raises InputError for both, and for what is no number from 1 on."""
        if batch_size is not None and max_batch_tokens is not None:
            raise InputError(
                f"batch_size is {batch_size!r} and max_batch_tokens {max_batch_tokens!r}; one of them was expected."
            )
        if batch_size is not None:
            return BatchLimit(texts=checked("batch_size", batch_size, "texts"))
        if max_batch_tokens is not None:
            return BatchLimit(tokens=checked("max_batch_tokens", max_batch_tokens, "tokens"))
        return self

    def batches(self, lengths: Sequence[int], lanes: int = 1) -> list[list[int]]:
        """The numbers of sources of some lengths (tokens), batch by batch, longest first; equal lengths in order.

        Tokens are those of the sources, padded to the longest of their batch; a batch has at least one source.
        Where several run side by side, in lanes, the last ones become smaller, so that all lanes end together.
        """
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        found, start = [], 0
        while start < len(order):
            longest = max(LEAST, lengths[order[start]])
            size = self.texts or max(1, self.tokens // longest)
            if lanes > 1 and self.texts is None:
                size = min(size, max(FEW, -(-(len(order) - start) // lanes)))
            found.append(order[start : start + size])
            start += size
        return found


def checked(name: str, size: object, unit: str) -> int:
    """A number of texts or tokens from 1 on. Raises InputError otherwise."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"{name} is {size!r}; a whole number of {unit} from 1 on was expected.")
    return size

"""A padded batch without its padding: the tokens of all sequences one after another, so that products see nothing else."""

from dataclasses import dataclass

import torch
from torch import Tensor

from conjoin.blocks import Inputs, Sight

__all__ = ["Real", "real_tokens"]

WORTH = 0.98  # share of tokens above which padding costs less than leaving it out


@dataclass(frozen=True)
class Real:
    """Which of (B, S) are tokens, and the rows (B + 1,) at which sequences begin when only tokens are kept."""

    seen: Tensor
    starts: Tensor

    def sights(self, padded: list[Sight]) -> list[Sight]:
        """What layers see, with rotary positions for each token that is kept; masks and biases stay by sequence."""
        turns = {id(sight.turn): sight.turn for sight in padded if sight.turn is not None}
        kept = {key: (self.kept(cosines), self.kept(sines)) for key, (cosines, sines) in turns.items()}
        return [sight if sight.turn is None else sight._replace(turn=kept[id(sight.turn)]) for sight in padded]

    def kept(self, table: Tensor) -> Tensor:
        """(1 or B, 1, S, P) -> (1, 1, N, P)."""
        return table.expand(len(self.seen), *table.shape[1:])[:, 0][self.seen][None, None]


def real_tokens(given: Inputs) -> Real | None:
    """The tokens of a pass without a cache whose padding stands at the end of each sequence; None where there is hardly any."""
    mask = given.mask
    if given.cache is not None or given.memory is not None or mask is None or mask.shape[1:3] != (1, 1):
        return None
    seen = mask[:, 0, 0]
    if seen.shape != given.embeddings.shape[:2]:
        return None
    lengths = seen.sum(1)
    if int(lengths.sum()) > WORTH * seen.numel() or int(lengths.min()) == 0:
        return None
    if not torch.equal(seen, torch.arange(seen.shape[1]) < lengths[:, None]):
        return None
    return Real(seen, torch.nn.functional.pad(lengths.cumsum(0), (1, 0)))

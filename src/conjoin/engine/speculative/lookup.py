"""Drafts found by lookup: where the last tokens stood before, in the source or in what was written, what came after them.

Saxena (2023), https://github.com/apoorvumang/prompt-lookup-decoding. Of all places the one that agrees with most of the
last tokens is taken.
"""

import torch
from torch import Tensor

from conjoin.decoding.settings import Settings

__all__ = ["Lookup"]


class Lookup:
    """Drafts of prompt_lookup_num_tokens for rows whose last tokens, max_matching_ngram_size of them or fewer, stood before."""

    def __init__(self, settings: Settings, source: Tensor | None, seen: Tensor | None) -> None:
        """`source` (B, S), None where its tokens are not the target's, and which of its tokens may be seen."""
        self.count, self.size = settings.prompt_lookup_num_tokens, settings.max_matching_ngram_size
        self.source = source
        if source is not None:
            self.seen = torch.ones_like(source, dtype=torch.bool) if seen is None else seen

    def draft(self, ids: Tensor, length: Tensor, row: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, D) that may come after `length` (B,) of ids (B, L), and how many (B,) of them count, at most `most`."""
        written = torch.arange(ids.shape[1], device=ids.device) < length[:, None]
        text, real = ids, written
        if self.source is not None:
            text, real = torch.cat([ids, self.source], 1), torch.cat([written, self.seen], 1)
        agrees = self.agreement(text, real, ids, length)
        width = text.shape[1]
        # Of equals the last, so that the source goes before what was written.
        best = (agrees * width + torch.arange(width, device=ids.device)).argmax(1, keepdim=True)
        after = best + 1 + torch.arange(self.count, device=ids.device)
        inside = (after < width) & ((after < ids.shape[1]) == (best < ids.shape[1])) & (agrees.gather(1, best) > 0)
        after = after.clamp(max=width - 1)
        counts = (inside & real.gather(1, after)).long().cumprod(1).sum(1)
        return text.gather(1, after), counts.minimum(most)

    def agreement(self, text: Tensor, real: Tensor, ids: Tensor, length: Tensor) -> Tensor:
        """With how many of the last tokens, up to `size`, each place of a text (B, W) agrees: it and those before it."""
        same, agrees = real, torch.zeros_like(text)
        border = torch.arange(text.shape[1], device=text.device) - ids.shape[1]
        for back in range(self.size):
            last = ids.gather(1, (length - 1 - back).clamp(min=0)[:, None])
            shifted = torch.nn.functional.pad(text, (back, 0), value=-1)[:, : text.shape[1]]
            known = torch.nn.functional.pad(real, (back, 0), value=False)[:, : text.shape[1]]
            inside = (border >= back) | (border < 0)
            same = same & known & inside & (shifted == last) & (length > back)[:, None]
            agrees = agrees + same
        # There must be something after it: where what was written ends, the source does not go on.
        following = torch.nn.functional.pad(real, (0, 1), value=False)[:, 1:] & (border != -1)
        return agrees * following

    def learn(self, made: Tensor, counts: Tensor) -> None:
        """Nothing: what is looked up does not depend on what became of the last draft."""

    def select(self, index: Tensor) -> None:
        """Only some rows from here on."""
        if self.source is not None:
            self.source, self.seen = self.source[index], self.seen[index]

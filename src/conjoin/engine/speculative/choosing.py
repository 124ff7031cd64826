"""What a model chooses at several places of each row, under the rules of a call: the likeliest token, or one drawn at random."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from conjoin.backends import torch as ops
from conjoin.decoding.generate import rules_of
from conjoin.decoding.rules import Rule
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.decoding.stopping import ends

__all__ = ["Choice", "Chooser"]


class Choice(NamedTuple):
    """Of each place, (B, T)."""

    token: Tensor
    chance: Tensor  # its probability
    ends: Tensor  # whether it ends the sequence


@dataclass
class Chooser:
    """`choose` gives for each place the token that a step of plain greedy search or sampling would choose there.

    Rules read one length at a time, so that the places of all rows that are of one length are chosen together. The noise of
    a place is drawn once, in the order of places, as plain sampling draws it: a draft and its check see the same, and so
    agree wherever their distributions do, while what is chosen is distributed as the model says, whatever drafted it
    (Daliri, Musco and Suresh, 2024, https://arxiv.org/abs/2408.07978).
    """

    settings: Settings
    state: State  # of the prompt, whose rows are the sources
    rule_ids: Tensor | None  # (B, S) the sources' tokens as rules see them
    noise: Callable[[Tensor, int, Tensor], Tensor]
    drawn: dict[int, Tensor] = field(default_factory=dict)
    next: int = 0  # the place of which noise is drawn next

    def __post_init__(self) -> None:
        self.next = self.settings.prompt

    def choose(self, logits: Tensor, ids: Tensor, lengths: Tensor, row: Tensor) -> "Choice":
        """What comes after `lengths` (B, T) of ids (B, L): logits (B, T, V), sources (B,)."""
        scores = logits.float()
        if self.plain(row):
            best, token = scores.max(-1)
            return Choice(token, (best - scores.logsumexp(-1)).exp(), ops.is_in(token, self.settings.eos))
        token, chance = torch.empty_like(lengths), torch.empty_like(lengths, dtype=torch.float32)
        ended = torch.empty_like(lengths, dtype=torch.bool)
        for length in torch.unique(lengths).tolist():
            which, place = (lengths == length).nonzero(as_tuple=True)
            now = replace(self.state, ids=ids[which][:, None], length=length, row=row[which])
            likely, chances = self.scored(now, scores[which, place][:, None])
            best = likely.argmax(-1)
            written = ops.set_column(now.ids, length, best)
            token[which, place] = best[:, 0]
            chance[which, place] = chances.gather(-1, best[..., None])[:, 0, 0]
            ended[which, place] = ends(ops, self.settings, now, written, best)[:, 0]
        return Choice(token, chance, ended)

    def plain(self, row: Tensor) -> bool:
        """Whether the likeliest token is chosen as it is, and only its number says whether it ends."""
        settings = self.settings
        if settings.do_sample or settings.stop_strings or settings.callbacks.deadline is not None:
            return False
        return not self.rules(replace(self.state, row=row))[0]

    def rules(self, now: State) -> tuple[Sequence[Rule], Sequence[Rule]]:
        """The rules of some sources, and those before a token is drawn."""
        rules, warps = rules_of(ops, self.settings, self.rule_ids, now, [], [])
        return rules(now), warps(now)

    def scored(self, now: State, scores: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, V) of which the largest is chosen, and probabilities, of sources that are of one length."""
        rules, warps = self.rules(now)
        for rule in (*rules, *warps):
            scores = rule(now.ids, now.length, scores)
        chances = scores.softmax(-1)
        if not self.settings.do_sample:
            return scores, chances
        return chances / self.noise_at(now.length, now.row, scores), chances

    def noise_at(self, length: int, row: Tensor, like: Tensor) -> Tensor:
        """The noise (B, 1, V) of some sources at a place."""
        every = self.state.row
        while self.next <= length:
            self.drawn[self.next] = self.noise(every, self.next, like[:1].expand(len(every), *like.shape[1:]))
            self.next += 1
        drawn = self.drawn[length]
        return drawn if len(drawn) == 1 else drawn[row]

    def forget(self, before: int) -> None:
        """The noise of places that no row will ask for again."""
        self.drawn = {length: noise for length, noise in self.drawn.items() if length >= before}

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
    ends: Tensor  # whether it ends the sequence
    scores: Tensor  # (B, T, V) after all rules

    def chance(self) -> Tensor:
        """The tokens' probabilities (B, T)."""
        return self.scores.softmax(-1).gather(-1, self.token[..., None])[..., 0]


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

    def choose(self, logits: Tensor, ids: Tensor, lengths: Tensor, row: Tensor, draft: Tensor | None = None) -> Choice:
        """What comes after `lengths` (B, T) of ids (B, L): logits (B, T, V), sources (B,).

        Where there is a `draft` (B, T - 1), a row's places count up to the first at which something else is chosen.
        """
        scores = logits.float()
        if self.plain(row):
            token = ops.argmax(scores)
            return Choice(token, ops.is_in(token, self.settings.eos), scores)
        token, ended = torch.zeros_like(lengths), torch.zeros_like(lengths, dtype=torch.bool)
        going = torch.ones_like(row, dtype=torch.bool)
        for length in torch.unique(lengths).tolist():
            which, place = ((lengths == length) & going[:, None]).nonzero(as_tuple=True)
            if not len(which):
                continue
            now = replace(self.at_rows(row[which]), ids=ids[which][:, None], length=length)
            ruled = self.ruled(now, scores[which, place][:, None])
            best = ops.argmax(self.wanted(now, ruled))
            scores[which, place] = ruled[:, 0]
            token[which, place] = best[:, 0]
            ended[which, place] = ends(ops, self.settings, now, ops.set_column(now.ids, length, best), best)[:, 0]
            if draft is not None and draft.shape[1]:
                last = place == draft.shape[1]
                going[which] = last | (best[:, 0] == draft[which, place.clamp(max=draft.shape[1] - 1)])
        return Choice(token, ended, scores)

    def plain(self, row: Tensor) -> bool:
        """Whether the likeliest token is chosen as it is, and only its number says whether it ends."""
        settings = self.settings
        if settings.do_sample or settings.stop_strings or settings.callbacks.deadline is not None:
            return False
        return not self.rules(self.at_rows(row))[0]

    def at_rows(self, row: Tensor) -> State:
        """The state with some of the sources, as rules read it."""
        padding = self.state.padding
        return replace(self.state, row=row, padding=None if padding is None else padding[row])

    def rules(self, now: State) -> tuple[Sequence[Rule], Sequence[Rule]]:
        """The rules of some sources, and those before a token is drawn."""
        rules, warps = rules_of(ops, self.settings, self.rule_ids, now, [], [])
        return rules(now), warps(now)

    def ruled(self, now: State, scores: Tensor) -> Tensor:
        """Scores (N, 1, V) of sources that are of one length, after all rules."""
        rules, warps = self.rules(now)
        for rule in (*rules, *warps):
            scores = rule(now.ids, now.length, scores)
        return scores

    def wanted(self, now: State, scores: Tensor) -> Tensor:
        """(N, 1, V) of which the largest is chosen; p / q, q exponential, where a token is drawn with probability p."""
        return scores.softmax(-1) / self.noise_at(now.length, now.row, scores) if self.settings.do_sample else scores

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

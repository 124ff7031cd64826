"""Searches: which tokens come next, a file a search. Each is pure functions over a state.

`first` makes a state ready, `step` turns one with logits into one that is a token longer, `result` reads a finished one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conjoin.decoding.search.beams import Beams, beam, first_beams
from conjoin.decoding.search.constrained import best_of_met, constrained, first_constrained
from conjoin.decoding.search.contrastive import contrast, contrasted, first_contrast
from conjoin.decoding.search.diverse import best_of_groups, diverse, first_groups
from conjoin.decoding.search.single import Grown, first_grown, grow, grown
from conjoin.decoding.search.steps import Result, Rules, best_ended
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State

__all__ = ["Beams", "Grown", "Rules", "Search", "beam", "first_beams", "first_grown", "grow", "search_of"]


@dataclass(frozen=True)
class Search:
    """The functions of a search."""

    first: Callable[[Any, Settings, State], State]  # of (ops, settings, state)
    step: Callable[..., State]  # of (ops, settings, rules, warps, noise, state)
    result: Callable[[Any, Settings, State], Result]


SEARCHES = {
    "single": Search(first_grown, grow, grown),
    "beams": Search(first_beams, beam, best_ended),
    "diverse": Search(first_groups, diverse, best_of_groups),
    "constrained": Search(first_constrained, constrained, best_of_met),
    "contrastive": Search(first_contrast, contrast, contrasted),
}


def search_of(settings: Settings) -> Search:
    """The search that the settings ask for."""
    return SEARCHES[settings.search]

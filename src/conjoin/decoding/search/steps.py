"""What the searches have in common: rules applied, a score that loses to all others, the best that have ended."""

from collections.abc import Callable, Sequence
from typing import Any

from conjoin.decoding.rules import Rule
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State

__all__ = ["LOW", "Result", "Rules", "apply", "best_ended", "paths"]

Array = Any
LOW = -1.0e9
Rules = Callable[[State], Sequence[Rule]]  # of a state, or of the part of it that is about to choose
Result = tuple[dict[str, Array], Any]  # arrays (B, R, ...) by name, and the longest sequence's length


def apply(rules: Rules, state: State, scores: Array) -> Array:
    """The scores after all rules."""
    for rule in rules(state):
        scores = rule(state.ids, state.length, scores)
    return scores


def best_ended(ops: Any, settings: Settings, state: State) -> Result:
    """Of the sequences that have ended, which stand best first, those asked for."""
    best, search = slice(0, settings.num_return_sequences), state.search
    found = {"ids": search.ended_ids[:, best], "sequences_scores": search.ended_scores[:, best]}
    if search.ended_path is not None:
        found["beam_indices"] = search.ended_path[:, best]
    return found, ops.greatest(search.ended_length[:, best])


def paths(ops: Any, settings: Settings, state: State) -> dict[str, Array]:
    """Where beam_indices are kept, if anybody asked for them."""
    if not settings.as_dictionary:
        return {}
    empty = ops.zeros(state.ids.shape, state.ids) - 1
    return {"path": empty, "ended_path": empty + 0}

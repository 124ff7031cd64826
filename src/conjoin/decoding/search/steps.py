"""What the searches have in common: rules applied, a score that loses to all others, the best that have ended."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeGuard, TypeVar

from conjoin.decoding.rules import Ban, Rule, forbidden_by
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State

__all__ = [
    "LOW",
    "Result",
    "Rules",
    "apply",
    "best_ended",
    "best_of_both",
    "forbid_alone",
    "forbidden_alone",
    "paths",
    "written",
]

Array = Any
LOW = -1.0e9
Kept = TypeVar("Kept", bound=Any)  # what a search keeps: Beams or Hypotheses
Rules = Callable[[State], Sequence[Rule]]  # of a state, or of the part of it that is about to choose
Result = tuple[dict[str, Array], Any]  # arrays (B, R, ...) by name, and the longest sequence's length


def apply(rules: Rules, state: State, scores: Array) -> Array:
    """The scores after all rules."""
    for rule in rules(state):
        scores = rule(state.ids, state.length_for_rules, scores)
    return scores


def forbidden_alone(ops: Any, rules: Rules, state: State, k: int) -> Array | None:
    """The tokens (B, K, N) that rules forbid, -1 for none; None where they do more, or the k best need scores written down."""
    given = rules(state)
    if not forbid_alone(given) or not (state.logits is None or ops.chooses(state.logits, k)):
        return None
    return forbidden_by(ops, given, state.ids, state.length_for_rules)


def forbid_alone(rules: Sequence[Rule]) -> TypeGuard[Sequence[Ban]]:
    """Whether rules do nothing but forbid tokens."""
    return all(isinstance(rule, Ban) for rule in rules)


def written(
    ops: Any, settings: Settings, state: State, parent: Array, token: Array, first: int = 0
) -> tuple[Array, Array | None]:
    """Hypotheses (B, N, L) one token longer, copies of their parents (B, N), and from which rows their tokens came."""
    ids, path = ops.set_column(ops.pick(state.ids, parent), state.length, token), state.search.path
    if path is None:
        return ids, None
    came = parent + first + state.row[:, None] * settings.num_beams
    return ids, ops.set_column(ops.pick(path, parent), state.length - settings.prompt, came)


def best_of_both(ops: Any, was: Kept, scores: Array, ids: Array, path: Array | None, ended: Array, length: Any) -> Kept:
    """The best of the K sequences that had ended and of N more (B, N, L) of so many tokens, of which some have."""
    scores, order = ops.top_k(ops.concat([was.ended_scores, scores], 1), was.ended.shape[1])
    lengths = ops.concat([was.ended_length, ops.zeros(ended.shape, ids) + length], 1)
    return replace(
        was,
        ended_ids=ops.pick(ops.concat([was.ended_ids, ids], 1), order),
        ended_scores=scores,
        ended=ops.pick(ops.concat([was.ended, ended], 1), order),
        ended_length=ops.pick(lengths, order),
        ended_path=None if path is None else ops.pick(ops.concat([was.ended_path, path], 1), order),
    )


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

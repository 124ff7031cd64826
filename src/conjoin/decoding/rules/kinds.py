"""What a rule is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["LOW", "Ban", "Rule", "banning", "forbidden_by", "never"]

Array = Any
Rule = Callable[[Array, Any, Array], Array]  # (ids (B, K, L), length, scores (B, K, V)) -> scores
LOW = float("-inf")
Found = Callable[[Array, Any], tuple[Array, Array] | None]  # (ids, length) -> tokens, and which are forbidden (B, K, N)


@dataclass(frozen=True)
class Ban:
    """A rule that does nothing but forbid tokens, and says which, so that scores need not be written anew."""

    rule: Rule
    found: Found

    def __call__(self, ids: Array, length: Any, scores: Array) -> Array:
        """The scores, those of forbidden tokens -inf."""
        return self.rule(ids, length, scores)


def banning(ops: Any, found: Found) -> Ban:
    """A rule that forbids what is found."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        banned = found(ids, length)
        return scores if banned is None else ops.where(ops.marked(*banned, scores.shape[-1]), LOW, scores)

    return Ban(rule, found)


def forbidden_by(ops: Any, bans: Sequence[Ban], ids: Array, length: Any) -> Array:
    """All tokens that rules forbid (B, K, N), -1 where there is none."""
    none = ops.zeros((*ids.shape[:2], 0), ids)
    found = [one for ban in bans if (one := ban.found(ids, length)) is not None]
    return ops.concat([none, *(ops.where(which, tokens, -1) for tokens, which in found)], -1)


def never(ops: Any, when: Any) -> bool:
    """Whether a condition holds nowhere now, so that a rule need not write all scores anew. A compiled program cannot ask."""
    if isinstance(when, bool):
        return not when
    return not ops.FIXED_SHAPES and bool(ops.all_true(~when))

"""What a constrained beam search must write: phrases, or one of several phrases each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.errors import InputError

__all__ = [
    "Constraint",
    "ConstraintsNotMetWarning",
    "DisjunctiveConstraint",
    "PhrasalConstraint",
    "as_words",
    "asked_constraints",
    "met",
]


class ConstraintsNotMetWarning(UserWarning):
    """The longest output was reached before every constraint was met."""


@dataclass(frozen=True, init=False)
class Constraint:
    """Something that must be in the output: one of some phrases, which are tuples of token ids."""

    phrases: tuple[tuple[int, ...], ...]

    def __init__(self, phrases: tuple[tuple[int, ...], ...]) -> None:
        object.__setattr__(self, "phrases", phrases)
        for one in phrases:
            for other in phrases:
                if one is not other and other[: len(one)] == one:
                    raise InputError(
                        f"{list(one)} begins {list(other)}: whoever writes the second has written the first; leave it out."
                    )

    @property
    def longest(self) -> int:
        """How many tokens its longest phrase has."""
        return max(len(phrase) for phrase in self.phrases)


class PhrasalConstraint(Constraint):
    """Token ids that must be in the output, one after another. Raises InputError for what is no list of them."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        super().__init__((as_phrase("token_ids", token_ids),))


class DisjunctiveConstraint(Constraint):
    """Phrases, each a list of token ids, of which one must be in the output. Raises InputError for what is none."""

    def __init__(self, nested_token_ids: Sequence[Sequence[int]]) -> None:
        if not isinstance(nested_token_ids, list | tuple) or not nested_token_ids:
            raise InputError(f"nested_token_ids is {nested_token_ids!r}; a list of lists of token ids was expected.")
        super().__init__(tuple(as_phrase("nested_token_ids", phrase) for phrase in nested_token_ids))


def as_phrase(name: str, ids: Any) -> tuple[int, ...]:
    """A phrase of at least one token id."""
    fits = isinstance(ids, list | tuple) and len(ids) > 0
    if not fits or any(isinstance(one, bool) or not isinstance(one, int) or one < 0 for one in ids):
        raise InputError(f"{name} holds {ids!r}; a list of token ids, at least one, was expected.")
    return tuple(ids)


def as_constraint(word: Any) -> Constraint:
    """An entry of force_words_ids: a phrase, or a list of alternatives."""
    several = isinstance(word, list | tuple) and len(word) > 0 and isinstance(word[0], list | tuple)
    return DisjunctiveConstraint(word) if several else PhrasalConstraint(word)


def asked_constraints(constraints: Any, force_words_ids: Any) -> tuple[Constraint, ...]:
    """All that a call asks for. Raises InputError for what is no constraint."""
    found: list[Constraint] = []
    for name, given in (("constraints", constraints), ("force_words_ids", force_words_ids)):
        if given is not None and (not isinstance(given, list | tuple) or not given):
            raise InputError(f"{name} is {given!r}; a list with at least one entry was expected.")
    for one in constraints or ():
        if not isinstance(one, Constraint):
            raise InputError(
                f"constraints holds a {type(one).__name__}; a PhrasalConstraint or a DisjunctiveConstraint of conjoin "
                f"was expected."
            )
        found.append(one)
    return (*found, *(as_constraint(word) for word in force_words_ids or ()))


def as_words(constraints: Sequence[Constraint]) -> list[list[int] | list[list[int]]]:
    """The same as force_words_ids, which a file can hold."""
    return [
        list(one.phrases[0]) if len(one.phrases) == 1 else [list(phrase) for phrase in one.phrases]
        for one in constraints
    ]


def met(constraints: Sequence[Constraint], ids: Sequence[int]) -> bool:
    """Whether every constraint is in some ids: one that is asked for twice, twice."""
    for one in dict.fromkeys(constraints):
        if sum(occurrences(phrase, ids) for phrase in one.phrases) < constraints.count(one):
            return False
    return True


def occurrences(phrase: tuple[int, ...], ids: Sequence[int]) -> int:
    """How many times a phrase is in some ids, none over another."""
    found, at = 0, 0
    while at <= len(ids) - len(phrase):
        here = tuple(ids[at : at + len(phrase)]) == phrase
        found, at = found + here, at + (len(phrase) if here else 1)
    return found

"""What a model was called with, before any framework: whose arrays came, and into which lengths they are padded."""

from numbers import Real
from typing import Any

from conjoin.errors import InputError

__all__ = ["PLACES", "TOKENS", "bucket", "check_between", "check_smoothing", "foreign"]

TOKENS = "{what}: token id {wrong} came and its vocabulary is 0 to {last}; use the tokenizer that belongs to it."
PLACES = "{what} ask for row {wrong} of the position table, which has 0 to {last}."

FRAMEWORKS = {
    "torch": "a PyTorch tensor",
    "jaxlib": "a JAX array",
    "jax": "a JAX array",
    "tensorflow": "a TensorFlow tensor",
    "keras": "a Keras tensor",
    "numpy": "a NumPy array",
}


def foreign(name: str, came: Any, expected: str) -> str:
    """The sentence for an array of another framework, which is named, or for what is no array at all."""
    kind = type(came)
    root = kind.__module__.partition(".")[0]
    if root not in FRAMEWORKS:
        return f"{name} is a {kind.__name__}; {expected} was expected."
    return f"{name} is {FRAMEWORKS[root]}; {expected} was expected: make one of np.asarray({name})."


def check_between(low: int, high: int, count: int, what: str, sentence: str) -> None:
    """Raises InputError for numbers from `low` to `high` that are not all from 0 to count - 1, in one of the sentences above."""
    if low < 0 or high >= count:
        raise InputError(sentence.format(what=what, wrong=low if low < 0 else high, last=count - 1))


def bucket(length: int, limit: int | None = None, least: int = 16) -> int:
    """The length that `length` is padded to, so that few lengths are compiled for: 16, 24, 32, 48, 64, 96, 128...

    At most `limit`, where `length` is.
    """
    size = least
    while size < length:
        size = size + max(1, size // 2) if size & (size - 1) == 0 else size * 4 // 3
    return size if limit is None or length > limit else min(size, limit)


def check_smoothing(smoothing: Any) -> None:
    """Raises InputError unless it is a number from 0 to below 1: how much of a label is spread over the vocabulary."""
    if not isinstance(smoothing, Real) or not 0 <= float(smoothing) < 1:
        raise InputError(f"smoothing is {smoothing!r}; a number from 0 to below 1 was expected.")

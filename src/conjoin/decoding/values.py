"""Values of settings: each read, or refused with the range that it may have."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from conjoin.errors import InputError

__all__ = ["among", "as_tuple", "bad_words", "below_one", "biases", "decay", "flag", "number", "real", "token_of"]


def as_tuple(value: Any) -> tuple[int, ...]:
    """One id, several, or none, as a tuple."""
    if value is None:
        return ()
    return tuple(as_int(one) for one in value) if isinstance(value, list | tuple) else (as_int(value),)


def as_int(value: Any) -> Any:
    """Whole numbers, NumPy's too, as Python's; anything else as it is."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def among(name: str, value: Any, default: str, known: Sequence[str]) -> str:
    """One of some words."""
    if value is not None and value not in known:
        raise InputError(f"{name} is {value!r}; one of {', '.join(known)} was expected.")
    return value or default


def flag(name: str, value: Any) -> bool:
    """True or False; False where nothing is set."""
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; True or False was expected.")
    return bool(value)


def number(name: str, value: Any, default: int, *, low: int) -> int:
    """A whole number from `low` on."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < low:
        raise InputError(f"{name} is {value!r}; a whole number from {low} on was expected.")
    return int(value)


def real(name: str, value: Any, default: float, *, low: float | None = 1e-12, high: float = float("inf")) -> float:
    """A finite number in a range."""
    if value is None:
        return default
    fits = isinstance(value, Real) and not isinstance(value, bool) and abs(float(value)) < float("inf")
    if not fits or (low is not None and value < low) or value > high:
        bounds = (
            "a finite number"
            if low is None
            else f"a number {'above' if low == 1e-12 else 'from'} {0 if low == 1e-12 else low:g}"
        )
        raise InputError(
            f"{name} is {value!r}; {bounds}{'' if high == float('inf') else f' to {high:g}'} was expected."
        )
    return float(value)


def below_one(name: str, value: Any) -> float:
    """A number from 0 to below 1."""
    found = real(name, value, 0.0, low=0.0, high=1.0)
    if found == 1.0:
        raise InputError(f"{name} is {value!r}; a number from 0 to below 1 was expected.")
    return found


def bad_words(given: Any, eos: tuple[int, ...], vocab: int) -> tuple[tuple[int, ...], ...]:
    """Sequences that may not come. An end token alone is left out, as transformers does: min_length forbids the end."""
    if given is None:
        return ()
    if not isinstance(given, list | tuple) or not given or not all(isinstance(one, list | tuple) for one in given):
        raise InputError(f"bad_words_ids is {given!r}; a list of lists of ids was expected.")
    words = dict.fromkeys(sequence("bad_words_ids", one, vocab) for one in given)
    return tuple(one for one in words if not (len(one) == 1 and one[0] in eos))


def biases(given: Any, vocab: int) -> tuple[tuple[tuple[int, ...], float], ...]:
    """Sequences and their biases; of a sequence that comes twice, the last."""
    if given is None:
        return ()
    if not given:
        raise InputError(f"sequence_bias is {given!r}; at least one sequence of ids with its bias was expected.")
    found = {sequence("sequence_bias", ids, vocab): bias for ids, bias in given}
    for ids, bias in found.items():
        if isinstance(bias, bool) or not isinstance(bias, Real) or bias != bias:
            raise InputError(f"sequence_bias of {ids} is {bias!r}; a number was expected.")
    return tuple((ids, float(bias)) for ids, bias in found.items())


def sequence(name: str, ids: Any, vocab: int) -> tuple[int, ...]:
    """A sequence of ids, each of the decoder's vocabulary."""
    if not ids:
        raise InputError(f"{name} holds an empty sequence; at least one id was expected.")
    return tuple(token_of(name, one, vocab) for one in ids)


def token_of(name: str, token: Any, vocab: int) -> int:
    """An id of the decoder's vocabulary."""
    if isinstance(token, bool) or not isinstance(token, Integral) or not 0 <= int(token) < vocab:
        raise InputError(f"{name} holds {token!r}; the decoder's vocabulary is 0 to {vocab - 1}.")
    return int(token)


def decay(given: Any, eos: tuple[int, ...]) -> tuple[int, float] | None:
    """After how many new tokens the end gains, and by which factor."""
    name = "exponential_decay_length_penalty"
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise InputError(f"{name} is {given!r}; (after so many new tokens, factor) was expected.")
    if not eos:
        raise InputError(f"{name} is {given!r}, and there is no eos_token_id that could gain by it; set one.")
    return number(name, given[0], 0, low=0), real(name, given[1], 1.0)

"""Stop strings as a table: a machine that reads tokens as the bytes they stand for, and says when a string ends in one.

The machine is that of Aho and Corasick (Efficient string matching, 1975) over all strings, its states the beginnings of
strings. A string may begin and end within tokens, and span several.
"""

import json
from collections.abc import Sequence
from threading import Lock
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np

from conjoin.errors import InputError
from conjoin.tokens.pair import TokenizerLike

__all__ = ["checked_strings", "moves", "state_count", "window"]

Ints = np.ndarray[Any, np.dtype[np.int32]]
# Of each tokenizer, by the strings and how many tokens it has: making a table of a large vocabulary takes a second.
TABLES: "WeakKeyDictionary[Any, dict[Any, Ints]]" = WeakKeyDictionary()
KEPT = 8  # of which one may take megabytes
ONE = Lock()  # at a time is made, for the same reason
BASE = "abcdef"  # what stands before a token, so that it is written as in the middle of a text


@runtime_checkable
class Backed(Protocol):
    """A tokenizer over the `tokenizers` library: ours, and transformers' fast ones."""

    @property
    def backend_tokenizer(self) -> Any: ...


def checked_strings(given: Any) -> tuple[str, ...]:
    """One string or several as a tuple. Raises InputError for what is none, or empty."""
    strings = (given,) if isinstance(given, str) else given
    if not isinstance(strings, list | tuple) or not strings or not all(isinstance(s, str) and s for s in strings):
        raise InputError(f"stop_strings is {given!r}; a string or a list of strings was expected, none of them empty.")
    try:
        "".join(strings).encode()
    except UnicodeEncodeError:
        raise InputError("stop_strings hold half of a surrogate pair; whole characters were expected.") from None
    return tuple(dict.fromkeys(strings))


def window(strings: Sequence[str]) -> int:
    """How many tokens a string can span: its bytes."""
    return max(len(one.encode()) for one in strings)


def state_count(strings: Sequence[str]) -> int:
    """How many states the machine has."""
    return len(beginnings(strings))


def moves(tokenizer: TokenizerLike, strings: tuple[str, ...]) -> Ints:
    """(tokens * states,): at token * states + state, twice the next state, and one more where a string ended on the way."""
    key = (strings, len(tokenizer))
    with ONE:
        known = TABLES.setdefault(tokenizer, {})
        found = known.pop(key, None)
        known[key] = table(token_bytes(tokenizer), strings) if found is None else found  # the last used stands last
        while len(known) > KEPT:
            del known[next(iter(known))]
        return known[key]


def beginnings(strings: Sequence[str]) -> list[bytes]:
    """Every beginning of every string, the empty one first, shorter ones before longer ones."""
    found = {one.encode()[:end] for one in strings for end in range(len(one.encode()) + 1)}
    return sorted(found, key=lambda one: (len(one), one))


def machine(strings: Sequence[str]) -> tuple[Ints, np.ndarray[Any, Any]]:
    """The next state (states, 256) by state and byte, and whether a string ends in a state (states,)."""
    states = beginnings(strings)
    place = {one: i for i, one in enumerate(states)}
    follow = np.zeros((len(states), 256), np.int32)
    ends = np.zeros(len(states), bool)
    for i, one in enumerate(states):
        # The longest end of it that is a beginning too, and shorter: where a byte leads that does not go on here.
        shorter = next((place[one[cut:]] for cut in range(1, len(one) + 1) if one[cut:] in place), 0)
        follow[i] = follow[shorter]
        ends[i] = ends[shorter] or one in {s.encode() for s in strings}
        for byte in range(256):
            longer = place.get(one + bytes([byte]))
            if longer is not None:
                follow[i, byte] = longer
    return follow, ends


def table(tokens: Sequence[bytes], strings: Sequence[str]) -> Ints:
    """What `moves` gives, of the bytes of each token: all states read all tokens at once, byte by byte."""
    follow, ends = machine(strings)
    order = np.argsort([-len(one) for one in tokens], kind="stable")
    lengths = np.array([len(tokens[i]) for i in order])
    at = np.repeat(np.arange(len(ends), dtype=np.int32)[None], len(tokens), 0)
    hit = np.zeros(at.shape, bool)
    for column in range(int(lengths.max(initial=0))):
        count = int((lengths > column).sum())
        byte = np.array([tokens[i][column] for i in order[:count]])
        at[:count] = follow[at[:count], byte[:, None]]
        hit[:count] |= ends[at[:count]]
    found = np.empty_like(at)
    found[order] = 2 * at + hit
    return found.reshape(-1)


def token_bytes(tokenizer: TokenizerLike) -> list[bytes]:
    """What each token, by its id, adds to a text in its middle."""
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    decoder = tokenizer.backend_tokenizer.decoder if isinstance(tokenizer, Backed) else None
    kinds = set() if decoder is None else decoder_kinds(json.loads(decoder.__getstate__()))
    written = written_by(tokenizer, decoder)
    found = []
    for i in range(max(by_id, default=-1) + 1):
        token = by_id.get(i)
        raw = None if token is None else raw_bytes(token, kinds)
        found.append(b"" if token is None else written(i, token).encode() if raw is None else raw)
    return found


def decoder_kinds(state: Any) -> set[str]:
    """The types of all parts of a decoder of the `tokenizers` library."""
    if isinstance(state, dict):
        own = {state["type"]} if isinstance(state.get("type"), str) else set()
        return own.union(*(decoder_kinds(x) for x in state.values()))
    return set().union(*(decoder_kinds(x) for x in state)) if isinstance(state, list) else set()


def raw_bytes(token: str, kinds: set[str]) -> bytes | None:
    """The bytes that a token of a byte-level vocabulary names; None where it is text."""
    if "ByteFallback" in kinds:
        return bytes([int(token[3:5], 16)]) if len(token) == 6 and token[:3] == "<0x" and token[5] == ">" else None
    if "ByteLevel" in kinds and all(letter in BYTES for letter in token):
        return bytes(BYTES[letter] for letter in token)
    return None


def byte_letters() -> dict[str, int]:
    """The letter that GPT-2's vocabularies write for each byte: itself where it can be seen, one from 256 on otherwise."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(b): b for b in seen} | {chr(256 + i): b for i, b in enumerate(hidden)}


BYTES = byte_letters()


def written_by(tokenizer: TokenizerLike, decoder: Any) -> Any:
    """A function (id, token) -> the text that a token adds after another."""
    base = tokenizer(BASE, add_special_tokens=False)["input_ids"]
    if decoder is not None:
        before = tokenizer.convert_ids_to_tokens(base)
        start = decoder.decode(before)
        return lambda i, token: decoder.decode([*before, token])[len(start) :]
    start = tokenizer.decode(base)
    return lambda i, token: tokenizer.decode([*base, i])[len(start) :]

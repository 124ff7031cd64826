"""Documents as an extractor reads them: a start token before each sentence and an end token behind it, types by turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conjoin.errors import ConfigError
from conjoin.tokens.pair import TokenizerLike

__all__ = ["Encoded", "collated", "encoded", "marks"]

ABSENT = -1  # the place of a sentence that a row does not have


@dataclass(frozen=True)
class Encoded:
    """One document's ids (S), the interval of each token (0 or 1), where its sentences begin, and whether it was cut."""

    ids: list[int]
    types: list[int]
    places: list[int]
    cut: bool = False


def marks(tokenizer: TokenizerLike | None) -> tuple[int, int]:
    """The tokens before and behind a sentence: [CLS] and [SEP], or whatever the tokenizer has for them.

    Raises ConfigError where it has none.
    """
    if tokenizer is None:
        raise ConfigError("the encoder has no tokenizer; set encoder.tokenizer.")
    begins = (tokenizer.cls_token_id, tokenizer.bos_token_id)
    ends = (tokenizer.sep_token_id, tokenizer.eos_token_id)
    begin, end = (next((i for i in found if i is not None), None) for found in (begins, ends))
    if begin is None or end is None:
        raise ConfigError(
            "extraction marks each sentence with a start and an end token, and the encoder's tokenizer has "
            f"{begin} and {end}; take an encoder whose tokenizer has both, such as BERT's or RoBERTa's."
        )
    return begin, end


def encoded(tokenizer: TokenizerLike, sentences: Sequence[str], limit: int) -> Encoded:
    """A document in at most `limit` tokens: the sentence that does not fit is cut, and those after it are left out."""
    begin, end = marks(tokenizer)
    rows: list[list[int]] = tokenizer(list(sentences), add_special_tokens=False)["input_ids"]
    ids: list[int] = []
    types: list[int] = []
    places: list[int] = []
    for number, row in enumerate(rows):
        room = limit - len(ids) - 2
        if room < 1:
            break
        places.append(len(ids))
        ids += [begin, *row[:room], end]
        types += [number % 2] * (len(ids) - len(types))
    whole = len(ids) == sum(map(len, rows)) + 2 * len(rows)
    return Encoded(ids, types, places, cut=not whole)


def collated(documents: Sequence[Encoded], pad: int, types: bool) -> dict[str, Any]:
    """input_ids, attention_mask and, with `types`, token_type_ids (B, S); places (B, N), -1 where a row has no sentence."""
    arrays: dict[str, Tensor] = {
        "input_ids": rows([one.ids for one in documents], pad),
        "attention_mask": rows([[1] * len(one.ids) for one in documents], 0),
        "places": rows([one.places for one in documents], ABSENT),
    }
    return arrays | ({"token_type_ids": rows([one.types for one in documents], 0)} if types else {})


def rows(lists: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Lists of unlike lengths as one tensor."""
    made = np.full((len(lists), max(map(len, lists))), fill, np.int64)
    for target, one in zip(made, lists, strict=True):
        target[: len(one)] = one
    return torch.from_numpy(made)

"""Texts to ids, once before training: sources as the encoder reads them, targets as the labels that the decoder learns.

Labels are the target's own tokens and the end token, without the [CLS] or <s> that many tokenizers put first: the
decoder reads its start token and then the labels but for the last, so a first [CLS] among the labels would come twice,
and the model would spend its first step on a token that is always the same. Where generation forces a first token
(forced_bos_token_id: BART's <s> after its start </s>), the labels begin with it, since the decoder will have to read it.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjoin.errors import ConfigError, DataError
from conjoin.model import JoinedModel
from conjoin.senses import refuse_senses
from conjoin.tokens.pair import TokenizerLike
from conjoin.training.data import Pairs

__all__ = ["Examples", "Ids", "Limits", "limits_of", "tokenise", "warn_of_cuts"]

logger = logging.getLogger("conjoin")
Ids = NDArray[np.int32]
TEXTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Limits:
    """The longest source and the longest target, in tokens, special tokens included; None for any length."""

    source: int | None
    target: int


@dataclass(frozen=True)
class Examples:
    """Token ids of each pair: sources (special tokens included) and labels (the end token included)."""

    sources: list[Ids]
    labels: list[Ids]
    limits: Limits
    cut_sources: int = 0  # how many were longer than the limit
    cut_labels: int = 0

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def source_lengths(self) -> NDArray[np.int64]:
        """Tokens of each source."""
        return np.fromiter((len(x) for x in self.sources), np.int64, len(self))

    @property
    def label_lengths(self) -> NDArray[np.int64]:
        """Tokens of each label."""
        return np.fromiter((len(x) for x in self.labels), np.int64, len(self))

    def fingerprint(self) -> str:
        """A hash of all ids: the same for the same data, tokenizers and limits."""
        digest = hashlib.blake2b(digest_size=16)
        for ids in (self.source_lengths, self.label_lengths, *self.sources, *self.labels):
            digest.update(np.ascontiguousarray(ids).data)
        return digest.hexdigest()


def limits_of(model: JoinedModel, source: int | None, target: int | None) -> Limits:
    """The limits asked for, or the model's positions; an encoder that reads in chunks has no limit of its own.

    Raises ConfigError for more than the model has, InputError for a model that reads no texts.
    """
    refuse_senses(model.encoder.spec.front, "pairs for training are")
    longest = limit_of("max_target_length", target, model.decoder)
    if model.config.generation.encode_in_chunks:
        return Limits(source, longest)
    return Limits(limit_of("max_source_length", source, model.encoder), longest)


def limit_of(name: str, asked: int | None, part: Any) -> int:
    """One side's limit."""
    positions: int = part.spec.max_length
    if asked is not None and asked > positions:
        remedy = ", or set encode_in_chunks" if part.role == "encoder" else ""
        raise ConfigError(
            f"{name} is {asked} and the {part.role} has positions for {positions} tokens; lower it{remedy}."
        )
    return positions if asked is None else asked


def tokenise(model: JoinedModel, pairs: Pairs, limits: Limits) -> Examples:
    """The ids of all pairs; texts longer than the limits are cut, and counted.

    Raises ConfigError where the model has no tokenizers or no end token, DataError for a source without any token.
    """
    tokenizers = model.tokenizers
    if tokenizers is None:
        raise ConfigError("the model has no tokenizers; set model.tokenizers = TokenizerPair(source, target).")
    sources, cut_sources = source_ids(tokenizers.source, pairs, limits.source)
    labels, cut_labels = label_ids(tokenizers.target, pairs, limits.target, model)
    return Examples(sources, labels, limits, cut_sources, cut_labels)


def warn_of_cuts(pairs: Pairs, examples: Examples, limits: Limits) -> None:
    """Says how many texts were cut, if any were."""
    both = (("source", examples.cut_sources, limits.source), ("target", examples.cut_labels, limits.target))
    for side, cut, limit in both:
        if cut:
            logger.warning("%s: %d of %d %ss were cut to %d tokens.", pairs.name, cut, len(pairs), side, limit)


def end_token(model: JoinedModel) -> int:
    """The token that ends a target; of several the first. Raises ConfigError where there is none."""
    end = model.config.generation.eos_token_id
    if isinstance(end, list) and end:
        return end[0]
    if not isinstance(end, int):
        raise ConfigError("the model has no end token; set model.config.eos_token_id, from the target tokenizer.")
    return end


def source_ids(tokenizer: TokenizerLike, pairs: Pairs, limit: int | None) -> tuple[list[Ids], int]:
    """Ids with special tokens, and how many texts were cut."""
    found: list[Ids] = []
    cut = 0
    for texts in chunks(pairs.sources):
        rows: list[Any] = tokenizer(list(texts))["input_ids"]
        for text, row in zip(texts, rows, strict=True):
            if (
                limit is not None and len(row) > limit
            ):  # cut by the tokenizer itself, which keeps the special token at the end
                row, cut = tokenizer(text, truncation=True, max_length=limit)["input_ids"], cut + 1
            if len(row) == 0:
                raise DataError(f"{pairs.name}: the source of pair {len(found) + 1} ({text!r:.40}) makes no tokens.")
            found.append(np.asarray(row, np.int32))
    return found, cut


def label_ids(tokenizer: TokenizerLike, pairs: Pairs, limit: int, model: JoinedModel) -> tuple[list[Ids], int]:
    """Each target's own tokens and the end token, and how many were cut."""
    start, forced, end = model.start_token(), model.config.generation.forced_bos_token_id, end_token(model)
    first = [] if forced is None or forced == start else [forced]
    room = limit - len(first) - 1
    found: list[Ids] = []
    cut = 0
    for texts in chunks(pairs.targets):
        for row in tokenizer(list(texts), add_special_tokens=False)["input_ids"]:
            body = list(row)
            while body and body[0] in (start, forced):  # written in the text itself
                del body[0]
            while body and body[-1] == end:
                del body[-1]
            cut += len(body) > room
            found.append(np.asarray([*first, *body[:room], end], np.int32))
    return found, cut


def chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Some texts at a time, so that a tokenizer's own objects never stand for all of them."""
    for at in range(0, len(texts), TEXTS_AT_ONCE):
        yield texts[at : at + TEXTS_AT_ONCE]

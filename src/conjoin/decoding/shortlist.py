"""Shortlists of the target vocabulary: each source is written with the tokens that it may need, and no others."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.config import read_json
from conjoin.decoding.call import Call
from conjoin.decoding.settings import Settings
from conjoin.errors import ConfigError, InputError

__all__ = ["VOCABULARY_FILE", "VocabularyMap", "with_vocabulary"]

VOCABULARY_FILE = "vocabulary_map.json"
Array = Any
Ids = Sequence[int]


@dataclass(frozen=True)
class VocabularyMap:
    """Which target tokens a source may need, by what it says (L'Hostis et al., https://arxiv.org/abs/1610.00072).

    `always` may come whatever the source says; `ngrams` of the source's tokens bring theirs; with `own` its own tokens may come
    too, which makes sense where both sides have one vocabulary.
    """

    always: tuple[int, ...]
    ngrams: Mapping[tuple[int, ...], tuple[int, ...]]
    own: bool

    @property
    def longest(self) -> int:
        """Tokens of the longest n-gram."""
        return max(map(len, self.ngrams), default=0)

    @classmethod
    def from_pairs(
        cls,
        pairs: Iterable[tuple[Ids, Ids]],
        *,
        own: bool,
        always: int = 2000,
        longest: int = 1,
        each: int = 20,
        least: int = 2,
    ) -> "VocabularyMap":
        """From pairs of ids, source and target: the `always` most frequent target tokens, and for each n-gram of a source,
        of up to `longest` tokens, the `each` target tokens that stood with it most often, `least` times or more.

        Raises InputError where there is no pair.
        """
        pairs = list(pairs)
        if not pairs:
            raise InputError("no pairs came; a vocabulary map is made of pairs of source and target ids.")
        counts = Counter(token for _, target in pairs for token in set(target))
        common = {token for token, _ in counts.most_common(always)}
        seen: dict[tuple[int, ...], Counter[int]] = {}
        for source, target in pairs:
            rare = set(target) - common - (set(source) if own else set())
            for ngram in set(ngrams_of(source, longest)) if rare else ():
                seen.setdefault(ngram, Counter()).update(rare)
        kept = {
            ngram: tuple(token for token, count in found.most_common(each) if count >= least)
            for ngram, found in seen.items()
        }
        return cls(tuple(sorted(common)), {ngram: tokens for ngram, tokens in kept.items() if tokens}, own)

    def allowed(self, source: Ids) -> set[int]:
        """The target tokens that a source may need."""
        found = {token for ngram in ngrams_of(source, self.longest) for token in self.ngrams.get(ngram, ())}
        return found.union(self.always, source if self.own else ())

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes vocabulary_map.json into a folder, a model's for example."""
        ngrams = {" ".join(map(str, ngram)): list(tokens) for ngram, tokens in self.ngrams.items()}
        document = {"always": list(self.always), "own": self.own, "ngrams": ngrams}
        (Path(folder) / VOCABULARY_FILE).write_text(json.dumps(document), encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "VocabularyMap":
        """From a folder. Raises ConfigError for a file that is missing or says something else."""
        path = Path(folder) / VOCABULARY_FILE
        document = read_json(path)
        try:
            ngrams = {tuple(map(int, key.split())): tuple(map(int, v)) for key, v in document["ngrams"].items()}
            return cls(tuple(map(int, document["always"])), ngrams, bool(document["own"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ConfigError(f'"{path}" is no vocabulary map; "always", "own" and "ngrams" were expected.') from None


def ngrams_of(ids: Ids, longest: int) -> Iterator[tuple[int, ...]]:
    """All n-grams of up to so many tokens."""
    for size in range(1, longest + 1):
        yield from (tuple(ids[i : i + size]) for i in range(len(ids) - size + 1))


def with_vocabulary(model: Any, settings: Settings, call: Call, asked: Any) -> Call:
    """The call with what each of its sources may be written with. Raises InputError for what cannot be."""
    if asked is None:
        return call
    check_search(model, settings)
    lists = lists_of(model, call, asked)
    vocab = model.decoder.spec.vocab
    allowed = np.zeros((call.source.shape[0], vocab), np.bool_)
    for row, ids in zip(allowed, lists, strict=True):
        try:
            chosen = np.array(sorted({*ids, *settings.eos}), np.int64)
        except (TypeError, ValueError):
            raise InputError(
                f"vocabulary has {ids!r:.60}; ids were expected, or a list of them for each source."
            ) from None
        if not chosen.size:
            raise InputError("vocabulary has no ids for a source, and no end token is set; give some.")
        if not 0 <= chosen[0] <= chosen[-1] < vocab:
            raise InputError(f"vocabulary has ids from {chosen[0]} to {chosen[-1]}; 0 to {vocab - 1} was expected.")
        row[chosen] = True
    return replace(call, allowed=model.ops.on_device(allowed, model))


def lists_of(model: Any, call: Call, asked: Any) -> list[Ids]:
    """The ids of each source, as they were given."""
    rows = call.source.shape[0]
    if isinstance(asked, VocabularyMap):
        if call.rule_ids is None:
            raise InputError("vocabulary is a VocabularyMap, which reads input_ids, and none came; pass ids.")
        seen = call.seen if call.seen is not None else call.rule_ids == call.rule_ids
        sources = model.ops.id_lists(call.rule_ids), model.ops.id_lists(seen)
        return [
            sorted(asked.allowed([i for i, s in zip(*pair, strict=True) if s])) for pair in zip(*sources, strict=True)
        ]
    if not isinstance(asked, list | tuple) and not model.ops.is_array(asked):
        raise InputError(
            f"vocabulary is {asked!r:.60}; a VocabularyMap, ids, or a list of them for each source was expected."
        )
    lists = asked if isinstance(asked, list | tuple) else model.ops.id_lists(asked)
    if all(isinstance(one, int) for one in lists):
        return [lists] * rows
    if len(lists) != rows:
        raise InputError(f"vocabulary has lists for {len(lists)} sources and {rows} came; one list, or one for each.")
    return list(lists)


def check_search(model: Any, settings: Settings) -> None:
    """Raises InputError where no shortlist can be kept."""
    if not model.ops.CALLS_BACK:
        raise InputError("vocabulary works in PyTorch alone; use EncoderDecoderModel, from the same folder.")
    for name, is_on in (
        ("guidance_scale", settings.guidance_scale != 1.0),
        ("constraints", bool(settings.constraints)),
        ("penalty_alpha", settings.search == "contrastive"),
        ("drafts (assistant_model, prompt_lookup_num_tokens)", bool(settings.drafts)),
    ):
        if is_on:
            raise InputError(f"vocabulary came with {name}, which reads the whole vocabulary; leave one of them out.")

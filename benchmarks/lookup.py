"""Times prompt lookup beside plain greedy search, one source at a time, with a model that was fine-tuned to write headlines.

    conjoin demo -o demo && python benchmarks/lookup.py demo

Tokens are the same with and without, which is checked. "tokens a step" is how many a step of the model takes on average:
with the model's own texts, and had it written the references.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import alternate, show

from conjoin import EncoderDecoderModel
from conjoin.data import split_file
from conjoin.decoding.settings import resolve
from conjoin.engine.speculative.lookup import Lookup
from conjoin.engine.speculative.reader import Reader
from conjoin.generation import GenerationConfig
from conjoin.training import read_pairs

DRAFTS = [(3, 1), (3, 2), (5, 2), (10, 2), (10, 3)]  # prompt_lookup_num_tokens, max_matching_ngram_size


def counted(work: Callable[[], Any]) -> int:
    """How many steps of reading a draft some work takes."""
    read, steps = Reader.read, []

    def reading(self: Reader, tokens: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        return read(self, tokens, start)

    Reader.read = reading  # type: ignore[method-assign]
    work()
    Reader.read = read  # type: ignore[method-assign]
    return len(steps)


def steps_for(ids: torch.Tensor, source: torch.Tensor, asked: dict[str, int], vocab: int) -> int:
    """How many steps a model that writes these ids (1, T) of a source (1, S) would take."""
    settings = resolve(GenerationConfig(**asked), prompt=1, positions=10_000, vocab=vocab)
    lookup, length, steps, row = Lookup(settings, source, None), 2, 1, torch.zeros(1, dtype=torch.long)
    while length < ids.shape[1]:
        most = torch.tensor([ids.shape[1] - length - 1])
        draft, count = lookup.draft(ids, torch.tensor([length]), row, most)
        there = ids[0, length : length + int(count)]
        length += int((there == draft[0, : len(there)]).long().cumprod(0).sum()) + 1
        steps += 1
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--sources", type=int, default=40)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    model = EncoderDecoderModel.from_pretrained(args.folder)
    texts = read_pairs(split_file("test")).first(args.sources)
    options = {"return_tensors": "pt", "truncation": True, "max_length": model.encoder.spec.max_length}
    sources = [dict(model.tokenizers.source([text], **options)) for text in texts.sources]
    targets = [model.tokenizers.target([text], return_tensors="pt")["input_ids"] for text in texts.targets]
    vocab = model.decoder.spec.vocab

    def written(**asked: int) -> list[list[int]]:
        return [model.generate(**source, max_new_tokens=40, num_beams=1, **asked)[0].tolist() for source in sources]

    plain = written()
    tokens = sum(len(ids) - 1 for ids in plain)
    asked = {
        f"{n} tokens, up to {size}": {"prompt_lookup_num_tokens": n, "max_matching_ngram_size": size}
        for n, size in DRAFTS
    }
    assert all(written(**one) == plain for one in asked.values())
    seconds = alternate({"": written} | {name: partial(written, **one) for name, one in asked.items()}, args.runs)
    rows = [["plain greedy", f"{1e3 * statistics.median(seconds['']) / len(texts):.1f}", "1.00", "1.00", "1.00"]]
    for name, one in asked.items():
        ratios = [a / b for a, b in zip(seconds[""], seconds[name], strict=True)]
        steps = counted(partial(written, **one)) + len(texts)
        ideal = sum(
            steps_for(ids, source["input_ids"], one, vocab) for ids, source in zip(targets, sources, strict=True)
        )
        rows.append(
            [
                name,
                f"{1e3 * statistics.median(seconds[name]) / len(texts):.1f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                f"{tokens / steps:.2f}",
                f"{sum(ids.shape[1] - 1 for ids in targets) / ideal:.2f}",
            ]
        )
    columns = ["drafts", "ms a source", "times as fast", "tokens a step", "of references"]
    show(f"Prompt lookup, {len(texts)} sources, {torch.get_num_threads()} threads", columns, rows)


if __name__ == "__main__":
    main()

"""Documents a second by how many tokens a batch has, greedy and with 4 beams, the encoder without and with padding.

python benchmarks/batching.py DIR --documents 295

DIR is a folder of `conjoin demo`; the documents are its test task's. Settings take turns.
"""

import argparse
import gzip
import json
import os
import statistics
from collections.abc import Callable
from typing import Any
from unittest import mock

os.environ.setdefault("CONJOIN_ENGINE", "native")

from common import alternate, show

from conjoin import pipeline
from conjoin.batching import BatchLimit
from conjoin.data import split_file
from conjoin.engine import native

TOKENS = (512, 1024, 2048, 4096)
NEW = 24


def padding(lengths: list[int], tokens: int) -> float:
    """Padding beside tokens."""
    batches = BatchLimit(tokens=tokens).batches(lengths)
    room = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    return room / sum(lengths) - 1


def padded(work: Callable[[], Any]) -> Any:
    """Does some work with an encoder that reads padding too."""
    with mock.patch.object(native, "real_tokens", return_value=None):
        return work()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--documents", type=int, default=295)
    parser.add_argument("--dtype", default="int8")
    parser.add_argument("--runs", type=int, default=1)
    args = parser.parse_args()
    with gzip.open(split_file("test"), "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["document"] for line in file][: args.documents]
    write = pipeline(args.folder, dtype=args.dtype, truncation=True)
    lengths = [len(ids) for ids in write.tokenizers.source(texts)["input_ids"]]
    work = {}
    for beams in (1, 4):
        for tokens in TOKENS:
            asked = {"num_beams": beams, "max_new_tokens": NEW, "max_batch_tokens": tokens}
            plain = lambda asked=asked: write(texts, **asked)  # noqa: E731
            work[f"{beams} {tokens} without"] = plain
            work[f"{beams} {tokens} with"] = lambda plain=plain: padded(plain)
    speeds = {name: len(texts) / statistics.median(taken) for name, taken in alternate(work, args.runs).items()}
    rows = [["padding beside tokens", *(f"{100 * padding(lengths, tokens):.1f} %" for tokens in TOKENS)]]
    for beams in (1, 4):
        pairs = [[speeds[f"{beams} {tokens} {which}"] for which in ("without", "with")] for tokens in TOKENS]
        rows.append([f"{beams} beam{'s' * (beams > 1)}", *(f"{a:.0f} / {b:.0f}" for a, b in pairs)])
    columns = ["tokens in a batch", *map(str, TOKENS)]
    show(f"{len(texts)} documents, {args.dtype}: documents a second, encoder unpadded / padded", columns, rows)


if __name__ == "__main__":
    main()

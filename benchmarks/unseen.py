"""Pairs of a larger task that the package's own splits lack, for differences that its 500 test documents cannot tell.

    python benchmarks/unseen.py train.jsonl.gz 6000.jsonl --pairs 6000

They are drawn with a fixed seed, so that the same file gives the same pairs.
"""

import argparse
import json
import random
from pathlib import Path

from conjoin.data import split_file
from conjoin.training import read_pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="JSON lines with the columns document and summary")
    parser.add_argument("output", type=Path)
    parser.add_argument("--pairs", type=int, default=6000)
    args = parser.parse_args()
    seen = {source for split in ("train", "validation", "test") for source in read_pairs(split_file(split)).sources}
    pairs = read_pairs(args.data, source_column="document", target_column="summary")
    left = [pair for pair in zip(pairs.sources, pairs.targets, strict=True) if pair[0] not in seen]
    random.Random(0).shuffle(left)
    lines = [json.dumps({"document": source, "summary": target}) for source, target in left[: args.pairs]]
    args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} of {len(left)} pairs that the package does not have")


if __name__ == "__main__":
    main()

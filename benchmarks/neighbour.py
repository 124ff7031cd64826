"""Times generate alone and beside one process that keeps a core busy, in turns: how many times slower it gets.

python benchmarks/neighbour.py --size minilm --size base
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("CONJOIN_ENGINE", "native")

import torch
from common import SIZES, pair_of_models, show

BUSY = [sys.executable, "-c", "while True: pass"]
NEW = 32


def seconds_of(model, ids: torch.Tensor) -> float:
    """One generation."""
    began = time.perf_counter()
    model.generate(ids, max_new_tokens=NEW, min_new_tokens=NEW)
    return time.perf_counter() - began


def beside(model, ids: torch.Tensor) -> float:
    """One generation beside a busy process."""
    busy = subprocess.Popen(BUSY)
    try:
        time.sleep(0.2)
        return seconds_of(model, ids)
    finally:
        busy.kill()
        busy.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, action="append")
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    rows = []
    for size in args.size or list(SIZES):
        peer, ours = pair_of_models(size)
        for batch in (1, 8):
            ids = torch.randint(1000, 30000, (batch, 128))
            for name, model in (("conjoin", ours), ("transformers", peer)):
                seconds_of(model, ids)
                turns = [(seconds_of(model, ids), beside(model, ids)) for _ in range(args.runs)]
                alone, busy = (statistics.median(each) for each in zip(*turns, strict=True))
                ratios = [b / a for a, b in turns]
                spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
                times = [f"{1e3 * one / NEW:.1f}" for one in (alone, busy)]
                rows.append([f"{size}, {batch} x 128", name, *times, spread])
    title = f"float32, greedy, {torch.get_num_threads()} threads on {os.cpu_count()} cores, ms a step"
    show(title, ["model", "engine", "alone", "beside a busy process", "times slower"], rows)


if __name__ == "__main__":
    main()

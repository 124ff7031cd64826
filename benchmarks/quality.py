"""What the demo's recipe reaches in a budget of processor time, beside transformers given the same, both at once.

    python benchmarks/quality.py --minutes 30 --output quality

Two processes of one thread, each on a core of its own, fine-tune MiniLM + MiniLM on the demo's training pairs for so many minutes
of their processor time (so that whoever else is on the machine changes nothing), in float32: conjoin as `conjoin demo` does,
evaluations on the way included; transformers by demo_quality.py's loop, AdamW at 2e-4 with warm-up and linear decay, batches of
32 of like lengths, and sources cut to conjoin's 64 tokens unless `--length` says otherwise. Both then write the test
documents with 4 beams. `--test FILE` takes other pairs than the demo's 500. What is there in the output folder is not run again.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from common import show
from demo_quality import texts, trained
from training import minilm

from conjoin.cli.demo import join, recipe_for, weights_folder
from conjoin.data import split_file
from conjoin.evaluation import METRICS, Scores, compare, lead_baseline, score, write_all
from conjoin.training import Pairs, loop, read_pairs, train
from conjoin.training.randomness import seed_all

SIDES = ("transformers", "conjoin")
NAMES = ("rouge1", "rouge2", "rougeL")


def ours(args: argparse.Namespace, test: Pairs) -> tuple[list[str], dict[str, Any]]:
    """conjoin's texts, and what its training saw."""
    loop.time = SimpleNamespace(monotonic=time.process_time)  # type: ignore[assignment] # the recipe's minutes are of this
    pairs, held_out = (read_pairs(split_file(split)) for split in ("train", "validation"))
    seed_all(args.seed)
    model = join(weights_folder(), cold=False)
    recipe = replace(recipe_for(args.minutes, cold=False, seed=args.seed), precision="float32")
    result = train(model, pairs, held_out, recipe, Path(args.output) / "conjoin", resume=False, quiet=True)
    facts = {"steps": result.steps, "examples": result.steps * recipe.batch_size, "validation": result.evaluations}
    return write_all(model, test.sources, truncation=True), facts


def theirs(args: argparse.Namespace, test: Pairs) -> tuple[list[str], dict[str, Any]]:
    """transformers' texts, and what its training saw."""
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    given = argparse.Namespace(**vars(args), batch=32, rate=2e-4, buckets=True, bf16=False)
    model, seen = trained(given, tokenizer, read_pairs(split_file("train")), time.process_time)
    return texts(model, tokenizer, test, args.length), {"steps": seen // 32, "examples": seen}


def work(args: argparse.Namespace, test: Pairs) -> None:
    """One side, in a process of its own."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[SIDES.index(args.side) % len(cores)]})
    torch.set_num_threads(1)
    began = time.time()
    found, facts = (ours if args.side == "conjoin" else theirs)(args, test)
    facts |= {"processor_seconds": time.process_time(), "seconds": time.time() - began}
    path(args, args.side).write_text(json.dumps({**facts, "texts": found}))


def path(args: argparse.Namespace, side: str) -> Path:
    """Where a side's texts are."""
    return Path(args.output) / f"{side}.json"


def report(args: argparse.Namespace, test: Pairs) -> None:
    """The table, and the difference."""
    found = {side: json.loads(path(args, side).read_text()) for side in SIDES}
    scores = {side: score(found[side]["texts"], test.targets) for side in SIDES}
    rows = [row("first sentence", "-", lead_baseline(test))]
    rows += [row(side, f"{found[side]['examples']:,}", scores[side]) for side in SIDES]
    show(
        f"{args.minutes:g} minutes of a core, {len(test)} documents",
        ["", "examples", *(METRICS[m] for m in NAMES)],
        rows,
    )
    apart = compare(scores["transformers"], scores["conjoin"])
    for name in NAMES:
        one = apart[name]
        print(
            f"{METRICS[name]}: conjoin - transformers {one.value:+.1f} ({one.low:+.1f} to {one.high:+.1f}), p {one.p:.4f}"
        )
    print({side: {k: v for k, v in found[side].items() if k != "texts"} for side in SIDES})


def row(name: str, examples: str, scores: Scores) -> list[str]:
    """A line of the table."""
    return [name, examples, *(str(scores.estimate(metric)) for metric in NAMES)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--output", required=True)
    parser.add_argument("--test")
    parser.add_argument("--length", type=int, default=64, help="transformers' source tokens")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--side", choices=SIDES, help="used by the script itself")
    args = parser.parse_args()
    test = read_pairs(args.test or split_file("test"))
    if args.side:
        work(args, test)
        return
    Path(args.output).mkdir(exist_ok=True)
    missing = [side for side in SIDES if not path(args, side).exists()]
    for one in [subprocess.Popen([sys.executable, *sys.argv, "--side", side]) for side in missing]:
        one.wait()
    report(args, test)


if __name__ == "__main__":
    main()

"""What recipes reach in a budget of processor time, beside transformers given the same, all at once.

    python benchmarks/quality.py --minutes 30 --output quality

Processes of one thread fine-tune MiniLM + MiniLM for so many minutes of their processor time (so that whoever else is on the
machine changes nothing), in float32: conjoin as `conjoin train` does when nothing is said, conjoin as `conjoin demo` does,
evaluations on the way included, and transformers by demo_quality.py's loop: AdamW at 2e-4 with warm-up and linear decay,
batches of 32 of like lengths, and sources cut to the demo's 64 tokens unless `--length` says otherwise. All then write the
test documents with 4 beams. `--data DIR` takes train, validation and test.jsonl.gz of a folder in place of the demo's pairs.
What is there in the output folder is not run again.
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

from conjoin import EncoderDecoderModel
from conjoin.cli.demo import GENERATION, join, recipe_for, weights_folder
from conjoin.data import split_file
from conjoin.evaluation import METRICS, Scores, compare, lead_baseline, score, write_all
from conjoin.training import Pairs, Recipe, loop, read_pairs, train
from conjoin.training.randomness import seed_all

SIDES = ("transformers", "default", "demo")
NAMES = ("rouge1", "rouge2", "rougeL")


def ours(args: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    """conjoin's texts, and what its training saw."""
    loop.time = SimpleNamespace(monotonic=time.process_time)  # type: ignore[assignment] # the recipe's minutes are of this
    seed_all(args.seed)
    model, recipe = joined(args)
    recipe = replace(recipe, precision="float32")
    folder = Path(args.output) / args.side
    result = train(model, pairs(args, "train"), pairs(args, "validation"), recipe, folder, resume=False, quiet=True)
    facts = {"steps": result.steps, "examples": result.steps * recipe.batch_size, "validation": result.evaluations}
    return write_all(model, pairs(args, "test").sources, truncation=True, **GENERATION), facts


def joined(args: argparse.Namespace) -> tuple[EncoderDecoderModel, Recipe]:
    """A side's model as it begins, and its recipe."""
    if args.side == "demo":
        return join(weights_folder(), cold=False), recipe_for(args.minutes, cold=False, seed=args.seed)
    recipe = replace(Recipe.load("default"), minutes=args.minutes, epochs=None, seed=args.seed)
    choices = {"share": recipe.join.share, "cross_attention_init": recipe.join.cross_attention_init}
    return EncoderDecoderModel.from_encoder_decoder_pretrained(weights_folder(), weights_folder(), **choices), recipe


def theirs(args: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    """transformers' texts, and what its training saw."""
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    given = argparse.Namespace(**vars(args), batch=32, rate=2e-4, buckets=True, bf16=False)
    model, seen = trained(given, tokenizer, pairs(args, "train"), time.process_time)
    return texts(model, tokenizer, pairs(args, "test"), args.length), {"steps": seen // 32, "examples": seen}


def pairs(args: argparse.Namespace, split: str) -> Pairs:
    """The pairs of a split."""
    return read_pairs(Path(args.data) / f"{split}.jsonl.gz" if args.data else split_file(split))


def work(args: argparse.Namespace) -> None:
    """One side, in a process of its own."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[SIDES.index(args.side) % len(cores)]})
    torch.set_num_threads(1)
    began = time.time()
    found, facts = (theirs if args.side == "transformers" else ours)(args)
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
    for side in SIDES[1:]:
        for name, one in compare(scores["transformers"], scores[side]).items():
            if name in NAMES:
                apart = f"{one.value:+.1f} ({one.low:+.1f} to {one.high:+.1f}), p {one.p:.4f}"
                print(f"{METRICS[name]}: {side} - transformers {apart}")
    print({side: {k: v for k, v in found[side].items() if k != "texts"} for side in SIDES})


def row(name: str, examples: str, scores: Scores) -> list[str]:
    """A line of the table."""
    return [name, examples, *(str(scores.estimate(metric)) for metric in NAMES)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--output", required=True)
    parser.add_argument("--data", help="a folder of pairs")
    parser.add_argument("--length", type=int, default=64, help="transformers' source tokens")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--side", choices=SIDES, help="used by the script itself")
    args = parser.parse_args()
    if args.side:
        work(args)
        return
    Path(args.output).mkdir(exist_ok=True)
    missing = [side for side in SIDES if not path(args, side).exists()]
    for one in [subprocess.Popen([sys.executable, *sys.argv, "--side", side]) for side in missing]:
        one.wait()
    report(args, pairs(args, "test"))


if __name__ == "__main__":
    main()
